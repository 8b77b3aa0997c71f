"""Failures of the database, where the same unit may succeed a moment later, and one of whoever asks."""

import sqlite3

import asyncpg
import sqlalchemy as sa

from ninelives_server.errors import DatabaseAway

#: Classes and codes of SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html): a broken
#: connection, a server that starts, stops or has crashed, and one that takes no more connections.
_CLASSES = ("08",)
_CODES = frozenset({"57P01", "57P02", "57P03", "53300"})
#: Result codes of SQLite (https://www.sqlite.org/rescode.html): somebody else writes for long, the disk is
#: full or fails, the file cannot be opened. Other errors of the driver are of the statement.
_SQLITE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
    }
)

#: SQLSTATE of text that PostgreSQL has no form for: a NUL character, or what is no UTF-8.
_NO_TEXT = frozenset({"22021", "22P05"})


def is_no_text(error: BaseException) -> bool:
    """Tell whether the database was given text that it cannot hold."""
    found = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    return str(getattr(found, "sqlstate", None) or "") in _NO_TEXT


def is_outage(error: BaseException) -> bool:
    """Tell whether the database is at fault, so that the same unit may succeed later."""
    if isinstance(error, DatabaseAway):
        return True
    if isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError | asyncpg.InterfaceError):
        return True
    if isinstance(error, sa.exc.DBAPIError):
        return error.connection_invalidated or _is_state_of_outage(error.orig)
    if isinstance(error, asyncpg.PostgresError):
        return _is_state_of_outage(error)
    if isinstance(error, sqlite3.Error):  # of what the driver runs itself; the code is the last byte
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in _SQLITE
    return isinstance(error, OSError | TimeoutError)


def _is_state_of_outage(error: object) -> bool:
    state = str(getattr(error, "sqlstate", None) or "")
    return state in _CODES or state.startswith(_CLASSES)
