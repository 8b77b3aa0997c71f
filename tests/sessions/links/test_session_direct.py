"""Sessions whose processes speak to the server themselves, beside their worker's link."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from conversation import PATIENCE, FakeWorker, Scheduler, a_record, until
from world import World

from ninelives.run import wire
from ninelives_server.errors import DatabaseAway
from ninelives_server.model.sessions import SessionState
from ninelives_server.sessions.links import Links
from ninelives_server.sessions.transfer import Transfer

LARGE = bytes(300_000)


class Process:
    """The session's end of the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def say(self, kind: str, body: bytes = b"", /, **head: object) -> None:
        self.writer.write(wire.encode({"t": kind, **head}, body))

    def record(self, n: int, value: bytes = b"value") -> None:
        head, _ = a_record("", 0, n)
        self.say("record", value, **{k: v for k, v in head.items() if k not in {"t", "sid", "ep"}})

    async def hear(self, *, but: str = "") -> wire.Frame | None:
        """Return the next frame that is not of the type `but`; `None` where the socket is closed."""
        async with asyncio.timeout(PATIENCE):
            try:
                while (frame := await wire.read(self._reader)).type == but:
                    pass
            except (asyncio.IncompleteReadError, ConnectionError):
                return None
        return frame

    async def said(self, *, but: str = "") -> str:
        frame = await self.hear(but=but)
        return "" if frame is None else frame.type


class Direct:
    """A worker, one of its sessions, and the process of that."""

    def __init__(self, world: World, worker: FakeWorker, session_id: str, epoch: int) -> None:
        self.world = world
        self.worker = worker
        self.session_id = session_id
        self.epoch = epoch
        self.process: Process

    async def hand_over(self) -> Process:
        ours, theirs = socket.socketpair()
        assert self.worker.link.directs is not None
        await self.worker.link.directs.adopt(self.session_id, self.epoch, ours)
        return Process(*await asyncio.open_unix_connection(sock=theirs))

    async def told(self, *, but: str = "stop") -> tuple[str, dict[str, object]]:
        """Return what the worker is told next: a frame's type, and its head without the session's names."""
        frame = await self.worker.hear(but=but)
        assert (frame.head.pop("sid"), frame.head.pop("ep")) == (self.session_id, self.epoch)
        return str(frame.head.pop("t")), frame.head


@pytest.fixture
async def direct(world: World, links: Links) -> AsyncIterator[Direct]:
    worker = FakeWorker(links)
    worker.link.open_directly()
    await worker.hello()
    session = await world.session()
    made = Direct(world, worker, session.id, await worker.claim(session.id))
    made.process = await made.hand_over()
    assert await made.process.said() == "go"
    yield made
    made.process.writer.close()
    await links.lost(worker.link)


async def test_what_it_says_is_answered_to_itself_and_its_end_to_its_worker_too(direct: Direct):
    direct.process.record(0)
    direct.process.say("done", b'{"a": 1}', i=2, state="completed", error=None)

    heard = [await direct.process.hear(), await direct.process.hear()]

    assert [(frame.type, frame.head.get("seq")) for frame in heard] == [("ack", 1), ("done_ok", None)]
    assert "sid" not in heard[0].head, "it knows who it is"
    assert await direct.told() == ("done_ok", {"until": None})
    direct.process.writer.close()
    assert await direct.told() == ("gone", {"why": ""})
    assert await direct.world.state(direct.session_id) is SessionState.COMPLETED


async def test_its_worker_learns_until_when_it_is_parked(direct: Direct):
    """Temporal's activity ends with it."""
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()

    direct.process.say("park", i=1, until=until, awaits=[])

    assert await direct.process.said() == "parked"
    assert await direct.told() == ("parked", {"until": until})


async def test_a_large_value_is_stored_ahead_and_what_follows_it_waits(direct: Direct):
    direct.process.record(0, LARGE)
    direct.process.record(1)

    heard = [await direct.process.hear(), await direct.process.hear()]

    assert [(frame.head["i"], frame.head["seq"]) for frame in heard] == [(1, 1), (2, 2)]
    transfer = Transfer(store=direct.world.store, vault=direct.world.vault)
    pieces = transfer.journal(await transfer.held(direct.session_id))
    past = [frame async for piece in pieces for frame in wire.decode_all(piece)]
    assert [frame.body for frame in past] == [LARGE, b"value"]


