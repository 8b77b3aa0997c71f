"""User code of a session runs one strand at a time, in an order that a later process repeats.

A *lane* is a thread that runs user code; a running event loop is one lane with many strands. The lane that
holds the turn runs. It gives the turn away when it makes a step, waits, blocks on a lock, or ends. The turn
goes to lanes that became ready, in that order; then to a blocked lane whose lock has become free; and only
when every lane is blocked, the next answer is handed out: the one with the lowest `seq` of those that have
arrived. Both the first run and a replay get their answers through here, so that they cannot differ.

With one lane and no event loop there is nothing to decide, and nothing of this is used (`is_alone`).
"""

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable
from enum import Enum

_allocate_lock = threading.Lock


class State(Enum):
    """What a lane does."""

    RUNNING = "running"
    READY = "ready"
    #: In a step, or waiting for an answer.
    OUT = "out"
    #: Blocked on a lock of this process.
    POLLING = "polling"
    #: An event loop with nothing to do.
    IDLE = "idle"
    GONE = "gone"


class Lane:
    """A thread that runs user code.

    Attributes:
        wake: Wakes the lane's event loop out of its selector; `None` where no loop runs.
        entry: What the lane waits for.
        attempt: Tries to take what the lane is blocked on.
        outcome: What the lane was given the turn with.
        is_asleep: Its event loop is, or is about to be, in its selector.
    """

    __slots__ = ("attempt", "entry", "gate", "is_asleep", "outcome", "state", "wake")

    @property
    def is_gone(self) -> bool:
        """Whether its strand has ended."""
        return self.state is State.GONE

    def __init__(self) -> None:
        self.gate = _allocate_lock()
        self.gate.acquire()
        self.state = State.READY
        self.wake: Callable[[], None] | None = None
        self.entry: Entry | None = None
        self.attempt: Callable[[], bool] | None = None
        self.outcome: Entry | None = None
        self.is_asleep = False


class Entry:
    """Something that a strand waits for: the answer to a step, the end of a wait, a stop.

    Attributes:
        deliver: Puts the answer where a task finds it; `None` where the lane itself waits.
        seq: Its place in the order of commits; 0 until it has arrived.
        is_stop: Ends a wait of its lane instead of answering it.
        can_be_stopped: A stop may come instead of it.
        is_over: It was handed out, or nobody waits for it any more.
    """

    __slots__ = ("can_be_stopped", "deliver", "is_over", "is_stop", "lane", "seq")

    def __init__(
        self,
        lane: Lane,
        deliver: Callable[[], None] | None = None,
        *,
        is_stop: bool = False,
        can_be_stopped: bool = False,
    ) -> None:
        self.lane = lane
        self.deliver = deliver
        self.is_stop = is_stop
        self.can_be_stopped = can_be_stopped
        self.seq = 0
        self.is_over = False


