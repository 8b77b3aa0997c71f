"""Python's minor version: records are read by the one that made them, and by no other."""

import pytest
from conversation import PYTHON, FakeWorker, Scheduler, Tokens
from world import World, record

from ninelives_server.model.projects import Candidate
from ninelives_server.model.sessions import CARRIED, SEMANTICS, SessionState
from ninelives_server.sessions.checks import Checks
from ninelives_server.sessions.journal import Claimed, NotClaimed
from ninelives_server.sessions.links import Links
from ninelives_server.sessions.needs import Needs
from ninelives_server.sessions.transfer import Transfer

pytestmark = pytest.mark.store

OTHER = "3.99"
#: What the sessions here ask of a worker once they have records.
NEEDS = Needs(PYTHON, SEMANTICS)


async def _interrupted(world: World) -> str:
    """Return a session that has done a step and waits for a worker."""
    sid, epoch = await world.running()
    await world.journal.commit([world.put(sid, epoch, record())])
    await world.journal.release(sid, epoch)
    return sid


async def test_a_session_with_records_waits_for_the_python_that_made_them(world: World):
    """
    Pickles and compiled code differ between minor versions: the refusal says what it needs, and it goes on there.
    """
    sid = await _interrupted(world)

    claimed = await world.journal.claim("wrk_1", sid, CARRIED, OTHER)

    session = (await world.sessions.get(world.actor, sid)).session
    assert claimed == NotClaimed("python", needs=NEEDS)
    assert (session.state, session.worker_id, session.epoch) == (SessionState.RUNNING, None, 1)
    assert isinstance(await world.journal.claim("wrk_2", sid, CARRIED, PYTHON), Claimed)


async def test_a_session_without_records_takes_the_python_of_its_worker(world: World):
    """
    The server's own says nothing about the workers'; from its first record on it keeps to that of its worker.
    """
    session = await world.session()

    first = await world.journal.claim("wrk_1", session.id, CARRIED, OTHER)
    assert isinstance(first, Claimed)
    await world.journal.release(session.id, first.epoch)
    second = await world.journal.claim("wrk_2", session.id, CARRIED, PYTHON)
    assert isinstance(second, Claimed)
    await world.journal.commit([world.put(session.id, second.epoch, record())])
    await world.journal.release(session.id, second.epoch)
    third = await world.journal.claim("wrk_1", session.id, CARRIED, OTHER)

    assert [first.start["python"], second.start["python"]] == [OTHER, PYTHON]
    assert third == NotClaimed("python", needs=NEEDS)


async def test_a_fork_from_the_first_step_is_free_to_run_anywhere(world: World):
    """
    That is the way out where no worker has the old version any more.
    """
    source = await _interrupted(world)

    whole, bare = [
        (await world.sessions.fork(world.actor, source, from_step=step)).session.id for step in (2, 1)
    ]

    assert await world.journal.claim("wrk_1", whole, CARRIED, OTHER) == NotClaimed("python", needs=NEEDS)
    assert isinstance(await world.journal.claim("wrk_1", bare, CARRIED, OTHER), Claimed)


@pytest.mark.parametrize(("said", "gets"), [(PYTHON, "claimed"), ("", "claimed"), (OTHER, "not_claimed")])
async def test_a_worker_says_which_python_it_has(world: World, said: str, gets: str):
    """
    In its first frame; one that does not say is taken at its word.
    """
    links = Links(
        store=world.store, journal=world.journal, tokens=Tokens(), scheduler=Scheduler(), keep=world.keep
    )
    sid = await _interrupted(world)
    worker = FakeWorker(links)
    await worker.hello(about={"python": said})

    worker.say("claim", sid=sid, activity_id="turn-1", attempt=1)
    frame = await worker.hear()

    assert frame.type == gets
    assert frame.head.get("why") == ("python" if gets == "not_claimed" else None)


async def test_a_check_names_the_sessions_of_another_python(world: World):
    """
    It says so instead of finding a difference where there is none.
    """
    sid, epoch = await world.running()
    await world.journal.commit([world.put(sid, epoch, record())])
    links = Links(
        store=world.store, journal=world.journal, tokens=Tokens(), scheduler=Scheduler(), keep=world.keep
    )
    transfer = Transfer(store=world.store, vault=world.vault)
    await FakeWorker(links).hello(about={"python": OTHER})
    checks = Checks(store=world.store, starts=world.starts, links=links, transfer=transfer)
    candidate = Candidate(project_id=world.project.id, sha256="0" * 64, requirements=(), bundle=b"")

    report = await checks.run(world.actor, candidate)

    [finding] = report.findings
    assert (finding.session_id, finding.outcome) == (sid, "failed")
    assert finding.message == f"its records were made by Python {PYTHON}; the worker has {OTHER}"
