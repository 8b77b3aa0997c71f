"""The whole database as one file, from SQLite or PostgreSQL and back into either.

The file is gzipped JSON, a line each: a head, for each table its name and its rows, then the number of rows.
What is sealed stays sealed in it. It is read in one transaction, so it is consistent while a server runs.
"""

import asyncio
import base64
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from ninelives_server.clock import SystemClock
from ninelives_server.errors import Invalid, SetupError
from ninelives_server.store import schema, sqlite_file
from ninelives_server.store.core import Tx
from ninelives_server.store.tables import metadata

T = TypeVar("T")

_FORMAT = 1
#: Rows of at most 1 MB each that are in memory at once.
_BATCH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a backup says of itself.

    Attributes:
        schema: Version of the tables.
        keys: The text of the server's key file, without which nothing sealed can be read; `None` where the
            backup was made without it, as by default.
    """

    schema: str
    made_at: datetime
    keys: str | None = field(repr=False)


async def write(url: str | None, sqlite_path: Path, target: IO[bytes], head: Head) -> int:
    """Write a backup and return how many rows it has.

    Raises:
        SetupError: The database cannot be read, or has another schema.
    """
    await schema.check(url, sqlite_path)
    return await _connected(url, sqlite_path, lambda connection: _dump(connection, target, head), "BEGIN")


async def restore(
    url: str | None, sqlite_path: Path, source: IO[bytes], check: Callable[[Tx], None] | None = None
) -> int:
    """Fill an empty database from a backup, all of it or nothing, and return how many rows it got.

    Args:
        url: Of a PostgreSQL; `None` for SQLite.
        sqlite_path: Where that is.
        source: The backup, at its beginning.
        check: Called with what is restored, before it is there to stay; what it raises undoes it.

    Raises:
        SetupError: The database is not empty, or cannot be used.
        Invalid: The file is no backup, is damaged, or was made by another version.
    """
    await schema.migrated(url, sqlite_path)

    def load(connection: sa.Connection) -> int:
        rows = _load(connection, source)
        if check is not None:
            check(Tx(connection, SystemClock().now()))
        return rows

    return await _connected(url, sqlite_path, load, "BEGIN IMMEDIATE")


def head_of(source: IO[bytes]) -> Head:
    """Read what a backup says of itself; the file stands at its beginning afterwards.

    Raises:
        Invalid: It is no backup, or was made by another version.
    """
    head = next(_lines(source), None)
    source.seek(0)
    if not isinstance(head, dict) or head.get("ninelives_backup") != _FORMAT:
        raise Invalid("the file is no backup of `ninelives server backup`, or one of another version")
    if head["schema"] != schema.head():
        raise Invalid(
            f"the backup has schema {head['schema']} and this version of Ninelives {schema.head()}; restore "
            "it with the version that made it, then run `ninelives server migrate` with this one"
        )
    return Head(schema=head["schema"], made_at=datetime.fromisoformat(head["made_at"]), keys=head.get("keys"))


def _tables() -> list[sa.Table]:
    """Return the tables in an order in which rows may be added; what a JSON column has not is NULL again."""
    copy = sa.MetaData()
    for table in metadata.sorted_tables:
        for column in table.to_metadata(copy).columns:
            if isinstance(column.type, sa.JSON):
                column.type = sa.JSON(none_as_null=True)
    return copy.sorted_tables


def _dump(connection: sa.Connection, target: IO[bytes], head: Head) -> int:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    count = 0
    with gzip.GzipFile(fileobj=target, mode="wb") as packed:

        def line(value: object) -> None:
            packed.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")

        about = {"schema": head.schema, "made_at": head.made_at.isoformat(), "keys": head.keys}
        line({"ninelives_backup": _FORMAT, **about})
        for table in _tables():
            line({"table": table.name, "columns": [column.name for column in table.columns]})
            found = connection.execution_options(yield_per=_BATCH).execute(sa.select(table))
            for row in found:
                line([_plain(value) for value in row])
                count += 1
        line({"rows": count})
    return count


def _plain(value: Any) -> Any:
    """Return a value as JSON; what JSON has not is an object with one key."""
    if isinstance(value, bytes | memoryview):
        return {"b": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, datetime):
        return {"t": value.isoformat()}
    return {"j": value} if isinstance(value, dict | list) else value


def _value(plain: Any) -> Any:
    match plain:
        case {"b": text}:
            return base64.b64decode(text)
        case {"t": text}:
            return datetime.fromisoformat(text)
        case {"j": value}:
            return value
    return plain


def _lines(source: IO[bytes]) -> Iterator[Any]:
    try:
        with gzip.GzipFile(fileobj=source, mode="rb") as packed:
            for line in packed:
                yield json.loads(line)
    except (OSError, EOFError, ValueError, zlib.error):
        raise Invalid("the file is no backup, or a part of it is missing") from None


def _load(connection: sa.Connection, source: IO[bytes]) -> int:
    tables = {table.name: table for table in _tables()}
    _refuse_full(connection, tables)
    lines = _lines(source)
    next(lines)
    count, said = 0, None
    table, columns = next(iter(tables.values())), [""]
    batch: list[dict[str, Any]] = []

    def flush() -> None:
        if batch:
            connection.execute(sa.insert(table), batch)
            batch.clear()

    for line in lines:
        if isinstance(line, list):
            batch.append(dict(zip(columns, map(_value, line), strict=True)))
            count += 1
        else:
            flush()
            said = line.get("rows", said)
            table, columns = tables.get(line.get("table"), table), line.get("columns", columns)
        if len(batch) >= _BATCH:
            flush()
    if said != count:
        raise Invalid(f"the backup ends after {count} rows: a part of it is missing")
    return count


def _refuse_full(connection: sa.Connection, tables: dict[str, sa.Table]) -> None:
    for table in tables.values():
        if connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first():
            raise SetupError(
                f"the database is not empty: it has {table.name}; restore into a new data directory or "
                "database"
            )


async def _connected(url: str | None, sqlite_path: Path, work: Callable[[sa.Connection], T], begin: str) -> T:
    try:
        if url is None:
            return await asyncio.to_thread(_on_sqlite, sqlite_path, work, begin)
        engine = create_async_engine(sa.make_url(url).set(drivername="postgresql+asyncpg"))
        try:
            async with engine.begin() as connection:
                return await connection.run_sync(work)
        finally:
            await engine.dispose()
    except sa.exc.DBAPIError as error:
        # Only the driver's words: the statement has values in it.
        raise SetupError(f"the database cannot be used: {error.orig}") from None


def _on_sqlite(path: Path, work: Callable[[sa.Connection], T], begin: str) -> T:
    engine = sqlite_file.engine_of(path)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(begin)
            result = work(connection)
            connection.commit()
            return result
    finally:
        engine.dispose()
