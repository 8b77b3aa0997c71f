"""Browser flows of authorisations: the only place that reads and writes their rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ninelives_server.store.core import Tx
from ninelives_server.store.tables import oauth_flows, users


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowRow:
    """One authorisation, from the ticket to the outcome. Secrets are kept as SHA-256, the verifier sealed.

    Attributes:
        status: `ticketed`, `started`, `redirected`, `done`, `failed`.
        outcome: What the outcome page shows; safe.
    """

    id: str
    connection_id: str
    user_id: str
    ticket_hash: bytes | None = field(default=None, repr=False)
    code_hash: bytes | None = field(default=None, repr=False)
    code_tries: int = 0
    cookie_hash: bytes | None = field(default=None, repr=False)
    state_hash: bytes | None = field(default=None, repr=False)
    sealed_verifier: bytes | None = field(default=None, repr=False)
    redirect_uri: str
    return_to: str
    status: str
    outcome: Mapping[str, Any] | None = None
    expires_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    created_at: datetime
    created_by: str


_COLUMNS = tuple(FlowRow.__slots__)


def insert(tx: Tx, flow: FlowRow) -> None:
    """Add a flow."""
    values = {name: getattr(flow, name) for name in _COLUMNS}
    values["outcome"] = sa.null() if flow.outcome is None else dict(flow.outcome)
    tx.connection.execute(oauth_flows.insert().values(**values))


def by_id(tx: Tx, flow_id: str) -> FlowRow | None:
    """Return a flow."""
    return _one(tx, oauth_flows.c.id == flow_id)


def by_ticket(tx: Tx, connection_id: str, ticket_hash: bytes, *, lock: bool = False) -> FlowRow | None:
    """Return the flow of a ticket that nobody has used."""
    c = oauth_flows.c
    return _one(tx, c.connection_id == connection_id, c.ticket_hash == ticket_hash, lock=lock)


def by_state(tx: Tx, state_hash: bytes, *, lock: bool = False) -> FlowRow | None:
    """Return the flow of a `state`, used or not."""
    return _one(tx, oauth_flows.c.state_hash == state_hash, lock=lock)


def successor(tx: Tx, flow: FlowRow) -> FlowRow | None:
    """Return the newest flow that the same user began later for the same connection, and that has ended."""
    c = oauth_flows.c
    query = (
        sa.select(c.id)
        .where(*_same(flow), c.created_at > flow.created_at, c.status.in_(("done", "failed")))
        .order_by(c.created_at.desc())
        .limit(1)
    )
    found = tx.connection.execute(query).scalar_one_or_none()
    return None if found is None else by_id(tx, found)


def tell_waiting(tx: Tx, flow: FlowRow) -> None:
    """Wake whoever waits for an earlier flow of the same user and connection: it has a successor now."""
    c = oauth_flows.c
    query = sa.select(c.id).where(*_same(flow), c.status.in_(("ticketed", "started")))
    for (flow_id,) in tx.connection.execute(query):
        tx.notify("flow", flow_id)


def _same(flow: FlowRow) -> tuple[sa.ColumnElement[bool], ...]:
    c = oauth_flows.c
    return (c.connection_id == flow.connection_id, c.user_id == flow.user_id, c.id != flow.id)


def change(tx: Tx, flow_id: str, **values: Any) -> None:
    """Set columns of a flow, and tell who waits for it."""
    tx.connection.execute(oauth_flows.update().where(oauth_flows.c.id == flow_id).values(**values))
    tx.notify("flow", flow_id)


def delete_ended(tx: Tx, before: datetime, limit: int = 500) -> int:
    """Delete flows that nobody asks about any more; return how many."""
    c = oauth_flows.c
    old = sa.select(c.id).where(c.expires_at < before).limit(limit).scalar_subquery()
    return tx.connection.execute(oauth_flows.delete().where(c.id.in_(old))).rowcount


def _one(tx: Tx, *where: sa.ColumnElement[bool], lock: bool = False) -> FlowRow | None:
    query = sa.select(oauth_flows).where(*where)
    row = tx.connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        return None
    values = {name: getattr(row, name) for name in _COLUMNS}
    for name, value in values.items():
        if isinstance(value, memoryview):
            values[name] = bytes(value)
    return FlowRow(**values)


def user_name(tx: Tx, user_id: str) -> str:
    """Return the name of the user who asked, for the pages; empty for nobody we know."""
    query = sa.select(users.c.name).where(users.c.id == user_id)
    return tx.connection.execute(query).scalar_one_or_none() or ""
