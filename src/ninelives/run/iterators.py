"""Loops over what a step returned, and `with` statements over it: each item taken is recorded as it is taken.

Plain containers, the project's own generators and what only computes are looped over as they are. Anything
else does its work while it is looped over, so each item is a step. A loop that went on in an earlier process
is not begun again until an item is wanted that the journal does not have; the recorded items are skipped
then.
"""

import contextlib
import io
import sqlite3
import sys
import types
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from ninelives.errors import IteratorChanged, LiveValueLost
from ninelives.run import files, kinds, live, memory, queries
from ninelives.run.asyncsteps import AsyncSteps
from ninelives.run.calltable import Kind
from ninelives.run.classify import class_name
from ninelives.run.core import Core
from ninelives.run.lost import lost_of
from ninelives.run.registry import Registry
from ninelives.run.scope import current
from ninelives.run.stepping import PLAIN
from ninelives.run.steps import Steps

#: Looped over as they are, whatever they hold.
_PLAIN = frozenset(
    {list, tuple, dict, set, frozenset, str, bytes, bytearray, range, deque, memoryview, types.GeneratorType}
    | {type({}.keys()), type({}.values()), type({}.items()), type(iter([])), type(iter(())), type(iter({}))}
    | {enumerate, zip, map, filter, reversed, io.StringIO, io.BytesIO, sqlite3.Row, types.AsyncGeneratorType}
)

#: Contexts that a generator function makes; whether one was entered is noted in it.
_GENERATED = (contextlib._GeneratorContextManager, contextlib._AsyncGeneratorContextManager)
_HAS_ENTERED = "_ninelives_has_entered"

#: What the end of an iterator is recorded as.
_END = "the end"


class Iterators:
    """Decides what a loop or a `with` statement goes over."""

    def __init__(self, core: Core, registry: Registry, steps: Steps, asynchronous: AsyncSteps) -> None:
        self._core = core
        self._registry = registry
        self._steps = steps
        self._async = asynchronous
        self._begun: weakref.WeakSet[Any] = weakref.WeakSet()

    # --- for ----------------------------------------------------------------------------------------------

    def items(self, value: Any) -> Any:
        """Return what a `for` statement loops over."""
        if type(value) is Recorded or not self.reaches_out(value):
            return value
        if live.is_placeholder(value):
            lost = lost_of(value)
            if lost.recorded is None:
                lost.recorded = Recorded(self, value)
            return lost.recorded
        return Recorded(self, value)

    def has_begun(self, value: Any) -> bool:
        """Tell whether items of an iterator were taken already."""
        if live.is_placeholder(value):
            return lost_of(value).recorded is not None
        return hasattr(type(value), "__next__") and _in(self._begun, value)

    def begin(self, value: Any) -> None:
        """Note that items of an iterator are taken."""
        if hasattr(type(value), "__next__") and not live.is_placeholder(value):
            with contextlib.suppress(TypeError):
                self._begun.add(value)

    def async_items(self, value: Any) -> Any:
        """Return what an `async for` statement loops over."""
        if type(value) is AsyncRecorded or not self._reaches_out(value, "__aiter__"):
            return value
        return AsyncRecorded(self, value)

    def reaches_out(self, value: Any) -> bool:
        """Tell whether taking items of a value, or reading it, may need the world."""
        if type(value) in _PLAIN and not self._registry:
            return False
        return self._reaches_out(value, "__iter__")

    def _reaches_out(self, value: Any, method: str) -> bool:
        scope = current.get()
        if scope is None or not scope.records:
            return False
        cls = type(value)
        if self._registry.is_live(value):
            return True
        if memory.holds(value):
            return False
        return cls not in _PLAIN and hasattr(cls, method) and self._is_foreign(cls)

    # --- with ---------------------------------------------------------------------------------------------

    def enter(self, value: Any) -> Any:
        """Return what a `with` statement enters: entering and leaving a live value are steps."""
        if type(value) is contextlib.closing and self._registry.is_live(value.thing):  # type: ignore[attr-defined]
            return _Closing(self, value.thing)  # type: ignore[attr-defined]
        return _Context(self, value) if self._is_foreign_context(value) else value

    def async_enter(self, value: Any) -> Any:
        """Return what an `async with` statement enters."""
        return _AsyncContext(self, value) if self._is_foreign_context(value) else value

    def _is_foreign_context(self, value: Any) -> bool:
        scope = current.get()
        if scope is None or not scope.records or files.is_file(value) or memory.holds(value):
            return False
        return self._registry.is_live(value) or self._is_foreign(type(value))

    def _is_foreign(self, cls: type) -> bool:
        """Tell whether what objects of a class do is a step."""
        if self._core.classifier.is_user_class(cls):
            return False
        return kinds.kind_of(cls.__module__, cls.__qualname__) is Kind.STEP

    def is_live(self, value: Any) -> bool:
        """Tell whether a value is live, or stands for one that was."""
        return self._registry.is_live(value)

    # --- steps --------------------------------------------------------------------------------------------

    def step(self, name: str, fn: Callable[..., Any], *args: Any) -> Any:
        """Make a step of something that user code does without calling."""
        return self._steps.make(fn, name, PLAIN, *args)

    async def async_step(self, name: str, fn: Callable[..., Any], *args: Any) -> Any:
        """Make a step of something that user code awaits without calling."""
        return await self._async.make(fn, name, PLAIN, *args)

    def digest(self, value: Any) -> bytes:
        """Return the digest of an item, to compare it with a recorded one."""
        return self._core.digests.of_value(value)


