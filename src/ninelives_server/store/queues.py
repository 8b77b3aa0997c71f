"""Sessions that the limits hold back: which wait, before which others, and which may start.

A session that waits is `created` with no `admitted_at`. Its place is that of its event. One index holds all
that is asked here, so that neither very many that wait nor very many that have ended cost anything.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from functools import cache
from typing import NamedTuple

import sqlalchemy as sa

from ninelives_server import ids
from ninelives_server.store.compiled import Statement
from ninelives_server.store.core import Tx
from ninelives_server.store.tables import events, projects, sessions

_t = sessions.c
_is_open = _t.ended_at.is_(None)
_waits = sa.and_(_is_open, _t.admitted_at.is_(None))
_runs = sa.and_(_is_open, _t.admitted_at.is_not(None))
_PAGE = 500
# Each event and each end of a session ask this: it is built once.
_HAS_WAITING = Statement(sa.select(_t.id).where(_t.project_id == sa.bindparam("project_id"), _waits).limit(1))
#: An event that cannot be dispatched holds up those behind it for so long.
_PATIENCE = timedelta(minutes=5)


class Waiting(NamedTuple):
    """A session that waits to be admitted.

    Attributes:
        key: Digest of its key's value; `None` where it has none.
    """

    id: str
    event_id: str
    key: str | None


def _project(project_id: str) -> sa.ColumnElement[bool]:
    return _t.project_id == project_id


def _trigger(trigger_id: str | None) -> sa.ColumnElement[bool]:
    return _t.trigger_id.is_(None) if trigger_id is None else _t.trigger_id == trigger_id


def lock(tx: Tx, project_id: str) -> int | None:
    """Let nobody else admit sessions of a project before this unit ends.

    Returns:
        How many may be open at once, 0 for any number; `None` where there is no such project.
    """
    query = sa.select(projects.c.max_concurrent).where(projects.c.id == project_id)
    found: int | None = tx.connection.execute(query.with_for_update(key_share=True)).scalar_one_or_none()
    return found


def limit_of(tx: Tx, project_id: str) -> int:
    """Return how many sessions of a project may be open at once; 0 is any number."""
    query = sa.select(projects.c.max_concurrent).where(projects.c.id == project_id)
    return int(tx.connection.execute(query).scalar_one_or_none() or 0)


def has_waiting(tx: Tx, project_id: str) -> bool:
    """Say whether any session of a project waits."""
    return _HAS_WAITING.first(tx, project_id=project_id) is not None


def projects_waiting(tx: Tx) -> list[str]:
    """Return the projects that have sessions which wait."""
    query = sa.select(projects.c.id).where(sa.exists().where(_t.project_id == projects.c.id, _waits))
    return list(tx.connection.execute(query).scalars())


def open_by_trigger(tx: Tx, project_id: str) -> dict[str | None, int]:
    """Return how many sessions of a project are open and admitted, by trigger; `None` is without one."""
    query = (
        sa.select(_t.trigger_id, sa.func.count()).where(_project(project_id), _runs).group_by(_t.trigger_id)
    )
    return {trigger_id: int(count) for trigger_id, count in tx.connection.execute(query)}


def open_of_trigger(tx: Tx, project_id: str, trigger_id: str, *, limit: int) -> list[str]:
    """Return sessions of a trigger that have not ended, admitted or not, at most `limit`."""
    query = sa.select(_t.id).where(_project(project_id), _is_open, _t.trigger_id == trigger_id).limit(limit)
    return list(tx.connection.execute(query).scalars())


def waiting_triggers(tx: Tx, project_id: str) -> list[str | None]:
    """Return the triggers whose sessions wait, each once; `None` for those without a trigger."""
    found: list[str | None] = []
    without = sa.select(_t.id).where(_project(project_id), _waits, _t.trigger_id.is_(None)).limit(1)
    if tx.connection.execute(without).first() is not None:
        found.append(None)
    last = ""
    while True:
        # From one to the next by the index: each may have very many sessions.
        query = sa.select(sa.func.min(_t.trigger_id)).where(
            _project(project_id), _waits, _t.trigger_id > last
        )
        after: str | None = tx.connection.execute(query).scalar_one()
        if after is None:
            return found
        found.append(after)
        last = after


def busy_keys(tx: Tx, project_id: str, trigger_id: str | None) -> set[str]:
    """Return the keys of a trigger's sessions that are open and admitted, forks of them included."""
    # A fork has no trigger, only the key; a key of another trigger is another one.
    is_of = sa.or_(_trigger(trigger_id), _t.trigger_id.is_(None))
    query = sa.select(_t.queue_key).where(_project(project_id), _runs, is_of, _t.queue_key.is_not(None))
    return set(tx.connection.execute(query).scalars())


