"""Databases of SQLite that live in this process's memory: used directly, the code makes them again."""

import io
import sqlite3
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ninelives.run.digest import type_name

_ENGINES: Final = frozenset({"sqlalchemy.engine.base.Engine", "sqlalchemy.ext.asyncio.engine.AsyncEngine"})
_WRAPPERS: Final = frozenset({io.BufferedRandom, io.BufferedReader, io.BufferedWriter, io.TextIOWrapper})
#: Of larger databases it is not recorded what they hold. bytes
LIMIT: Final = 1_000_000
#: Recorded of what is not; a process of an earlier release takes it for a transaction.
NO_CONTENT: Final = (None, True)
#: Connections, by their ids, to databases that were larger once, and that were found closed.
_large: Final[set[int]] = set()
_closed: Final[set[int]] = set()
#: Connections to databases that others have a connection to.
_shared: Final[set[int]] = set()
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
    if "cache=shared" in str(args[0] if args else kwargs.get("database")):
        _shared.add(id(made))
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


class NotRecorded(Exception):
    """A step has changed a database in memory, and what it holds since is in no record."""


def databases() -> list[sqlite3.Connection]:
    """Return the connections to such databases that are open, in the order in which they were made."""
    return [found for key, found in _connections.items() if key not in _closed] if _connections else []


def database_of(value: Any) -> sqlite3.Connection | None:
    """Return the connection to such a database that a value is, or that it is a cursor of."""
    if isinstance(value, sqlite3.Cursor):
        value = value.connection
    return _connections.get(id(value))


def mark(connection: sqlite3.Connection) -> Any:
    """Return what is another thing once the database has changed; `None` where that cannot be told."""
    key = id(connection)
    try:
        counted = connection.total_changes, connection.in_transaction
        if key not in _large:
            data = _serialized(connection)
            if len(data) <= LIMIT:
                return (*counted, data)
            _large.add(key)
        return (*counted, sqlite3.Cursor(connection).execute("PRAGMA schema_version").fetchone())
    except sqlite3.ProgrammingError as error:
        if "closed" in str(error):
            _closed.add(key)
        return None  # or it belongs to another thread, which alone can change it
    except sqlite3.Error:
        return None


def _serialized(connection: sqlite3.Connection) -> bytes:
    try:
        return connection.serialize()
    except sqlite3.OperationalError:
        return b""  # there is no table in it yet


def content(connection: sqlite3.Connection) -> tuple[bytes | None, bool]:
    """Return all that a database holds, `None` where that is too much, and whether it may be taken back."""
    if id(connection) in _shared:
        return NO_CONTENT  # filled again it would be another one than its other connections have
    data = _serialized(connection)
    return (data, connection.in_transaction) if len(data) <= LIMIT else NO_CONTENT


def fill(connection: sqlite3.Connection, data: bytes | None, is_in_transaction: bool) -> None:
    """Give a database what it held after a step that is replayed.

    Raises:
        NotRecorded: It is in no record, or the step had not committed what it did.
    """
    if data is None:
        raise NotRecorded(
            f"changed a database in memory that holds more than {LIMIT // 1_000_000} MB or a secret, or is "
            "shared by connections: that is not recorded, and was lost with its process; change it outside "
            "of steps (your code does that again), or use a database on a server"
        )
    if is_in_transaction:
        raise NotRecorded(
            "left a database in memory in the middle of a transaction, which was lost with its process; "
            "commit or roll back in the step that began it, or change the database outside of steps (your "
            "code does that again)"
        )
    if connection.in_transaction:
        connection.commit()  # as the step did: it is part of what the database held
    try:
        if data:
            connection.deserialize(data)
    except sqlite3.Error as error:
        raise NotRecorded(f"changed a database in memory that cannot be filled again ({error})") from None
