"""
Backpressure, from events to sessions that may start: limits, keys and overlap, on both databases.
"""

import asyncio
import os
from typing import Any

import pytest
import sqlalchemy as sa
from event_world import NoEnvironment, Shop, World, a_new_event
from factories import a_trigger

from ninelives_server import ids
from ninelives_server.errors import Conflict
from ninelives_server.events.children import Children
from ninelives_server.model.sessions import Session, SessionState
from ninelives_server.model.triggers import Trigger, TriggerType
from ninelives_server.sessions.calls import Calls
from ninelives_server.sessions.queues import Queues
from ninelives_server.sessions.start import Starts
from ninelives_server.store import projects, sessions, tables, triggers
from ninelives_server.store.core import Tx

#: Events of the storm; CI runs few, `NINELIVES_TEST_STORM=50000` runs what the product promises.
STORM = int(os.environ.get("NINELIVES_TEST_STORM", "150"))


async def a_shop(world: World, **trigger: Any) -> tuple[Shop, Trigger]:
    """A project in service with one trigger."""
    shop = await world.shop()
    values = {"type": TriggerType.SCHEDULE, "schedule": "@daily", **trigger}
    return shop, await a_trigger(world.store, shop.project, **values)


async def happen(world: World, trigger: Trigger, count: int, **changes: Any) -> list[str]:
    """Record events of a trigger and dispatch them."""
    new = [
        a_new_event(
            trigger.project_id, trigger_id=trigger.id, source_key=f"{changes.get('name', '')}{n}",
            data={"n": n, **changes.get("data", {})},
        )
        for n in range(count)
    ]  # fmt: skip
    recorded = await world.ingest.record(new)
    for event_id, _ in recorded:
        await world.dispatcher.dispatch([event_id])
    return [event_id for event_id, _ in recorded]


async def admitted(world: World, shop: Shop) -> list[Session]:
    """Sessions that may run and have not ended, in the order of their events."""
    await Queues(store=world.store).admit(shop.project.id)
    found = await world.all_sessions(shop.actor.org_id)
    open_ = [s for s in found if s.admitted_at is not None and s.ended_at is None]
    return sorted(open_, key=lambda session: session.event_id or "")


async def end(world: World, session: Session) -> None:
    """End a session as if it had run."""
    await world.store.write(lambda tx: sessions.end(tx, session.id, SessionState.COMPLETED))


async def test_a_trigger_starts_no_more_sessions_than_it_may(world: World):
    """
    The others are there, `created`, and start in the order of their events as room is made.
    """
    shop, trigger = await a_shop(world, options={"max_concurrent": 2})
    in_order = await happen(world, trigger, 5)

    seen = []
    while running := await admitted(world, shop):
        assert len(running) <= 2
        seen.append(running[0].event_id)
        await end(world, running[0])

    assert seen == in_order


async def test_a_project_starts_no_more_sessions_than_it_may(world: World):
    """
    Its limit is over all triggers, and over sessions that somebody starts by hand; the oldest event goes first.
    """
    shop, trigger = await a_shop(world)
    other = await a_trigger(
        world.store, shop.project, name="other", type=TriggerType.SCHEDULE, schedule="@daily"
    )
    await world.store.write(lambda tx: projects.set_max_concurrent(tx, shop.project.id, 2))

    first = await happen(world, trigger, 1, name="a")
    second = await happen(world, other, 2, name="b")
    by_hand = await world.events.start_session(shop.actor, shop.project.id, "main.py:on_lead", {})

    assert [s.event_id for s in await admitted(world, shop)] == [first[0], second[0]]
    assert by_hand.admitted_at is None
    await end(world, (await admitted(world, shop))[0])
    await end(world, (await admitted(world, shop))[0])
    assert [s.event_id for s in await admitted(world, shop)] == [second[1], by_hand.event_id]


async def test_a_limit_that_is_lifted_lets_all_start(world: World):
    """
    What waits is not bound to the limit that it met.
    """
    shop, trigger = await a_shop(world, options={"max_concurrent": 1})
    await happen(world, trigger, 4)
    assert len(await admitted(world, shop)) == 1

    await world.store.write(lambda tx: triggers.delete(tx, trigger.id))

    assert len(await admitted(world, shop)) == 4


async def test_sessions_of_one_key_run_one_after_the_other(world: World):
    """
    In the order of their events; other keys do not wait for them.
    """
    shop, trigger = await a_shop(world, options={"key": "data.lead"})
    first = await happen(world, trigger, 3, name="a", data={"lead": "00Q1"})
    second = await happen(world, trigger, 2, name="b", data={"lead": "00Q2"})

    assert [s.event_id for s in await admitted(world, shop)] == [first[0], second[0]]
    await end(world, (await admitted(world, shop))[0])
    assert [s.event_id for s in await admitted(world, shop)] == [first[1], second[0]]


