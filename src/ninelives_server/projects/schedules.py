"""When a trigger's schedule is written in a form that can be right: its fields, their number and characters.

Whether a day exists in a month, and what a schedule means, is left to Temporal, which runs it: the forms are
those of https://docs.temporal.io/schedule and of AutoKitteh, which hands them on as they are.
"""

import re
import zoneinfo
from functools import cache

_NICKNAMES = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
_EVERY = re.compile(r"@every\s+(\d+(\.\d+)?(ns|us|µs|ms|s|m|h|d))+")
_FIELD = re.compile(r"[0-9A-Za-z*/,?#-]+")
_ZONE = re.compile(r"(?:CRON_TZ|TZ)=(\S+)\s+")


def trouble(schedule: str) -> str | None:
    """Return what is wrong with the form of a schedule, or `None`."""
    text = schedule.strip()
    zone = _ZONE.match(text)
    if zone is not None:
        if zone_trouble(zone[1]):
            return zone_trouble(zone[1])
        text = text[zone.end() :]
    if not text:
        return "the schedule is empty; write one such as '0 3 * * *' or '@daily'"
    if text.startswith("@"):
        if text in _NICKNAMES or _EVERY.fullmatch(text):
            return None
        return (
            f"the schedule {text!r} is not known; there is {', '.join(sorted(_NICKNAMES))} and '@every 1h30m'"
        )
    fields = text.split()
    if len(fields) not in {5, 6, 7}:
        count = len(fields)
        return f"the schedule {text!r} has {count} fields; cron has 5, 6 with a year, 7 with seconds too"
    for part in fields:
        if not _FIELD.fullmatch(part):
            return f"the schedule {text!r} has the field {part!r}, which cron does not know"
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
