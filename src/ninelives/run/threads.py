"""Threads and executors in user code: lanes, whose turns come and go with the locks that they wait for.

`threading`'s locks are replaced by ones that know about turns, so that everything built from them
(conditions, events, queues, futures) does too. Threads that libraries start inside steps, and locks they
wait for there, are not touched.
"""

import concurrent.futures._base as futures
import concurrent.futures.thread as pools
import functools
import os
import queue
import sys
import threading
import time
import types
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ninelives.run.clocks import Clocks
from ninelives.run.core import Core, stopped
from ninelives.run.multiprocesses import Multiprocesses
from ninelives.run.processes import Processes
from ninelives.run.scope import Strand, current, user_scope
from ninelives.run.turns import Entry, Lane

_allocate_lock = threading.Lock
_now = time.monotonic

#: Makes a durable time-out of a blocked lane: takes seconds, returns the entry that ends its patience.
Timeouts = Callable[[float], tuple[Entry, Callable[[], None]]]


class Threads:
    """Replaces what user code blocks on."""

    def __init__(self, core: Core, timeouts: Timeouts, clocks: Clocks) -> None:
        self.core: Final = core
        self._clocks = clocks
        self._timeouts = timeouts
        self._processes = Processes(core, self.block, clocks)
        self._multiprocesses = Multiprocesses(core, self._processes, clocks)
        self._pools: weakref.WeakKeyDictionary[Any, _Pool] = weakref.WeakKeyDictionary()

    def install(self) -> None:
        """Replace locks, threads and the calls of thread pools in this process."""
        threads = self

        class SessionLock(_Lock):
            _threads = threads

        class SessionRLock(_RLock):
            _threads = threads

        threading.Lock = SessionLock  # type: ignore[assignment]
        threading._allocate_lock = SessionLock  # type: ignore[attr-defined]
        threading.RLock = SessionRLock  # type: ignore[assignment]
        queue.SimpleQueue = queue._PySimpleQueue  # type: ignore[attr-defined,misc]
        self._install_clock()
        self._install_threads()
        self._install_pools()
        self._processes.install()
        self._multiprocesses.install()
        _install_hashes()
        os.register_at_fork(after_in_child=lambda: current.set(None))

    def _install_clock(self) -> None:
        """Have the library's own time-outs read a recorded clock where user code waits with them."""
        read = self._clocks.read

        def monotonic() -> float:
            """Return the time, recorded in user code."""
            found: float = read(_now, "time.monotonic")
            return found

        threading._time = monotonic  # type: ignore[attr-defined]
        queue.time = monotonic  # type: ignore[attr-defined]
        futures.time = types.SimpleNamespace(**{**vars(time), "monotonic": monotonic})  # type: ignore[attr-defined]

    # --- blocking -----------------------------------------------------------------------------------------

    def block(self, attempt: Callable[[], bool], timeout: float) -> bool | None:
        """Wait for a lock as a lane does; `None` where the calling code is in no lane."""
        scope, lane = current.get(), self.core.lane()
        if lane is None or scope is None or not scope.records:
            return None
        if timeout == 0:
            return False
        if timeout < 0:
            self._stopped_by(self.core.turns.poll(lane, attempt))
            return True
        entry, forget = self._timeouts(timeout)
        outcome = self.core.turns.poll(lane, attempt, entry)
        if outcome is entry:
            return False
        forget()
        self._stopped_by(outcome)
        return True

    def _stopped_by(self, outcome: Entry | None) -> None:
        if self.core.is_stop(outcome):
            raise stopped()

    def freed(self) -> None:
        """Note that a lock was freed."""
        if self.core.lane() is None:
            self.core.turns.poke()

    # --- threads ------------------------------------------------------------------------------------------

    def _install_threads(self) -> None:
        start, join, threads = threading.Thread.start, threading.Thread.join, self

        def start_lane(self: threading.Thread) -> None:
            """Start a thread; one of user code is a strand."""
            scope = current.get()
            if scope is None or not scope.records:
                start(self)
                return
            if threads._processes.serves(sys._getframe(1)):
                threads.core.serving.add(self)
                _outside(start, self)
                return
            lane = Lane()
            self._ninelives_lane = lane  # type: ignore[attr-defined]
            strand = Strand(scope.strand.child_name(), threads.core.past)
            self.run = threads.as_lane(lane, strand, self.run)  # type: ignore[method-assign]
            threads.core.turns.add_lane(lane)
            _outside(start, self)

        def join_lane(self: threading.Thread, timeout: float | None = None) -> None:
            """Wait for a thread; for one that is a strand, until the strand has ended."""
            lane = getattr(self, "_ninelives_lane", None)
            if lane is not None and self is not threading.current_thread():
                limit = -1 if timeout is None else max(0.0, timeout)
                if not lane.is_gone and threads.block(lambda: lane.is_gone, limit) is False:
                    return
            _outside(join, self, timeout)

        threading.Thread.start = start_lane  # type: ignore[method-assign]
        threading.Thread.join = join_lane  # type: ignore[method-assign]

    def as_lane(self, lane: Lane, strand: Strand, run: Callable[[], Any]) -> Callable[[], None]:
        """Return a function that runs another one as a strand, in a lane of its own."""

        def run_in_turn() -> None:
            self.core.adopt_thread(lane)
            self.core.turns.attach(lane)
            current.set(user_scope(strand))
            try:
                run()
            except SystemExit:
                pass
            except BaseException as error:
                self._report(error)
            finally:
                self.core.flush_output(strand)
                current.set(None)
                self.core.turns.end_lane(lane)

        return run_in_turn

    def _report(self, error: BaseException) -> None:
        """Print an error that nobody caught, as Python does."""
        thread = threading.current_thread()
        if threading.excepthook is threading.__excepthook__:
            sys.stderr.write(f"Exception in thread {thread.name}:\n{self.core.formatter.format(error)}\n")
        else:
            threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, thread)))

    def is_users(self, fn: Any) -> bool:
        """Tell whether a callback is the project's own, or was decided upon in its code."""
        return isinstance(fn, functools.partial) or self.core.classifier.is_own(fn)

    # --- thread pools -------------------------------------------------------------------------------------

    def _install_pools(self) -> None:
        submit, shutdown = pools.ThreadPoolExecutor.submit, pools.ThreadPoolExecutor.shutdown
        run, threads = pools._WorkItem.run, self

        def submit_strand(
            self: pools.ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
        ) -> Any:
            """Hand a call to the pool; one of user code is a strand."""
            scope = current.get()
            if scope is None or not scope.records:
                return submit(self, fn, *args, **kwargs)
            strand = Strand(scope.strand.child_name(), threads.core.past)
            call = _Call(fn, strand, threads.pool(self))
            call.pool.submitted(call.lane)
            future = _outside(submit, self, call, *args, **kwargs)
            future._ninelives_hash = scope.strand.take_hash()
            future._ninelives_strand = True
            return future

        def run_item(self: Any) -> None:
            """Run a call in a thread of the pool."""
            if isinstance(self.fn, _Call):
                threads.run_call(self.fn, lambda: run(self))
            else:
                run(self)

        def shut_down(
            self: pools.ThreadPoolExecutor, wait: bool = True, *, cancel_futures: bool = False
        ) -> None:
            """Shut a pool down; in user code, once the strands in it have ended."""
            scope = current.get()
            if wait and scope is not None and scope.records and not cancel_futures:
                pool = threads.pool(self)
                if not pool.is_drained():
                    threads.block(pool.is_drained, -1)
            _outside(shutdown, self, wait, cancel_futures=cancel_futures)

        futures.Future.add_done_callback = _with_strands(  # type: ignore[method-assign]
            futures.Future.add_done_callback, self
        )
        # The call table knows it by this name.
        submit_strand.__module__, submit_strand.__qualname__ = submit.__module__, submit.__qualname__
        pools.ThreadPoolExecutor.shutdown = shut_down  # type: ignore[assignment,method-assign]
        pools.ThreadPoolExecutor.submit = submit_strand  # type: ignore[assignment,method-assign]
        pools._WorkItem.run = run_item  # type: ignore[method-assign]

    def pool(self, executor: Any) -> "_Pool":
        """Return what is known of an executor."""
        found = self._pools.get(executor)
        if found is None:
            found = self._pools[executor] = _Pool(self.core, executor._max_workers)
        return found

    def run_call(self, call: "_Call", run: Callable[[], None]) -> None:
        """Run a call, and what completes its future, in the call's own lane."""
        self.core.adopt_thread(call.lane)
        self.core.turns.attach(call.lane)
        try:
            run()
        finally:
            self.core.flush_output(call.strand)
            call.pool.ended(call.lane)
            self.core.forget_thread()