def holder_of(tx: Tx, project_id: str, key: str) -> str | None:
    """Return the session that has a key and may run; `None` where the key is free."""
    query = sa.select(_t.id).where(_project(project_id), _runs, _t.queue_key == key).limit(1)
    found: str | None = tx.connection.execute(query).scalar_one_or_none()
    return found


def line(tx: Tx, project_id: str, trigger_id: str | None, busy: Collection[str]) -> Iterator[Waiting]:
    """Yield the sessions of a trigger that wait, in the order of their events.

    Those whose key is among `busy`, which may grow meanwhile, are left out where that can be had cheaply: one
    key may have very many of them. The caller looks again.
    """
    after = ""
    while True:
        query = sa.select(_t.id, _t.event_id, _t.queue_key).where(
            _project(project_id), _waits, _trigger(trigger_id), _t.event_id > after
        )
        if 0 < len(busy) <= _PAGE:
            query = query.where(sa.or_(_t.queue_key.is_(None), _t.queue_key.not_in(list(busy))))
        found = [Waiting(*row) for row in tx.connection.execute(query.order_by(_t.event_id).limit(_PAGE))]
        yield from found
        if len(found) < _PAGE:
            return
        after = found[-1].event_id


def first_undispatched(tx: Tx, project_id: str) -> str | None:
    """Return the oldest event of a project that waits for dispatch, but for those that are stuck."""
    query = sa.select(sa.func.min(events.c.id)).where(
        events.c.dispatched_at.is_(None),
        events.c.project_id == project_id,
        events.c.id > ids.earliest("evt", tx.now - _PATIENCE),
    )
    found: str | None = tx.connection.execute(query).scalar_one()
    return found


def admit(tx: Tx, session_ids: Sequence[str]) -> None:
    """Let sessions start and have them started."""
    for start in range(0, len(session_ids), _PAGE):
        chunk = session_ids[start : start + _PAGE]
        tx.connection.execute(
            sa.update(sessions)
            .where(_t.id.in_(chunk), _waits)
            .values(admitted_at=tx.now, signalled_at=tx.now)
        )
    for session_id in session_ids:
        tx.notify("start", session_id)
        tx.notify("session", session_id)


def count_between(
    tx: Tx, project_id: str, trigger_id: str | None, *, after: str, until: str, key: str | None = None
) -> int:
    """Return how many sessions of a trigger, and a key, wait whose events lie in `(after, until)`."""
    values = {"project_id": project_id, "trigger_id": trigger_id, "after": after, "until": until, "key": key}
    query = _between(has_trigger=trigger_id is not None, has_key=key is not None)
    return int(tx.connection.execute(query, values).scalar_one())


@cache
def _between(*, has_trigger: bool, has_key: bool) -> sa.Select[int]:
    """Return what `count_between` asks for each row of a page: to build it takes longer than to run it."""
    query = sa.select(sa.func.count()).where(
        _t.project_id == sa.bindparam("project_id"),
        _waits,
        _t.trigger_id == sa.bindparam("trigger_id") if has_trigger else _t.trigger_id.is_(None),
        _t.event_id > sa.bindparam("after"),
        _t.event_id < sa.bindparam("until"),
    )
    return query.where(_t.queue_key == sa.bindparam("key")) if has_key else query


def counts_of_keys(
    tx: Tx, project_id: str, trigger_id: str | None, *, until: str, keys: Collection[str]
) -> dict[str, int]:
    """Return how many sessions of each of these keys wait whose events come before `until`."""
    query = (
        sa.select(_t.queue_key, sa.func.count())
        .where(_project(project_id), _waits, _trigger(trigger_id), _t.event_id < until)
        .where(_t.queue_key.in_(list(keys)))
        .group_by(_t.queue_key)
    )
    return {key: int(count) for key, count in tx.connection.execute(query)}


def key_of(tx: Tx, session_id: str) -> str | None:
    """Return the digest of a session's key; `None` where it has none."""
    found: str | None = tx.connection.execute(
        sa.select(_t.queue_key).where(_t.id == session_id)
    ).scalar_one_or_none()
    return found


def keys_of(tx: Tx, session_ids: Collection[str]) -> dict[str, str]:
    """Return the key of each of these sessions that waits and has one."""
    query = sa.select(_t.id, _t.queue_key).where(_t.id.in_(session_ids), _waits, _t.queue_key.is_not(None))
    return {row.id: row.queue_key for row in tx.connection.execute(query)}
