"""A session's process until it is handed to the server, and what its worker learns of it afterwards."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from ninelives.run import wire
from ninelives_server.worker.handed import Handed


class Server:
    """Takes what is handed to it; without it nobody is there."""

    def __init__(self) -> None:
        self.got: list[tuple[str, int]] = []
        self.is_there = True

    async def hand(self, session_id: str, epoch: int, sock: socket.socket) -> None:
        with sock:
            if not self.is_there:
                raise BrokenPipeError
            sock.sendall(b"from the server")
        self.got.append((session_id, epoch))


@pytest.fixture
def process() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our end and the process's."""
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def told(handed: Handed, kind: str, **head: object) -> None:
    raw = wire.encode({"t": kind, **head})
    [frame] = wire.decode_all(raw)
    handed.deliver(frame, raw)


async def test_the_server_speaks_after_the_journal_and_the_worker_no_more(
    process: tuple[socket.socket, socket.socket],
) -> None:
    """Two that write to one socket would cut each other's frames; ours is closed then."""
    server = Server()
    handed = Handed("ses_1", 3, server.hand)
    await handed.attach(process[0])

    await handed.give(b"start, past, ")
    await handed.let_go()

    assert process[1].recv(100, socket.MSG_WAITALL) == b"start, past, from the server"
    assert server.got == [("ses_1", 3)]


async def test_a_long_journal_waits_until_its_process_reads(
    process: tuple[socket.socket, socket.socket],
) -> None:
    """It does not pile up here."""
    handed = Handed("ses_1", 1, Server().hand)
    await handed.attach(process[0])
    giving = asyncio.create_task(handed.give(bytes(8_000_000)))
    await asyncio.sleep(0.05)
    assert not giving.done()

    left = 8_000_000
    while left:
        left -= len(await asyncio.to_thread(process[1].recv, 1_000_000))
    await asyncio.wait_for(giving, 10)


async def test_a_process_that_ended_before_its_journal_owes_nothing(
    process: tuple[socket.socket, socket.socket],
) -> None:
    """How it ended its zygote says."""
    handed = Handed("ses_1", 1, Server().hand)
    await handed.attach(process[0])
    process[1].close()

    await handed.give(b"start")

    await asyncio.wait_for(handed.left(), 5)
    await asyncio.wait_for(handed.settled(), 5)


async def test_a_server_that_is_gone_leaves_nobody_waiting(
    process: tuple[socket.socket, socket.socket],
) -> None:
    """The process is, too: its socket is closed."""
    server = Server()
    server.is_there = False
    handed = Handed("ses_1", 1, server.hand)
    await handed.attach(process[0])

    await handed.let_go()

    assert handed.closed.done()
    await asyncio.wait_for(handed.left(), 5)
    assert process[1].recv(10) == b""


@pytest.mark.parametrize(
    ("kind", "head", "final"),
    [("parked", {"until": "2027-01-01"}, ("parked", "2027-01-01")), ("done_ok", {}, ("finished", None))],
)
async def test_what_the_server_tells_of_it(
    process: tuple[socket.socket, socket.socket], kind: str, head: dict[str, object], final: object
) -> None:
    """Its last word, and later that all has its answer."""
    handed = Handed("ses_1", 1, Server().hand)
    await handed.attach(process[0])
    await handed.let_go()
    leaving = asyncio.create_task(handed.left())

    told(handed, kind, **head)
    told(handed, kind, **head)
    assert await handed.final == final
    assert not leaving.done()
    told(handed, "gone", why="it said nonsense")

    await asyncio.wait_for(leaving, 5)
    assert handed.broken == "it said nonsense"


@pytest.mark.parametrize("kind", ["still", "gone"])
async def test_it_stands_still_when_the_server_says_so_or_it_is_gone(
    process: tuple[socket.socket, socket.socket], kind: str
) -> None:
    """A worker that stops waits for it."""
    handed = Handed("ses_1", 1, Server().hand)
    await handed.attach(process[0])
    await handed.let_go()
    standing = asyncio.create_task(handed.stood_still())
    await asyncio.sleep(0.05)
    assert not standing.done()

    told(handed, kind)

    await asyncio.wait_for(standing, 5)
