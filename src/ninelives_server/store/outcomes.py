"""What sessions answered to events, in order: a webhook that waits for its answer reads it here."""

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from ninelives_server import ids
from ninelives_server.store import tables
from ninelives_server.store.core import Tx


class Outcome(NamedTuple):
    """One answer; `sealed_value` is JSON under the context `outcomes:<id>:sealed_value`."""

    id: str
    event_id: str
    session_id: str
    sealed_value: bytes
    created_at: datetime


def new_id() -> str:
    """Return an id for an outcome, needed before it can be sealed."""
    return ids.new("out")


def context(outcome_id: str) -> str:
    """Return the context under which an outcome is sealed."""
    return f"outcomes:{outcome_id}:sealed_value"


def insert(tx: Tx, outcome_id: str, *, event_id: str, session_id: str, sealed_value: bytes) -> None:
    """Add an answer to an event and tell those who wait for it."""
    tx.connection.execute(
        sa.insert(tables.outcomes),
        {
            "id": outcome_id,
            "event_id": event_id,
            "session_id": session_id,
            "sealed_value": sealed_value,
            "created_at": tx.now,
        },
    )
    tx.notify("event", event_id)


def of_event(tx: Tx, event_id: str, *, skip: int = 0) -> list[Outcome]:
    """Return the answers to an event in order, but for the first `skip`."""
    outcome = tables.outcomes
    query = (
        sa.select(*(outcome.c[name] for name in Outcome._fields))
        .where(outcome.c.event_id == event_id)
        .order_by(outcome.c.created_at, outcome.c.id)
    )
    return [Outcome(*row) for row in tx.connection.execute(query.offset(skip))]
