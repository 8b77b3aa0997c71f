"""A session whose process speaks to the server itself, seen from its worker.

The worker gives the process its journal and hands its socket over (`sessions.direct`). What it has to know
afterwards the server tells it: that the process said its last word, and that all it said has its answer.
"""

import asyncio
import contextlib
import socket
from typing import Any

from ninelives.run import wire
from ninelives_server.worker.link import Hand


class Handed:
    """Stands where a `Relay` does for other sessions.

    Attributes:
        closed: Done when all that the process said has its answer, and it cannot say more.
        final: How the process says that it ends, once that is answered: `parked` with a time, or `finished`.
        broken: Why the session cannot go on, if it cannot.
        holds_back: The server keeps the answers itself.
    """

    def __init__(self, session_id: str, epoch: int, hand: Hand) -> None:
        self._key = session_id, epoch
        self._hand = hand
        self._sock: socket.socket | None = None
        self._is_over = False
        self._still = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.final: asyncio.Future[tuple[str, str | None]] = loop.create_future()
        self.broken = ""
        self.holds_back = False

    async def attach(self, sock: socket.socket) -> None:
        """Take our end of the process's socket."""
        sock.setblocking(False)
        self._sock = sock

    async def give(self, frames: bytes) -> None:
        """Send the process what it has to know before it may run."""
        assert self._sock is not None
        with contextlib.suppress(ConnectionError):  # how it ended is said elsewhere
            await asyncio.get_running_loop().sock_sendall(self._sock, frames)

    async def let_go(self) -> None:
        """Hand the process over: it runs from now on."""
        sock, self._sock = self._sock, None
        assert sock is not None
        try:
            await self._hand(*self._key, sock)
        except OSError:
            self.lost()
        else:
            self._is_over = True

    async def left(self) -> None:
        """Wait until all that a process said which has ended is answered."""
        if self._is_over:
            await self.closed

    async def settled(self) -> None:
        """The same."""
        await self.left()

    async def stood_still(self) -> None:
        """Wait until the process only waits, or must be waiting for an answer that is held back."""
        stands = asyncio.ensure_future(self._still.wait())
        waited: list[asyncio.Future[Any]] = [stands, self.closed]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        stands.cancel()

    def deliver(self, frame: wire.Frame, _raw: bytes) -> None:
        """Take a frame of the server's."""
        match frame.type:
            case "parked":
                self._end_with("parked", frame.head.get("until"))
            case "done_ok":
                self._end_with("finished", None)
            case "still":
                self._still.set()
            case "gone":
                self.broken = self.broken or str(frame.head.get("why") or "")
                self.lost()

    def _end_with(self, name: str, until: str | None) -> None:
        if not self.final.done():
            self.final.set_result((name, until))

    def lost(self) -> None:
        """Expect no more of the server."""
        if not self.closed.done():
            self.closed.set_result(None)

    def resend(self) -> None:
        """Do nothing: what the process said, it said to the server."""

    def close(self) -> None:
        """Forget the process."""
        if self._sock is not None:
            self._sock.close()
