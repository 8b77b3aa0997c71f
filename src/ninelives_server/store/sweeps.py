"""What sweeps look for: sessions that should run, that nobody or somebody runs, and when the next one is due.

How a session stands is told in `store.sessions`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from ninelives_server.model.sessions import SessionState
from ninelives_server.store import tables
from ninelives_server.store.core import Tx
from ninelives_server.store.sessions import is_parked

_t = tables.sessions.c


def should_run(tx: Tx, *, quiet: timedelta, limit: int) -> list[str]:
    """Return sessions that should run and that nobody runs, where Temporal was not asked within `quiet`."""
    is_quiet = sa.or_(_t.signalled_at.is_(None), _t.signalled_at <= tx.now - quiet)
    query = sa.select(_t.id).where(_t.worker_id.is_(None), is_quiet).order_by(_t.id).limit(limit)
    # Each question has an index of its own: of very many parked sessions none is looked at.
    questions = [
        query.where(_t.state.in_((SessionState.CREATED, SessionState.RUNNING)), _t.admitted_at.is_not(None)),
        query.where(_t.state == SessionState.WAITING, _t.wake_at <= tx.now),
    ]
    inbox, awaited = tables.inbox.c, tables.awaited.c
    is_awaited = sa.and_(awaited.session_id == inbox.session_id, awaited.topic.in_((inbox.topic, "*")))
    mail = list(tx.connection.execute(sa.select(inbox.session_id).where(is_awaited).distinct()).scalars())
    questions += [query.where(_t.id.in_(mail[at : at + 500])) for at in range(0, len(mail), 500)]
    found: dict[str, None] = {}
    for question in questions:
        found.update(dict.fromkeys(tx.connection.execute(question).scalars()))
        if len(found) >= limit:
            break
    return list(found)[:limit]


def next_wake(tx: Tx) -> datetime | None:
    """Return when the next parked session is due."""
    query = sa.select(sa.func.min(_t.wake_at)).where(is_parked, _t.signalled_at.is_(None))
    at: datetime | None = tx.connection.execute(query).scalar_one()
    return at


def unheld(tx: Tx, session_ids: Sequence[str]) -> set[str]:
    """Return those of these sessions that nobody runs and that have not ended."""
    query = sa.select(_t.id).where(_t.id.in_(session_ids), _t.worker_id.is_(None), _t.ended_at.is_(None))
    return set(tx.connection.execute(query).scalars())


def held_by(tx: Tx, worker_id: str) -> list[tuple[str, int]]:
    """Return the sessions that a worker holds, with their epochs."""
    query = sa.select(_t.id, _t.epoch).where(_t.worker_id == worker_id)
    return [(row.id, row.epoch) for row in tx.connection.execute(query)]


def orphans(tx: Tx) -> list[tuple[str, int]]:
    """Return the sessions of workers that are gone, with their epochs: their claims came too late."""
    worker = tables.workers.c
    query = sa.select(_t.id, _t.epoch).join(tables.workers, worker.id == _t.worker_id)
    return [(row.id, row.epoch) for row in tx.connection.execute(query.where(worker.gone_at.is_not(None)))]
