"""What a session waits for or has not read yet. A row here wakes a parked session."""

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from ninelives_server import ids
from ninelives_server.store import sessions, tables
from ninelives_server.store.core import Tx


class Item(NamedTuple):
    """One unread event or signal; `sealed_payload` under the context `inbox:<id>:sealed_payload`."""

    id: str
    session_id: str
    subscription_id: str | None
    kind: str
    name: str
    event_id: str | None
    sealed_payload: bytes | None
    created_at: datetime


def new_id() -> str:
    """Return an id for an item, needed before it can be sealed."""
    return ids.new("inb")


def put(
    tx: Tx,
    item_id: str,
    session_id: str,
    *,
    kind: str,
    name: str,
    subscription_id: str | None = None,
    event_id: str | None = None,
    sealed_payload: bytes | None = None,
) -> None:
    """Add an item and, where the session is parked, have it started: once per park."""
    tx.connection.execute(
        sa.insert(tables.inbox),
        {
            "id": item_id,
            "session_id": session_id,
            "subscription_id": subscription_id,
            "kind": kind,
            "name": name,
            "event_id": event_id,
            "sealed_payload": sealed_payload,
            "created_at": tx.now,
        },
    )
    if sessions.wake(tx, session_id):
        tx.notify("work", session_id)


def has_unread(tx: Tx, session_id: str) -> bool:
    """Tell whether something waits for a session."""
    query = sa.select(sa.literal(1)).where(tables.inbox.c.session_id == session_id).limit(1)
    return tx.connection.execute(query).first() is not None


def unread(tx: Tx, session_id: str) -> list[Item]:
    """Return what waits for a session, in order of arrival."""
    inbox = tables.inbox
    query = sa.select(*(inbox.c[name] for name in Item._fields)).where(inbox.c.session_id == session_id)
    return [Item(*row) for row in tx.connection.execute(query.order_by(inbox.c.created_at, inbox.c.id))]


def remove(tx: Tx, item_id: str) -> None:
    """Take an item out, in the transaction that records that the session has it."""
    tx.connection.execute(sa.delete(tables.inbox).where(tables.inbox.c.id == item_id))
