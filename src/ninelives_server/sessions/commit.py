"""One unit of the journal: operations of many sessions, in one transaction.

The order within a session is kept, so that nothing commits before what was sent ahead of it; between sessions
there is none. Records, nearly everything there is, are stored together; anything else runs by itself in
a savepoint. An operation that is refused fails nothing but itself.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from ninelives import arguments
from ninelives_server import ids, log
from ninelives_server.model.sessions import Session, SessionState
from ninelives_server.sessions import ends, limits, records
from ninelives_server.sessions.limits import Limits
from ninelives_server.sessions.mail import NOTHING
from ninelives_server.sessions.records import (
    GIVE_BACK,
    Answer,
    Begin,
    Call,
    CallFailed,
    Died,
    Done,
    Nonsense,
    Op,
    Park,
    Put,
    Record,
    Waiting,
)
from ninelives_server.store import blobs, inbox, journal, sessions
from ninelives_server.store.core import Tx
from ninelives_server.store.journal import Head, Key, Row
from ninelives_server.vault.vault import Vault

logger = log.get(__name__)

#: Calls that may have to wait for their answer.
WAITS = frozenset({"next_event", "next_signal"})
#: A longer time-out is no different from a very long one. seconds
_LONGEST_WAIT = 100 * 365 * 86400.0
#: The largest result of a session. bytes
RESULT_LIMIT = arguments.LARGEST
#: Calls whose arguments are recorded, too: a fork does these again for itself (`sessions.forks`).
_KEPT = frozenset({"subscribe", "unsubscribe"})


class Answers(Protocol):
    """Does what a call asks for (`sessions.calls`)."""

    def run(self, tx: Tx, head: Head, call: Call) -> Any:
        """Do it and return a JSON value, or `NOTHING` where a wait has to go on.

        Raises:
            CallFailed: User code is told.
        """
        ...

    def give_back(self, tx: Tx, head: Head, found: Mapping[str, Any]) -> None:
        """Put what a wait has found back into the inbox, before everything else."""
        ...

    def restart(self, tx: Tx, session: Session, data: Mapping[str, Any]) -> str:
        """Make the successor of a session that is about to end, and return its id."""
        ...


def context(session_id: str, key: Key, column: str) -> str:
    """Return the context under which a part of a record is sealed."""
    return f"journal:{session_id}:{key.strand}:{key.track}:{key.n}:{column}"


def is_live(head: Head) -> bool:
    """Tell whether somebody may write for this session; one that has ended has no worker."""
    return head.worker_id is not None


class Unit:
    """The operations of one transaction."""

    def __init__(
        self,
        tx: Tx,
        *,
        vault: Vault,
        calls: Answers,
        bounds: Limits,
    ) -> None:
        self._bounds = bounds
        self._tx = tx
        self._vault = vault
        self._calls = calls
        self._heads: dict[str, Head] = {}

    def run(self, ops: Sequence[Op]) -> list[Answer]:
        """Do the operations and return their answers, in the same order."""
        self._heads = self._locked(ops)
        answers: dict[int, Answer] = {}
        waiting = list(range(len(ops)))
        while waiting:
            puts, others, waiting = records.next_round(ops, waiting)
            if puts:
                found = self._put_all([ops[i] for i in puts])  # type: ignore[misc]
                answers.update(zip(puts, found, strict=True))
            for index in others:
                answers[index] = self._one(ops[index])
        for session_id in {op.session_id for op in ops}:
            self._tx.notify("session", session_id)
        return [answers[index] for index in range(len(ops))]

    def _locked(self, ops: Sequence[Op]) -> dict[str, Head]:
        """Lock all sessions that this unit may write to, at once and in order: no two units then block."""
        own = {op.session_id for op in ops}
        if all(type(op) is Put for op in ops):
            return journal.heads(self._tx, own)
        told = {str(op.args.get("session_id")) for op in ops if isinstance(op, Call) and op.name == "signal"}
        told = {session_id for session_id in told if ids.is_id(session_id, "ses")}
        ending = [op.session_id for op in ops if isinstance(op, Done | Died)]
        if ending:
            told.update(sessions.parents(self._tx, ending))
        heads = journal.heads(self._tx, own | told)
        return {sid: head for sid, head in heads.items() if sid in own}

    # --- records ----------------------------------------------------------------------------------

    def _put_all(self, puts: Sequence[Put]) -> list[Answer]:
        """Store records, all of which are probably new."""
        before = dict(self._heads)
        answers: list[Answer] = []
        rows = []
        for put in puts:
            head = self._heads.get(put.session_id)
            if head is None or head.epoch != put.epoch:
                answers.append(records.Refused("fenced"))
            elif not is_live(head):
                # Perhaps a record that was committed and whose acknowledgement was lost.
                answers.append(self._put_again(put, head))
            elif self._is_full(head):
                answers.append(records.Refused("limit"))
            else:
                rows.append(self._row(head, put.record))
                answers.append(records.Acked(head.next_seq))
                self._grow(head, rows[-1])
        if not journal.insert(self._tx, rows):
            touched = {row.session_id: before[row.session_id] for row in rows}
            journal.take_back(self._tx, {sid: head.next_seq for sid, head in touched.items()})
            self._heads.update(touched)
            answers = [self._put_one(put) for put in puts]
        self._end_deaths(rows)
        for put, answer in zip(puts, answers, strict=True):
            if answer == records.Refused("limit"):
                self._end_full(put.session_id)
        return answers

    def _end_deaths(self, rows: Sequence[Row]) -> None:
        """A new record ends a row of deaths; where the journal stands, the records say themselves."""
        died = {row.session_id for row in rows if self._heads[row.session_id].crashes}
        self._heads.update((sid, self._heads[sid]._replace(crashes=0)) for sid in died)
        journal.advance(self._tx, [self._heads[sid] for sid in died])

    def _is_full(self, head: Head) -> bool:
        return self._bounds.reached(head.next_seq - 1, head.journal_bytes) is not None

    def _grow(self, head: Head, row: Row) -> None:
        """Count a record that is being stored."""
        self._heads[head.id] = head._replace(next_seq=row.seq + 1, journal_bytes=row.journal_bytes)

    def _stored(self, head: Head, value: bytes | None, preview: bytes | None, blob: str | None) -> int:
        """Return how many bytes a record takes."""
        size = len(value or b"") + len(preview or b"")
        return size if blob is None else size + blobs.size(self._tx, head.project_id, blob)

    def _put_one(self, put: Put) -> Answer:
        """Store a record that may be there already."""
        head = self._heads.get(put.session_id)
        if head is None or head.epoch != put.epoch:
            return records.Refused("fenced")
        return self._put_again(put, head)

    def _put_again(self, put: Put, head: Head) -> Answer:
        record = put.record
        key = Key(record.track, record.strand, record.n)
        there = journal.by_keys(self._tx, head.id, [key]).get(key)
        if there is not None and self._is_same(head, there, record):
            return records.Acked(there.seq)
        if not is_live(head):
            return records.Refused("fenced")
        if there is not None and not records.finishes(there, record):
            return records.Refused("different")
        if self._is_full(head):
            return records.Refused("limit")
        row = self._row(head, record)
        if there is None:
            journal.add(self._tx, row)
        else:
            journal.replace(self._tx, row)
        self._grow(head, row)
        return records.Acked(row.seq)

    def _row(self, head: Head, record: Record) -> Row:
        key = Key(record.track, record.strand, record.n)
        value = self._sealed(head, key, "value", record.value)
        preview = self._sealed(head, key, "preview", record.preview)
        return Row(
            head.id,
            record.strand,
            record.track,
            record.n,
            head.next_seq,
            record.kind,
            record.name,
            record.digest,
            record.status,
            record.attempt,
            head.epoch,
            record.started_at,
            record.ended_at,
            value,
            record.blob,
            preview,
            head.journal_bytes + self._stored(head, value, preview, record.blob),
        )

    def _sealed(self, head: Head, key: Key, column: str, plain: bytes | None) -> bytes | None:
        if plain is None:
            return None
        return self._vault.seal(self._tx, head.project_id, context(head.id, key, column), plain)

    def _is_same(self, head: Head, row: Row, record: Record) -> bool:
        same = (row.name, row.digest, row.status, row.blob_sha256)
        if same != (record.name, record.digest, record.status, record.blob):
            return False
        return self._value(head, row) == record.value

    def _value(self, head: Head, row: Row) -> bytes | None:
        if row.sealed_value is None:
            return None
        return self._vault.open(
            self._tx, head.project_id, context(head.id, row.key, "value"), row.sealed_value
        )

    def _told(self, head: Head, row: Row) -> Mapping[str, Any] | None:
        """Return what a call's record says; `None` where something else was put there under its name."""
        try:
            told = json.loads(self._value(head, row) or b"{}")
        except ValueError:
            return None
        return told if isinstance(told, dict) else None

    # --- the rest ---------------------------------------------------------------------------------

    def _one(self, op: Op) -> Answer:
        """Do an operation that is no record."""
        head = self._heads.get(op.session_id)
        if head is None or head.epoch != op.epoch:
            return records.Refused("fenced")
        answer: Answer
        match op:
            case Call():
                answer = self._call(head, op)
            case Park():
                answer = self._park(head, op)
            case Waiting():
                answer = self._waiting(head, op)
            case Begin():
                answer = self._begin(head)
            case Done():
                answer = self._done(head, op)
            case Died():
                answer = self._died(head, op)
            case Nonsense():
                answer = self._nonsense(head, op.why)
            case Put():
                answer = self._put_one(op)
        return answer

    def _call(self, head: Head, call: Call) -> Answer:
        if call.name == GIVE_BACK:
            self._give_back(head, Key("call", str(call.args["strand"]), int(call.args["n"])))
            return records.Answered(None, None, None)
        if call.key is None:
            return self._answer(head, call, None) if is_live(head) else records.Refused("fenced")
        key = Key("call", *call.key)
        there = journal.by_keys(self._tx, head.id, [key]).get(key)
        if there is not None:
            told = self._told(head, there)
            if told is None or (there.name, there.digest) != (call.name, call.digest):
                return records.Refused("different")
            if there.status == records.STARTED and is_live(head):
                return self._answer(head, call, key, there)
            return records.Answered(there.seq, told.get("value"), told.get("error"))
        if not is_live(head):
            return records.Refused("fenced")
        if self._is_full(head):
            self._end_full(head.id)
            return records.Refused("limit")
        return self._answer(head, call, key)

    def _answer(self, head: Head, call: Call, key: Key | None, there: Row | None = None) -> Answer:
        """Do what a call asks for; record what it came to in the same transaction."""
        value, error = None, None
        try:
            with journal.savepoint(self._tx):
                value = self._calls.run(self._tx, head, call)
        except CallFailed as failed:
            error = {"type": failed.kind, "message": str(failed)}
        if value is NOTHING:
            return self._nothing_yet(head, call, key, there)
        if error is not None:
            return self._recorded(head, call, key, there, "error", {"error": error})
        kept = {"args": dict(call.args)} if call.name in _KEPT else {}
        return self._recorded(head, call, key, there, "ok", {"value": value, **kept})

    def _nothing_yet(self, head: Head, call: Call, key: Key | None, there: Row | None) -> Answer:
        """Let a wait go on, or end it where its time is over; its deadline is written down when it begins."""
        until = self._wait_until(head, call, there)
        left = None if until is None else (until - self._tx.now).total_seconds()
        if left is not None and left <= 0:
            return self._recorded(head, call, key, there, "fired", {"value": None})
        if key is not None and there is None:
            document = {"until": records.seconds_of(until)}
            self._recorded(head, call, key, None, records.STARTED, document)
        return records.Pending(until, left)

    def _give_back(self, head: Head, key: Key) -> None:
        """Put back what a wait got that nobody waited for any more when it came; once."""
        there = journal.by_keys(self._tx, head.id, [key]).get(key)
        if there is None or there.name not in WAITS or there.status != "ok" or not is_live(head):
            return
        found = (self._told(head, there) or {}).get("value")
        if isinstance(found, dict):
            self._calls.give_back(self._tx, head, found)
        journal.replace(self._tx, there._replace(status="cancelled", sealed_value=None))

    def _wait_until(self, head: Head, call: Call, there: Row | None) -> datetime | None:
        if there is not None:
            return records.time_of((self._told(head, there) or {}).get("until"))
        timeout = call.args.get("timeout")
        if timeout is None:
            return None
        return self._tx.now + timedelta(seconds=max(0.0, min(timeout, _LONGEST_WAIT)))

    def _recorded(
        self,
        head: Head,
        call: Call,
        key: Key | None,
        there: Row | None,
        status: str,
        told: Mapping[str, Any],
    ) -> Answer:
        """Write down what a call came to; `there` is the record of a wait that has begun."""
        value, error = told.get("value"), told.get("error")
        if key is None:
            return records.Answered(None, value, error)
        record = Record(
            track=key.track,
            strand=key.strand,
            n=key.n,
            kind="wait" if call.name in WAITS else "step",
            name=call.name,
            digest=call.digest,
            status=status,
            attempt=1,
            started_at=call.started_at if there is None else there.started_at,
            ended_at=None if status == records.STARTED else self._tx.now,
            value=json.dumps(told).encode(),
            blob=None,
            preview=call.preview,
        )
        row = self._row(head, record)
        if there is None:
            journal.add(self._tx, row)
        else:
            journal.replace(self._tx, row)
        self._grow(head, row)
        self._end_deaths([row])
        return records.Answered(row.seq, value, error)

    def _park(self, head: Head, op: Park) -> Answer:
        if head.worker_id is None:
            is_parked = head.state == SessionState.WAITING
            return records.Parked() if is_parked else records.Refused("fenced")
        if not is_live(head):
            return records.Refused("fenced")
        is_due = op.until is not None and op.until <= self._tx.now
        session = sessions.by_id(self._tx, head.id)
        is_stopping = session is not None and session.stop_requested is not None
        if is_due or is_stopping or inbox.has_unread(self._tx, head.id, op.awaits):
            return records.Stay()
        allowed = self._bounds.of(sessions.pinned(self._tx, head.id).limits)
        end = limits.deadline(allowed, None if session is None else session.started_at)
        # It is looked at when it is due, or its time is over.
        sessions.park(self._tx, head.id, min((at for at in (op.until, end) if at is not None), default=None))
        inbox.await_only(self._tx, head.id, op.awaits)
        self._heads[head.id] = head._replace(worker_id=None, state=SessionState.WAITING)
        return records.Parked()

    def _waiting(self, head: Head, op: Waiting) -> Answer:
        state = SessionState.WAITING if op.is_waiting else SessionState.RUNNING
        if is_live(head) and head.state != state:
            sessions.set_waiting(self._tx, head.id, state)
            self._heads[head.id] = head._replace(state=state)
        return records.Noted()

    def _begin(self, head: Head) -> Answer:
        session = sessions.by_id(self._tx, head.id)
        if session is None or not is_live(head):
            return records.Refused("fenced")
        if session.started_at is None:
            if session.stop_requested is not None:
                self._end(head, SessionState.STOPPED)
                return records.Refused("fenced")
            sessions.begin(self._tx, head.id)
        return records.Begun()

    def _done(self, head: Head, op: Done) -> Answer:
        if SessionState(head.state).is_terminal:
            return records.Ended()
        if not is_live(head):
            return records.Refused("fenced")
        result, state, error = op.result, op.state, op.error
        if result is not None and len(result) > RESULT_LIMIT:
            state, result = SessionState.ERROR, None
            error = ends.too_large(RESULT_LIMIT)
        elif result is not None and (why := arguments.wrong_json(result)) is not None:
            return self._nonsense(head, f"a frame 'done': {why}")
        if op.restart is not None and state is SessionState.COMPLETED:
            session = sessions.by_id(self._tx, head.id)
            assert session is not None
            if session.stop_requested is None:
                try:
                    data = ends.handed_over(op.restart, result)
                    successor_id = self._calls.restart(self._tx, session, data)
                    result = json.dumps({"restarted_as": successor_id}).encode()
                except (TypeError, ValueError) as wrong:
                    state, result = SessionState.ERROR, None
                    error = ends.error(type(wrong).__name__, str(wrong))
        self._end(head, state, result=result, error=error)
        return records.Ended()

    def _died(self, head: Head, op: Died) -> Answer:
        if SessionState(head.state).is_terminal:
            return records.Buried("error", 0)
        if not is_live(head):
            return records.Buried("retry", 0)
        session = sessions.by_id(self._tx, head.id)
        assert session is not None
        if session.stop_requested is not None:
            self._end(head, SessionState.STOPPED)
            return records.Buried("error", 0)
        if op.reason == "shutdown" and ends.goes_on(session):
            ends.release(self._tx, session)
            return records.Buried("retry", 0)
        if op.limit is not None:
            last = journal.last(self._tx, head.id)
            error = ends.over_limit(op, last, session, self._bounds.ceilings())
            self._end(head, SessionState.ERROR, error=error)
            return records.Buried("error", 0)
        crashes = head.crashes + 1
        has_process = op.signal is not None or op.exit_code is not None
        is_tried_again = session.is_durable or (ends.goes_on(session) and has_process)
        if not is_tried_again or crashes >= ends.DEATHS:
            last = journal.last(self._tx, head.id)
            error = ends.obituary(op, last, session, is_last_of_many=is_tried_again)
            self._end(head, SessionState.ERROR, error=error)
            return records.Buried("error", 0)
        ends.release(self._tx, session, crashes=crashes)
        self._heads[head.id] = head._replace(worker_id=None, state=SessionState.RUNNING, crashes=crashes)
        return records.Buried("retry", ends.delay_after(crashes))

    # --- ends -------------------------------------------------------------------------------------

    def _nonsense(self, head: Head, why: str) -> Answer:
        if not is_live(head):
            return records.Refused("fenced")
        last = journal.last(self._tx, head.id)
        self._end(head, SessionState.ERROR, error=ends.nonsense(why, last))
        return records.Refused("nonsense")

    def _end_full(self, session_id: str) -> None:
        head = self._heads[session_id]
        limit = self._bounds.reached(head.next_seq - 1, head.journal_bytes)
        if is_live(head) and limit is not None:
            self._end(head, SessionState.ERROR, error=ends.full(limit, head.next_seq - 1))

    def _end(
        self,
        head: Head,
        state: SessionState,
        *,
        result: bytes | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> None:
        ended = ends.end(self._tx, self._vault, head, state, result=result, error=error)
        self._heads[head.id] = head._replace(worker_id=None, state=ended)
