"""What a schedule means: its times, computed as Temporal computes them, which runs it.

Read with https://docs.temporal.io/schedule and checked against the server by a test. Ours are needed beside
it: to say before a deploy what is wrong and when it will run, and after an outage what was missed. A time
is one whose local reading matches, so a local time that a change of the clocks leaves out does not happen.
"""

import re
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice, takewhile

_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_DAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
_UNITS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0,
}  # fmt: skip
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)")
_ZONE = re.compile(r"(?:CRON_TZ|TZ)=(\S+)\s+")
#: Offsets of zones change on such steps only, so within one the local time runs on evenly.
_BLOCK = timedelta(minutes=15)
#: The last year in which times are looked for, as in Temporal.
_LAST_YEAR = 2100
_LONGEST_EVERY = 366 * 86400  # seconds


class BadSchedule(ValueError):
    """A schedule that cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed distance, counted from 1970-01-01 00:00 UTC on, so that a restart moves nothing."""

    seconds: int
    phase: int = 0

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the times later than a moment, in order."""
        step = (int(moment.timestamp()) - self.phase) // self.seconds + 1
        while True:
            yield datetime.fromtimestamp(step * self.seconds + self.phase, UTC)
            step += 1

    def before(self, moment: datetime) -> Iterator[datetime]:
        """Yield the times not later than a moment, newest first."""
        step = (int(moment.timestamp()) - self.phase) // self.seconds
        while True:
            yield datetime.fromtimestamp(step * self.seconds + self.phase, UTC)
            step -= 1

    def is_repeated(self, _moment: datetime) -> bool:
        """Say whether the local time comes twice: never, there is no local time in this."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """A calendar: a time happens where all fields match, day of the month *and* day of the week included."""

    zone: zoneinfo.ZoneInfo
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    years: frozenset[int] | None

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the times later than a moment, in order."""
        at = _floor(moment)
        while (local := at.astimezone(self.zone)).year <= _LAST_YEAR:
            if (skip := self._skip(local)) is not None:
                at = max(_floor(skip.astimezone(UTC)), at + _BLOCK)
                continue
            yield from (time for time in self._in_block(at, local) if time > moment)
            at += _BLOCK

    def before(self, moment: datetime) -> Iterator[datetime]:
        """Yield the times not later than a moment, newest first."""
        at = _floor(moment)
        while (local := at.astimezone(self.zone)).year >= 1970:
            if self._is_day(local):
                yield from (time for time in reversed(self._in_block(at, local)) if time <= moment)
                at -= _BLOCK
            else:
                midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
                at = min(_floor(midnight.astimezone(UTC)), at) - _BLOCK

    def is_repeated(self, moment: datetime) -> bool:
        """Say whether the local time of a moment comes twice, because the clocks are put back."""
        local = moment.astimezone(self.zone)
        return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()

    def _is_day(self, local: datetime) -> bool:
        return (
            (self.years is None or local.year in self.years)
            and local.month in self.months
            and local.day in self.days
            and local.isoweekday() % 7 in self.weekdays
        )

    def _skip(self, local: datetime) -> datetime | None:
        """Return where to go on where nothing can match before; `None` where something can."""
        if self._is_day(local):
            return None
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        if self.years is not None and local.year not in self.years:
            later = [year for year in self.years if year > local.year]
            return midnight.replace(year=min(later, default=_LAST_YEAR + 1), month=1, day=1)
        if local.month not in self.months:
            return (midnight.replace(day=1) + timedelta(days=32)).replace(day=1)
        return midnight + timedelta(days=1)

    def _in_block(self, at: datetime, local: datetime) -> list[datetime]:
        if local.hour not in self.hours:
            return []
        start = at - timedelta(minutes=local.minute, seconds=local.second)
        first = local.minute
        return [
            start + timedelta(minutes=minute, seconds=second)
            for minute in self.minutes
            if first <= minute < first + _BLOCK.seconds // 60
            for second in self.seconds
        ]


Schedule = Every | Cron


@cache
def parse(text: str, zone: str = "UTC") -> Schedule:
    """Read a schedule: cron of 5 fields, 6 with a year, 7 with seconds and a year; `@daily`; `@every 1h30m`.

    Raises:
        BadSchedule: It has no meaning.
    """
    text, zone = split_zone(text, zone)
    text = text.partition("#")[0].strip()
    if not text:
        raise BadSchedule("the schedule is empty; write one such as '0 3 * * *' or '@daily'")
    if text == "@every" or text.startswith("@every "):
        return _every(text)
    if text.startswith("@") and text not in _NICKNAMES:
        known = ", ".join(sorted(_NICKNAMES))
        raise BadSchedule(f"the schedule {text!r} is not known; there is {known} and '@every 1h30m'")
    return _cron(_NICKNAMES.get(text, text), _zone(zone))


def next_after(schedule: Schedule, moment: datetime) -> datetime | None:
    """Return the first time later than a moment; `None` where there is none any more."""
    return next(schedule.after(moment), None)