async def test_an_outage_delays_a_large_value_and_fails_nobody(
    direct: Direct, monkeypatch: pytest.MonkeyPatch
):
    times = 0
    keep = direct.world.keep

    async def flaky(session_id: str, epoch: int, value: bytes) -> str:
        nonlocal times
        times += 1
        if times == 1:
            raise DatabaseAway("the database is away")
        return await keep(session_id, epoch, value)

    monkeypatch.setattr(direct.worker.link.directs._all[direct.session_id, direct.epoch], "_keep", flaky)

    direct.process.record(0, LARGE)

    assert await direct.process.said() == "ack"
    assert times == 2


async def test_a_value_that_cannot_be_stored_ends_the_process_with_the_reason(direct: Direct):
    """Nobody runs the session any more, by what the database says."""
    await direct.world.journal.take_back("wrk_1", direct.session_id, direct.epoch)

    direct.process.record(0, LARGE)

    assert await direct.process.said() == ""
    name, about = await direct.told(but="kill")
    assert name == "gone"
    assert str(about["why"]).startswith("a value of 300000 bytes could not be stored: epoch ")


async def test_a_death_is_told_after_the_answers_to_all_that_was_said(
    direct: Direct, monkeypatch: pytest.MonkeyPatch
):
    """Else its worker could report it before its last record is in the journal."""
    journal = direct.world.journal
    commit, may = journal.commit, asyncio.Event()

    async def slow(ops):
        await may.wait()
        return await commit(ops)

    monkeypatch.setattr(journal, "commit", slow)
    direct.process.record(0)
    direct.process.writer.close()

    told = asyncio.create_task(direct.told())
    await asyncio.sleep(0.1)
    assert not told.done()
    may.set()

    assert await told == ("gone", {"why": ""})
    transfer = Transfer(store=direct.world.store, vault=direct.world.vault)
    pieces = transfer.journal(await transfer.held(direct.session_id))
    assert len([frame async for piece in pieces for frame in wire.decode_all(piece)]) == 1


async def test_who_does_not_read_its_answers_is_not_read_either(direct: Direct):
    """They do not pile up here. What it said is answered once it reads again."""
    value, near = "x" * 50_000, direct.worker.link.directs._all[direct.session_id, direct.epoch]
    direct.process.say("call", i=1, key=None, name="store.set", args={"key": "k", "value": value})
    assert await direct.process.said() == "answer"
    direct.process._reader._transport.pause_reading()  # no more than the kernel keeps

    for i in range(2, 202):
        direct.process.say("call", i=i, key=None, name="store.get", args={"key": "k"})
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.5)
    waiting = near._transport.get_write_buffer_size()
    direct.process._reader._transport.resume_reading()
    heard = [await direct.process.hear() for _ in range(2, 202)]

    assert waiting < 100 * len(value)
    assert [frame.head["i"] for frame in heard] == list(range(2, 202))
    assert all(frame.head["value"] == value for frame in heard)


async def test_file_descriptors_that_it_sends_come_to_nobody(direct: Direct):
    """Project code can send anything; ours are not used up by it."""
    before = len(os.listdir("/proc/self/fd"))
    frame = wire.encode({"t": "call", "i": 1, "key": None, "name": "store.get", "args": {"key": "k"}})
    sock = direct.process.writer.get_extra_info("socket")
    with socket.socket(fileno=os.dup(sock.fileno())) as own:
        socket.send_fds(own, [frame], [sock.fileno()] * 100)

    assert await direct.process.said() == "answer"
    assert len(os.listdir("/proc/self/fd")) == before


async def test_what_is_no_frame_ends_the_process_with_the_reason(direct: Direct):
    direct.process.writer.write(b"\xff" * 100)

    assert await direct.process.said() == ""
    assert await direct.told() == ("gone", {"why": "it sent a frame of 4294967295 bytes"})


