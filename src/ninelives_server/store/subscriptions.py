"""Subscriptions of sessions to connections and triggers: the only place that writes their rows."""

from typing import NamedTuple

import sqlalchemy as sa

from ninelives_server.store import tables
from ninelives_server.store.core import Tx

_t = tables.subscriptions.c


class Source(NamedTuple):
    """What a name in `subscribe` stands for: a connection or a trigger."""

    connection_id: str | None
    trigger_id: str | None


def sources(tx: Tx, project_id: str, name: str) -> list[Source]:
    """Return the connections and triggers of a project that have this name."""
    connection, trigger = tables.connections.c, tables.triggers.c
    found = tx.connection.execute(
        sa.select(connection.id).where(connection.project_id == project_id, connection.name == name)
    ).scalars()
    named = [Source(connection_id, None) for connection_id in found]
    found = tx.connection.execute(
        sa.select(trigger.id).where(trigger.project_id == project_id, trigger.name == name)
    ).scalars()
    return named + [Source(None, trigger_id) for trigger_id in found]


def names(tx: Tx, project_id: str) -> list[str]:
    """Return what a session of this project can subscribe to, sorted."""
    found: set[str] = set()
    for table in (tables.connections, tables.triggers):
        query = sa.select(table.c.name).where(table.c.project_id == project_id)
        found.update(tx.connection.execute(query).scalars())
    return sorted(found)


def insert(
    tx: Tx,
    subscription_id: str,
    *,
    session_id: str,
    project_id: str,
    source: Source,
    expression: str,
) -> None:
    """Subscribe a session: events that are recorded from now on come into its inbox."""
    tx.connection.execute(
        sa.insert(tables.subscriptions),
        {
            "session_id": session_id,
            "id": subscription_id,
            "project_id": project_id,
            "connection_id": source.connection_id,
            "trigger_id": source.trigger_id,
            "filter": expression,
            "created_at": tx.now,
        },
    )
    if source.connection_id is not None:
        # Who listens to the outside must know: a connection may have no trigger that needs its stream.
        tx.notify("subscription", source.connection_id)


def known(tx: Tx, session_id: str, subscription_ids: list[str]) -> set[str]:
    """Return those of the ids that are subscriptions of a session."""
    query = sa.select(_t.id).where(_t.session_id == session_id, _t.id.in_(subscription_ids))
    return set(tx.connection.execute(query).scalars())


def delete(tx: Tx, session_id: str, subscription_id: str) -> None:
    """End a subscription; it need not exist."""
    tx.connection.execute(
        sa.delete(tables.subscriptions).where(_t.session_id == session_id, _t.id == subscription_id)
    )
