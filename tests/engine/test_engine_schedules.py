"""
Schedules on a real Temporal: they are as the store wants them, they tick, and an emptied Temporal gets them anew.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from factories import a_trigger
from temporal_client import connected
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    ScheduleState,
)
from world import World

from ninelives_server.engine.client import Engine
from ninelives_server.engine.embedded import EmbeddedTemporal
from ninelives_server.engine.schedules import Schedules as Clockwork
from ninelives_server.engine.starter import Starter, looking
from ninelives_server.events.dispatch import Dispatcher
from ninelives_server.events.filters import Filters
from ninelives_server.events.ingest import Ingest
from ninelives_server.events.schedules import Schedules
from ninelives_server.events.ticks import Ticks
from ninelives_server.model import schedules
from ninelives_server.model.events import Event
from ninelives_server.model.projects import DeploymentState
from ninelives_server.model.triggers import Trigger, TriggerType
from ninelives_server.store import builds, events, projects, triggers

CRONS = [
    "0 3 13 * 5", "0 3 * * 7", "*/7 * * * *", "5/20 * * * *", "0 3 * * MON,fri", "0 3 1 JAN-mar * 2027",
    "0 3 1 1 * 2020", "10,20 0 3 * * * *", "@every 1h30m", "@every 1h/5m", "@weekly", "1-10/3,40 * * * *",
    "0 3 * * */2", "0 3 31 * *", "*/15 2 28-31 3 0 2027", "* * * * * * *", "0 3 29 2 *", "0 3 * * 1/7",
    "0 3 * * * # nightly",
]  # fmt: skip
WRONG = ["0 24 * * *", "? 3 * * *", "30-10 * * * *", "0 3 * *", "@every 90", "@every 1h/2h", "0 3 * * fry"]


class Server:
    """What a server runs for schedules."""

    def __init__(self, world: World, temporal: EmbeddedTemporal) -> None:
        self.world = world
        self.dispatcher = Dispatcher(
            store=world.store, vault=world.vault, filters=Filters(), sessions=world.sessions
        )
        self.ingest = Ingest(
            store=world.store, vault=world.vault, filters=Filters(), dispatcher=self.dispatcher
        )
        self.ticks = Ticks(store=world.store, ingest=self.ingest)
        self.engine = Engine(
            address=temporal.address,
            secret=temporal.secret,
            namespace="default",
            look=looking(world.journal),
            tick=self.ticks.tick,
        )
        self.clockwork = Clockwork(engine=self.engine)
        self.schedules = Schedules(store=world.store, clockwork=self.clockwork, ticks=self.ticks)
        self.starter = Starter(store=world.store, engine=self.engine)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Server"]:
        runs = (self.engine.run, self.starter.run, self.schedules.run, self.dispatcher.run)
        tasks = [asyncio.create_task(run()) for run in runs]
        try:
            async with asyncio.timeout(60):
                await self.engine.connected()
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def until(
        self, holds: Callable[[dict[str, tuple[str, bool]]], bool]
    ) -> dict[str, tuple[str, bool]]:
        """Wait until Temporal's list of schedules is as the test wants it; the list is a little late."""
        async with asyncio.timeout(60):
            while not holds(found := await self.clockwork.present()):
                await asyncio.sleep(0.1)
            return found

    async def events(self, count: int) -> list[Event]:
        """Wait for so many dispatched events."""
        wanted = events.Wanted()

        def read(tx: Any) -> list[Event]:
            return events.of_project(tx, self.world.project.id, wanted=wanted, before=None, limit=100)

        async with asyncio.timeout(60):
            while True:
                found = [e for e in await self.world.store.read(read) if e.dispatched_at is not None]
                if len(found) >= count:
                    return found[::-1]
                await asyncio.sleep(0.1)


@pytest.fixture
async def server(world: World, temporal: EmbeddedTemporal) -> AsyncIterator[Server]:
    """A server with its engine, dispatch and schedules."""
    async with Server(world, temporal).running() as server:
        yield server


async def scheduled(world: World, schedule: str, **options: Any) -> Trigger:
    """A trigger with a schedule."""
    return await a_trigger(
        world.store, world.project, type=TriggerType.SCHEDULE, schedule=schedule, options=options
    )


async def deploy(world: World, state: DeploymentState) -> None:
    """Put the deployment into a state."""
    await world.store.write(lambda tx: builds.set_deployment_state(tx, world.deployment.id, state))


async def test_a_schedule_ticks_and_starts_sessions(world: World, server: Server):
    """
    Each second one event `tick` without data, each with a session; Temporal holds ids and times only.
    """
    trigger = await scheduled(world, "@every 1s")

    found = await server.events(3)

    assert {event.event_type for event in found} == {"tick"}
    assert len({event.source_key for event in found}) == len(found)
    assert all(event.trigger_id == trigger.id for event in found)
    assert [event.dispatch[0]["outcome"] for event in found[:3]] == ["session"] * 3


