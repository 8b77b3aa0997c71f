"""Dates and times as Salesforce writes and reads them, and a clock that a test can move forward."""

import re
from datetime import UTC, date, datetime, timedelta

from ninelives_server.clock import Clock

_DATETIME = re.compile(r"(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:?\d{2})$")


class ShiftedClock:
    """A clock that runs ahead of another one by a distance that can be changed."""

    def __init__(self, base: Clock) -> None:
        self._base = base
        self._ahead = timedelta()

    def now(self) -> datetime:
        """Return the current time of the org as an aware datetime in UTC."""
        return self._base.now() + self._ahead

    def advance(self, seconds: float) -> None:
        """Let time pass at once."""
        self._ahead += timedelta(seconds=seconds)


def write_datetime(moment: datetime) -> str:
    """Write `2013-05-07T22:07:19.000+0000`, the form of every datetime in REST answers."""
    utc = moment.astimezone(UTC)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}+0000"


def read_datetime(text: str) -> datetime:
    """Read a datetime with offset, such as `2013-05-07T22:07:19.000Z`.

    Raises:
        ValueError: The text is none, or has no offset.
    """
    match = _DATETIME.match(text)
    if not match:
        raise ValueError(f"not a datetime: {text!r}")
    day, clock, fraction, offset = match.groups()
    micros = (fraction or "0").ljust(6, "0")[:6]
    zone = "+00:00" if offset == "Z" else f"{offset[:3]}:{offset[-2:]}"
    return datetime.fromisoformat(f"{day}T{clock}.{micros}{zone}").astimezone(UTC)


def milliseconds(moment: datetime | date) -> int:
    """Return milliseconds since 1970; a date counts as its midnight in UTC."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def whole_seconds(moment: datetime) -> datetime:
    """Drop what Salesforce does not store: a record's datetimes have no fraction of a second."""
    return moment.replace(microsecond=0)
