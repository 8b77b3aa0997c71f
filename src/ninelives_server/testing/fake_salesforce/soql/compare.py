"""How SOQL compares: texts without letter case, ids in either length, dates with spans of days."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any

from ninelives_server.testing.fake_salesforce import sfid
from ninelives_server.testing.fake_salesforce.schema.fields import NUMBERS, Field
from ninelives_server.testing.fake_salesforce.soql import dates
from ninelives_server.testing.fake_salesforce.soql.syntax import DateLiteral

Test = Callable[[Any], bool]


class Unfit(Exception):
    """A literal does not fit the field that it is compared with."""


def sort_key(value: Any) -> Any:
    """Return what to sort by; `None` stays `None`."""
    return value.lower() if isinstance(value, str) else value


def test(field: Field, operator: str, wanted: Any, today: date) -> Test:
    """Return the test of one comparison.

    Raises:
        Unfit: The literal has another type than the field.
    """
    if operator == "LIKE":
        return _like(str(wanted))
    if operator in {"IN", "NOT IN"}:
        tests = [_equal(field, member, today) for member in wanted]
        if operator == "IN":
            return lambda value: any(t(value) for t in tests)
        return lambda value: not any(t(value) for t in tests)
    if operator in {"INCLUDES", "EXCLUDES"}:
        return _includes(wanted, operator == "EXCLUDES")
    if operator == "=":
        return _equal(field, wanted, today)
    if operator == "!=":
        equal = _equal(field, wanted, today)
        return lambda value: not equal(value)
    return _ordered(field, operator, wanted, today)


def _like(pattern: str) -> Test:
    pieces = [".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern]
    compiled = re.compile("".join(pieces), re.IGNORECASE | re.DOTALL)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def _includes(members: list[Any], excluded: bool) -> Test:
    groups = [set(str(m).split(";")) for m in members]

    def includes(value: Any) -> bool:
        chosen = set((value or "").split(";"))
        return any(group <= chosen for group in groups) is not excluded

    return includes


def _equal(field: Field, wanted: Any, today: date) -> Test:
    if wanted is None:
        return lambda value: value is None
    start, end = _bounds(field, wanted, today)
    if end is not None:
        return lambda value: value is not None and start <= value < end
    return lambda value: value is not None and _folded(value) == start


def _ordered(field: Field, operator: str, wanted: Any, today: date) -> Test:
    if wanted is None:
        return lambda _value: False
    start, end = _bounds(field, wanted, today)
    if operator == "<":
        return lambda value: value is not None and _folded(value) < start
    if operator == ">=":
        return lambda value: value is not None and _folded(value) >= start
    if operator == ">":
        return lambda value: (
            value is not None and (value >= end if end is not None else _folded(value) > start)
        )
    return lambda value: value is not None and (value < end if end is not None else _folded(value) <= start)


def _folded(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _bounds(field: Field, wanted: Any, today: date) -> tuple[Any, Any]:
    """Return the value to compare with, and for a span of days its end."""
    if isinstance(wanted, DateLiteral):
        span = dates.span(wanted, today)
        if span is None or field.type not in {"date", "datetime"}:
            raise Unfit(f"Invalid date literal {wanted.name}")
        return (_midnight(span[0]), _midnight(span[1])) if field.type == "datetime" else span
    _check(field, wanted)
    if field.type in {"id", "reference"}:
        return (sfid.normalise(wanted) or wanted).lower(), None
    return _folded(wanted), None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


def _check(field: Field, wanted: Any) -> None:
    """Refuse a literal of another type, in Salesforce's words."""
    if field.type in {"date", "datetime"}:
        is_moment = isinstance(wanted, datetime)
        fits = isinstance(wanted, date) and is_moment == (field.type == "datetime")
        kind = "dateTime" if field.type == "datetime" else "date"
        rest = f"of type {kind} and should not be enclosed in quotes"
    elif field.type in NUMBERS:
        fits, rest = (
            isinstance(wanted, int | float) and not isinstance(wanted, bool),
            (f"of type {'int' if field.type == 'int' else 'double'} and should not be enclosed in quotes"),
        )
    elif field.type == "boolean":
        fits, rest = isinstance(wanted, bool), "of type boolean and should not be enclosed in quotes"
    else:
        fits, rest = isinstance(wanted, str), "of type string and should be enclosed in quotes"
    if not fits:
        raise Unfit(f"value of filter criterion for field '{field.name}' must be {rest}")
