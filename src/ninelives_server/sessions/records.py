"""What a session process asks of the journal, and what it is told: plain values, no I/O.

`sessions.frames` is the only reader of what workers send; everything behind it works with these types.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol, TypeAlias

from ninelives_server.model.sessions import SessionState

#: A finished record may take the place of one with this status.
STARTED = "started"
#: The call that undoes the delivery that a wait's record holds.
GIVE_BACK = "give_back"


class Record(NamedTuple):
    """One line of a journal.

    Attributes:
        digest: SHA-256 over name and arguments; empty where there is nothing to compare.
        value: What the session process made; opaque. `None` where `blob` is set.
        blob: SHA-256, in hex, of a value that was uploaded ahead.
        preview: Bounded JSON for people.
    """

    track: str
    strand: str
    n: int
    kind: str
    name: str
    digest: bytes
    status: str
    attempt: int
    started_at: datetime
    ended_at: datetime | None
    value: bytes | None
    blob: str | None
    preview: bytes | None


class Put(NamedTuple):
    """Add a record."""

    session_id: str
    epoch: int
    i: int
    record: Record


class Call(NamedTuple):
    """Do something in the database and record it, in one transaction.

    Attributes:
        key: Strand and n; `None` where nothing is recorded (in a step, or in a session that is not durable).
    """

    session_id: str
    epoch: int
    i: int
    key: tuple[str, int] | None
    name: str
    args: Mapping[str, Any]
    body: bytes
    digest: bytes
    started_at: datetime
    preview: bytes | None


class CallFailed(Exception):
    """A call came to an error that user code gets."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Park(NamedTuple):
    """End the process until it is due or something arrives; `until=None` waits for the latter only.

    Attributes:
        awaits: Topics of the inbox that start it again; `None`: all.
    """

    session_id: str
    epoch: int
    i: int
    until: datetime | None
    awaits: tuple[str, ...] | None = None


class Waiting(NamedTuple):
    """All strands wait, or not any more."""

    session_id: str
    epoch: int
    is_waiting: bool


class Begin(NamedTuple):
    """The code of a session that is not durable is about to run; once this is committed, it may have."""

    session_id: str
    epoch: int


class Done(NamedTuple):
    """The session has ended by itself; `result` is JSON.

    Attributes:
        restart: It asked for a successor, with this for `event.data`.
    """

    session_id: str
    epoch: int
    i: int
    state: SessionState
    error: Mapping[str, Any] | None
    result: bytes | None
    restart: Mapping[str, Any] | None = None


class Died(NamedTuple):
    """The process is gone without a word.

    Attributes:
        limit: The limit for which it was killed: `{name, limit, used}`.
    """

    session_id: str
    epoch: int
    signal: int | None
    exit_code: int | None
    reason: str
    stderr: str
    limit: Mapping[str, Any] | None = None


class Nonsense(NamedTuple):
    """What the process said can be read or stored by nobody: its session ends, and no other one's.

    Attributes:
        i: `None` where it had none.
        why: For people.
    """

    session_id: str
    epoch: int
    i: int | None
    why: str


Op: TypeAlias = Put | Call | Park | Waiting | Begin | Done | Died | Nonsense


class Acked(NamedTuple):
    """A record is committed; `seq` is its place."""

    seq: int


class Refused(NamedTuple):
    """It was not done; `fenced`, `different`, `limit` or `nonsense`, or `failed` where we could not."""

    reason: str


class Answered(NamedTuple):
    """What a call came to: a value, or an error for user code."""

    seq: int | None
    value: Any
    error: Mapping[str, str] | None
    body: bytes = b""


class Pending(NamedTuple):
    """A wait goes on: what it waits for is not there.

    Attributes:
        left: How long it will wait at most; `None`: for ever. seconds
    """

    until: datetime | None
    left: float | None


class Parked(NamedTuple):
    """The process may end."""


class Stay(NamedTuple):
    """Something has arrived; go on."""


class Noted(NamedTuple):
    """Nothing to say."""


class Begun(NamedTuple):
    """The code may run."""


class Ended(NamedTuple):
    """The session has ended, for good."""


class Buried(NamedTuple):
    """What becomes of a session whose process died: `retry` after `delay` seconds, or `error`."""

    outcome: str
    delay: float


Answer: TypeAlias = Acked | Refused | Answered | Pending | Parked | Stay | Noted | Begun | Ended | Buried


class Stored(Protocol):
    """A record that is there already."""

    @property
    def name(self) -> str:
        """Of the step or wait."""
        ...

    @property
    def digest(self) -> bytes:
        """As in `Record`."""
        ...

    @property
    def status(self) -> str:
        """As in `Record`."""
        ...


def finishes(there: Stored, record: Record) -> bool:
    """Tell whether a record is the end of the step or wait that has started at its key."""
    has_started = there.status == STARTED and record.status != STARTED
    return has_started and (there.name, there.digest) == (record.name, record.digest)


def size_of(op: Op) -> int:
    """Return how much an operation brings: a step's value, what a call hands over, a result.

    Returns:
        Bytes; 0 for what only says something.
    """
    match op:
        case Put():
            return len(op.record.value or b"")
        case Call():
            return len(op.body)
        case Done():
            return len(op.result or b"")
        case _:
            return 0


def time_of(value: object) -> datetime | None:
    """Read a time: seconds since 1970, or ISO 8601."""
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC)
    parsed = datetime.fromisoformat(str(value))
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def seconds_of(at: datetime | None) -> float | None:
    """Write a time as seconds since 1970."""
    return None if at is None else at.timestamp()


def next_round(ops: Sequence[Op], waiting: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """Split operations into records to store now, others to do then, and those to come after.

    A session's records up to its first other operation are stored now, that operation follows, and the
    rest waits for the next round.
    """
    puts: list[int] = []
    others: list[int] = []
    later: list[int] = []
    blocked: set[str] = set()
    for index in waiting:
        op = ops[index]
        if op.session_id in blocked:
            later.append(index)
        elif isinstance(op, Put):
            puts.append(index)
        else:
            others.append(index)
            blocked.add(op.session_id)
    return puts, others, later
