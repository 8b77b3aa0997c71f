"""Connections and their sealed secrets: the only place that reads and writes their rows.

What the secrets mean is `connections`' business; leases of refreshes and browser flows have modules of their
own (`refreshes`, `oauth_flows`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ninelives_server.errors import Conflict
from ninelives_server.ids import ConnectionId, OrgId, ProjectId
from ninelives_server.model.connections import Account, Connection, ConnectionState
from ninelives_server.store.compiled import Statement
from ninelives_server.store.core import Tx
from ninelives_server.store.tables import connection_secrets, connections

_PLAIN = (
    "name",
    "integration",
    "auth_mode",
    "state_since",
    "reason",
    "provider_reason",
    "account_key",
    "generation",
    "last_checked_at",
    "last_refreshed_at",
    "last_used_at",
    "created_at",
    "created_by",
)


# Each start of a session asks for them twice.
_is_of_project = connections.c.project_id == sa.bindparam("the_id")
_OF_PROJECT = Statement(
    sa.select(connections).where(_is_of_project).order_by(connections.c.created_at, connections.c.id)
)
_NAMES_OF_PROJECT = Statement(
    sa.select(connection_secrets.c.connection_id, connection_secrets.c.name)
    .join(connections, connections.c.id == connection_secrets.c.connection_id)
    .where(_is_of_project)
)


def _connection(row: Any, secrets_set: frozenset[str]) -> Connection:
    return Connection(
        id=ConnectionId(row.id),
        org_id=OrgId(row.org_id),
        project_id=None if row.project_id is None else ProjectId(row.project_id),
        state=ConnectionState(row.state),
        settings=dict(row.settings),
        secrets_set=secrets_set,
        account=None if row.account is None else _account(row.account),
        **{name: getattr(row, name) for name in _PLAIN},
    )


def _account(stored: Mapping[str, Any]) -> Account:
    return Account(**{**stored, "scopes": tuple(stored["scopes"])})


def _account_json(account: Account | None) -> dict[str, Any] | sa.Null:
    return sa.null() if account is None else {**asdict(account), "scopes": list(account.scopes)}


def _all(tx: Tx, query: sa.Select[Any]) -> Sequence[Connection]:
    rows = tx.connection.execute(query.order_by(connections.c.created_at, connections.c.id)).all()
    if not rows:
        return []
    secret = connection_secrets.c
    query = sa.select(secret.connection_id, secret.name)
    found = tx.connection.execute(query.where(secret.connection_id.in_([row.id for row in rows])))
    return _with_names(rows, found.all())


def _with_names(rows: Sequence[Any], found: Sequence[Any]) -> Sequence[Connection]:
    """Return connections, each with the names of the secrets that are set."""
    names: dict[str, set[str]] = {}
    for row in found:
        names.setdefault(row.connection_id, set()).add(row.name)
    return [_connection(row, frozenset(names.get(row.id, ()))) for row in rows]


def _one(tx: Tx, *where: sa.ColumnElement[bool], lock: bool = False) -> Connection | None:
    query = sa.select(connections).where(*where)
    found = _all(tx, query.with_for_update() if lock else query)
    return found[0] if found else None


def insert(tx: Tx, connection: Connection) -> None:
    """Add a connection; its secrets are put one by one.

    Raises:
        Conflict: The project has a connection of this name.
    """
    _refuse_taken(tx, connection.project_id, connection.org_id, connection.name)
    statement = connections.insert().values(
        id=connection.id,
        org_id=connection.org_id,
        project_id=connection.project_id,
        state=str(connection.state),
        settings=dict(connection.settings),
        account=_account_json(connection.account),
        **{name: getattr(connection, name) for name in _PLAIN},
    )
    try:
        tx.connection.execute(statement)
    except sa.exc.IntegrityError:  # somebody else's unit was faster
        raise _taken(connection.name) from None
    tx.notify("connection", connection.id)


def _refuse_taken(tx: Tx, project_id: str | None, org_id: str, name: str) -> None:
    c = connections.c
    same = c.project_id.is_(None) if project_id is None else c.project_id == project_id
    query = sa.select(c.id).where(c.org_id == org_id, same, c.name == name)
    if tx.connection.execute(query).first() is not None:
        raise _taken(name)


def _taken(name: str) -> Conflict:
    return Conflict(
        f"there is already a connection {name!r} here; choose another name, or edit that one",
        code="name_taken",
        fields={"name": f"there is already a connection {name!r}"},
    )


def by_id(tx: Tx, connection_id: str, *, lock: bool = False) -> Connection | None:
    """Return a connection; with `lock`, nobody else changes it before this unit ends."""
    return _one(tx, connections.c.id == connection_id, lock=lock)


def by_name(tx: Tx, project_id: str, name: str) -> Connection | None:
    """Return the connection of this name in a project."""
    return _one(tx, connections.c.project_id == project_id, connections.c.name == name)


def of_project(tx: Tx, project_id: str) -> Sequence[Connection]:
    """Return the connections of a project, oldest first."""
    rows = _OF_PROJECT.all(tx, the_id=project_id)
    return _with_names(rows, _NAMES_OF_PROJECT.all(tx, the_id=project_id)) if rows else []


def of_org(tx: Tx, org_id: str) -> Sequence[Connection]:
    """Return all connections of an org, oldest first."""
    return _all(tx, sa.select(connections).where(connections.c.org_id == org_id))


def of_account(tx: Tx, org_id: str, integration: str, account_key: str) -> Sequence[Connection]:
    """Return an org's connections to exactly this account of a service."""
    c = connections.c
    same = (c.org_id == org_id, c.integration == integration, c.account_key == account_key)
    return _all(tx, sa.select(connections).where(*same))


