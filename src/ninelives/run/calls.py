"""What rewritten code asks for each call: to call it as it is, or through what makes a step of it.

The first lines of `call` run for every call in user code, so they answer the common cases (the project's own
functions, builtins, methods of plain values) from sets; everything else is decided by `classify`.
"""

import functools
import inspect
import operator
import sqlite3
import types
from collections.abc import Callable
from typing import Any

from ninelives.marks import Marked
from ninelives.run import calltable, files, live, memory
from ninelives.run.asyncsteps import AsyncSteps
from ninelives.run.calltable import Kind
from ninelives.run.chance import Chance
from ninelives.run.classify import Verdict, display_name
from ninelives.run.clocks import Clocks
from ninelives.run.core import Core
from ninelives.run.instrument import GIVEN
from ninelives.run.iterators import Iterators
from ninelives.run.live import Method, Placeholder
from ninelives.run.lost import lost_of
from ninelives.run.registry import Registry
from ninelives.run.scope import Scope, current
from ninelives.run.settled import PLAIN_OWNERS, Settled
from ninelives.run.stepping import PLAIN
from ninelives.run.steps import Steps
from ninelives.run.waits import Waits

_Function = types.FunctionType
_Builtin = types.BuiltinFunctionType
_Bound = types.MethodType

Call = Callable[[Any], Any]

#: Functions that are kept alive for being found quickly: code that is made again and again makes more.
_MOST_FUNCTIONS = 10_000

_ATTRIBUTES = frozenset({"__delattr__", "__getattribute__", "__setattr__"})

