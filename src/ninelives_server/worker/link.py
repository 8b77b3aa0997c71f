"""The worker's one connection to its server: frames of all sessions, both ways.

It is opened again whenever it breaks; what was sent and not yet answered is sent again by whoever sent it
(`Peer.resend`), because only they know. Frames that are ready together travel in one message. What frames
mean is not known here; see `ninelives.run.wire`.
"""

import asyncio
import contextlib
import ssl
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import websockets
from websockets.asyncio.client import ClientConnection, connect

from ninelives.run import wire
from ninelives_server import log

logger = log.get(__name__)

#: A message holds no more frames than fit, except one that is larger by itself. bytes
_MESSAGE = 1024 * 1024
_SHORTEST, _LONGEST = 0.05, 2.0  # seconds between attempts to connect
_PING = 5.0  # seconds
#: What a frame begins with: the number of bytes that follow.
_LENGTH = struct.Struct(">I")


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


class Link:
    """A WebSocket to `/api/v1/worker/link` that stays."""

    def __init__(
        self, url: str, headers: Mapping[str, str], context: ssl.SSLContext | None, peer: Peer
    ) -> None:
        scheme, _, rest = url.partition("://")
        self._url = f"{'wss' if scheme == 'https' else 'ws'}://{rest}"
        self._headers = headers
        self._context = context if scheme == "https" else None
        self._peer = peer
        self._outbox: list[bytes] = []
        self._pending = asyncio.Event()
        self.is_open = False

    def send(self, frame: bytes) -> None:
        """Send an encoded frame soon; it is dropped while there is no link."""
        if self.is_open:
            self._outbox.append(frame)
            self._pending.set()

    async def run(self) -> None:
        """Keep the link open until cancelled."""
        pause = _SHORTEST
        while True:
            try:
                async with self._connect() as socket:
                    pause = _SHORTEST
                    await self._serve(socket)
            except (OSError, websockets.WebSocketException, wire.BrokenFrame) as error:
                logger.info("link.failed", error=type(error).__name__, status=_status(error))
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
        )

    async def _serve(self, socket: ClientConnection) -> None:
        await socket.send(wire.encode(self._peer.hello()))
        writer = asyncio.create_task(self._write(socket))
        try:
            async for message in socket:
                if isinstance(message, bytes):
                    self._read(message)
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, websockets.WebSocketException):
                await writer

    def _read(self, message: bytes) -> None:
        for raw in _split(message):
            [frame] = wire.decode_all(raw)
            if frame.type == "welcome":
                self.is_open = True
                logger.info("link.opened", url=self._url)
                self._peer.resend()
            self._peer.receive(frame, raw)

    async def _write(self, socket: ClientConnection) -> None:
        while True:
            await self._pending.wait()
            self._pending.clear()
            frames, self._outbox = self._outbox, []
            for message in _messages(frames):
                await socket.send(message)

    def _close(self) -> None:
        self._outbox.clear()
        self._pending.clear()
        if self.is_open:
            self.is_open = False
            self._peer.lost()


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