def in_state(tx: Tx, *states: ConnectionState) -> Sequence[Connection]:
    """Return the connections of all orgs that are in one of these states."""
    return _all(tx, sa.select(connections).where(connections.c.state.in_([str(s) for s in states])))


def counts(tx: Tx) -> dict[ConnectionState, int]:
    """Return how many connections of the whole server are in each state."""
    query = sa.select(connections.c.state, sa.func.count()).group_by(connections.c.state)
    found = {ConnectionState(state): int(number) for state, number in tx.connection.execute(query)}
    return {state: found.get(state, 0) for state in ConnectionState}


def delete(tx: Tx, connection_id: str) -> None:
    """Delete a connection with its secrets, leases and flows."""
    tx.connection.execute(connections.delete().where(connections.c.id == connection_id))
    tx.notify("connection", connection_id)


def set_state(
    tx: Tx, connection_id: str, state: ConnectionState, *, reason: str = "", provider_reason: str = ""
) -> None:
    """Set state and reasons; `state_since` moves only where the state is another one, and tell others."""
    c = connections.c
    since = sa.case((c.state == str(state), c.state_since), else_=tx.now)
    tx.connection.execute(
        connections.update()
        .where(c.id == connection_id)
        .values(state=str(state), state_since=since, reason=reason, provider_reason=provider_reason)
    )
    tx.notify("connection", connection_id)


def set_entered(
    tx: Tx, connection: Connection, *, name: str, settings: Mapping[str, str], auth_mode: str
) -> None:
    """Save what its owner entered.

    Raises:
        Conflict: The name is taken.
    """
    if name != connection.name:
        _refuse_taken(tx, connection.project_id, connection.org_id, name)
    tx.connection.execute(
        connections.update()
        .where(connections.c.id == connection.id)
        .values(name=name, settings=dict(settings), auth_mode=auth_mode)
    )
    tx.notify("connection", connection.id)


def set_grant(tx: Tx, connection_id: str, *, account: Account | None, account_key: str | None) -> int:
    """Save whose grant it is and count it; return the new generation. `None` forgets the account."""
    c = connections.c
    tx.connection.execute(
        connections.update()
        .where(c.id == connection_id)
        .values(account=_account_json(account), account_key=account_key, generation=c.generation + 1)
    )
    query = sa.select(c.generation).where(c.id == connection_id)
    return int(tx.connection.execute(query).scalar_one())


def touch(
    tx: Tx,
    connection_id: str,
    *,
    checked_at: datetime | None = None,
    refreshed_at: datetime | None = None,
    used_at: datetime | None = None,
) -> None:
    """Note when it was last checked, refreshed or used."""
    times = {"last_checked_at": checked_at, "last_refreshed_at": refreshed_at, "last_used_at": used_at}
    values = {name: value for name, value in times.items() if value is not None}
    if values:
        tx.connection.execute(connections.update().where(connections.c.id == connection_id).values(values))


def put_secret(tx: Tx, connection_id: str, name: str, sealed_value: bytes) -> None:
    """Save a sealed secret, in the place of the one of this name."""
    c = connection_secrets.c
    changed = tx.connection.execute(
        connection_secrets.update()
        .where(c.connection_id == connection_id, c.name == name)
        .values(sealed_value=sealed_value, updated_at=tx.now)
    )
    if changed.rowcount == 0:
        tx.connection.execute(
            connection_secrets.insert().values(
                connection_id=connection_id, name=name, sealed_value=sealed_value, updated_at=tx.now
            )
        )


def secrets_of(tx: Tx, connection_id: str) -> dict[str, bytes]:
    """Return the sealed secrets of a connection by name."""
    c = connection_secrets.c
    rows = tx.connection.execute(
        sa.select(c.name, c.sealed_value).where(c.connection_id == connection_id)
    ).all()
    return {row.name: bytes(row.sealed_value) for row in rows}


def drop_secrets(tx: Tx, connection_id: str, names: Sequence[str]) -> None:
    """Delete secrets by name."""
    c = connection_secrets.c
    tx.connection.execute(
        connection_secrets.delete().where(c.connection_id == connection_id, c.name.in_(names))
    )
