"""Decorators that say how calls of a function are recorded.

A marked function is an object of its own that asks the running session; outside of a session it is the plain
function.
"""

import asyncio
import functools
import inspect
import types
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar, cast, overload

from ninelives import host
from ninelives.host import Mark, Retry

F = TypeVar("F", bound=Callable[..., Any])


class Marked:
    """A function with a mark; it looks like the function."""

    def __init__(self, fn: Callable[..., Any], mark: Mark) -> None:
        self.__qualname__: str = type(fn).__qualname__
        functools.update_wrapper(self, fn)
        self.mark = mark
        self.fn = fn
        if inspect.iscoroutinefunction(fn):
            _mark_coroutine_function(self)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function as it is marked."""
        session = host.running()
        if session is None:
            return self.fn(*args, **kwargs)
        return session.marked(self.mark, self.fn, args, kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind to an instance, as a function does."""
        return self if instance is None else types.MethodType(self, instance)

    def __repr__(self) -> str:
        return f"<ninelives.{self.mark.kind} {self.__qualname__}>"

    def __reduce__(self) -> str:
        """Pickle by name, as functions do."""
        return str(self.__qualname__)


def _mark_coroutine_function(marked: Marked) -> None:
    """Have `iscoroutinefunction` say yes, in inspect (3.12) and in asyncio."""
    if hasattr(inspect, "markcoroutinefunction"):
        inspect.markcoroutinefunction(marked)
    else:
        marked._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]


def _apply(fn: Any, mark: Mark) -> Any:
    if isinstance(fn, staticmethod | classmethod):
        return type(fn)(Marked(fn.__func__, mark))
    if isinstance(fn, Marked):
        fn = fn.fn
    if not callable(fn):
        raise TypeError(f"{mark.kind} marks functions, not {fn!r}")
    return Marked(fn, mark)


@overload
def step(fn: F, /) -> F: ...


@overload
def step(
    *,
    retry: int | Retry | Literal["never"] = 0,
    timeout: float | None = None,
    name: str | None = None,
) -> Callable[[F], F]: ...


def step(
    fn: Any = None,
    /,
    *,
    retry: int | Retry | Literal["never"] = 0,
    timeout: float | None = None,
    name: str | None = None,
) -> Any:
    """Make every call of a function one step: recorded as a whole, never executed again once it is done.

    Args:
        fn: The function; sync or async.
        retry: How many more attempts a failure gets, with growing pauses; a `Retry` says more. `"never"`:
            after a crash in the middle it is not executed again, the caller gets `StepInterrupted` instead.
        timeout: Seconds that one attempt may take before it fails with `TimeoutError`.
        name: Shown instead of the function's own name; also what a replay compares.
    """
    if name is not None and not _is_storable(name):
        raise ValueError(f"the name {name!r} of a step has a NUL character, or half of a surrogate pair")
    never = retry == "never"
    mark = Mark(kind="step", name=name, retry=_policy(retry), never=never, timeout=timeout)
    if fn is None:
        return lambda function: _apply(function, mark)
    return _apply(fn, mark)


def _policy(retry: int | Retry | str) -> Retry:
    if isinstance(retry, Retry):
        return retry
    if retry == "never":
        return Retry(times=0)
    if isinstance(retry, bool) or not isinstance(retry, int) or retry < 0:
        raise ValueError(f"retry is a number of attempts, a Retry or 'never', not {retry!r}")
    return Retry(times=retry)


def live(fn: F) -> F:
    """Mark a function that makes an object which cannot be recorded: a client, a connection.

    After a crash the function is called again, with the same arguments, when the object is needed again.
    """
    return cast(F, _apply(fn, Mark(kind="live")))


def inhibit(fn: F) -> F:
    """Mark a function in which no call becomes a step; it runs again on each replay."""
    return cast(F, _apply(fn, Mark(kind="inhibit")))


def register_no_activity(items: Iterable[Callable[..., Any]]) -> None:
    """Have functions, or all methods of classes, called directly instead of as steps."""
    session = host.running()
    if session is not None:
        session.never_a_step(items)


def _is_storable(name: str) -> bool:
    """Tell whether a database takes a name."""
    return "\0" not in name and not any("\ud800" <= character <= "\udfff" for character in name)
