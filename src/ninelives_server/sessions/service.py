"""Sessions as people and programs see them: made, listed, read, stopped.

What a running session writes down is `sessions.journal`'s; that it runs at all is the engine's.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ninelives_server.errors import Invalid, NotFound
from ninelives_server.model.actors import Actor, Role
from ninelives_server.model.sessions import NewSession, Print, Session, SessionState, Step
from ninelives_server.sessions import commit, ends, forks, links, pages, queues, stops
from ninelives_server.sessions.forks import Forks
from ninelives_server.sessions.pages import Page
from ninelives_server.sessions.start import Starts
from ninelives_server.store import audit, builds, journal, sessions, workers
from ninelives_server.store.core import Store, Tx
from ninelives_server.store.journal import Row
from ninelives_server.store.sessions import Filters
from ninelives_server.vault.vault import Vault

_LONGEST_GRACE = 3600.0  # seconds

#: A function with more short steps than this is named.
_MANY = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDetail:
    """A session with what it came to.

    Attributes:
        result: JSON; `{"repr": …}` where the value has no JSON form.
        error: `{type, message, traceback, seq}`.
        position: Its place in its line, or among those that wait for a slot, from 1; else `None`.
        records: In its journal, which takes `record_limit` of them; 0 is no limit.
        stored_mb: What they take, of `size_limit_mb`; 0 is no limit.
        is_nearly_full: The session goes on, and its journal is near one of its limits.
        environment_log: What uv said when its environment was made for it; empty where it was there already.
    """

    session: Session
    result: Any
    error: dict[str, Any] | None
    position: int | None
    records: int = 0
    record_limit: int = 0
    stored_mb: float = 0.0
    size_limit_mb: int = 0
    is_nearly_full: bool = False
    environment_log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDetail:
    """A worker with its slots in use (`store.workers`).

    Attributes:
        used: Sessions that it runs now.
        release: The version of its Ninelives; empty where it did not say.
        semantics: The versions of the semantics that this one has; empty where they are not known.
    """

    id: str
    name: str
    slots: int
    python: str
    isolation: str
    connected_at: datetime
    seen_at: datetime
    gone_at: datetime | None
    release: str
    semantics: list[int]
    used: int


class Sessions:
    """What may be done with sessions."""

    def __init__(self, *, store: Store, vault: Vault, starts: Starts) -> None:
        self._store = store
        self._vault = vault
        self._starts = starts
        self._forks = Forks(vault=vault, starts=starts)

    def create_in(self, tx: Tx, new: NewSession) -> Session | None:
        """Make a session inside a unit of the caller's; `None` where its event and trigger have one."""
        return self._starts.create(tx, new)

    async def get(self, actor: Actor, session_id: str) -> SessionDetail:
        """Return a session with its result or error.

        Raises:
            NotFound: There is none with this id in the actor's org.
        """
        return await self._store.read(lambda tx: self._detail(tx, actor, session_id))

    async def list(
        self,
        actor: Actor,
        *,
        project_ref: str | None = None,
        state: SessionState | None = None,
        trigger_id: str | None = None,
        record_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page:
        """Return the org's sessions, newest first.

        Raises:
            NotFound: There is no such project in the actor's org.
            Invalid: The cursor is none of ours.
        """
        before = None if cursor is None else pages.place_of(cursor)

        def read(tx: Tx) -> Page:
            project_id = None if project_ref is None else _project(tx, actor, project_ref)
            filters = Filters(project_id, state, trigger_id, record_id, since, until)
            found = sessions.listing(tx, actor.org_id, filters, before=before, limit=limit + 1)
            items = queues.placed(tx, found[:limit])
            more = len(found) > limit
            return Page(items=items, next_cursor=pages.cursor_after(items[-1]) if more else None)

        return await self._store.read(read)

    async def steps(
        self, actor: Actor, session_id: str, *, after: int = 0, limit: int = 200
    ) -> Sequence[Step]:
        """Return a session's steps, waits and values in the order of their commits."""

        def read(tx: Tx) -> Sequence[Step]:
            session = _owned(tx, actor, session_id)
            rows = journal.of_session(tx, session_id, after=after, limit=limit, tracks=("call", "value"))
            return [self._step(tx, session, row) for row in rows]

        return await self._store.read(read)

    async def short_steps(self, actor: Actor, session_id: str) -> Sequence[tuple[str, int]]:
        """Return the functions whose steps cost more than they do, and how many steps each made.

        They made more than 1,000 steps of less than 1 ms: what a record costs is then most of the time.
        """

        def read(tx: Tx) -> Sequence[tuple[str, int]]:
            _owned(tx, actor, session_id)
            return journal.short_steps(tx, session_id, _MANY)

        return await self._store.read(read)

    async def prints(
        self, actor: Actor, session_id: str, *, after: int = 0, limit: int = 1000
    ) -> Sequence[Print]:
        """Return what a session's code printed and logged, in order."""

        def read(tx: Tx) -> Sequence[Print]:
            session = _owned(tx, actor, session_id)
            rows = journal.of_session(tx, session_id, after=after, limit=limit, tracks=("log",))
            return [self._print(tx, session, row) for row in rows]

        return await self._store.read(read)

    async def stop(
        self,
        actor: Actor,
        session_id: str,
        *,
        reason: str = "",
        kill: bool = False,
        grace: float = stops.GRACE,
    ) -> None:
        """Ask a session to end, and have it killed when the grace is over; an ended one is left alone.

        Raises:
            NotFound: There is none with this id in the actor's org.
            Invalid: The grace is no time from 0 to 3600 seconds.
        """
        actor.needs(Role.MEMBER)
        if not 0 <= grace <= _LONGEST_GRACE:
            message = f"the grace is {grace} s; it must be from 0 to {_LONGEST_GRACE:.0f} s"
            raise Invalid(message, fields={"grace": message})
        request = stops.asked(actor.id, reason=reason, kill=kill, grace=grace)
        await self._store.write(lambda tx: self._stop(tx, actor, session_id, request))

    async def fork(
        self,
        actor: Actor,
        session_id: str,
        *,
        from_step: int,
        build: str = forks.SAME,
        key: str | None = None,
    ) -> SessionDetail:
        """Make a session that has the records before a step of another one and goes on from there.

        Args:
            actor: Who asks.
            session_id: Of the session to be forked; it stays as it is.
            from_step: The `seq` of the first record that the new session does not have.
            build: `same`, `newest`, or the id of a build of the project.
            key: What asks once: the same key gets the same fork.

        Raises:
            KeyReused: The key came before and asked for another step or build.
            NotFound: There is no such session in the actor's org, or no such build in its project.
            Invalid: There is no such step, or the build has no such entry point.
        """
        actor.needs(Role.MEMBER)

        def write(tx: Tx) -> SessionDetail:
            source = _owned(tx, actor, session_id)
            made = self._forks.fork(tx, actor, source, from_step=from_step, build=build, once=key)
            return self._detail(tx, actor, made.id)

        return await self._store.write(write)

    async def workers(self, actor: Actor) -> Sequence[WorkerDetail]:
        """Return the workers that are there now, with their slots in use; they serve all orgs."""
        _ = actor
        within = timedelta(seconds=links.SILENT)

        def read(tx: Tx) -> list[WorkerDetail]:
            used = workers.in_use(tx)
            found = workers.listing(tx, seen_within=within)
            return [WorkerDetail(**worker._asdict(), used=used.get(worker.id, 0)) for worker in found]

        return await self._store.read(read)

    async def counts(self) -> dict[SessionState, int]:
        """Return how many sessions of the whole server are in each state, for its metrics."""
        return await self._store.read(sessions.counts)

    def _stop(self, tx: Tx, actor: Actor, session_id: str, request: dict[str, object]) -> None:
        session = sessions.by_id(tx, session_id, org_id=actor.org_id, lock=True)
        if session is None:
            raise _unknown(session_id)
        if session.state.is_terminal:
            return
        sessions.request_stop(tx, session_id, request)
        details = {"kill": bool(request["kill"]), "grace": request["grace"]}
        audit.record(
            tx, actor, "session.stop_requested", session_id, project_id=session.project_id, details=details
        )
        tx.notify("session", session_id)
        has_process = session.worker_id is not None
        if not has_process and (request["kill"] or session.epoch == 0):
            head = journal.heads(tx, [session_id])[session_id]
            ends.end(tx, self._vault, head, SessionState.STOPPED)
            return
        if not has_process:
            sessions.signalled(tx, [session_id])
            tx.notify("work", session_id)
        tx.notify("stop", session_id)

    def _detail(self, tx: Tx, actor: Actor, session_id: str) -> SessionDetail:
        session = _owned(tx, actor, session_id)
        sealed = sessions.outcome(tx, session_id)
        result, error = (
            None if value is None else self._open(tx, session, f"sessions:{session_id}:{column}", value)
            for column, value in zip(("sealed_result", "sealed_error"), sealed, strict=True)
        )
        session = queues.place(tx, session)
        records, stored = journal.size(tx, session_id)
        limits = self._starts.limits
        return SessionDetail(
            session=session,
            result=result,
            error=error,
            position=session.queue_position,
            records=records,
            record_limit=limits.journal.records,
            stored_mb=stored / 1024 / 1024,
            size_limit_mb=limits.journal.size_mb,
            is_nearly_full=not session.state.is_terminal and limits.is_nearly_full(records, stored),
            environment_log=builds.environment_log_of(tx, session.id),
        )

    def _step(self, tx: Tx, session: Session, row: Row) -> Step:
        preview = None
        if row.sealed_preview is not None:
            context = commit.context(session.id, row.key, "preview")
            preview = self._open(tx, session, context, row.sealed_preview)
        return Step(
            seq=row.seq,
            strand=row.strand,
            n=row.n,
            kind=row.kind,
            name=row.name,
            status=row.status,
            attempt=row.attempt,
            epoch=row.epoch,
            started_at=row.started_at,
            ended_at=row.ended_at,
            preview=preview,
        )

    def _print(self, tx: Tx, session: Session, row: Row) -> Print:
        text = ""
        if row.sealed_value is not None:
            context = commit.context(session.id, row.key, "value")
            text = self._vault.open(tx, session.project_id, context, row.sealed_value).decode(
                "utf-8", "replace"
            )
        return Print(seq=row.seq, at=row.started_at, text=text, level=row.name)

    def _open(self, tx: Tx, session: Session, context: str, sealed: bytes) -> Any:
        return json.loads(self._vault.open(tx, session.project_id, context, sealed))


def _unknown(session_id: str) -> NotFound:
    return NotFound(f"there is no session {session_id}; see `ninelives session list`")


def _owned(tx: Tx, actor: Actor, session_id: str) -> Session:
    session = sessions.by_id(tx, session_id, org_id=actor.org_id)
    if session is None:
        raise _unknown(session_id)
    return session


def _project(tx: Tx, actor: Actor, ref: str) -> str:
    project_id = sessions.project_of(tx, actor.org_id, ref)
    if project_id is None:
        raise NotFound(f"there is no project {ref!r}; see `ninelives project list`")
    return project_id
