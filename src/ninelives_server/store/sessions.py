"""Rows of sessions: what they are, and who holds them; which of them should run is asked in `store.sweeps`.

How a session stands is told by three columns together. `worker_id` names who runs it now. Without one, a
session that is `created` or `running` should be started; one that is `waiting` is parked, and should be
started when it is due, has something in its inbox that it awaits, or is asked to stop.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ninelives_server.ids import BuildId, DeploymentId, OrgId, ProjectId, SessionId
from ninelives_server.model.sessions import NewSession, Session, SessionState
from ninelives_server.store import driver, tables
from ninelives_server.store.compiled import Statement
from ninelives_server.store.core import Tx

_t = tables.sessions.c
_COLUMNS = (
    _t.id, _t.org_id, _t.project_id, _t.deployment_id, _t.build_id, _t.event_id, _t.trigger_id, _t.parent_id,
    _t.first_id, _t.record_id, _t.entrypoint, _t.is_durable, _t.state, _t.state_since, _t.queue_reason,
    _t.memo, _t.traceparent, _t.epoch, _t.worker_id, _t.wake_at, _t.crashes, _t.stop_requested, _t.created_at,
    _t.created_by, _t.started_at, _t.ended_at, _t.admitted_at,
)  # fmt: skip
is_parked = sa.and_(_t.state == SessionState.WAITING, _t.worker_id.is_(None))

# What each start of a session asks is made once: to build these takes longer than to run them.
_id: sa.BindParameter[str] = sa.bindparam("the_id")
_is_the_one = _t.id == _id
_BY_ID = Statement(sa.select(*_COLUMNS).where(_is_the_one))
_LOCK = Statement(sa.select(*_COLUMNS).where(_is_the_one).with_for_update())
_PINNED = Statement(
    sa.select(
        _t.sealed_start,
        tables.builds.c.sha256,
        tables.builds.c.requirements,
        tables.builds.c.manifest[("project", "limits")],
        _t.semantics,
    )
    .join(tables.builds, tables.builds.c.id == _t.build_id)
    .where(_is_the_one)
)
_NEW = (
    "id", "org_id", "project_id", "deployment_id", "build_id", "event_id", "trigger_id", "parent_id",
    "first_id", "record_id", "entrypoint", "is_durable", "state", "state_since", "memo", "sealed_start",
    "semantics", "traceparent", "signalled_at", "admitted_at", "queue_key", "created_at", "created_by",
)  # fmt: skip
_INSERT = {
    name: Statement(
        make(tables.sessions)
        .values({column: sa.bindparam(column, type_=_t[column].type) for column in _NEW})
        .on_conflict_do_nothing()
    )
    for name, make in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert))
}
_other = tables.sessions.alias("other").c
# The deployment of a session that has ended, where it drains and this was its last one.
_DRAINED = Statement(
    sa.update(tables.deployments)
    .where(
        tables.deployments.c.id == sa.select(_t.deployment_id).where(_is_the_one).scalar_subquery(),
        tables.deployments.c.state == "draining",
        ~sa.exists().where(_other.deployment_id == tables.deployments.c.id, _other.ended_at.is_(None)),
    )
    .values(state="inactive", state_since=sa.bindparam("now"))
)
# The project of a session that has ended, where others of it wait to be admitted.
_HELD_BACK = Statement(
    sa.select(_t.project_id).where(
        _is_the_one,
        sa.exists().where(
            _other.project_id == _t.project_id, _other.ended_at.is_(None), _other.admitted_at.is_(None)
        ),
    )
)
_OUTCOME = Statement(sa.select(_t.sealed_result, _t.sealed_error).where(_is_the_one))
_PARENTS = "SELECT parent_id FROM sessions WHERE parent_id IS NOT NULL AND id"
# What goes with a session's end.
_EMPTIED = [
    Statement(sa.delete(table).where(table.c.session_id == _id))
    for table in (tables.inbox, tables.awaited, tables.subscriptions)
]


class Filters(NamedTuple):
    """Which sessions to list; `None` does not restrict.

    Attributes:
        since: Created at this time or later; `until`: earlier than this.
    """

    project_id: str | None = None
    state: SessionState | None = None
    trigger_id: str | None = None
    record_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Target(NamedTuple):
    """What a new session runs."""

    project_id: str
    deployment_id: str | None
    build_id: str


class Pinned(NamedTuple):
    """What a claim needs of a session beyond its row.

    Attributes:
        limits: Those that its build's manifest gives; `None` for none.
        semantics: The version of the rules by which its journal is read.
    """

    sealed_start: bytes
    build_sha256: str
    requirements: list[str]
    limits: Mapping[str, int] | None
    semantics: int


def _model(row: Any) -> Session:
    return Session(
        id=SessionId(row.id),
        org_id=OrgId(row.org_id),
        project_id=ProjectId(row.project_id),
        deployment_id=None if row.deployment_id is None else DeploymentId(row.deployment_id),
        build_id=BuildId(row.build_id),
        event_id=row.event_id,
        trigger_id=row.trigger_id,
        parent_id=row.parent_id,
        first_id=row.first_id,
        record_id=row.record_id,
        entrypoint=row.entrypoint,
        is_durable=row.is_durable,
        state=SessionState(row.state),
        state_since=row.state_since,
        queue_reason=row.queue_reason,
        memo=row.memo,
        traceparent=row.traceparent,
        epoch=row.epoch,
        worker_id=row.worker_id,
        wake_at=row.wake_at,
        crashes=row.crashes,
        stop_requested=row.stop_requested,
        created_at=row.created_at,
        created_by=row.created_by,
        started_at=row.started_at,
        ended_at=row.ended_at,
        admitted_at=row.admitted_at,
    )


def insert(tx: Tx, new: NewSession, sealed_start: bytes, semantics: int) -> bool:
    """Insert a session that should run; `False` where there is one for this event and trigger."""
    values = {
        "id": new.id,
        "org_id": new.org_id,
        "project_id": new.project_id,
        "deployment_id": new.deployment_id,
        "build_id": new.build_id,
        "event_id": new.event_id,
        "trigger_id": new.trigger_id,
        "parent_id": new.parent_id,
        "first_id": new.first_id,
        "record_id": new.record_id,
        "entrypoint": new.entrypoint,
        "is_durable": new.is_durable,
        "state": SessionState.CREATED,
        "state_since": tx.now,
        "memo": dict(new.memo),
        "sealed_start": sealed_start,
        "semantics": semantics,
        "traceparent": new.traceparent,
        "signalled_at": None if new.is_queued else tx.now,
        "admitted_at": None if new.is_queued else tx.now,
        "queue_key": new.queue_key,
        "created_at": tx.now,
        "created_by": new.created_by,
    }
    return _INSERT[tx.connection.dialect.name].run(tx, **values) == 1


def by_id(tx: Tx, session_id: str, *, org_id: str | None = None, lock: bool = False) -> Session | None:
    """Return a session, of this org where one is given; `lock` it until the transaction ends."""
    row = (_LOCK if lock else _BY_ID).first(tx, the_id=session_id)
    return None if row is None or (org_id is not None and row.org_id != org_id) else _model(row)


def listing(
    tx: Tx, org_id: str, filters: Filters, *, before: tuple[datetime, str] | None, limit: int
) -> list[Session]:
    """Return an org's sessions, newest first, from the one after `before` (its time and id)."""
    query = sa.select(*_COLUMNS).where(_t.org_id == org_id)
    for name in ("project_id", "state", "trigger_id", "record_id"):
        if (value := getattr(filters, name)) is not None:
            query = query.where(_t[name] == value)
    if filters.since is not None:
        query = query.where(_t.created_at >= filters.since)
    if filters.until is not None:
        query = query.where(_t.created_at < filters.until)
    if before is not None:
        at, session_id = before
        query = query.where(
            sa.or_(_t.created_at < at, sa.and_(_t.created_at == at, _t.id < session_id)),
        )
    query = query.order_by(_t.created_at.desc(), _t.id.desc()).limit(limit)
    return [_model(row) for row in tx.connection.execute(query)]


