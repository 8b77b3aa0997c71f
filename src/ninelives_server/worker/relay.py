"""One session's frames between its process's socket and the link.

Everything that the server has to answer is kept until it has, and sent again over a new link.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from ninelives.run import wire
from ninelives_server.worker.session_socket import ANSWERS, GO, WINDOW_BYTES, SessionSocket, Upload

_HEAD = struct.Struct(">II")

Download = Callable[[str], Awaitable[bytes]]


class Relay(SessionSocket):
    """Passes frames on under the name of their session; `send` is where those for the server go."""

    def __init__(
        self,
        session_id: str,
        epoch: int,
        *,
        send: Callable[[bytes], None],
        upload: Upload,
        download: Download,
    ) -> None:
        super().__init__(upload)
        self._prefix = (
            json.dumps({"sid": session_id, "ep": epoch}, separators=(",", ":")).encode()[:-1] + b","
        )
        self._send = send
        self._download = download
        self._downloads: set[asyncio.Task[None]] = set()
        self._early: list[bytes] | None = []

    async def attach(self, sock: socket.socket) -> None:
        """Begin to read our end of the process's socket."""
        sock.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=sock)

    async def give(self, frames: bytes) -> None:
        """Send the process what it has to know before it may run, and wait until it has taken most of it."""
        self.write(frames)
        while self._transport is not None and not self._transport.is_closing():
            if self._transport.get_write_buffer_size() <= WINDOW_BYTES:
                return
            await asyncio.sleep(0.001)

    async def let_go(self) -> None:
        """Let the process run, and the server's frames through."""
        self.write(GO)
        early, self._early = self._early or [], None
        for frame in early:
            self.write(frame)

    async def left(self) -> None:
        """Wait until all is read that a process said which has ended."""
        await self.closed

    def lost(self) -> None:
        """Wait for the next link: what has no answer yet is sent again."""

    def _forward(self, _head: dict[str, Any], header: bytes, body: bytes) -> bytes:
        frame = self._tag(header, body)
        self._send(frame)
        return frame

    def _tag(self, header: bytes, body: bytes) -> bytes:
        """Return the frame with session and epoch put into its header."""
        size = len(self._prefix) + len(header) - 1
        return b"".join((_HEAD.pack(4 + size + len(body), size), self._prefix, header[1:], body))

    def resend(self) -> None:
        """Send again, over a new link, what has no answer yet."""
        if self._waiting is not None:
            self._send(self._tag(self._waiting[1], b""))
        for frame in self._kept.values():
            self._send(frame)

    def deliver(self, frame: wire.Frame, raw: bytes) -> None:
        """Take a frame of the server's."""
        kind, number = frame.type, frame.head.get("i")
        if kind in ANSWERS and isinstance(number, int) and not self._answer(kind, number):
            return  # answered over the former link already
        if "blob" in frame.head:
            task = asyncio.create_task(self._fetch(frame))
            self._downloads.add(task)
            task.add_done_callback(self._downloads.discard)
        elif self._is_held_back(kind):
            return
        elif self._early is not None:
            self._early.append(raw)
        else:
            self.write(raw)

    async def _fetch(self, frame: wire.Frame) -> None:
        head = dict(frame.head)
        try:
            body = await self._download(str(head.pop("blob")))
        except Exception as error:  # noqa: BLE001  # the root of a task
            self._break(f"a stored value could not be fetched: {error}")
            return
        self.write(wire.encode(head, body))

    def close(self) -> None:
        """Forget the process."""
        super().close()
        for task in self._downloads:
            task.cancel()
