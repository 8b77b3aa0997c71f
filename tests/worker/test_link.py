"""The link by itself: what goes into one message, and what comes out of one."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
from websockets.asyncio.server import ServerConnection, serve

from ninelives.run import wire
from ninelives_server.worker import link
from ninelives_server.worker.link import Link


def test_frames_that_are_ready_share_messages_in_order() -> None:
    """A message holds at most 1 MB, unless one frame is larger by itself."""
    frames = [bytes([n]) * size for n, size in enumerate([400_000, 400_000, 400_000, 2_000_000, 10, 10])]

    messages = link._messages(frames)

    assert [len(message) for message in messages] == [800_000, 400_000, 2_000_000, 20]
    assert b"".join(messages) == b"".join(frames)


def test_nothing_to_send_is_no_message() -> None:
    """A wake-up without frames costs nothing."""
    assert link._messages([]) == []


def test_a_message_is_split_into_its_frames_as_they_are() -> None:
    """What is passed on to a session is what the server sent, byte for byte."""
    frames = [wire.encode({"t": "ack", "i": n}, b"x" * n) for n in range(3)]

    assert list(link._split(b"".join(frames))) == frames


def test_a_message_that_ends_inside_a_frame_is_left_for_the_parser_to_refuse() -> None:
    """The rest of a broken message is one frame that does not parse."""
    whole = wire.encode({"t": "ack", "i": 1})

    parts = list(link._split(whole + whole[:5]))

    assert parts == [whole, whole[:5]]


class _Peer:
    """Notes what a link tells it."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[str] = asyncio.Queue()

    def hello(self) -> Mapping[str, Any]:
        return {"t": "hello"}

    def resend(self) -> None:
        self.heard.put_nowait("resend")

    def receive(self, frame: wire.Frame, raw: bytes) -> None:
        assert wire.encode(frame.head, frame.body) == raw
        if frame.type == "sour":
            raise wire.BrokenFrame("the peer cannot read it")
        self.heard.put_nowait(f"{frame.type} {len(frame.body)}")

    def lost(self) -> None:
        self.heard.put_nowait("lost")


