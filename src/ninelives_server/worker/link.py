"""The worker's one connection to its server: frames of all sessions, both ways.

It is opened again whenever it breaks; what was sent and not yet answered is sent again by whoever sent it
(`Peer.resend`), because only they know. Frames that are ready together travel in one message. What frames
mean is not known here; see `ninelives.run.wire`.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol, cast

import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Frame as MessagePart
from websockets.frames import Opcode
from websockets.protocol import Event, State

from ninelives.run import wire
from ninelives_server import log

logger = log.get(__name__)

#: A message holds no more frames than fit, except one that is larger by itself. bytes
_MESSAGE = 1024 * 1024
_SHORTEST, _LONGEST = 0.05, 2.0  # seconds between attempts to connect
_PING = 5.0  # seconds
#: How the server answers a token that is not, or not any more, a worker's.
_REFUSED = frozenset({401, 403})
_REMEDY = "the server refuses this token; make one with `ninelives token create NAME --scope worker`"
#: What a frame begins with: the number of bytes that follow.
_LENGTH = struct.Struct(">I")

#: Hands the socket of a session's process to the server: its id, epoch and socket, which is closed here.
Hand = Callable[[str, int, socket.socket], Awaitable[None]]


class Peer(Protocol):
    """Who speaks over the link."""

    def hello(self) -> Mapping[str, Any]:
        """Return the first frame."""
        ...

    def resend(self) -> None:
        """Send again what the server has not answered; it has just said welcome."""
        ...

    def receive(self, frame: wire.Frame, raw: bytes) -> None:
        """Take a frame; `raw` is the whole of it, to be passed on as it is."""
        ...

    def lost(self) -> None:
        """Learn that the link is broken."""
        ...


class _Connection(ClientConnection):
    """Hands binary messages on where they are read, and sends where it is told to, without a task for either.

    To wake a task takes about as long as all that is done with a message.

    Attributes:
        take: Gets each binary message; what it raises ends the connection, and is kept in `failure`.
    """

    take: Callable[[bytes], None] | None = None
    failure: Exception | None = None
    _parts: list[bytes] | None = None

    def process_event(self, event: Event) -> None:
        """Process what was read: the answer to the handshake, or a frame."""
        if self.take is None or not isinstance(event, MessagePart) or not self._is_binary(event):
            super().process_event(event)
            return
        parts, self._parts = self._parts or [], None
        parts.append(bytes(event.data))
        if not event.fin:
            self._parts = parts
            return
        try:
            self.take(b"".join(parts) if len(parts) > 1 else parts[0])
        except Exception as error:  # noqa: BLE001  # raised again by who waits for the end of the connection
            self.failure = self.failure or error
            self.transport.abort()

    def _is_binary(self, event: MessagePart) -> bool:
        return event.opcode is Opcode.BINARY or (event.opcode is Opcode.CONT and self._parts is not None)

    def put(self, message: bytes) -> None:
        """Send a message; what does not fit into the socket waits in the transport. Dropped while closing."""
        if self.protocol.state is State.OPEN:
            self.protocol.send_binary(message)
            self.send_data()


class _Stream(asyncio.Protocol):
    """The same over a pair of sockets between this process and the server's.

    Attributes:
        closed: Done when the other side has hung up, or sends what nobody understands.
    """

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._joiner = wire.Joiner()
        self._transport: asyncio.Transport
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._take(self._joiner.joined(data))
        except Exception as error:  # noqa: BLE001  # whatever it is, it ends the connection
            logger.warning("link.broken", error=f"{type(error).__name__}: {error}")
            self._transport.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    def put(self, message: bytes) -> None:
        """Send frames; what does not fit into the socket waits in the transport. Dropped while closing."""
        if not self._transport.is_closing():
            self._transport.write(message)

    def end(self) -> None:
        """Hang up."""
        self._transport.abort()


class Link:
    """A WebSocket to `/api/v1/worker/link` that stays; at first a pair of sockets where there is a `door`."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        context: ssl.SSLContext | None,
        peer: Peer,
        door: socket.socket | None = None,
    ) -> None:
        scheme, _, rest = url.partition("://")
        self._url = f"{'wss' if scheme == 'https' else 'ws'}://{rest}"
        self._headers = headers
        self._context = context if scheme == "https" else None
        self._peer = peer
        self._outbox: list[bytes] = []
        self._socket: _Connection | _Stream | None = None
        self._door = door
        self.is_open = False

    def send(self, frame: bytes) -> None:
        """Send an encoded frame soon; it is dropped while there is no link."""
        if self.is_open:
            if not self._outbox:
                # What the same turn of the event loop still brings goes with it.
                asyncio.get_running_loop().call_soon(self._flush)
            self._outbox.append(frame)

    async def run(self) -> None:
        """Keep the link open until cancelled."""
        if self._door is not None:
            try:
                await self._serve_stream(self._door)
            finally:
                self._close()
        pause = _SHORTEST
        while True:
            try:
                async with self._connect() as connection:
                    pause = _SHORTEST
                    await self._serve(cast("_Connection", connection))
            except (OSError, websockets.WebSocketException, wire.BrokenFrame) as error:
                status = _status(error)
                if status in _REFUSED:
                    logger.warning("link.refused", status=status, note=_REMEDY)
                else:
                    logger.info("link.failed", error=type(error).__name__, status=status)
            finally:
                self._close()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST)

    def _connect(self) -> connect:
        return connect(
            self._url,
            additional_headers=self._headers,
            ssl=self._context,
            compression=None,
            proxy=None,
            max_size=wire.FRAME_LIMIT + _MESSAGE,
            open_timeout=10,
            ping_interval=_PING,
            ping_timeout=2 * _PING,
            close_timeout=1,
            create_connection=_Connection,
        )

    async def _serve(self, connection: _Connection) -> None:
        self._socket = connection
        connection.take = self._read
        connection.put(wire.encode(self._peer.hello()))
        try:
            while True:
                await connection.recv()  # text, which nobody sends; this ends with the connection
        except websockets.ConnectionClosed as closed:
            if connection.failure is not None:
                raise connection.failure from closed
            if not isinstance(closed, websockets.ConnectionClosedOK):
                raise

    async def _serve_stream(self, door: socket.socket) -> None:
        """Speak over a pair of sockets with the server that has started us, until it breaks."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        door.setblocking(False)
        await _pass_through(door, {}, theirs)
        _, stream = await loop.create_unix_connection(lambda: _Stream(self._read), sock=ours)
        self._socket = stream
        stream.put(wire.encode(self._peer.hello()))
        try:
            await stream.closed
            logger.info("link.failed", error="the stream has ended")
        finally:
            stream.end()

    @property
    def hand(self) -> Hand | None:
        """What hands a session's process to the server, which then speaks to it itself, where it can."""
        return partial(_hand, self._door) if isinstance(self._socket, _Stream) and self._door else None

    def _read(self, message: bytes) -> None:
        for raw in _split(message):
            [frame] = wire.decode_all(raw)
            if frame.type == "welcome":
                self.is_open = True
                logger.info("link.opened", url="" if isinstance(self._socket, _Stream) else self._url)
                self._peer.resend()
            self._peer.receive(frame, raw)

    def _flush(self) -> None:
        frames, self._outbox = self._outbox, []
        if self._socket is not None:
            for message in _messages(frames):
                self._socket.put(message)

    def _close(self) -> None:
        self._outbox.clear()
        self._socket = None
        if self.is_open:
            self.is_open = False
            self._peer.lost()


