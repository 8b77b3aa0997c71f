"""The link of a worker that its server has started: frames over a pair of sockets, and its sessions' processes.

They come through a door, as `sessions.stream` says.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator

import pytest
from conversation import PATIENCE, PYTHON, a_record, until
from world import World

from ninelives.run import wire
from ninelives_server.sessions import stream
from ninelives_server.sessions.links import Links
from ninelives_server.store import sessions


class Far:
    """The worker's end."""

    def __init__(
        self, door: socket.socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.door = door
        self._reader = reader
        self.writer = writer

    def say(self, kind: str, **head: object) -> None:
        self.writer.write(wire.encode({"t": kind, **head}))

    async def hear(self) -> wire.Frame:
        async with asyncio.timeout(PATIENCE):
            return await wire.read(self._reader)

    async def hello(self) -> None:
        about = {"slots": 4, "python": PYTHON, "name": "w", "isolation": "none", "sessions": []}
        self.say("hello", worker_id="wrk_1", **about)
        assert (await self.hear()).type == "welcome"

    async def is_hung_up(self) -> bool:
        with contextlib.suppress(OSError):
            async with asyncio.timeout(PATIENCE):
                return not await self._reader.read(1)
        return True


@pytest.fixture
async def far(links: Links) -> AsyncIterator[Far]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    door = stream.Door(links, ours)
    near, end = socket.socketpair()
    hand_over(theirs, end)
    reader, writer = await asyncio.open_unix_connection(sock=near)
    yield Far(theirs, reader, writer)
    writer.close()
    door.close()
    ours.close()
    theirs.close()


def hand_over(door: socket.socket, sock: socket.socket, **about: object) -> None:
    with sock:
        socket.send_fds(door, [json.dumps(about).encode()], [sock.fileno()])


async def test_a_worker_runs_a_session_over_it(far: Far, world: World):
    """Frames come whole, however they are cut."""
    session = await world.session()
    await far.hello()
    far.say("claim", sid=session.id, activity_id="turn-1", attempt=1)
    epoch = (await far.hear()).head["ep"]

    for n in range(3):
        data = wire.encode(*a_record(session.id, epoch, n))
        for at in range(0, len(data), 50):
            far.writer.write(data[at : at + 50])
            await asyncio.sleep(0)
    heard = [await far.hear() for _ in range(3)]

    assert [(frame.type, frame.head["seq"]) for frame in heard] == [("ack", 1), ("ack", 2), ("ack", 3)]


async def test_one_that_hangs_up_is_lost_and_its_session_is_given_to_others(
    far: Far, links: Links, world: World
):
    session = await world.session()
    await far.hello()
    far.say("claim", sid=session.id, activity_id="turn-1", attempt=1)
    await far.hear()

    far.writer.close()

    async def is_free() -> bool:
        found = await world.store.read(lambda tx: sessions.by_id(tx, session.id))
        return found.worker_id is None and await links.workers() == []

    await until(is_free)


@pytest.mark.parametrize(
    "nonsense",
    [b"\xff\xff\xff\xff\x00\x00\x00\x00", wire.encode({"t": "no such"}), b"\0\0\0\x06\0\0\0\x02no"],
    ids=["too large", "unknown", "no JSON"],
)
async def test_one_that_says_nonsense_is_hung_up_on(far: Far, nonsense: bytes):
    await far.hello()
    far.writer.write(nonsense)

    assert await far.is_hung_up()


async def test_a_server_that_stops_says_all_and_hangs_up(far: Far, links: Links):
    await far.hello()
    links.any().send("kill", sid="ses_1", ep=1, why="stopped")
    links.close()

    assert (await far.hear()).type == "kill"
    assert await far.is_hung_up()


async def test_a_worker_that_does_not_read_loses_nothing(far: Far, links: Links):
    """The socket is full then; what comes meanwhile waits."""
    await far.hello()
    link = links.any()
    for n in range(200):
        link.send("answer", bytes(50_000), sid="ses_1", ep=1, i=n)
        if n % 10 == 0:
            await asyncio.sleep(0)

    heard = [await far.hear() for _ in range(200)]

    assert [frame.head["i"] for frame in heard] == list(range(200))
    assert {len(frame.body) for frame in heard} == {50_000}