async def test_overlap_is_decided_by_the_sessions_that_are_open(world: World, server: Server):
    """
    Temporal sends every time; the first session is never ended here, so all later ones are skipped.
    """
    await scheduled(world, "@every 1s", overlap="skip")

    found = await server.events(3)

    assert [event.dispatch[0]["outcome"] for event in found[:3]] == ["session", "skipped", "skipped"]


async def test_a_schedule_follows_its_trigger(world: World, server: Server):
    """
    Made, paused while nothing is deployed, changed and deleted with it.
    """
    trigger = await scheduled(world, "0 3 * * *")
    first = await server.until(lambda found: trigger.id in found)
    assert first[trigger.id][1] is False

    await deploy(world, DeploymentState.INACTIVE)
    await server.until(lambda found: found.get(trigger.id, ("", False))[1] is True)
    await deploy(world, DeploymentState.ACTIVE)
    await server.until(lambda found: found.get(trigger.id, ("", True))[1] is False)

    await world.store.write(lambda tx: triggers.update(tx, _with_schedule(trigger, "0 4 * * *")))
    await server.until(lambda found: found.get(trigger.id) not in {None, first[trigger.id]})

    await world.store.write(lambda tx: triggers.delete(tx, trigger.id))
    await server.until(lambda found: trigger.id not in found)


async def test_a_schedule_goes_with_its_project(world: World, server: Server):
    """
    Deleting a project leaves nothing in Temporal.
    """
    trigger = await scheduled(world, "0 3 * * *")
    await server.until(lambda found: trigger.id in found)

    await world.store.write(lambda tx: projects.delete(tx, world.project.id))

    await server.until(lambda found: trigger.id not in found)


async def test_an_emptied_temporal_gets_its_schedules_anew(world: World, tmp_path: Path):
    """
    The file is deleted while everything is down; nothing but the store knows the schedule.
    """
    trigger = await scheduled(world, "@every 1s")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    before: list[Event] = []
    for name in ("a", "b"):
        temporal = EmbeddedTemporal(private_dir=tmp_path / name, log_file=tmp_path / name / "temporal.log")
        async with temporal.running(), Server(world, temporal).running() as server:
            await server.until(lambda found: trigger.id in found)
            found = await server.events(len(before) + 2)
            assert len(found) > len(before)
            before = found

    assert len({event.source_key for event in before}) == len(before)


async def test_a_schedule_of_somebody_else_is_left_alone(
    world: World, server: Server, temporal: EmbeddedTemporal
):
    """
    An outside Temporal may be shared.
    """
    client = await connected(temporal)
    action = ScheduleActionStartWorkflow("W", id="w", task_queue="q")
    theirs = Schedule(
        action=action, spec=ScheduleSpec(cron_expressions=["0 3 * * *"]), state=ScheduleState(paused=True)
    )
    handle = await client.create_schedule("theirs", theirs)

    trigger = await scheduled(world, "0 3 * * *")
    await server.until(lambda found: trigger.id in found)
    await server.schedules.reconcile()

    assert (await handle.describe()).id == "theirs"


async def test_a_schedule_that_cannot_run_says_so_on_its_trigger(world: World, server: Server):
    """
    What a deploy would refuse may have been written by an older version.
    """
    trigger = await scheduled(world, "0 25 * * *")

    async with asyncio.timeout(60):
        while not (shown := await world.store.read(lambda tx: triggers.by_id(tx, trigger.id))).last_error:
            await asyncio.sleep(0.1)
    assert shown.last_error == (
        "the schedule does not run: the hour '25' of the schedule is not from 0 to 23"
    )

    await world.store.write(lambda tx: triggers.update(tx, _with_schedule(trigger, "0 23 * * *")))
    async with asyncio.timeout(60):
        while (shown := await world.store.read(lambda tx: triggers.by_id(tx, trigger.id))).last_error:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Australia/Lord_Howe"])
async def test_temporal_means_the_same_by_a_schedule(zone: str, temporal: EmbeddedTemporal):
    """
    Our reckoning shows next times and makes up for missed ones: it must be Temporal's.
    """
    client = await connected(temporal)
    action = ScheduleActionStartWorkflow("W", id="w", task_queue="q")

    async def times(cron: str) -> list[datetime]:
        spec = ScheduleSpec(cron_expressions=[cron], time_zone_name=zone)
        handle = await client.create_schedule(f"{zone} {cron}", Schedule(action=action, spec=spec))
        return list((await handle.describe()).info.next_action_times)

    for cron in CRONS:
        theirs = await times(cron)
        start = theirs[0] - timedelta(seconds=1) if theirs else datetime.now(UTC)
        assert (cron, schedules.upcoming(schedules.parse(cron, zone), start, 10)) == (cron, theirs)
    for cron in WRONG:
        with pytest.raises(Exception, match="Invalid schedule spec"):
            await times(cron)
        with pytest.raises(schedules.BadSchedule):
            schedules.parse(cron)


def _with_schedule(trigger: Trigger, schedule: str) -> Trigger:
    return replace(trigger, schedule=schedule)
