"""Events of which nothing is wanted: stored with what became of them, without a unit for dispatch."""

import asyncio

import pytest
from event_world import Shop, World, a_new_event, a_request
from factories import a_connection, a_trigger

from ninelives_server.events.ingest import Ingest
from ninelives_server.events.webhooks import Webhooks
from ninelives_server.model.projects import DeploymentState
from ninelives_server.model.triggers import Trigger, TriggerType
from ninelives_server.store import builds, events

NEVER = 'data.Company == "nobody"'


class Told:
    """Stands for the dispatcher, and keeps what it was told."""

    def __init__(self) -> None:
        self.event_ids: list[str] = []

    def soon(self, event_ids):
        self.event_ids += event_ids


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def ingest(world: World, told: Told) -> Ingest:
    """The door, with nobody behind it who dispatches."""
    return Ingest(store=world.store, vault=world.vault, filters=world.filters, dispatcher=told)


async def a_listener(world: World, shop: Shop, connection_id: str, name: str, **changes) -> Trigger:
    values = {"type": TriggerType.CONNECTION, "connection_id": connection_id, "event_type": "lead"}
    return await a_trigger(world.store, shop.project, name=name, **values | changes)


async def test_what_all_filters_keep_out_is_dispatched_with_its_recording(world: World, ingest, told):
    """
    People see of it what dispatch would have written down, and nothing is left to do.
    """
    shop = await world.shop()
    connection = await a_connection(world.store, shop.project)
    first = await a_listener(world, shop, connection.id, "one", filter=NEVER)
    second = await a_listener(world, shop, connection.id, "two", filter=NEVER, event_type="")
    await a_listener(world, shop, connection.id, "other_type", event_type="account")
    await a_listener(world, shop, connection.id, "no_call", call="")

    [(event_id, _)] = await ingest.record([a_new_event(shop.project.id, connection_id=connection.id)])

    event = await world.event(event_id)
    assert event.dispatch == [
        {"trigger_id": trigger.id, "trigger": trigger.name, "outcome": "filtered"}
        for trigger in (first, second)
    ]
    assert event.dispatched_at == event.created_at
    assert told.event_ids == []
    assert await world.store.read(lambda tx: events.undispatched(tx, 9)) == []


async def test_an_event_that_one_filter_lets_through_is_left_to_dispatch(world: World, ingest, told):
    """
    What became of it is written down once, for all of its triggers.
    """
    shop = await world.shop()
    connection = await a_connection(world.store, shop.project)
    await a_listener(world, shop, connection.id, "never", filter=NEVER)
    await a_listener(world, shop, connection.id, "wants", filter='data.Company == "Acme"')

    recorded = await ingest.record(
        [
            a_new_event(shop.project.id, connection_id=connection.id, source_key="1"),
            a_new_event(shop.project.id, connection_id=connection.id, source_key="2", data={"Company": "X"}),
        ]
    )

    waiting, settled = [await world.event(event_id) for event_id, _ in recorded]
    assert (waiting.dispatched_at, waiting.dispatch) == (None, [])
    assert [outcome["outcome"] for outcome in settled.dispatch] == ["filtered", "filtered"]
    assert told.event_ids == [waiting.id]
    await world.dispatcher.dispatch([waiting.id, settled.id])
    assert [o["outcome"] for o in (await world.event(waiting.id)).dispatch] == ["filtered", "session"]
    assert len(await world.all_sessions(shop.actor.org_id)) == 1


async def test_a_filter_that_fails_is_left_to_dispatch(world: World, ingest, told):
    """
    Only dispatch says what is wrong with a trigger, where people look for it.
    """
    shop = await world.shop()
    connection = await a_connection(world.store, shop.project)
    await a_listener(world, shop, connection.id, "broken", filter='data.Nothing == "x"')

    [(event_id, _)] = await ingest.record([a_new_event(shop.project.id, connection_id=connection.id)])

    assert (await world.event(event_id)).dispatched_at is None
    assert told.event_ids == [event_id]


async def test_nothing_is_settled_of_a_project_that_is_not_deployed(world: World, ingest, told):
    """
    Its events say that nothing is deployed, not that a filter kept them out.
    """
    shop = await world.shop()
    connection = await a_connection(world.store, shop.project)
    await a_listener(world, shop, connection.id, "never", filter=NEVER)
    await world.store.write(
        lambda tx: builds.set_deployment_state(tx, shop.deployment.id, DeploymentState.INACTIVE)
    )

    [(event_id, _)] = await ingest.record([a_new_event(shop.project.id, connection_id=connection.id)])
    await world.dispatcher.dispatch(told.event_ids)

    assert [o["outcome"] for o in (await world.event(event_id)).dispatch] == ["not_deployed"]


@pytest.mark.parametrize("memo", [{"entrypoint": "main.py:on_lead"}, {"deployment_id": "dep_1"}])
async def test_an_event_that_says_where_it_goes_is_left_to_dispatch(world: World, ingest, told, memo):
    """
    Manual starts and copies for another deployment are not a question of the active one's triggers.
    """
    shop = await world.shop()
    connection = await a_connection(world.store, shop.project)
    await a_listener(world, shop, connection.id, "never", filter=NEVER)

    [(event_id, _)] = await ingest.record(
        [a_new_event(shop.project.id, connection_id=connection.id, memo=memo)]
    )

    assert told.event_ids == [event_id]


async def test_another_project_s_trigger_settles_nothing(world: World, ingest, told):
    """
    The trigger in an event is believed only where it is of the event's own project.
    """
    shop = await world.shop()
    other = await world.shop(org="evil", user="eve", name="spy")
    theirs = await a_trigger(world.store, other.project, filter=NEVER)

    [(event_id, _)] = await ingest.record([a_new_event(shop.project.id, trigger_id=theirs.id)])

    assert told.event_ids == [event_id]
    assert (await world.event(event_id)).dispatch == []


async def test_a_repeated_event_is_neither_settled_nor_dispatched_again(world: World, ingest, told):
    """
    The same source key is the same event, in one batch and in the next.
    """
    shop = await world.shop()
    connection = await a_connection(world.store, shop.project)
    await a_listener(world, shop, connection.id, "never", filter=NEVER)
    kept_out = a_new_event(shop.project.id, connection_id=connection.id)
    waiting = a_new_event(shop.project.id, source_key="2")

    first = await ingest.record([kept_out, waiting, kept_out])
    again = await ingest.record([waiting, kept_out])

    assert [is_new for _, is_new in first] == [True, True, False]
    assert first[0][0] == first[2][0]
    assert again == [(first[1][0], False), (first[0][0], False)]
    assert told.event_ids == [first[1][0]]
    assert len(await world.all_events(shop.project.id)) == 2


async def test_requests_that_come_together_are_settled_each_for_itself(world: World, ingest, told):
    """
    Of a webhook's requests some start something and some do not, whatever unit they share.
    """
    shop = await world.shop()
    trigger = await a_trigger(world.store, shop.project, filter="data.body.json.id == 7")
    assert trigger.slug is not None
    webhooks = Webhooks(store=world.store, ingest=ingest, variables=world.variables)
    bodies = [b'{"id": 7}', b'{"id": 8}', b'{"id": 7}', b'{"id": 9}']

    receipts = await asyncio.gather(*(webhooks.accept(a_request(trigger.slug, body=body)) for body in bodies))

    found = [await world.event(receipt.event_id) for receipt in receipts]
    assert [event.dispatched_at is None for event in found] == [True, False, True, False]
    assert sorted(told.event_ids) == sorted(event.id for event in found if event.dispatched_at is None)
