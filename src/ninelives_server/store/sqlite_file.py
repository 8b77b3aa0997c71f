"""A SQLite file as we use it: WAL, a full fsync at each commit, and only the transactions that we begin."""

import sqlite3
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

#: How long somebody waits for others that write to the same file. seconds
BUSY_SECONDS = 30
_BUSY_PAUSE = 0.01  # seconds
#: Where the disk takes longer than this for a commit, on the average, the event loop waits for none: as long
#: as another thread may have to wait for the interpreter's lock (`sys.getswitchinterval`). seconds
_SHORT = 0.005
#: The average goes over about so many commits.
_AVERAGED = 10
#: While the disk is slow, one unit of so many is committed in the event loop, to see whether it still is.
_LOOK_EVERY = 50


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


class Pace:
    """How fast the disk is, by the commits in the event loop's thread.

    In another thread that cannot be told from waiting for the interpreter's lock, which takes up to 5 ms.
    """

    def __init__(self) -> None:
        self._seconds = 0.0  # on the average
        self._left = 0

    def is_slow(self) -> bool:
        """Tell whether a short unit is left to the thread that writes; now and then one looks again."""
        if self._seconds <= _SHORT:
            return False
        self._left = (self._left + 1) % _LOOK_EVERY
        return self._left != 0

    def note(self, seconds: float) -> None:
        """Note how long a commit took."""
        was_slow = self._seconds > _SHORT
        self._seconds = seconds if was_slow else self._seconds + (seconds - self._seconds) / _AVERAGED


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
