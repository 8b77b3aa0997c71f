"""What sessions may use: the server's settings, and what a project's manifest says instead.

They are read at each start of a session's process. Workers carry them out (`ninelives.run.limits`); the time
from start to end is also looked at here, because a parked session has no process.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ninelives.run import limits
from ninelives_server.settings import LimitSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of this server's sessions.

    Attributes:
        defaults: Hold where a project says nothing; with `locked` also where it asks for more.
    """

    defaults: LimitSettings = field(default_factory=LimitSettings)

    def of(self, wanted: Mapping[str, int] | None) -> dict[str, int]:
        """Return the limits of a session whose build's manifest wants these; 0 is none."""
        given = dict(wanted or {})
        found = {}
        for name, default in self._values().items():
            value = int(given.get(name, default))
            found[name] = _lower(value, default) if self.defaults.locked else value
        return found

    def _values(self) -> dict[str, int]:
        return self.defaults.model_dump(exclude={"locked"})


def deadline(allowed: Mapping[str, int], started_at: datetime | None) -> datetime | None:
    """Return when a session must have ended; `None` where it may take for ever, or has not begun."""
    seconds = allowed.get(limits.WALL)
    return started_at + timedelta(seconds=seconds) if seconds and started_at is not None else None


def _lower(wanted: int, most: int) -> int:
    if not most:
        return wanted
    return min(wanted, most) if wanted else most
