"""Who may refresh a connection's tokens now, and what was sent last: one row a connection.

The lease is a row, never an open transaction: while a request is under way nothing is locked in the database,
and a server that dies holds nobody up for longer than the lease. Times are the database's.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ninelives_server.store.core import Tx
from ninelives_server.store.tables import refreshes


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """The row.

    Attributes:
        intent_at: When a request left whose answer is not saved; `None` where there is none.
        intent_generation: Of the grant whose refresh token it carried.
        refused_generation: Of the grant whose access token somebody reported with a 401.
        failures: In a row.
        retry_at: Nothing is sent before.
    """

    connection_id: str
    lease_owner: str | None = None
    lease_until: datetime | None = None
    fence: int = 0
    intent_at: datetime | None = None
    intent_generation: int | None = None
    refused_generation: int | None = None
    failures: int = 0
    retry_at: datetime | None = None

    def is_held(self, now: datetime) -> bool:
        """Say whether somebody has the lease."""
        return self.lease_owner is not None and self.lease_until is not None and self.lease_until > now


def of(tx: Tx, connection_id: str) -> Refresh:
    """Return the row, or an empty one where there is none yet."""
    row = tx.connection.execute(_query(connection_id)).one_or_none()
    return _refresh(row) if row is not None else Refresh(connection_id=connection_id)


def locked(tx: Tx, connection_id: str) -> Refresh:
    """Return the row, made where it is missing; nobody else changes it before this unit ends.

    On PostgreSQL what is read after this call is newer than the lock, so it is what the last holder left.
    """
    dialect = postgresql if tx.connection.dialect.name == "postgresql" else sqlite
    new = dialect.insert(refreshes).values(connection_id=connection_id, fence=0, failures=0)
    tx.connection.execute(new.on_conflict_do_nothing())
    return _refresh(tx.connection.execute(_query(connection_id).with_for_update()).one())


def _query(connection_id: str) -> sa.Select[Any]:
    return sa.select(refreshes).where(refreshes.c.connection_id == connection_id)


def _refresh(row: sa.Row[Any]) -> Refresh:
    return Refresh(**{name: getattr(row, name) for name in Refresh.__slots__})


def take(tx: Tx, row: Refresh, owner: str, lasts: timedelta) -> int:
    """Give the lease to `owner`; return the fence that its writes must show."""
    fence = row.fence + 1
    _set(tx, row.connection_id, lease_owner=owner, lease_until=tx.now + lasts, fence=fence)
    return fence


def intend(tx: Tx, connection_id: str, generation: int) -> None:
    """Write down that a request with this generation's refresh token leaves now."""
    _set(tx, connection_id, intent_at=tx.now, intent_generation=generation)


def refuse(tx: Tx, connection_id: str, generation: int) -> None:
    """Write down that this generation's access token was refused: it is never handed out again."""
    _set(tx, connection_id, refused_generation=generation)


def settle(tx: Tx, connection_id: str) -> None:
    """Give the lease back after a success: no intent, no failures."""
    _set(
        tx,
        connection_id,
        lease_owner=None,
        lease_until=None,
        intent_at=None,
        intent_generation=None,
        failures=0,
        retry_at=None,
    )


def fail(tx: Tx, row: Refresh, *, retry_at: datetime | None, keep_intent: bool) -> None:
    """Give the lease back after a failure; the intent stays where nobody knows what became of it."""
    values: dict[str, Any] = {
        "lease_owner": None,
        "lease_until": None,
        "failures": row.failures + 1,
        "retry_at": retry_at,
    }
    if not keep_intent:
        values |= {"intent_at": None, "intent_generation": None}
    _set(tx, row.connection_id, **values)


def postpone(tx: Tx, connection_id: str, retry_at: datetime) -> None:
    """Send nothing by itself before this time; whoever has the lease keeps it."""
    _set(tx, connection_id, retry_at=retry_at)


def forget(tx: Tx, connection_id: str) -> None:
    """Forget everything about the last grant but the fence: a new one begins, or none."""
    settle(tx, connection_id)
    _set(tx, connection_id, refused_generation=None)


def _set(tx: Tx, connection_id: str, **values: Any) -> None:
    tx.connection.execute(
        refreshes.update().where(refreshes.c.connection_id == connection_id).values(**values)
    )
