"""Decides what becomes of a call: one order of questions, asked once for each function and remembered.

Inside a step, or where steps are inhibited: direct. Marked: as marked. The SDK, the project's own code,
objects of this process and what only computes: direct. Clocks, chance and sleeps: their own kinds. Anything
else: a step. What the names mean is `calltable`'s; this module finds the name that counts.
"""

import functools
import inspect
import sys
import types
from collections.abc import Iterable
from typing import Any, NamedTuple

from ninelives.marks import Marked
from ninelives.run import calltable, kinds
from ninelives.run.calltable import Kind

#: How AutoKitteh's decorators mark a function.
ACTIVITY = "__ak_activity__"
INHIBIT = "__ak_inhibit_activities__"

_NAME_LIMIT = 300  # characters; the journal's column
_BUILTIN = types.BuiltinFunctionType
_DESCRIPTORS = (
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.ClassMethodDescriptorType,
)


class Verdict(NamedTuple):
    """What becomes of a call.

    Attributes:
        name: Shown, and compared by a replay.
        is_async: What is called returns a coroutine; awaiting it is the step.
        is_inhibited: It is called directly, and so is everything in it.
    """

    kind: Kind
    name: str
    is_async: bool = False
    is_inhibited: bool = False


_DIRECT = Verdict(Kind.DIRECT, "")
_INHIBITED = Verdict(Kind.DIRECT, "", is_inhibited=True)


