"""The log of events: appended by commits and publishers, read by streams, from any thread.

Replay ids ascend with gaps, as Salesforce's do, over all topics of the org.
"""

import bisect
import itertools
import secrets
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event on the bus.

    Attributes:
        topics: Every topic that delivers it, such as `/data/LeadChangeEvent` and `/data/ChangeEvents`.
    """

    replay: int
    event_id: str
    topics: frozenset[str]
    schema_id: str
    payload: bytes = field(repr=False)
    at: datetime

    @property
    def replay_id(self) -> bytes:
        """Return the replay id as it travels: eight bytes, big endian."""
        return to_bytes(self.replay)


def to_bytes(replay: int) -> bytes:
    """Return a replay id as it travels."""
    return replay.to_bytes(8, "big")


class EventLog:
    """The events of one org, and the condition that announces new ones."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._events: list[Event] = []
        self._last = 1_000_000 + secrets.randbelow(50_000_000)
        self._floor = self._last  # replay ids below this one are unknown

    @property
    def last(self) -> int:
        """Return the replay id of the newest event, or where the log began."""
        return self._last

    def append(
        self, *, topics: frozenset[str], schema_id: str, payload: bytes, at: datetime,
        event_id: str | None = None,
    ) -> Event:  # fmt: skip
        """Put an event on the bus and wake the streams."""
        with self.changed:
            self._last += 1 + secrets.randbelow(4)
            event = Event(
                replay=self._last, event_id=event_id or str(uuid.uuid4()), topics=topics,
                schema_id=schema_id, payload=payload, at=at,
            )  # fmt: skip
            self._events.append(event)
            self.changed.notify_all()
            return event

    def read(self, topic: str, after: int, limit: int) -> list[Event]:
        """Return the first events of a topic behind a replay id."""
        with self.changed:
            start = bisect.bisect_right(self._events, after, key=lambda e: e.replay)
            found = (e for e in itertools.islice(self._events, start, None) if topic in e.topics)
            return list(itertools.islice(found, limit))

    def earliest(self) -> int:
        """Return the place from which a reader gets everything that is kept."""
        with self.changed:
            return self._events[0].replay - 1 if self._events else self._last

    def knows(self, replay: int) -> bool:
        """Say whether one may resume behind this replay id."""
        with self.changed:
            return self._floor <= replay <= self._last

    def forget(self, older_than: timedelta, now: datetime) -> None:
        """Drop events that are too old; their replay ids become unknown."""
        with self.changed:
            kept = [e for e in self._events if now - e.at <= older_than]
            if len(kept) < len(self._events):
                self._floor = self._events[len(self._events) - len(kept) - 1].replay
            self._events = kept

    def reset(self) -> None:
        """Begin anew at other replay ids, as after a move of the org: no stored one is known any more."""
        with self.changed:
            self._events = []
            self._last += 1_000_000 + secrets.randbelow(1_000_000)
            self._floor = self._last
            self.changed.notify_all()

    def all(self) -> list[Event]:
        """Return the events that are kept."""
        with self.changed:
            return list(self._events)

    def wait(self, until: Callable[[], bool], seconds: float) -> bool:
        """Wait until the condition holds, checked at each change; say whether it does."""
        with self.changed:
            return self.changed.wait_for(until, timeout=seconds)

    def wake(self) -> None:
        """Let everything that waits look again."""
        with self.changed:
            self.changed.notify_all()
