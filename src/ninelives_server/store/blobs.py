"""Values and bundles that are too large for a column, in rows of at most 1 MB, named by their SHA-256."""

from collections.abc import Callable, Iterator

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ninelives_server.store import tables
from ninelives_server.store.core import Tx

#: Of one row. bytes
PART = 1024 * 1024


def context(sha256: str, part: int) -> str:
    """Return the context under which a part is sealed."""
    return f"blobs:{sha256}:{part}"


def parts_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the numbered parts of a blob; an empty one has one empty part."""
    for number, start in enumerate(range(0, max(len(data), 1), PART)):
        yield number, data[start : start + PART]


def put(tx: Tx, project_id: str, sha256: str, data: bytes, seal: Callable[[str, bytes], bytes]) -> None:
    """Store a blob; one that is there already stays, but counts as young again."""
    blob = tables.blobs.c
    own = sa.and_(blob.project_id == project_id, blob.sha256 == sha256)
    if tx.connection.execute(sa.update(tables.blobs).where(own).values(created_at=tx.now)).rowcount > 0:
        return
    make = sqlite.insert if tx.connection.dialect.name == "sqlite" else postgresql.insert
    for number, part in parts_of(data):
        values = {
            "sha256": sha256,
            "project_id": project_id,
            "part": number,
            "sealed_data": seal(context(sha256, number), part),
            "created_at": tx.now,
        }
        tx.connection.execute(make(tables.blobs).on_conflict_do_nothing(), values)


def size(tx: Tx, project_id: str, sha256: str) -> int:
    """Return what a blob takes, as it is stored; 0 where there is none. bytes."""
    blob = tables.blobs.c
    query = sa.select(sa.func.coalesce(sa.func.sum(sa.func.length(blob.sealed_data)), 0))
    where = (blob.project_id == project_id, blob.sha256 == sha256)
    return int(tx.connection.execute(query.where(*where)).scalar_one())


def get(tx: Tx, project_id: str, sha256: str, unseal: Callable[[str, bytes], bytes]) -> bytes | None:
    """Return a blob."""
    blob = tables.blobs.c
    query = (
        sa.select(blob.part, blob.sealed_data)
        .where(blob.project_id == project_id, blob.sha256 == sha256)
        .order_by(blob.part)
    )
    parts = [unseal(context(sha256, row.part), row.sealed_data) for row in tx.connection.execute(query)]
    return b"".join(parts) if parts else None