def pinned(tx: Tx, session_id: str) -> Pinned:
    """Return the sealed start document of a session and what its build needs."""
    return Pinned(*_PINNED.one(tx, the_id=session_id))


def outcome(tx: Tx, session_id: str) -> tuple[bytes | None, bytes | None]:
    """Return the sealed result and the sealed error of a session."""
    row = _OUTCOME.one(tx, the_id=session_id)
    return row.sealed_result, row.sealed_error


def _set(tx: Tx, session_id: str, values: Mapping[str, object]) -> None:
    _update(tuple(values)).run(tx, the_id=session_id, **values)


@lru_cache(maxsize=50)
def _update(names: tuple[str, ...]) -> Statement:
    values = {name: sa.bindparam(name, type_=_t[name].type) for name in names}
    return Statement(sa.update(tables.sessions).where(_is_the_one).values(values))


def hold(tx: Tx, session_id: str, worker_id: str, epoch: int, *, is_first: bool) -> None:
    """Hand a session to a worker under a new epoch; `is_first`: its code runs from now on."""
    values = {
        "epoch": epoch,
        "worker_id": worker_id,
        "claimed_at": tx.now,
        "queue_reason": "",
        "state": SessionState.RUNNING,
        "state_since": tx.now,
        "wake_at": None,
    }
    _set(tx, session_id, {**values, "started_at": tx.now} if is_first else values)


