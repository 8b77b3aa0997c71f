"""Frames for a worker that wait for its transport: one that waits for them, or one that is told of them."""

import asyncio
from collections.abc import Callable


class Outbox:
    """What is to be sent next; all that is there is taken at once.

    Attributes:
        on_ready: Called when there is something, once until it is taken.
    """

    def __init__(self) -> None:
        self.on_ready: Callable[[], None] | None = None
        self._frames: list[bytes] = []
        self._ready = asyncio.Event()

    def put(self, frame: bytes) -> None:
        """Add a frame."""
        self._frames.append(frame)
        self.stir()

    def stir(self) -> None:
        """Have the transport look, also where there is nothing: it may have to hang up."""
        if not self._ready.is_set():
            self._ready.set()
            if self.on_ready is not None:
                self.on_ready()

    def take(self) -> bytes:
        """Return all that there is."""
        self._ready.clear()
        data, self._frames = b"".join(self._frames), []
        return data

    async def wait(self) -> bytes:
        """Wait until there is something, and return all of it."""
        await self._ready.wait()
        return self.take()
