"""What several servers do with the schedules that Temporal has of all of them."""

import pytest
from event_world import World
from factories import a_trigger

from ninelives_server.engine.schedules import Plan
from ninelives_server.events.schedules import Schedules
from ninelives_server.events.ticks import Ticks
from ninelives_server.model.triggers import Trigger, TriggerType


class Clockwork:
    """A Temporal whose schedules another server changes, too: a trigger is made just before we ask it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.plans: dict[str, Plan] = {}
        self.deleted: list[str] = []

    async def made_elsewhere(self) -> Trigger:
        """Make a trigger and its schedule, as another server does."""
        shop = await self._world.shop()
        trigger = await a_trigger(
            self._world.store, shop.project, type=TriggerType.SCHEDULE, schedule="0 3 * * *"
        )
        await self.put(Plan(trigger_id=trigger.id, cron="0 3 * * *", zone="UTC", is_paused=False))
        return trigger

    async def present(self) -> dict[str, tuple[str, bool]]:
        await self.made_elsewhere()
        return {trigger_id: (plan.mark, plan.is_paused) for trigger_id, plan in self.plans.items()}

    async def put(self, plan: Plan) -> None:
        self.plans[plan.trigger_id] = plan

    async def delete(self, trigger_id: str) -> None:
        self.deleted.append(trigger_id)


@pytest.fixture
def clockwork(world: World) -> Clockwork:
    return Clockwork(world)


async def test_a_schedule_that_another_server_has_just_made_stays(world: World, clockwork: Clockwork):
    """
    What Temporal has is read before what there should be: the other way round it would be taken for one too many.
    """
    ticks = Ticks(store=world.store, ingest=world.ingest)
    clockwork.plans["trg_gone"] = Plan(trigger_id="trg_gone", cron="0 3 * * *", zone="UTC", is_paused=False)

    await Schedules(store=world.store, clockwork=clockwork, ticks=ticks).reconcile()

    assert clockwork.deleted == ["trg_gone"]
