"""How values look on a page: times, durations, sizes, JSON, states. Pure."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from markupsafe import Markup, escape

#: More of one value than this is not put on a page. characters
PREVIEW_LIMIT = 20_000

_CONNECTION_WORDS = {
    "new": "not set up",
    "init_required": "needs initialising",
    "ok": "ok",
    "degraded": "degraded",
    "needs_reauth": "needs reconnecting",
    "needs_admin": "needs an administrator",
    "disconnected": "disconnected",
}
_TONES = {
    "good": {"ok", "completed", "active", "listening", "fired", "done"},
    "busy": {"running", "created", "draining", "testing", "started", "starting"},
    "calm": {
        "waiting",
        "inactive",
        "stopped",
        "disconnected",
        "live",
        "abandoned",
        "cancelled",
        "skipped",
        "idle",
        "paused",
    },
    "warn": {"new", "init_required", "degraded", "needs_admin", "warning", "failing", "not_connected"},
    "bad": {"error", "needs_reauth", "failed", "expired", "refused"},
}


def iso(at: datetime) -> str:
    """Return a time as in the API: ISO 8601 with milliseconds and Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def when(at: datetime | None, missing: str = "never", *, clock: bool = False) -> Markup:
    """Return a `<time>` that reads in UTC; the switch of the page turns it to local time.

    `clock` leaves the day out.
    """
    if at is None:
        return Markup('<span class="none">{}</span>').format(missing)
    if clock:
        text = at.astimezone(UTC).strftime("%H:%M:%S")
        return Markup('<time datetime="{}" data-clock>{}</time>').format(iso(at), text)
    text = at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}">{}</time>').format(iso(at), text)


def duration(span: timedelta | None) -> str:
    """Return a duration in at most two units: `840 ms`, `12.4 s`, `3 min 5 s`, `2 d 4 h`."""
    if span is None:
        return ""
    seconds = max(span.total_seconds(), 0.0)
    if seconds == 0:
        return "0 s"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else f"{seconds * 1000:.1f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    for size, unit, below, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


def between(start: datetime | None, end: datetime | None) -> str:
    """Return the duration between two times, nothing where one is missing."""
    return duration(end - start) if start is not None and end is not None else ""


def size(count: int) -> str:
    """Return a number of bytes for people."""
    if count < 1024:
        return f"{count} bytes"
    value = float(count)
    for unit in ("KB", "MB", "GB"):
        value /= 1024
        if value < 1024 or unit == "GB":
            break
    return f"{value:.1f} {unit}"


def pretty(value: object) -> str:
    """Return a value as indented JSON, cut where it is longer than a page should hold."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    if len(text) <= PREVIEW_LIMIT:
        return text
    return f"{text[:PREVIEW_LIMIT]}\n… {len(text) - PREVIEW_LIMIT} characters more; the API has all of it"


def brief(value: object, limit: int = 90) -> str:
    """Return a value on one line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def tone(state: object) -> str:
    """Return the class that colours a state; the word itself always stands beside the colour."""
    return next((name for name, states in _TONES.items() if str(state) in states), "calm")


def state_word(state: object) -> str:
    """Return a state in words for people."""
    text = state.value if isinstance(state, StrEnum) else str(state)
    return _CONNECTION_WORDS.get(text, text.replace("_", " "))


def pill(state: object) -> Markup:
    """Return a state as a coloured word."""
    return Markup('<span class="pill {}">{}</span>').format(tone(state), state_word(state))


def facts(pairs: Mapping[str, object]) -> Markup:
    """Return label and value pairs as a description list; values that are `None` or empty are left out."""
    rows = [
        Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(label, value)
        for label, value in pairs.items()
        if value is not None and value != ""
    ]
    return Markup('<dl class="facts">') + Markup("").join(rows) + Markup("</dl>")


def short_id(value: str | None) -> str:
    """Return the end of an id, enough to tell it from its neighbours: its beginning is the time."""
    return "" if value is None else value[-8:] if len(value) > 20 else value


def codes(text: str) -> Markup:
    """Return a sentence in which `code` in backticks is marked as such."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def breakable(text: str) -> Markup:
    """Return a long name that may break after dots, slashes and underscores."""
    return Markup(str(escape(text)).replace(".", ".<wbr>").replace("/", "/<wbr>").replace("_", "_<wbr>"))  # noqa: S704
