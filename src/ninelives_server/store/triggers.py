"""Triggers: the only place that reads and writes their rows.

Which of them an event concerns is decided in `events.dispatch`; what a manifest wants in `projects`.
"""

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from ninelives_server.ids import ConnectionId, ProjectId, TriggerId
from ninelives_server.model.triggers import Trigger, TriggerType
from ninelives_server.store import driver
from ninelives_server.store.core import Tx
from ninelives_server.store.tables import deployments, triggers

#: Columns whose values the model holds under the same name.
_PLAIN = (
    "name",
    "event_type",
    "filter",
    "call",
    "schedule",
    "timezone",
    "slug",
    "is_durable",
    "is_sync",
    "last_error",
    "last_error_at",
    "created_at",
    "created_by",
)
#: What `update` never changes: identity, and what `set_error` writes.
_KEPT = frozenset({"id", "project_id", "created_at", "created_by", "last_error", "last_error_at"})


# Each event passes these: they are built once, because building costs more than running.
_BY_SLUG = sa.select(triggers).where(triggers.c.slug == sa.bindparam("slug"))
_BY_ID = sa.select(triggers).where(triggers.c.id == sa.bindparam("id"))
_MATCHING = (
    sa.select(triggers)
    .where(
        triggers.c.project_id == sa.bindparam("project_id"),
        triggers.c.connection_id == sa.bindparam("connection_id"),
    )
    .order_by(triggers.c.name, triggers.c.id)
)


_HOOKS = (
    "SELECT t.slug, t.id, t.project_id, p.org_id, t.is_sync, CAST(t.options AS text) "
    "FROM triggers t JOIN projects p ON p.id = t.project_id "
    f"WHERE t.type = '{TriggerType.WEBHOOK}' AND EXISTS "
    "(SELECT 1 FROM deployments d WHERE d.project_id = t.project_id AND d.state = 'active') AND t.slug"
)


#: Without a deployment nothing is a candidate: why nothing happens is another question then.
_CANDIDATES = (
    "SELECT t.id, t.name, t.event_type, t.filter, t.call FROM triggers t WHERE t.project_id = ? AND {} = ? "
    "AND EXISTS (SELECT 1 FROM deployments d WHERE d.project_id = t.project_id AND d.state = 'active') "
    "ORDER BY t.name, t.id"
)
_CANDIDATES_BY_ID, _CANDIDATES_BY_CONNECTION = map(_CANDIDATES.format, ("t.id", "t.connection_id"))


# A scalar subquery, not a join: PostgreSQL locks no nullable side of a join.
_SCHEDULED = sa.select(
    triggers,
    sa.select(sa.func.max(deployments.c.state_since))
    .where(deployments.c.project_id == triggers.c.project_id, deployments.c.state == "active")
    .scalar_subquery()
    .label("active_since"),
).where(triggers.c.type == str(TriggerType.SCHEDULE))


class Hook(NamedTuple):
    """What a request to a webhook's address is for.

    Attributes:
        auth: How its caller is known; `None` where anybody may call.
    """

    trigger_id: str
    project_id: str
    org_id: str
    is_sync: bool
    auth: Mapping[str, str] | None


class Candidate(NamedTuple):
    """What decides whether a trigger wants an event."""

    id: str
    name: str
    event_type: str
    filter: str
    call: str


def _trigger(row: sa.Row[Any]) -> Trigger:
    return Trigger(
        id=TriggerId(row.id),
        project_id=ProjectId(row.project_id),
        type=TriggerType(row.type),
        connection_id=None if row.connection_id is None else ConnectionId(row.connection_id),
        options=dict(row.options),
        **{name: getattr(row, name) for name in _PLAIN},
    )


def _values(trigger: Trigger) -> dict[str, Any]:
    return {
        "id": trigger.id,
        "project_id": trigger.project_id,
        "type": str(trigger.type),
        "connection_id": trigger.connection_id,
        "options": dict(trigger.options),
        **{name: getattr(trigger, name) for name in _PLAIN},
    }


def _one(tx: Tx, query: sa.Select[Any], values: Mapping[str, str]) -> Trigger | None:
    row = tx.connection.execute(query, values).one_or_none()
    return None if row is None else _trigger(row)


def _many(tx: Tx, query: sa.Select[Any]) -> list[Trigger]:
    return [_trigger(row) for row in tx.connection.execute(query.order_by(triggers.c.name, triggers.c.id))]


def insert(tx: Tx, trigger: Trigger) -> None:
    """Add a trigger and tell everybody who reconciles with the list of triggers."""
    tx.connection.execute(triggers.insert().values(_values(trigger)))
    tx.notify("trigger", trigger.id)


def update(tx: Tx, trigger: Trigger) -> None:
    """Save a trigger's definition; its project, maker and last error stay as they are."""
    values = {name: value for name, value in _values(trigger).items() if name not in _KEPT}
    tx.connection.execute(triggers.update().where(triggers.c.id == trigger.id).values(values))
    tx.notify("trigger", trigger.id)
    tx.notify("queue", trigger.project_id)


