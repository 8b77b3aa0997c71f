"""`sessions.link` and `sessions.links`: the dialogue with workers, and what becomes of lost ones."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from conversation import PATIENCE, FakeWorker, Scheduler, Tokens, a_record
from factories import a_connection
from world import World

from ninelives.run.wire import BrokenFrame
from ninelives_server.errors import DatabaseAway, NeedsReauth
from ninelives_server.model.sessions import SessionState
from ninelives_server.sessions.links import Links
from ninelives_server.sessions.stops import Stops
from ninelives_server.store import builds, journal, sessions, tables, workers
from ninelives_server.store.core import Store
from ninelives_server.vault.vault import Vault


@pytest.fixture
async def world(sqlite: Store, vault: Vault) -> World:
    """The dialogue is the same on every database."""
    return await World.made(sqlite, vault)


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler()


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@contextlib.asynccontextmanager
async def serving(
    world: World, scheduler: Scheduler, tokens: Tokens, **limits: float
) -> AsyncIterator[Links]:
    links = Links(
        store=world.store,
        journal=world.journal,
        tokens=tokens,
        scheduler=scheduler,
        **{"grace": 0.2, **limits},
    )
    stops = Stops(store=world.store, journal=world.journal, links=links)
    tasks = [asyncio.create_task(links.run()), asyncio.create_task(stops.run())]
    await asyncio.sleep(0)
    try:
        yield links
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def links(world: World, scheduler: Scheduler, tokens: Tokens) -> AsyncIterator[Links]:
    async with serving(world, scheduler, tokens) as links:
        yield links


async def until(predicate, patience: float = PATIENCE) -> None:
    """Wait for something that no event tells of."""
    async with asyncio.timeout(patience):
        while not await predicate():
            await asyncio.sleep(0.02)


# --- the dialogue ---------------------------------------------------------------------------------


async def test_a_session_says_that_its_environment_is_being_made(world: World, links: Links):
    """
    Its worker tells, and tells when it is over; a former holder's word does not count.
    """
    session = await world.session()
    worker = FakeWorker(links)
    await worker.hello()
    epoch = await worker.claim(session.id)

    async def says(reason: str) -> bool:
        found = await world.store.read(lambda tx: sessions.by_id(tx, session.id))
        return found is not None and found.queue_reason == reason

    worker.say("preparing", sid=session.id, ep=epoch, packages=2)
    await until(lambda: says("its environment is being made: 2 packages"))
    worker.say("preparing", sid=session.id, ep=epoch - 1, packages=0)
    worker.say("preparing", sid=session.id, ep=epoch, packages=1)
    await until(lambda: says("its environment is being made: 1 package"))
    worker.say("preparing", sid=session.id, ep=epoch - 1, packages=7)
    worker.say("preparing", sid=session.id, ep=epoch, packages=0)
    await until(lambda: says(""))


async def test_what_uv_says_is_kept_with_the_build(world: World, links: Links):
    """
    Each worker's newest words stand beside those of others, so that they can be read when it is over.
    """
    session = await world.session()
    worker = FakeWorker(links)
    await worker.hello()
    epoch = await worker.claim(session.id)
    name = await world.store.read(lambda tx: workers.name_of(tx, worker.worker_id))
    await world.store.write(lambda tx: builds.note_environment(tx, session.build_id, "elsewhere", "hm\n"))

    async def kept() -> dict[str, str]:
        logs = await world.store.read(lambda tx: builds.environment_logs(tx, session.build_id))
        return {log.worker: log.text for log in logs}

    async def says(text: str) -> bool:
        return (await kept()).get(name) == text

    worker.say("preparing", b"one\n", sid=session.id, ep=epoch, packages=2)
    await until(lambda: says("one\n"))
    worker.say("preparing", b"not mine", sid=session.id, ep=epoch - 1, packages=2)
    worker.say("preparing", b"one\ntwo\n", sid=session.id, ep=epoch, packages=0)
    await until(lambda: says("one\ntwo\n"))

    assert await kept() == {name: "one\ntwo\n", "elsewhere": "hm\n"}


async def test_a_session_from_claim_to_end(world: World, links: Links, scheduler: Scheduler):
    """
    claim, claimed; record, ack; done, done_ok: the whole life of a short session.
    """
    session = await world.session()
    worker = FakeWorker(links)
    await worker.hello()

    worker.say("claim", sid=session.id, activity_id="turn-1", attempt=1)
    claimed = await worker.hear()
    worker.say_all(a_record(session.id, 1, 0), a_record(session.id, 1, 1))
    acks = [await worker.hear(), await worker.hear()]
    worker.say("done", b'"routed"', sid=session.id, ep=1, i=9, state="completed", error=None)
    done = await worker.hear()

    assert claimed.head["ep"] == 1
    assert claimed.head["build_sha256"] == world.build.sha256
    assert claimed.head["start"]["entrypoint"] == "main.py:on_lead"
    assert [(f.type, f.head["i"], f.head["seq"]) for f in acks] == [("ack", 1, 1), ("ack", 2, 2)]
    assert (done.type, done.head["i"]) == ("done_ok", 9)
    detail = await world.sessions.get(world.actor, session.id)
    assert (detail.session.state, detail.result) == (SessionState.COMPLETED, "routed")
    assert worker.link.held == {}
    assert scheduler.woken == []  # the activity itself tells Temporal


async def test_a_session_that_cannot_be_claimed(world: World, links: Links):
    """
    The worker is told why, and runs nothing.
    """
    sid, _ = await world.running("wrk_other")
    worker = FakeWorker(links)
    await worker.hello()

    worker.say("claim", sid=sid, activity_id="turn-1", attempt=1)
    held = await worker.hear()
    worker.say("claim", sid="ses_unknown", activity_id="turn-1", attempt=1)
    unknown = await worker.hear()

    assert (held.type, held.head["why"]) == ("not_claimed", "held")
    assert (unknown.type, unknown.head["why"]) == ("not_claimed", "unknown")


async def test_a_fenced_process_is_killed(world: World, links: Links):
    """
    Its record is refused, and the worker is told to kill it.
    """
    sid, old = await world.running("wrk_gone")
    await world.journal.release(sid, old)
    await world.claim(sid, "wrk_other")
    worker = FakeWorker(links)
    await worker.hello()

    worker.say_all(a_record(sid, old))

    refuse, kill = await worker.hear(), await worker.hear()
    assert (refuse.type, refuse.head["reason"]) == ("refuse", "fenced")
    assert (kill.type, kill.head["ep"], kill.head["why"]) == ("kill", old, "fenced")


async def test_a_store_call_is_answered(world: World, links: Links):
    """
    call, answer: with the `seq` of its record.
    """
    session = await world.session()
    worker = FakeWorker(links)
    await worker.hello()
    epoch = await worker.claim(session.id)

    worker.say(
        "call", sid=session.id, ep=epoch, i=1, key={"strand": "0", "n": 0}, name="store.set",
        args={"key": "k", "value": 7}, digest="ab" * 32, start=1795435200.25, preview=None,
    )  # fmt: skip
    first = await worker.hear()
    worker.say(
        "call", sid=session.id, ep=epoch, i=2, key=None, name="store.get", args={"key": "k"}, digest="", start=None,
        preview=None,
    )  # fmt: skip
    second = await worker.hear()

    assert (first.type, first.head["seq"], first.head["value"], first.head["error"]) == (
        "answer",
        1,
        None,
        None,
    )
    assert (second.head["seq"], second.head["value"]) == (None, 7)


async def test_a_token_is_asked_of_the_connection(world: World, links: Links, tokens: Tokens):
    """
    `token` leaves no record; the connection decides whether to refresh.
    """
    connection = await a_connection(world.store, world.project)
    session = await world.session()
    worker = FakeWorker(links)
    await worker.hello()
    epoch = await worker.claim(session.id)

    worker.say(
        "call",
        sid=session.id,
        ep=epoch,
        i=1,
        key=None,
        name="token",
        args={"connection": "crm", "refused": "ab"},
    )
    given = await worker.hear()
    worker.say("call", sid=session.id, ep=epoch, i=2, key=None, name="token", args={"connection": "nope"})
    unknown = await worker.hear()
    tokens.error = NeedsReauth("connection 'crm' must be authorised again")
    worker.say("call", sid=session.id, ep=epoch, i=3, key=None, name="token", args={"connection": "crm"})
    failed = await worker.hear()

    assert given.head["value"]["token"] == "00Dxx!fresh"
    assert tokens.asked[0] == (connection.id, session.id, "ab")
    assert unknown.head["error"]["message"] == "this project has no connection 'nope'"
    assert failed.head["error"] == {
        "type": "NeedsReauth",
        "message": "connection 'crm' must be authorised again",
    }
    assert await world.store.read(lambda tx: journal.count(tx, session.id)) == 0


async def test_a_token_is_for_the_holder_only(world: World, links: Links, tokens: Tokens):
    """
    A process that was fenced off gets no token.
    """
    sid, _ = await world.running("wrk_other")
    worker = FakeWorker(links)
    await worker.hello()

    worker.say("call", sid=sid, ep=1, i=1, key=None, name="token", args={"connection": "crm"})

    assert (await worker.hear()).head["reason"] == "fenced"
    assert tokens.asked == []


async def test_what_fails_for_one_session_leaves_the_link_alone(
    world: World, links: Links, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
):
    """
    A defect, or a key that is gone, met by a claim or a token: the worker's other sessions go on.
    """
    await a_connection(world.store, world.project)
    good, bad = await world.session(), await world.session()
    real = world.journal.claim

    async def claim(worker_id: str, session_id: str, *more: object):
        if session_id == bad.id:
            raise RuntimeError("a defect")
        return await real(worker_id, session_id, *more)

    monkeypatch.setattr(world.journal, "claim", claim)
    tokens.error = RuntimeError("another defect")
    worker = FakeWorker(links)
    await worker.hello()

    worker.say("claim", sid=bad.id, activity_id="turn-1", attempt=1)
    refused = await worker.hear()
    epoch = await worker.claim(good.id)
    worker.say("call", sid=good.id, ep=epoch, i=1, key=None, name="token", args={"connection": "crm"})
    answer = await worker.hear()

    assert (refused.type, refused.head["why"]) == ("not_claimed", "failed")
    assert answer.head["error"]["type"] == "Transient"
    assert not worker.link.is_closed


async def test_parking_and_staying(world: World, links: Links):
    """
    park, parked: the worker holds it no more.
    """
    session = await world.session()
    worker = FakeWorker(links)
    await worker.hello()
    epoch = await worker.claim(session.id)

    worker.say("waiting", sid=session.id, ep=epoch, is_waiting=True)
    worker.say("park", sid=session.id, ep=epoch, i=1, until="2001-01-01T00:00:00Z")
    due = await worker.hear()
    worker.say("park", sid=session.id, ep=epoch, i=2, until=None)
    parked = await worker.hear()

    assert (due.type, parked.type) == ("stay", "parked")
    assert worker.link.held == {}


async def test_a_death_is_answered(world: World, links: Links):
    """
    died, died_ok: try again after a second.
    """
    session = await world.session()
    worker = FakeWorker(links)
    await worker.hello()
    epoch = await worker.claim(session.id)

    worker.say("died", sid=session.id, ep=epoch, signal=11, exit_code=None, reason="", stderr="boom")
    answer = await worker.hear()

    assert (answer.type, answer.head["outcome"], answer.head["delay"]) == ("died_ok", "retry", 1.0)
    assert await worker.claim(session.id) == 2


@pytest.mark.parametrize(
    "frame",
    [
        {"t": "dance", "sid": "ses_1", "ep": 1},
        {"t": "record", "sid": "ses_1", "ep": 1},
        {"t": "record", "sid": "ses_1", "ep": 1, "i": 1, "track": "odd", "strand": "0", "n": 0},
        {"t": "done", "sid": "ses_1", "ep": 1, "i": 1, "state": "running"},
        {"t": "park", "sid": "ses_1", "ep": 1, "i": 1, "until": "soon"},
    ],
)
async def test_a_frame_that_makes_no_sense_ends_the_link(links: Links, frame: dict[str, object]):
    """
    A worker that does not speak our language is not guessed at.
    """
    worker = FakeWorker(links)
    await worker.hello()

    with pytest.raises(BrokenFrame):
        worker.say_all((frame, b""))


async def test_what_arrives_together_is_committed_together(
    world: World, links: Links, monkeypatch: pytest.MonkeyPatch
):
    """
    One message with the frames of ten sessions is one commit, and its acknowledgements are one message.
    """
    held = [await world.running() for _ in range(10)]
    sizes = []
    real = world.journal.commit

    async def counted(ops):
        sizes.append(len(ops))
        return await real(ops)

    monkeypatch.setattr(world.journal, "commit", counted)
    worker = FakeWorker(links)
    await worker.hello(**dict(held))

    worker.say_all(*(a_record(sid, epoch) for sid, epoch in held))
    data = await asyncio.wait_for(worker.link.outgoing(), PATIENCE)

    assert sizes == [10]
    assert data.count(b'"t":"ack"') == 10


async def test_a_database_that_is_away_costs_time_only(
    world: World, links: Links, monkeypatch: pytest.MonkeyPatch
):
    """
    The commit is tried again until it succeeds; no process ends because of it.
    """
    sid, epoch = await world.running()
    real, failures = world.journal.commit, [OSError("gone"), OSError("gone")]

    async def shaky(ops):
        if failures:
            raise failures.pop()
        return await real(ops)

    monkeypatch.setattr(world.journal, "commit", shaky)
    worker = FakeWorker(links)
    await worker.hello(**{sid: epoch})

    worker.say_all(a_record(sid, epoch))

    assert (await worker.hear()).type == "ack"


async def test_an_operation_that_breaks_us_fails_only_itself(
    world: World, links: Links, monkeypatch: pytest.MonkeyPatch
):
    """
    A defect met by one session's record must not stop the others.
    """
    good, bad = await world.running(), await world.running()
    real = world.journal.commit

    async def picky(ops):
        if any(op.session_id == bad[0] for op in ops):
            raise ValueError("a defect")
        return await real(ops)

    monkeypatch.setattr(world.journal, "commit", picky)
    worker = FakeWorker(links)
    await worker.hello(**dict([good, bad]))

    worker.say_all(a_record(*bad), a_record(*good))

    heard = sorted([(await worker.hear()).type for _ in range(3)])
    assert heard == ["ack", "kill", "refuse"]


# --- lost workers ---------------------------------------------------------------------------------


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


# --- stops ----------------------------------------------------------------------------------------


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
            held = await world.store.read(lambda tx: sessions.held_by(tx, worker.worker_id))
            return [session_id for session_id, _ in held] == [other.id]

        await until(is_free)
        assert scheduler.failed == []


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
            held = await world.store.read(lambda tx: sessions.held_by(tx, worker.worker_id))
            return [session_id for session_id, _ in held] == [other.id]

        await until(is_free)
        killed = await worker.hear()
        assert (killed.type, killed.head["sid"], killed.head["ep"]) == ("kill", session.id, epoch)
