"""Sessions that sessions start are events, in the unit of whoever starts them."""

import pytest
from event_world import NoEnvironment, Shop, World

from ninelives_server import ids
from ninelives_server.errors import Invalid, NotFound
from ninelives_server.events.children import Children
from ninelives_server.model.sessions import NewSession
from ninelives_server.sessions.start import Starts


def a_child(shop: Shop, **changes: object) -> NewSession:
    values: dict[str, object] = {
        "id": ids.new("ses"),
        "org_id": shop.project.org_id,
        "project_id": shop.project.id,
        "deployment_id": shop.deployment.id,
        "build_id": shop.build.id,
        "entrypoint": "main.py:on_lead",
        "is_durable": True,
        "data": {"n": 1},
        "parent_id": "ses_parent",
        "created_by": "ses_parent",
    }
    return NewSession(**{**values, **changes})


@pytest.fixture
def children(world: World) -> Children:
    nothing = NoEnvironment()
    starts = Starts(vault=world.vault, variables=nothing, accounts=nothing, base_url="http://localhost:9980")
    return Children(ingest=world.ingest, sessions=starts)


async def test_a_child_is_an_event_of_its_project(world: World, children: Children):
    """
    It names parent and entry point, and is dispatched from the first moment; the same child is one event.
    """
    shop = await world.shop()
    new = a_child(shop)

    for _ in range(2):
        await world.store.write(lambda tx: children.start(tx, new))

    [event] = await world.all_events(shop.project.id)
    [session] = await world.all_sessions(shop.project.org_id)
    assert (event.event_type, event.source_key) == ("child", f"child:{new.id}")
    assert event.memo == {"entrypoint": "main.py:on_lead", "is_durable": "true", "parent_id": "ses_parent"}
    assert event.dispatch == [{"outcome": "session", "session_id": new.id}]
    assert event.dispatched_at is not None
    assert (session.id, session.event_id, session.parent_id) == (new.id, event.id, "ses_parent")
    assert (await world.events.get(shop.actor, event.id)).data == {"n": 1}


async def test_neither_event_nor_session_is_there_without_the_parents_record(
    world: World, children: Children
):
    """
    What the unit could not commit has not happened.
    """
    shop = await world.shop()

    def failing(tx):
        children.start(tx, a_child(shop))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await world.store.write(failing)

    assert await world.all_events(shop.project.id) == []
    assert await world.all_sessions(shop.project.org_id) == []


async def test_data_that_is_no_json_starts_nothing(world: World, children: Children):
    """
    The parent's call is told.
    """
    shop = await world.shop()

    with pytest.raises(Invalid, match="no JSON"):
        await world.store.write(lambda tx: children.start(tx, a_child(shop, data={"n": float("nan")})))

    assert await world.all_events(shop.project.id) == []


async def test_the_event_of_a_child_is_seen_and_dispatched_again_by_its_project_only(
    world: World, children: Children
):
    """
    The copy runs the same entry point with the same data, without a parent.
    """
    shop = await world.shop()
    stranger = await world.shop(org="other", user="eve")
    await world.store.write(lambda tx: children.start(tx, a_child(shop)))
    [event] = await world.all_events(shop.project.id)

    copy = await world.events.redispatch(shop.actor, event.id)
    with pytest.raises(NotFound):
        await world.events.get(stranger.actor, event.id)

    [_, again] = await world.all_sessions(shop.project.org_id)
    assert copy.dispatch == [{"outcome": "session", "session_id": again.id}]
    assert (again.entrypoint, again.is_durable, again.parent_id) == ("main.py:on_lead", True, None)