def _in(found: "weakref.WeakSet[Any]", value: Any) -> bool:
    try:
        return value in found
    except TypeError:  # nothing can refer to it weakly, or it has no hash
        return False


def _name(value: Any) -> str:
    if live.is_placeholder(value):
        return str(lost_of(value).about["name"])
    return class_name(type(value))


class Recorded(Iterator[Any]):
    """An iterator whose items are recorded as they are taken."""

    def __init__(self, iterators: Iterators, source: Any) -> None:
        self._iterators = iterators
        self._source = source
        self._name = f"{_name(source)}.__next__"
        self._inner: Iterator[Any] | None = None
        self._taken: list[bytes] = []
        #: A function and no method: we are no receiver whose changes are recorded.
        self._take = lambda source: self._next(source)  # noqa: PLW0108
        self._is_over = False

    def __iter__(self) -> "Recorded":
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __next__(self) -> Any:
        if self._is_over:
            raise StopIteration
        self._iterators.begin(self._source)
        found: tuple[Any, ...] = self._iterators.step(self._name, self._take, self._source)
        if not found:
            self._is_over = True
            raise StopIteration
        if self._inner is None:
            self._taken.append(self._iterators.digest(found[0]))
        return found[0]

    def _next(self, source: Any) -> tuple[Any, ...]:
        """Take the next item of the iterable, made again if need be; nothing at its end."""
        if files.is_file(source):
            line = source.readline()  # unlike a loop, it lets the file say where it stands
            return (line,) if line else ()
        if self._inner is None:
            self._inner = iter(live.for_a_loop(self._source))
            if not queries.is_cursor(self._source.__class__):  # it was made to stand where it stood
                self._skip(self._inner)
        for item in self._inner:
            return (item,)
        return ()

    def _skip(self, inner: Iterator[Any]) -> None:
        for index, digest in enumerate(self._taken):
            item = next(inner, _END)
            if self._iterators.digest(item) != digest:
                raise IteratorChanged(
                    f"item {index} of {self._name.removesuffix('.__next__')} is not the one that was "
                    f"recorded "
                    "before the process died; loop over a list that a step returned"
                )


