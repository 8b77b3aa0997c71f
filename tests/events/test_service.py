"""What people may do with events."""

import pytest
import sqlalchemy as sa
from event_world import World, a_new_event
from factories import a_build, a_connection, a_deployment, a_person, a_trigger

from ninelives_server.errors import Conflict, Forbidden, Invalid, KeyReused, NotFound
from ninelives_server.model.actors import Role
from ninelives_server.model.projects import DeploymentState
from ninelives_server.model.triggers import TriggerType
from ninelives_server.store import audit, builds, tables


async def test_events_are_listed_newest_first_in_pages(world: World):
    """
    A cursor leads through all of them, each once.
    """
    shop = await world.shop()
    await world.ingest.record([a_new_event(shop.project.id, source_key=str(i)) for i in range(7)])

    seen, cursor, sizes = [], None, []
    for _ in range(3):
        page = await world.events.list(shop.actor, "lead_router", cursor=cursor, limit=3)
        seen += [event.source_key for event in page.items]
        sizes.append(len(page.items))
        cursor = page.next_cursor

    assert seen == [str(i) for i in reversed(range(7))]
    assert sizes == [3, 3, 1]
    assert cursor is None


async def test_events_are_found_by_type_record_and_trigger(world: World):
    """
    People look for what happened to one record.
    """
    shop = await world.shop()
    await world.ingest.record(
        [
            a_new_event(shop.project.id, source_key="1", record_id="00Q1", trigger_id="trg_1"),
            a_new_event(shop.project.id, source_key="2", record_id="00Q2", event_type="account"),
        ]
    )

    async def keys(**filters):
        page = await world.events.list(shop.actor, shop.project.id, **filters)
        return [event.source_key for event in page.items]

    assert await keys(record_id="00Q1") == ["1"]
    assert await keys(event_type="account") == ["2"]
    assert await keys(trigger_id="trg_1") == ["1"]
    assert await keys(event_type="nope") == []


@pytest.mark.parametrize("cursor", ["", "x", "ÿ", "c2VzXzE", "evt_1"])
async def test_a_cursor_of_something_else_is_refused(world: World, cursor):
    """
    Cursors are opaque; one that is not ours is the caller's mistake.
    """
    shop = await world.shop()

    with pytest.raises(Invalid, match="cursor"):
        await world.events.list(shop.actor, shop.project.id, cursor=cursor)


async def test_another_org_sees_nothing(world: World):
    """
    Things of other orgs do not exist.
    """
    shop = await world.shop()
    trigger = await a_trigger(world.store, shop.project)
    stranger = await a_person(world.store, org="evil", name="eve")
    [(event_id, _)] = await world.ingest.record([a_new_event(shop.project.id)])

    for attempt in (
        world.events.list(stranger, shop.project.id),
        world.events.list(stranger, shop.project.name),
        world.events.get(stranger, event_id),
        world.events.redispatch(stranger, event_id),
        world.events.start_session(stranger, shop.project.id, "main.py:on_lead", {}),
        world.events.trigger_status(stranger, trigger),
    ):
        with pytest.raises(NotFound):
            await attempt

    assert await world.all_sessions(shop.actor.org_id) == []


async def test_a_viewer_may_look_and_not_act(world: World):
    """
    Reading is free for members of the org; starting things is not.
    """
    shop = await world.shop()
    viewer = await a_person(world.store, org_id=shop.actor.org_id, name="vera", role=Role.VIEWER)
    [(event_id, _)] = await world.ingest.record([a_new_event(shop.project.id)])

    assert (await world.events.get(viewer, event_id)).event.id == event_id
    with pytest.raises(Forbidden):
        await world.events.redispatch(viewer, event_id)
    with pytest.raises(Forbidden):
        await world.events.start_session(viewer, shop.project.id, "main.py:on_lead", {})


async def test_a_session_is_started_by_hand(world: World):
    """
    The session gets the inputs, no event of its own, and its maker's name; it is in the list of events.
    """
    shop = await world.shop()

    session = await world.events.start_session(
        shop.actor, "lead_router", "main.py:on_lead", {"n": 7}, is_durable=True
    )

    [event] = await world.all_events(shop.project.id)
    detail = await world.events.get(shop.actor, event.id)
    assert (session.entrypoint, session.is_durable, session.created_by) == (
        "main.py:on_lead",
        True,
        shop.actor.id,
    )
    assert session.trigger_id is None
    assert session.deployment_id == shop.deployment.id
    assert event.dispatch == [{"outcome": "session", "session_id": session.id}]
    assert detail.data == {"n": 7}


async def test_a_session_is_not_durable_unless_told(world: World):
    """
    As in AutoKitteh.
    """
    shop = await world.shop()

    session = await world.events.start_session(shop.actor, shop.project.id, "main.py:on_lead", {})

    assert session.is_durable is False


