"""Reads what workers send for their sessions: frames in, operations (`sessions.records`) out. No I/O.

Workers pass on what session processes say, and project code can write anything to its socket. So what cannot
be read, or what no database would take, is an operation, too: `Nonsense`, which ends its session and nobody
else's. Only a frame that is the worker's own breaks the link.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from ninelives.run.wire import BrokenFrame, Frame
from ninelives_server.model.sessions import SessionState
from ninelives_server.sessions.records import (
    GIVE_BACK,
    STARTED,
    Begin,
    Call,
    Died,
    Done,
    Nonsense,
    Op,
    Park,
    Put,
    Record,
    Waiting,
    time_of,
)

_TRACKS = frozenset({"call", "value", "log"})
_KINDS = frozenset({"step", "wait", "value", "log"})
_STATUSES = frozenset({STARTED, "ok", "error", "live", "abandoned", "fired", "cancelled"})
_ENDS = frozenset({SessionState.COMPLETED, SessionState.ERROR, SessionState.STOPPED})
_NAME_LIMIT = 300  # characters; the column's length
_TOPIC_LIMIT = 300  # likewise
#: A session that waits for more topics is started by any.
_TOPICS: Final = 10_000
#: Numbers are columns of four bytes on PostgreSQL.
_LARGEST: Final = 2**31 - 1
#: The year 9987: with a time zone, or a little later, it still is a date. seconds since 1970
_LATEST: Final = 253_000_000_000
_STRAND = re.compile(r"[0-9a-z~./]{1,100}")
_DIGEST = re.compile(r"(?:[0-9a-f]{64})?")
_SHOWN = 100  # characters of a value in a message
# Made once: `json.dumps` with options makes an encoder for each call, and each record has a preview.
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def of_frame(frame: Frame, now: datetime) -> Op:
    """Read a frame that a worker sent for one of its sessions.

    Raises:
        BrokenFrame: It is none of those that the journal knows, or is the worker's own and lacks something.
    """
    head = frame.head
    kind = frame.type
    try:
        session_id, epoch = str(head["sid"]), int(head["ep"])
        if kind == "begin":
            return Begin(session_id, epoch)
        if kind == "died":
            return _died(session_id, epoch, head)
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenFrame(f"a frame {kind!r} cannot be read: {error}") from error
    read = _READ.get(kind)
    if read is None:
        raise BrokenFrame(f"no frame {kind!r} is known")
    try:
        return read(session_id, epoch, head, frame.body, now)
    except (KeyError, TypeError, ValueError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        i = head.get("i")
        return Nonsense(session_id, epoch, i if type(i) is int else None, f"a frame {kind!r}: {why}")


# --- fields -----------------------------------------------------------------------------------------------


def _wrong(what: str, value: object, wanted: str) -> ValueError:
    shown = repr(value)
    return ValueError(f"{what} {shown[:_SHOWN]}{'…' * (len(shown) > _SHOWN)} is no {wanted}")


def _number(value: object, what: str, least: int = 0) -> int:
    if type(value) is not int or not least <= value <= _LARGEST:
        raise _wrong(what, value, f"number from {least} to {_LARGEST}")
    return value


def _i(head: Mapping[str, Any]) -> int:
    i = head["i"]
    if type(i) is not int:
        raise _wrong("i", i, "number")
    return i


def _one_of(allowed: frozenset[str], value: object, what: str) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise _wrong(what, value, f"{what} of a session's")
    return str(value)


# Nearly every record is of one of a few.
@lru_cache(maxsize=1024)
def _is_strand(name: str) -> bool:
    return _STRAND.fullmatch(name) is not None


def _strand(value: object) -> str:
    if not isinstance(value, str) or not _is_strand(value):
        raise _wrong("strand", value, "name of a strand")
    return value


def _name(value: object, what: str = "name", limit: int = _NAME_LIMIT) -> str:
    """Return a text that a column takes: PostgreSQL has no NUL, and no database half of a surrogate pair."""
    if not isinstance(value, str) or "\0" in value:
        raise _wrong(what, value, "text without NUL characters")
    if not value.isascii():
        value.encode()
    return value[:limit]


def _digest(value: object) -> bytes:
    if value is None:
        return b""
    if not isinstance(value, str) or _DIGEST.fullmatch(value) is None:
        raise _wrong("digest", value, "SHA-256 in hex")
    return bytes.fromhex(value)


def _time(value: object, what: str) -> datetime | None:
    """Read a time that every database and clock can hold."""
    if value is None:
        return None
    # Its class first: a step brings two of them, and a tuple of classes takes as long as all the rest.
    if (type(value) is float or type(value) is int) and 0 <= value <= _LATEST:
        return datetime.fromtimestamp(value, UTC)
    if isinstance(value, str):
        try:
            found = time_of(value)
        except (ValueError, OverflowError):
            found = None
        if found is not None and 0 <= found.timestamp() <= _LATEST:
            return found
    raise _wrong(what, value, f"time from 1970 on, as ISO 8601 or as seconds up to {_LATEST}")


def _preview(value: object) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise _wrong("preview", value, "object")
    return _ENCODER.encode(value).encode()


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(what, value, "object")
    return value


def _key(value: object) -> tuple[str, int]:
    key = _object(value, "key")
    return _strand(key["strand"]), _number(key["n"], "n")


def _in_unicode(head: Mapping[str, Any]) -> None:
    """See that everything in a header is text and numbers that JSON and databases can hold.

    Raises:
        ValueError: There is half of a surrogate pair, an infinity or no number among it.
    """
    _ENCODER.encode(head).encode()


# --- frames -----------------------------------------------------------------------------------------------


def _put(session_id: str, epoch: int, head: Mapping[str, Any], body: bytes, now: datetime) -> Put:
    blob = head.get("blob")
    record = Record(
        track=_one_of(_TRACKS, head["track"], "track"),
        strand=_strand(head["strand"]),
        n=_number(head["n"], "n"),
        kind=_one_of(_KINDS, head["kind"], "kind"),
        name=_name(head["name"]),
        digest=_digest(head.get("digest")),
        status=_one_of(_STATUSES, head["status"], "status"),
        attempt=_number(head.get("attempt") or 1, "attempt", 1),
        started_at=_time(head.get("start"), "start") or now,
        ended_at=_time(head.get("end"), "end"),
        value=None if blob else body,
        blob=blob or None,
        preview=_preview(head.get("preview")),
    )
    return Put(session_id, epoch, _i(head), record)


def _call(session_id: str, epoch: int, head: Mapping[str, Any], body: bytes, now: datetime) -> Call:
    _in_unicode(head)
    key = head.get("key")
    name, args = _name(head["name"]), _object(head.get("args") or {}, "args")
    if name == GIVE_BACK:
        _key(args)
    return Call(
        session_id=session_id,
        epoch=epoch,
        i=_i(head),
        key=None if key is None else _key(key),
        name=name,
        args=args,
        body=body,
        digest=_digest(head.get("digest")),
        started_at=_time(head.get("start"), "start") or now,
        preview=_preview(head.get("preview")),
    )


def _park(session_id: str, epoch: int, head: Mapping[str, Any], _body: bytes, _now: datetime) -> Park:
    awaits = head.get("awaits")
    if awaits is not None and not isinstance(awaits, list):
        raise _wrong("awaits", awaits, "list")
    topics = None if awaits is None else tuple(_name(topic, "topic", _TOPIC_LIMIT) for topic in awaits)
    if topics is not None and len(topics) > _TOPICS:
        topics = None
    return Park(session_id, epoch, _i(head), _time(head.get("until"), "until"), topics)


def _waiting(session_id: str, epoch: int, head: Mapping[str, Any], _body: bytes, _now: datetime) -> Waiting:
    return Waiting(session_id, epoch, bool(head["is_waiting"]))


def _done(session_id: str, epoch: int, head: Mapping[str, Any], body: bytes, _now: datetime) -> Done:
    _in_unicode(head)
    state = SessionState(_one_of(frozenset(_ENDS), head["state"], "state"))
    restart = head.get("restart")
    return Done(
        session_id,
        epoch,
        _i(head),
        state,
        None if (error := head.get("error")) is None else _error(error),
        body or None,
        None if restart is None else _object(restart, "restart"),
    )


def _error(value: object) -> Mapping[str, Any]:
    """Return an error as the session's page shows it."""
    error = _object(value, "error")
    for name in ("type", "message", "traceback", "repr"):
        if not isinstance(text := error.get(name, ""), str):
            raise _wrong(f"error's {name}", text, "text")
    seq = error.get("seq")
    return {"type": "Error", "message": "", "traceback": "", **error, "seq": seq and _number(seq, "seq")}


_READ: Final[dict[str, Callable[[str, int, Mapping[str, Any], bytes, datetime], Op]]] = {
    "record": _put,
    "call": _call,
    "park": _park,
    "waiting": _waiting,
    "done": _done,
}


def _died(session_id: str, epoch: int, head: Mapping[str, Any]) -> Died:
    return Died(
        session_id=session_id,
        epoch=epoch,
        signal=head.get("signal"),
        exit_code=head.get("exit_code"),
        reason=str(head.get("reason") or "")[:500],
        stderr=str(head.get("stderr") or "")[-4000:],
        limit=head.get("limit"),
    )