async def test_who_greets_again_and_again_says_nonsense(direct: Direct):
    """Nobody answers that, so a process could keep us busy with it."""
    direct.process.say("hello", pid=1)
    direct.process.record(0)
    assert await direct.process.said() == "ack"

    direct.process.say("hello", pid=1)

    assert await direct.process.said() == ""
    assert (await direct.told())[1]["why"] == (
        "it sent a frame that is none of a session's: it says hello a second time"
    )


@pytest.mark.parametrize("changed", ["epoch", "session", "twice"])
async def test_a_process_whose_session_is_not_its_workers_is_hung_up_on(direct: Direct, changed: str):
    """It was given to somebody else meanwhile, or is here already."""
    if changed == "epoch":
        direct.epoch += 1
    elif changed == "session":
        direct.session_id = "ses_other"
    process = await direct.hand_over()

    assert await process.said() == ""
    assert await direct.told() == ("gone", {"why": ""})


async def test_stops_and_mail_reach_it(direct: Direct):
    direct.worker.link.mail(direct.session_id)
    assert await direct.process.said() == "mail"

    await direct.world.sessions.stop(direct.world.actor, direct.session_id, reason="enough")

    stop = await direct.process.hear()
    assert (stop.type, stop.head["reason"]) == ("stop", "enough")


async def test_a_worker_that_stops_gets_word_when_what_is_in_hand_is_done(direct: Direct):
    """Results are kept from the process, so that it begins nothing; they are in the journal."""
    direct.worker.say("stopping")
    direct.process.record(0)
    direct.process.say("call", i=2, key=None, name="store.get", args={"key": "k"})

    assert await direct.told() == ("still", {})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await direct.process.hear()


async def test_a_process_that_comes_while_its_worker_stops_begins_nothing_either(
    world: World, direct: Direct
):
    direct.worker.say("stopping")
    other = await world.session()
    epoch = await direct.worker.claim(other.id)
    later = Direct(world, direct.worker, other.id, epoch)
    process = await later.hand_over()
    assert await process.said() == "go"

    process.say("waiting", is_waiting=True)

    assert await later.told(but="stop") == ("still", {})


async def test_a_worker_that_is_gone_takes_its_processes_along(direct: Direct, links: Links):
    await links.lost(direct.worker.link)

    assert await direct.process.said() == ""
    process = await direct.hand_over()  # it was on its way
    assert await process.said() == ""


async def test_a_process_that_comes_while_its_worker_goes_is_hung_up_on(world: World, direct: Direct):
    """Nobody would read what it says."""
    other = await world.session()
    later = Direct(world, direct.worker, other.id, await direct.worker.claim(other.id))
    coming = asyncio.create_task(later.hand_over())
    await asyncio.sleep(0)
    direct.worker.link.directs.close()

    assert await (await coming).said(but="go") == ""


async def test_what_a_process_says_after_its_worker_was_killed_is_not_heard(world: World, links: Links):
    """Its process goes as well, in milliseconds; a response that it has opened by then would be lost with it."""
    is_dead = False
    worker = FakeWorker(links)
    directs = worker.link.open_directly(lambda: is_dead)
    await worker.hello()
    session = await world.session()
    direct = Direct(world, worker, session.id, await worker.claim(session.id))
    process = await direct.hand_over()
    process.record(0)
    assert [await process.said() for _ in range(2)] == ["go", "ack"]

    is_dead = True
    process.record(1)

    assert await process.said() == ""
    transfer = Transfer(store=world.store, vault=world.vault)
    pieces = transfer.journal(await transfer.held(session.id))
    assert len([frame async for piece in pieces for frame in wire.decode_all(piece)]) == 1
    directs.close()
    await links.lost(worker.link)


async def test_its_session_is_given_to_others_when_it_dies(
    direct: Direct, world: World, scheduler: Scheduler
):
    direct.process.writer.close()
    assert (await direct.told())[0] == "gone"
    direct.worker.say(
        "died",
        sid=direct.session_id,
        ep=direct.epoch,
        signal=9,
        exit_code=None,
        reason="",
        stderr="",
        limit=None,
    )

    assert (await direct.told())[0] == "died_ok"

    async def is_free() -> bool:
        return (await world.sessions.get(world.actor, direct.session_id)).session.worker_id is None

    await until(is_free)
