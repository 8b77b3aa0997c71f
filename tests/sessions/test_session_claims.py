"""`sessions.journal`: which worker may run a session, and what it is told."""

import asyncio
from dataclasses import replace

import pytest
from world import World, record

from ninelives_server.model.sessions import SessionState
from ninelives_server.sessions.journal import Claimed, NotClaimed
from ninelives_server.sessions.records import Acked, Begun, Buried, Refused

pytestmark = pytest.mark.store


async def test_a_new_session_is_claimed_once(world: World):
    """
    The first claim gets epoch 1 and all that a process needs; a second worker is told that it is held.
    """
    session = await world.session()

    claimed = await world.journal.claim("wrk_1", session.id)
    second = await world.journal.claim("wrk_2", session.id)

    assert isinstance(claimed, Claimed)
    assert claimed.epoch == 1
    assert claimed.records == 0
    assert claimed.build_sha256 == world.build.sha256
    assert claimed.start["event"] == {"data": {"lead": "00Q"}, "event_id": "evt_1", "event_type": "lead"}
    assert claimed.start["env"]["CHANNEL"] == "#sales"
    assert claimed.start["env"]["crm__oauth_access_token"] == "00Dxx!access"
    assert claimed.start["secret_names"] == {"00Dxx!access": "crm__oauth_access_token"}
    assert second == NotClaimed("held")
    shown = (await world.sessions.get(world.actor, session.id)).session
    assert (shown.state, shown.worker_id, shown.epoch) == (SessionState.RUNNING, "wrk_1", 1)
    assert shown.started_at is not None


async def test_of_many_claims_at_once_one_wins(world: World):
    """
    However many workers ask at the same moment, one epoch is handed out.
    """
    session = await world.session()

    answers = await asyncio.gather(*(world.journal.claim(f"wrk_{i}", session.id) for i in range(8)))

    assert sorted(type(answer).__name__ for answer in answers) == ["Claimed"] + ["NotClaimed"] * 7


async def test_an_unknown_session_is_not_claimed(world: World):
    """
    Temporal may remember what our database does not: that is no error.
    """
    assert await world.journal.claim("wrk_1", "ses_gone") == NotClaimed("unknown")


async def test_variables_are_pinned_and_tokens_are_fresh(world: World):
    """
    A second process sees the variables of the first, and the access token of now.
    """
    sid, epoch = await world.running()
    await world.journal.release(sid, epoch)
    world.variables.values["CHANNEL"] = "#changed"
    world.accounts.token = "00Dxx!newer"

    claimed = await world.journal.claim("wrk_2", sid)

    assert isinstance(claimed, Claimed)
    assert claimed.epoch == 2
    assert claimed.start["env"]["CHANNEL"] == "#sales"
    assert claimed.start["env"]["crm__oauth_access_token"] == "00Dxx!newer"


async def test_a_second_event_and_trigger_makes_no_second_session(world: World):
    """
    Dispatch is idempotent: the pair of event and trigger is unique.
    """
    new = world.a_new(event_id="evt_7", trigger_id="trg_7")
    again = replace(new, id="ses_other")

    first = await world.store.write(lambda tx: world.starts.create(tx, new))
    second = await world.store.write(lambda tx: world.starts.create(tx, again))

    assert first is not None
    assert second is None


async def test_a_session_that_is_not_durable_runs_once(world: World):
    """
    Running it again would do again what it has done: it ends in an error that says so.
    """
    sid, epoch = await world.running(is_durable=False)
    await world.journal.release(sid, epoch)

    assert await world.journal.claim("wrk_2", sid) == NotClaimed("ended")

    detail = await world.sessions.get(world.actor, sid)
    assert detail.session.state is SessionState.ERROR
    assert detail.error is not None
    assert "only durable sessions go on" in detail.error["message"]


async def test_what_its_worker_has_not_begun_runs_elsewhere(world: World):
    """
    Even if it is not durable; only its worker can say so, and only of its own attempt.
    """
    sid, epoch = await world.running(is_durable=False)

    others = [
        await world.journal.take_back("wrk_2", sid, epoch),
        await world.journal.take_back("wrk_1", sid, epoch + 1),
    ]
    taken = await world.journal.take_back("wrk_1", sid, epoch)
    detail = await world.sessions.get(world.actor, sid)
    again = await world.claim(sid, "wrk_2")

    assert (others, taken) == ([False, False], True)
    assert (detail.session.state, detail.session.started_at) == (SessionState.CREATED, None)
    assert again == epoch + 1
    assert await world.state(sid) is SessionState.RUNNING


async def a_gift(world: World, worker_id: str = "wrk_1") -> tuple[str, int]:
    """A session that is not durable, with a worker that says when its code begins."""
    session = await world.session(is_durable=False)
    claimed = await world.journal.claim(worker_id, session.id, begins=True)
    assert isinstance(claimed, Claimed)
    assert claimed.must_begin
    return session.id, claimed.epoch


async def test_what_has_not_begun_when_its_worker_is_lost_runs_elsewhere(world: World):
    """
    Although it is not durable, and as often as it takes; it counts from when it begins.
    """
    sid, epoch = await a_gift(world)
    assert await world.journal.release(sid, epoch)
    between = (await world.sessions.get(world.actor, sid)).session

    again = await world.journal.claim("wrk_2", sid, begins=True)
    begun = await world.begin(sid, epoch + 1)
    shown = (await world.sessions.get(world.actor, sid)).session
    resent = await world.begin(sid, epoch + 1)

    assert (between.state, between.started_at) == (SessionState.CREATED, None)
    assert isinstance(again, Claimed)
    assert (begun, resent) == (Begun(), Begun())
    assert shown.started_at is not None
    assert (await world.sessions.get(world.actor, sid)).session.started_at == shown.started_at


