"""Answers that were given to requests with an `Idempotency-Key`, for a day."""

from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ninelives_server.store.core import Tx
from ninelives_server.store.tables import idempotency


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """An answer as it was given.

    Attributes:
        request: SHA-256 of the request's body.
        sealed_body: What the vault sealed: an answer may show a new token.
    """

    request: bytes
    status: int
    sealed_body: bytes = field(repr=False)


def find(tx: Tx, key: bytes, since: datetime) -> KeptAnswer | None:
    """Return the answer to a key that was given since then."""
    row = tx.connection.execute(
        sa.select(idempotency).where(idempotency.c.key == key, idempotency.c.created_at > since)
    ).one_or_none()
    return None if row is None else KeptAnswer(request=row.request, status=row.status, sealed_body=row.body)


def insert(tx: Tx, key: bytes, answer: KeptAnswer) -> None:
    """Keep an answer, unless there is one for this key."""
    insert_into = postgresql.insert if tx.connection.dialect.name == "postgresql" else sqlite.insert
    tx.connection.execute(
        insert_into(idempotency)
        .values(
            key=key,
            request=answer.request,
            status=answer.status,
            body=answer.sealed_body,
            created_at=tx.now,
        )
        .on_conflict_do_nothing()
    )


def delete_older(tx: Tx, than: datetime, *, key: bytes, limit: int = 100) -> int:
    """Delete at most `limit` answers that are older, that of `key` among them; return how many."""
    old = sa.select(idempotency.c.key).where(idempotency.c.created_at <= than).limit(limit).scalar_subquery()
    which = sa.or_(idempotency.c.key.in_(old), idempotency.c.key == key)
    return tx.connection.execute(
        sa.delete(idempotency).where(idempotency.c.created_at <= than, which)
    ).rowcount