async def _hand(door: socket.socket, session_id: str, epoch: int, sock: socket.socket) -> None:
    await _pass_through(door, {"sid": session_id, "ep": epoch}, sock)


async def _pass_through(door: socket.socket, about: Mapping[str, Any], sock: socket.socket) -> None:
    """Pass our end of a socket through a door, and close it here; wait while the door is full.

    Raises:
        OSError: The server is gone.
    """
    with sock:
        while True:
            with contextlib.suppress(BlockingIOError):
                socket.send_fds(door, [json.dumps(about).encode()], [sock.fileno()])
                return
            await asyncio.sleep(0.001)


def _split(message: bytes) -> Iterator[bytes]:
    """Yield the frames of a message as they are; broken ones are for `wire` to find."""
    at = 0
    while at < len(message):
        end = at + _LENGTH.size + int(_LENGTH.unpack(message[at : at + _LENGTH.size].rjust(4, b"\0"))[0])
        yield message if at == 0 and end == len(message) else message[at:end]
        at = end


def _messages(frames: list[bytes]) -> list[bytes]:
    """Join frames to messages of at most `_MESSAGE` bytes, in order."""
    found: list[bytes] = []
    part: list[bytes] = []
    size = 0
    for frame in frames:
        if part and size + len(frame) > _MESSAGE:
            found.append(b"".join(part))
            part, size = [], 0
        part.append(frame)
        size += len(frame)
    return [*found, b"".join(part)] if part else found


def _status(error: Exception) -> int | None:
    response = getattr(error, "response", None)
    return getattr(response, "status_code", None)
