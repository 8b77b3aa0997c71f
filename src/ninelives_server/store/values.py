"""A project's key-value data, sealed."""

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ninelives_server.store import tables
from ninelives_server.store.core import Tx

_t = tables.values.c


class Value(NamedTuple):
    """One value; `sealed_value` under the context `store_values:<project id>:<key>`."""

    key: str
    sealed_value: bytes
    published_at: datetime | None
    updated_at: datetime


def context(project_id: str, key: str) -> str:
    """Return the context under which a value is sealed."""
    return f"store_values:{project_id}:{key}"


def lock(tx: Tx, project_id: str) -> None:
    """Let no other transaction change this project's values until this one ends."""
    if tx.connection.dialect.name == "sqlite":
        return  # SQLite has one writer
    tx.connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(f"values:{project_id}"))))


def get(tx: Tx, project_id: str, key: str) -> Value | None:
    """Return a value."""
    query = sa.select(_t.key, _t.sealed_value, _t.published_at, _t.updated_at).where(
        _t.project_id == project_id, _t.key == key
    )
    row = tx.connection.execute(query).first()
    return None if row is None else Value(*row)


def put(tx: Tx, project_id: str, key: str, sealed_value: bytes) -> None:
    """Set a value; a published one stays published."""
    values = {"project_id": project_id, "key": key, "sealed_value": sealed_value, "updated_at": tx.now}
    changed = {"sealed_value": sealed_value, "updated_at": tx.now}
    if tx.connection.dialect.name == "sqlite":
        lite = sqlite.insert(tables.values).values(**values)
        tx.connection.execute(lite.on_conflict_do_update(index_elements=["project_id", "key"], set_=changed))
        return
    post = postgresql.insert(tables.values).values(**values)
    tx.connection.execute(post.on_conflict_do_update(index_elements=["project_id", "key"], set_=changed))


def delete(tx: Tx, project_id: str, key: str) -> bool:
    """Delete a value; `False` where there was none."""
    done = tx.connection.execute(
        sa.delete(tables.values).where(_t.project_id == project_id, _t.key == key),
    )
    return done.rowcount == 1


def publish(tx: Tx, project_id: str, key: str, *, is_published: bool) -> bool:
    """Serve a value to everybody, or not any more; `False` where there is none."""
    done = tx.connection.execute(
        sa.update(tables.values)
        .where(_t.project_id == project_id, _t.key == key)
        .values(published_at=tx.now if is_published else None)
    )
    return done.rowcount == 1


def listing(tx: Tx, project_id: str) -> list[Value]:
    """Return a project's values, sorted by key."""
    query = sa.select(_t.key, _t.sealed_value, _t.published_at, _t.updated_at)
    found = [Value(*row) for row in tx.connection.execute(query.where(_t.project_id == project_id))]
    return sorted(found, key=lambda value: value.key)


def keys(tx: Tx, project_id: str) -> list[str]:
    """Return a project's keys, sorted."""
    query = sa.select(_t.key).where(_t.project_id == project_id)
    return sorted(tx.connection.execute(query).scalars())
