"""One session's frames between its process's socket and the link.

Everything that the server has to answer is kept until it has, and sent again over a new link. While too much
is kept the process's socket is not read, so that the process waits. Values that are too large for the link
go ahead over HTTP, and what follows them waits. Neither values nor results are ever looked into.
"""

import asyncio
import json
import re
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, cast

from ninelives.run import wire

#: How much of a session may be without an answer before its socket is not read. bytes, frames
WINDOW_BYTES = 1024 * 1024
WINDOW_FRAMES = 256
#: How often a session may say whether all its strands wait. seconds
_WAITING_EVERY = 0.05
_HEAD = struct.Struct(">II")
#: The server's answers to a frame with the same `i`.
_ANSWERS = frozenset({"ack", "answer", "wait", "refuse", "parked", "stay", "done_ok"})

#: What a process may say; the rest is for workers.
_SAYS = frozenset({"hello", "record", "call", "park", "waiting", "done"})
#: What only the worker may put into a header.
_OURS = frozenset({"sid", "ep", "blob"})
_HEADER_LIMIT = 512 * 1024  # bytes
_DEPTH_LIMIT = 100
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NO_BRACKET = re.compile(rb"[^][{}]+")

Upload = Callable[[bytes], Awaitable[str]]
Download = Callable[[str], Awaitable[bytes]]


