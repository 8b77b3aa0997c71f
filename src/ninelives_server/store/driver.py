"""What the hot paths need to speak to the database's driver itself.

SQLAlchemy takes three times as long as SQLite for a small statement. So what each event and each step passes
is plain SQL: on SQLite by the driver's own connection, on PostgreSQL as one statement over arrays (`unnest`).
"""

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from ninelives_server.store.core import Tx


def sqlite(tx: Tx) -> sqlite3.Connection | None:
    """Return the driver's own connection on SQLite, `None` on another database."""
    if tx.lite is not None:
        return tx.lite
    if tx.connection.dialect.name != "sqlite":
        return None
    found: sqlite3.Connection | None = tx.connection.connection.driver_connection
    return found


def sqlite_time(at: datetime | None) -> str | None:
    """Write a time as SQLAlchemy's DateTime does, so that Core reads back what was written here."""
    # `isoformat` writes what `strftime` would, in a tenth of the time; 26 characters end before the zone.
    return None if at is None else at.astimezone(UTC).isoformat(" ", "microseconds")[:26]


def time_of(found: str | datetime) -> datetime:
    """Return a time as the driver gives it, aware and in UTC."""
    if isinstance(found, str):
        return datetime.fromisoformat(found).replace(tzinfo=UTC)
    return found.astimezone(UTC)


def rows(tx: Tx, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run a query that has `?` for each value, on either database.

    JSON and times come as the driver has them: have JSON cast to text, and see `time_of`.
    """
    if (lite := sqlite(tx)) is not None:
        return lite.execute(query, values).fetchall()
    return [tuple(row) for row in tx.connection.exec_driver_sql(_numbered(query), tuple(values))]


@lru_cache(maxsize=256)
def _numbered(query: str) -> str:
    """Write placeholders as PostgreSQL wants them, from `$1` on."""
    first, *rest = query.split("?")
    return first + "".join(f"${number}{part}" for number, part in enumerate(rest, 1))


def update(tx: Tx, lite_query: str, postgres_query: str, rows: Sequence[Sequence[Any]]) -> int:
    """Do the same for each row, at least one: SQLite's statement for one, PostgreSQL's over arrays.

    Returns:
        How many rows of the table it changed or added.
    """
    if (lite := sqlite(tx)) is not None:
        return int(lite.executemany(lite_query, rows).rowcount)
    return int(tx.connection.exec_driver_sql(postgres_query, columns(rows)).rowcount)


@lru_cache(maxsize=600)
def marks(count: int) -> str:
    """Return so many placeholders of SQLite, separated by commas."""
    return ", ".join("?" * count)


def columns(rows: Iterable[Sequence[Any]]) -> tuple[list[Any], ...]:
    """Turn rows, at least one, into the arrays that `unnest` makes rows of again."""
    return tuple(map(list, zip(*rows, strict=True)))