async def test_a_manual_start_leaves_an_audit_row_in_the_same_unit(world: World):
    """
    Every change says who made it.
    """
    shop = await world.shop()

    session = await world.events.start_session(shop.actor, shop.project.id, "main.py:on_lead", {})

    [row] = await world.store.read(lambda tx: audit.of_org(tx, shop.actor.org_id))
    assert (row.action, row.target, row.actor) == ("session.started", session.id, shop.actor.id)


async def test_an_entry_point_that_is_not_there_is_named_with_its_neighbours(world: World):
    """
    The message helps with a typing error, and nothing is left behind.
    """
    shop = await world.shop(entrypoints=("main.py:on_lead", "main.py:hello"))

    with pytest.raises(Invalid, match="main.py:on_lead") as caught:
        await world.events.start_session(shop.actor, shop.project.id, "main.py:on_led", {})

    assert "entrypoint" in caught.value.fields
    assert await world.all_events(shop.project.id) == []


async def test_without_a_deployment_nothing_can_be_started(world: World):
    """
    The way out is named.
    """
    shop = await world.shop()
    await world.store.write(
        lambda tx: builds.set_deployment_state(tx, shop.deployment.id, DeploymentState.INACTIVE)
    )

    with pytest.raises(Conflict, match="ninelives deploy"):
        await world.events.start_session(shop.actor, shop.project.id, "main.py:on_lead", {})


async def test_inputs_that_are_no_json_are_refused(world: World):
    """
    A session could not be given them.
    """
    shop = await world.shop()

    with pytest.raises(Invalid, match="no JSON"):
        await world.events.start_session(shop.actor, shop.project.id, "main.py:on_lead", {"x": object()})


async def test_an_event_is_dispatched_again_as_a_copy(world: World):
    """
    The copy names the original; triggers, filters and data are as before; the answer says what came of it.
    """
    shop = await world.shop()
    connection = await a_connection(world.store, shop.project)
    await a_trigger(world.store, shop.project, type=TriggerType.CONNECTION, connection_id=connection.id)
    [(event_id, _)] = await world.ingest.record([a_new_event(shop.project.id, connection_id=connection.id)])
    await world.dispatcher.sweep()

    copy = await world.events.redispatch(shop.actor, event_id)
    again = await world.events.redispatch(shop.actor, event_id)

    original, repeated = (
        await world.events.get(shop.actor, event_id),
        await world.events.get(shop.actor, copy.id),
    )
    assert copy.memo["redispatch_of"] == event_id
    assert copy.dispatch[0]["outcome"] == "session"
    assert repeated.data == original.data
    assert again.id != copy.id
    assert len(await world.all_sessions(shop.actor.org_id)) == 3


async def test_an_event_is_dispatched_to_a_deployment_that_is_not_active(world: World):
    """
    An event that failed can be tried against another build.
    """
    shop = await world.shop()
    connection = await a_connection(world.store, shop.project)
    await a_trigger(world.store, shop.project, type=TriggerType.CONNECTION, connection_id=connection.id)
    build = await a_build(world.store, shop.project, sha256="1" * 64)
    other = await a_deployment(world.store, build, state=DeploymentState.TESTING)
    [(event_id, _)] = await world.ingest.record([a_new_event(shop.project.id, connection_id=connection.id)])

    await world.events.redispatch(shop.actor, event_id, deployment_id=other.id)

    [session] = await world.all_sessions(shop.actor.org_id)
    assert session.deployment_id == other.id


async def test_a_deployment_of_another_project_is_not_found(world: World):
    """
    One project's event never runs another project's code.
    """
    shop = await world.shop()
    other = await world.shop(actor=shop.actor, name="other")
    [(event_id, _)] = await world.ingest.record([a_new_event(shop.project.id)])

    with pytest.raises(NotFound):
        await world.events.redispatch(shop.actor, event_id, deployment_id=other.deployment.id)


async def test_a_webhook_s_status_has_its_address(world: World):
    """
    The address is made from the public one.
    """
    shop = await world.shop()
    trigger = await a_trigger(world.store, shop.project)

    status = await world.events.trigger_status(shop.actor, trigger)

    assert status.webhook_url == f"https://nine.example/webhooks/{trigger.slug}"
    assert (status.last_error, status.listening, status.next_at) == ("", None, None)


async def test_a_schedule_s_status_has_its_next_time(world: World):
    """
    In its own zone; none while nothing is deployed.
    """
    shop = await world.shop()
    trigger = await a_trigger(world.store, shop.project, type=TriggerType.SCHEDULE, schedule="0 3 1 1 * 2100")

    status = await world.events.trigger_status(shop.actor, trigger)
    await world.store.write(
        lambda tx: builds.set_deployment_state(tx, shop.deployment.id, DeploymentState.INACTIVE)
    )
    resting = await world.events.trigger_status(shop.actor, trigger)

    assert status.next_at is not None
    assert f"{status.next_at:%Y-%m-%d %H:%M:%S %z}" == "2100-01-01 03:00:00 +0000"
    assert resting.next_at is None