class Turns:
    """Decides who runs.

    `on_idle` is called when nobody can go on and no step is under way; it must not block.
    """

    def __init__(self, on_idle: Callable[[], None]) -> None:
        self._mutex = _allocate_lock()
        self._on_idle = on_idle
        self._holder: Lane | None = None
        self._ready: deque[Lane] = deque()
        self._polling: list[Lane] = []
        self._arrived: list[tuple[int, int, Entry]] = []
        self._order = itertools.count()
        self._lanes = 0
        self._loops = 0
        self._executing = 0

    @property
    def is_alone(self) -> bool:
        """Whether there is one lane and no event loop."""
        return self._lanes == 1 and self._loops == 0

    @property
    def is_idle(self) -> bool:
        """Whether nobody can go on by itself and no step is under way."""
        with self._mutex:
            return self._holder is None and not self._executing and not self._ready and not self._next()

    # --- lanes ------------------------------------------------------------------------------------------

    def first_lane(self) -> Lane:
        """Make the lane of the calling thread, which holds the turn."""
        lane = Lane()
        with self._mutex:
            self._lanes += 1
            lane.state = State.RUNNING
            self._holder = lane
        return lane

    def add_lane(self, lane: Lane) -> None:
        """Have a new lane run when its turn comes; its thread must `attach`."""
        with self._mutex:
            self._lanes += 1
            self._make_ready(lane)

    def attach(self, lane: Lane) -> None:
        """Wait, in a lane's thread, for its turn."""
        lane.gate.acquire()

    def end_lane(self, lane: Lane, following: Lane | None = None) -> None:
        """Give the turn away for good; `following` takes the lane's place in its pool."""
        with self._mutex:
            self._lanes -= 1
            lane.state = State.GONE
            if following is not None:
                self._lanes += 1
                self._ready.append(following)
            self._pass_on(lane)

    def loop_begins(self, lane: Lane, wake: Callable[[], None]) -> None:
        """Note that a lane runs an event loop now."""
        with self._mutex:
            self._loops += 1
            lane.wake = wake

    def loop_ends(self, lane: Lane) -> None:
        """Note that the event loop has ended."""
        with self._mutex:
            self._loops -= 1
            lane.wake = None

    # --- giving the turn away ---------------------------------------------------------------------------

    def leave(self, lane: Lane, entry: Entry) -> None:
        """Give the turn away to make a step; `arrived` and `wait` follow."""
        with self._mutex:
            self._executing += 1
            lane.entry = entry
            lane.state = State.OUT
            self._pass_on(lane)

    def wait(self, lane: Lane) -> Entry | None:
        """Wait for the turn; return the entry that it was given with."""
        lane.gate.acquire()
        lane.entry = lane.attempt = None
        outcome, lane.outcome = lane.outcome, None
        return outcome

    def come_back(self, lane: Lane) -> None:
        """Take the turn again after `leave` when nothing is recorded; no step is under way any more."""
        with self._mutex:
            self._executing -= 1
            self._make_ready(lane)
        self.wait(lane)

    def wait_for(self, lane: Lane, entry: Entry, seq: int = 0) -> Entry | None:
        """Give the turn away until an answer is handed out; one with a `seq` has arrived already."""
        with self._mutex:
            lane.entry = entry
            lane.state = State.OUT
            if seq:
                self._push(entry, seq)
            self._pass_on(lane)
        return self.wait(lane)

    def poll(self, lane: Lane, attempt: Callable[[], bool], timeout: Entry | None = None) -> Entry | None:
        """Give the turn away until an attempt succeeds; return `timeout` or a stop where that came first."""
        with self._mutex:
            lane.attempt = attempt
            lane.entry = timeout
            lane.state = State.POLLING
            self._polling.append(lane)
            self._pass_on(lane)
        return self.wait(lane)

    def idle(self, lane: Lane) -> bool:
        """Give the turn away because an event loop has nothing to do; tell whether it came right back."""
        with self._mutex:
            lane.state = State.IDLE
            lane.is_asleep = True
            self._pass_on(lane)
            came_back = lane.gate.acquire(blocking=False)
            lane.is_asleep = not came_back
        return came_back

    def resume(self, lane: Lane) -> None:
        """Take the turn again, in the thread of an event loop that woke up."""
        with self._mutex:
            lane.is_asleep = False
            if lane.state is State.IDLE:
                self._make_ready(lane)
        lane.gate.acquire()

    # --- what arrives -----------------------------------------------------------------------------------

    def expect(self, entry: Entry, seq: int) -> None:
        """Note that an answer is here already, from the journal."""
        with self._mutex:
            self._push(entry, seq)

    def begin(self) -> None:
        """Note that a step is under way that no lane waits for: one of a task."""
        with self._mutex:
            self._executing += 1

    def arrived(self, entry: Entry, seq: int, *, was_executing: bool = True) -> None:
        """Note that an answer is here, and hand it out if everybody waits."""
        with self._mutex:
            self._executing -= was_executing
            self._push(entry, seq)
            self._go_on()

    def abandoned(self) -> None:
        """Note that a step of a task is no longer under way."""
        with self._mutex:
            self._executing -= 1

    def make_ready(self, lane: Lane) -> None:
        """Have an event loop that has something to do again run when its turn comes."""
        with self._mutex:
            if lane.state is State.IDLE:
                self._make_ready(lane)

    def poke(self) -> None:
        """Look again at who is blocked: a thread that is no lane may have freed a lock."""
        if self._polling and self._holder is None:
            with self._mutex:
                self._go_on()

    # --- deciding; all with the mutex held ---------------------------------------------------------------

    def _push(self, entry: Entry, seq: int) -> None:
        entry.seq = seq
        heapq.heappush(self._arrived, (seq, next(self._order), entry))

    def _make_ready(self, lane: Lane) -> None:
        lane.state = State.READY
        self._ready.append(lane)
        self._go_on()

    def _pass_on(self, lane: Lane) -> None:
        if self._holder is lane:
            self._holder = None
        self._go_on()

    def _go_on(self) -> None:
        if self._holder is not None:
            return
        if self._ready:
            self._grant(self._ready.popleft())
            return
        for lane in self._polling:
            if lane.attempt is not None and lane.attempt():
                self._grant(lane)
                return
        entry = self._next()
        if entry is not None:
            self._hand_out(entry)
        elif not self._executing:
            self._on_idle()

    def _next(self) -> Entry | None:
        """Return the arrived answer with the lowest seq that its lane can take now."""
        kept = []
        found = None
        while self._arrived and found is None:
            item = heapq.heappop(self._arrived)
            entry = item[2]
            if not entry.is_over:
                kept.append(item)
                found = entry if _can_take(entry) else None
        for item in kept:
            heapq.heappush(self._arrived, item)
        return found

    def _hand_out(self, entry: Entry) -> None:
        entry.is_over = True
        if entry.deliver is not None and entry.lane.state is State.IDLE:
            entry.deliver()
        else:
            entry.lane.outcome = entry
        self._grant(entry.lane)

    def _grant(self, lane: Lane) -> None:
        if lane.state is State.POLLING:
            self._polling.remove(lane)
        lane.state = State.RUNNING
        self._holder = lane
        lane.gate.release()
        # What made it ready may have been seen by its loop before: only this tells it that it has the turn.
        if lane.wake is not None and lane.is_asleep:
            lane.wake()


def _can_take(entry: Entry) -> bool:
    lane = entry.lane
    if entry.is_stop:
        waits = lane.state is State.OUT and lane.entry is not None and lane.entry.can_be_stopped
        return waits or lane.state in {State.POLLING, State.IDLE}
    if entry.deliver is not None:
        return lane.state is State.IDLE
    return lane.entry is entry and lane.state in {State.OUT, State.POLLING}
