"""Failures of the database, where the same unit may succeed a moment later, and one of whoever asks."""

import asyncpg
import sqlalchemy as sa

from ninelives_server.errors import DatabaseAway

#: Classes and codes of SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html): a broken
#: connection, a server that starts, stops or has crashed, and one that takes no more connections.
_CLASSES = ("08",)
_CODES = frozenset({"57P01", "57P02", "57P03", "53300"})


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
    return isinstance(error, OSError | TimeoutError)


def _is_state_of_outage(error: object) -> bool:
    state = str(getattr(error, "sqlstate", None) or "")
    return state in _CODES or state.startswith(_CLASSES)
