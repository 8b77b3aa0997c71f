"""What a parsed query is made of."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Path:
    """A field, maybe behind relationships: `Owner.Name`; `at` is its column in the query, from 1."""

    parts: tuple[str, ...]
    at: int

    def __str__(self) -> str:
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`COUNT(Id) total`: function, field (`None` in `COUNT()`) and alias."""

    function: str
    path: Path | None
    alias: str | None


@dataclass(frozen=True, slots=True)
class AllFields:
    """`FIELDS(ALL)`, `FIELDS(STANDARD)` or `FIELDS(CUSTOM)`."""

    which: str


@dataclass(frozen=True, slots=True)
class DateLiteral:
    """`TODAY`, `LAST_N_DAYS:7` and the like: a span of days, seen from now."""

    name: str
    count: int | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """`path operator value`; for IN and NOT IN the value is a list or a query."""

    path: Path
    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class Both:
    """Conditions that must all hold."""

    terms: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Either:
    """Conditions of which one must hold."""

    terms: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """A condition that must not hold."""

    term: "Condition"


@dataclass(frozen=True, slots=True)
class Order:
    """One column to sort by."""

    path: Path | Aggregate
    descending: bool
    nulls_last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A whole query, or one in parentheses.

    Attributes:
        from_at: Column of the object's name, for error messages.
        all_rows: It ends with ALL ROWS: deleted records count.
    """

    select: tuple["Item", ...]
    from_name: str
    from_at: int
    alias: str | None = None
    where: "Condition | None" = None
    group_by: tuple[Path, ...] = ()
    order_by: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int = 0
    all_rows: bool = False


Condition = Comparison | Both | Either | Negation
Item = Path | Aggregate | AllFields | Query
Literal = str | int | float | bool | date | datetime | DateLiteral | None
