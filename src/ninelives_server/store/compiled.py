"""Statements that are made once, and run by the driver itself on SQLite.

SQLAlchemy writes the SQL and knows how values of each type are written and read; that is asked once. What it
does again at each execution takes several times as long as SQLite does for a small statement, and each start
of a session runs some thirty of them. See `store.driver` for what is plain SQL altogether.
"""

from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.compiler import SQLCompiler

from ninelives_server.store.core import Tx
from ninelives_server.store.driver import sqlite

_Process = Callable[[Any], Any]
_GIVEN = object()


class _Plan(NamedTuple):
    """How SQLite's driver runs a statement.

    Attributes:
        values: For each `?` the name of its value, what it always is or `_GIVEN`, and how it is written.
        results: How the value of each column is read.
        row: Makes a row of such values.
    """

    sql: str
    values: tuple[tuple[str, Any, _Process | None], ...]
    results: tuple[_Process | None, ...]
    row: Callable[..., Any]


class Statement:
    """A statement with a `bindparam` for each value that differs, but for lists (`IN`)."""

    def __init__(self, statement: sa.Executable) -> None:
        self._statement = statement
        self._plan: _Plan | None = None

    def all(self, tx: Tx, **values: object) -> Sequence[Any]:
        """Run it; return its rows, with an attribute for each column."""
        lite = sqlite(tx)
        if lite is None:
            return tx.connection.execute(self._statement, values).all()
        plan = self._planned(tx)
        found = lite.execute(plan.sql, _written(plan, values)).fetchall()
        return [plan.row(*map(_read, plan.results, row)) for row in found]

    def first(self, tx: Tx, **values: object) -> Any | None:
        """Run it; return its first row, if there is one."""
        found = self.all(tx, **values)
        return found[0] if found else None

    def one(self, tx: Tx, **values: object) -> Any:
        """Run it; return its only row.

        Raises:
            NoResultFound: There is none.
        """
        found = self.all(tx, **values)
        if len(found) != 1:
            raise sa.exc.NoResultFound(f"{len(found)} rows were found when exactly one was required")
        return found[0]

    def scalars(self, tx: Tx, **values: object) -> list[Any]:
        """Run it; return the first column."""
        return [row[0] for row in self.all(tx, **values)]

    def run(self, tx: Tx, **values: object) -> int:
        """Run it; return how many rows it changed."""
        lite = sqlite(tx)
        if lite is None:
            return tx.connection.execute(self._statement, values).rowcount
        plan = self._planned(tx)
        return lite.execute(plan.sql, _written(plan, values)).rowcount

    def _planned(self, tx: Tx) -> _Plan:
        if self._plan is None:
            self._plan = _plan(self._statement, tx.connection.dialect)
        return self._plan


def _plan(statement: sa.Executable, dialect: Dialect) -> _Plan:
    compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
    assert isinstance(compiled, SQLCompiler)
    assert not compiled.post_compile_params, "a list in a statement that is compiled once"
    # What SQLAlchemy would give each row that does not say: the columns' defaults.
    always = {**compiled.params, **{column.key: _default(column) for column in compiled.prefetch}}
    values = tuple(
        (name, _GIVEN if bind.required else always[name], _writer(bind.type, dialect))
        for name, bind in ((name, compiled.binds[name]) for name in compiled.positiontup or ())
    )
    columns = list(statement.selected_columns) if isinstance(statement, sa.Select) else []
    results = tuple(column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns)
    names = " ".join(str(column.key) for column in columns)
    return _Plan(str(compiled), values, results, namedtuple("Row", names, rename=True))  # noqa: PYI024


def _default(column: sa.Column[Any]) -> Any:
    default = column.default
    assert isinstance(default, sa.ColumnDefault), f"{column} has no default of its own"
    assert default.is_scalar, f"{column} has a default that is no value"
    return default.arg


def _writer(kind: sa.types.TypeEngine[Any], dialect: Dialect) -> _Process | None:
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _written(plan: _Plan, values: dict[str, object]) -> list[Any]:
    found = []
    for name, always, process in plan.values:
        value = values[name] if always is _GIVEN else always
        found.append(value if process is None else process(value))
    return found


def _read(process: _Process | None, value: Any) -> Any:
    return value if process is None else process(value)
