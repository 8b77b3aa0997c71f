"""A SQLite file as we use it: WAL, a full fsync at each commit, and only the transactions that we begin."""

import sqlite3
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

#: How long somebody waits for others that write to the same file. seconds
BUSY_SECONDS = 30
_BUSY_PAUSE = 0.01  # seconds


def _pragmas(connection: Any, _record: Any) -> None:
    # The driver's own transaction start is off: we say BEGIN ourselves (IMMEDIATE for writes).
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
    _use_wal(cursor)
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY", "cache_size=-32000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _use_wal(cursor: Any) -> None:
    """Put the file into WAL mode, which is its own from then on.

    The change needs the file for itself, and SQLite refuses it at once, whatever `busy_timeout` says, where
    another connection is at the same (https://www.sqlite.org/wal.html). So it is asked for again.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(_BUSY_PAUSE)
        else:
            return


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def begun(lite: sqlite3.Connection, *, patience: float) -> bool:
    """Begin a transaction that writes; `False` where others, such as a restore, are at the file at once.

    Raises:
        sqlite3.OperationalError: They still are after `patience` seconds, or the file cannot be used.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            lite.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if patience and (not _is_busy(error) or time.monotonic() > deadline):
                raise
            if not patience:
                return False
            time.sleep(_BUSY_PAUSE)
        else:
            return True


def driver_of(connection: sa.Connection) -> sqlite3.Connection:
    """Return the driver's own connection: to begin and commit by it takes a fifth of the time."""
    found: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    return found


def engine_of(path: Path) -> sa.Engine:
    """Make an engine for a SQLite file, with WAL, a full fsync at each commit and foreign keys."""
    engine = sa.create_engine(
        f"sqlite:///{path}",
        connect_args={"check_same_thread": False},
        pool_size=8,
        max_overflow=8,
    )
    sa.event.listen(engine, "connect", _pragmas)
    return engine
