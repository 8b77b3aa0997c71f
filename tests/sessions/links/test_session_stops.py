"""`sessions.stops`: how a stop reaches a session, wherever it is."""

import asyncio

import pytest
from conversation import PATIENCE, FakeWorker, Scheduler, Tokens, a_record, serving, until
from world import World

from ninelives_server.model.sessions import SessionState
from ninelives_server.sessions import stops
from ninelives_server.sessions.links import Links


async def test_a_stop_reaches_the_process(world: World, links: Links):
    """
    It travels over the link; what the session does in its `finally` is journaled.
    """
    session = await world.session()
    worker = FakeWorker(links)
    await worker.hello()
    epoch = await worker.claim(session.id)

    await world.sessions.stop(world.actor, session.id, reason="enough")
    stop = await worker.hear()
    worker.say_all(a_record(session.id, epoch))
    ack = await worker.hear(but="stop")
    worker.say("done", b"", sid=session.id, ep=epoch, i=2, state="stopped", error=None)
    await worker.hear(but="stop")

    assert (stop.type, stop.head["reason"], ack.type) == ("stop", "enough", "ack")
    assert await world.state(session.id) is SessionState.STOPPED


async def test_after_the_grace_the_process_is_killed(world: World, links: Links):
    """
    User code that goes on does not go on for long; the state is `stopped` either way.
    """
    session = await world.session()
    worker = FakeWorker(links)
    await worker.hello()
    await worker.claim(session.id)

    await world.sessions.stop(world.actor, session.id, grace=0.2)
    stop, kill = await worker.hear(), await worker.hear(but="stop")

    assert (stop.type, kill.type, kill.head["why"]) == ("stop", "kill", "stopped")
    assert await world.state(session.id) is SessionState.STOPPED


async def test_a_kill_does_not_ask(world: World, links: Links):
    """
    `--kill` gives no grace.
    """
    session = await world.session()
    worker = FakeWorker(links)
    await worker.hello()
    await worker.claim(session.id)

    await world.sessions.stop(world.actor, session.id, kill=True)

    assert (await worker.hear()).type == "kill"
    assert await world.state(session.id) is SessionState.STOPPED


async def test_a_parked_session_is_started_for_its_stop(world: World, links: Links):
    """
    Its `finally` blocks run too; the stop follows the claim.
    """
    sid, epoch = await world.running("wrk_1")
    await world.journal.commit([world.park(sid, epoch)])
    with world.store.notices.subscribed("work", sid) as notice:
        await world.sessions.stop(world.actor, sid, reason="enough")
        await asyncio.wait_for(notice.wait(), PATIENCE)
    worker = FakeWorker(links)
    await worker.hello()

    assert await worker.claim(sid) == 2
    assert (await worker.hear()).type == "stop"


async def test_the_grace_of_a_parked_session_begins_when_a_worker_has_it(
    world: World, links: Links, monkeypatch: pytest.MonkeyPatch
):
    """
    What it may take to be started is not given to code that does not want to end.
    """
    monkeypatch.setattr(stops, "_TO_START", 3600.0)
    monkeypatch.setattr(stops, "_TO_BEGIN", 0.1)
    sid, epoch = await world.running("wrk_1")
    await world.journal.commit([world.park(sid, epoch)])
    worker = FakeWorker(links)
    await worker.hello()
    await world.sessions.stop(world.actor, sid, grace=0.1)
    await worker.claim(sid)

    assert (await worker.hear(but="stop")).head["why"] == "stopped"
    assert await world.state(sid) is SessionState.STOPPED


async def test_a_stop_that_a_dead_server_was_asked_for_is_carried_out(
    world: World, scheduler: Scheduler, tokens: Tokens
):
    """
    It is in the row: the next server finds it there.
    """
    sid, _ = await world.running("wrk_1")
    await world.sessions.stop(world.actor, sid, grace=0.1)

    async with serving(world, scheduler, tokens):

        async def is_stopped() -> bool:
            return await world.state(sid) is SessionState.STOPPED

        await until(is_stopped)
