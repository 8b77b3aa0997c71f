"""The one activity that Temporal gives to workers that have room; Temporal is a hint, the server decides.

What crosses to Temporal is an outcome or the name of an error's class: never a message, an argument or a
value.
"""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Protocol

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import (
    CustomSlotSupplier,
    FixedSizeSlotSupplier,
    SlotMarkUsedContext,
    SlotPermit,
    SlotReleaseContext,
    SlotReserveContext,
    WorkerTuner,
)

from ninelives_server import log
from ninelives_server.model.sessions import ACTIVITY_NAME
from ninelives_server.worker.sessions import Outcome, Stopped

logger = log.get(__name__)

#: Between heartbeats; the server notices a dead worker by its link, this is the second line. seconds
_BEAT = 2.0

_OTHERS = 100  # of workflows and the like, which a worker of sessions never has

Run = Callable[[str, str, int], Awaitable[Outcome]]


class SessionActivity:
    """Runs a session in this worker."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @activity.defn(name=ACTIVITY_NAME)
    async def run_session(self, session_id: str) -> dict[str, str | None]:
        """Return `finished`, `parked` with the time at which it is due, or `not_claimed`.

        Raises:
            ApplicationError: It is to be tried again, after a while or elsewhere.
        """
        info = activity.info()
        beats = asyncio.create_task(_beat())
        try:
            outcome = await self._run(session_id, info.activity_id, info.attempt)
        except Stopped as stopped:
            logger.info("session.stopped", session_id=session_id, why=str(stopped))
            raise _retry(f"Worker{type(stopped).__name__}") from None
        except Exception as error:
            logger.exception("session.failed", session_id=session_id)
            raise _retry(type(error).__name__) from None
        finally:
            beats.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beats
        if outcome.name == "died" and outcome.delay is not None:
            raise _retry("SessionDied", outcome.delay)
        if outcome.name == "parked":
            return {"outcome": "parked", "until": outcome.until}
        return {"outcome": "finished" if outcome.name == "died" else outcome.name}


async def _beat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(_BEAT)


def _retry(name: str, delay: float | None = None) -> ApplicationError:
    pause = None if delay is None else timedelta(seconds=delay)
    # Benign: it is no failure of the worker's, and the SDK need not warn of it.
    return ApplicationError(name, type=name, next_retry_delay=pause, category=ApplicationErrorCategory.BENIGN)


class HasRoom(Protocol):
    """Says how many sessions may run here beside those that the server has given us (`supervisor`)."""

    on_room: Callable[[], None]

    @property
    def not_given(self) -> int:
        """How many places are not taken by sessions that came without an activity."""
        ...


class Slots(CustomSlotSupplier):
    """Asks Temporal for no more sessions than there is room for (temporalio.worker, "slot suppliers").

    A permit counts from before the question until its session has left, so that two answers cannot take the
    same place. The SDK calls all but `reserve_slot` in threads of its own.
    """

    def __init__(self, host: HasRoom) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._lock = threading.Lock()
        self._permits = 0
        host.on_room = self._changed.set

    async def reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit:
        """Wait until there is room for one more."""
        while True:
            self._changed.clear()
            if (permit := self.try_reserve_slot(ctx)) is not None:
                return permit
            await self._changed.wait()

    def try_reserve_slot(self, ctx: SlotReserveContext) -> SlotPermit | None:
        """Take room for one more, if there is some."""
        _ = ctx
        with self._lock:
            if self._host.not_given <= self._permits:
                return None
            self._permits += 1
            return SlotPermit()

    def mark_slot_used(self, ctx: SlotMarkUsedContext) -> None:
        """Note that a session has come, which changes nothing."""

    def release_slot(self, ctx: SlotReleaseContext) -> None:
        """Note that a session has left, or that none is asked for any more."""
        _ = ctx
        with self._lock:
            self._permits -= 1
        self._loop.call_soon_threadsafe(self._changed.set)


def tuner(host: HasRoom) -> WorkerTuner:
    """Return how a worker of sessions shares what it has."""
    others = FixedSizeSlotSupplier(_OTHERS)
    return WorkerTuner.create_composite(
        workflow_supplier=others,
        activity_supplier=Slots(host),
        local_activity_supplier=others,
        nexus_supplier=others,
    )
