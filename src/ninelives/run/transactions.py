"""Whether a connection to a database is in the middle of a transaction, which ends with its process."""

from typing import Any

#: `psycopg2.extensions.STATUS_BEGIN`
_PSYCOPG2_BEGIN = 2
#: `psycopg.pq.TransactionStatus`: active, in a transaction, in a failed one.
_PSYCOPG_OPEN = frozenset({1, 2, 3})


def may_begin(value: Any) -> bool:
    """Tell whether a value is a connection that has transactions."""
    cls = type(value)
    top = cls.__module__.partition(".")[0]
    return hasattr(cls, "in_transaction") or (
        top in {"asyncpg", "psycopg", "psycopg2"} and hasattr(cls, "cursor")
    )


def is_asking(connection: Any) -> bool:
    """Tell whether a connection of `http.client` is in the middle of a request."""
    return bool(getattr(connection, "_HTTPConnection__state", "Idle") != "Idle")


def is_open(connection: Any) -> bool:
    """Tell whether a connection, or session, has begun a transaction; nothing is asked of the database."""
    try:
        top = type(connection).__module__.partition(".")[0]
        if top == "psycopg2":
            return bool(connection.status == _PSYCOPG2_BEGIN)
        if top == "psycopg":
            return int(connection.info.transaction_status) in _PSYCOPG_OPEN
        if top == "asyncpg":
            return bool(connection.is_in_transaction())
        found = getattr(connection, "in_transaction", False)
        return bool(found() if callable(found) else found)
    except Exception:
        return False  # it is closed, or belongs to another thread
