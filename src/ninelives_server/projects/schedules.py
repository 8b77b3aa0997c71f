"""Whether a trigger's schedule and time zone can be right; what a schedule means is in `model.schedules`."""

import zoneinfo
from datetime import datetime
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


def oddity(schedule: str, zone: str, now: datetime) -> str | None:
    """Return what somebody may have meant differently, with the next three times, or `None`.

    Six fields are minute first and the year last here, as in Temporal and so in AutoKitteh; in other crons
    they are seconds first.
    """
    text = schedule.strip()
    if schedules.fields(text) != 6 or trouble(text):
        return None
    times = _upcoming(text, zone, now, 3)
    local = zoneinfo.ZoneInfo(zone if zone in zones() else "UTC")
    said = ", ".join(moment.astimezone(local).strftime("%Y-%m-%d %H:%M %Z") for moment in times) or "never"
    return (
        f"the schedule {text!r} has 6 fields: the first is the minute and the sixth the year; it runs next "
        f"{said}; write 5 fields, or 7 with seconds first"
    )


def never(schedule: str, zone: str, now: datetime) -> str | None:
    """Say that a schedule has no time any more, such as the 30th of February, or return `None`."""
    text = schedule.strip()
    if trouble(text) or _upcoming(text, zone, now, 1):
        return None
    return (
        f"the schedule {text!r} never happens after {now:%Y-%m-%d %H:%M} UTC: no day fits all of its fields"
    )


def _upcoming(text: str, zone: str, now: datetime, count: int) -> list[datetime]:
    return schedules.upcoming(schedules.parse(text, zone if zone in zones() else "UTC"), now, count)


def zone_trouble(name: str) -> str | None:
    """Return what is wrong with the name of a time zone, or `None`."""
    if name in zones():
        return None
    return f"there is no time zone {name!r}; use a name such as 'Europe/Berlin' or 'UTC'"


@cache
def zones() -> frozenset[str]:
    """Return the names of all time zones."""
    return frozenset(zoneinfo.available_timezones())
