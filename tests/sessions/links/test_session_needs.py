"""Sessions that not every worker can go on with: who gets them, and what people read where nobody can."""

import asyncio
from collections.abc import Mapping

import pytest
import sqlalchemy as sa
from conversation import PATIENCE, PYTHON, FakeWorker, Scheduler, Tokens, serving, until
from world import World, record

from ninelives_server.errors import DatabaseAway
from ninelives_server.model.sessions import CARRIED, SEMANTICS, SessionState
from ninelives_server.sessions.links import Links
from ninelives_server.sessions.needs import ANYTHING, Kind, Needs, reason
from ninelives_server.store import tables

OTHER = "3.99"
NEWER = max(CARRIED) + 1


async def a_worker(links: Links, worker_id: str, **about: object) -> FakeWorker:
    """A worker that takes what it is given."""
    worker = FakeWorker(links, worker_id)
    await worker.hello({"takes": True, **about})
    async with asyncio.timeout(PATIENCE):
        while not worker.link.takes:
            await asyncio.sleep(0.01)
    return worker


async def interrupted(world: World) -> str:
    """Return a session that has done a step and waits for a worker."""
    sid, epoch = await world.running()
    await world.journal.commit([world.put(sid, epoch, record())])
    await world.journal.release(sid, epoch)
    return sid


async def needs_rules(world: World, session_id: str, version: int) -> None:
    """Have a session begun by another release."""
    row = tables.sessions
    query = sa.update(row).where(row.c.id == session_id).values(semantics=version)
    await world.store.write(lambda tx: tx.connection.execute(query) and None)


async def says(world: World, session_id: str, expected: str) -> None:
    """Wait until a session says so why it does not run."""

    async def does() -> bool:
        return (await world.sessions.get(world.actor, session_id)).session.queue_reason == expected

    await until(does)


async def test_only_a_worker_that_can_run_it_gets_a_session(world: World, links: Links, scheduler: Scheduler):
    """
    However much room another one has; nobody but the server finds out, and nothing is said to people.
    """
    sid = await interrupted(world)
    other = await a_worker(links, "wrk_other", python=OTHER, slots=20)
    fitting = await a_worker(links, "wrk_fitting", slots=1)

    assert links.give(sid)
    frame = await fitting.hear()

    assert (frame.type, frame.head["sid"]) == ("claimed", sid)
    assert other.link.held == {}
    assert (scheduler.woken, scheduler.sought) == ([], [])


async def test_a_session_without_records_runs_anywhere(world: World, links: Links):
    """
    It takes the Python of its worker.
    """
    other = await a_worker(links, "wrk_other", python=OTHER)

    links.give((await world.session()).id)

    assert (await other.hear()).head["start"]["python"] == OTHER


async def test_one_that_nobody_can_run_says_what_it_needs(world: World, links: Links):
    """
    It holds nobody up, and runs as soon as a worker comes that can run it.
    """
    sid = await interrupted(world)
    other = await a_worker(links, "wrk_other", python=OTHER, slots=1)

    links.give(sid)
    await says(world, sid, f"needs Python {PYTHON}; connected workers have {OTHER}")
    behind = (await world.session()).id
    links.give(behind)
    passed = await other.hear()
    fitting = await a_worker(links, "wrk_fitting")
    claimed = await fitting.hear()

    assert passed.head["sid"] == behind
    assert claimed.head["sid"] == sid
    await says(world, sid, "")


async def test_the_reason_goes_when_a_worker_could_run_it_and_comes_back_with_its_loss(
    world: World, links: Links
):
    """
    It waits for room then, like any other.
    """
    sid = await interrupted(world)
    await a_worker(links, "wrk_other", python=OTHER)
    links.give(sid)
    await says(world, sid, f"needs Python {PYTHON}; connected workers have {OTHER}")

    fitting = await a_worker(links, "wrk_fitting", slots=0)
    await says(world, sid, "waits for a free slot of a worker")
    fitting.say("bye")
    await says(world, sid, f"needs Python {PYTHON}; connected workers have {OTHER}")


