"""Keep the end of what a process writes to its output: enough to explain its death."""

import asyncio
import os
from collections import deque

#: How much is kept. bytes
SIZE = 8 * 1024


class Tail(asyncio.Protocol):
    """Reads a pipe until its other end is closed everywhere."""

    def __init__(self) -> None:
        self._parts: deque[bytes] = deque()
        self._size = 0
        self._transport: asyncio.ReadTransport | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def attach(self, fd: int) -> None:
        """Begin to read a pipe; it is ours to close from now on."""
        pipe = os.fdopen(fd, "rb", buffering=0)
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: self, pipe)

    def data_received(self, data: bytes) -> None:
        """Keep what has come, and forget what is too long ago."""
        self._parts.append(data)
        self._size += len(data)
        while self._size - len(self._parts[0]) >= SIZE:
            self._size -= len(self._parts.popleft())

    def connection_lost(self, _exc: Exception | None) -> None:
        """Note that there is no more to come."""
        if not self._ended.done():
            self._ended.set_result(None)

    async def ended(self, patience: float) -> None:
        """Wait until all of it has been read, but not for ever: somebody else may hold the other end."""
        await asyncio.wait({self._ended}, timeout=patience)

    def text(self) -> str:
        """Return what was kept."""
        return b"".join(self._parts)[-SIZE:].decode(errors="replace")

    def close(self) -> None:
        """Stop reading."""
        if self._transport is not None:
            self._transport.close()
