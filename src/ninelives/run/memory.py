"""Databases of SQLite that live in this process's memory: used directly, the code makes them again."""

import io
import sqlite3
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ninelives.run.digest import type_name

_ENGINES: Final = frozenset({"sqlalchemy.engine.base.Engine", "sqlalchemy.ext.asyncio.engine.AsyncEngine"})
_WRAPPERS: Final = frozenset({io.BufferedRandom, io.BufferedReader, io.BufferedWriter, io.TextIOWrapper})
#: By their ids; held, because nothing can refer to a connection weakly.
_connections: Final[dict[int, sqlite3.Connection]] = {}


def is_asked_for(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Tell whether `sqlite3.connect` is asked for a database that ends with the process."""
    name = args[0] if args else kwargs.get("database")
    if name in {":memory:", ""}:
        return True
    is_uri = kwargs.get("uri", args[7] if len(args) > 7 else False)  # its place there
    return bool(is_uri) and isinstance(name, str) and (":memory:" in name or "mode=memory" in name)


def connect(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return a connection to such a database, made by `sqlite3.connect`."""
    made = fn(*args, **kwargs)
    _connections[id(made)] = made
    return made


def holds(value: Any) -> bool:
    """Tell whether a value is a connection to such a database, a cursor of one, or a file over a buffer."""
    if type(value) in _WRAPPERS:
        return is_buffer(value)
    if not _connections:
        return False
    if isinstance(value, sqlite3.Cursor):
        value = value.connection
    return id(value) in _connections


def is_buffer(value: Any) -> bool:
    """Tell whether a value is a buffer in memory, or reads and writes one: `TextIOWrapper(BytesIO())`."""
    try:
        while type(value) in _WRAPPERS:
            value = value.buffer if isinstance(value, io.TextIOWrapper) else value.raw
        if isinstance(value, zipfile.ZipExtFile):
            value = value._fileobj._file  # type: ignore[attr-defined]
    except (AttributeError, ValueError):  # it was detached
        return False
    return isinstance(value, io.BytesIO | io.StringIO)


def is_database(value: Any) -> bool:
    """Tell whether a value is a connection to such a database."""
    return id(value) in _connections


def ends_with_process(value: Any) -> bool:
    """Tell whether a connection, or an engine of SQLAlchemy, is to a database that cannot be opened again."""
    try:
        if isinstance(value, sqlite3.Connection):
            return all(not row[2] for row in value.execute("PRAGMA database_list"))
        if type_name(type(value)) in _ENGINES:
            engine = getattr(value, "sync_engine", value)
            return engine.dialect.name == "sqlite" and engine.url.database in {None, "", ":memory:"}
    except Exception:  # closed, or with rows of a form of its own
        return False
    return False


class InTransaction(Exception):
    """A step left a database in a transaction: what a rollback would take back is not recorded."""


def content(connection: sqlite3.Connection) -> tuple[bytes, bool]:
    """Return all that a database holds, and whether a part of it may be taken back."""
    return connection.serialize(), connection.in_transaction


def fill(connection: sqlite3.Connection, data: bytes, is_in_transaction: bool) -> None:
    """Give a database what it held after a step that is replayed.

    Raises:
        InTransaction: The step had not committed what it did.
    """
    if is_in_transaction:
        raise InTransaction
    if connection.in_transaction:
        connection.commit()  # as the step did: it is part of what the database held
    connection.deserialize(data)
