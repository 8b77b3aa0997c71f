"""
Times of schedules become events once, and what an outage missed is made up for as the trigger says.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from event_world import Shop, World
from factories import a_trigger

from ninelives_server.events.ticks import Ticks, chosen
from ninelives_server.model.projects import DeploymentState
from ninelives_server.model.triggers import CatchUp, Trigger, TriggerType
from ninelives_server.store import builds, tables, triggers
from ninelives_server.store.core import Tx

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOURS = [NOON - timedelta(hours=n) for n in (3, 2, 1)]


async def a_shop(world: World, **options: Any) -> tuple[Shop, Trigger, Ticks]:
    """A project in service since four hours ago, with an hourly trigger."""
    shop = await world.shop()
    trigger = await a_trigger(
        world.store, shop.project, type=TriggerType.SCHEDULE, schedule="@hourly", options=options
    )

    def age(tx: Tx) -> None:
        long_ago = tx.now - timedelta(hours=4)
        tx.connection.execute(sa.update(tables.triggers).values(created_at=long_ago))
        tx.connection.execute(sa.update(tables.deployments).values(state_since=long_ago))

    await world.store.write(age)
    return shop, trigger, Ticks(store=world.store, ingest=world.ingest)


async def last_hour(world: World) -> datetime:
    """The last full hour that is no more fresh."""
    now = await world.store.read(lambda tx: tx.now)
    return (now - timedelta(seconds=60)).replace(minute=0, second=0, microsecond=0)


async def test_a_time_is_an_event_once(world: World):
    """
    Temporal may send a time again, or another server may.
    """
    shop, trigger, ticks = await a_shop(world, catch_up="none")
    now = (await world.store.read(lambda tx: tx.now)).replace(microsecond=0)

    await ticks.tick(trigger.id, now)
    await ticks.tick(trigger.id, now)

    [event] = await world.all_events(shop.project.id)
    moment = now.isoformat().replace("+00:00", "Z")
    assert (event.event_type, event.source_key) == ("tick", f"tick:{trigger.id}:{moment}")
    assert event.memo == {"scheduled_at": moment}
    assert (await world.events.get(shop.actor, event.id)).data == {}
    await world.dispatcher.dispatch([event.id])
    [session] = await world.all_sessions(shop.actor.org_id)
    assert session.trigger_id == trigger.id


async def test_nothing_happens_while_nothing_is_deployed(world: World):
    """
    A time that arrives although the schedule was paused starts nothing, and is not owed later.
    """
    shop, trigger, ticks = await a_shop(world, catch_up="all")
    await world.store.write(
        lambda tx: builds.set_deployment_state(tx, shop.deployment.id, DeploymentState.INACTIVE)
    )
    now = await world.store.read(lambda tx: tx.now)

    await ticks.tick(trigger.id, now)
    assert await ticks.make_up() == 0
    await world.store.write(
        lambda tx: builds.set_deployment_state(tx, shop.deployment.id, DeploymentState.ACTIVE)
    )
    assert await ticks.make_up() == 0

    assert await world.all_events(shop.project.id) == []


async def test_the_last_missed_time_is_made_up_for_by_default(world: World):
    """
    One session for all of them, and no second time.
    """
    shop, _, ticks = await a_shop(world)

    assert await ticks.make_up() == 1
    assert await ticks.make_up() == 0

    [event] = await world.all_events(shop.project.id)
    hour = await last_hour(world)
    assert event.memo == {"scheduled_at": f"{hour:%Y-%m-%dT%H:%M:%S}Z", "made_up": "true"}


async def test_all_missed_times_are_made_up_for_where_the_trigger_says_so(world: World):
    """
    In order; what Temporal sends late is no other event.
    """
    shop, trigger, ticks = await a_shop(world, catch_up="all")
    hour = await last_hour(world)

    await ticks.make_up()
    await ticks.tick(trigger.id, hour)

    found = [event.memo["scheduled_at"] for event in await world.all_events(shop.project.id)]
    assert found[-3:] == [f"{hour - timedelta(hours=n):%Y-%m-%dT%H:%M:%S}Z" for n in (2, 1, 0)]


async def test_missed_times_are_left_out_where_the_trigger_says_so(world: World):
    """
    They are settled all the same.
    """
    shop, trigger, ticks = await a_shop(world, catch_up="none")

    assert await ticks.make_up() == 0

    assert await world.all_events(shop.project.id) == []
    settled = await world.store.read(lambda tx: triggers.scheduled(tx)[0].ticked_at)
    assert settled == await last_hour(world)


async def test_a_trigger_that_is_gone_is_no_error(world: World):
    """
    Temporal may send a last time after the trigger was deleted.
    """
    shop, trigger, ticks = await a_shop(world)
    await world.store.write(lambda tx: triggers.delete(tx, trigger.id))

    await ticks.tick(trigger.id, NOON)

    assert await world.all_events(shop.project.id) == []


@pytest.mark.parametrize(
    ("policy", "at", "expected"),
    [
        (CatchUp.NONE, NOON, [NOON]),
        (CatchUp.NONE, HOURS[2], []),
        (CatchUp.LAST, NOON, [NOON]),
        (CatchUp.LAST, HOURS[0], [HOURS[2]]),
        (CatchUp.LAST, None, [HOURS[2]]),
        (CatchUp.ALL, NOON, [*HOURS, NOON]),
        (CatchUp.ALL, HOURS[1], HOURS),
    ],
    ids=range(7),
)
def test_the_policy_says_which_times_count(policy: CatchUp, at: datetime | None, expected: list[datetime]):
    """
    A fresh time always counts; `last` needs no other beside it.
    """
    assert chosen(policy, HOURS, at, now=NOON + timedelta(seconds=5), settled=None) == expected


def test_a_late_time_that_is_settled_does_not_count_again():
    """
    After an outage Temporal sends several late times; the first of them has settled all.
    """
    now = NOON + timedelta(minutes=30)

    for policy in CatchUp:
        assert chosen(policy, [], HOURS[0], now=now, settled=HOURS[2]) == []
