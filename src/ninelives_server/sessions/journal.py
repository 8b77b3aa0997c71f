"""The journal's door: who may run a session, and what its process writes down.

Every change of a session that runs passes here. Where frames come from (`sessions.link`), what a unit does
with them (`sessions.commit`) and how rows are stored (`store.journal`) is left to others.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from ninelives_server import log
from ninelives_server.clock import Clock, SystemClock
from ninelives_server.model.sessions import CARRIED, Session, SessionState
from ninelives_server.sessions import ends, forks, limits
from ninelives_server.sessions.commit import Answers, Unit
from ninelives_server.sessions.needs import Needs
from ninelives_server.sessions.records import Answer, Op, size_of
from ninelives_server.sessions.start import Starts
from ninelives_server.store import builds, inbox, journal, sessions, workers
from ninelives_server.store.core import Store, Tx
from ninelives_server.vault.vault import Vault

logger = log.get(__name__)

#: A timer of Temporal may fire this much early by the database's clock.
_EARLY = timedelta(seconds=1)
#: A commit with more takes its time. bytes
_SHORT = 256 * 1024


class Claimed(NamedTuple):
    """A worker runs the session now.

    Attributes:
        start: The first frame for its process.
        records: How many frames `past` follow it.
        stop: That it was asked to stop, and how.
        wall_left: How long it may still take; `None` does not limit it. seconds
        must_begin: Its code may run only after the worker has said so, and was answered: it runs once.
    """

    epoch: int
    start: Mapping[str, Any]
    build_sha256: str
    requirements: Sequence[str]
    records: int
    stop: Mapping[str, object] | None
    wall_left: float | None = None
    must_begin: bool = False


class NotClaimed(NamedTuple):
    """Nobody needs to run it: `ended`, `held`, `unknown`, or `parked` until a time or an event.

    With `semantics` another worker has to: this one's release does not know the rules of its journal. With
    `python` too: its records were made by another minor version than this one's.

    Attributes:
        needs: What that other worker must have; `None` where it is not for want of that.
    """

    why: str
    until: datetime | None = None
    needs: Needs | None = None


class _Claimant(NamedTuple):
    """Who claims; see `Journal.claim`."""

    worker_id: str
    carried: frozenset[int]
    python: str
    begins: bool


class Turn(NamedTuple):
    """How a session stands, for the workflow that cares for it: `run`, `held`, `finished`, `parked`."""

    outcome: str
    until: datetime | None = None


class Journal:
    """Claims, commits and ends of sessions."""

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        starts: Starts,
        calls: Answers,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._vault = vault
        self._starts = starts
        self._calls = calls
        self.clock = clock or SystemClock()

    async def claim(
        self,
        worker_id: str,
        session_id: str,
        carried: frozenset[int] = CARRIED,
        python: str = "",
        *,
        begins: bool = False,
    ) -> Claimed | NotClaimed:
        """Hand a session to a worker under a new epoch, unless it has ended, is held or is not due.

        `carried` are the versions of the semantics that the worker's release has, `python` is the minor
        version of its Python (`3.11`); empty where it does not say. One that `begins` says when the code of a
        session that is not durable is about to run; of any other it has to be assumed at once.
        """
        by = _Claimant(worker_id, carried, python, begins)
        return await self._store.write(lambda tx: self._claim(tx, session_id, by))

    async def commit(self, ops: Sequence[Op]) -> list[Answer]:
        """Do what arrived together in one transaction; each operation is answered for itself."""
        is_short = sum(map(size_of, ops)) <= _SHORT
        return await self._store.write(lambda tx: self._unit(tx).run(ops), is_short=is_short)

    def commit_now(self, ops: Sequence[Op]) -> list[Answer] | None:
        """Do as `commit`, before anything else that the event loop has to do; `None` where that cannot be."""
        if sum(map(size_of, ops)) > _SHORT:
            return None
        done = self._store.write_now(lambda tx: self._unit(tx).run(ops))
        return None if done is None else done[0]

    async def adopt(self, worker_id: str, session_id: str, epoch: int) -> bool:
        """Let a worker that came back keep a session that it still runs; `False` where it may not."""
        return await self._store.write(lambda tx: _adopt(tx, worker_id, session_id, epoch))

    async def prepare(
        self, worker_id: str, session_id: str, epoch: int, packages: int, said: str = ""
    ) -> None:
        """Note that a worker makes the environment of a session that it holds; no packages: not any more.

        What uv has `said` so far is kept with the session's build.
        """
        await self._store.write(lambda tx: _prepare(tx, worker_id, session_id, epoch, packages, said))

    async def prepare_ahead(self, worker_id: str, build_id: str, said: str) -> None:
        """Keep with a build what uv says while a worker makes its environment before a session needs it."""
        await self._store.write(
            lambda tx: builds.note_environment(tx, build_id, workers.name_of(tx, worker_id), said)
        )

    async def explain(self, reasons: Mapping[str, str]) -> None:
        """Say to people why sessions do not run, by session; of those that somebody runs nothing is said."""
        await self._store.write(lambda tx: _explain(tx, reasons))

    async def release(self, session_id: str, epoch: int) -> bool:
        """Take a session from a worker that is lost; `False` where it does not hold it any more."""
        return await self._store.write(lambda tx: self._release(tx, session_id, epoch))

    async def take_back(self, worker_id: str, session_id: str, epoch: int) -> bool:
        """Take a session from a worker that has not begun its process, as if it had never had it.

        So one that is not durable may run elsewhere. `False` where the worker does not hold it.
        """
        return await self._store.write(lambda tx: _take_back(tx, worker_id, session_id, epoch))

    async def end_stopped(self, session_id: str) -> bool:
        """End a session whose grace is over; `False` where it has ended already."""
        return await self._store.write(lambda tx: self._end_stopped(tx, session_id))

    async def look(self, session_id: str) -> Turn:
        """Say what should happen to a session next."""
        return await self._store.read(lambda tx: _look(tx, session_id))

    def _unit(self, tx: Tx) -> Unit:
        return Unit(tx, vault=self._vault, calls=self._calls, bounds=self._starts.limits)

    def _claim(self, tx: Tx, session_id: str, by: _Claimant) -> Claimed | NotClaimed:
        session = sessions.by_id(tx, session_id, lock=True)
        if session is None or session.state.is_terminal:
            return NotClaimed("unknown" if session is None else "ended")
        # One that queues is started when it is its turn.
        if session.worker_id is not None or session.admitted_at is None:
            return NotClaimed("held")
        if self._is_over(tx, session):
            return NotClaimed("ended")
        if _is_asleep(tx, session):
            return NotClaimed("parked", session.wake_at)
        epoch = session.epoch + 1
        pinned = sessions.pinned(tx, session_id)
        has_past = session.epoch > 0 or forks.FROM in session.memo
        count = journal.count(tx, session_id) if has_past else 0
        if session.is_durable and pinned.semantics not in by.carried:
            shared = by.carried & CARRIED
            if count or not shared:
                return self._refuse_semantics(tx, session, pinned.semantics)
            # Nothing is to be read by the rules that it was made with.
            pinned = self._starts.pin(tx, session, pinned, semantics=max(shared))
        allowed = self._starts.limits.of(pinned.limits)
        end = limits.deadline(allowed, session.started_at or tx.now)
        if end is not None and end <= tx.now and session.stop_requested is None:
            last = journal.last(tx, session_id)
            late = ends.too_late(allowed, last, self._starts.limits.ceilings())
            self._end(tx, session, SessionState.ERROR, late)
            return NotClaimed("ended")
        start = self._starts.frame(tx, session, pinned, records=count)
        if by.python and by.python != start["python"]:
            if count:
                rules = pinned.semantics if session.is_durable else None
                return NotClaimed("python", needs=Needs(start["python"], rules))
            start["python"] = by.python
            self._starts.pin(tx, session, pinned, python=by.python)
        must_begin = by.begins and not session.is_durable
        is_first = session.started_at is None and not must_begin
        sessions.hold(tx, session_id, by.worker_id, epoch, is_first=is_first)
        tx.notify("session", session_id)
        left = None if end is None else (end - tx.now).total_seconds()
        return Claimed(
            epoch,
            start,
            pinned.build_sha256,
            pinned.requirements,
            count,
            session.stop_requested,
            left,
            must_begin,
        )

    def _is_over(self, tx: Tx, session: Session) -> bool:
        """End a session that must not be started (again)."""
        asked, has_begun = session.stop_requested, session.started_at is not None
        if asked is not None and (asked.get("kill") or not has_begun):
            self._end(tx, session, SessionState.STOPPED, None)
            return True
        if has_begun and not session.is_durable:
            last = journal.last(tx, session.id)
            self._end(tx, session, SessionState.ERROR, ends.lost(last))
            return True
        return False

    def _refuse_semantics(self, tx: Tx, session: Session, needed: int) -> NotClaimed:
        """Leave a session to a release that knows its rules; end it where no later one will."""
        if needed < min(CARRIED):
            self._end(tx, session, SessionState.ERROR, ends.cut_off(session.id, needed, CARRIED))
            return NotClaimed("ended")
        return NotClaimed("semantics", needs=Needs(semantics=needed))

    def _end(self, tx: Tx, session: Session, state: SessionState, error: Mapping[str, Any] | None) -> None:
        head = journal.heads(tx, [session.id])[session.id]
        ends.end(tx, self._vault, head, state, error=error)

    def _release(self, tx: Tx, session_id: str, epoch: int) -> bool:
        session = sessions.by_id(tx, session_id, lock=True)
        if session is None or session.epoch != epoch or session.worker_id is None:
            return False
        ends.release(tx, session)
        tx.notify("session", session_id)
        tx.notify("work", session_id)
        return True

    def _end_stopped(self, tx: Tx, session_id: str) -> bool:
        session = sessions.by_id(tx, session_id, lock=True)
        if session is None or session.state.is_terminal:
            return False
        self._end(tx, session, SessionState.STOPPED, None)
        return True


def _explain(tx: Tx, reasons: Mapping[str, str]) -> None:
    for session_id, reason in reasons.items():
        session = sessions.by_id(tx, session_id, lock=True)
        if session is None or session.state.is_terminal or session.worker_id is not None:
            continue
        if session.queue_reason != reason:
            sessions.explain(tx, session_id, reason)
            tx.notify("session", session_id)


def _take_back(tx: Tx, worker_id: str, session_id: str, epoch: int) -> bool:
    session = sessions.by_id(tx, session_id, lock=True)
    if session is None or session.state.is_terminal:
        return False
    if (session.worker_id, session.epoch) != (worker_id, epoch):
        return False
    sessions.release(tx, session_id)
    if not session.is_durable:
        sessions.undo_start(tx, session_id)
    tx.notify("session", session_id)
    tx.notify("work", session_id)
    return True


def _prepare(tx: Tx, worker_id: str, session_id: str, epoch: int, packages: int, said: str) -> None:
    session = sessions.by_id(tx, session_id, lock=True)
    if session is None or session.state.is_terminal:
        return
    if (session.worker_id, session.epoch) != (worker_id, epoch):
        return
    count = "1 package" if packages == 1 else f"{packages} packages"
    sessions.explain(tx, session_id, f"its environment is being made: {count}" if packages else "")
    tx.notify("session", session_id)
    if said:
        builds.note_environment(tx, session.build_id, workers.name_of(tx, worker_id), said)


def _adopt(tx: Tx, worker_id: str, session_id: str, epoch: int) -> bool:
    session = sessions.by_id(tx, session_id, lock=True)
    if session is None or session.state.is_terminal or session.epoch != epoch:
        return False
    if session.worker_id == worker_id:
        return True
    if session.worker_id is not None or session.state is SessionState.WAITING:
        return False
    sessions.adopt(tx, session_id, worker_id)
    tx.notify("session", session_id)
    return True


def _is_asleep(tx: Tx, session: Session) -> bool:
    """Tell whether a parked session has no reason yet to be started."""
    if session.state is not SessionState.WAITING or session.stop_requested is not None:
        return False
    is_due = session.wake_at is not None and session.wake_at <= tx.now + _EARLY
    return not is_due and not inbox.is_awaited(tx, session.id)


def _look(tx: Tx, session_id: str) -> Turn:
    session = sessions.by_id(tx, session_id)
    if session is None or session.state.is_terminal:
        return Turn("finished")
    if session.worker_id is not None or session.admitted_at is None:
        return Turn("held")
    if _is_asleep(tx, session):
        return Turn("parked", session.wake_at)
    return Turn("run")
