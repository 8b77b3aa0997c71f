"""Which schedules Temporal runs: reconciles what the store says is active with what Temporal has.

A schedule is there for every trigger that has one, paused while its project has no active deployment. A
notice or half a minute is enough for any change to be seen, an emptied Temporal included.
"""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Protocol

from ninelives_server import log
from ninelives_server.engine.client import TemporalAway
from ninelives_server.engine.schedules import Plan, PlanRefused
from ninelives_server.events.ticks import Ticks
from ninelives_server.model import schedules
from ninelives_server.model.schedules import BadSchedule
from ninelives_server.store import triggers
from ninelives_server.store.core import Store
from ninelives_server.store.notices import Notice
from ninelives_server.store.triggers import Scheduled

logger = log.get(__name__)

#: Everything is looked through this often. seconds
RECONCILE_EVERY = 30.0
#: `engine`: Temporal is there again.
_CHANNELS = ("trigger", "deployment", "project", "engine")
_TROUBLE = "the schedule does not run: "


class Clockwork(Protocol):
    """What runs schedules (`engine.schedules`)."""

    async def present(self) -> dict[str, tuple[str, bool]]:
        """Return mark and pause of each schedule by its trigger's id."""
        ...

    async def put(self, plan: Plan) -> None:
        """Make or change a schedule."""
        ...

    async def delete(self, trigger_id: str) -> None:
        """Remove a schedule."""
        ...


class Schedules:
    """Keeps Temporal's schedules as the store wants them."""

    def __init__(self, *, store: Store, clockwork: Clockwork, ticks: Ticks) -> None:
        self._store = store
        self._clockwork = clockwork
        self._ticks = ticks

    async def run(self) -> None:
        """Reconcile at each change and now and then, until cancelled."""
        with ExitStack() as stack:
            notices = [stack.enter_context(self._store.notices.subscribed(name)) for name in _CHANNELS]
            while True:
                for notice in notices:
                    notice.take()
                await self._try()
                await _any(notices, RECONCILE_EVERY)

    async def _try(self) -> None:
        try:
            await self.reconcile()
        except TemporalAway as away:
            logger.debug("schedules.temporal_away", error=str(away))
        except Exception:  # the root of a task: the next round tries again
            logger.exception("schedules.reconcile_failed")
        try:
            await self._ticks.make_up()
        except Exception:  # so
            logger.exception("schedules.make_up_failed")

    async def reconcile(self) -> None:
        """Make, change and delete schedules until Temporal has those that the store wants.

        Raises:
            TemporalAway: It cannot be asked now.
        """
        # In this order: what another server makes in between is wanted, and only not there yet.
        present = await self._clockwork.present()
        wanted = await self._store.read(triggers.scheduled)
        for scheduled in wanted:
            await self._keep(scheduled, present.get(scheduled.trigger.id))
        known = {scheduled.trigger.id for scheduled in wanted}
        for trigger_id in present.keys() - known:
            await self._clockwork.delete(trigger_id)
            logger.info("schedule.deleted", trigger_id=trigger_id)

    async def _keep(self, scheduled: Scheduled, present: tuple[str, bool] | None) -> None:
        trigger = scheduled.trigger
        try:
            plan = _plan(scheduled)
            if present == (plan.mark, plan.is_paused):
                return
            await self._clockwork.put(plan)
        except (BadSchedule, PlanRefused) as error:
            text = f"{_TROUBLE}{error}"
            await self._store.write(lambda tx: triggers.set_error(tx, trigger.id, text))
            return
        logger.info("schedule.set", trigger_id=trigger.id, is_paused=plan.is_paused)
        if trigger.last_error.startswith(_TROUBLE):
            await self._store.write(lambda tx: triggers.set_error(tx, trigger.id, ""))


def _plan(scheduled: Scheduled) -> Plan:
    """Return what Temporal should have for a trigger.

    Raises:
        BadSchedule: It cannot be read.
    """
    trigger = scheduled.trigger
    schedules.parse(trigger.schedule, trigger.timezone)
    cron, zone = schedules.split_zone(trigger.schedule, trigger.timezone)
    return Plan(trigger_id=trigger.id, cron=cron, zone=zone, is_paused=scheduled.active_since is None)


async def _any(notices: Sequence[Notice], seconds: float) -> None:
    """Wait until one of the notices is set, or the time is over."""
    waits = [asyncio.ensure_future(notice.wait()) for notice in notices]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