class AsyncRecorded(AsyncIterator[Any]):
    """An asynchronous iterator whose items are recorded as they are taken."""

    def __init__(self, iterators: Iterators, source: Any) -> None:
        self._iterators = iterators
        self._source = source
        self._name = f"{_name(source)}.__anext__"
        self._inner: AsyncIterator[Any] | None = None
        self._taken: list[bytes] = []
        #: A function and no method: we are no receiver whose changes are recorded.
        self._take = lambda source: self._next(source)  # noqa: PLW0108

    def __aiter__(self) -> "AsyncRecorded":
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    async def __anext__(self) -> Any:
        found: tuple[Any, ...] = await self._iterators.async_step(self._name, self._take, self._source)
        if not found:
            raise StopAsyncIteration
        if self._inner is None:
            self._taken.append(self._iterators.digest(found[0]))
        return found[0]

    async def _next(self, _source: Any) -> tuple[Any, ...]:
        if self._inner is None:
            self._inner = aiter(live.for_a_loop(self._source))
            for index, digest in enumerate(self._taken):
                item = await anext(self._inner, _END)
                if self._iterators.digest(item) != digest:
                    raise IteratorChanged(
                        f"item {index} of {self._name} is not the one that was recorded before"
                    )
        async for item in self._inner:
            return (item,)
        return ()


class _Context:
    """A `with` statement over a live value: entering and leaving it are steps."""

    def __init__(self, iterators: Iterators, value: Any) -> None:
        self._iterators = iterators
        self._value = value
        self._name = _name(value)

    def __enter__(self) -> Any:
        value = self._value
        found = self._step("__enter__", _entered)
        return value if found is None else found[0]

    def __exit__(self, *error: object) -> Any:
        return self._step("__exit__", _left, error[0] is not None)

    def _step(self, method: str, fn: Callable[..., Any], *args: Any) -> Any:
        name = f"{self._name}.{method}"
        if self._iterators.is_live(self._value):
            return self._iterators.step(name, fn, self._value, *args)
        # As a method: what it changes in its receiver is recorded.
        return self._iterators.step(name, types.MethodType(fn, self._value), *args)


def _entered(value: Any) -> tuple[Any] | None:
    """Enter a context; `None` says that the context is what entering it gave."""
    _note_entered(value)
    found = type(value).__enter__(value)
    return None if found is value else (found,)


def _left(value: Any, has_failed: bool) -> bool:
    error = sys.exc_info() if has_failed else (None, None, None)
    _see_entered(value)
    return bool(type(value).__exit__(value, *error))


def _note_entered(value: Any) -> None:
    if isinstance(value, _GENERATED):
        setattr(value, _HAS_ENTERED, True)


def _see_entered(value: Any) -> None:
    """See that a generator's context, made again since, is not left without having been entered.

    Raises:
        LiveValueLost: What entered it has died.
    """
    if isinstance(value, _GENERATED) and not hasattr(value, _HAS_ENTERED):
        name = getattr(value.gen, "__qualname__", "")
        raise LiveValueLost(
            f"the context {name} was entered by a process that has died, so it cannot be left; make the "
            "whole `with` statement one step (@ninelives.step), or make what it gives in a function marked "
            "@ninelives.live"
        )


class _Closing:
    """A `with closing(…)` statement over a live value: closing it is a step."""

    def __init__(self, iterators: Iterators, value: Any) -> None:
        self._iterators = iterators
        self._value = value

    def __enter__(self) -> Any:
        return self._value

    def __exit__(self, *error: object) -> None:
        self._iterators.step(f"{_name(self._value)}.close", _closed, self._value)


def _closed(value: Any) -> None:
    value.close()


class _AsyncContext:
    """An `async with` statement over a live value."""

    def __init__(self, iterators: Iterators, value: Any) -> None:
        self._iterators = iterators
        self._value = value
        self._name = _name(value)

    async def __aenter__(self) -> Any:
        value = self._value
        found = await self._iterators.async_step(f"{self._name}.__aenter__", _entered_async, value)
        return value if found is None else found[0]

    async def __aexit__(self, *error: object) -> Any:
        has_failed = error[0] is not None
        return await self._iterators.async_step(
            f"{self._name}.__aexit__", _left_async, self._value, has_failed
        )


async def _entered_async(value: Any) -> tuple[Any] | None:
    _note_entered(value)
    found = await type(value).__aenter__(value)
    return None if found is value else (found,)


async def _left_async(value: Any, has_failed: bool) -> bool:
    error = sys.exc_info() if has_failed else (None, None, None)
    _see_entered(value)
    return bool(await type(value).__aexit__(value, *error))
