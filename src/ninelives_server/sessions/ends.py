"""How sessions end, or go on elsewhere: what is stored, and what people read where it did not end well."""

import json
from collections.abc import Mapping
from typing import Any

from ninelives import arguments
from ninelives.run import limits, semantics
from ninelives_server.model.sessions import Session, SessionState
from ninelives_server.sessions import mail
from ninelives_server.sessions.records import Died
from ninelives_server.store import journal, sessions
from ninelives_server.store.core import Tx
from ninelives_server.store.journal import Head, Row
from ninelives_server.vault.vault import Vault

#: Deaths in a row without a new record, after which a session ends.
DEATHS = 5
#: How long a process that died waits for its next start; the last one repeats. seconds
_DELAYS = (1.0, 5.0, 30.0)
#: Who says what cannot be read, and how a worker begins to tell of it.
_BY_CODE = (
    "only Ninelives speaks through the socket of a session's process, so code of the session, or of a "
    "library, has written to it (to a file descriptor that is not its own)"
)
_OF_SOCKET = ("it sent a frame", "it used the number")


def delay_after(deaths: int) -> float:
    """Return how long to wait after so many deaths in a row. seconds."""
    return _DELAYS[min(deaths, len(_DELAYS)) - 1]


def goes_on(session: Session) -> bool:
    """Tell whether a session may run again whose process is gone: it has a journal, or nothing of it ran."""
    return session.is_durable or session.started_at is None


def handed_over(restart: Mapping[str, Any], body: bytes | None) -> Mapping[str, Any]:
    """Return the data of a successor; where it is large it came as the body.

    Raises:
        TypeError: It is no object.
        ValueError: It is too large.
    """
    data = arguments.unpacked("restart", {"data": restart}, body or b"")["data"]
    if not isinstance(data, dict):
        raise TypeError("restart: the data of a successor is no object")
    return data


def release(tx: Tx, session: Session, *, crashes: int | None = None) -> None:
    """Take a session from its worker; it should run elsewhere."""
    sessions.release(tx, session.id, crashes=crashes)
    if session.started_at is None:
        sessions.undo_start(tx, session.id)


def end(
    tx: Tx,
    vault: Vault,
    head: Head,
    state: SessionState,
    *,
    result: bytes | None = None,
    error: Mapping[str, Any] | None = None,
) -> SessionState:
    """End a session, sealing what it came to; one that was asked to stop is `stopped` either way."""
    session = sessions.by_id(tx, head.id)
    if session is not None and session.stop_requested is not None:
        state = SessionState.STOPPED
    if session is not None:
        mail.tell_parent(tx, vault, session, state, result)
    # Its records may be deleted one day, and it is still listed with their number.
    journal.advance(tx, [head])
    where = f"sessions:{head.id}"
    document = None if error is None else json.dumps(error).encode()
    sessions.end(
        tx,
        head.id,
        state,
        result=None if result is None else vault.seal(tx, head.project_id, f"{where}:sealed_result", result),
        error=None
        if document is None
        else vault.seal(tx, head.project_id, f"{where}:sealed_error", document),
    )
    tx.notify("session", head.id)
    if session is not None and session.event_id is not None:
        # A webhook may wait for what this session will not say any more.
        tx.notify("event", session.event_id)
    return state


def error(kind: str, message: str, *, traceback: str = "", seq: int | None = None) -> dict[str, Any]:
    """Return an error as sessions keep it; `seq` is the last step before it."""
    return {"type": kind, "message": message, "traceback": traceback, "seq": seq}


def full(limit: str, last_seq: int) -> dict[str, Any]:
    """Return the error of a journal that takes no more; `limit` names its value and its setting."""
    message = (
        f"the journal has reached its limit of {limit}; "
        "ninelives.restart(data) ends a session and starts its successor with an empty journal; "
        "or split the work among child sessions (ninelives.start)"
    )
    return error("JournalFull", message, seq=last_seq)


def over_limit(op: Died, last: Row | None, session: Session, ceilings: Mapping[str, int]) -> dict[str, Any]:
    """Return the error of a session that was killed because it used too much."""
    excess = op.limit or {}
    name, limit = str(excess.get("name")), int(excess.get("limit") or 0)
    return error(
        "LimitExceeded",
        f"{limits.words(name, limit, ceilings)}; it was killed {_place(last, session)}",
        traceback=op.stderr,
        seq=last and last.seq,
    )


def too_late(allowed: Mapping[str, int], last: Row | None, ceilings: Mapping[str, int]) -> dict[str, Any]:
    """Return the error of a session whose time was over while it had no process."""
    reached = limits.words(limits.WALL, allowed[limits.WALL], ceilings)
    message = f"{reached}; it was waiting {_after(last)}"
    return error("LimitExceeded", message, seq=last and last.seq)


def _after(last: Row | None) -> str:
    return "before its first step" if last is None else f"after step {last.seq} ({last.name})"


def _place(last: Row | None, session: Session) -> str:
    return _after(last) if session.is_durable else _begun(session)


def _begun(session: Session) -> str:
    """Say where a session stood that is not durable: it has no steps."""
    return "before its code began" if session.started_at is None else "after its code had begun"


def cut_off(session_id: str, needed: int, carried: frozenset[int]) -> dict[str, Any]:
    """Return the error of a session that no release from this one on can go on with."""
    message = (
        f"the session began with semantics version {needed}, and this release of Ninelives carries "
        f"{semantics.words(carried)}; an older release could have gone on with it. "
        f"`ninelives session fork {session_id} --from-step 1` runs it again from its beginning"
    )
    return error("SemanticsNotCarried", message)


def nonsense(why: str, last: Row | None) -> dict[str, Any]:
    """Return the error of a session whose process said what nobody can read."""
    message = f"its process said something that cannot be read: {why}; {_BY_CODE}"
    return error("BrokenFrame", message, seq=last and last.seq)


def lost(last: Row | None) -> dict[str, Any]:
    """Return the error of a session that is not durable and whose worker is gone, after its code began."""
    message = "its worker was lost; only durable sessions go on elsewhere (is_durable, or --durable)"
    return error("Interrupted", message, seq=last and last.seq)


def too_large(limit: int) -> dict[str, Any]:
    """Return the error of a result that is not stored."""
    message = f"the result is over {limit} bytes; return less, or the address of a file"
    return error("ResultTooLarge", message)


def obituary(op: Died, last: Row | None, session: Session, *, is_last_of_many: bool) -> dict[str, Any]:
    """Return the error of a session whose process cannot be kept alive."""
    where = _place(last, session)
    if op.reason == "shutdown":
        kind, message = "Interrupted", f"interrupted by shutdown {where}; durable sessions go on instead"
    elif is_last_of_many:
        kind = "ProcessDied"
        message = f"its process died {DEATHS} times in a row {where}: {_cause(op)}"
    else:
        kind, message = "ProcessDied", f"its process died {where}: {_cause(op)}"
    return error(kind, message, traceback=op.stderr, seq=last and last.seq)


def _cause(op: Died) -> str:
    if op.reason.startswith(_OF_SOCKET):
        return f"{op.reason}; {_BY_CODE}"  # its worker has killed it for that: no signal says more
    if op.signal is not None:
        cause = f"killed by signal {op.signal}"
    elif op.exit_code is not None:
        cause = f"exit code {op.exit_code}"
    else:
        return op.reason or "it was lost without an exit code"
    return f"{cause}; {op.reason}" if op.reason else cause
