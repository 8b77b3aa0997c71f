"""Cursors of databases: which can be made again, because all they have done is to ask.

Such a cursor gets, when it is made again, the query that it was executing and the rows that were fetched;
they must be the rows that were recorded. What an INSERT did is never done again.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from ninelives.errors import IteratorChanged
from ninelives.run.live import is_placeholder
from ninelives.run.lost import Lost, lost_of

_ASKS: Final = re.compile(
    r"\s*(--[^\n]*\n\s*)*\(?\s*(select|with|values|show|explain|pragma|describe)\b", re.IGNORECASE
)
_CHANGES: Final = re.compile(
    r"\b(insert|update|delete|merge|into|nextval|setval|call)\b|\bpragma\b[^=]*=", re.IGNORECASE
)
_EXECUTES: Final = frozenset({"callproc", "copy", "execute", "executemany", "executescript", "stream"})
_BEGINS: Final = frozenset({"__aenter__", "__enter__", "begin", "connect", "cursor", "get"})
_SETS_UP: Final = frozenset(
    {"create_aggregate", "create_collation", "create_function", "create_window_function", "setlimit",
     "enable_load_extension", "load_extension", "set_authorizer", "set_progress_handler",
     "set_trace_callback"}
)  # fmt: skip
_FETCHES: Final = frozenset(
    {"__next__", "all", "columns", "fetchall", "fetchmany", "fetchone", "fetchval", "first", "mappings",
     "one", "one_or_none", "scalar", "scalar_one", "scalar_one_or_none", "scalars", "scroll", "unique"}
)  # fmt: skip


def is_cursor(cls: type) -> bool:
    """Tell whether rows are fetched from objects of a class (PEP 249, and SQLAlchemy's results)."""
    return hasattr(cls, "fetchall") and (hasattr(cls, "fetchone") or hasattr(cls, "unique"))


def only_asks(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Tell whether a call that gave a cursor may be made again: its statement, if any, only asks."""
    texts = [_text(value) for value in (*args, *kwargs.values())]
    statement = next((text for text in texts if text is not None), None)
    return statement is None or (_ASKS.match(statement) is not None and _CHANGES.search(statement) is None)


class Touch(NamedTuple):
    """What a step may have done to a transaction.

    Attributes:
        is_harmless: It asks, or only begins: nothing is lost with it.
        may_change: It executes a statement that does more than ask.
    """

    is_harmless: bool
    may_change: bool


def touch(step: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Touch:
    """Return what a step of this name and with these arguments may have done to a transaction."""
    method = step.rpartition(".")[2]
    asks = only_asks(args, kwargs)
    if method in _EXECUTES:
        return Touch(is_harmless=asks, may_change=not asks)
    return Touch(is_harmless=method in _BEGINS or method in _FETCHES, may_change=False)


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return (
        str(value)
        if type(value).__module__.partition(".")[0] in {"psycopg", "psycopg2", "sqlalchemy"}
        else None
    )


def was_set_up(lost: Lost, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Note that a lost connection was given something of Python's: it is given it again when it is made."""
    if method in _SETS_UP and lost.about["type"] == "sqlite3.Connection":
        lost.repeat.append(lambda connection: getattr(connection, method)(*args, **kwargs))


def was_called(
    lost: Lost, method: str, args: Sequence[Any], kwargs: Mapping[str, Any], same: Callable[[Any], bool]
) -> None:
    """Note a call of a lost cursor that was answered from the journal; `same` compares its answer."""
    if method in _EXECUTES:
        lost.repeat.clear()
        if only_asks(args, kwargs):
            lost.repeat.append(lambda cursor: getattr(cursor, method)(*args, **kwargs))
    elif method in _FETCHES and (lost.repeat or lost.about["what"] == "handle"):
        lost.repeat.append(lambda cursor: _again(cursor, method, args, kwargs, same))


def begins_anew(step: str, args: Sequence[Any]) -> None:
    """Note that a lost cursor executes something else now: what it gave before need not be fetched again."""
    if args and is_placeholder(args[0]) and step.rpartition(".")[2] in _EXECUTES:
        lost = lost_of(args[0])
        if not lost.made and is_cursor(args[0].__class__):
            lost.repeat.clear()


def _again(
    cursor: Any, method: str, args: Sequence[Any], kwargs: Mapping[str, Any], same: Callable[[Any], bool]
) -> None:
    """Fetch rows a second time.

    Raises:
        IteratorChanged: They are others now.
    """
    if method == "__next__":
        row = next(cursor, None)
        found: Any = () if row is None else (row,)
    else:
        found = getattr(cursor, method)(*args, **kwargs)
    if not same(found):
        raise IteratorChanged(
            f"the rows of a {type(cursor).__qualname__} are not those that were fetched before the process "
            "died; fetch all of them in one step, such as fetchall()"
        )
