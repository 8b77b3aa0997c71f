"""From event to session row: which triggers, how often, and what people see of it."""

import asyncio
from dataclasses import replace

import pytest
from event_world import Shop, World, a_new_event
from factories import a_build, a_connection, a_deployment, a_trigger

from ninelives_server.model.projects import DeploymentState
from ninelives_server.model.sessions import SessionState
from ninelives_server.model.triggers import Trigger, TriggerType
from ninelives_server.store import builds, triggers


async def a_listener(world: World, shop: Shop, **changes) -> tuple[str, Trigger]:
    """Make a connection and a trigger that listens to it."""
    connection = await a_connection(world.store, shop.project)
    trigger = await a_trigger(
        world.store,
        shop.project,
        **{"type": TriggerType.CONNECTION, "connection_id": connection.id, "event_type": "lead", **changes},
    )
    return connection.id, trigger


async def dispatched(world: World, shop: Shop, connection_id: str, **changes):
    """Record an event of a connection, dispatch it, and return it."""
    [(event_id, _)] = await world.ingest.record(
        [a_new_event(shop.project.id, connection_id=connection_id, **changes)]
    )
    await world.dispatcher.dispatch([event_id])
    return await world.event(event_id)


async def test_an_event_starts_a_session_of_the_active_deployment(world: World):
    """
    The session row carries everything that is needed to run and to find it.
    """
    shop = await world.shop()
    connection_id, trigger = await a_listener(world, shop, is_durable=True)
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"

    event = await dispatched(world, shop, connection_id, record_id="00Q1", traceparent=traceparent)

    [session] = await world.all_sessions(shop.actor.org_id)
    assert event.dispatch == [
        {
            "trigger_id": trigger.id,
            "trigger": trigger.name,
            "outcome": "session",
            "session_id": session.id,
        }
    ]
    assert event.dispatched_at is not None
    assert session.state is SessionState.CREATED
    assert (session.project_id, session.deployment_id, session.build_id, session.entrypoint) == (
        shop.project.id,
        shop.deployment.id,
        shop.build.id,
        "main.py:on_lead",
    )
    assert (session.event_id, session.trigger_id, session.record_id) == (event.id, trigger.id, "00Q1")
    assert (session.is_durable, session.traceparent) == (True, traceparent)


async def test_a_session_is_announced_to_the_engine_at_once(world: World):
    """
    The engine starts what it is told of; the sweep is only the second line.
    """
    shop = await world.shop()
    connection_id, _ = await a_listener(world, shop)

    with world.store.notices.subscribed("session") as work:
        await dispatched(world, shop, connection_id)
        await asyncio.wait_for(work.wait(), 10)

    [session] = await world.all_sessions(shop.actor.org_id)
    assert session.id in work.ids


async def test_dispatching_again_starts_nothing(world: World):
    """
    Dispatch runs after the commit and again in a sweep; twenty at once make one session.
    """
    shop = await world.shop()
    connection_id, _ = await a_listener(world, shop)
    [(event_id, _)] = await world.ingest.record([a_new_event(shop.project.id, connection_id=connection_id)])

    await asyncio.gather(*(world.dispatcher.dispatch([event_id]) for _ in range(20)))
    await world.dispatcher.sweep()

    assert len(await world.all_sessions(shop.actor.org_id)) == 1


@pytest.mark.parametrize(
    ("wanted", "is_started"),
    [("lead", True), ("", True), ("*", True), ("Lead", False), ("leads", False), ("account", False)],
)
async def test_the_event_type_is_compared_exactly(world: World, wanted, is_started):
    """
    Equal and case-sensitive, or empty or `*` for any: as existing projects have it.
    """
    shop = await world.shop()
    connection_id, _ = await a_listener(world, shop, event_type=wanted)

    await dispatched(world, shop, connection_id)

    assert bool(await world.all_sessions(shop.actor.org_id)) is is_started


async def test_a_filter_keeps_events_out(world: World):
    """
    What does not pass is shown as filtered on the event.
    """
    shop = await world.shop()
    connection_id, trigger = await a_listener(world, shop, filter='data.Company == "Other"')

    event = await dispatched(world, shop, connection_id)

    assert await world.all_sessions(shop.actor.org_id) == []
    assert [(o["trigger_id"], o["outcome"]) for o in event.dispatch] == [(trigger.id, "filtered")]


