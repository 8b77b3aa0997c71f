"""What comes out of other processes of user code, in its own time: pools, and the futures they complete.

Nothing that such a process does is recorded, so a replay has it done again, sooner or later than the first
run had it. Where user code can tell (is it done yet, which was done first), what it was told is recorded.
"""

import concurrent.futures as package
import concurrent.futures._base as futures
import functools
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from ninelives.run.clocks import Clocks
from ninelives.run.core import Core
from ninelives.run.scope import current

_now = time.monotonic
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
        _replace(futures, "as_completed", self._as_completed(futures.as_completed))
        _replace(futures, "wait", self._wait(futures.wait))
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

        _replace(futures.Future, name, told)

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
        if self._knows_pools or pools is None:
            return
        self._knows_pools = True
        is_ready, unordered = pools.ApplyResult.ready, pools.Pool.imap_unordered

        def ready(result: Any) -> Any:
            """Tell whether a result is here, and record what was told."""
            if not self._is_watched() or not _is_of_processes(result._pool):
                return is_ready(result)
            answer = self._clocks.read(lambda: is_ready(result), "multiprocessing.pool.ApplyResult.ready")
            if answer and not is_ready(result):
                self._until(lambda: is_ready(result), -1)
            return answer

        def imap_unordered(pool: Any, *args: Any, **options: Any) -> Any:
            """Take results in the order of the arguments, which any order may be and a replay repeats."""
            inner = pool.imap if self._is_watched() and _is_of_processes(pool) else None
            return unordered(pool, *args, **options) if inner is None else inner(*args, **options)

        _replace(pools.ApplyResult, "ready", ready)
        _replace(pools.Pool, "imap_unordered", imap_unordered)


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


def _is_of_processes(pool: Any) -> bool:
    """Tell whether a pool has processes; one whose work is done may be forgotten."""
    return type(pool).__name__ != "ThreadPool"


def _replace(owner: Any, name: str, function: Callable[..., Any]) -> None:
    """Put a function in the place of another one, under whose name the call table knows it."""
    original = getattr(owner, name)
    function.__module__, function.__qualname__ = original.__module__, original.__qualname__
    setattr(owner, name, function)