def set_start(tx: Tx, session_id: str, sealed_start: bytes, semantics: int) -> None:
    """Pin something else with a session."""
    _set(tx, session_id, {"sealed_start": sealed_start, "semantics": semantics})


def explain(tx: Tx, session_id: str, reason: str) -> None:
    """Say to people why a session's code does not run yet; nothing for a session whose code does."""
    _set(tx, session_id, {"queue_reason": reason})


def adopt(tx: Tx, session_id: str, worker_id: str) -> None:
    """Give a session back to the worker that never stopped running it."""
    _set(tx, session_id, {"worker_id": worker_id, "state": SessionState.RUNNING})


def release(tx: Tx, session_id: str, *, crashes: int | None = None) -> None:
    """Take a session from its worker; it should run elsewhere."""
    values = {
        "worker_id": None,
        "queue_reason": "",
        "state": SessionState.RUNNING,
        "state_since": tx.now,
        "signalled_at": tx.now,
    }
    _set(tx, session_id, values if crashes is None else {**values, "crashes": crashes})


def begin(tx: Tx, session_id: str) -> None:
    """Say that a session's code runs from now on."""
    _set(tx, session_id, {"started_at": tx.now})


def undo_start(tx: Tx, session_id: str) -> None:
    """Say that a session's code has not run yet, although a worker had it; its epoch stays used up."""
    _set(tx, session_id, {"state": SessionState.CREATED, "started_at": None})


def park(tx: Tx, session_id: str, until: datetime | None) -> None:
    """Take a session from its worker until it is due or something arrives for it."""
    _set(
        tx,
        session_id,
        {
            "worker_id": None,
            "state": SessionState.WAITING,
            "state_since": tx.now,
            "wake_at": until,
            "signalled_at": None,
        },
    )


def set_waiting(tx: Tx, session_id: str, state: SessionState) -> None:
    """Say that all strands of a running session wait, or that they do not any more."""
    _set(tx, session_id, {"state": state, "state_since": tx.now})


def end(
    tx: Tx, session_id: str, state: SessionState, *, result: bytes | None = None, error: bytes | None = None
) -> None:
    """End a session for good; `result` and `error` are sealed."""
    _set(
        tx,
        session_id,
        {
            "state": state,
            "state_since": tx.now,
            "ended_at": tx.now,
            "queue_reason": "",
            "worker_id": None,
            "wake_at": None,
            "sealed_result": result,
            "sealed_error": error,
        },
    )
    for statement in _EMPTIED:
        statement.run(tx, the_id=session_id)
    _DRAINED.run(tx, the_id=session_id, now=tx.now)
    for project_id in _HELD_BACK.scalars(tx, the_id=session_id):
        tx.notify("queue", project_id)


def request_stop(tx: Tx, session_id: str, request: Mapping[str, object]) -> None:
    """Write down that somebody asked for a session's end; a parked one is due at once."""
    _set(tx, session_id, {"stop_requested": dict(request), "wake_at": tx.now})


def signalled(tx: Tx, session_ids: Sequence[str]) -> None:
    """Write down that Temporal is being asked to run these sessions."""
    tx.connection.execute(
        sa.update(tables.sessions).where(_t.id.in_(session_ids)).values(signalled_at=tx.now)
    )


def wake(tx: Tx, session_id: str) -> bool:
    """Mark a parked session as signalled; `False` where it is not parked or was signalled already.

    The caller announces it on the channel `work`: once per park.
    """
    done = tx.connection.execute(
        sa.update(tables.sessions)
        .where(_t.id == session_id, is_parked, _t.signalled_at.is_(None))
        .values(signalled_at=tx.now)
    )
    return done.rowcount == 1


def newest(tx: Tx, session_id: str) -> Session | None:
    """Return a session, or its youngest successor where it has been restarted."""
    session = by_id(tx, session_id)
    if session is None:
        return None
    first = session.first_id or session.id
    query = sa.select(*_COLUMNS).where(_t.first_id == first, _t.org_id == session.org_id)
    row = tx.connection.execute(query.order_by(_t.created_at.desc(), _t.id.desc()).limit(1)).first()
    return session if row is None else _model(row)


def event_of(tx: Tx, session: Session) -> str | None:
    """Return the event that started a session, or the first of its row of restarts."""
    if session.event_id is not None or session.first_id is None:
        return session.event_id
    query = sa.select(_t.event_id).where(_t.id == session.first_id)
    event_id: str | None = tx.connection.execute(query).scalar_one_or_none()
    return event_id


