"""`sessions.links`: what becomes of a worker that is lost, and of its sessions."""

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from conversation import PATIENCE, PYTHON, FakeWorker, Scheduler, Tokens, a_record, serving, until
from world import World

from ninelives_server.errors import DatabaseAway
from ninelives_server.model.sessions import CARRIED, SessionState
from ninelives_server.sessions.hello import Hello
from ninelives_server.sessions.links import Links
from ninelives_server.store import sessions, sweeps, tables, workers
from ninelives_server.store.core import Store


async def test_a_lost_worker_loses_its_sessions(world: World, links: Links, scheduler: Scheduler):
    """
    After the grace its session is released and its activity failed by id: Temporal starts it elsewhere.
    """
    session = await world.session()
    worker = FakeWorker(links)
    await worker.hello()
    await worker.claim(session.id, "turn-7")

    await links.lost(worker.link)
    await asyncio.wait_for(scheduler.asked.wait(), PATIENCE)

    assert scheduler.failed == [(session.id, "turn-7")]
    assert await world.claim(session.id, "wrk_2") == 2

    async def is_marked() -> bool:
        return not await links.workers()

    await until(is_marked)


async def test_a_worker_that_says_goodbye_is_not_lost(world: World, links: Links, capsys):
    """
    The server hangs up at once and warns of nothing, then or later; what it still held runs elsewhere.
    """
    session = await world.session()
    worker = FakeWorker(links)
    await worker.hello()
    await worker.claim(session.id)

    async def is_closed() -> bool:
        return worker.link.is_closed

    worker.say("bye")
    await until(is_closed)
    await links.lost(worker.link)
    found = await world.store.read(lambda tx: sessions.by_id(tx, session.id))
    silent = await world.store.read(lambda tx: workers.silent(tx, since=timedelta(seconds=-1)))

    assert (found.state, found.worker_id) == (SessionState.RUNNING, None)
    assert silent == []
    said = capsys.readouterr().out
    assert "worker.left" in said
    assert "worker.lost" not in said


