"""What a session process asks of the journal, and what it is told: plain values, no I/O.

`of_frame` is the only reader of what workers send; everything behind it works with these types.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias

from ninelives.run.wire import BrokenFrame, Frame
from ninelives_server.model.sessions import SessionState

#: A finished record may take the place of one with this status.
STARTED = "started"
_TRACKS = frozenset({"call", "value", "log"})
_KINDS = frozenset({"step", "wait", "value", "log"})
_STATUSES = frozenset({STARTED, "ok", "error", "live", "abandoned", "fired", "cancelled"})
_ENDS = frozenset({SessionState.COMPLETED, SessionState.ERROR, SessionState.STOPPED})
_NAME_LIMIT = 300  # characters; the column's length
_TOPIC_LIMIT = 300  # likewise


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


Op: TypeAlias = Put | Call | Park | Waiting | Begin | Done | Died


class Acked(NamedTuple):
    """A record is committed; `seq` is its place."""

    seq: int


class Refused(NamedTuple):
    """It was not done; `fenced`, `different` or `limit`, or `failed` where we could not."""

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


# Made once: `json.dumps` with options makes an encoder for each call, and each record has a preview.
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def _json(value: object) -> bytes | None:
    return None if value is None else _ENCODER.encode(value).encode()


def _one_of(allowed: frozenset[str], value: object, what: str) -> str:
    if value not in allowed:
        raise BrokenFrame(f"{what} {value!r} is not known")
    return str(value)


def _record(head: Mapping[str, Any], body: bytes, now: datetime) -> Record:
    blob = head.get("blob")
    return Record(
        track=_one_of(_TRACKS, head["track"], "track"),
        strand=str(head["strand"]),
        n=int(head["n"]),
        kind=_one_of(_KINDS, head["kind"], "kind"),
        name=str(head["name"])[:_NAME_LIMIT],
        digest=bytes.fromhex(head.get("digest") or ""),
        status=_one_of(_STATUSES, head["status"], "status"),
        attempt=int(head.get("attempt") or 1),
        started_at=time_of(head.get("start")) or now,
        ended_at=time_of(head.get("end")),
        value=None if blob else body,
        blob=blob or None,
        preview=_json(head.get("preview")),
    )


def _call(head: Mapping[str, Any], body: bytes, now: datetime) -> Call:
    key = head.get("key")
    return Call(
        session_id=head["sid"],
        epoch=int(head["ep"]),
        i=int(head["i"]),
        key=None if key is None else (str(key["strand"]), int(key["n"])),
        name=str(head["name"])[:_NAME_LIMIT],
        args=head.get("args") or {},
        body=body,
        digest=bytes.fromhex(head.get("digest") or ""),
        started_at=time_of(head.get("start")) or now,
        preview=_json(head.get("preview")),
    )


def _done(head: Mapping[str, Any], body: bytes) -> Done:
    state = SessionState(_one_of(frozenset(_ENDS), head["state"], "state"))
    restart = head.get("restart")
    if restart is not None and not isinstance(restart, dict):
        raise BrokenFrame("what a successor is given is no object")
    return Done(head["sid"], int(head["ep"]), int(head["i"]), state, head.get("error"), body or None, restart)


def _park(head: Mapping[str, Any]) -> Park:
    awaits = head.get("awaits")
    topics = None if awaits is None else tuple(str(topic)[:_TOPIC_LIMIT] for topic in awaits)
    return Park(head["sid"], int(head["ep"]), int(head["i"]), time_of(head.get("until")), topics)


def _died(head: Mapping[str, Any]) -> Died:
    return Died(
        session_id=head["sid"],
        epoch=int(head["ep"]),
        signal=head.get("signal"),
        exit_code=head.get("exit_code"),
        reason=str(head.get("reason") or "")[:500],
        stderr=str(head.get("stderr") or "")[-4000:],
        limit=head.get("limit"),
    )


def of_frame(frame: Frame, now: datetime) -> Op:
    """Read a frame that a worker sent for one of its sessions.

    Raises:
        BrokenFrame: It is none of those that the journal knows, or lacks something.
    """
    head = frame.head
    try:
        match frame.type:
            case "record":
                return Put(head["sid"], int(head["ep"]), int(head["i"]), _record(head, frame.body, now))
            case "call":
                return _call(head, frame.body, now)
            case "park":
                return _park(head)
            case "waiting":
                return Waiting(head["sid"], int(head["ep"]), bool(head["is_waiting"]))
            case "begin":
                return Begin(head["sid"], int(head["ep"]))
            case "done":
                return _done(head, frame.body)
            case "died":
                return _died(head)
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenFrame(f"a frame {frame.type!r} cannot be read: {error}") from error
    raise BrokenFrame(f"no frame {frame.type!r} is known")


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
