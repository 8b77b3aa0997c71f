"""Waiting for time to pass: recorded, so that a wait ends once, whatever happens meanwhile.

A wait's deadline is committed when it begins, where it is long enough to matter. While all strands wait long,
the session is parked: its process ends, and another one goes on when the time has come, or the mail.
How long a wait for mail will last nobody knows: it counts as long once it has been.
"""

import asyncio
import math
import os
import struct
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from ninelives.run.core import STARTED, TIMEOUT, Core, stopped
from ninelives.run.link import Timer
from ninelives.run.loops import SessionLoop
from ninelives.run.past import Record
from ninelives.run.registry import Registry
from ninelives.run.scope import Strand, current
from ninelives.run.turns import Entry
from ninelives.run.wire import Frame

#: Shorter waits are not announced: should the process die, they begin again. seconds
_ANNOUNCED = 1.0
#: A longer wait is no different from a very long one, and its end would be no date. seconds
_LONGEST = 100 * 365 * 86400.0
#: Shorter waits never park. seconds
PARK_AFTER = 5.0
#: Nor do those shorter than this many times the last replay.
_REPLAYS = 20
#: Nor those shorter than this while something lives that cannot be made again. seconds
_UNIQUE_KEPT = 900.0
#: After the server said `stay`, parking is tried again after this time. seconds
_STAY = 30.0

_FIRED, _CANCELLED = "fired", "cancelled"
_DEADLINE = struct.Struct(">d")

_wall = time.time
_now = time.monotonic
_real_sleep = time.sleep
_real_async_sleep = asyncio.sleep


class Mail(Protocol):
    """A wait for what comes into the inbox (`mailbox`).

    Attributes:
        deadline: When it ends in any case. seconds since 1970
        since: When it began; of the monotonic clock.
        topics: What of the inbox it waits for.
    """

    deadline: float
    since: float
    topics: Sequence[str]


class Wait:
    """One wait that has begun.

    Attributes:
        deadline: When it ends. seconds since 1970
        is_announced: Its deadline is committed, or on its way.
    """

    __slots__ = (
        "began",
        "deadline",
        "digest",
        "entry",
        "is_announced",
        "n",
        "name",
        "seconds",
        "strand",
        "timer",
    )

    def __init__(
        self, strand: Strand, n: int, name: str, digest: bytes, seconds: float, entry: Entry
    ) -> None:
        self.strand = strand
        self.n = n
        self.name = name
        self.digest = digest
        self.seconds = seconds
        self.entry = entry
        self.began = _wall()
        self.deadline = self.began + min(seconds, _LONGEST)
        self.is_announced = False
        self.timer: Timer | None = None