class Flaky:
    """A store whose database may be away."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.notices = store.notices
        self.is_away = False
        self.refused = 0

    def _check(self) -> None:
        if self.is_away:
            self.refused += 1
            raise DatabaseAway("the database does not answer")

    async def read(self, work):
        self._check()
        return await self._store.read(work)

    async def write(self, work):
        self._check()
        return await self._store.write(work)


async def test_a_worker_that_is_lost_during_an_outage_loses_its_sessions_after_it(
    world: World, scheduler: Scheduler, tokens: Tokens
):
    """
    Worker and database may go together: when the database is back, the sessions run elsewhere.
    """
    store = Flaky(world.store)
    session = await world.session()
    links = Links(
        store=store,
        journal=world.journal,
        tokens=tokens,
        scheduler=scheduler,
        keep=world.keep,
        grace=0.05,
        silent=0.5,
        beat=0.05,
    )
    running = asyncio.create_task(links.run())
    worker = FakeWorker(links)
    await worker.hello()
    await worker.claim(session.id)
    store.is_away = True
    await links.lost(worker.link)

    async def was_refused() -> bool:
        return store.refused > 0 and not links._lost

    async def is_free() -> bool:
        return (await world.sessions.get(world.actor, session.id)).session.worker_id is None

    await until(was_refused)
    store.is_away = False
    await until(is_free)

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_an_outage_makes_no_worker_silent(world: World, scheduler: Scheduler, tokens: Tokens):
    """
    No server could write down whom it saw: others get the time to do it before their workers are buried.
    """
    store = Flaky(world.store)
    links = Links(
        store=store,
        journal=world.journal,
        tokens=tokens,
        scheduler=scheduler,
        keep=world.keep,
        silent=3.0,
        beat=0.05,
    )
    running = asyncio.create_task(links.run())
    worker = FakeWorker(links)
    await worker.hello()

    async def has_failed() -> bool:
        worker.say("runs", sessions=[])
        return store.refused > 2

    async def is_seen() -> bool:
        worker.say("runs", sessions=[])
        found = {worker.id: worker.seen_at for worker in await links.workers()}
        return "wrk_1" in found

    for _ in range(16):  # longer than the server keeps quiet after its own start
        worker.say("runs", sessions=[])
        await asyncio.sleep(0.2)
    await world.worker("wrk_other")
    sid, _ = await world.running("wrk_other")
    worker.say("runs", sessions=[])
    store.is_away = True
    await until(has_failed)
    stale = tables.workers.update().where(tables.workers.c.id == "wrk_other")
    await world.store.write(
        lambda tx: tx.connection.execute(stale.values(seen_at=tx.now - timedelta(seconds=60))) and None
    )
    store.is_away = False
    await until(is_seen)
    await asyncio.sleep(0.3)  # some beats
    held = (await world.sessions.get(world.actor, sid)).session.worker_id

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert held == "wrk_other"


async def test_a_worker_that_comes_back_in_time_keeps_its_sessions(
    world: World, scheduler: Scheduler, tokens: Tokens
):
    """
    A broken connection is not a broken worker; the activity is known still.
    """
    async with serving(world, scheduler, tokens, grace=5) as links:
        session = await world.session()
        first = FakeWorker(links)
        await first.hello()
        epoch = await first.claim(session.id)
        await links.lost(first.link)

        second = FakeWorker(links)
        await second.hello(**{session.id: epoch})
        second.say_all(a_record(session.id, epoch))
        ack = await second.hear()
        second.say("done", b"1", sid=session.id, ep=epoch, i=2, state="completed", error=None)
        await second.hear()

    assert ack.type == "ack"
    assert scheduler.failed == []
    assert scheduler.woken == []


async def test_a_worker_that_comes_back_without_a_session_has_lost_it(
    world: World, scheduler: Scheduler, tokens: Tokens
):
    """
    It was restarted: the session is released at once, without waiting for any grace.
    """
    async with serving(world, scheduler, tokens, grace=60) as links:
        session = await world.session()
        first = FakeWorker(links)
        await first.hello()
        await first.claim(session.id, "turn-3")
        await links.lost(first.link)

        second = FakeWorker(links)
        await second.hello()
        await asyncio.wait_for(scheduler.asked.wait(), PATIENCE)

    assert scheduler.failed == [(session.id, "turn-3")]
    assert (await world.sessions.get(world.actor, session.id)).session.worker_id is None


async def test_after_a_restart_of_the_server_sessions_run_on(
    world: World, scheduler: Scheduler, tokens: Tokens
):
    """
    The new server knows no activity ids. Temporal is not asked for anything: it learns that the session is over
    from the activity, if there is one.
    """
    sid, epoch = await world.running()
    gone, gone_epoch = await world.running("wrk_other")
    async with serving(world, scheduler, tokens) as links:
        worker = FakeWorker(links)
        await worker.hello(**{sid: epoch, gone: gone_epoch})
        worker.say_all(a_record(sid, epoch))
        heard = [await worker.hear(), await worker.hear()]
        worker.say("done", b"1", sid=sid, ep=epoch, i=2, state="completed", error=None)
        done = await worker.hear()

    assert {(f.type, f.head["sid"]) for f in heard} == {("kill", gone), ("ack", sid)}
    assert done.type == "done_ok"
    assert (scheduler.woken, scheduler.ended) == ([], [])


async def test_the_workers_of_a_dead_server_are_buried(world: World, scheduler: Scheduler, tokens: Tokens):
    """
    Nobody has heard of the worker for long enough: any server takes its sessions from it.
    """
    await world.worker("wrk_gone")
    sid, _ = await world.running("wrk_gone")
    with world.store.notices.subscribed("work", sid) as notice:
        async with serving(world, scheduler, tokens, silent=0.5):
            await asyncio.wait_for(notice.wait(), PATIENCE)

    assert (await world.sessions.get(world.actor, sid)).session.worker_id is None


async def test_a_worker_with_a_link_is_alive(world: World, scheduler: Scheduler, tokens: Tokens):
    """
    The server writes down that it sees it, so that no other server buries it.
    """
    async with serving(world, scheduler, tokens, silent=4) as links:
        worker = FakeWorker(links)
        await worker.hello()
        (first,) = await links.workers()

        async def is_seen_again() -> bool:
            (now,) = await links.workers()
            return now.seen_at > first.seen_at

        await until(is_seen_again)

        assert (first.name, first.slots, first.isolation) == ("w", 4, "none")


async def test_a_second_link_of_a_worker_ends_the_first(world: World, links: Links):
    """
    The old connection may be half dead: what matters is the newest.
    """
    first = FakeWorker(links)
    await first.hello()

    second = FakeWorker(links)
    await second.hello()

    assert first.link.is_closed
    assert not second.link.is_closed
    await links.lost(first.link)
    assert len(await links.workers()) == 1


async def test_lost_workers_are_forgotten_in_the_end(world: World):
    """
    Their rows are of no use to anybody.
    """
    from datetime import timedelta

    await world.worker("wrk_old")
    await world.worker("wrk_here")
    await world.store.write(lambda tx: workers.gone(tx, "wrk_old"))

    assert await world.store.write(lambda tx: workers.forget(tx, since=timedelta())) == 1


async def test_a_session_that_a_worker_holds_by_its_row_only_is_given_to_somebody_else(
    world: World, scheduler: Scheduler, tokens: Tokens
):
    """
    A claim that was committed although the database died before it said so leaves a session that nobody runs;
    a worker's other sessions are left alone.
    """
    session = await world.session()
    other = await world.session()
    async with serving(world, scheduler, tokens, beat=0.05) as links:
        worker = FakeWorker(links)
        await worker.hello()
        await worker.claim(other.id)
        await world.journal.claim(worker.worker_id, session.id)

        async def is_free() -> bool:
            held = await world.store.read(lambda tx: sweeps.held_by(tx, worker.worker_id))
            return [session_id for session_id, _ in held] == [other.id]

        await until(is_free)
        assert scheduler.failed == []


async def test_a_claim_that_was_committed_after_its_worker_left_is_given_to_somebody_else(
    world: World, scheduler: Scheduler, tokens: Tokens
):
    """
    It was under way when the worker said goodbye; what is under way at one that is there is nobody else's.
    """
    late, other = await world.session(), await world.session()
    async with serving(world, scheduler, tokens, silent=0.1, beat=0.05) as links:
        leaving = FakeWorker(links, "wrk_leaving")
        await leaving.hello()
        leaving.say("bye")

        async def has_left() -> bool:
            return leaving.link.is_closed

        await until(has_left)
        await world.worker("wrk_2")
        await world.claim(other.id, "wrk_2")
        await world.claim(late.id, "wrk_leaving")

        async def is_free() -> bool:
            return (await world.sessions.get(world.actor, late.id)).session.worker_id is None

        await until(is_free)


async def test_what_is_claimed_while_a_worker_comes_back_stays_its_own(
    world: World, links: Links, monkeypatch: pytest.MonkeyPatch
):
    """
    It asks as soon as it is welcome, while the server still looks for what it has lost.
    """
    session = await world.session()
    committed, go_on = asyncio.Event(), asyncio.Event()
    claim, release = world.journal.claim, world.journal.release
    released: list[str] = []

    async def slow(*args: Any, **named: Any) -> Any:
        answer = await claim(*args, **named)
        committed.set()
        await go_on.wait()
        return answer

    async def look(work: Any) -> Any:
        await committed.wait()
        found = await world.store.read(work)
        go_on.set()
        return found

    async def note(session_id: str, epoch: int) -> bool:
        released.append(session_id)
        return await release(session_id, epoch)

    monkeypatch.setattr(world.journal, "claim", slow)
    monkeypatch.setattr(world.journal, "release", note)
    worker = FakeWorker(links)
    worker.say("claim", sid=session.id, activity_id="turn-1", attempt=1)
    worker.link.worker_id = worker.worker_id
    hello = Hello(worker.worker_id, "w", 4, PYTHON, "none", {}, CARRIED, takes=True, begins=True, release="")
    monkeypatch.setattr(links, "_store", SimpleNamespace(read=look))
    await links._reconcile(worker.link, hello, None)
    monkeypatch.undo()
    frame = await worker.hear()

    assert (frame.type, released) == ("claimed", [])


async def test_a_session_that_its_worker_does_not_report_is_given_to_somebody_else(
    world: World, scheduler: Scheduler, tokens: Tokens
):
    """
    A turn that Temporal cancelled ends in the worker, and nobody tells the server; one that the reports name is
    left alone.
    """
    session = await world.session()
    other = await world.session()
    async with serving(world, scheduler, tokens, beat=0.05) as links:
        worker = FakeWorker(links)
        await worker.hello()
        epoch = await worker.claim(session.id)
        runs = await worker.claim(other.id)

        async def is_free() -> bool:
            worker.say("runs", sessions=[{"sid": other.id, "ep": runs}])
            held = await world.store.read(lambda tx: sweeps.held_by(tx, worker.worker_id))
            return [session_id for session_id, _ in held] == [other.id]

        await until(is_free)
        killed = await worker.hear()
        assert (killed.type, killed.head["sid"], killed.head["ep"]) == ("kill", session.id, epoch)


async def test_a_worker_that_hangs_loses_its_sessions(world: World, scheduler: Scheduler, tokens: Tokens):
    """
    Its link is open, and nothing comes over it any more: it is lost like one whose link broke.
    """
    session = await world.session()
    async with serving(world, scheduler, tokens, silent=0.5, beat=0.1) as links:
        worker = FakeWorker(links)
        await worker.hello()
        await worker.claim(session.id, "turn-7")
        await asyncio.wait_for(scheduler.asked.wait(), PATIENCE)

    assert scheduler.failed == [(session.id, "turn-7")]
    assert worker.link.is_closed


async def test_a_worker_that_reports_is_not_taken_to_hang(world: World, scheduler: Scheduler, tokens: Tokens):
    """
    However little else it has to say.
    """
    session = await world.session()
    async with serving(world, scheduler, tokens, silent=0.5, beat=0.1) as links:
        worker = FakeWorker(links)
        await worker.hello()
        epoch = await worker.claim(session.id)
        for _ in range(20):
            worker.say("runs", sessions=[{"sid": session.id, "ep": epoch}])
            await asyncio.sleep(0.05)

        assert not worker.link.is_closed
        assert session.id in worker.link.held
