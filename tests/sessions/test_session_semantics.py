"""The semantics version: a session goes on only where the rules of its journal are known."""

import pytest
import sqlalchemy as sa
from conversation import FakeWorker, Scheduler, Tokens
from world import World, record

from ninelives_server.errors import Invalid
from ninelives_server.model.projects import Candidate
from ninelives_server.model.sessions import CARRIED, SEMANTICS, SessionState
from ninelives_server.sessions import forks, journal
from ninelives_server.sessions.checks import Checks
from ninelives_server.sessions.journal import Claimed, NotClaimed
from ninelives_server.sessions.links import Links
from ninelives_server.sessions.needs import Needs
from ninelives_server.sessions.transfer import Transfer
from ninelives_server.store import tables

pytestmark = pytest.mark.store

NEWER = max(CARRIED) + 1


async def _began_with(world: World, session_id: str, version: int) -> None:
    """Have a session begun by another release."""
    row = tables.sessions
    await world.store.write(
        lambda tx: (
            tx.connection.execute(sa.update(row).where(row.c.id == session_id).values(semantics=version))
            and None
        )
    )


async def _interrupted(world: World, version: int) -> str:
    """Return a session of another release that has done a step and waits for a worker."""
    sid, epoch = await world.running()
    await world.journal.commit([world.put(sid, epoch, record())])
    await world.journal.release(sid, epoch)
    await _began_with(world, sid, version)
    return sid


async def test_a_session_that_is_cut_off_ends_and_says_why(world: World):
    """
    No later release knows its rules, and to run it by others might do a step twice: the error names both sides
    and the way out.
    """
    sid = await _interrupted(world, 0)

    claimed = await world.journal.claim("wrk_1", sid)

    detail = await world.sessions.get(world.actor, sid)
    assert claimed == NotClaimed("ended")
    assert detail.session.state is SessionState.ERROR
    assert detail.error is not None
    assert detail.error["type"] == "SemanticsNotCarried"
    assert (
        "began with semantics version 0, and this release of Ninelives carries 1" in detail.error["message"]
    )
    assert f"ninelives session fork {sid} --from-step 1" in detail.error["message"]


async def test_a_session_of_a_newer_release_is_left_to_it(world: World):
    """
    While servers and workers are being upgraded one after the other, the older ones must not touch it.
    """
    sid = await _interrupted(world, NEWER)

    claimed = await world.journal.claim("wrk_1", sid)

    session = (await world.sessions.get(world.actor, sid)).session
    assert claimed == NotClaimed("semantics", needs=Needs(semantics=NEWER))
    assert (session.state, session.worker_id) == (SessionState.RUNNING, None)
    newer = await world.journal.claim("wrk_2", sid, frozenset({1, NEWER}))
    assert isinstance(newer, Claimed)


@pytest.mark.parametrize("version", [0, NEWER])
async def test_a_session_without_records_takes_the_rules_of_its_worker(world: World, version: int):
    """
    Whether a newer server made it, whose workers are not upgraded yet, or an older one; from then on it keeps to them.
    """
    session = await world.session()
    await _began_with(world, session.id, version)

    first = await world.journal.claim("wrk_1", session.id, frozenset({SEMANTICS}))
    assert isinstance(first, Claimed)
    await world.journal.commit([world.put(session.id, first.epoch, record())])
    await world.journal.release(session.id, first.epoch)
    second = await world.journal.claim("wrk_2", session.id, frozenset({NEWER}))

    assert first.start["semantics"] == SEMANTICS
    assert second == NotClaimed("semantics", needs=Needs(semantics=SEMANTICS))


async def test_a_session_that_is_not_durable_has_no_rules_to_keep_to(world: World):
    """
    It has no journal to be read.
    """
    session = await world.session(is_durable=False)
    await _began_with(world, session.id, 0)

    assert isinstance(await world.journal.claim("wrk_1", session.id), Claimed)


@pytest.mark.parametrize(("said", "gets"), [({}, "claimed"), ({"semantics": [NEWER]}, "not_claimed")])
async def test_a_worker_says_which_versions_it_carries(world: World, said: dict[str, object], gets: str):
    """
    One of another release than the server gets what it can run; the first release did not say, and carries 1.
    """
    links = Links(
        store=world.store, journal=world.journal, tokens=Tokens(), scheduler=Scheduler(), keep=world.keep
    )
    session = await world.session()
    worker = FakeWorker(links)
    await worker.hello(about=said)

    worker.say("claim", sid=session.id, activity_id="turn-1", attempt=1)
    frame = await worker.hear()

    assert frame.type == gets
    assert frame.head.get("why") == ("semantics" if gets == "not_claimed" else None)


async def test_a_check_names_the_sessions_that_its_worker_cannot_read(world: World):
    """
    It says so instead of finding a difference where there is none.
    """
    sid, epoch = await world.running()
    await world.journal.commit([world.put(sid, epoch, record())])
    links = Links(
        store=world.store, journal=world.journal, tokens=Tokens(), scheduler=Scheduler(), keep=world.keep
    )
    transfer = Transfer(store=world.store, vault=world.vault)
    await FakeWorker(links).hello(about={"semantics": [NEWER]})
    checks = Checks(store=world.store, starts=world.starts, links=links, transfer=transfer)
    candidate = Candidate(project_id=world.project.id, sha256="0" * 64, requirements=(), bundle=b"")

    report = await checks.run(world.actor, candidate)

    [finding] = report.findings
    assert (finding.session_id, finding.outcome) == (sid, "failed")
    assert finding.message == f"its journal is of semantics version 1; the worker carries {NEWER}"


async def test_a_fork_keeps_to_the_rules_of_its_records(world: World, monkeypatch: pytest.MonkeyPatch):
    """
    One from the first step has none, and begins with today's.
    """
    both = frozenset({SEMANTICS, NEWER})
    for module in (forks, journal):
        monkeypatch.setattr(module, "CARRIED", both)
    source = await _interrupted(world, NEWER)

    whole, bare = [
        (await world.sessions.fork(world.actor, source, from_step=step)).session.id for step in (2, 1)
    ]
    claims = [await world.journal.claim("wrk_1", sid, both) for sid in (whole, bare)]

    assert [c.start["semantics"] for c in claims if isinstance(c, Claimed)] == [NEWER, SEMANTICS]
    assert isinstance(await world.journal.claim("wrk_1", source, frozenset({SEMANTICS})), NotClaimed)


async def test_a_journal_that_is_cut_off_can_be_forked_from_its_first_step_only(world: World):
    """
    That is the way out that its error names.
    """
    source = await _interrupted(world, 0)
    await world.journal.claim("wrk_1", source)

    with pytest.raises(Invalid, match="of semantics version 0, and this release carries 1"):
        await world.sessions.fork(world.actor, source, from_step=2)
    made = (await world.sessions.fork(world.actor, source, from_step=1)).session

    assert isinstance(await world.journal.claim("wrk_1", made.id), Claimed)
