"""What comes out of other processes of user code, in its own time: pools, and the futures they complete.

Nothing that such a process does is recorded, so a replay has it done again, sooner or later than the first
run had it. Where user code can tell (is it done yet, which was done first), what it was told is recorded.
"""

import concurrent.futures as package
import concurrent.futures._base as futures
import functools
import itertools
import queue
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from ninelives.run.clocks import Clocks
from ninelives.run.core import Core
from ninelives.run.scope import current

_now = time.monotonic
#: Between looks at what nobody tells of; the last one repeats. seconds
_PAUSES: Final = (0.001, 0.002, 0.005, 0.01, 0.02)
_DONE: Final = {futures.CANCELLED_AND_NOTIFIED, futures.FINISHED}

#: Gives the turn away until a function tells that it can be taken again.
Until = Callable[[Callable[[], bool], float], object]


class Processes:
    """Records what user code is told of work that other processes do."""

    def __init__(self, core: Core, until: Until, clocks: Clocks) -> None:
        self._core = core
        self._until = until
        self._clocks = clocks
        self._knows_pools = False

    def serves(self, frame: types.FrameType) -> bool:
        """Tell whether a pool of processes, or a queue between them, starts a thread: it waits for pipes.

        Such a thread is no strand: it would hold the turn for ever. Those of a `ThreadPool` run user code.
        """
        name = frame.f_globals.get("__name__")
        if name == "multiprocessing.pool":
            found = type(frame.f_locals.get("self")).__name__ != "ThreadPool"
        else:
            found = name in {"concurrent.futures.process", "multiprocessing.queues"}
        if found:
            self._core.has_processes = True
            self._install_pools()
        return found

    def install(self) -> None:
        """Replace what tells about futures."""
        self._install_future("done")
        self._install_future("running")
        self._install_result("result")
        self._install_result("exception")
        self._install_event()
        self._install_queue()
        replace(futures, "as_completed", self._as_completed(futures.as_completed))
        replace(futures, "wait", self._wait(futures.wait))
        package.as_completed, package.wait = futures.as_completed, futures.wait

    def _comes_by_itself(self, future: Any) -> bool:
        """Tell whether no strand completes a future; only asked where user code has processes."""
        return isinstance(future, futures.Future) and not hasattr(future, "_ninelives_strand")

    def _is_watched(self) -> bool:
        """Tell whether user code asks, and has processes whose work it can ask about."""
        scope = current.get()
        return self._core.has_processes and scope is not None and scope.records

    # --- futures ------------------------------------------------------------------------------------------

    def _install_future(self, name: str) -> None:
        method = getattr(futures.Future, name)
        label = f"concurrent.futures.Future.{name}"

        def told(future: futures.Future[Any]) -> Any:
            """Ask, and record what the answer was."""
            if not self._is_watched() or not self._comes_by_itself(future):
                return method(future)
            answer = self._clocks.read(lambda: method(future), label)
            if answer and name == "done":
                self._come_to([future])
            return answer

        replace(futures.Future, name, told)

    def _install_result(self, name: str) -> None:
        method = getattr(futures.Future, name)
        label = f"concurrent.futures.Future.{name}"

        def result(future: futures.Future[Any], timeout: float | None = None) -> Any:
            """Wait for a future, and record whether it was done in time."""
            if timeout is None or not self._is_watched() or not self._comes_by_itself(future):
                return method(future, timeout)
            if not self.told(lambda: future._state in _DONE, timeout, label):
                raise TimeoutError
            return method(future)

        replace(futures.Future, name, result)

    def _install_event(self) -> None:
        """Record whether an event was set in time: what completes a future of a process may set it."""
        wait = threading.Event.wait

        def wait_told(event: threading.Event, timeout: float | None = None) -> bool:
            """Wait for an event."""
            if timeout is None or not self._is_watched():
                return wait(event, timeout)
            return self.told(event.is_set, timeout, "threading.Event.wait")

        replace(threading.Event, "wait", wait_told)

    def _install_queue(self) -> None:
        """Record whether something came into a queue in time: a callback of a process's future may put it."""
        get = queue.Queue.get

        def get_told(items: queue.Queue[Any], block: bool = True, timeout: float | None = None) -> Any:
            """Take an item out of a queue."""
            if not block or timeout is None or timeout < 0 or not self._is_watched():
                return get(items, block, timeout)
            end = _now() + timeout
            while self.told(lambda: items._qsize() > 0, end - _now(), "queue.Queue.get"):
                try:
                    return get(items, False)
                except queue.Empty:  # another strand was faster
                    continue
            raise queue.Empty

        replace(queue.Queue, "get", get_told)

    def told(self, is_done: Callable[[], bool], timeout: float | None, label: str) -> bool:
        """Wait until something is done that other processes do; return whether it was in time, as recorded.

        A replay gets the same answer at the same place among what other strands do, and has it done by then.
        """
        end = None if timeout is None else _now() + max(0.0, timeout)

        def ask() -> bool:
            self.wait_polled(is_done, end)
            return is_done()

        answer: bool = self._clocks.read_in_turn(ask, label)
        if answer:
            self.come_to(is_done)
        return answer

    def come_to(self, is_done: Callable[[], bool]) -> None:
        """Wait until something is done that was done here in the first run."""
        self.wait_polled(is_done)

    def wait_polled(self, is_done: Callable[[], bool], end: float | None = None) -> None:
        """Wait until something is so, or a time has come; nobody tells us when, so it is looked at often.

        `is_done` is called in the link's thread, too.
        """

        def is_over() -> bool:
            try:
                return is_done() or (end is not None and _now() >= end)
            except Exception:  # such as of a queue that is closed: whoever asks next has it raised
                return True

        if is_over():
            return
        pauses = itertools.chain(_PAUSES, itertools.repeat(_PAUSES[-1]))
        is_waiting = True

        def look() -> None:
            if is_waiting:
                self._core.turns.poke()
                self._core.link.at(_now() + next(pauses), look)

        look()
        try:
            self._until(is_over, -1)
        finally:
            is_waiting = False

    def _as_completed(self, original: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def as_completed(fs: Iterable[Any], timeout: float | None = None) -> Iterator[Any]:
            """Yield futures as they are done; those of processes in the order of the first run."""
            left = list(dict.fromkeys(fs))
            if not self._is_watched() or not any(map(self._comes_by_itself, left)):
                yield from original(left, timeout)
                return
            count, end = len(left), None if timeout is None else _now() + timeout
            while left:
                found = self._clocks.read(
                    functools.partial(self._first, left, end), "concurrent.futures.as_completed"
                )
                if found is None:
                    raise TimeoutError(f"{len(left)} (of {count}) futures unfinished")
                future = left.pop(found)
                self._come_to([future])
                yield future

        return as_completed

    def _first(self, left: list[Any], end: float | None) -> int | None:
        """Wait until one of some futures is done; return its place, or `None` where time is over."""

        def is_over() -> bool:
            return any(future._state in _DONE for future in left) or (end is not None and _now() >= end)

        self._wait_for(is_over, end)
        return next((place for place, future in enumerate(left) if future._state in _DONE), None)

    def _wait(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def wait(
            fs: Iterable[Any], timeout: float | None = None, return_when: str = futures.ALL_COMPLETED
        ) -> Any:
            """Wait for futures; of those of processes the ones are done that were in the first run."""
            found = list(dict.fromkeys(fs))
            if not self._is_watched() or not any(map(self._comes_by_itself, found)):
                return original(found, timeout, return_when)
            if return_when not in _RETURN_WHEN:
                raise ValueError(f"Invalid return condition: {return_when!r}")
            end = None if timeout is None else _now() + timeout
            places = self._clocks.read(lambda: self._done(found, end, return_when), "concurrent.futures.wait")
            done = {found[place] for place in places}
            self._come_to(done)
            return futures.DoneAndNotDoneFutures(done, set(found) - done)

        return wait

    def _done(self, found: list[Any], end: float | None, return_when: str) -> list[int]:
        """Wait for some futures, all or the first of them; return the places of those that are done."""

        def is_over() -> bool:
            return _is_enough(found, return_when) or (end is not None and _now() >= end)

        self._wait_for(is_over, end)
        return [place for place, future in enumerate(found) if future._state in _DONE]

    def _come_to(self, done: Iterable[Any]) -> None:
        """Wait for futures that were done here in the first run."""
        if not _are_done(done):
            self._until(lambda: _are_done(done), -1)

    def _wait_for(self, is_over: Callable[[], bool], end: float | None) -> None:
        """Wait until something is over, which it is at the latest when a time has come."""
        if is_over():
            return
        timer = None if end is None else self._core.link.at(end, self._core.turns.poke)
        try:
            self._until(is_over, -1)
        finally:
            if timer is not None:
                timer.cancel()

    # --- pools of multiprocessing -------------------------------------------------------------------------

    def _install_pools(self) -> None:
        """Replace what tells about the work of such a pool; its module is loaded by whoever uses one."""
        pools = sys.modules.get("multiprocessing.pool")
        if not self._knows_pools and pools is not None:
            self._knows_pools = True
            self._install_results(pools)
            self._install_items(pools)

    def _is_told(self, owner: Any) -> bool:
        """Tell whether user code asks about a pool of processes; one whose work is done may be forgotten."""
        return self._is_watched() and type(owner._pool).__name__ != "ThreadPool"

    def _install_results(self, pools: Any) -> None:
        is_ready, wait = pools.ApplyResult.ready, pools.ApplyResult.wait

        def ready(result: Any) -> Any:
            """Tell whether a result is here, and record what was told."""
            if not self._is_told(result):
                return is_ready(result)
            answer = self._clocks.read(lambda: is_ready(result), "multiprocessing.pool.ApplyResult.ready")
            if answer and not is_ready(result):
                self._until(lambda: is_ready(result), -1)
            return answer

        def is_in_time(result: Any, timeout: float | None) -> bool:
            if timeout is None or not self._is_told(result):
                wait(result, timeout)
                return bool(is_ready(result))
            return self.told(lambda: is_ready(result), timeout, "multiprocessing.pool.ApplyResult.wait")

        def wait_told(result: Any, timeout: float | None = None) -> None:
            """Wait for a result, and record whether it was here in time."""
            is_in_time(result, timeout)

        def get(result: Any, timeout: float | None = None) -> Any:
            """Return a result, or raise what it came to."""
            if not is_in_time(result, timeout):
                raise pools.TimeoutError
            if result._success:
                return result._value
            raise result._value

        replace(pools.ApplyResult, "ready", ready)
        replace(pools.ApplyResult, "wait", wait_told)
        replace(pools.ApplyResult, "get", get)

    def _install_items(self, pools: Any) -> None:
        unordered, follow = pools.Pool.imap_unordered, pools.IMapIterator.next

        def next_told(items: Any, timeout: float | None = None) -> Any:
            """Return the next result, and record whether it was here in time."""
            if timeout is None or not self._is_told(items):
                return follow(items, timeout)

            def is_here() -> bool:
                return bool(items._items) or items._index == items._length

            if not self.told(is_here, timeout, "multiprocessing.pool.IMapIterator.next"):
                raise pools.TimeoutError
            return follow(items)

        def imap_unordered(pool: Any, *args: Any, **options: Any) -> Any:
            """Take results in the order of the arguments, which any order may be and a replay repeats."""
            is_told = self._is_watched() and type(pool).__name__ != "ThreadPool"
            return pool.imap(*args, **options) if is_told else unordered(pool, *args, **options)

        replace(pools.IMapIterator, "next", next_told)
        pools.IMapIterator.__next__ = next_told
        replace(pools.Pool, "imap_unordered", imap_unordered)


_RETURN_WHEN: Final = {futures.FIRST_COMPLETED, futures.FIRST_EXCEPTION, futures.ALL_COMPLETED}


def _is_enough(found: list[Any], return_when: str) -> bool:
    """Tell whether as many of some futures are done as somebody waits for."""
    done = [future for future in found if future._state in _DONE]
    if len(done) == len(found):
        return True
    if return_when == futures.FIRST_EXCEPTION:
        return any(future._state == futures.FINISHED and future._exception is not None for future in done)
    return return_when == futures.FIRST_COMPLETED and bool(done)


def _are_done(found: Iterable[Any]) -> bool:
    return all(future._state in _DONE for future in found)


def replace(owner: Any, name: str, function: Callable[..., Any]) -> None:
    """Put a function in the place of another one, under whose name the call table knows it."""
    original = getattr(owner, name)
    function.__module__, function.__qualname__ = original.__module__, original.__qualname__
    setattr(owner, name, function)
