"""Schedules in Temporal: one for each trigger that has a schedule, under the trigger's id.

Temporal is only the clock here: it starts a workflow at each time, which tells the server the trigger's id
and the time. What a time starts, and what is made up for after an outage, is for `events.ticks`.
"""

import hashlib
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from ninelives_server.engine.client import Engine, TemporalAway
from ninelives_server.engine.workflow import TICK_WORKFLOW
from ninelives_server.model.sessions import WORKFLOW_QUEUE

#: How late Temporal may still start a time that it missed; what is later, we make up for ourselves.
CATCH_UP = timedelta(seconds=60)
_RPC_LIMIT = timedelta(seconds=10)
_PREFIX = "trg_"


class PlanRefused(Exception):
    """Temporal does not take a schedule; the message is Temporal's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """When a trigger's schedule is due.

    Attributes:
        cron: As `model.schedules` reads it, without a zone before it.
        is_paused: Whether no deployment is there to run what it starts.
    """

    trigger_id: str
    cron: str
    zone: str
    is_paused: bool

    @property
    def mark(self) -> str:
        """What tells, in Temporal's list of schedules, that a schedule is this one."""
        return hashlib.sha256(f"{self.cron}\0{self.zone}".encode()).hexdigest()[:16]


class Schedules:
    """The schedules that Temporal has of this server."""

    def __init__(self, *, engine: Engine) -> None:
        self._engine = engine

    async def present(self) -> dict[str, tuple[str, bool]]:
        """Return mark and pause of each schedule by its trigger's id; the list may be a little old.

        Raises:
            TemporalAway: It cannot be asked.
        """
        found: dict[str, tuple[str, bool]] = {}
        try:
            async for listed in await self._engine.client.list_schedules(
                page_size=1000, rpc_timeout=_RPC_LIMIT
            ):
                if listed.id.startswith(_PREFIX) and listed.schedule is not None:
                    state = listed.schedule.state
                    found[listed.id] = state.note or "", state.paused
        except RPCError as error:
            raise TemporalAway(str(error.status)) from error
        return found

    async def put(self, plan: Plan) -> None:
        """Make a schedule, or change the one that is there.

        Raises:
            PlanRefused: Temporal finds fault with it.
            TemporalAway: It cannot be asked.
        """
        schedule = _schedule(plan)
        try:
            await self._engine.client.create_schedule(plan.trigger_id, schedule, rpc_timeout=_RPC_LIMIT)
        except ScheduleAlreadyRunningError:
            await _asked(self._change(plan.trigger_id, schedule))
        except RPCError as error:
            raise _told(error) from error

    async def delete(self, trigger_id: str) -> None:
        """Remove a schedule; one that is not there is no error.

        Raises:
            TemporalAway: It cannot be asked.
        """
        handle = self._engine.client.get_schedule_handle(trigger_id)
        await _asked(handle.delete(rpc_timeout=_RPC_LIMIT))

    async def _change(self, trigger_id: str, schedule: Schedule) -> None:
        def update(_: ScheduleUpdateInput) -> ScheduleUpdate:
            return ScheduleUpdate(schedule=schedule)

        await self._engine.client.get_schedule_handle(trigger_id).update(update, rpc_timeout=_RPC_LIMIT)


def _schedule(plan: Plan) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            TICK_WORKFLOW, plan.trigger_id, id=f"tick-{plan.trigger_id}", task_queue=WORKFLOW_QUEUE
        ),
        spec=ScheduleSpec(cron_expressions=[plan.cron], time_zone_name=plan.zone),
        # Overlap is decided by the trigger's open sessions, in dispatch.
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.ALLOW_ALL, catchup_window=CATCH_UP),
        state=ScheduleState(note=plan.mark, paused=plan.is_paused),
    )


async def _asked(request: Awaitable[None]) -> None:
    try:
        await request
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise _told(error) from error


def _told(error: RPCError) -> Exception:
    if error.status is RPCStatusCode.INVALID_ARGUMENT:
        return PlanRefused(error.message)
    return TemporalAway(str(error.status))
