"""What rewritten code asks for each call: to call it as it is, or through what makes a step of it.

The first lines of `call` run for every call in user code, so they answer the common cases (the project's own
functions, builtins, methods of plain values) from sets; everything else is decided by `classify`.
"""

import functools
import types
from collections.abc import Callable
from typing import Any

from ninelives.run import live
from ninelives.run.asyncsteps import AsyncSteps
from ninelives.run.calltable import Kind
from ninelives.run.chance import Chance
from ninelives.run.classify import Verdict
from ninelives.run.clocks import Clocks
from ninelives.run.core import Core
from ninelives.run.iterators import Iterators
from ninelives.run.live import Method, Registry
from ninelives.run.scope import Scope, current
from ninelives.run.stepping import PLAIN
from ninelives.run.steps import Steps
from ninelives.run.waits import Waits

_Function = types.FunctionType
_Builtin = types.BuiltinFunctionType
_Bound = types.MethodType

Call = Callable[[Any], Any]

#: Methods of these are direct, but for those that are given callables, iterables or files.
_PLAIN_OWNERS = (str, list, dict, tuple, set, frozenset, bytes, bytearray, int, float)
_GIVEN = frozenset({"extend", "sort", "join", "update", "difference_update", "intersection_update"})


class Calls:
    """Decides upon calls while user code runs."""

    def __init__(
        self,
        core: Core,
        registry: Registry,
        steps: Steps,
        asynchronous: AsyncSteps,
        clocks: Clocks,
        chance: Chance,
        waits: Waits,
        iterators: Iterators,
    ) -> None:
        self._decide = core.classifier.decide
        self._registry = registry
        self._steps = steps
        self._async = asynchronous
        self._clocks = clocks
        self._chance = chance
        self._waits = waits
        self._iterators = iterators
        self.direct_codes: set[types.CodeType] = set()
        self.direct_things: set[Any] = set()
        self.call = self._fast()

    def forget(self) -> None:
        """Decide upon everything anew."""
        self.direct_codes.clear()
        self.direct_things.clear()

    def _fast(self) -> Call:
        codes, things, slow = self.direct_codes, self.direct_things, self._slow
        methods = {(cls, name) for cls in _PLAIN_OWNERS for name in dir(cls) if name not in _GIVEN}

        def call(fn: Any) -> Any:
            """Return what to call instead of `fn`: mostly `fn`."""
            cls = type(fn)
            if cls is _Function:
                if fn.__code__ in codes and not fn.__dict__:
                    return fn
            elif cls is _Builtin:
                if (type(fn.__self__), fn.__name__) in methods or fn in things:
                    return fn
            elif cls is _Bound:
                inner = fn.__func__
                if type(inner) is _Function and inner.__code__ in codes and not inner.__dict__:
                    return fn
            elif cls is type and fn in things:
                return fn
            return slow(fn)

        return call

    def _slow(self, fn: Any) -> Any:
        if type(fn) is Method:
            return functools.partial(self._steps.make, fn, fn.step_name, PLAIN)
        if live.is_placeholder(fn):
            return functools.partial(self._steps.make, fn, live.lost_of(fn).about["name"], PLAIN)
        if not callable(fn):
            return fn  # Python says it best
        verdict = self._decide(fn)
        if verdict.kind is Kind.DIRECT:
            return self._direct(fn, verdict)
        scope = current.get()
        if scope is None or not (scope.records or scope.decides):
            return fn
        return self._instead(fn, verdict, scope)

    def _direct(self, fn: Any, verdict: Verdict) -> Any:
        cls = type(fn)
        if verdict.is_inhibited:
            return functools.partial(self.inhibited, fn)
        if cls is _Function:
            self.direct_codes.add(fn.__code__)
        elif cls is _Bound and type(fn.__func__) is _Function and _is_own_receiver(fn, self._decide):
            self.direct_codes.add(fn.__func__.__code__)
        elif (cls is _Builtin and type(fn.__self__) is types.ModuleType) or cls is type:
            self.direct_things.add(fn)
        return fn

    def _instead(self, fn: Any, verdict: Verdict, scope: Scope) -> Any:
        kind, name = verdict.kind, verdict.name
        if kind is Kind.CLOCK:
            return functools.partial(self._clocks.read, fn, name)
        if kind is Kind.CHANCE:
            return self._chance.instead_of(fn, name, scope)
        if not scope.records:
            return fn
        if kind is Kind.STEP:
            make = self._async.make if verdict.is_async else self._steps.make
            return functools.partial(make, fn, name, PLAIN)
        if kind is Kind.SLEEP:
            return self._waits.sleep
        if kind is Kind.ASYNC_SLEEP:
            return self._waits.sleep_async
        return functools.partial(self._given, fn, verdict)

    def _given(self, fn: Any, verdict: Verdict, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function that computes on what it is given, or runs it."""
        if verdict.kind is Kind.INSPECT and self._needs_the_world(fn, args):
            return self._steps.make(fn, verdict.name, PLAIN, *args, **kwargs)
        args = tuple(self.call(value) if _is_function(value) else value for value in args)
        if kwargs:
            kwargs = {k: self.call(value) if _is_function(value) else value for k, value in kwargs.items()}
        return fn(*args, **kwargs)

    def _needs_the_world(self, fn: Any, args: tuple[Any, ...]) -> bool:
        if self._registry and self._registry.is_live(getattr(fn, "__self__", None)):
            return True
        return any(live.is_file(value) or self._iterators.reaches_out(value) for value in args)

    def inhibited(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function, and everything in it, directly; it runs again on each replay."""
        scope = current.get()
        if scope is None or not scope.records:
            return fn(*args, **kwargs)
        token = current.set(Scope(scope.strand, records=False, decides=True))
        try:
            return fn(*args, **kwargs)
        finally:
            current.reset(token)


def _is_function(value: Any) -> bool:
    """Tell whether an argument is something to be called; classes make plain values, or are decided there."""
    return isinstance(value, _Function | _Builtin | _Bound | functools.partial | Method)


def _is_own_receiver(fn: Any, decide: Callable[[Any], Verdict]) -> bool:
    """Tell whether a method is direct whatever its receiver: its function by itself is."""
    return decide(fn.__func__).kind is Kind.DIRECT