async def test_a_failing_filter_is_shown_on_event_and_trigger_until_it_works(world: World):
    """
    A filter that fails is never only logged; other triggers go on.
    """
    shop = await world.shop()
    connection_id, trigger = await a_listener(world, shop, filter='data.Nope == "x"')
    await a_trigger(
        world.store, shop.project, name="other", type=TriggerType.CONNECTION, connection_id=connection_id
    )

    event = await dispatched(world, shop, connection_id)
    failed = await world.store.read(lambda tx: triggers.by_id(tx, trigger.id))
    await dispatched(world, shop, connection_id, source_key="2", data={"Nope": "x"})
    healed = await world.store.read(lambda tx: triggers.by_id(tx, trigger.id))

    outcomes = {o["trigger"]: o for o in event.dispatch}
    assert outcomes["on_lead"]["outcome"] == "filter_failed"
    assert "the event has no 'Nope'" in outcomes["on_lead"]["error"]
    assert outcomes["other"]["outcome"] == "session"
    assert failed.last_error == outcomes["on_lead"]["error"]
    assert failed.last_error_at is not None
    assert (healed.last_error, healed.last_error_at) == ("", None)


async def test_an_entry_point_that_the_build_lacks_is_an_error_of_the_trigger(world: World):
    """
    An older build may be activated that does not have what a trigger calls.
    """
    shop = await world.shop()
    connection_id, trigger = await a_listener(world, shop, call="main.py:gone")

    event = await dispatched(world, shop, connection_id)

    shown = await world.store.read(lambda tx: triggers.by_id(tx, trigger.id))
    assert event.dispatch[0]["outcome"] == "no_entrypoint"
    assert "main.py:gone" in shown.last_error


async def test_a_trigger_without_a_call_starts_nothing(world: World):
    """
    It is there for subscriptions only.
    """
    shop = await world.shop()
    connection_id, _ = await a_listener(world, shop, call="")

    event = await dispatched(world, shop, connection_id)

    assert event.dispatch == []
    assert await world.all_sessions(shop.actor.org_id) == []


async def test_without_an_active_deployment_the_event_says_so(world: World):
    """
    The event is kept and can be dispatched again later.
    """
    shop = await world.shop()
    connection_id, _ = await a_listener(world, shop)
    await world.store.write(
        lambda tx: builds.set_deployment_state(tx, shop.deployment.id, DeploymentState.INACTIVE)
    )

    event = await dispatched(world, shop, connection_id)

    assert [o["outcome"] for o in event.dispatch] == ["not_deployed"]


async def test_only_the_active_deployment_gets_sessions(world: World):
    """
    A draining one keeps what it has and gets nothing new.
    """
    shop = await world.shop()
    connection_id, _ = await a_listener(world, shop)
    await world.store.write(
        lambda tx: builds.set_deployment_state(tx, shop.deployment.id, DeploymentState.DRAINING)
    )
    newer = await a_deployment(world.store, await a_build(world.store, shop.project, sha256="1" * 64))

    await dispatched(world, shop, connection_id)

    [session] = await world.all_sessions(shop.actor.org_id)
    assert session.deployment_id == newer.id


async def test_triggers_of_another_project_are_not_looked_at(world: World):
    """
    An event belongs to one project, whatever another one's trigger names.
    """
    shop = await world.shop()
    connection_id, _ = await a_listener(world, shop)
    other = await world.shop(org="evil", user="eve", name="spy")
    await a_trigger(world.store, other.project, type=TriggerType.CONNECTION, connection_id=connection_id)

    await dispatched(world, shop, connection_id)

    assert len(await world.all_sessions(shop.actor.org_id)) == 1
    assert await world.all_sessions(other.actor.org_id) == []


async def test_an_event_that_names_another_project_s_trigger_starts_nothing(world: World):
    """
    The trigger in an event is believed only where it is of the event's own project.
    """
    shop = await world.shop()
    other = await world.shop(org="evil", user="eve", name="spy")
    theirs = await a_trigger(world.store, other.project)

    [(event_id, _)] = await world.ingest.record([a_new_event(shop.project.id, trigger_id=theirs.id)])
    await world.dispatcher.dispatch([event_id])

    assert (await world.event(event_id)).dispatch == []
    assert await world.all_sessions(other.actor.org_id) == []


async def test_the_loop_dispatches_what_is_announced_and_sweeps_what_was_left(world: World):
    """
    What a crash left undispatched is found at the next start; what comes meanwhile is dispatched at once.
    """
    shop = await world.shop()
    connection_id, _ = await a_listener(world, shop)
    await world.store.write(
        lambda tx: world.ingest.record_in(
            tx, [a_new_event(shop.project.id, connection_id=connection_id, source_key="left")]
        )
    )

    with world.store.notices.subscribed("session") as work:
        running = asyncio.create_task(world.dispatcher.run())
        try:
            await asyncio.wait_for(work.wait(), 20)
            work.take()
            await world.ingest.record([a_new_event(shop.project.id, connection_id=connection_id)])
            await asyncio.wait_for(work.wait(), 20)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    assert len(await world.all_sessions(shop.actor.org_id)) == 2