async def test_a_session_can_be_started_on_a_deployment_that_is_testing(world: World):
    """
    New code is tried with the project's connections while the active deployment serves.
    """
    shop = await world.shop()
    build = await a_build(world.store, shop.project, sha256="1" * 64, entrypoints=("main.py:new",))
    other = await a_deployment(world.store, build, state=DeploymentState.TESTING)

    session = await world.events.start_session(
        shop.actor, shop.project.id, "main.py:new", {"a": 1}, deployment_id=other.id
    )

    assert (session.deployment_id, session.build_id) == (other.id, build.id)


async def test_a_deployment_out_of_service_takes_nothing_even_by_name(world: World):
    """
    The message says how to test it.
    """
    shop = await world.shop()
    build = await a_build(world.store, shop.project, sha256="1" * 64)
    other = await a_deployment(world.store, build, state=DeploymentState.INACTIVE)
    [(event_id, _)] = await world.ingest.record([a_new_event(shop.project.id)])

    with pytest.raises(Conflict, match=f"is inactive; run `ninelives deployment test {other.id}` first"):
        await world.events.redispatch(shop.actor, event_id, deployment_id=other.id)
    with pytest.raises(Conflict):
        await world.events.start_session(
            shop.actor, shop.project.id, "main.py:on_lead", {}, deployment_id=other.id
        )


async def test_who_asks_again_with_a_key_gets_what_was_started(world: World):
    """
    The key is part of what was committed: whoever did not hear the answer starts nothing twice, and no other event.
    """
    shop = await world.shop()
    wanted = (shop.actor, shop.project.id, "main.py:on_lead", {"n": [1, 2.5, "ü"]})

    first = await world.events.start_session(*wanted, is_durable=True, key="a" * 64)
    again = await world.events.start_session(*wanted, is_durable=True, key="a" * 64)
    other = await world.events.start_session(*wanted, is_durable=True, key="b" * 64)

    assert again.id == first.id
    assert other.id != first.id
    [_, event] = await world.all_events(shop.project.id)
    copies = [await world.events.redispatch(shop.actor, event.id, key="c" * 64) for _ in range(2)]
    assert copies[0].id == copies[1].id
    assert len(await world.all_events(shop.project.id)) == 3
    rows = await world.store.read(lambda tx: audit.of_org(tx, shop.actor.org_id))
    assert [row.action for row in rows] == ["event.redispatched", "session.started", "session.started"]


async def test_who_asks_again_hears_it_although_the_project_has_left_service_meanwhile(world: World):
    """
    The request was done; only a new one needs a deployment.
    """
    shop = await world.shop()
    wanted = (shop.actor, shop.project.id, "main.py:on_lead", {})
    first = await world.events.start_session(*wanted, key="a" * 64)
    [event] = await world.all_events(shop.project.id)
    copy = await world.events.redispatch(shop.actor, event.id, key="b" * 64)
    retired = sa.update(tables.deployments).values(state="inactive")
    await world.store.write(lambda tx: tx.connection.execute(retired) and None)

    assert (await world.events.start_session(*wanted, key="a" * 64)).id == first.id
    assert (await world.events.redispatch(shop.actor, event.id, key="b" * 64)).id == copy.id
    with pytest.raises(Conflict, match="no active deployment"):
        await world.events.start_session(*wanted, key="c" * 64)
    with pytest.raises(Conflict, match="no active deployment"):
        await world.events.redispatch(shop.actor, event.id, key="d" * 64)


@pytest.mark.parametrize("change", ["entrypoint", "inputs", "is_durable", "deployment"])
async def test_a_key_that_asks_for_something_else_is_refused(world: World, change):
    """
    One answer would be taken for the other; nothing is started.
    """
    shop = await world.shop(entrypoints=("main.py:on_lead", "main.py:other"))
    await world.events.start_session(shop.actor, shop.project.id, "main.py:on_lead", {"n": 1}, key="a" * 64)
    entrypoint = "main.py:other" if change == "entrypoint" else "main.py:on_lead"
    inputs = {"n": 2 if change == "inputs" else 1}

    with pytest.raises(KeyReused, match="use a new key"):
        await world.events.start_session(
            shop.actor,
            shop.project.id,
            entrypoint,
            inputs,
            is_durable=change == "is_durable",
            deployment_id=shop.deployment.id if change == "deployment" else None,
            key="a" * 64,
        )

    assert len(await world.all_events(shop.project.id)) == 1


async def test_a_key_whose_session_is_no_longer_kept_says_so(world: World):
    """
    An event may be kept longer than the session that it started.
    """
    shop = await world.shop()
    wanted = (shop.actor, shop.project.id, "main.py:on_lead", {})
    session = await world.events.start_session(*wanted, key="a" * 64)
    gone = sa.delete(tables.sessions).where(tables.sessions.c.id == session.id)
    await world.store.write(lambda tx: tx.connection.execute(gone))

    with pytest.raises(Conflict, match=f"started session {session.id}, which is no longer kept"):
        await world.events.start_session(*wanted, key="a" * 64)
