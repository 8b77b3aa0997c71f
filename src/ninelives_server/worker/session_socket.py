"""Our end of the socket that a session's process speaks through, whoever listens: the worker or the server.

Project code can write anything to its socket. So what comes is read strictly, and nobody may keep us busy:
while too much of a session has no answer yet, or it does not read its answers, or says too much that nobody
answers, its socket is not read, and its process waits. Values that are too large for a record's frame are
stored first, and what follows them waits. Neither values nor results are ever looked into.
"""

import asyncio
import json
import re
import struct
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, cast

from ninelives.run import wire

#: How much of a session may be without an answer before its socket is not read. bytes, frames
WINDOW_BYTES = 1024 * 1024
WINDOW_FRAMES = 256
#: How often a session may say whether all its strands wait. seconds
_WAITING_EVERY = 0.05
#: How much it may say in that time that nobody answers, and as how much a short frame counts. bytes
_UNANSWERED, _UNANSWERED_LEAST = 64 * 1024, 1024
#: A process whose answers are held back has finished what it does when it says nothing for this long. seconds
_QUIET = 0.5
#: Lets a process run that has its journal.
GO = wire.encode({"t": "go"})
_HEAD = struct.Struct(">II")
#: The server's answers to a frame with the same `i`.
ANSWERS = frozenset({"ack", "answer", "wait", "refuse", "parked", "stay", "done_ok"})
#: Those after which the process ends.
FINAL = frozenset({"parked", "done_ok"})
#: The answers that are kept from a process that shall start nothing more.
_RESULTS = frozenset({"ack", "answer"})
#: What a process may say; the rest is for workers.
_SAYS = frozenset({"hello", "record", "call", "park", "waiting", "done"})
#: What only we may put into a header.
_OURS = frozenset({"sid", "ep", "blob"})
_HEADER_LIMIT = 512 * 1024  # bytes
_DEPTH_LIMIT = 100
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_DECODER = json.JSONDecoder()
_NO_BRACKET = re.compile(rb"[^][{}]+")

Upload = Callable[[bytes], Awaitable[str]]


