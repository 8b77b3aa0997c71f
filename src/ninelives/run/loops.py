"""asyncio's event loop, in a session: tasks are strands, its idle moments are when answers are handed out.

Only a loop that the project's own code runs is treated so; one that a library runs inside a step is a plain
loop.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context, copy_context
from typing import Any, Protocol, TypeVar, TypeVarTuple

from ninelives.run.core import Core
from ninelives.run.scope import Strand, current, user_scope
from ninelives.run.turns import Lane

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class Timers(Protocol):
    """Makes timers of user code durable (`waits`)."""

    def timer(self, loop: "SessionLoop", handle: asyncio.TimerHandle, seconds: float) -> None:
        """Have a handle run after a time."""
        ...

    def cancel(self, handle: asyncio.TimerHandle) -> bool:
        """Forget a handle; tell whether it was known."""
        ...


class _Task(asyncio.Task[Any]):
    """A task of user code: sets of tasks have the same order when the code runs again."""

    _hash = 0

    def __hash__(self) -> int:
        return self._hash


class _Future(asyncio.Future[Any]):
    """A future of user code, likewise."""

    _hash = 0

    def __hash__(self) -> int:
        return self._hash


class SessionLoop(asyncio.SelectorEventLoop):
    """An event loop whose tasks are strands."""

    def __init__(self, core: Core, timers: Timers) -> None:
        super().__init__()
        self._core = core
        self._timers = timers
        self._lane: Lane | None = None
        self._main: asyncio.Future[Any] | None = None
        #: The next task is this strand, instead of a child of the one that makes it.
        self.adopt: Strand | None = None
        inner: selectors.BaseSelector = self._selector  # type: ignore[has-type]
        self._selector = _Gate(self, inner)

    @property
    def lane(self) -> Lane | None:
        """The lane that runs this loop for user code, while it does."""
        return self._lane

    @property
    def core(self) -> Core:
        """What the session's process shares."""
        return self._core

    @property
    def reaches_out(self) -> bool:
        """Whether it waits for a socket or a pipe, beside its own."""
        files = None if self.is_closed() else self._selector.get_map()
        return files is not None and len(files) > 1

    # --- running ------------------------------------------------------------------------------------------

    def run_forever(self) -> None:
        """Run; while user code runs the loop, its lane's turn is given away whenever it has nothing to do."""
        scope, lane = current.get(), self._core.lane()
        if scope is None or not scope.records or lane is None:
            super().run_forever()
            return
        self._lane = lane
        self._core.loops.add(self)
        self._core.turns.loop_begins(lane, self._write_to_self)  # type: ignore[attr-defined]
        is_main = scope.strand is self._core.main
        if is_main:
            self._core.cancel_main = self._cancel_main
        try:
            super().run_forever()
        finally:
            self._lane = None
            self._core.turns.loop_ends(lane)

    def run_until_complete(self, future: Any) -> Any:
        """Run until a future is done."""
        self._main = (
            future if isinstance(future, asyncio.Future) else asyncio.ensure_future(future, loop=self)
        )
        return super().run_until_complete(self._main)

    def _cancel_main(self) -> None:
        """Cancel what the loop is run for; called where the lane is idle."""
        if self._main is not None:
            self.append_ready(self._main.cancel)

    # --- strands ------------------------------------------------------------------------------------------

    def create_task(
        self,
        coro: Any,
        *,
        name: object = None,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[Any]:
        """Make a task, which is a strand where user code makes it."""
        scope = current.get()
        if scope is None or not scope.records or not isinstance(coro, Coroutine):
            return super().create_task(coro, name=name, context=context, **options)
        context = copy_context() if context is None else context
        strand, self.adopt = self.adopt, None
        if strand is None:
            strand = Strand(scope.strand.child_name(), self._core.past)
        context.run(current.set, user_scope(strand))
        task = _Task(coro, loop=self, name=None if name is None else str(name), context=context, **options)
        task._hash = scope.strand.take_hash()
        return task

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future."""
        scope = current.get()
        if scope is None or not scope.records:
            return super().create_future()
        future = _Future(loop=self)
        future._hash = scope.strand.take_hash()
        return future

    # --- what makes it go on ------------------------------------------------------------------------------

    def append_ready(self, callback: Callable[[], object]) -> None:
        """Have a callback run next; from any thread, the loop being woken by the caller."""
        self._ready.append(asyncio.Handle(callback, (), self, None))  # type: ignore[attr-defined]

    def call_soon_threadsafe(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Have a callback run, and the loop take its turn for it."""
        handle = super().call_soon_threadsafe(callback, *args, context=context)
        lane = self._lane
        if lane is not None:
            self._core.turns.make_ready(lane)
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Have a callback run at a time; where user code asks for it, that is a durable wait."""
        scope = current.get()
        if self._lane is None or scope is None or not scope.records:
            return super().call_at(when, callback, *args, context=context)
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._timers.timer(self, handle, max(0.0, when - self.time()))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        if not self._timers.cancel(handle):
            super()._timer_handle_cancelled(handle)  # type: ignore[misc]


class _Gate:
    """A selector that gives its lane's turn away before it blocks."""

    def __init__(self, loop: SessionLoop, inner: selectors.BaseSelector) -> None:
        self._loop = loop
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def select(self, timeout: float | None = None) -> list[Any]:
        lane = self._loop.lane
        if lane is None or (timeout is not None and timeout <= 0):
            return self._inner.select(timeout)
        events = self._inner.select(0)
        if events:
            return events
        turns = self._loop.core.turns
        if turns.idle(lane):
            return []
        events = self._inner.select(timeout)
        turns.resume(lane)
        return events


class Policy(asyncio.DefaultEventLoopPolicy):
    """Makes session loops in threads that run user code, and plain ones elsewhere."""

    def __init__(self, core: Core, timers: Timers) -> None:
        super().__init__()
        self._core = core
        self._timers = timers

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """Return a new loop."""
        return SessionLoop(self._core, self._timers)


def install() -> None:
    """Have `asyncio.as_completed` make its tasks in the order of its arguments, not in that of a set."""
    original = asyncio.as_completed

    def as_completed(fs: Iterable[Any], *, timeout: float | None = None) -> Any:
        """Run awaitables concurrently, and go over them as they finish."""
        scope = current.get()
        if scope is None or not scope.records or asyncio.isfuture(fs) or asyncio.iscoroutine(fs):
            return original(fs, timeout=timeout)
        distinct = {id(awaitable): awaitable for awaitable in fs}
        return original([asyncio.ensure_future(f) for f in distinct.values()], timeout=timeout)

    as_completed.__module__ = original.__module__
    asyncio.as_completed = asyncio.tasks.as_completed = as_completed


def run(main: Coroutine[Any, Any, _T], strand: Strand) -> _T:
    """Run a coroutine as a strand that exists already, as `asyncio.run` does."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        assert isinstance(loop, SessionLoop)
        loop.adopt = strand
        return runner.run(main)