def delete(tx: Tx, trigger_id: str) -> None:
    """Remove a trigger; its events and sessions stay."""
    tx.connection.execute(triggers.delete().where(triggers.c.id == trigger_id))
    tx.notify("trigger", trigger_id)


def set_error(tx: Tx, trigger_id: str, text: str) -> None:
    """Say what is wrong with a trigger, or with an empty text that all is well; the same again is free."""
    changed = tx.connection.execute(
        triggers.update()
        .where(triggers.c.id == trigger_id, triggers.c.last_error != text)
        .values(last_error=text, last_error_at=tx.now if text else None)
    )
    if changed.rowcount:
        tx.notify("trigger", trigger_id)


def by_id(tx: Tx, trigger_id: str) -> Trigger | None:
    """Return a trigger."""
    return _one(tx, _BY_ID, {"id": trigger_id})


def lock(tx: Tx, trigger_id: str) -> None:
    """Let nobody else decide about a trigger's sessions before this unit ends."""
    tx.connection.execute(
        sa.select(triggers.c.id).where(triggers.c.id == trigger_id).with_for_update(key_share=True)
    )


class Scheduled(NamedTuple):
    """A trigger with a schedule, and how far it has come.

    Attributes:
        ticked_at: Up to where its times are settled; `None` where none was.
        active_since: Since when its project has the active deployment that it has; `None` without one.
    """

    trigger: Trigger
    ticked_at: datetime | None
    active_since: datetime | None


def scheduled(tx: Tx) -> list[Scheduled]:
    """Return all triggers that have a schedule, of whatever org."""
    return [_scheduled(row) for row in tx.connection.execute(_SCHEDULED.order_by(triggers.c.id))]


def scheduled_one(tx: Tx, trigger_id: str) -> Scheduled | None:
    """Return one of them, and let nobody else settle its times before this unit ends."""
    query = _SCHEDULED.where(triggers.c.id == trigger_id).with_for_update(of=triggers, key_share=True)
    row = tx.connection.execute(query).one_or_none()
    return None if row is None else _scheduled(row)


def _scheduled(row: sa.Row[Any]) -> Scheduled:
    return Scheduled(_trigger(row), row.ticked_at, row.active_since)


def set_ticked(tx: Tx, trigger_id: str, at: datetime) -> None:
    """Write down up to where the times of a schedule are settled; it never goes back."""
    tx.connection.execute(
        triggers.update()
        .where(triggers.c.id == trigger_id, sa.or_(triggers.c.ticked_at.is_(None), triggers.c.ticked_at < at))
        .values(ticked_at=at)
    )


def by_name(tx: Tx, project_id: str, name: str) -> Trigger | None:
    """Return a project's trigger of this name."""
    query = sa.select(triggers).where(triggers.c.project_id == project_id, triggers.c.name == name)
    return _one(tx, query, {})


def by_slug(tx: Tx, slug: str) -> Trigger | None:
    """Return the webhook trigger whose address ends in this slug."""
    return _one(tx, _BY_SLUG, {"slug": slug})


def hooks(tx: Tx, slugs: Collection[str]) -> dict[str, Hook]:
    """Return the webhooks at these addresses; those are left out whose project is not deployed."""
    if driver.sqlite(tx) is None:
        rows = driver.rows(tx, f"{_HOOKS} = ANY(?::text[])", (list(slugs),))
    else:
        rows = driver.rows(tx, f"{_HOOKS} IN ({driver.marks(len(slugs))})", list(slugs))
    return {
        slug: Hook(trigger_id, project_id, org_id, bool(is_sync), json.loads(options).get("auth") or None)
        for slug, trigger_id, project_id, org_id, is_sync, options in rows
    }


def candidates(tx: Tx, project_id: str, trigger_id: str | None, connection_id: str | None) -> list[Candidate]:
    """Return the triggers that an event of this source may concern; none while its project is not deployed.

    Never another project's, hence never another org's.
    """
    query = _CANDIDATES_BY_CONNECTION if trigger_id is None else _CANDIDATES_BY_ID
    source = connection_id if trigger_id is None else trigger_id
    if source is None:
        return []
    return [Candidate(*row) for row in driver.rows(tx, query, (project_id, source))]


def of_project(tx: Tx, project_id: str) -> list[Trigger]:
    """Return a project's triggers by name."""
    return _many(tx, sa.select(triggers).where(triggers.c.project_id == project_id))


def of_connection(tx: Tx, connection_id: str) -> list[Trigger]:
    """Return the triggers that listen to a connection, of whatever project."""
    return _many(tx, sa.select(triggers).where(triggers.c.connection_id == connection_id))


def matching(tx: Tx, project_id: str, connection_id: str) -> list[Trigger]:
    """Return the triggers of one project that listen to a connection."""
    rows = tx.connection.execute(_MATCHING, {"project_id": project_id, "connection_id": connection_id})
    return [_trigger(row) for row in rows]