async def test_a_reason_that_could_not_be_written_is_written_later(
    world: World, scheduler: Scheduler, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
):
    """
    The database was away just then.
    """
    explain, tries = world.journal.explain, []

    async def flaky(reasons: Mapping[str, str]) -> None:
        tries.append(reasons)
        if len(tries) == 1:
            raise DatabaseAway("the database does not answer")
        await explain(reasons)

    monkeypatch.setattr(world.journal, "explain", flaky)
    sid = await interrupted(world)
    async with serving(world, scheduler, tokens, beat=0.05) as links:
        await a_worker(links, "wrk_other", python=OTHER)
        links.give(sid)
        await says(world, sid, f"needs Python {PYTHON}; connected workers have {OTHER}")

    assert len(tries) == 2


async def test_a_claim_that_temporal_brought_says_so_too(world: World, links: Links):
    """
    Whoever asks for it, what it needs is known from then on.
    """
    sid = await interrupted(world)
    other = FakeWorker(links)
    await other.hello({"python": OTHER})

    other.say("claim", sid=sid, activity_id="turn-1", attempt=1)
    refused = await other.hear()

    assert (refused.type, refused.head["why"]) == ("not_claimed", "python")
    await says(world, sid, f"needs Python {PYTHON}; connected workers have {OTHER}")


async def test_a_session_of_a_newer_release_says_so(world: World, links: Links):
    """
    While an installation is being upgraded, an older worker takes nothing that a newer one has begun.
    """
    sid = await interrupted(world)
    await needs_rules(world, sid, NEWER)
    older = await a_worker(links, "wrk_older")

    links.give(sid)
    await says(world, sid, f"needs semantics version {NEWER}; connected workers carry {SEMANTICS}")
    newer = await a_worker(links, "wrk_newer", semantics=[SEMANTICS, NEWER])

    assert (await newer.hear()).head["sid"] == sid
    assert older.link.held == {}
    assert await world.state(sid) is SessionState.RUNNING


async def test_what_workers_of_another_server_have_is_known(
    world: World, links: Links, scheduler: Scheduler, tokens: Tokens
):
    """
    Of each its release is shown, and a session that one of them could run does not say that nobody can.
    """
    sid = await interrupted(world)
    await needs_rules(world, sid, NEWER)
    async with serving(world, scheduler, tokens, beat=0.05) as here:
        await a_worker(here, "wrk_older", release="3.0.0")
        here.give(sid)
        await says(world, sid, f"needs semantics version {NEWER}; connected workers carry {SEMANTICS}")
        await a_worker(links, "wrk_newer", release="4.0.0", semantics=[SEMANTICS, NEWER])

        await says(world, sid, "waits for a free slot of a worker")
        listed = await here.workers()

    assert {worker.id: worker.release for worker in listed} == {"wrk_older": "3.0.0", "wrk_newer": "4.0.0"}


async def test_the_list_says_so_too(world: World, links: Links):
    """
    Of a fork, which has records before it has started, as well: it is not about to start.
    """
    source = await interrupted(world)
    sid = (await world.sessions.fork(world.actor, source, from_step=2)).session.id
    await a_worker(links, "wrk_other", python=OTHER)
    links.give(sid)
    expected = f"needs Python {PYTHON}; connected workers have {OTHER}"
    await says(world, sid, expected)

    listed = {item.id: item for item in (await world.sessions.list(world.actor)).items}

    assert (listed[sid].state, listed[sid].queue_reason) == (SessionState.CREATED, expected)


@pytest.mark.parametrize(
    ("needs", "kinds", "said"),
    [
        (ANYTHING, [Kind("3.11", frozenset({1}))], ""),
        (Needs("3.12"), [Kind("", frozenset({1}))], ""),
        (Needs("3.12", 1), [Kind("3.12", frozenset({1}))], ""),
        (Needs("3.12"), [], "needs Python 3.12; no worker is connected"),
        (
            Needs("3.12", 1),
            [Kind("3.13", frozenset({1})), Kind("3.11", frozenset({1, 2}))],
            "needs Python 3.12; connected workers have 3.11, 3.13",
        ),
        (
            Needs("3.12", 2),
            [Kind("3.11", frozenset({1}))],
            "needs Python 3.12 and semantics version 2; connected workers have 3.11 and carry 1",
        ),
        (
            Needs("3.12", 2),
            [Kind("3.12", frozenset({1})), Kind("3.11", frozenset({1, 2}))],
            "needs Python 3.12 and semantics version 2; connected workers have 3.11, 3.12 and carry 1, 2, none of them both",
        ),
    ],
)
def test_a_reason_names_what_is_lacking(needs: Needs, kinds: list[Kind], said: str):
    """
    And what there is instead.
    """
    assert reason(needs, kinds) == said