def upcoming(schedule: Schedule, moment: datetime, count: int) -> list[datetime]:
    """Return the next times after a moment, at most so many."""
    return list(islice(schedule.after(moment), count))


def between(schedule: Schedule, after: datetime, until: datetime, *, most: int) -> list[datetime]:
    """Return the times later than `after` and not later than `until`, the newest `most` of them, in order.

    Those in an hour that the clocks repeat are left out: Temporal takes some of them twice, some once and
    some not at all (1.9), so nobody can say which were missed.
    """
    found: list[datetime] = []
    for time in takewhile(lambda time: time > after, schedule.before(until)):
        if not schedule.is_repeated(time):
            found.append(time)
        if len(found) == most:
            break
    return found[::-1]


def split_zone(text: str, zone: str) -> tuple[str, str]:
    """Return a schedule without the zone that may stand before it (`CRON_TZ=…`), and the zone that counts."""
    prefix = _ZONE.match(text.strip())
    return (text.strip(), zone) if prefix is None else (text.strip()[prefix.end() :], prefix[1])


def fields(text: str) -> int:
    """Return how many fields a cron schedule has; 0 for one with an `@`."""
    text = split_zone(text, "")[0].partition("#")[0].strip()
    return 0 if text.startswith("@") else len(text.split())


def _floor(moment: datetime) -> datetime:
    moment = moment.astimezone(UTC)
    return moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)


def _zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise BadSchedule(
            f"there is no time zone {name!r}; use a name such as 'Europe/Berlin' or 'UTC'"
        ) from None


def _every(text: str) -> Every:
    distance, _, phase = text.removeprefix("@every").strip().partition("/")
    every, offset = _seconds(distance, text), _seconds(phase, text) if phase else 0.0
    if not 1 <= every <= _LONGEST_EVERY:
        raise BadSchedule(f"the schedule {text!r} must have a distance from 1s to 366d")
    if every != int(every) or offset != int(offset):
        raise BadSchedule(f"the schedule {text!r} must be of whole seconds")
    if offset >= every:
        raise BadSchedule(f"the schedule {text!r} has a phase that is not below its distance")
    return Every(int(every), int(offset))


def _seconds(amount: str, text: str) -> float:
    parts = _AMOUNT.findall(amount)
    if not parts or "".join(number + unit for number, unit in parts) != amount:
        raise BadSchedule(f"the schedule {text!r} is not known; write the distance as in '@every 1h30m'")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _cron(text: str, zone: zoneinfo.ZoneInfo) -> Cron:
    parts = text.split()
    match len(parts):
        case 5:
            parts = ["0", *parts, "*"]
        case 6:
            parts = ["0", *parts]
        case 7:
            pass
        case count:
            raise BadSchedule(
                f"the schedule {text!r} has {count} fields; cron has 5, 6 with a year, "
                "7 with seconds first and a year last"
            )
    second, minute, hour, day, month, weekday, year = parts
    return Cron(
        zone=zone,
        seconds=tuple(sorted(_field(second, "second", 0, 59))),
        minutes=tuple(sorted(_field(minute, "minute", 0, 59))),
        hours=_field(hour, "hour", 0, 23),
        days=_field(day, "day", 1, 31),
        months=_field(month, "month", 1, 12, _names(_MONTHS, 1)),
        # 7 is Sunday too.
        weekdays=frozenset(d % 7 for d in _field(weekday, "weekday", 0, 7, _names(_DAYS, 0), last=6)),
        years=None if year == "*" else _field(year, "year", 1970, _LAST_YEAR),
    )


def _names(words: list[str], first: int) -> dict[str, int]:
    numbered = {word: number for number, word in enumerate(words, first)}
    return numbered | {word[:3]: number for word, number in numbered.items()}


def _field(
    text: str, what: str, low: int, high: int, names: dict[str, int] | None = None, last: int | None = None
) -> frozenset[int]:
    """Return the values of a field; `last` is where `*` ends, if not at `high`."""
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        width = _value(step, what, 1, high, None) if slash else 1
        if span == "*":
            start, end = low, high if last is None else last
        else:
            first, dash, final = span.partition("-")
            start = _value(first, what, low, high, names)
            # As in Temporal, `5/20` begins at 5 and goes on to the end.
            end = _value(final, what, start, high, names) if dash else (high if slash else start)
        found.update(range(start, end + 1, width))
    return frozenset(found)


def _value(text: str, what: str, low: int, high: int, names: dict[str, int] | None) -> int:
    number = (names or {}).get(text.lower())
    if number is None and text.isascii() and text.isdigit():
        number = int(text)
    if number is None:
        raise BadSchedule(f"the {what} {text!r} of the schedule is no number from {low} to {high}")
    if not low <= number <= high:
        raise BadSchedule(f"the {what} {text!r} of the schedule is not from {low} to {high}")
    return number
