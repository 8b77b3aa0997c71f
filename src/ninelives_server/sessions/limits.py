"""What sessions may use: the server's settings, and what a project's manifest says instead.

They are read at each start of a session's process. Workers carry them out (`ninelives.run.limits`); the time
from start to end is also looked at here, because a parked session has no process.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil

from ninelives.run import limits
from ninelives_server.settings import JournalSettings, LimitSettings

#: From this part of a journal's limits on people are warned.
NEARLY_FULL = 0.8
_MB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of this server's sessions.

    Attributes:
        defaults: Hold where a project says nothing; with `locked` also where it asks for more.
        journal: What a session's journal may hold; a project cannot change it.
    """

    defaults: LimitSettings = field(default_factory=LimitSettings)
    journal: JournalSettings = field(default_factory=JournalSettings)

    def of(self, wanted: Mapping[str, int] | None) -> dict[str, int]:
        """Return the limits of a session whose build's manifest wants these; 0 is none."""
        given = dict(wanted or {})
        found = {}
        for name, default in self._values().items():
            value = int(given.get(name, default))
            found[name] = _lower(value, default) if self.defaults.locked else value
        return found

    def ceilings(self) -> dict[str, int]:
        """Return the limits that no project may raise."""
        return (
            {name: value for name, value in self._values().items() if value} if self.defaults.locked else {}
        )

    def reached(self, records: int, stored: int) -> str | None:
        """Return which limit a journal of so many records and bytes has reached, with its setting."""
        room = self.journal
        if room.records and records >= room.records:
            return f"{room.records} records (NINELIVES_JOURNAL__RECORDS)"
        if room.size_mb and stored >= room.size_mb * _MB:
            return f"{room.size_mb} MB (NINELIVES_JOURNAL__SIZE_MB)"
        return None

    def is_nearly_full(self, records: int, stored: int) -> bool:
        """Tell whether people are warned of a journal of so many records and bytes."""
        return self.reached(ceil(records / NEARLY_FULL), ceil(stored / NEARLY_FULL)) is not None

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