_PLAIN_ARGUMENTS = frozenset({str, list, dict, tuple, set, frozenset, range, types.GeneratorType, zip, map})


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
        self._is_marked = core.classifier.is_marked
        self._is_own = core.classifier.is_own
        self._registry = registry
        self._steps = steps
        self._async = asynchronous
        self._clocks = clocks
        self._chance = chance
        self._waits = waits
        self._iterators = iterators
        self._codes: dict[int, types.CodeType] = {}
        self._functions: set[types.FunctionType] = set()
        self._methods: set[types.FunctionType] = set()
        self._things: dict[Any, Any] = {}
        self.settled = Settled(core.classifier.is_user_class)
        self.call = self._fast()
        self.method = self._fast_method()

    def forget(self) -> None:
        """Decide upon everything anew."""
        self._codes.clear()
        self._functions.clear()
        self._methods.clear()
        self._things.clear()
        self.settled.forget()

    def _fast(self) -> Call:
        # Ids of what `codes` keeps alive: hashing a code object goes over all that it consists of. To ask for
        # an id takes longer than all else here, so functions that stay are looked for by themselves, first.
        codes, functions, methods = self._codes, self._functions, self._methods
        things, slow = self._things, self._slow

        def call(fn: Any) -> Any:
            """Return what to call instead of `fn`: mostly `fn`."""
            cls = type(fn)
            if cls is _Function:
                if fn in functions or id(fn.__code__) in codes:
                    return fn
            elif cls is _Builtin:
                if type(fn.__self__) in PLAIN_OWNERS and fn.__name__ not in GIVEN:
                    return fn
                if fn in things:
                    return things[fn]
            elif cls is _Bound:
                function = fn.__func__
                if type(function) is _Function and function in methods:
                    return fn
            elif cls is type and fn in things:
                return things[fn]
            return slow(fn)

        return call

    def _fast_method(self) -> Call:
        codes, functions, methods = self._codes, self._functions, self._methods
        things, slow = self._things, self._slow

        def method(fn: Any) -> Any:
            """Return what to call instead of an attribute whose name is none of `GIVEN`."""
            cls = type(fn)
            if cls is _Bound:
                function = fn.__func__
                if type(function) is _Function and function in methods:
                    return fn
            elif cls is _Builtin:
                if type(fn.__self__) in PLAIN_OWNERS:
                    return fn
                if fn in things:
                    return things[fn]
            elif cls is _Function:
                if fn in functions or id(fn.__code__) in codes:
                    return fn
            elif cls is type and fn in things:
                return things[fn]
            return slow(fn)

        return method

    def _slow(self, fn: Any) -> Any:
        if type(fn) is Marked:
            return fn  # it asks the session itself
        if type(fn) in {Method, Placeholder, operator.methodcaller}:
            return self._for_another(fn)
        if not callable(fn) or _is_of_attributes(fn):
            return fn  # Python says it best
        verdict = self._decide(fn)
        if verdict.kind is Kind.DIRECT:
            if self._registry and self._is_on_live(fn):
                return self._on_live(fn)
            return self._direct(fn, verdict)
        if verdict.kind is Kind.KEEPS:
            return functools.partial(self._kept, fn)
        scope = current.get()
        if scope is None or not (scope.records or scope.decides):
            return fn
        return self._instead(fn, verdict, scope)

    def _for_another(self, fn: Any) -> Any:
        """Return what to call instead of what stands for something else that is called."""
        if type(fn) is Method:
            return self._of_lost(fn)
        if type(fn) is operator.methodcaller:
            return functools.partial(self._by_method, fn)
        if lost_of(fn).about.get("is_own"):
            return self.call(lost_of(fn).real())
        return functools.partial(self._steps.make, fn, lost_of(fn).about["name"], PLAIN)

    def _of_lost(self, method: Method) -> Any:
        """Return what to call instead of a method whose receiver was lost: one of the project just runs."""
        if method.ninelives_function is not None and self._is_own(live.bound(method)):
            return self.call(live.bound(method))
        make = self._async.make if live.is_async(method) else self._steps.make
        return functools.partial(make, method, live.step_name(method), PLAIN)

    def _by_method(self, caller: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call what a `methodcaller` calls: it is the method that is decided upon."""
        if len(args) != 1 or kwargs:
            return caller(*args, **kwargs)  # Python says it best
        name, given, named = _of_methodcaller(caller)
        return self.call(getattr(args[0], name))(*given, **named)

    def _is_on_live(self, fn: Any) -> bool:
        """Tell whether this is a library's method of a live value; it is a step, whatever the table says."""
        receiver = getattr(fn, "__self__", None)
        return receiver is not None and self._registry.is_live(receiver) and not self._is_own(fn)

    def _on_live(self, fn: Any) -> Any:
        scope = current.get()
        if scope is None or not scope.records:
            return fn
        make = self._async.make if inspect.iscoroutinefunction(fn) else self._steps.make
        return functools.partial(make, fn, display_name(fn), PLAIN)

    def _direct(self, fn: Any, verdict: Verdict) -> Any:
        cls = type(fn)
        if verdict.is_inhibited:
            return functools.partial(self.inhibited, fn)
        if cls is _Function:
            self._remember(fn)
        elif cls is _Bound and type(fn.__func__) is _Function:
            if self._is_own(fn) and _is_direct_alone(fn.__func__, self._decide):
                self._methods.add(fn.__func__)
                self.settled.settle(fn)
        elif _is_lasting(fn):
            self._things[fn] = fn
        return fn

    def _remember(self, fn: types.FunctionType) -> None:
        """Call a function directly from now on, and its like: they share its code, and carry no marks."""
        code = fn.__code__
        if fn.__dict__ or self._is_marked(code):
            return
        self._codes[id(code)] = code
        # Those that are made inside functions go when their makers are done with them.
        if "<locals>" not in code.co_qualname and len(self._functions) < _MOST_FUNCTIONS:
            self._functions.add(fn)

    def _instead(self, fn: Any, verdict: Verdict, scope: Scope) -> Any:
        kind, name = verdict.kind, verdict.name
        if kind is Kind.CLOCK:
            return functools.partial(self._clocks.read, fn, name)
        if kind is Kind.CHANCE:
            return self._chance.instead_of(fn, name, scope)
        if not scope.records:
            # A database in memory that a module makes is one of this process, too.
            return functools.partial(self._connect, fn, name) if fn is sqlite3.connect else fn
        if kind is Kind.STEP:
            return self._step(fn, verdict)
        if kind is Kind.SLEEP:
            return self._waits.sleep
        if kind is Kind.ASYNC_SLEEP:
            return self._waits.sleep_async
        if kind is Kind.ENTERS:
            return functools.partial(self._entering, fn)
        instead = functools.partial(self._given, fn, verdict)
        if _is_lasting(fn):
            self._things[fn] = instead
        return instead

    def _step(self, fn: Any, verdict: Verdict) -> Any:
        if memory.holds(getattr(fn, "__self__", None)):
            return fn
        if fn is sqlite3.connect:
            return functools.partial(self._connect, fn, verdict.name)
        make = self._async.make if verdict.is_async else self._steps.make
        return functools.partial(make, fn, verdict.name, PLAIN)

    def _connect(self, fn: Any, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Open a database: a step, unless it is one in memory."""
        if memory.is_asked_for(args, kwargs):
            return memory.connect(fn, args, kwargs)
        return self._steps.make(fn, name, PLAIN, *args, **kwargs)

    def _given(self, fn: Any, verdict: Verdict, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function that computes on what it is given, or runs it."""
        is_plain = not self._registry and verdict.kind is not Kind.OPENS
        if is_plain and len(args) == 1 and type(args[0]) in _PLAIN_ARGUMENTS and not kwargs:
            return fn(*args)
        scope = current.get()
        if scope is None or not scope.records:
            return fn(*args, **kwargs)
        if verdict.kind is Kind.OPENS and not _is_given_a_buffer(args, kwargs):
            return self._steps.make(fn, verdict.name, PLAIN, *args, **kwargs)
        if verdict.kind is Kind.INSPECT and self._needs_the_world(fn, args):
            if calltable.is_lazy(fn) or any(map(self._iterators.has_begun, args)):
                return self._called(fn, tuple(map(self._iterators.items, args)), kwargs)
            return self._steps.make(fn, verdict.name, PLAIN, *args, **kwargs)
        return self._called(fn, args, kwargs)

    def _called(self, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args = tuple(self._to_call(value) if _is_function(value) else value for value in args)
        if kwargs:
            kwargs = {
                k: self._to_call(value) if _is_function(value) else value for k, value in kwargs.items()
            }
        return fn(*args, **kwargs)

    def _to_call(self, value: Any) -> Any:
        """Return what calls a callable among arguments; what was lost may be an iterable instead."""
        if type(value) is not Method or value.ninelives_function is not None:
            return self.call(value)
        value.ninelives_call = self._of_lost(value.ninelives_again())
        return value

    def _kept(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function that keeps callables: what they are is decided when somebody calls them."""
        args = tuple(map(self._later, args))
        return fn(*args, **{name: self._later(value) for name, value in kwargs.items()})

    def _later(self, value: Any) -> Any:
        """Return what decides upon a callable when it is called.

        The project's own are left as they are, and functions that only compute: libraries know some of them.
        """
        if not _is_function(value) or self._is_own(value) or self._only_computes(value):
            return value
        if inspect.iscoroutinefunction(value):

            async def await_then(*args: Any, **kwargs: Any) -> Any:
                return await self.call(value)(*args, **kwargs)

            return _named_as(value, await_then)

        def call_then(*args: Any, **kwargs: Any) -> Any:
            return self.call(value)(*args, **kwargs)

        return _named_as(value, call_then)

    def _only_computes(self, fn: Any) -> bool:
        """Tell whether this is a function of a module that is called directly, given plain values."""
        is_of_module = type(fn) is _Function or (
            type(fn) is _Builtin and type(fn.__self__) is types.ModuleType
        )
        return is_of_module and self._decide(fn).kind in {Kind.DIRECT, Kind.INSPECT}

    def _entering(self, fn: Any, context: Any, /) -> Any:
        """Call a function that enters a context: entering and leaving it are steps where it reaches out."""
        if hasattr(type(context), "__enter__") or live.is_placeholder(context):
            is_async = getattr(fn, "__name__", "").startswith(("enter_async", "push_async"))
            enter = self._iterators.async_enter if is_async else self._iterators.enter
            return fn(enter(context))
        if hasattr(type(context), "__aenter__"):
            return fn(self._iterators.async_enter(context))
        return fn(self._later(context))

    def _needs_the_world(self, fn: Any, args: tuple[Any, ...]) -> bool:
        if self._registry and self._registry.is_live(getattr(fn, "__self__", None)):
            return True
        return any(files.is_file(value) or self._iterators.reaches_out(value) for value in args)

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


def _is_given_a_buffer(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Tell whether something is opened that lives in this process."""
    return any(map(memory.is_buffer, (*args, *kwargs.values())))


def _is_of_attributes(fn: Any) -> bool:
    """Tell whether this is `super().__getattribute__` or the like: to ask its receiver is to come here."""
    return type(fn) is types.MethodWrapperType and fn.__name__ in _ATTRIBUTES


def _is_lasting(fn: Any) -> bool:
    """Tell whether a callable is a class, or a function of a module: one that can be remembered."""
    return type(fn) is type or (type(fn) is _Builtin and type(fn.__self__) is types.ModuleType)


def _is_function(value: Any) -> bool:
    """Tell whether an argument is something to be called; classes make plain values, or are decided there."""
    return isinstance(
        value, Method | _Function | _Builtin | _Bound | functools.partial | operator.methodcaller
    )


def _of_methodcaller(caller: Any) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """Return the name and the arguments of what an `operator.methodcaller` calls, as it pickles."""
    made, args = caller.__reduce__()
    named = made.keywords if isinstance(made, functools.partial) else {}
    name, *given = (*made.args, *args) if isinstance(made, functools.partial) else args
    return name, tuple(given), named


def _named_as(value: Any, instead: Any) -> Any:
    """Give a function the name and the signature of the one that it calls."""
    names = ("__name__", "__qualname__", "__doc__")
    return functools.update_wrapper(instead, value, assigned=names, updated=())


def _is_direct_alone(fn: Any, decide: Callable[[Any], Verdict]) -> bool:
    """Tell whether a method's function is direct by itself, so that its receiver does not count."""
    verdict = decide(fn)
    return verdict.kind is Kind.DIRECT and not verdict.is_inhibited
