"""The only door in: once each, with the cursor, all or nothing."""

import asyncio
from datetime import timedelta

import pytest
from event_world import World, a_new_event
from factories import a_connection, a_trigger

from ninelives_server.errors import Invalid
from ninelives_server.model.triggers import TriggerType
from ninelives_server.store import events, inbox, streams
from ninelives_server.store.streams import CursorSave, LeaseLost, StreamKey


async def a_leased_stream(world: World, org_id: str, owner: str = "me"):
    key = StreamKey(
        org_id=org_id, integration="salesforce", account_key="00D:005", topic="/data/ChangeEvents"
    )

    def lease(tx):
        stream = streams.ensure(tx, key)
        return streams.lease(tx, stream.id, owner, timedelta(seconds=30))

    return await world.store.write(lease)


async def test_an_event_is_stored_with_its_data_sealed(world: World):
    """
    What happened is kept, and is not readable in the database.
    """
    shop = await world.shop()

    [(event_id, is_new)] = await world.ingest.record(
        [a_new_event(shop.project.id, data={"Company": "very secret"}, record_id="00Q1", memo={"a": "b"})]
    )

    sealed = await world.store.read(lambda tx: events.sealed_data(tx, event_id))
    detail = await world.events.get(shop.actor, event_id)
    assert is_new
    assert b"very secret" not in sealed
    assert detail.data == {"Company": "very secret"}
    assert (detail.event.org_id, detail.event.record_id, detail.event.memo) == (
        shop.actor.org_id,
        "00Q1",
        {"a": "b"},
    )
    assert detail.event.dispatched_at is None


async def test_the_same_source_key_is_the_same_event(world: World):
    """
    A provider delivers at least once; we keep one.
    """
    shop = await world.shop()
    new = a_new_event(shop.project.id)

    first = await world.ingest.record([new])
    again = await world.ingest.record([new, a_new_event(shop.project.id, source_key="key-2")])

    assert again[0] == (first[0][0], False)
    assert again[1][1] is True
    assert len(await world.all_events(shop.project.id)) == 2


async def test_the_same_source_key_twice_in_one_batch_is_one_event(world: World):
    """
    A provider may repeat itself inside one message.
    """
    shop = await world.shop()

    recorded = await world.ingest.record([a_new_event(shop.project.id), a_new_event(shop.project.id)])

    assert len({event_id for event_id, _ in recorded}) == 1
    assert sorted(is_new for _, is_new in recorded) == [False, True]


async def test_the_same_source_key_in_two_projects_is_two_events(world: World):
    """
    Projects share nothing.
    """
    one = await world.shop()
    two = await world.shop(actor=one.actor, name="other")

    recorded = await world.ingest.record([a_new_event(one.project.id), a_new_event(two.project.id)])

    assert [is_new for _, is_new in recorded] == [True, True]


async def test_fifty_deliveries_at_once_make_one_event(world: World):
    """
    Uniqueness holds against concurrency, not only against repetition.
    """
    shop = await world.shop()

    results = await asyncio.gather(*(world.ingest.record([a_new_event(shop.project.id)]) for _ in range(50)))

    assert len({event_id for [(event_id, _)] in results}) == 1
    assert sum(is_new for [(_, is_new)] in results) == 1


async def test_events_keep_their_order(world: World):
    """
    Ids ascend in the order of arrival, also within one batch.
    """
    shop = await world.shop()
    new = [a_new_event(shop.project.id, source_key=f"k{i:03}") for i in range(300)]

    await world.ingest.record(new)

    assert [e.source_key for e in await world.all_events(shop.project.id)] == [e.source_key for e in new]


async def test_cursor_and_events_are_saved_together(world: World):
    """
    The stored cursor covers exactly the stored events.
    """
    shop = await world.shop()
    stream = await a_leased_stream(world, shop.actor.org_id)

    await world.ingest.record(
        [a_new_event(shop.project.id)],
        CursorSave(stream_id=stream.id, fence=stream.fence, cursor=b"\0\1", events=1),
    )

    saved = await world.store.read(lambda tx: streams.by_id(tx, stream.id))
    assert saved.cursor == b"\0\1"
    assert saved.last_event_at is not None
    assert saved.last_keepalive_at is None


async def test_a_keepalive_moves_the_cursor_without_an_event(world: World):
    """
    On a quiet topic the stored position must not grow older than the provider keeps it.
    """
    shop = await world.shop()
    stream = await a_leased_stream(world, shop.actor.org_id)

    recorded = await world.ingest.record(
        [], CursorSave(stream_id=stream.id, fence=stream.fence, cursor=b"\0\2", events=0)
    )

    saved = await world.store.read(lambda tx: streams.by_id(tx, stream.id))
    assert recorded == []
    assert saved.cursor == b"\0\2"
    assert saved.last_keepalive_at is not None


async def test_a_reader_that_lost_its_lease_stores_nothing(world: World):
    """
    Two readers of one stream must not both write: the older fence is refused, events included.
    """
    shop = await world.shop()
    stream = await a_leased_stream(world, shop.actor.org_id)
    await world.store.write(lambda tx: streams.release(tx, stream.id, stream.fence))
    newer = await a_leased_stream(world, shop.actor.org_id, owner="other")

    with pytest.raises(LeaseLost):
        await world.ingest.record(
            [a_new_event(shop.project.id)],
            CursorSave(stream_id=stream.id, fence=stream.fence, cursor=b"old", events=1),
        )

    saved = await world.store.read(lambda tx: streams.by_id(tx, stream.id))
    assert newer.fence == stream.fence + 1
    assert saved.cursor is None
    assert await world.all_events(shop.project.id) == []