class Classifier:
    """Knows one project: which modules are its own, and what it declared to be direct."""

    def __init__(self, build_dir: str) -> None:
        self.build_dir = build_dir.rstrip("/")
        self.modules: set[str] = set()
        self._root = self.build_dir + "/"
        self._listed: set[Any] = set()
        self._verdicts: dict[Any, Verdict] = {}
        self._marked: set[int] = set()
        #: What ids among the keys belong to; alive, so that no other thing gets them.
        self._kept: list[Any] = []

    # --- what is the user's -------------------------------------------------------------------------------

    def is_user_file(self, path: str) -> bool:
        """Tell whether a file is part of the project."""
        return path.startswith(self._root)

    def is_user_class(self, cls: type) -> bool:
        """Tell whether a class is the project's own."""
        return cls.__module__ in self.modules

    def never_a_step(self, items: Iterable[Any]) -> None:
        """Have functions, or all methods of classes, called directly from now on."""
        for item in items:
            self._listed.add(getattr(item, "__func__", item))
        self._verdicts.clear()

    # --- the decision -------------------------------------------------------------------------------------

    def decide(self, fn: Any) -> Verdict:
        """Return what becomes of a call of `fn` in the project's own code."""
        key = _key(fn)
        verdict = self._verdicts.get(key) if key is not None else None
        if verdict is None:
            verdict = self._decide(fn)
            if key is not None:
                self._verdicts[key] = verdict
                self._keep(fn)
        return verdict

    def _keep(self, fn: Any) -> None:
        inner = fn.__func__ if isinstance(fn, types.MethodType) else fn
        if isinstance(inner, types.FunctionType):
            self._kept.append(inner.__code__)

    def is_own(self, fn: Any) -> bool:
        """Tell whether a function is the project's, or was declared to be direct by it."""
        return self._is_users(fn) or self._as_marked(fn) is not None or self._is_listed(fn)

    def is_marked(self, code: types.CodeType) -> bool:
        """Tell whether some function with this code is marked in the AutoKitteh way."""
        return id(code) in self._marked

    def mark(self, fn: Any) -> None:
        """Note that a function is marked in the AutoKitteh way; others with its code may not be."""
        code = getattr(fn, "__code__", None)
        if code is not None:
            self._marked.add(id(code))
            self._kept.append(code)

    def _decide(self, fn: Any) -> Verdict:
        if isinstance(fn, functools.partial):
            return self.decide(fn.func)
        if isinstance(fn, types.GenericAlias):
            return self.decide(fn.__origin__)
        marked = self._as_marked(fn)
        if marked is not None:
            return marked
        if self._is_listed(fn) or self._is_users(fn) or _is_exceptional(fn):
            return _DIRECT
        module, qualname = _table_name(fn)
        kind = kinds.kind_of(module, qualname)
        if kind is Kind.DIRECT:
            return _DIRECT
        if kind is Kind.STEP and self._is_own_dunder(fn):
            return _DIRECT
        return Verdict(kind, display_name(fn)[:_NAME_LIMIT], _is_async(fn))

    def _as_marked(self, fn: Any) -> Verdict | None:
        inner = fn.__func__ if isinstance(fn, types.MethodType) else fn
        if isinstance(inner, Marked):
            return _DIRECT  # it asks the session itself
        marks = getattr(inner, "__dict__", None)
        if isinstance(inner, type):
            return None
        if not isinstance(inner, types.FunctionType) and self.is_user_class(type(inner)):
            marks = getattr(type(inner).__call__, "__dict__", None)
        if not isinstance(marks, dict):
            return None
        if marks.get(INHIBIT) is True:
            return _INHIBITED
        if ACTIVITY in marks:
            is_step = marks[ACTIVITY] is True
            return Verdict(Kind.STEP, display_name(fn)[:_NAME_LIMIT], _is_async(fn)) if is_step else _DIRECT
        return None

    def _is_listed(self, fn: Any) -> bool:
        if not self._listed:
            return False
        inner = getattr(fn, "__func__", fn)
        owner = _defining_class(fn)
        return _in(self._listed, inner) or (owner is not None and owner in self._listed)

    def _is_users(self, fn: Any) -> bool:
        inner = fn.__func__ if isinstance(fn, types.MethodType) else fn
        if isinstance(inner, type):
            return self.is_user_class(inner)
        code = getattr(inner, "__code__", None)
        if isinstance(code, types.CodeType) and code.co_filename.startswith(self._root):
            return True
        if isinstance(inner, _BUILTIN | types.MethodWrapperType):
            return False
        if isinstance(inner, types.FunctionType) or "__wrapped__" in getattr(inner, "__dict__", {}):
            return inner.__module__ in self.modules or self._wraps_users(inner)
        return self.is_user_class(type(inner))

    def _wraps_users(self, fn: Any) -> bool:
        """Tell whether a decorator of a library stands around a function of the project."""
        for _ in range(20):
            fn = getattr(fn, "__dict__", {}).get("__wrapped__")
            if fn is None:
                return False
            if getattr(fn, "__module__", None) in self.modules:
                return True
        return False

    def _is_own_dunder(self, fn: Any) -> bool:
        """Tell whether this is `super().__init__(…)` or the like, part of making a project's object."""
        receiver = getattr(fn, "__self__", None)
        name = getattr(fn, "__name__", "")
        return (
            receiver is not None
            and name.startswith("__")
            and name.endswith("__")
            and self.is_user_class(receiver if isinstance(receiver, type) else type(receiver))
        )


def _key(fn: Any) -> Any:
    """Return under what a verdict is remembered, or `None`."""
    cls = type(fn)
    # Functions that a function makes share their code; each may have a name of its own, as boto3's methods.
    if cls is types.FunctionType:
        return None if fn.__dict__ else (id(fn.__code__), fn.__qualname__)
    if cls is types.MethodType:
        inner = fn.__func__
        if type(inner) is not types.FunctionType or inner.__dict__:
            return None
        return id(inner.__code__), inner.__name__, inner.__qualname__, _class_of(fn.__self__)
    if issubclass(cls, _BUILTIN):
        receiver = fn.__self__
        if receiver is None or type(receiver) is types.ModuleType:
            return fn
        return _class_of(receiver), fn.__name__, isinstance(receiver, type)
    return fn if isinstance(fn, type) else None


def _in(found: set[Any], item: Any) -> bool:
    try:
        return item in found
    except TypeError:  # it has no hash
        return False


def _class_of(receiver: Any) -> type:
    return receiver if isinstance(receiver, type) else type(receiver)


