"""Rows of wrapped data keys, as the vault asks for them (`vault.vault.KeyRows`).

Nothing here sees a key in the clear.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ninelives_server.store.core import Tx
from ninelives_server.store.tables import data_keys


def find(tx: Tx, owner: str) -> tuple[str, bytes] | None:
    """Return the id of the master key and the data key wrapped with it, or `None`."""
    query = sa.select(data_keys.c.master_id, data_keys.c.wrapped).where(data_keys.c.owner == owner)
    row = tx.connection.execute(query).one_or_none()
    return None if row is None else (row.master_id, row.wrapped)


def insert(tx: Tx, owner: str, master_id: str, wrapped: bytes) -> bool:
    """Insert a key where the owner has none; say whether it was inserted."""
    insert_into = postgresql.insert if tx.connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert_into(data_keys).values(
        owner=owner, master_id=master_id, wrapped=wrapped, created_at=tx.now
    )
    return tx.connection.execute(statement.on_conflict_do_nothing()).rowcount == 1


def replace(tx: Tx, owner: str, master_id: str, wrapped: bytes) -> None:
    """Put the same data key there, wrapped with another master key."""
    tx.connection.execute(
        sa.update(data_keys).where(data_keys.c.owner == owner).values(master_id=master_id, wrapped=wrapped)
    )


def delete(tx: Tx, owner: str) -> None:
    """Delete the owner's key; what it sealed is lost for good."""
    tx.connection.execute(sa.delete(data_keys).where(data_keys.c.owner == owner))


def everything(tx: Tx) -> list[tuple[str, str, bytes]]:
    """Return owner, master id and wrapped key of all rows; locked against change on PostgreSQL."""
    query = sa.select(data_keys.c.owner, data_keys.c.master_id, data_keys.c.wrapped).order_by(
        data_keys.c.owner
    )
    return [(row.owner, row.master_id, row.wrapped) for row in tx.connection.execute(query)]


def transaction(tx: Tx) -> object:
    """Return what is the same object throughout one database transaction, and another one in the next.

    On SQLite several units share a transaction: a row that one of them has written is seen by the others
    before it is committed.
    """
    return tx.connection.get_transaction()
