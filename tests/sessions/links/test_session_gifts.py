"""Sessions that the server gives to a worker which has room, without asking Temporal first."""

import asyncio
from datetime import timedelta

import pytest
from conversation import PATIENCE, FakeWorker, Scheduler, a_record
from world import World

from ninelives.run.wire import Frame
from ninelives_server.model.sessions import SessionState
from ninelives_server.sessions.crowd import FORGOTTEN, Crowd
from ninelives_server.sessions.links import Links
from ninelives_server.store import sessions


async def a_worker(links: Links, worker_id: str = "wrk_1", **about: object) -> FakeWorker:
    """A worker of today's release: it takes what it is given."""
    worker = FakeWorker(links, worker_id)
    await worker.hello({"takes": True, **about})
    async with asyncio.timeout(PATIENCE):
        while about.get("takes", True) and not worker.link.takes:
            await asyncio.sleep(0.01)
    return worker


async def given(links: Links, worker: FakeWorker, session_id: str) -> Frame:
    """Give a session, and return what the worker hears of it."""
    assert links.give(session_id)
    frame = await worker.hear()
    assert (frame.type, frame.head["sid"]) == ("claimed", session_id)
    return frame


async def test_a_session_runs_without_temporal(world: World, links: Links, scheduler: Scheduler):
    """
    From the gift to the end nobody else is asked for anything.
    """
    session = await world.session()
    worker = await a_worker(links)

    frame = await given(links, worker, session.id)
    worker.say_all(a_record(session.id, 1))
    ack = await worker.hear()
    worker.say("done", b'"routed"', sid=session.id, ep=1, i=9, state="completed", error=None)
    done = await worker.hear()

    assert (frame.head["ep"], frame.head["is_given"]) == (1, True)
    assert frame.head["start"]["entrypoint"] == "main.py:on_lead"
    assert (ack.type, done.type) == ("ack", "done_ok")
    assert await world.state(session.id) is SessionState.COMPLETED
    assert worker.link.held == {}
    assert (scheduler.woken, scheduler.sought, scheduler.resting, scheduler.ended) == ([], [], [], [])


async def test_of_a_session_that_parks_temporal_keeps_the_time(
    world: World, links: Links, scheduler: Scheduler
):
    """
    It is told when the session parks, and again when a later turn has ended: its timer is good for nothing then.
    """
    session = await world.session()
    worker = await a_worker(links)
    await given(links, worker, session.id)

    worker.say("park", sid=session.id, ep=1, i=1, until=4102444800.0, awaits=["*"])
    parked = await worker.hear()
    resting = list(scheduler.resting)
    await world.store.write(
        lambda tx: sessions.request_stop(tx, session.id, {"by": "u", "reason": "", "kill": False})
    )
    await given(links, worker, session.id)
    worker.say("done", b"1", sid=session.id, ep=2, i=1, state="stopped", error=None)
    await worker.hear()

    assert (parked.type, resting) == ("parked", [session.id])
    assert scheduler.ended == [session.id]


async def test_a_given_session_that_died_waits_before_it_runs_again(
    world: World, links: Links, scheduler: Scheduler
):
    """
    As long as after any other death; nobody but the server can see to it.
    """
    session = await world.session()
    worker = await a_worker(links)
    await given(links, worker, session.id)
    loop = asyncio.get_running_loop()

    began = loop.time()
    head = {"signal": 9, "exit_code": None, "reason": "", "stderr": ""}
    worker.say("died", sid=session.id, ep=1, **head)
    died = await worker.hear()
    await asyncio.wait_for(scheduler.asked.wait(), PATIENCE)

    assert (died.type, died.head["outcome"], died.head["delay"]) == ("died_ok", "retry", 1.0)
    assert scheduler.woken == [session.id]
    assert loop.time() - began >= 1.0


async def test_the_worker_with_the_most_room_gets_it(world: World, links: Links):
    """
    Sessions are spread over all workers.
    """
    workers = [await a_worker(links, name) for name in ("wrk_1", "wrk_2")]
    for _ in range(4):
        assert links.give((await world.session()).id)

    assert [len([await w.hear() for _ in range(2)]) for w in workers] == [2, 2]


async def test_no_worker_gets_more_than_it_has_room_for(world: World, links: Links, scheduler: Scheduler):
    """
    Temporal finds the rest a worker, and what comes later does not overtake those who wait for that.
    """
    worker = await a_worker(links, slots=1)
    first, second, third = [(await world.session()).id for _ in range(3)]

    took = [links.give(first), links.give(second)]
    await worker.hear()
    worker.say("done", b"1", sid=first, ep=1, i=1, state="completed", error=None)
    await worker.hear()
    overtakes = links.give(third)
    epoch = await worker.claim(second)
    worker.say("done", b"1", sid=second, ep=epoch, i=1, state="completed", error=None)
    await worker.hear()

    assert took == [True, False]
    assert not overtakes
    assert links.give(third)
    assert scheduler.woken == []


async def test_claims_that_are_under_way_take_room(world: World, links: Links):
    """
    The answer to a claim is not there yet, and its place is not given away.
    """
    worker = await a_worker(links, slots=1)
    first, second = [(await world.session()).id for _ in range(2)]

    worker.say("claim", sid=first, activity_id="turn-1", attempt=1)
    await asyncio.sleep(0)

    assert not links.give(second)
    assert (await worker.hear()).head["sid"] == first


async def test_a_claim_of_a_place_that_was_given_away_is_refused(world: World, links: Links):
    """
    The worker has not heard yet of what it was given; it may run no more than it has room for.
    """
    worker = await a_worker(links, slots=1)
    first, second = [(await world.session()).id for _ in range(2)]

    assert links.give(first)
    worker.say("claim", sid=second, activity_id="turn-1", attempt=1)
    heard = {frame.type: frame.head for frame in [await worker.hear(), await worker.hear()]}

    assert heard["claimed"]["sid"] == first
    assert (heard["not_claimed"]["sid"], heard["not_claimed"]["why"]) == (second, "full")
    assert (await world.sessions.get(world.actor, second)).session.epoch == 0


@pytest.mark.parametrize("how", ["old", "stops", "none"])
async def test_who_cannot_take_sessions_is_given_none(world: World, links: Links, how: str):
    """
    A worker of the first release only asks, and one that stops would hand it back.
    """
    session = await world.session()
    if how != "none":
        worker = await a_worker(links, takes=how != "old")
    if how == "stops":
        worker.say("stopping")

    assert not links.give(session.id)


async def test_what_somebody_runs_already_is_not_given_twice(
    world: World, links: Links, scheduler: Scheduler
):
    """
    Two servers hear of a new session at once: one of them gives it, the other leaves it alone.
    """
    sid, _ = await world.running("wrk_other")
    worker = await a_worker(links)

    assert links.give(sid)
    async with asyncio.timeout(PATIENCE):
        while worker.link.room < 4:
            await asyncio.sleep(0.01)

    assert worker.link.held == {}
    assert (scheduler.sought, scheduler.resting) == ([], [])


async def test_a_session_that_is_not_due_is_left_to_temporals_timer(
    world: World, links: Links, scheduler: Scheduler
):
    """
    A wake too many costs nothing but a look.
    """
    sid, epoch = await world.running()
    until = world.journal.clock.now() + timedelta(days=1)
    await world.journal.commit([world.park(sid, epoch, until)])
    await a_worker(links)

    assert links.give(sid)
    await asyncio.wait_for(scheduler.asked.wait(), PATIENCE)

    assert scheduler.resting == [sid]


async def test_what_cannot_be_claimed_here_is_left_to_temporal(
    world: World, links: Links, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
):
    """
    It tries again until it can be, by whichever worker.
    """

    async def broken(*_: object) -> None:
        raise RuntimeError("no key")

    session = await world.session()
    await a_worker(links)
    monkeypatch.setattr(world.journal, "claim", broken)

    assert links.give(session.id)
    await asyncio.wait_for(scheduler.asked.wait(), PATIENCE)

    assert scheduler.sought == [session.id]


async def test_a_link_that_breaks_while_a_session_is_given_loses_it_to_another(
    world: World, links: Links, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
):
    """
    Whether its claim was committed or not.
    """
    claimed, go_on = asyncio.Event(), asyncio.Event()
    claim = world.journal.claim

    async def slow(*args: object) -> object:
        answer = await claim(*args)
        claimed.set()
        await go_on.wait()
        return answer

    session = await world.session()
    worker = await a_worker(links)
    monkeypatch.setattr(world.journal, "claim", slow)
    links.give(session.id)
    await asyncio.wait_for(claimed.wait(), PATIENCE)
    with world.store.notices.subscribed("work", session.id) as notice:
        await links.lost(worker.link)
        await asyncio.wait_for(notice.wait(), PATIENCE)

    assert scheduler.sought == [session.id]
    assert (await world.sessions.get(world.actor, session.id)).session.worker_id is None


async def test_a_lost_workers_given_session_should_run_elsewhere(
    world: World, links: Links, scheduler: Scheduler
):
    """
    There is no activity to fail: the session is announced as one that should run.
    """
    session = await world.session()
    worker = await a_worker(links)
    await given(links, worker, session.id)

    with world.store.notices.subscribed("work", session.id) as notice:
        await links.lost(worker.link)
        await asyncio.wait_for(notice.wait(), PATIENCE)

    assert scheduler.failed == []
    assert await world.claim(session.id, "wrk_2") == 2


def test_a_crowd_is_there_until_all_have_left_or_are_forgotten():
    """
    Another server's worker may have taken a session, and nobody here hears of that.
    """
    now = 100.0
    crowd = Crowd(lambda: now)
    before = bool(crowd)
    crowd.add("ses_1")
    crowd.add("ses_2")
    crowd.discard("ses_1")
    crowd.discard("ses_unknown")
    during = bool(crowd)
    now += FORGOTTEN - 1
    crowd.add("ses_2")
    still = bool(crowd)
    now += 2

    assert (before, during, still, bool(crowd)) == (False, True, True, False)