def _is_exceptional(fn: Any) -> bool:
    """Tell whether this makes an exception, or is a method of one."""
    if isinstance(fn, type):
        return issubclass(fn, BaseException)
    return isinstance(getattr(fn, "__self__", None), BaseException)


def _is_async(fn: Any) -> bool:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn)


def _defining_class(fn: Any) -> type | None:
    """Return the class in which a method is defined."""
    if isinstance(fn, type):
        return fn
    if isinstance(fn, _DESCRIPTORS):
        return getattr(fn, "__objclass__", None) or type(fn.__self__)  # type: ignore[union-attr]
    receiver = getattr(fn, "__self__", None)
    if receiver is None or isinstance(receiver, types.ModuleType):
        return _class_by_name(fn)
    name = getattr(fn, "__name__", "")
    owner = _class_of(receiver)
    return next((cls for cls in owner.__mro__ if name in cls.__dict__), owner)


def _class_by_name(fn: Any) -> type | None:
    """Return the class of a method that was taken from the class itself."""
    found: Any = sys.modules.get(getattr(fn, "__module__", None) or "")
    for name in getattr(fn, "__qualname__", "").split(".")[:-1]:
        found = getattr(found, name, None)
    return found if isinstance(found, type) else None


def _table_name(fn: Any) -> tuple[str, str]:
    """Return module and name under which the table is asked."""
    if isinstance(fn, types.MethodType):
        if getattr(fn.__func__, "__module__", "") is None:  # such as `multiprocessing` makes with `exec`
            cls = _class_of(fn.__self__)
            return cls.__module__, f"{cls.__qualname__}.{fn.__name__}"
        return _table_name(fn.__func__)
    if isinstance(fn, types.FunctionType | type):
        return fn.__module__ or "", fn.__qualname__
    owner = _defining_class(fn)
    name = getattr(fn, "__name__", None)
    if owner is not None and isinstance(name, str):
        return owner.__module__, f"{owner.__qualname__}.{name}"
    if isinstance(fn, _BUILTIN):
        return fn.__module__ or getattr(fn.__self__, "__name__", ""), fn.__qualname__
    inner = getattr(fn, "__dict__", {}).get("__wrapped__")
    if isinstance(inner, types.FunctionType):  # functools.cache
        return inner.__module__, inner.__qualname__
    name, module = getattr(fn, "__qualname__", None), getattr(fn, "__module__", None)
    if isinstance(name, str) and isinstance(module, str):  # a function that Cython made
        return module, name
    return type(fn).__module__, type(fn).__qualname__


# --- names for people, and for comparing ------------------------------------------------------------------


def display_name(fn: Any) -> str:
    """Return the name of a callable as people know it: `requests.post`, not `requests.api.post`.

    Whatever code has put into `__qualname__`, every database takes it.
    """
    name = _display_name(fn)
    return name if name.isprintable() else ascii(name)[1:-1]


def _display_name(fn: Any) -> str:
    if isinstance(fn, functools.partial):
        return _display_name(fn.func)
    receiver = getattr(fn, "__self__", None)
    if receiver is not None and not isinstance(receiver, types.ModuleType):
        return f"{class_name(_class_of(receiver))}.{getattr(fn, '__name__', '')}"
    if isinstance(fn, type):
        return class_name(fn)
    name = getattr(fn, "__qualname__", None)
    if not isinstance(name, str):
        return class_name(type(fn))
    owner = getattr(fn, "__objclass__", None)
    if isinstance(owner, type):
        return f"{class_name(owner)}.{name.rpartition('.')[2]}"
    return _short(fn.__module__ or "", name, fn)


def class_name(cls: type) -> str:
    """Return the name of a class as people know it."""
    return _short(cls.__module__, cls.__qualname__, cls)


def _short(module: str, qualname: str, thing: object) -> str:
    module = calltable.ALIASES.get(module, module)
    if module == "builtins" or (module, qualname) == ("io", "open"):
        return qualname
    top = module.partition(".")[0]
    if top != module and getattr(sys.modules.get(top), qualname, None) is thing:
        return f"{top}.{qualname}"
    return f"{module}.{qualname}"