async def test_one_broken_event_does_not_hold_up_the_others(world: World, monkeypatch):
    """
    A defect with one event is logged; the loop lives.
    """
    shop = await world.shop()
    connection_id, _ = await a_listener(world, shop)
    honest = world.dispatcher.dispatch_in

    def breaks_once(tx, event_ids):
        if not hasattr(breaks_once, "done"):
            breaks_once.done = True
            raise ZeroDivisionError
        return honest(tx, event_ids)

    monkeypatch.setattr(world.dispatcher, "dispatch_in", breaks_once)

    with world.store.notices.subscribed("session") as work:
        running = asyncio.create_task(world.dispatcher.run())
        try:
            await world.ingest.record([a_new_event(shop.project.id, connection_id=connection_id)])
            await world.ingest.record(
                [a_new_event(shop.project.id, connection_id=connection_id, source_key="2")]
            )
            await asyncio.wait_for(work.wait(), 20)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    assert await world.all_sessions(shop.actor.org_id)


async def test_an_event_that_cannot_be_dispatched_does_not_end_the_sweep(world: World, monkeypatch):
    """
    The oldest event comes first in every sweep: where it fails, the younger ones are dispatched all the same.
    """
    shop = await world.shop()
    connection_id, _ = await a_listener(world, shop)
    recorded = await world.ingest.record(
        [a_new_event(shop.project.id, connection_id=connection_id, source_key=str(n)) for n in range(40)]
    )
    honest = world.dispatcher.dispatch_in

    def breaks_for_the_first(tx, event_ids):
        if recorded[0][0] in event_ids:
            raise ZeroDivisionError
        return honest(tx, event_ids)

    monkeypatch.setattr(world.dispatcher, "dispatch_in", breaks_for_the_first)

    assert await world.dispatcher.sweep() == 39
    assert len(await world.all_sessions(shop.actor.org_id)) == 39


async def test_a_burst_is_dispatched_together_and_a_broken_event_holds_nobody_up(world: World, monkeypatch):
    """
    What waits is dispatched in common units; where one of them fails, its events are dispatched one by one.
    """
    shop = await world.shop()
    connection_id, _ = await a_listener(world, shop)
    honest = world.dispatcher.dispatch_in
    broken: list[str] = []
    monkeypatch.setattr(
        world.dispatcher,
        "dispatch_in",
        lambda tx, event_ids: 1 / 0 if set(broken) & set(event_ids) else honest(tx, event_ids),
    )
    new = [a_new_event(shop.project.id, connection_id=connection_id, source_key=str(n)) for n in range(40)]
    recorded = await world.store.write(lambda tx: world.ingest.record_in(tx, new))
    broken.append(recorded[7][0])
    world.ingest.announce(recorded)
    monkeypatch.setattr(world.dispatcher, "sweep", lambda: asyncio.sleep(3600))

    running = asyncio.create_task(world.dispatcher.run())
    try:
        async with asyncio.timeout(60):
            while len(await world.all_sessions(shop.actor.org_id)) < 39:
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert len(await world.all_sessions(shop.actor.org_id)) == 39


async def test_what_one_unit_finds_wrong_with_a_trigger_the_next_event_of_the_unit_may_heal(world: World):
    """
    A trigger is looked up once for all events of a unit, and yet shows what the last of them found.
    """
    shop = await world.shop()
    connection_id, trigger = await a_listener(world, shop, filter='data.Wanted == "x"')
    new = [
        a_new_event(shop.project.id, connection_id=connection_id, source_key=str(n), data=data)
        for n, data in enumerate([{"Wanted": "x"}, {}, {"Wanted": "x"}, {}])
    ]
    recorded = await world.ingest.record(new)

    done = await world.store.write(
        lambda tx: world.dispatcher.dispatch_in(tx, [event_id for event_id, _ in recorded])
    )

    shown = await world.store.read(lambda tx: triggers.by_id(tx, trigger.id))
    found = [outcome["outcome"] for [outcome] in done.values()]
    assert found == ["session", "filter_failed", "session", "filter_failed"]
    assert (await world.event(recorded[1][0])).dispatch == done[recorded[1][0]]
    assert "the event has no 'Wanted'" in shown.last_error


async def test_a_change_holds_for_all_events_that_are_dispatched_after_it(world: World):
    """
    Nothing that a unit has looked up outlives it: filter, entry point and deployment are those of now.
    """
    shop = await world.shop()
    connection_id, trigger = await a_listener(world, shop)

    async def outcome(key: str) -> str:
        return (await dispatched(world, shop, connection_id, source_key=key)).dispatch[0]["outcome"]

    found = [await outcome("first")]
    await world.store.write(lambda tx: triggers.update(tx, replace(trigger, filter="false")))
    found.append(await outcome("filtered by now"))
    await world.store.write(lambda tx: triggers.update(tx, replace(trigger, call="main.py:gone")))
    found.append(await outcome("calls what is not there by now"))
    await world.store.write(
        lambda tx: builds.set_deployment_state(tx, shop.deployment.id, DeploymentState.INACTIVE)
    )
    found.append(await outcome("not deployed by now"))

    assert found == ["session", "filtered", "no_entrypoint", "not_deployed"]