def succeed(tx: Tx, session_id: str, successor_id: str) -> None:
    """Give a successor its place in a line, and make it the one whom open children tell of their end."""
    key = sa.select(_t.queue_key).where(_t.id == session_id).scalar_subquery()
    tx.connection.execute(sa.update(tables.sessions).where(_t.id == successor_id).values(queue_key=key))
    is_open = _t.state.in_((SessionState.CREATED, SessionState.RUNNING, SessionState.WAITING))
    tx.connection.execute(
        sa.update(tables.sessions).where(_t.parent_id == session_id, is_open).values(parent_id=successor_id)
    )


def parents(tx: Tx, session_ids: Sequence[str]) -> list[str]:
    """Return the sessions that started any of these."""
    if driver.sqlite(tx) is None:
        return [row[0] for row in driver.rows(tx, f"{_PARENTS} = ANY(?::text[])", (list(session_ids),))]
    return [
        row[0] for row in driver.rows(tx, f"{_PARENTS} IN ({driver.marks(len(session_ids))})", session_ids)
    ]


def in_flight(tx: Tx, org_id: str, project_id: str, *, limit: int) -> tuple[int, list[Session]]:
    """Return how many durable sessions of a project have a journal and no end, and the oldest of them."""
    is_one = sa.and_(
        _t.org_id == org_id,
        _t.project_id == project_id,
        _t.is_durable,
        _t.ended_at.is_(None),
        sa.exists().where(tables.journal.c.session_id == _t.id),
    )
    total = int(tx.connection.execute(sa.select(sa.func.count()).where(is_one)).scalar_one())
    query = sa.select(*_COLUMNS).where(is_one).order_by(_t.id).limit(limit)
    return total, [_model(row) for row in tx.connection.execute(query)]


def stopping(tx: Tx) -> list[Session]:
    """Return the sessions that were asked to stop and have not ended."""
    is_open = sa.or_(
        _t.state.in_((SessionState.CREATED, SessionState.RUNNING)),
        sa.and_(_t.state == SessionState.WAITING, _t.wake_at <= tx.now),
    )
    query = sa.select(*_COLUMNS).where(is_open, _t.stop_requested.is_not(None))
    return [_model(row) for row in tx.connection.execute(query)]


def ahead(tx: Tx, session: Session) -> int:
    """Return how many sessions wait for a slot before this one."""
    query = sa.select(sa.func.count()).where(
        _t.state == SessionState.CREATED,
        _t.admitted_at.is_not(None),
        sa.or_(
            _t.created_at < session.created_at,
            sa.and_(_t.created_at == session.created_at, _t.id < session.id),
        ),
    )
    return int(tx.connection.execute(query).scalar_one())


def counts(tx: Tx) -> dict[SessionState, int]:
    """Return how many sessions of the whole server are in each state."""
    query = sa.select(_t.state, sa.func.count()).group_by(_t.state)
    found = {SessionState(state): int(number) for state, number in tx.connection.execute(query)}
    return {state: found.get(state, 0) for state in SessionState}


def project_of(tx: Tx, org_id: str, ref: str) -> str | None:
    """Return the id of an org's project, named by id or name."""
    project = tables.projects.c
    query = sa.select(project.id).where(
        project.org_id == org_id, sa.or_(project.id == ref, project.name == ref)
    )
    return tx.connection.execute(query).scalars().first()


def entrypoints(tx: Tx, build_id: str) -> list[str]:
    """Return what a build lets others call, as `file.py:name`."""
    query = sa.select(tables.builds.c.entrypoints).where(tables.builds.c.id == build_id)
    found = tx.connection.execute(query).scalar_one_or_none() or []
    return [f"{item['file']}:{item['name']}" for item in found]


def owns_event(tx: Tx, project_id: str, event_id: str) -> bool:
    """Tell whether an event belongs to a project."""
    event = tables.events.c
    query = sa.select(event.id).where(event.id == event_id, event.project_id == project_id)
    return tx.connection.execute(query).first() is not None


def active_target(tx: Tx, org_id: str, project_ref: str) -> Target | None:
    """Return what a new session of an org's project runs: its active deployment."""
    project_id = project_of(tx, org_id, project_ref)
    deployment = tables.deployments.c
    query = sa.select(deployment.project_id, deployment.id, deployment.build_id).where(
        deployment.project_id == project_id, deployment.state == "active"
    )
    row = tx.connection.execute(query).first()
    return None if row is None else Target(*row)
