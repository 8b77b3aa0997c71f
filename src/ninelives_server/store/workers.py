"""Workers as the servers know them: when each was last heard of, by the database's clock."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ninelives_server.store import tables
from ninelives_server.store.core import Tx


class Worker(NamedTuple):
    """A worker.

    Attributes:
        isolation: What keeps project code from the server's keys: `mount_namespace`, `landlock`, `none`.
        release: The version of its Ninelives; empty where it did not say.
        semantics: The versions of the semantics that its release has; empty where they are not known.
        gone_at: When its sessions were taken from it; `None` while it may still hold some.
    """

    id: str
    name: str
    slots: int
    python: str
    isolation: str
    connected_at: datetime
    seen_at: datetime
    gone_at: datetime | None
    release: str
    semantics: list[int]


def connected(
    tx: Tx,
    worker_id: str,
    *,
    name: str,
    slots: int,
    python: str,
    isolation: str,
    release: str = "",
    semantics: Collection[int] = (),
) -> None:
    """Write down that a worker has a link."""
    values = {
        "name": name[:200],
        "slots": slots,
        "python": python[:40],
        "isolation": isolation[:40],
        "release": release[:40],
        "semantics": sorted(semantics),
        "connected_at": tx.now,
        "seen_at": tx.now,
        "gone_at": None,
    }
    if tx.connection.dialect.name == "sqlite":
        lite = sqlite.insert(tables.workers).values(id=worker_id, **values)
        tx.connection.execute(lite.on_conflict_do_update(index_elements=["id"], set_=values))
        return
    post = postgresql.insert(tables.workers).values(id=worker_id, **values)
    tx.connection.execute(post.on_conflict_do_update(index_elements=["id"], set_=values))


def seen(tx: Tx, worker_ids: list[str]) -> None:
    """Write down that these workers' links are alive."""
    worker = tables.workers
    tx.connection.execute(
        sa.update(worker).where(worker.c.id.in_(worker_ids)).values(seen_at=tx.now, gone_at=None)
    )


def gone(tx: Tx, worker_id: str) -> None:
    """Write down that a worker is lost and holds no session any more."""
    tx.connection.execute(
        sa.update(tables.workers).where(tables.workers.c.id == worker_id).values(gone_at=tx.now)
    )


def silent(tx: Tx, *, since: timedelta) -> list[str]:
    """Return workers that have not been heard of for so long and whose sessions nobody has taken back."""
    worker = tables.workers.c
    query = sa.select(worker.id).where(worker.gone_at.is_(None), worker.seen_at < tx.now - since)
    return list(tx.connection.execute(query).scalars())


def listing(tx: Tx, *, seen_within: timedelta) -> list[Worker]:
    """Return the workers that were heard of lately."""
    worker = tables.workers
    query = (
        sa.select(*(worker.c[name] for name in Worker._fields))
        .where(worker.c.seen_at >= tx.now - seen_within, worker.c.gone_at.is_(None))
        .order_by(worker.c.name, worker.c.id)
    )
    return [Worker(*row) for row in tx.connection.execute(query)]


def name_of(tx: Tx, worker_id: str) -> str:
    """Return a worker's name, which outlives its process; its id where it has none."""
    worker = tables.workers.c
    query = sa.select(worker.name).where(worker.id == worker_id)
    return tx.connection.execute(query).scalar_one_or_none() or worker_id


def in_use(tx: Tx) -> dict[str, int]:
    """Return how many sessions each worker runs now."""
    session = tables.sessions.c
    query = (
        sa.select(session.worker_id, sa.func.count())
        .where(session.state.in_(("running", "waiting")), session.worker_id.is_not(None))
        .group_by(session.worker_id)
    )
    return {str(worker_id): int(count) for worker_id, count in tx.connection.execute(query)}


def forget(tx: Tx, *, since: timedelta) -> int:
    """Delete lost workers that have not been heard of for so long; return how many."""
    worker = tables.workers
    return tx.connection.execute(
        sa.delete(worker).where(worker.c.gone_at.is_not(None), worker.c.seen_at < tx.now - since)
    ).rowcount
