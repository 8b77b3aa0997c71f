"""Gets sessions going: gives those that should run to a worker, or has Temporal find one.

A notice on the channels `start` (new sessions) and `work` (others that should run) is acted on at once. A
worker of this server gets the session directly, when it has room; Temporal is asked where another server's
may have some, and to wake parked sessions that are due. The sweep, at start, when Temporal comes back, every
30 s and when the next parked session is overdue, finds what notices or Temporal have lost. All of it is
idempotent. See docs/decisions/0006-sessions-are-given-to-workers.md.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from enum import Enum, auto
from functools import partial
from typing import Any, Protocol

from ninelives_server import log
from ninelives_server.clock import Clock, SystemClock
from ninelives_server.engine.client import Engine, TemporalAway
from ninelives_server.store import sessions, sweeps
from ninelives_server.store.core import Store

logger = log.get(__name__)

#: How often everything is looked through. seconds
SWEEP_EVERY = 30.0
#: A session that was asked for this long ago, and that nobody runs, is asked for again.
QUIET = timedelta(seconds=30)
#: A parked session is left to Temporal's own timer for so long. seconds
OVERDUE = 2.0
#: The first sweep waits for Temporal no longer than this. seconds
_FIRST = 10.0
#: Requests under way at once.
_AT_ONCE = 32
_BATCH = 500


class _Way(Enum):
    """What is to be done about a session."""

    #: Have it run for the first time.
    START = auto()
    #: Have it looked at.
    WAKE = auto()
    #: Tell Temporal, if that cares for it, that there is no more to do.
    OVER = auto()


class _Wishes:
    """What is to be done, in order; what waits already is not added again."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[str, _Way]] = asyncio.Queue()
        self._queued: set[tuple[str, _Way]] = set()

    def put(self, session_id: str, way: _Way) -> None:
        """Add something to the end."""
        if (session_id, way) not in self._queued:
            self._queued.add((session_id, way))
            self._queue.put_nowait((session_id, way))

    async def get(self) -> tuple[str, _Way]:
        """Wait for the first, and take it away."""
        wish = await self._queue.get()
        self._queued.discard(wish)
        return wish


class Turn(Protocol):
    """How a session stands (`sessions.journal`)."""

    @property
    def outcome(self) -> str:
        """`run`, `held`, `finished` or `parked`."""
        ...

    @property
    def until(self) -> Any:
        """When a parked session is due."""
        ...


class Looks(Protocol):
    """Knows how sessions stand."""

    async def look(self, session_id: str) -> Turn:
        """Say what should happen to a session next."""
        ...


def looking(journal: Looks) -> Any:
    """Return what the workflow's own activity calls."""

    async def look(session_id: str) -> Mapping[str, Any]:
        turn = await journal.look(session_id)
        return {"outcome": turn.outcome, "until": turn.until and turn.until.isoformat()}

    return look