def _with_strands(add: Callable[..., None], threads: Threads) -> Callable[..., None]:
    """Return `Future.add_done_callback`, for which callbacks of user code are strands of their own."""

    def add_strand(self: futures.Future[Any], fn: Callable[[Any], Any]) -> None:
        """Have a function called when the future is done."""
        scope = current.get()
        if scope is None or not scope.records or not threads.is_users(fn):
            add(self, fn)
            return
        strand = Strand(scope.strand.child_name(), threads.core.past)

        def call(future: futures.Future[Any]) -> None:
            """Call it in the lane that has completed the future, if it was one of user code."""
            token = current.set(user_scope(strand) if threads.core.lane() is not None else None)
            try:
                fn(future)
            finally:
                threads.core.flush_output(strand)
                current.reset(token)

        add(self, call)

    add_strand.__module__, add_strand.__qualname__ = add.__module__, add.__qualname__
    return add_strand


def _install_hashes() -> None:
    """Have sets of futures the same order when the code runs again."""
    begin, by_identity = futures.Future.__init__, object.__hash__

    def begin_with_hash(self: futures.Future[Any]) -> None:
        """Begin, and take a hash where user code makes it."""
        begin(self)
        scope = current.get()
        if scope is not None and scope.records:
            self._ninelives_hash = scope.strand.take_hash()  # type: ignore[attr-defined]

    def hash_of(self: futures.Future[Any]) -> int:
        """Return the hash."""
        return self.__dict__.get("_ninelives_hash") or by_identity(self)

    futures.Future.__init__ = begin_with_hash  # type: ignore[method-assign,assignment]
    futures.Future.__hash__ = hash_of  # type: ignore[method-assign,assignment]


