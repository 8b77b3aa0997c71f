"""The session's end of its socket: what is sent, who waits for which answer, and the timers.

One thread reads the socket and runs timers; anybody may send. Frames leave in the order in which they were
sent, which is the order in which the server commits them. When the other side closes, this process has
nothing left to live for and ends.

Whoever asks while nobody else waits for an answer reads the socket itself, and the link's thread lets go of
it meanwhile: a session with one strand would otherwise wake two threads, one after the other, for each step.
What comes for others is left to the link's thread, in order. An error may end a thread between any two calls
there (`interrupt_main`, a library's time-out), so what was read is kept, and forgotten, in one call each.
"""

import _signal  # type: ignore[import-not-found]  # no types are kept of it
import heapq
import itertools
import os
import select
import signal
import socket
import struct
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from ninelives.errors import NotInSession
from ninelives.run import wire
from ninelives.run.wire import Frame

#: The exit status of a session whose supervisor is gone, or that was refused: EX_TEMPFAIL of sysexits.h.
EXIT_LOST = 75

_HEAD = struct.Struct(">II")
#: Read at once, at first and while there is more. What is over 128 KB, malloc asks the kernel for, each time.
_CHUNK, _LARGE_CHUNK = 16 * 1024, 256 * 1024
#: `poll` takes little more: its milliseconds are a C `int`. Who is later is looked at again then. seconds
_LONGEST_POLL = 2_000_000.0
#: Flags of a `send` that never waits.
_AT_ONCE = (socket.MSG_DONTWAIT,)
_SIGNALS = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
#: Handlers that call no code of the project's; `None`: not installed by Python.
_HARMLESS = frozenset({signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler, None})