async def test_what_may_have_begun_when_its_worker_is_lost_runs_no_more(world: World):
    """
    Whether its worker has heard the answer does not matter: it may have.
    """
    sid, epoch = await a_gift(world)
    await world.begin(sid, epoch)
    await world.journal.release(sid, epoch)

    assert await world.journal.claim("wrk_2", sid, begins=True) == NotClaimed("ended")
    assert await world.state(sid) is SessionState.ERROR


async def test_only_who_holds_a_session_begins_it(world: World):
    """
    A worker that was taken for dead is not let go on, whoever has the session now.
    """
    sid, epoch = await a_gift(world)
    await world.journal.release(sid, epoch)
    unheld = await world.begin(sid, epoch)
    await world.journal.claim("wrk_2", sid, begins=True)

    assert (unheld, await world.begin(sid, epoch)) == (Refused("fenced"), Refused("fenced"))
    assert (await world.sessions.get(world.actor, sid)).session.started_at is None


async def test_what_was_stopped_before_it_began_never_does(world: World):
    """
    It ends where it asks to begin.
    """
    sid, epoch = await a_gift(world)
    await world.sessions.stop(world.actor, sid)

    assert await world.begin(sid, epoch) == Refused("fenced")
    assert await world.state(sid) is SessionState.STOPPED


async def test_a_process_that_dies_before_it_begins_is_started_again(world: World):
    """
    A few times, as that of a durable session. Where there could be no process at all, it ends at once.
    """
    sid, epoch = await a_gift(world)
    [died] = await world.journal.commit([world.died(sid, epoch)])
    between = (await world.sessions.get(world.actor, sid)).session
    await world.journal.claim("wrk_1", sid, begins=True)
    [failed] = await world.journal.commit([world.died(sid, epoch + 1, signal=None, reason="no such package")])

    assert (died, failed) == (Buried("retry", 1.0), Buried("error", 0))
    assert (between.state, between.crashes) == (SessionState.CREATED, 1)
    assert await world.state(sid) is SessionState.ERROR


async def test_a_worker_that_never_says_when_it_begins_may_have(world: World):
    """
    One of an earlier release: with the claim the session counts as begun.
    """
    session = await world.session(is_durable=False)
    claimed = await world.journal.claim("wrk_1", session.id)

    assert isinstance(claimed, Claimed)
    assert not claimed.must_begin
    assert (await world.sessions.get(world.actor, session.id)).session.started_at is not None


async def test_what_its_worker_has_not_begun_it_keeps_when_it_comes_back(world: World):
    """
    Before somebody else has it.
    """
    sid, epoch = await a_gift(world)
    await world.journal.release(sid, epoch)

    assert await world.journal.adopt("wrk_1", sid, epoch)
    assert await world.begin(sid, epoch) == Begun()
    assert await world.state(sid) is SessionState.RUNNING


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (
            {"signal": None, "reason": "shutdown"},
            "interrupted by shutdown after its code had begun; durable sessions go on instead",
        ),
        ({"signal": 9}, "its process died after its code had begun: killed by signal 9"),
        (
            {"signal": 9, "reason": "it sent a frame that is none of a session's: its header is no JSON"},
            "or of a library, has written to it (to a file descriptor that is not its own)",
        ),
        (
            {"limit": {"name": "cpu_seconds", "limit": 5, "used": 5.1}},
            "it was killed after its code had begun",
        ),
    ],
)
async def test_the_error_of_what_runs_once_does_not_speak_of_steps(world: World, how, said):
    """
    It has none: "before its first step" would say that nothing of it had run.
    """
    sid, epoch = await a_gift(world)
    await world.begin(sid, epoch)

    await world.journal.commit([world.died(sid, epoch, **how)])

    detail = await world.sessions.get(world.actor, sid)
    assert detail.error is not None
    assert detail.error["message"].endswith(said)


async def test_what_was_given_back_can_be_stopped(world: World):
    """
    Without running.
    """
    sid, epoch = await world.running(is_durable=False)
    await world.journal.take_back("wrk_1", sid, epoch)

    await world.sessions.stop(world.actor, sid)

    assert await world.journal.claim("wrk_2", sid) == NotClaimed("ended")
    assert await world.state(sid) is SessionState.STOPPED


async def test_a_worker_that_came_back_goes_on_with_its_sessions(world: World):
    """
    After a restart of the server, what still runs under the epoch of the database runs on.
    """
    kept, epoch = await world.running()
    moved, old = await world.running()
    await world.journal.release(moved, old)
    await world.claim(moved, "wrk_2")

    assert await world.journal.adopt("wrk_1", kept, epoch)
    assert not await world.journal.adopt("wrk_1", moved, old)
    assert not await world.journal.adopt("wrk_1", "ses_unknown", 1)


async def test_a_released_session_may_be_adopted_before_somebody_else_has_it(world: World):
    """
    A link that was gone for a moment too long: nobody has claimed it yet, so it need not start again.
    """
    sid, epoch = await world.running()
    assert await world.journal.release(sid, epoch)
    assert not await world.journal.release(sid, epoch)

    assert await world.journal.adopt("wrk_1", sid, epoch)
    assert await world.journal.commit([world.put(sid, epoch, record(0))]) == [Acked(1)]