async def test_events_of_a_deleted_project_are_left_out(world: World):
    """
    A stream that serves many projects must not stop because one of them has just gone.
    """
    shop = await world.shop()

    recorded = await world.ingest.record([a_new_event("prj_gone"), a_new_event(shop.project.id)])

    assert len(recorded) == 1
    assert len(await world.all_events(shop.project.id)) == 1


@pytest.mark.parametrize("bad", [{"x": object()}, {"x": float("nan")}, {"x": b"bytes"}, {"x": "\ud800"}])
async def test_data_that_is_no_json_is_refused(world: World, bad):
    """
    Nothing may be stored that a session could not be given.
    """
    shop = await world.shop()

    with pytest.raises(Invalid, match="no JSON"):
        await world.ingest.record([a_new_event(shop.project.id, data=bad)])

    assert await world.all_events(shop.project.id) == []


async def _subscribe(world: World, session, **columns):
    """Subscribe a session as the server's call `subscribe` does."""
    import sqlalchemy as sa

    from ninelives_server.store.tables import subscriptions

    values = {
        "id": f"sub_{columns.get('connection_id') or columns.get('trigger_id')}",
        "session_id": session.id,
        "project_id": session.project_id,
        "filter": "",
        **columns,
    }
    await world.store.write(
        lambda tx: tx.connection.execute(sa.insert(subscriptions).values(created_at=tx.now, **values))
    )


async def test_a_subscribed_session_finds_the_event_in_its_inbox(world: World):
    """
    No wake is lost: the inbox row is written in the unit that records the event; the filter decides.
    """
    shop = await world.shop()
    connection = await a_connection(world.store, shop.project)
    session = await world.events.start_session(shop.actor, shop.project.id, "main.py:on_lead", {})
    await _subscribe(world, session, connection_id=connection.id, filter='data.Company == "Acme"')

    recorded = await world.ingest.record(
        [
            a_new_event(shop.project.id, connection_id=connection.id),
            a_new_event(shop.project.id, connection_id=connection.id, source_key="2", data={"Company": "X"}),
            a_new_event(shop.project.id, connection_id=connection.id, source_key="3", data={}),
            a_new_event(shop.project.id, connection_id="con_other", source_key="4"),
        ]
    )

    items = await world.store.read(lambda tx: inbox.unread(tx, session.id))
    assert [(item.kind, item.event_id, item.name) for item in items] == [("event", recorded[0][0], "lead")]


async def test_a_subscription_to_a_trigger_obeys_its_type_and_filter(world: World):
    """
    A trigger without a call is only there to be subscribed to.
    """
    shop = await world.shop()
    connection = await a_connection(world.store, shop.project)
    trigger = await a_trigger(
        world.store,
        shop.project,
        type=TriggerType.CONNECTION,
        connection_id=connection.id,
        event_type="lead",
        filter='data.Company == "Acme"',
        call="",
    )
    session = await world.events.start_session(shop.actor, shop.project.id, "main.py:on_lead", {})
    await _subscribe(world, session, trigger_id=trigger.id)

    recorded = await world.ingest.record(
        [
            a_new_event(shop.project.id, connection_id=connection.id),
            a_new_event(shop.project.id, connection_id=connection.id, source_key="2", event_type="account"),
            a_new_event(shop.project.id, connection_id=connection.id, source_key="3", data={"Company": "X"}),
        ]
    )

    items = await world.store.read(lambda tx: inbox.unread(tx, session.id))
    assert [item.event_id for item in items] == [recorded[0][0]]


@pytest.mark.parametrize(
    ("call", "own", "expected"),
    [
        ("main.py:on_lead", 'data.Company == "Other"', ["2"]),
        ("main.py:on_lead", "", ["1"]),
        ("", 'data.Company == "Other"', []),
    ],
)
async def test_the_filter_of_a_trigger_that_starts_sessions_keeps_nothing_from_a_filter_of_ones_own(
    world: World, call: str, own: str, expected: list[str]
):
    """
    A handler that one request has started waits for another kind of request at the same address.
    """
    shop = await world.shop()
    trigger = await a_trigger(
        world.store, shop.project, type=TriggerType.WEBHOOK, filter='data.Company == "Acme"', call=call
    )
    session = await world.events.start_session(shop.actor, shop.project.id, "main.py:on_lead", {})
    await _subscribe(world, session, trigger_id=trigger.id, filter=own)

    recorded = await world.ingest.record(
        [
            a_new_event(shop.project.id, trigger_id=trigger.id, source_key="1"),
            a_new_event(shop.project.id, trigger_id=trigger.id, source_key="2", data={"Company": "Other"}),
        ]
    )

    items = await world.store.read(lambda tx: inbox.unread(tx, session.id))
    keys = {event_id: str(number) for number, (event_id, _) in enumerate(recorded, start=1)}
    assert [keys[item.event_id] for item in items] == expected


async def test_what_a_subscriber_got_and_what_the_filters_said_stand_together(world: World):
    """
    An event may be for a session that waits and for no trigger: both are kept with it.
    """
    shop = await world.shop()
    connection = await a_connection(world.store, shop.project)
    trigger = await a_trigger(
        world.store,
        shop.project,
        type=TriggerType.CONNECTION,
        connection_id=connection.id,
        filter='data.Company == "nobody"',
    )
    session = await world.events.start_session(shop.actor, shop.project.id, "main.py:on_lead", {})
    await _subscribe(world, session, connection_id=connection.id)

    [(event_id, _)] = await world.ingest.record([a_new_event(shop.project.id, connection_id=connection.id)])

    event = await world.event(event_id)
    assert event.dispatch == [
        {"outcome": "signalled", "session_id": session.id},
        {"trigger_id": trigger.id, "trigger": trigger.name, "outcome": "filtered"},
    ]
    assert event.dispatched_at is not None