class _Pool:
    """The calls that user code has handed to one executor, and how many of them run."""

    def __init__(self, core: Core, workers: int) -> None:
        self._core = core
        self._workers = workers
        self._idle = workers
        self._waiting: deque[Lane] = deque()
        self._lock = _allocate_lock()

    def submitted(self, lane: Lane) -> None:
        """Have a call run when a worker is free for it."""
        with self._lock:
            if self._idle == 0:
                self._waiting.append(lane)
                return
            self._idle -= 1
        self._core.turns.add_lane(lane)

    def is_drained(self) -> bool:
        """Tell whether no call of user code is left."""
        return self._idle == self._workers

    def ended(self, lane: Lane) -> None:
        """Give the worker of a call to the next one."""
        with self._lock:
            following = self._waiting.popleft() if self._waiting else None
            self._idle += following is None
        self._core.turns.end_lane(lane, following)


class _Call:
    """A call handed to a pool: a strand and its lane."""

    def __init__(self, fn: Callable[..., Any], strand: Strand, pool: _Pool) -> None:
        self.strand = strand
        self.pool = pool
        self.lane = Lane()
        self._fn = fn

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run it as its strand."""
        token = current.set(user_scope(self.strand))
        try:
            return self._fn(*args, **kwargs)
        finally:
            current.reset(token)


class _Lock:
    """A lock that gives its lane's turn away while it waits."""

    _threads: Threads
    __slots__ = ("__weakref__", "_raw")

    def __init__(self) -> None:
        self._raw = _allocate_lock()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock."""
        raw = self._raw
        if raw.acquire(blocking=False):
            return True
        if not blocking:
            return False
        took = self._threads.block(lambda: raw.acquire(blocking=False), timeout)
        return raw.acquire(timeout=timeout) if took is None else took

    def release(self) -> None:
        """Free the lock."""
        self._raw.release()
        self._threads.freed()

    def locked(self) -> bool:
        """Tell whether somebody holds it."""
        return self._raw.locked()

    def _at_fork_reinit(self) -> None:
        self._raw = _allocate_lock()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


class _RLock(_Lock):
    """A lock that its owner, a thread, may take again."""

    __slots__ = ("_count", "_owner")

    def __init__(self) -> None:
        super().__init__()
        self._owner: int | None = None
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock, perhaps once more."""
        me = threading.get_ident()
        if self._owner == me:
            self._count += 1
            return True
        if not super().acquire(blocking, timeout):
            return False
        self._owner, self._count = me, 1
        return True

    def release(self) -> None:
        """Free the lock, if this was the last time it was taken."""
        if self._owner != threading.get_ident():
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if not self._count:
            self._owner = None
            super().release()

    def _is_owned(self) -> bool:
        return self._owner == threading.get_ident()

    def _recursion_count(self) -> int:
        return self._count if self._is_owned() else 0

    def _release_save(self) -> tuple[int, int | None]:
        state = self._count, self._owner
        self._count, self._owner = 0, None
        super().release()
        return state

    def _acquire_restore(self, state: tuple[int, int | None]) -> None:
        super().acquire()
        self._count, self._owner = state


def _outside(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a function as code that is no strand's."""
    token = current.set(None)
    try:
        return function(*args, **kwargs)
    finally:
        current.reset(token)
