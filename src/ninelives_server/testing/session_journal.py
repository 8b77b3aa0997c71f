"""The journal of one session, in memory: the server's rules in small, for `session_harness`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Row:
    """A committed record."""

    seq: int
    head: dict[str, Any]
    body: bytes

    @property
    def key(self) -> tuple[str, str, int]:
        """Track, strand and number."""
        return self.head["track"], self.head["strand"], self.head["n"]

    def __repr__(self) -> str:
        head = self.head
        return f"<{self.seq} {head['track']} {head['strand']}:{head['n']} {head['name']} {head['status']}>"


@dataclass
class Journal:
    """The committed records of one session, in memory; the server's rules in small."""

    rows: dict[tuple[str, str, int], Row] = field(default_factory=dict)
    next_seq: int = 1

    def put(self, head: dict[str, Any], body: bytes) -> Row | None:
        """Commit a record; `None` where another one is in its place."""
        new = Row(self.next_seq, {k: v for k, v in head.items() if k not in {"t", "i"}}, body)
        there = self.rows.get(new.key)
        if there is not None:
            if _same(there, new):
                return there
            is_finish = there.head["status"] == "started" and new.head["status"] != "started"
            if not is_finish or there.head["name"] != new.head["name"]:
                return None
        self.next_seq += 1
        self.rows[new.key] = new
        return new

    def call(self, key: Mapping[str, Any]) -> Row | None:
        """Return the step or wait at a key."""
        return self.rows.get(("call", key["strand"], key["n"]))

    def in_order(self) -> list[Row]:
        """Return the records in the order of their commits."""
        return sorted(self.rows.values(), key=lambda row: row.seq)

    def steps(self) -> list[str]:
        """Return the names of the steps and waits, in order."""
        return [row.head["name"] for row in self.in_order() if row.head["track"] == "call"]

    def prints(self, *, in_steps: bool = True) -> str:
        """Return what was printed; what steps print may be there twice if they were executed twice."""
        rows = (row for row in self.in_order() if row.head["track"] == "log")
        return "".join(row.body.decode() for row in rows if in_steps or "/" not in row.head["strand"])

    def copy(self) -> "Journal":
        """Return a journal that goes its own way."""
        return Journal(dict(self.rows), self.next_seq)


def _same(one: Row, other: Row) -> bool:
    names = ("name", "digest", "status")
    return [one.head.get(n) for n in names] == [other.head.get(n) for n in names] and one.body == other.body
