"""The link of the worker that `up` has started: a pair of sockets between the two processes.

It carries what the WebSocket of other workers does (`api.worker_link`), with less in between. Nobody else has
an end of it, so it needs no token. Where it breaks before its worker does, that one comes back by WebSocket.
"""

import asyncio
import socket
from typing import cast

from ninelives.run import wire
from ninelives_server import log
from ninelives_server.sessions.link import Link
from ninelives_server.sessions.links import Links

logger = log.get(__name__)


async def carry(links: Links, sock: socket.socket) -> Link:
    """Carry a worker's frames from now on, until either side hangs up; return the link, to be closed."""
    sock.setblocking(False)
    _, stream = await asyncio.get_running_loop().connect_accepted_socket(lambda: _Stream(links), sock)
    return stream.link


class _Stream(asyncio.Protocol):
    """Reads whole frames, and writes what one turn of the event loop brings together.

    Attributes:
        link: The dialogue that it carries.
    """

    def __init__(self, links: Links) -> None:
        self.links = links
        self.link = links.open()
        self.link.outbox.on_ready = self._write_soon
        self._joiner = wire.Joiner()
        self._is_full = False
        self._transport: asyncio.Transport
        self._losing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self.link.receive(self._joiner.joined(data))
        except (wire.BrokenFrame, KeyError, ValueError) as error:
            logger.warning("link.broken_frame", worker_id=self.link.worker_id, error=str(error))
            self._transport.abort()

    def _write_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        if self._is_full or self._transport.is_closing():
            return
        if data := self.link.outbox.take():
            self._transport.write(data)
        if self.link.is_closed:
            self._transport.close()

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._write()

    def connection_lost(self, _error: Exception | None) -> None:
        self._losing = asyncio.get_running_loop().create_task(self.links.lost(self.link))