async def test_a_session_that_restarts_keeps_its_key(world: World):
    """
    Its successor goes on with the same record: the next one of the key waits for the end of that.
    """
    shop, trigger = await a_shop(world, options={"key": "data.lead"})
    await happen(world, trigger, 2, data={"lead": "00Q1"})
    [running] = await admitted(world, shop)
    starts = Starts(
        vault=world.vault, variables=NoEnvironment(), accounts=NoEnvironment(), base_url="http://localhost"
    )
    children = Children(ingest=world.ingest, sessions=starts)
    calls = Calls(vault=world.vault, starts=starts, filters=world.filters, children=children)

    successor = await world.store.write(lambda tx: calls.restart(tx, running, {}))
    await end(world, running)

    assert [s.id for s in await admitted(world, shop)] == [successor]


async def test_a_fork_has_the_key_of_its_source(world: World):
    """
    It is refused while the key is in use, and while it runs the next one of the key waits.
    """
    shop, trigger = await a_shop(world, options={"key": "data.lead"})
    await happen(world, trigger, 1, name="a", data={"lead": "00Q1"})
    [source] = await admitted(world, shop)

    with pytest.raises(Conflict, match=f"session {source.id} has the same key"):
        await world.sessions.fork(shop.actor, source.id, from_step=1)
    await end(world, source)
    fork = (await world.sessions.fork(shop.actor, source.id, from_step=1)).session
    await happen(world, trigger, 1, name="b", data={"lead": "00Q1"})
    other = await happen(world, trigger, 1, name="c", data={"lead": "00Q2"})

    assert {s.id for s in await admitted(world, shop) if s.event_id != other[0]} == {fork.id}
    await end(world, fork)
    assert len(await admitted(world, shop)) == 2


async def test_an_event_that_is_not_dispatched_yet_holds_back_later_ones_of_a_keyed_trigger(world: World):
    """
    It may be of the same key, and come first.
    """
    shop, trigger = await a_shop(world, options={"key": "data.lead"})
    late = a_new_event(shop.project.id, trigger_id=trigger.id, source_key="late", data={"lead": "00Q1"})
    [(late_id, _)] = await world.ingest.record([late])
    later = await happen(world, trigger, 1, data={"lead": "00Q1"})

    assert await admitted(world, shop) == []
    await world.dispatcher.dispatch([late_id])
    assert [s.event_id for s in await admitted(world, shop)] == [late_id]
    await end(world, (await admitted(world, shop))[0])
    assert [s.event_id for s in await admitted(world, shop)] == later


async def test_an_event_without_a_key_does_not_queue(world: World):
    """
    Null and empty text are no key.
    """
    shop, trigger = await a_shop(world, options={"key": "data.lead"})
    await happen(world, trigger, 2, data={"lead": None})

    assert len(await admitted(world, shop)) == 2


async def test_a_key_that_fails_is_shown_on_trigger_and_event(world: World):
    """
    As with a filter: nothing starts, and nobody has to read a log for it.
    """
    shop, trigger = await a_shop(world, options={"key": "data.lead"})
    [event_id] = await happen(world, trigger, 1)

    [outcome] = (await world.event(event_id)).dispatch
    assert outcome["outcome"] == "key_failed"
    assert "the event has no 'lead'" in outcome["error"]
    shown = await world.store.read(lambda tx: triggers.by_id(tx, trigger.id))
    assert shown is not None
    assert shown.last_error == outcome["error"]


async def test_overlap_skip_starts_nothing_while_a_session_is_open(world: World):
    """
    The event says which session it was.
    """
    shop, trigger = await a_shop(world, options={"overlap": "skip"})
    first, second = await happen(world, trigger, 2)

    [running] = await admitted(world, shop)
    [outcome] = (await world.event(second)).dispatch
    assert (running.event_id, outcome["outcome"]) == (first, "skipped")
    assert running.id in outcome["error"]
    await end(world, running)
    await happen(world, trigger, 1, name="again")
    assert len(await admitted(world, shop)) == 1


async def test_overlap_queue_one_lets_one_wait(world: World):
    """
    One runs, one waits, the others are skipped.
    """
    shop, trigger = await a_shop(world, options={"overlap": "queue one"})
    made = await happen(world, trigger, 4)

    outcomes = [(await world.event(event_id)).dispatch[0]["outcome"] for event_id in made]
    assert outcomes == ["session", "session", "skipped", "skipped"]
    [running] = await admitted(world, shop)
    await end(world, running)
    assert [s.event_id for s in await admitted(world, shop)] == [made[1]]


async def test_what_waits_says_why_and_where_it_stands(world: World):
    """
    In the list and on its own, with its place in its line.
    """
    shop, trigger = await a_shop(world, options={"max_concurrent": 1})
    await happen(world, trigger, 3)
    [running] = await admitted(world, shop)

    listed = (await world.sessions.list(shop.actor)).items
    waiting = sorted((s for s in listed if s.id != running.id), key=lambda s: s.event_id or "")
    why = f"trigger {trigger.name} runs at most 1 at once"
    assert [(s.queue_position, s.queue_reason) for s in waiting] == [(1, why), (2, why)]
    detail = await world.sessions.get(shop.actor, waiting[1].id)
    assert (detail.position, detail.session.queue_reason) == (2, why)