class Starter:
    """Sends sessions to Temporal. Implements `sessions.link.Scheduler`."""

    def __init__(self, *, store: Store, engine: Engine, clock: Clock | None = None) -> None:
        #: Has a worker of this server run a session, now or soon; `False` where Temporal has to look for one,
        #: too (`sessions.links`).
        self.give: Callable[[str], bool] = _nobody
        self._store = store
        self._engine = engine
        self._clock = clock or SystemClock()
        self._offers = _Wishes()
        self._requests = _Wishes()

    @property
    def is_connected(self) -> bool:
        """Whether Temporal answers."""
        return self._engine.is_connected

    async def connected(self) -> None:
        """Wait until Temporal answers."""
        await self._engine.connected()

    @property
    def warning(self) -> str | None:
        """Say so where Temporal does not answer."""
        if self.is_connected:
            return None
        return (
            f"Temporal at {self.address} (namespace {self.namespace}) does not answer; "
            "sessions that wait for a time, or for workers of other servers, are late until it does"
        )

    @property
    def address(self) -> str:
        """Where Temporal is: `host:port`."""
        return self._engine.address

    @property
    def namespace(self) -> str:
        """Temporal's namespace."""
        return self._engine.namespace

    async def run(self) -> None:
        """Start what should run, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen("start", _Way.START))
            group.create_task(self._listen("work", _Way.WAKE))
            group.create_task(self._sweep_for_ever())
            group.create_task(self._offer())
            for _ in range(_AT_ONCE):
                group.create_task(self._send())

    def wake(self, session_id: str) -> None:
        """Have a session looked at soon."""
        self._offers.put(session_id, _Way.WAKE)

    def ask(self, session_id: str) -> None:
        """Have Temporal care for a session: find it a worker, or wake it when it is due if it is parked.

        Which of them, the workflow sees for itself: it looks first (`engine.workflow`).
        """
        self._requests.put(session_id, _Way.WAKE)

    def over(self, session_id: str) -> None:
        """Tell Temporal, where it cares for a session, that it has ended."""
        self._requests.put(session_id, _Way.OVER)

    async def fail_activity(self, session_id: str, activity_id: str) -> None:
        """Have the activity of a lost worker started again at once."""
        try:
            if await self._engine.fail_activity(session_id, activity_id):
                return
        except TemporalAway:
            logger.warning("temporal.activity_not_failed", session_id=session_id)
        self.wake(session_id)

    async def sweep(self, quiet: timedelta = QUIET) -> int:
        """Ask for all sessions that should run and for which Temporal was not asked within `quiet`."""
        total = 0
        while True:
            found = await self._store.read(partial(sweeps.should_run, quiet=quiet, limit=_BATCH))
            if found:
                await self._store.write(partial(sessions.signalled, session_ids=found))
                for session_id in found:
                    self.wake(session_id)
            total += len(found)
            if len(found) < _BATCH:
                return total

    async def _listen(self, channel: str, way: _Way) -> None:
        with self._store.notices.subscribed(channel) as notice:
            while True:
                await notice.wait()
                told = notice.take()
                for session_id in sorted(told):
                    self._offers.put(session_id, way)
                if not told:  # the database was away, and what it had to tell is lost
                    self._engine.returned.set()

    async def _sweep_for_ever(self) -> None:
        with suppress(TimeoutError):
            # Without Temporal, what an earlier server left runs where workers have room.
            await asyncio.wait_for(self._engine.connected(), _FIRST)
        # What an earlier server asked for may be lost with its Temporal.
        quiet = timedelta()
        while True:
            self._engine.returned.clear()
            if self.is_connected:
                self._store.notices.tell("engine", "")
            try:
                await self.sweep(quiet)
                pause = await self._pause()
            except Exception:  # the root of a task: the next sweep tries again
                logger.exception("starter.sweep_failed")
                pause = SWEEP_EVERY
            quiet = QUIET
            with suppress(TimeoutError):
                await asyncio.wait_for(self._engine.returned.wait(), pause)
                quiet = timedelta()

    async def _pause(self) -> float:
        """Return how long to wait: less than usual where a parked session comes due meanwhile."""
        due = await self._store.read(sweeps.next_wake)
        if due is None:
            return SWEEP_EVERY
        left = (due - self._clock.now()).total_seconds() + OVERDUE
        return min(max(left, OVERDUE), SWEEP_EVERY)

    async def _offer(self) -> None:
        """Offer sessions to our workers in order, never waiting for a Temporal that does not answer."""
        while True:
            session_id, way = await self._offers.get()
            if not self.give(session_id):
                self._requests.put(session_id, way)

    async def _send(self) -> None:
        while True:
            session_id, way = await self._requests.get()
            try:
                await self._tell_temporal(session_id, way)
            except TemporalAway as error:
                # The sweep asks again as soon as Temporal is back.
                logger.warning("session.not_signalled", session_id=session_id, error=str(error))
            except Exception:  # the root of a task: the sweep asks again
                logger.exception("session.signal_failed", session_id=session_id)

    async def _tell_temporal(self, session_id: str, way: _Way) -> None:
        match way:
            case _Way.START:
                await self._engine.start(session_id)
            case _Way.OVER:
                await self._engine.over(session_id)
            case _:
                await self._engine.wake(session_id)


def _nobody(_session_id: str) -> bool:
    return False