class Relay(asyncio.Protocol):
    """Reads a session's socket and writes to it; `send` is where frames for the server go.

    Attributes:
        closed: Done when the process's end of the socket is closed and everything read.
        broken: Why the session cannot go on, if it cannot.
        is_waiting: Whether all its strands wait, by its last word.
        holds_back: Whether answers are kept from the process: it finishes what it does and starts nothing.
        activity: Counts frames from the process.
    """

    def __init__(
        self,
        session_id: str,
        epoch: int,
        *,
        send: Callable[[bytes], None],
        upload: Upload,
        download: Download,
    ) -> None:
        self._prefix = (
            json.dumps({"sid": session_id, "ep": epoch}, separators=(",", ":")).encode()[:-1] + b","
        )
        self._send = send
        self._upload = upload
        self._download = download
        self._buffer = bytearray()
        self._kept: dict[int, bytes] = {}
        self._kept_bytes = 0
        self._waiting_frame: bytes | None = None
        self._next_waiting: asyncio.TimerHandle | None = None
        self._queue: deque[tuple[dict[str, Any], bytes]] = deque()
        self._uploading: asyncio.Task[None] | None = None
        self._downloads: set[asyncio.Task[None]] = set()
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] | None = []
        self._is_paused = False
        self._settled = asyncio.Event()
        self._settled.set()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.final: asyncio.Future[tuple[str, str | None]] = asyncio.get_running_loop().create_future()
        self._finals: dict[int, tuple[str, str | None]] = {}
        self.broken = ""
        self.is_waiting = False
        self.holds_back = False
        self.activity = 0
        self._held = 0

    # The process's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to read the socket."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Note that the process has closed its end."""
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the process and pass on the frames that are complete."""
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= _HEAD.size:
            length, header_size = _HEAD.unpack_from(buffer, at)
            if length > wire.FRAME_LIMIT or header_size > length:
                self._break(f"it sent a frame of {length} bytes")
                return
            end = at + 4 + length
            if len(buffer) < end:
                break
            header = bytes(buffer[at + 8 : at + 8 + header_size])
            self._from_process(header, bytes(buffer[at + 8 + header_size : end]))
            at = end
        del buffer[:at]

    def open(self) -> None:
        """Let the server's frames through: the process has its journal."""
        early, self._early = self._early or [], None
        for frame in early:
            self.write(frame)

    def write(self, frame: bytes) -> None:
        """Send bytes to the process."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

    async def drained(self) -> None:
        """Wait until the process has taken most of what was written; for long journals."""
        while self._transport is not None and not self._transport.is_closing():
            if self._transport.get_write_buffer_size() <= WINDOW_BYTES:
                return
            await asyncio.sleep(0.001)

    def _from_process(self, header: bytes, body: bytes) -> None:
        head = _header(header)
        if head is None:
            self._break("it sent a frame that is none of a session's")
            return
        kind = head["t"]
        self.activity += 1
        if kind == "hello":
            return
        if kind == "waiting":
            self.is_waiting = bool(head.get("is_waiting"))
        if self._queue or (kind == "record" and len(body) > wire.BLOB_OVER):
            self._queue.append((head, body))
            self._kept_bytes += len(body)
            self._settled.clear()
            if self._uploading is None:
                self._uploading = asyncio.create_task(self._send_queued())
        else:
            self._pass(head, self._tag(header, body))
        self._throttle()

    def _tag(self, header: bytes, body: bytes) -> bytes:
        """Return the frame with session and epoch put into its header."""
        size = len(self._prefix) + len(header) - 1
        return b"".join((_HEAD.pack(4 + size + len(body), size), self._prefix, header[1:], body))

    def _pass(self, head: dict[str, Any], frame: bytes) -> None:
        kind, number = head["t"], head.get("i")
        if kind == "waiting":
            self._tell_waiting(frame)
            return
        if isinstance(number, int):
            if number in self._kept:
                self._break(f"it used the number {number} for two frames")
                return
            self._kept[number] = frame
            self._kept_bytes += len(frame)
            self._settled.clear()
            if kind == "park":
                self._finals[number] = ("parked", head.get("until"))
            elif kind == "done":
                self._finals[number] = ("finished", None)
        self._send(frame)

    def _tell_waiting(self, frame: bytes) -> None:
        """Pass on whether all strands wait: at once, but not more often than people can see.

        Nobody answers it, so nothing else keeps a process from filling the link with it.
        """
        self._waiting_frame = frame
        if self._next_waiting is None:
            self._send(frame)
            self._next_waiting = asyncio.get_running_loop().call_later(_WAITING_EVERY, self._tell_last, frame)

    def _tell_last(self, told: bytes) -> None:
        self._next_waiting = None
        if self._waiting_frame is not None and self._waiting_frame != told and not self.broken:
            self._tell_waiting(self._waiting_frame)

    async def _send_queued(self) -> None:
        try:
            while self._queue:
                head, body = self._queue[0]
                size = len(body)
                if head["t"] == "record" and size > wire.BLOB_OVER:
                    head, body = {**head, "blob": await self._upload(body)}, b""
                self._queue.popleft()
                self._kept_bytes -= size
                header = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
                self._pass(head, self._tag(header, body))
        except Exception as error:  # noqa: BLE001  # the root of a task
            self._break(f"a value of {size} bytes could not be stored: {error}")
        finally:
            self._uploading = None
            self._throttle()

    def _throttle(self) -> None:
        is_full = self._kept_bytes > WINDOW_BYTES or len(self._kept) + len(self._queue) >= WINDOW_FRAMES
        if self._transport is None or is_full == self._is_paused or self._transport.is_closing():
            return
        self._is_paused = is_full
        if is_full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _break(self, why: str) -> None:
        self.broken = self.broken or why
        self._kept.clear()
        self._queue.clear()
        self._settled.set()
        if self._transport is not None:
            self._transport.abort()

    # The server's side

    def resend(self) -> None:
        """Send again, over a new link, what has no answer yet."""
        if self._waiting_frame is not None:
            self._send(self._waiting_frame)
        for frame in self._kept.values():
            self._send(frame)

    def deliver(self, frame: wire.Frame, raw: bytes) -> None:
        """Take a frame of the server's."""
        kind, number = frame.type, frame.head.get("i")
        if kind in _ANSWERS and isinstance(number, int):
            kept = self._kept.pop(number, None)
            if kept is None:
                return  # answered over the former link already
            self._kept_bytes -= len(kept)
            final = self._finals.pop(number, None)
            if final is not None and kind in {"parked", "done_ok"} and not self.final.done():
                self.final.set_result(final)
            if not self._kept and not self._queue:
                self._settled.set()
            self._throttle()
        if "blob" in frame.head:
            task = asyncio.create_task(self._fetch(frame))
            self._downloads.add(task)
            task.add_done_callback(self._downloads.discard)
        elif self.holds_back and kind in {"ack", "answer"}:
            self._held += 1
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

    @property
    def owes(self) -> int:
        """How many of the process's frames have no answer yet."""
        return len(self._kept) + len(self._queue)

    async def settled(self) -> None:
        """Wait until everything that the process said has its answer."""
        await self._settled.wait()

    async def stood_still(self, quiet: float) -> None:
        """Wait until the process only waits, or must be waiting for an answer that is held back.

        Args:
            quiet: How long it says nothing in the latter case. seconds
        """
        while not (self.closed.done() or (self.is_waiting and not self.owes)):
            before = self.activity
            await asyncio.sleep(quiet)
            if self._held and not self.owes and self.activity == before:
                return

    def close(self) -> None:
        """Forget the process."""
        if self._next_waiting is not None:
            self._next_waiting.cancel()
        if self._uploading is not None:
            self._uploading.cancel()
        for task in self._downloads:
            task.cancel()
        if self._transport is not None:
            self._transport.abort()


def _header(text: bytes) -> dict[str, Any] | None:
    """Read the header of a process's frame; `None` if it is none, or speaks for somebody else.

    Project code can write anything to its socket. What is passed on must be read by the server as it is read
    here, and one session's nonsense must not break the link that all sessions use.
    """
    if len(text) > _HEADER_LIMIT or not text.startswith(b"{") or _depth(text) > _DEPTH_LIMIT:
        return None
    try:
        head = json.loads(text.decode())
    except ValueError:
        return None
    kind, number = head.get("t"), head.get("i", 0)
    if not isinstance(kind, str) or kind not in _SAYS or _OURS & head.keys() or type(number) is not int:
        return None
    return cast("dict[str, Any]", head)


def _depth(text: bytes) -> int:
    """Return at most how deep a JSON text is nested."""
    if text.count(b"[") + text.count(b"{") <= _DEPTH_LIMIT:
        return 0
    depth = deepest = 0
    for bracket in _NO_BRACKET.sub(b"", _STRING.sub(b"", text)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest
