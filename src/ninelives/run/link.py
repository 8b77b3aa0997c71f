"""The session's end of its socket: what is sent, who waits for which answer, and the timers.

One thread reads the socket and runs timers; anybody may send. Frames leave in the order in which they were
sent, which is the order in which the server commits them. When the other side closes, this process has
nothing left to live for and ends.
"""

import heapq
import itertools
import os
import select
import socket
import struct
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from ninelives.errors import NotInSession
from ninelives.run import wire
from ninelives.run.wire import Frame

#: The exit status of a session whose supervisor is gone, or that was refused: EX_TEMPFAIL of sysexits.h.
EXIT_LOST = 75

_HEAD = struct.Struct(">II")
_CHUNK = 256 * 1024
#: `poll` takes no more: the milliseconds are a C `int`. A timer that is later is looked at again then.
_LONGEST_POLL = 2**31 - 1

#: Taken before anybody can replace them: project code must not be able to hold our lock or stop our clock.
_allocate_lock = threading.Lock
_now = time.monotonic

Answer = Callable[[Frame], None]


class Timer:
    """Something to be done at a time; `cancel` may come too late."""

    __slots__ = ("_act",)

    def __init__(self, act: Callable[[], None]) -> None:
        self._act: Callable[[], None] | None = act

    def cancel(self) -> None:
        """Do not do it."""
        self._act = None

    def run(self) -> None:
        """Do it, unless it was cancelled."""
        act, self._act = self._act, None
        if act is not None:
            act()


class Link:
    """Speaks to the supervisor."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""
        self._send_lock = _allocate_lock()
        self._ids = itertools.count(1)
        self._waiting: dict[int, Answer] = {}
        self._events: dict[str, Answer] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._timer_lock = _allocate_lock()
        self._wake = -1
        #: Asked before a frame is sent, with whether somebody waits for its answer; `False` drops it.
        self.gate: Callable[[Mapping[str, Any], bool], bool] = _open_gate
        #: This is a child process that user code forked: it has no part in the conversation.
        self.is_child = False
        os.register_at_fork(after_in_child=self._disown)

    def _disown(self) -> None:
        """Fall silent in a child process; the parent's locks may be held by threads that are not here."""
        self.is_child = True
        self._send_lock = _allocate_lock()
        self._timer_lock = _allocate_lock()

    # --- before anything runs -------------------------------------------------------------------------

    def receive(self) -> Frame:
        """Read the next frame; only before `start`."""
        while True:
            for frame in self._frames_in_hand(limit=1):
                return frame
            self._read()

    def start(self, events: Mapping[str, Answer]) -> None:
        """Read in a thread from now on; frames that answer nothing go to `events`, by type."""
        self._events = dict(events)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        thread = threading.Thread(target=self._serve, name="ninelives-link", daemon=True)
        thread.start()

    # --- sending ----------------------------------------------------------------------------------------

    def send(self, head: Mapping[str, Any], body: bytes = b"") -> None:
        """Send a frame that nobody answers."""
        if not self.gate(head, False):
            return
        data = wire.encode(head, body)
        with self._send_lock:
            self._write(data)

    def post(self, head: dict[str, Any], answer: Answer | None, body: bytes = b"") -> int:
        """Send a frame with a new `i`; `answer` is called, in the link's thread, with what comes back."""
        if not self.gate(head, answer is not None):
            return 0
        with self._send_lock:
            i = head["i"] = next(self._ids)
            if answer is not None:
                self._waiting[i] = answer
            self._write(wire.encode(head, body))
        return i

    def ask(self, head: dict[str, Any], body: bytes = b"") -> Frame:
        """Send a frame and wait for its answer.

        Raises:
            NotInSession: This is a child process of the session's.
        """
        if self.is_child:
            raise NotInSession(
                "a child process of a session cannot speak for it; do this in the session itself"
            )
        lock = _allocate_lock()
        lock.acquire()
        found: list[Frame] = []

        def take(frame: Frame) -> None:
            found.append(frame)
            lock.release()

        self.post(head, take, body)
        lock.acquire()
        return found[0]

    def _write(self, data: bytes) -> None:
        if self.is_child:
            return
        try:
            self._sock.sendall(data)
        except OSError as error:
            trace = error.__traceback__
            if trace is not None and trace.tb_next is not None:
                # Of a signal handler of project code, such as an alarm's `TimeoutError`; the socket is well.
                raise
            lost()

    # --- timers -------------------------------------------------------------------------------------------

    def at(self, when: float, act: Callable[[], None]) -> Timer:
        """Have something done in the link's thread at a time of the monotonic clock."""
        timer = Timer(act)
        with self._timer_lock:
            entry = (when, next(self._ids), timer)
            heapq.heappush(self._timers, entry)
            is_first = self._timers[0] is entry
        if is_first and self._wake >= 0:
            os.eventfd_write(self._wake, 1)
        return timer

    def soon(self, act: Callable[[], None]) -> None:
        """Have something done in the link's thread."""
        self.at(0.0, act)

    def _due(self) -> tuple[list[Timer], float | None]:
        """Return the timers that are due, and the seconds until the next one."""
        now, due = _now(), []
        with self._timer_lock:
            while self._timers and self._timers[0][0] <= now:
                due.append(heapq.heappop(self._timers)[2])
            left = self._timers[0][0] - now if self._timers else None
        return due, left

    # --- reading --------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Be the link's thread; without it nothing would ever go on."""
        try:
            self._loop()
        except BaseException:
            os.write(2, f"ninelives: the link broke\n{traceback.format_exc()}".encode())
            lost()

    def _loop(self) -> NoReturn:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        sock = self._sock.fileno()
        for frame in self._frames_in_hand():
            self._dispatch(frame)
        while True:
            due, left = self._due()
            for timer in due:
                timer.run()
            if due:
                continue
            for fd, _ in poll.poll(None if left is None else _milliseconds(left)):
                if fd != sock:
                    os.eventfd_read(self._wake)
                    continue
                self._read()
                for frame in self._frames_in_hand():
                    self._dispatch(frame)

    def _dispatch(self, frame: Frame) -> None:
        answer = self._waiting.pop(frame.head.get("i", 0), None) or self._events.get(frame.type)
        if answer is not None:
            answer(frame)

    def _read(self) -> None:
        try:
            data = self._sock.recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            lost()
        self._buffer = self._buffer + data if self._buffer else data

    def _frames_in_hand(self, limit: int | None = None) -> list[Frame]:
        """Take the complete frames out of what was read."""
        buffer, at = self._buffer, 0
        frames: list[Frame] = []
        while len(buffer) - at >= _HEAD.size and (limit is None or len(frames) < limit):
            length, _ = _HEAD.unpack_from(buffer, at)
            end = at + 4 + length
            if end > len(buffer):
                break
            frames.extend(wire.decode_all(buffer[at:end]))
            at = end
        if at:
            self._buffer = buffer[at:]
        return frames


def _milliseconds(seconds: float) -> int:
    """Return how long to poll: until a timer is due, or as long as the system can, which is 24 days."""
    return max(1, int(min(seconds * 1000 + 0.999, _LONGEST_POLL)))


def _open_gate(_head: Mapping[str, Any], _is_awaited: bool) -> bool:
    return True


def lost() -> NoReturn:
    """End this process at once: nobody is there to hear of it."""
    os._exit(EXIT_LOST)
