"""Date literals of SOQL: each is a span of days, from its first day to the day after its last."""

from datetime import date, timedelta

from ninelives_server.testing.fake_salesforce.soql.syntax import DateLiteral

#: Literals without a number. Weeks begin on Sunday, as in the locale en_US.
SPANS = frozenset(
    f"{which}_{unit}" for which in ("LAST", "THIS", "NEXT") for unit in ("WEEK", "MONTH", "QUARTER", "YEAR")
) | {"YESTERDAY", "TODAY", "TOMORROW", "LAST_90_DAYS", "NEXT_90_DAYS"}

_STEP = {"LAST": -1, "THIS": 0, "NEXT": 1}
_MONTHS = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}


def span(literal: DateLiteral, today: date) -> tuple[date, date] | None:
    """Return the first day and the day after the last, or `None` for a literal that there is not."""
    name, one = literal.name, timedelta(days=1)
    days = {"YESTERDAY": -1, "TODAY": 0, "TOMORROW": 1}
    if name in days:
        start = today + days[name] * one
        return start, start + one
    if name in {"LAST_90_DAYS", "NEXT_90_DAYS"}:
        return _counted(name[:4], "DAYS", 90, today)
    if literal.count is not None:
        which, _, unit = name.partition("_N_")
        if name.startswith("N_DAYS_AGO"):
            start = today - literal.count * one
            return start, start + one
        return _counted(which, unit, literal.count, today)
    which, _, unit = name.partition("_")
    return _unit(unit, _STEP[which], today) if which in _STEP else None


def _counted(which: str, unit: str, count: int, today: date) -> tuple[date, date] | None:
    one = timedelta(days=1)
    if which not in {"LAST", "NEXT"}:
        return None
    if unit == "DAYS":
        if which == "LAST":
            return today - count * one, today + one
        return today + one, today + (count + 1) * one
    if unit.removesuffix("S") not in {"WEEK", *_MONTHS}:
        return None
    single = unit.removesuffix("S")
    near, far = (-1, -count) if which == "LAST" else (1, count)
    return min(_unit(single, far, today)[0], _unit(single, near, today)[0]), _unit(
        single, max(near, far), today
    )[1]


def _unit(unit: str, step: int, today: date) -> tuple[date, date]:
    if unit == "WEEK":
        start = today - timedelta(days=(today.weekday() + 1) % 7) + timedelta(days=7 * step)
        return start, start + timedelta(days=7)
    months = _MONTHS[unit]
    index = today.year * 12 + today.month - 1
    first = index - index % months + step * months
    return _month(first), _month(first + months)


def _month(index: int) -> date:
    return date(index // 12, index % 12 + 1, 1)
