"""`sessions.commit`: sessions that wait, parked or in place, and what wakes them."""

import asyncio
from datetime import timedelta

import pytest
from world import World, record

from ninelives_server.model.sessions import SessionState
from ninelives_server.sessions import records
from ninelives_server.sessions.journal import Claimed, NotClaimed, Turn
from ninelives_server.sessions.records import Parked, Stay
from ninelives_server.store import inbox, sessions

pytestmark = pytest.mark.store


async def test_a_parked_session_is_not_started_before_it_is_due(world: World):
    """
    A signal too many costs nothing: the claim looks at the clock.
    """
    sid, epoch = await world.running()
    until = world.journal.clock.now() + timedelta(hours=1)

    answers = await world.journal.commit([world.park(sid, epoch, until)])

    assert answers == [Parked()]
    assert await world.journal.claim("wrk_2", sid) == NotClaimed("parked", until)
    assert await world.journal.look(sid) == Turn("parked", until)
    assert await world.state(sid) is SessionState.WAITING


async def test_a_parked_session_is_started_when_it_is_due(world: World):
    """
    After its time, the next claim gets it, with its journal.
    """
    sid, epoch = await world.running()
    await world.journal.commit(
        [
            world.put(sid, epoch, record(0)),
            world.park(sid, epoch, world.journal.clock.now() + timedelta(seconds=0.3)),
        ]
    )

    claimed = await world.journal.claim("wrk_2", sid)

    assert isinstance(claimed, Claimed)
    assert (claimed.epoch, claimed.records, claimed.start["records"]) == (2, 1, 1)


async def test_a_session_with_something_unread_stays(world: World):
    """
    Parking looks into the inbox in its own transaction, so that no wake is lost.
    """
    sid, epoch = await world.running()
    await world.store.write(lambda tx: inbox.put(tx, inbox.new_id(), sid, kind="event", name="lead"))

    answers = await world.journal.commit([world.park(sid, epoch)])

    assert answers == [Stay()]
    assert await world.state(sid) is SessionState.RUNNING


async def test_what_arrives_for_a_parked_session_wakes_it_once(world: World):
    """
    The first item asks for a start, the others find that it was asked for.
    """
    sid, epoch = await world.running()
    await world.journal.commit([world.park(sid, epoch)])

    with world.store.notices.subscribed("work", sid) as notice:
        await world.store.write(lambda tx: inbox.put(tx, inbox.new_id(), sid, kind="signal", name="a"))
        await asyncio.wait_for(notice.wait(), 10)
        notice.take()
        await world.store.write(lambda tx: inbox.put(tx, inbox.new_id(), sid, kind="signal", name="b"))
        woken_again = await world.store.write(lambda tx: sessions.wake(tx, sid))

    assert not woken_again
    assert await world.journal.look(sid) == Turn("run")
    assert await world.claim(sid) == 2


async def test_parking_and_arriving_at_the_same_moment_lose_nothing(world: World):
    """
    Whoever comes second sees the first: either the process stays, or the session is woken.
    """
    for _ in range(10):
        sid, epoch = await world.running()
        item = inbox.new_id()

        (parked,), _ = await asyncio.gather(
            world.journal.commit([world.park(sid, epoch)]),
            world.store.write(
                lambda tx, sid=sid, item=item: inbox.put(tx, item, sid, kind="event", name="x")
            ),
        )

        outcome = (await world.journal.look(sid)).outcome
        assert (parked, outcome) in {(Stay(), "held"), (Parked(), "run")}


async def test_parking_twice_is_parking_once(world: World):
    """
    The answer was lost with the link and is asked for again.
    """
    sid, epoch = await world.running()
    op = world.park(sid, epoch)

    assert await world.journal.commit([op]) == [Parked()]
    assert await world.journal.commit([op]) == [Parked()]


async def test_a_session_that_waits_without_parking_says_so(world: World):
    """
    `waiting` is a state, whether there is a process or not.
    """
    sid, epoch = await world.running()

    await world.journal.commit([records.Waiting(sid, epoch, is_waiting=True)])
    waiting = await world.state(sid)
    await world.journal.commit([records.Waiting(sid, epoch, is_waiting=False)])

    assert waiting is SessionState.WAITING
    assert await world.state(sid) is SessionState.RUNNING
