"""The link of the worker that `up` has started: a pair of sockets between the two processes.

It carries what the WebSocket of other workers does (`api.worker_link`), with less in between. Nobody else has
an end of it, so it needs no token. Where it breaks before its worker does, that one comes back by WebSocket.

The worker is started with a door: a socket through which it hands us others, first its end of that pair, then
one for each session's process (`sessions.direct`).
"""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Coroutine
from typing import Any, cast

from ninelives.run import wire
from ninelives_server import log
from ninelives_server.sessions.links import Links
from ninelives_server.sessions.peer_process import PeerProcess

logger = log.get(__name__)

#: What comes with a socket is short. bytes
_ABOUT = 1024
_UCRED = struct.Struct("3i")


class Door:
    """Takes in the sockets that one worker hands us, until it is closed."""

    def __init__(self, links: Links, sock: socket.socket) -> None:
        self._links = links
        self._sock = sock
        self._stream: _Stream | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        sock.setblocking(False)
        asyncio.get_running_loop().add_reader(sock, self._take)

    def _take(self) -> None:
        try:
            about, fds, _, _ = socket.recv_fds(self._sock, _ABOUT, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            about, fds = b"", []
        if not about:  # the worker is gone
            self._leave()
        for fd in fds:
            self._start(self._serve(json.loads(about), socket.socket(fileno=fd)))

    def _start(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, about: dict[str, Any], sock: socket.socket) -> None:
        if self._stream is not None:
            assert self._stream.link.directs is not None
            await self._stream.link.directs.adopt(str(about["sid"]), int(about["ep"]), sock)
            return
        stream = self._stream = _Stream(self._links, PeerProcess(_pid_of_peer(sock)))
        sock.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: stream, sock)

    def _leave(self) -> None:
        with contextlib.suppress(ValueError):  # it was closed
            asyncio.get_running_loop().remove_reader(self._sock)

    def close(self) -> None:
        """Take nothing more, and have the link hang up."""
        self._leave()
        if self._stream is not None:
            self._stream.link.close()


def _pid_of_peer(sock: socket.socket) -> int:
    """Return the id of the process that has made a pair of sockets (SO_PEERCRED, unix(7))."""
    pid, _, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return int(pid)


class _Stream(asyncio.Protocol):
    """Reads whole frames, and writes what one turn of the event loop brings together.

    Attributes:
        link: The dialogue that it carries.
    """

    def __init__(self, links: Links, worker: PeerProcess) -> None:
        self.links = links
        self.link = links.open()
        self.link.open_directly(worker.is_dead)
        self._worker = worker
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
        self._worker.close()
        self._losing = asyncio.get_running_loop().create_task(self.links.lost(self.link))