@asynccontextmanager
async def _linked(
    say: Callable[[ServerConnection], Awaitable[None]], door: socket.socket | None = None
) -> AsyncIterator[tuple[Link, _Peer]]:
    """Open a link to a server that answers each hello with what `say` sends."""

    async def serve_one(socket: ServerConnection) -> None:
        assert [frame.type for frame in wire.decode_all(cast("bytes", await socket.recv()))] == ["hello"]
        await say(socket)
        await socket.wait_closed()

    async with serve(serve_one, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        peer = _Peer()
        made = Link(f"http://127.0.0.1:{port}/link", {}, None, peer, door)
        running = asyncio.create_task(made.run())
        try:
            yield made, peer
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


WELCOME = wire.encode({"t": "welcome"})


async def test_a_message_in_parts_is_read_whole_and_text_is_passed_over() -> None:
    """RFC 6455, section 5.4: between the parts of a message there may be a ping."""
    ack = wire.encode({"t": "ack", "i": 1}, b"x" * 100)

    async def say(socket: ServerConnection) -> None:
        await socket.send("text")
        await socket.send(WELCOME)
        await socket.send([ack[:7], ack[7:50], ack[50:]])
        await socket.send(ack + ack)

    async with _linked(say) as (_, peer), asyncio.timeout(10):
        heard = [await peer.heard.get() for _ in range(5)]

    assert heard == ["resend", "welcome 0", "ack 100", "ack 100", "ack 100"]


async def test_frames_of_one_turn_leave_in_one_message_and_none_before_the_welcome() -> None:
    """The next turn's go by themselves: nothing waits for company."""
    got: asyncio.Queue[list[int]] = asyncio.Queue()

    async def say(socket: ServerConnection) -> None:
        await socket.send(WELCOME)
        async for message in socket:
            got.put_nowait([frame.head["i"] for frame in wire.decode_all(cast("bytes", message))])

    async with _linked(say) as (made, peer), asyncio.timeout(10):
        made.send(wire.encode({"t": "record", "i": 0}))
        assert [await peer.heard.get() for _ in range(2)] == ["resend", "welcome 0"]
        made.send(wire.encode({"t": "record", "i": 1}))
        made.send(wire.encode({"t": "record", "i": 2}))
        first = await got.get()
        made.send(wire.encode({"t": "record", "i": 3}))

        assert (first, await got.get()) == ([1, 2], [3])


@pytest.mark.parametrize("sour", [b"\x00\x00\x00\x05", wire.encode({"t": "sour"})])
async def test_a_link_that_says_what_cannot_be_read_is_opened_again(sour: bytes) -> None:
    """Whatever was on its way is then sent again."""
    hellos = 0

    async def say(socket: ServerConnection) -> None:
        nonlocal hellos
        hellos += 1
        await socket.send(WELCOME)
        if hellos == 1:
            await socket.send(sour)

    async with _linked(say) as (_, peer), asyncio.timeout(10):
        heard = [await peer.heard.get() for _ in range(5)]

    assert heard == ["resend", "welcome 0", "lost", "resend", "welcome 0"]


@pytest.mark.parametrize("end", [b"", wire.encode({"t": "sour"}), b"\xff\xff\xff\xff\0\0\0\0"])
async def test_a_stream_comes_first_and_when_it_ends_the_websocket(end: bytes) -> None:
    """Whether the server has hung up, or says what cannot be read."""
    door, far = _door()
    ack = wire.encode({"t": "ack", "i": 1}, b"x" * 100)

    async def say(socket: ServerConnection) -> None:
        await socket.send(WELCOME)

    async with _linked(say, door) as (made, peer), asyncio.timeout(10):
        assert made.hand is None
        _, stream = await _handed_over(far)
        reader, writer = await asyncio.open_unix_connection(sock=stream)
        assert (await wire.read(reader)).type == "hello"
        made.send(wire.encode({"t": "record", "i": 0}))  # before the welcome: dropped
        for part in (WELCOME, ack[:7], ack[7:50], ack[50:] + ack):
            writer.write(part)
            await asyncio.sleep(0.01)
        heard = [await peer.heard.get() for _ in range(4)]
        made.send(wire.encode({"t": "record", "i": 1}))
        made.send(wire.encode({"t": "record", "i": 2}))
        said = [(await wire.read(reader)).head["i"] for _ in range(2)]
        assert made.hand is not None
        writer.write(end)
        if not end:
            writer.close()
        after = [await peer.heard.get() for _ in range(3)]
        assert made.hand is None
        writer.close()
        far.close()

    assert (heard, said) == (["resend", "welcome 0", "ack 100", "ack 100"], [1, 2])
    assert after == ["lost", "resend", "welcome 0"]


def _door() -> tuple[socket.socket, socket.socket]:
    door, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    far.setblocking(False)
    return door, far


async def _handed_over(far: socket.socket) -> tuple[dict[str, Any], socket.socket]:
    """Wait for what comes through a door, and return it as the server gets it."""
    while True:
        with suppress(BlockingIOError):
            about, [fd], _, _ = socket.recv_fds(far, 1024, 1)
            return json.loads(about), socket.socket(fileno=fd)
        await asyncio.sleep(0.01)


async def test_processes_sockets_go_through_the_door_also_while_it_is_full() -> None:
    """The server may be busy; each socket comes whole, with its session, and is closed on our side."""
    door, far = _door()
    door.setblocking(False)
    pairs = [socket.socketpair() for _ in range(400)]
    handing = [
        asyncio.create_task(link._hand(door, f"ses_{n}", n, ours)) for n, (ours, _) in enumerate(pairs)
    ]
    await asyncio.sleep(0.05)
    assert not all(task.done() for task in handing)

    async with asyncio.timeout(10):
        for _ in pairs:
            about, sock = await _handed_over(far)
            theirs_of_it = pairs[about["ep"]][1]
            with sock:
                sock.sendall(about["sid"].encode())
            assert theirs_of_it.recv(100) == f"ses_{about['ep']}".encode()
            assert theirs_of_it.recv(100) == b"", "nobody else has it open"
        await asyncio.gather(*handing)

    for _, theirs in pairs:
        theirs.close()
    door.close()
    far.close()


async def test_a_worker_whose_token_is_refused_says_what_to_do(capfd: pytest.CaptureFixture[str]) -> None:
    """It goes on trying: the token may be made good again by a server that was restored."""

    async def refuse(connection: ServerConnection, _request: object) -> object:
        return connection.respond(403, "no")

    async with serve(lambda _socket: asyncio.sleep(0), "127.0.0.1", 0, process_request=refuse) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        running = asyncio.create_task(Link(f"http://127.0.0.1:{port}/link", {}, None, _Peer()).run())
        said = ""
        async with asyncio.timeout(10):
            while "link.refused" not in said:
                await asyncio.sleep(0.05)
                said += "".join(capfd.readouterr())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert "ninelives token create NAME --scope worker" in said
