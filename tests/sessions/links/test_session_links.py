"""`sessions.link`: the dialogue with workers."""

import asyncio

import pytest
from conversation import PATIENCE, FakeWorker, Scheduler, Tokens, a_record, until
from factories import a_build, a_connection, a_deployment
from world import World

from ninelives.run.wire import BrokenFrame
from ninelives_server.errors import NeedsReauth
from ninelives_server.model.projects import DeploymentState
from ninelives_server.model.sessions import SessionState
from ninelives_server.sessions.links import Links
from ninelives_server.sessions.records import Put
from ninelives_server.store import builds, journal, sessions, workers


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


async def test_workers_make_what_a_deployment_needs_before_a_session_does(world: World, links: Links):
    """
    All that are there are told, and what uv says is kept with the build; of others' builds nobody can write.
    """
    worker, other, old = FakeWorker(links), FakeWorker(links, "wrk_2"), FakeWorker(links, "wrk_3")
    await worker.hello({"takes": True})
    await other.hello({"takes": True})
    await old.hello()
    needs = await a_build(world.store, world.project, sha256="1" * 64, requirements=("six==1.17.0",))
    plain = await a_build(world.store, world.project, sha256="2" * 64)

    async def kept(build_id: str) -> list[tuple[str, str]]:
        logs = await world.store.read(lambda tx: builds.environment_logs(tx, build_id))
        return [(log.worker, log.text) for log in logs]

    for build, state in (
        (plain, DeploymentState.TESTING),
        (needs, DeploymentState.INACTIVE),
        (needs, DeploymentState.TESTING),
    ):
        await a_deployment(world.store, build, state=state)
    told = [await each.hear() for each in (worker, other)]
    worker.say("preparing", b"hm", build_id=plain.id)
    worker.say("preparing", b"one\n", build_id=needs.id)
    await until(lambda: kept(needs.id))

    assert [(f.type, f.head["build_id"], f.head["requirements"]) for f in told] == [
        ("expect", needs.id, ["six==1.17.0"])
    ] * 2
    assert worker.heard == other.heard == old.heard == []
    assert [each.link.outbox.take() for each in (worker, other, old)] == [b""] * 3
    assert await kept(needs.id) == [("w", "one\n")]
    assert await kept(plain.id) == []


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

    async def claim(worker_id: str, session_id: str, *more: object, **named: object):
        if session_id == bad.id:
            raise RuntimeError("a defect")
        return await real(worker_id, session_id, *more, **named)

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
        {"t": "record", "ep": 1},
        {"t": "record", "sid": "ses_1"},
        {"t": "begin", "sid": "ses_1", "ep": "x"},
        {"t": "died", "sid": "ses_1", "ep": None},
    ],
)
async def test_a_frame_that_makes_no_sense_ends_the_link(links: Links, frame: dict[str, object]):
    """
    A worker that does not speak our language is not guessed at; what its sessions say is another matter.
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


async def test_an_answer_that_cannot_be_told_ends_its_link_and_no_other(
    world: World, links: Links, monkeypatch: pytest.MonkeyPatch
):
    """
    Its worker comes back and asks again. Nobody else's answers are lost, though they were committed together.
    """
    (sid, epoch), (other_sid, other_epoch) = await world.running("wrk_1"), await world.running("wrk_2")
    worker, other = FakeWorker(links, "wrk_1"), FakeWorker(links, "wrk_2")
    await worker.hello(**{sid: epoch})
    await other.hello(**{other_sid: other_epoch})

    def broken(*_: object) -> None:
        raise LookupError("a defect")

    monkeypatch.setattr(worker.link, "_tell", broken)
    worker.say_all(a_record(sid, epoch))
    other.say_all(a_record(other_sid, other_epoch))

    assert (await other.hear()).type == "ack"
    assert worker.link.is_closed
    assert not other.link.is_closed


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
        if any(op.session_id == bad[0] and isinstance(op, Put) for op in ops):
            raise ValueError("a defect")
        return await real(ops)

    monkeypatch.setattr(world.journal, "commit", picky)
    worker = FakeWorker(links)
    await worker.hello(**dict([good, bad]))

    worker.say_all(a_record(*bad), a_record(*good))

    heard = sorted([(await worker.hear()).type for _ in range(4)])
    assert heard == ["ack", "died_ok", "kill", "refuse"]