class Waits:
    """The waits of a session, and whether it may be parked."""

    def __init__(self, core: Core, registry: Registry, park_after: float = PARK_AFTER) -> None:
        self._core = core
        self._registry = registry
        self._park_after = park_after
        self._open: set[Wait] = set()
        self._mail: dict[int, Mail] = {}
        self._handles: dict[int, Wait] = {}
        self._lock = threading.Lock()
        self._is_considering = False
        self._has_told = False
        self._is_parking = False
        self._stay_until = 0.0
        #: Called when the server says that something has arrived.
        self.on_stay: Callable[[], None] = _nothing
        core.on_idle = self._idle

    # --- sleeping -----------------------------------------------------------------------------------------

    def sleep(self, seconds: float, /, *, name: str = "time.sleep") -> None:
        """Wait, as `time.sleep` does."""
        scope = current.get()
        if scope is None or not scope.records or not _is_long(seconds):
            _real_sleep(seconds)
            return
        core, strand = self._core, scope.strand
        lane = core.own_lane()
        entry = Entry(lane, can_be_stopped=strand is core.main)
        wait, record = self._take(strand, name, float(seconds), entry, (seconds,))
        if record is not None and record.status == _FIRED:
            if not core.turns.is_alone:
                core.turns.wait_for(lane, entry, record.seq)
            return
        self._begin(wait, record)
        if core.is_stop(core.turns.wait_for(lane, entry)):
            self._end(wait)
            raise stopped()

    def sleep_async(self, delay: float, result: Any = None, *, name: str = "asyncio.sleep") -> Any:
        """Return a coroutine that waits, as `asyncio.sleep` does; the key is taken now."""
        scope = current.get()
        if scope is None or not scope.records or not _is_long(delay):
            return _real_async_sleep(delay, result)
        entry = Entry(self._core.own_lane())
        wait, record = self._take(scope.strand, name, float(delay), entry, (delay,))
        return self._sleeping(wait, record, result)

    async def _sleeping(self, wait: Wait, record: Record | None, result: Any) -> Any:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SessionLoop)
        future: asyncio.Future[None] = loop.create_future()

        def fire() -> None:
            if not future.done():
                future.set_result(None)

        wait.entry.deliver = lambda: loop.append_ready(fire)
        if record is not None and record.status == _FIRED:
            self._core.turns.expect(wait.entry, record.seq)
        else:
            self._begin(wait, record)
        try:
            await future
        except asyncio.CancelledError:
            self._end(wait)
            raise
        return result

    # --- timers of event loops ----------------------------------------------------------------------------

    def timer(self, loop: SessionLoop, handle: asyncio.TimerHandle, seconds: float) -> None:
        """Have a handle of user code run after a time."""
        scope = current.get()
        assert scope is not None

        def deliver() -> None:
            self._handles.pop(id(handle), None)
            loop._ready.append(handle)  # type: ignore[attr-defined]

        entry = Entry(self._core.own_lane(), deliver)
        wait, record = self._take(scope.strand, "asyncio.timer", seconds, entry, ())
        self._handles[id(handle)] = wait
        if record is not None and record.status == _FIRED:
            self._core.turns.expect(entry, record.seq)
        else:
            self._begin(wait, record, is_quiet=True)

    def cancel(self, handle: asyncio.TimerHandle) -> bool:
        """Forget a handle; tell whether it was known."""
        wait = self._handles.pop(id(handle), None)
        if wait is None:
            return False
        if not wait.entry.is_over:
            self._end(wait)
        return True

    # --- time-outs of locks -----------------------------------------------------------------------------

    def timeout(self, seconds: float) -> tuple[Entry, Callable[[], None]]:
        """Begin the time-out of a blocked lane; return what ends its patience, and how to forget it."""
        scope = current.get()
        assert scope is not None
        entry = Entry(self._core.own_lane())
        if self._core.has_processes:
            return self._passing_timeout(scope.strand, seconds, entry)
        wait, record = self._take(scope.strand, TIMEOUT, seconds, entry, ())
        if record is not None and record.status == _FIRED:
            self._core.turns.expect(entry, record.seq)
        else:
            self._begin(wait, record, is_quiet=True)
        return entry, lambda: self._end(wait)

    def _passing_timeout(
        self, strand: Strand, seconds: float, entry: Entry
    ) -> tuple[Entry, Callable[[], None]]:
        """Begin a time-out that has a key only if its time comes.

        Where other processes work for user code, whether it is blocked at all is a matter of their speed,
        so a replay may find done what the first run waited for.
        """
        n, record = self._core.take(strand, for_timeout=True)
        if record is not None and record.name != TIMEOUT:
            strand.calls[n] = record
            strand.give_back()
            return entry, lambda: None
        wait = Wait(strand, n, TIMEOUT, self._core.digests.of_call(TIMEOUT, (), {}), seconds, entry)
        if record is not None and record.status == _FIRED:
            self._core.turns.expect(entry, record.seq)
            return entry, lambda: None
        self._begin(wait, record, is_quiet=True)

        def forget() -> None:
            self._end(wait)
            if record is None and not wait.is_announced and strand.stop_n is None:
                strand.give_back()

        return entry, forget

    # --- one wait -----------------------------------------------------------------------------------------

    def _take(
        self, strand: Strand, name: str, seconds: float, entry: Entry, args: tuple[Any, ...]
    ) -> tuple[Wait, Record | None]:
        core = self._core
        n, record = core.take(strand, for_timeout=name == TIMEOUT)
        digest = core.digests.of_call(name, args, {})
        if record is not None:
            core.compare(record, strand, n, "wait", name, digest)
        return Wait(strand, n, name, digest, seconds, entry), record

    def _begin(self, wait: Wait, record: Record | None, *, is_quiet: bool = False) -> None:
        """Start the clock; a wait that began in an earlier process goes on from there."""
        if record is not None and record.status == STARTED:
            wait.deadline = _DEADLINE.unpack(record.body)[0]
            wait.began = wait.deadline - wait.seconds
            wait.is_announced = True
        elif record is not None:
            return  # it was cancelled, and will be again
        with self._lock:
            self._open.add(wait)
        left = wait.deadline - _wall()
        if not wait.is_announced and not is_quiet and left > _ANNOUNCED:
            self._announce(wait)
        wait.timer = self._core.link.at(_now() + left, lambda: self._fire(wait))

    def _announce(self, wait: Wait) -> None:
        wait.is_announced = True
        self._core.send(self._head(wait, STARTED) | {"end": None}, _DEADLINE.pack(wait.deadline))

    def _fire(self, wait: Wait) -> None:
        """End a wait whose time has come; in the link's thread."""
        if self._claim(wait):
            self._tell(is_waiting=False)
            self._core.send(self._head(wait, _FIRED), b"", wait.entry, ends=False)

    def _claim(self, wait: Wait) -> bool:
        """Decide, once, who ends a wait: its time or its task."""
        with self._lock:
            is_open = wait in self._open
            self._open.discard(wait)
            return is_open

    def _end(self, wait: Wait) -> None:
        """Give a wait up: its task was cancelled, or the session stopped."""
        wait.entry.is_over = True
        if wait.timer is not None:
            wait.timer.cancel()
        if self._claim(wait) and wait.is_announced:
            self._core.send(self._head(wait, _CANCELLED), b"")

    def _head(self, wait: Wait, status: str) -> dict[str, Any]:
        core = self._core
        head = core.head("call", wait.strand.name, wait.n, "wait", wait.name, status, wait.began)
        head["digest"] = wait.digest.hex()
        head["preview"] = {"args": [core.previews.of_value(wait.seconds)], "until": wait.deadline}
        return head

    # --- waits for mail -------------------------------------------------------------------------------------

    def begun(self, mail: Mail) -> None:
        """Note that there is a wait for mail; in the link's thread."""
        with self._lock:
            self._mail[id(mail)] = mail
        self._idle()

    def ended(self, mail: Mail) -> None:
        """Forget a wait for mail."""
        with self._lock:
            found = self._mail.pop(id(mail), None)
        if found is not None:
            self._tell(is_waiting=False)

    # --- parking ------------------------------------------------------------------------------------------

    def _idle(self) -> None:
        """Nobody can go on: see soon whether the session can be parked."""
        if (self._open or self._mail) and not self._is_considering:
            self._is_considering = True
            self._core.link.soon(self._consider)

    def _consider(self) -> None:
        """Park, or say that all strands wait; in the link's thread."""
        self._is_considering = False
        with self._lock:
            open_waits, mail = list(self._open), list(self._mail.values())
        if not (open_waits or mail) or self._is_parking or not self._core.turns.is_idle:
            return
        until = min(*(wait.deadline for wait in open_waits), *(wait.deadline for wait in mail), math.inf)
        left = until - _wall()
        if left > _ANNOUNCED:
            self._tell(is_waiting=True)
        longest = self._longest()
        if left <= longest or _now() < self._stay_until:
            return
        newest = max((wait.since for wait in mail), default=-math.inf)
        if newest + longest > _now():
            self._core.link.at(newest + longest, self._consider)
        else:
            self._park(open_waits, None if until == math.inf else until, mail)

    def _longest(self) -> float:
        """Return for how many seconds a wait is made in place."""
        longest = max(self._park_after, _REPLAYS * self._core.replay_seconds)
        is_serving = any(thread.is_alive() for thread in list(self._core.serving))
        # As a context may that a step has entered, when it is left: a park would lose what comes.
        is_reading = any(loop.reaches_out for loop in list(self._core.loops))
        is_at_work = is_serving or is_reading or self._core.is_at_work()
        return max(longest, _UNIQUE_KEPT) if is_at_work or self._registry.holds_unique else longest

    def _park(self, open_waits: Iterable[Wait], until: float | None, mail: Iterable[Mail]) -> None:
        for wait in open_waits:
            if not wait.is_announced:
                self._announce(wait)
        self._is_parking = True
        awaits = sorted({topic for wait in mail for topic in wait.topics})
        self._core.link.post({"t": "park", "until": until, "awaits": awaits}, self._parked)

    def _parked(self, frame: Frame) -> None:
        if frame.type == "parked":
            os._exit(0)
        self._is_parking = False
        self._stay_until = _now() + _STAY
        self._core.link.at(self._stay_until, self._consider)
        self.on_stay()

    def _tell(self, *, is_waiting: bool) -> None:
        if self._has_told is not is_waiting:
            self._has_told = is_waiting
            self._core.link.send({"t": "waiting", "is_waiting": is_waiting})


def _nothing() -> None:
    pass


def _is_long(seconds: Any) -> bool:
    """Tell whether a wait is one; what is no number of seconds is left to the original to refuse."""
    try:
        return bool(seconds > 0)
    except TypeError:
        return False