async def test_what_waits_for_its_key_says_so(world: World):
    """
    The value of the key is not told: it may be anybody's name.
    """
    shop, trigger = await a_shop(world, options={"key": "data.lead"})
    await happen(world, trigger, 2, data={"lead": "Ada Lovelace"})
    await admitted(world, shop)

    [waiting] = [s for s in (await world.sessions.list(shop.actor)).items if s.admitted_at is None]
    assert waiting.queue_reason == "its key is in use: 1 session comes before it"
    assert waiting.queue_position == 1


async def test_a_session_that_waits_can_be_stopped(world: World):
    """
    It ends at once, and the next one moves up.
    """
    shop, trigger = await a_shop(world, options={"max_concurrent": 1})
    events = await happen(world, trigger, 3)
    [running] = await admitted(world, shop)
    second = next(s for s in await world.all_sessions(shop.actor.org_id) if s.event_id == events[1])

    await world.sessions.stop(shop.actor, second.id)
    await end(world, running)

    assert [s.event_id for s in await admitted(world, shop)] == [events[2]]


async def test_a_child_session_does_not_wait_for_its_parents_slot(world: World):
    """
    Else a parent that waits for its children would wait for ever.
    """
    shop, _ = await a_shop(world)
    await world.store.write(lambda tx: projects.set_max_concurrent(tx, shop.project.id, 1))
    parent = await world.events.start_session(shop.actor, shop.project.id, "main.py:on_lead", {})

    assert [s.id for s in await admitted(world, shop)] == [parent.id]


async def test_very_many_that_wait_for_one_key_are_shown_and_let_in_one_by_one(world: World):
    """
    What waits is looked at by the index, not one by one: place and reason of the last are exact.
    """
    shop, trigger = await a_shop(world, options={"max_concurrent": 5, "key": "data.lead"})
    count = max(STORM * 10, 1000)

    def fill(tx: Tx) -> None:
        for _ in range(count // 500):
            tx.connection.execute(sa.insert(tables.sessions), [_row(tx, shop, trigger) for _ in range(500)])

    await world.store.write(fill)
    loop = asyncio.get_running_loop()

    [running] = await admitted(world, shop)
    before = loop.time()
    await world.sessions.list(shop.actor)
    print(f"{count} wait, list {loop.time() - before:.3f} s")

    t = tables.sessions.c
    query = sa.select(t.id).order_by(t.event_id.desc()).limit(1)
    last_id = await world.store.read(lambda tx: tx.connection.execute(query).scalar_one())
    last = (await world.sessions.get(shop.actor, last_id)).session
    assert last.queue_position == count - 1
    assert last.queue_reason == f"its key is in use: {count - 1} sessions come before it"
    await end(world, running)
    [second] = await admitted(world, shop)
    assert (second.event_id or "") > (running.event_id or "")


@pytest.mark.timeout(3600)
async def test_a_storm_of_events_is_kept_and_let_in_by_and_by(world: World):
    """
    None is lost, never more run than allowed, and the list of sessions stays quick meanwhile.
    """
    shop, trigger = await a_shop(world, options={"max_concurrent": 5, "key": "string(data.n % 50)"})
    tasks = [asyncio.create_task(run()) for run in (world.dispatcher.run, Queues(store=world.store).run)]
    slowest, ended = 0.0, 0
    try:
        loop = asyncio.get_running_loop()
        for start in range(0, STORM, 200):
            batch = range(start, min(start + 200, STORM))
            await world.ingest.record(
                [
                    a_new_event(shop.project.id, trigger_id=trigger.id, source_key=str(n), data={"n": n})
                    for n in batch
                ]
            )
        async with asyncio.timeout(3500):
            while ended < STORM:
                before = loop.time()
                await world.sessions.list(shop.actor)
                slowest = max(slowest, loop.time() - before)
                running = await world.store.read(lambda tx: _running(tx, shop.project.id))
                assert len(running) <= 5
                for session in running:
                    await end(world, session)
                ended += len(running)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    total = await world.store.read(sessions.counts)
    assert total[SessionState.COMPLETED] == STORM
    print(f"{STORM} events, slowest list {slowest:.3f} s")


def _running(tx: Tx, project_id: str) -> list[Session]:
    """Sessions that may run and have not ended, without a look at those that wait."""
    t = tables.sessions.c
    query = sa.select(t.id).where(
        t.project_id == project_id, t.ended_at.is_(None), t.admitted_at.is_not(None)
    )
    found = [sessions.by_id(tx, session_id) for session_id in tx.connection.execute(query).scalars()]
    return [session for session in found if session is not None]


def _row(tx: Tx, shop: Shop, trigger: Trigger) -> dict[str, Any]:
    """A session that waits, without the event that made it."""
    return {
        "id": ids.new("ses"),
        "org_id": shop.project.org_id,
        "project_id": shop.project.id,
        "deployment_id": shop.deployment.id,
        "build_id": shop.build.id,
        "event_id": ids.new("evt"),
        "trigger_id": trigger.id,
        "entrypoint": "main.py:on_lead",
        "is_durable": True,
        "state": "created",
        "state_since": tx.now,
        "memo": {},
        "sealed_start": b"",
        "queue_key": "one",
        "created_at": tx.now,
        "created_by": "system",
    }
