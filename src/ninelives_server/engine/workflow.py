"""Two workflows. The one that counts cares for one session until it has ended.

Its history holds ids and times only. What the session did is in the journal, and whether it should run is
the database's to say: a signal too many, a lost one, or a history that is gone altogether only delay.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError

from ninelives_server.model.sessions import ACTIVITY_NAME, SESSION_QUEUE, WAKE_SIGNAL, WORKFLOW_NAME

#: The server's own activity: what should happen to the session next.
LOOK = "look"
#: The other one: a time of a schedule has come.
TICK = "tick"
TICK_WORKFLOW = "TickWorkflow"
_SCHEDULED_AT = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
#: Turns before the history begins anew.
TURNS = 100
# Between two turns of a session: the first rest, doubled each time up to the longest, unless a signal comes.
#: One that no worker takes.
_REFUSED = (timedelta(seconds=1), timedelta(seconds=30))
#: One that somebody else runs. Mostly a signal says when it parks or is over, but not always: of two servers
#: that both have it in line, one asks Temporal, and the other gives it to a worker and knows nothing of that;
#: and a server may die between the end of a session and its word.
_HELD = (timedelta(seconds=2), timedelta(seconds=60))
# What is given up after some minutes, `events.ticks` makes up for.
_BACKING_OFF = RetryPolicy(maximum_interval=timedelta(seconds=30), maximum_attempts=10)
_FLAT = RetryPolicy(initial_interval=timedelta(milliseconds=200), backoff_coefficient=1.0)
# A turn may last as long as a session runs without parking; heartbeats tell whether it is alive.
_VERY_LONG = timedelta(days=3650)
_HEARTBEAT = timedelta(seconds=10)


@dataclass
class Course:
    """What a run hands to its successor.

    Attributes:
        looks_first: Ask the server before each turn whether the session should run: it may have been given
            to a worker, be parked, or have ended. Runs that an earlier release began do not.
    """

    session_id: str
    turn: int = 0
    looks_first: bool = False


@workflow.defn(name=WORKFLOW_NAME)
class SessionWorkflow:
    """Loop: run a turn, then wait until the session is due or somebody has something for it."""

    def __init__(self) -> None:
        self._wakes = 0
        self._seen = 0
        self._repeats = 0
        self._last = ""

    @workflow.signal(name=WAKE_SIGNAL)
    def wake(self) -> None:
        """Something has arrived for the session, or it should run."""
        self._wakes += 1

    @workflow.run
    async def run(self, course: Course) -> None:
        """Care for the session until it has ended."""
        last = course.turn + TURNS
        while course.turn < last or self._wakes != self._seen:
            course.turn += 1
            self._seen = self._wakes
            outcome = await self._look(course) if course.looks_first else {"outcome": "run"}
            if outcome["outcome"] == "run":
                outcome = await self._turn(course)
                if outcome["outcome"] not in {"finished", "parked"}:
                    outcome = await self._look(course)
            if outcome["outcome"] == "finished":
                return
            self._repeats = self._repeats + 1 if outcome["outcome"] == self._last else 0
            self._last = outcome["outcome"]
            await self._rest(outcome)
        workflow.continue_as_new(course)

    async def _turn(self, course: Course) -> dict[str, Any]:
        """Have a worker run the session until it ends or parks."""
        try:
            outcome: dict[str, Any] = await workflow.execute_activity(
                ACTIVITY_NAME,
                course.session_id,
                result_type=dict[str, Any],
                task_queue=SESSION_QUEUE,
                activity_id=f"turn-{course.turn}",
                start_to_close_timeout=_VERY_LONG,
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=_FLAT,
            )
        except ActivityError:
            return {"outcome": "failed"}
        return outcome

    async def _look(self, course: Course) -> dict[str, Any]:
        """Ask the server, where the worker could not tell."""
        outcome: dict[str, Any] = await workflow.execute_local_activity(
            LOOK,
            course.session_id,
            result_type=dict[str, Any],
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=_FLAT,
        )
        return outcome

    async def _rest(self, outcome: dict[str, Any]) -> None:
        """Wait until the next turn makes sense."""
        match outcome["outcome"]:
            case "parked":
                until = outcome.get("until")
                left = None if until is None else _time(until) - workflow.now()
            case "held":
                left = self._longer(*_HELD)
            case _:
                # It should run, and whom Temporal asked may not have it; another worker may.
                left = self._longer(*_REFUSED)
        if left is not None and left <= timedelta():
            return
        try:
            await workflow.wait_condition(lambda: self._wakes != self._seen, timeout=left)
        except TimeoutError:
            return

    def _longer(self, first: timedelta, longest: timedelta) -> timedelta:
        """Return a rest that is twice the one before, where the session still stands as it did then."""
        return min(first * (1 << min(self._repeats, 10)), longest)


@workflow.defn(name=TICK_WORKFLOW)
class TickWorkflow:
    """Tell the server that a time of a trigger's schedule has come."""

    @workflow.run
    async def run(self, trigger_id: str) -> None:
        """Tell it, until it has heard."""
        # Started by hand, it has no time of a schedule: now is as good.
        at = workflow.info().typed_search_attributes.get(_SCHEDULED_AT) or workflow.now()
        await workflow.execute_local_activity(
            TICK,
            args=[trigger_id, at.astimezone(UTC).isoformat()],
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=_BACKING_OFF,
        )


def _time(value: str | float) -> datetime:
    """Read a time as session processes (seconds since 1970) or servers (ISO 8601) write it."""
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    return datetime.fromisoformat(value)