class SessionSocket(asyncio.Protocol, ABC):
    """Reads a session's frames and writes to it; what becomes of its frames is `_forward`'s to say.

    Attributes:
        closed: Done when the process's end of the socket is closed and everything read.
        final: How the process says that it ends, once that is answered: `parked` with a time, or `finished`.
        broken: Why the session cannot go on, if it cannot.
        is_waiting: Whether all its strands wait, by its last word.
        holds_back: Whether answers are kept from the process: it finishes what it does and starts nothing.
        activity: Counts frames from the process.
    """

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._buffer = bytearray()
        #: What has no answer yet, by number.
        self._kept: dict[int, bytes] = {}
        self._kept_bytes = 0
        self._has_greeted = False
        self._unanswered = 0
        self._window: asyncio.TimerHandle | None = None
        self._waiting: tuple[dict[str, Any], bytes] | None = None
        self._waiting_told = b""
        self._queue: deque[tuple[dict[str, Any], bytes]] = deque()
        self._uploading: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._is_paused = False
        self._is_clogged = False
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

    @abstractmethod
    def _forward(self, head: dict[str, Any], header: bytes, body: bytes) -> bytes:
        """Pass a frame on; return what is to be kept of it until it is answered."""

    # The process's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to read the socket."""
        self._transport = cast("asyncio.Transport", transport)
        # A process may say a lot before it reads the first of many small answers.
        self._transport.set_write_buffer_limits(WINDOW_BYTES)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Note that the process has closed its end."""
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        """Note that the process does not read what it is told."""
        self._is_clogged = True
        self._throttle()

    def resume_writing(self) -> None:
        """Note that it has read most of it."""
        self._is_clogged = False
        self._throttle()

    def data_received(self, data: bytes) -> None:
        """Take bytes of the process and pass on the frames that are complete."""
        self._buffer += data
        self._take_frames()

    def _take_frames(self) -> None:
        buffer = self._buffer
        at = 0
        while not (self._is_paused or self.broken) and len(buffer) - at >= _HEAD.size:
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

    def write(self, frame: bytes) -> None:
        """Send bytes to the process."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)

    def _from_process(self, header: bytes, body: bytes) -> None:
        head = _header(header)
        if head is None or (head["t"] == "hello" and self._has_greeted):
            self._break(f"it sent a frame that is none of a session's: {_fault(header)}")
            return
        kind = head["t"]
        self.activity += 1
        if kind == "hello":
            self._has_greeted = True
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
            self._pass(head, header, body)
        self._throttle()

    def _pass(self, head: dict[str, Any], header: bytes, body: bytes) -> None:
        number = head.get("i")
        if number is None:
            self._pass_unanswered(head, header, body)
            return
        if number in self._kept:
            self._break(f"it used the number {number} for two frames")
            return
        if head["t"] == "park":
            self._finals[number] = ("parked", head.get("until"))
        elif head["t"] == "done":
            self._finals[number] = ("finished", None)
        kept = self._kept[number] = self._forward(head, header, body)
        self._kept_bytes += len(kept)
        self._settled.clear()

    def _pass_unanswered(self, head: dict[str, Any], header: bytes, body: bytes) -> None:
        """Pass on what nobody answers, such as whether all strands wait, and count it.

        That goes at once, but not more often than people can see. Nothing else keeps a process from filling
        our time with it.
        """
        self._unanswered += _UNANSWERED_LEAST + len(header) + len(body)
        if head["t"] != "waiting":
            self._forward(head, header, body)
        else:
            self._waiting = head, header
        if self._window is None:
            self._tell_waiting()

    def _tell_waiting(self) -> None:
        """Begin a time in which whether all strands wait is not passed on again."""
        self._window = asyncio.get_running_loop().call_later(_WAITING_EVERY, self._end_window)
        if self._waiting is not None:
            head, self._waiting_told = self._waiting
            self._forward(head, self._waiting_told, b"")

    def _end_window(self) -> None:
        self._window = None
        self._unanswered = 0
        if self._waiting is not None and self._waiting[1] != self._waiting_told and not self.broken:
            self._tell_waiting()
        self._throttle()

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
                self._pass(head, header, body)
        except Exception as error:  # noqa: BLE001  # the root of a task
            self._break(f"a value of {size} bytes could not be stored: {error}")
        finally:
            self._uploading = None
            self._throttle()

    def _throttle(self) -> None:
        """Read the socket, or do not: whoever is not answered waits."""
        is_full = (
            self._kept_bytes > WINDOW_BYTES
            or len(self._kept) + len(self._queue) >= WINDOW_FRAMES
            or self._unanswered > _UNANSWERED
            or self._is_clogged
        )
        if self._transport is None or is_full == self._is_paused or self._transport.is_closing():
            return
        self._is_paused = is_full
        if is_full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
            self._take_frames()

    def _break(self, why: str) -> None:
        self.broken = self.broken or why
        self._kept.clear()
        self._queue.clear()
        self._settled.set()
        if self._transport is not None:
            self._transport.abort()

    # The server's side

    def _answer(self, kind: str, number: int) -> bool:
        """Note that a frame is answered; tell whether it still was to be."""
        kept = self._kept.pop(number, None)
        if kept is None:
            return False
        self._kept_bytes -= len(kept)
        final = self._finals.pop(number, None)
        if final is not None and kind in FINAL and not self.final.done():
            self.final.set_result(final)
        if not self._kept and not self._queue:
            self._settled.set()
        self._throttle()
        return True

    def _is_held_back(self, kind: str) -> bool:
        """Tell whether an answer is kept from the process, and count it."""
        if not self.holds_back or kind not in _RESULTS:
            return False
        self._held += 1
        return True

    @property
    def owes(self) -> int:
        """How many of the process's frames have no answer yet."""
        return len(self._kept) + len(self._queue)

    async def settled(self) -> None:
        """Wait until everything that the process said has its answer."""
        await self._settled.wait()

    async def stood_still(self) -> None:
        """Wait until the process only waits, or must be waiting for an answer that is held back."""
        while not (self.closed.done() or (self.is_waiting and not self.owes)):
            before = self.activity
            await asyncio.sleep(_QUIET)
            if self._held and not self.owes and self.activity == before:
                return

    def close(self) -> None:
        """Forget the process."""
        if self._window is not None:
            self._window.cancel()
        if self._uploading is not None:
            self._uploading.cancel()
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
        said = text.decode()
        # `json.loads` looks for blanks first, before and behind, which takes a third of the time.
        head, size = _DECODER.raw_decode(said)
    except (ValueError, RecursionError):
        return None
    if size != len(said):
        return None
    kind, number = head.get("t"), head.get("i", 0)
    if not isinstance(kind, str) or kind not in _SAYS or _OURS & head.keys() or type(number) is not int:
        return None
    return cast("dict[str, Any]", head)


def _fault(text: bytes) -> str:
    """Say what is wrong with a header; nothing of what it holds, which may be secret."""
    if len(text) > _HEADER_LIMIT:
        return f"its header has {len(text)} bytes"
    try:
        head = json.loads(text.decode())
    except (ValueError, RecursionError):
        return "its header is no JSON"
    if not isinstance(head, dict):
        return "its header is no JSON object"
    if _depth(text) > _DEPTH_LIMIT:
        return f"its header is nested more than {_DEPTH_LIMIT} deep"
    if head.get("t") == "hello":
        return "it says hello a second time"
    return "its header is not one that a session's process sends"


def _depth(text: bytes) -> int:
    """Return at most how deep a JSON text is nested."""
    if text.count(b"[") + text.count(b"{") <= _DEPTH_LIMIT:
        return 0
    depth = deepest = 0
    for bracket in _NO_BRACKET.sub(b"", _STRING.sub(b"", text)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest
