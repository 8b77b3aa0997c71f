"""Sessions that the server gives to a worker which has room, without asking Temporal first."""

import asyncio
from datetime import timedelta

import pytest
from conversation import PATIENCE, FakeWorker, Scheduler, Tokens, a_record, serving, until
from world import World

from ninelives.run.wire import Frame
from ninelives_server.model.sessions import SessionState
from ninelives_server.sessions.crowd import Crowd
from ninelives_server.sessions.links import Links
from ninelives_server.sessions.needs import ANYTHING, Needs
from ninelives_server.store import sessions


async def a_worker(links: Links, worker_id: str = "wrk_1", **about: object) -> FakeWorker:
    """A worker of today's release: it takes what it is given."""
    worker = FakeWorker(links, worker_id)
    await worker.hello({"takes": True, **about})
    async with asyncio.timeout(PATIENCE):
        while not (worker.link.takes or worker.link.asks):
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
    assert (scheduler.woken, scheduler.sought, scheduler.ended) == ([], [], [])


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
    sought = list(scheduler.sought)
    await world.store.write(
        lambda tx: sessions.request_stop(tx, session.id, {"by": "u", "reason": "", "kill": False})
    )
    await given(links, worker, session.id)
    worker.say("done", b"1", sid=session.id, ep=2, i=1, state="stopped", error=None)
    await worker.hear()

    assert (parked.type, sought) == ("parked", [session.id])
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


async def test_who_waits_for_room_gets_it_in_order(world: World, links: Links, scheduler: Scheduler):
    """
    At once when a place is free; Temporal is not asked for what it could not do better.
    """
    worker = await a_worker(links, slots=1)
    first, second, third = [(await world.session()).id for _ in range(3)]

    took = [links.give(session_id) for session_id in (first, third, second, third)]
    order = []
    for _ in range(3):
        frame = await worker.hear()
        order.append(frame.head["sid"])
        worker.say("done", b"1", sid=order[-1], ep=1, i=1, state="completed", error=None)
        assert (await worker.hear()).type == "done_ok"

    assert took == [True] * 4
    assert order == [first, third, second]
    assert (scheduler.woken, scheduler.sought, scheduler.ended) == ([], [], [])


async def test_whoever_waits_runs_as_soon_as_a_worker_comes(world: World, links: Links):
    """
    Whether there was one before or not.
    """
    session = await world.session()

    assert links.give(session.id)
    worker = await a_worker(links)
    frame = await worker.hear()

    assert (frame.type, frame.head["sid"]) == ("claimed", session.id)


async def test_temporal_looks_too_where_it_reaches_workers_that_we_do_not(
    world: World, scheduler: Scheduler, tokens: Tokens
):
    """
    Those of other servers; also for sessions that have waited before such a worker came. At the end of one that
    was given here it is told, for it would look on.
    """
    async with serving(world, scheduler, tokens, beat=0.05) as links:
        worker = await a_worker(links, slots=1)
        first, second, third = [(await world.session()).id for _ in range(3)]
        assert links.give(first)
        await worker.hear()
        assert links.give(second)
        await world.worker("wrk_of_another_server")
        await asyncio.wait_for(scheduler.asked.wait(), PATIENCE)

        assert scheduler.sought == [second]
        scheduler.asked.clear()
        assert links.give(third)
        await asyncio.wait_for(scheduler.asked.wait(), PATIENCE)
        assert scheduler.sought == [second, third]
        worker.say("done", b"1", sid=first, ep=1, i=1, state="completed", error=None)
        assert [(await worker.hear()).type for _ in range(2)] == ["done_ok", "claimed"]
        worker.say("done", b"1", sid=second, ep=1, i=1, state="completed", error=None)
        assert (await worker.hear()).type == "done_ok"

        assert scheduler.ended == [second]


async def test_who_runs_elsewhere_waits_here_no_more(world: World, scheduler: Scheduler, tokens: Tokens):
    """
    Temporal found a worker of another server: nobody needs to try to claim it.
    """
    async with serving(world, scheduler, tokens, beat=0.05) as links:
        waiting = (await world.session()).id
        links.give(waiting)
        await world.claim(waiting, "wrk_of_another_server")

        async def is_forgotten() -> bool:
            return waiting not in links._gifts.crowd

        await until(is_forgotten)


async def test_a_claim_that_finds_no_room_waits_with_the_others(world: World, links: Links):
    """
    Temporal would ask for it again and again, and never come first.
    """
    worker = await a_worker(links, slots=1)
    first, second = [(await world.session()).id for _ in range(2)]
    await given(links, worker, first)

    worker.say("claim", sid=second, activity_id="turn-1", attempt=1)
    refused = await worker.hear()
    worker.say("done", b"1", sid=first, ep=1, i=1, state="completed", error=None)
    heard = [await worker.hear() for _ in range(2)]

    assert (refused.type, refused.head["why"]) == ("not_claimed", "full")
    assert [(frame.type, frame.head["sid"]) for frame in heard] == [("done_ok", first), ("claimed", second)]


async def test_claims_that_are_under_way_take_room(world: World, links: Links):
    """
    The answer to a claim is not there yet, and its place is not given away.
    """
    worker = await a_worker(links, slots=1)
    first, second = [(await world.session()).id for _ in range(2)]

    worker.say("claim", sid=first, activity_id="turn-1", attempt=1)
    await asyncio.sleep(0)
    links.give(second)

    assert (await worker.hear()).head["sid"] == first
    assert worker.link.held.keys() == {first}
    assert second in links._gifts.crowd


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
    A worker of the first release only asks, so that Temporal has to; one that stops would hand it back.
    """
    session = await world.session()
    if how != "none":
        worker = await a_worker(links, takes=how != "old")
    if how == "stops":
        worker.say("stopping")

    assert links.give(session.id) is (how != "old")
    assert session.id in links._gifts.crowd


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
    assert scheduler.sought == []


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

    assert scheduler.sought == [sid]


async def test_what_cannot_be_claimed_here_is_left_to_temporal(
    world: World, links: Links, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
):
    """
    It tries again until it can be, by whichever worker.
    """

    async def broken(*_: object, **__: object) -> None:
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

    async def slow(*args: object, **named: object) -> object:
        answer = await claim(*args, **named)
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

    assert scheduler.woken == [session.id]
    assert (await world.sessions.get(world.actor, session.id)).session.worker_id is None


async def test_a_session_that_is_declined_goes_to_somebody_else(
    world: World, links: Links, scheduler: Scheduler
):
    """
    Also where its worker says goodbye in the same breath, and although it is not durable.
    """
    session = await world.session(is_durable=False)
    worker = await a_worker(links)
    frame = await given(links, worker, session.id)

    with world.store.notices.subscribed("work", session.id) as notice:
        worker.say_all(
            ({"t": "stopping"}, b""),
            ({"t": "declined", "sid": session.id, "ep": 1}, b""),
            ({"t": "bye"}, b""),
        )
        await asyncio.wait_for(notice.wait(), PATIENCE)
    links.give(session.id)
    other = await a_worker(links, "wrk_2")
    again = await other.hear()

    assert frame.head["may_decline"]
    assert (again.type, again.head["sid"], again.head["ep"]) == ("claimed", session.id, 2)


@pytest.mark.parametrize("has_begun", [False, True])
async def test_what_a_lost_worker_has_not_begun_is_given_again(world: World, links: Links, has_begun: bool):
    """
    Over the real link: what was given and not begun runs elsewhere, although it is not durable; an answer that
    nobody heard counts as begun.
    """
    session = await world.session(is_durable=False)
    first = await a_worker(links, begins=True)
    gift = await given(links, first, session.id)
    if has_begun:
        first.say("begin", sid=session.id, ep=1)
        assert (await first.hear()).type == "begun"
    await links.lost(first.link)
    await until(lambda: _is_nobodys(world, session.id))
    second = await a_worker(links, "wrk_2", begins=True)
    links.give(session.id)
    if has_begun:
        await until(lambda: _is(world, session.id, SessionState.ERROR))
    else:
        again = await second.hear()
        assert (again.type, again.head["ep"], again.head["must_begin"]) == ("claimed", 2, True)

    assert gift.head["must_begin"] is True


async def _is_nobodys(world: World, session_id: str) -> bool:
    return (await world.sessions.get(world.actor, session_id)).session.worker_id is None


async def _is(world: World, session_id: str, state: SessionState) -> bool:
    return await world.state(session_id) is state


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


def test_a_session_keeps_its_place_while_it_is_offered():
    """
    Who was refused for what it needs is before all that came later, and waits for no more than that.
    """
    crowd, choosy = Crowd(), Needs(python="3.99")
    for name in ("a", "b", "c", "d"):
        crowd.add(name)
    first = crowd.take(lambda _: True)
    crowd.add("a", choosy)
    crowd.forget("c")
    second = crowd.take(lambda needs: needs == ANYTHING)
    crowd.add("e")
    crowd.add("b")
    rest = [crowd.take(lambda _: True) for _ in range(5)]

    assert (first, second) == (("a", ANYTHING), ("b", ANYTHING))
    assert rest == [("a", choosy), ("b", ANYTHING), ("d", ANYTHING), ("e", ANYTHING), None]
    assert not crowd


def test_a_session_that_should_run_again_meanwhile_is_not_forgotten():
    """
    Between the look at its row and the answer somebody may have released it.
    """
    crowd = Crowd()
    crowd.add("a")
    crowd.add("b")
    seen = crowd.first(10)
    crowd.add("a")
    for session_id, offers in seen.items():
        crowd.forget_if(session_id, offers)

    assert ("a" in crowd, "b" in crowd) == (True, False)


def test_one_that_should_run_again_while_its_claim_is_refused_is_not_forgotten():
    """
    A claim may find that somebody has the session, and before its answer is read that one has lost it.
    """
    crowd = Crowd()
    crowd.add("a")
    crowd.take(lambda _: True)
    crowd.add("a")  # it was released

    crowd.forget("a")  # what the claim said

    assert crowd.take(lambda _: True) == ("a", ANYTHING)
    crowd.forget("a")
    assert "a" not in crowd
    assert not crowd.first(10)
