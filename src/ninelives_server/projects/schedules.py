"""Whether a trigger's schedule and time zone can be right; what a schedule means is in `model.schedules`."""

import zoneinfo
from functools import cache

from ninelives_server.model import schedules
from ninelives_server.model.schedules import BadSchedule


def trouble(schedule: str) -> str | None:
    """Return what is wrong with a schedule, or `None`."""
    try:
        schedules.parse(schedule)
    except BadSchedule as error:
        return str(error)
    return None


def zone_trouble(name: str) -> str | None:
    """Return what is wrong with the name of a time zone, or `None`."""
    if name in zones():
        return None
    return f"there is no time zone {name!r}; use a name such as 'Europe/Berlin' or 'UTC'"


@cache
def zones() -> frozenset[str]:
    """Return the names of all time zones."""
    return frozenset(zoneinfo.available_timezones())