#: Taken before anybody can replace them: project code must not be able to hold our lock or stop our clock.
_allocate_lock = threading.Lock
_allocate_rlock = threading.RLock
_get_ident = threading.get_ident
_handler_of = _signal.getsignal  # that of `signal` makes an enumeration's member of each
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
        self._chunks: list[bytes] = []
        self._room = _CHUNK
        # A signal handler of project code may send what it prints between any two lines of ours, or raise.
        self._send_lock = _allocate_rlock()
        #: The frame that is being sent, and how many bytes of it each call has sent.
        self._out: tuple[bytes, list[int]] | None = None
        self._ids = itertools.count(1)
        self._waiting: dict[int, Answer] = {}
        self._events: dict[str, Answer] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._timer_lock = _allocate_rlock()
        self._wake = -1
        self._poll = select.epoll()
        self._asking = select.poll()
        # Who reads the socket: an `ask`, the link's thread, nobody.
        self._reader: object = None
        self._reader_lock = _allocate_lock()
        # There are complete frames for the link's thread.
        self._is_left = False
        self._main_thread = 0
        #: Asked before a frame is sent, with whether somebody waits for its answer; `False` drops it.
        self.gate: Callable[[Mapping[str, Any], bool], bool] = _open_gate
        #: This is a child process that user code forked: it has no part in the conversation.
        self.is_child = False
        os.register_at_fork(after_in_child=self._disown)

    def _disown(self) -> None:
        """Fall silent in a child process; the parent's locks may be held by threads that are not here."""
        self.is_child = True
        self._send_lock = _allocate_rlock()
        self._timer_lock = _allocate_rlock()
        self._reader_lock = _allocate_lock()

    # --- before anything runs -------------------------------------------------------------------------

    def receive(self) -> Frame:
        """Read the next frame; only before `start`."""
        while True:
            for frame, end in self._frames_in_hand():
                self._forget(end)
                return frame
            self._read()

    def start(self, events: Mapping[str, Answer]) -> None:
        """Read in a thread from now on; frames that answer nothing go to `events`, by type."""
        self._events = dict(events)
        self._main_thread = threading.main_thread().ident or 0
        self._poll.register(self._sock, select.EPOLLIN)
        self._wake = os.eventfd(1, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll.register(self._wake, select.EPOLLIN)
        self._asking.register(self._sock, select.POLLIN)
        self._is_left = True  # perhaps, with what `receive` has read
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

        reader = object()
        try:
            # What is to be done before this thread waits is done while the other side works.
            i = self.post(head, take, body)
            self._begin_reading(reader, i)
            while i and self._reader is reader and not found:
                self._read_for(i, reader)
        finally:
            self._end_reading(reader)
        lock.acquire()
        return found[0]

    # --- reading for an answer ----------------------------------------------------------------------------

    def _begin_reading(self, reader: object, i: int) -> None:
        """Read the socket in this thread from now on, unless somebody else waits, or has read the answer."""
        if _get_ident() == self._main_thread and not _HARMLESS.issuperset(map(_handler_of, _SIGNALS)):
            return  # a handler of project code may ask, too, while this thread cannot go on reading
        with self._reader_lock:
            is_alone = len(self._waiting) == 1 and i in self._waiting
            if self._reader is None and is_alone and not self._is_left and self._wake >= 0:
                self._reader = reader
        if self._reader is reader:
            self._poll.modify(self._sock, 0)

    def _end_reading(self, reader: object) -> None:
        if self._reader is reader:
            self._poll.modify(self._sock, select.EPOLLIN)
            self._reader = None
            if self._is_left:
                os.eventfd_write(self._wake, 1)

    def _read_for(self, i: int, reader: object) -> None:
        """Read what comes, and take the answer to `i` unless something for somebody else comes before it."""
        self._asking.poll()  # `recv` alone is woken when the other side takes what was sent, too
        self._read()
        done = 0
        for frame, end in self._frames_in_hand():
            number = frame.head.get("i", 0)
            if number != i and (number in self._waiting or frame.type in self._events):
                self._is_left = True
                break
            self._dispatch(frame)
            done = end
        self._forget(done)
        if self._is_left:
            self._end_reading(reader)

    def _write(self, data: bytes) -> None:
        """Send a frame, after what an interrupted one has left; the send lock is held."""
        if self.is_child:
            return
        if self._out is not None:
            self._send_rest()
        sent: list[int] = []
        out, size = (data, sent), len(data)
        once = map(self._sock.send, (data,), _AT_ONCE)
        try:
            self._out = out
            sent.extend(once)  # sent, and known to be, in one call, in which no handler runs: it never waits
            if sent[0] == size and self._out is out:
                self._out = None
            else:
                self._send_rest()
        except OSError as error:
            self._refused(error)
            self._send_rest()
        finally:
            if self._out is not None:
                # A signal handler has raised: half of a frame would break the stream for all that follows.
                self.soon(self._finish)

    def _send_rest(self) -> None:
        """Send what is left of a frame; a signal handler may come between any two calls, and send others."""
        while (out := self._out) is not None:
            data, sent = out
            before, extend = sent.copy(), sent.extend
            rest = memoryview(data)[sum(before) :]
            if not rest.nbytes:
                if self._out is out:
                    self._out = None
                continue
            once = map(self._sock.send, (rest,), _AT_ONCE)
            try:
                # What a handler has sent meanwhile must not be sent again; between the two it cannot come.
                if self._out is out and sent == before:
                    extend(once)
            except OSError as error:
                self._refused(error)

    def _refused(self, error: OSError) -> None:
        """Wait until the socket takes more, where that is what an error says; one of a handler passes."""
        trace = error.__traceback__
        if trace is not None and trace.tb_next is not None:
            # Of a signal handler of project code, such as an alarm's `TimeoutError`; the socket is well.
            raise error
        if not isinstance(error, BlockingIOError):
            lost()
        room = select.poll()  # a new one: a handler may come to wait here while this one does
        room.register(self._sock, select.POLLOUT)
        room.poll()

    def _finish(self) -> None:
        """Send the rest of a frame that a signal handler has interrupted; in the link's thread."""
        with self._send_lock:
            self._send_rest()

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
        while True:
            due, left = self._due()
            for timer in due:
                timer.run()
            if due:
                continue
            for fd, _ in self._poll.poll(None if left is None else min(left, _LONGEST_POLL)):
                if fd == self._wake:
                    os.eventfd_read(self._wake)
            self._serve_socket()

    def _serve_socket(self) -> None:
        """Dispatch what others have left and what has come, unless somebody else reads."""
        with self._reader_lock:
            if self._reader is not None:
                return
            self._reader = self
        if self._is_left or self._read(socket.MSG_DONTWAIT):
            self._is_left = False
            done = 0
            for frame, end in self._frames_in_hand():
                self._dispatch(frame)
                done = end
            self._forget(done)
        self._reader = None

    def _dispatch(self, frame: Frame) -> None:
        answer = self._waiting.pop(frame.head.get("i", 0), None) or self._events.get(frame.type)
        if answer is not None:
            answer(frame)

    def _read(self, flags: int = 0) -> bool:
        """Read what has come; tell whether there was something."""
        try:
            # Read and kept in one call.
            self._chunks.extend(map(self._sock.recv, (self._room,), (flags,)))
        except BlockingIOError:
            return False
        except OSError:
            lost()
        if not self._chunks[-1]:
            lost()
        self._room = _CHUNK if len(self._chunks[-1]) < self._room else _LARGE_CHUNK
        return True

    def _frames_in_hand(self) -> Iterator[tuple[Frame, int]]:
        """Yield the complete frames of what was read, and up to where `_forget` forgets each."""
        if len(self._chunks) > 1 and not self._is_complete():
            return
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        at = 0
        while len(data) - at >= _HEAD.size:
            length, _ = _HEAD.unpack_from(data, at)
            end = at + 4 + length
            if end > len(data):
                break
            yield wire.decode(data, at, end), end
            at = end

    def _is_complete(self) -> bool:
        """Tell whether there may be a complete frame; a large one is put together only once."""
        first = self._chunks[0]
        wanted = 4 + _HEAD.unpack_from(first)[0] if len(first) >= _HEAD.size else 0
        return sum(map(len, self._chunks)) >= wanted

    def _forget(self, size: int) -> None:
        """Forget so many bytes of what was read."""
        rest = b"".join(self._chunks)[size:]
        self._chunks[:] = [rest] if rest else []


def _open_gate(_head: Mapping[str, Any], _is_awaited: bool) -> bool:
    return True


def lost() -> NoReturn:
    """End this process at once: nobody is there to hear of it."""
    os._exit(EXIT_LOST)
