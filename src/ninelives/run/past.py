"""The journal as this process found it: what earlier processes of the session committed."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ninelives.run.wire import Frame


class Record(NamedTuple):
    """One committed line of the journal."""

    seq: int
    kind: str
    name: str
    digest: str
    status: str
    attempt: int
    start: float | None
    end: float | None
    body: bytes


class Past:
    """Finds committed records by their keys.

    Attributes:
        log_bytes: How much earlier processes have printed.
    """

    def __init__(self) -> None:
        self.last_seq = 0
        self.count = 0
        self.log_bytes = 0
        self._calls: dict[str, dict[int, Record]] = {}
        self._values: dict[str, dict[int, Record]] = {}
        self._logs: dict[str, int] = {}

    def add(self, frame: Frame) -> None:
        """Take a `past` frame."""
        head = frame.head
        self.count += 1
        self.last_seq = max(self.last_seq, head["seq"])
        strand, n, track = head["strand"], head["n"], head["track"]
        if track == "log":
            self._logs[strand] = max(self._logs.get(strand, 0), n + 1)
            self.log_bytes += len(frame.body)
            return
        place = self._calls if track == "call" else self._values
        place.setdefault(strand, {})[n] = _record(head, frame.body)

    def calls(self, strand: str) -> dict[int, Record]:
        """Return a strand's steps and waits; the strand takes them out as it passes them."""
        return self._calls.setdefault(strand, {})

    def values(self, strand: str) -> dict[int, Record]:
        """Return a strand's clock readings; the strand takes them out too."""
        return self._values.setdefault(strand, {})

    def logs(self, strand: str) -> int:
        """Return how many things a strand has printed."""
        return self._logs.get(strand, 0)

    def first_unused(self) -> Record | None:
        """Return the first step or wait that no strand has passed."""
        left = (record for records in self._calls.values() for record in records.values())
        return min(left, key=lambda record: record.seq, default=None)

    def by_name(self, strand: str, name: str) -> tuple[int, Record] | None:
        """Return a strand's step or wait of this name, if there is one."""
        for n, record in self.calls(strand).items():
            if record.name == name:
                return n, record
        return None


def _record(head: Mapping[str, Any], body: bytes) -> Record:
    return Record(
        head["seq"],
        head["kind"],
        head["name"],
        head.get("digest") or "",
        head["status"],
        head.get("attempt") or 1,
        head.get("start"),
        head.get("end"),
        body,
    )
