"""A session's steps as bars on one time axis, waits apart from work, restarts marked. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ninelives_server.model.sessions import Step
from ninelives_server.web import formats

#: Width of the picture in its own units.
WIDTH = 1000
#: A bar is at least this wide, so that the shortest step can be seen.
_NARROWEST = 4.0

#: The shortest wait for which a session's process is put away.
_PARKS = timedelta(seconds=5)

_KINDS = {"step": "step", "wait": "wait", "value": "value"}
_FAILED = {"error"}
_OPEN = {"started"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar: where it starts and how wide it is, in units of `WIDTH`."""

    x: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One step, wait or value of the timeline.

    Attributes:
        look: Class that says how to draw it: kind and outcome.
        word: The outcome in words.
        resumed: Number of the process that went on here after the one before had ended; 0 where none did.
        was_parked: It had ended because the session waited, not by accident.
        inputs: Arguments as previewed; `None` where there are none.
        result: What came back, or the error.
    """

    step: Step
    look: str
    word: str
    bar: Bar
    took: str
    resumed: int
    was_parked: bool
    inputs: Any
    result: Any
    error: Any

    @property
    def failed(self) -> bool:
        """Whether this is where it went wrong, not only the last thing before."""
        return self.step.status in _FAILED or self.step.status in _OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The time that the picture covers, with marks for people."""

    start: datetime
    end: datetime

    @property
    def marks(self) -> list[tuple[float, str]]:
        """Position and text of the marks at the quarters."""
        span = self.end - self.start
        return [(WIDTH * part / 4, formats.duration(span * part / 4)) for part in range(5)]

    def bar(self, start: datetime, end: datetime | None) -> Bar:
        """Return the bar from start to end; an open one reaches to the end of the axis."""
        span = max((self.end - self.start).total_seconds(), 0.001)
        x = (start - self.start).total_seconds() / span * WIDTH
        until = ((end or self.end) - self.start).total_seconds() / span * WIDTH
        x = min(max(x, 0.0), WIDTH - _NARROWEST)
        return Bar(x=round(x, 1), width=round(min(max(until - x, _NARROWEST), WIDTH - x), 1))


def axis(started: datetime, ended: datetime | None, steps: Sequence[Step], now: datetime) -> Axis:
    """Return the axis of a session; it ends with the session, or now."""
    last = max((step.ended_at or step.started_at for step in steps), default=started)
    end = max(ended or now, last, started + timedelta(milliseconds=1))
    return Axis(start=started, end=end)


def _word(step: Step) -> str:
    if step.status in _OPEN:
        return "under way"
    if step.kind == "wait":
        return {"ok": "over", "fired": "over", "cancelled": "cancelled"}.get(step.status, step.status)
    return {"error": "failed", "live": "live"}.get(step.status, step.status)


def _look(step: Step) -> str:
    kind = _KINDS.get(step.kind, "step")
    outcome = "failed" if step.status in _FAILED else "open" if step.status in _OPEN else "done"
    return f"{kind} {outcome}"


def _parts(preview: object) -> tuple[Any, Any, Any]:
    """Return inputs, result and error of a preview, whatever it looks like."""
    if not isinstance(preview, Mapping):
        return None, preview, None
    known = {"args", "kwargs", "result", "error"}
    if not known & set(preview):
        return None, dict(preview) or None, None
    inputs: Any = preview.get("args")
    if preview.get("kwargs"):
        inputs = {"args": inputs, "kwargs": preview["kwargs"]} if inputs else preview["kwargs"]
    return inputs, preview.get("result"), preview.get("error")


def _is_long_wait(step: Step) -> bool:
    """Say whether a session's process may have been put away for this; shorter waits never park."""
    ended = step.ended_at or step.started_at
    return step.kind == "wait" and ended - step.started_at >= _PARKS


def rows(steps: Sequence[Step], on: Axis, *, epoch_before: int | None = None) -> Iterator[Row]:
    """Yield the rows of steps in the order of their commits.

    Args:
        steps: As `sessions.service` lists them.
        on: The axis of the whole session.
        epoch_before: Epoch of the step ahead of the first one; `None` where it is not known. At the
            beginning of a session it is 1: a first row of a later one means that a process came to nothing.
    """
    before, last = epoch_before, None
    for step in steps:
        inputs, result, error = _parts(step.preview)
        yield Row(
            step=step,
            look=_look(step),
            word=_word(step),
            bar=on.bar(step.started_at, step.ended_at),
            took=formats.between(step.started_at, step.ended_at),
            resumed=step.epoch if before is not None and step.epoch != before else 0,
            was_parked=_is_long_wait(step) or (last is not None and _is_long_wait(last)),
            inputs=inputs,
            result=result,
            error=error,
        )
        before, last = step.epoch, step
