"""What calls and clients of libraries give, as annotations and `known` tell: for `explain`."""

import functools
import importlib
import io
import typing
from typing import Any, NamedTuple

from ninelives.run import known


class Known(NamedTuple):
    """What is known of a name.

    Attributes:
        what: `object`: the object itself; `instance`: one of a class; `name`: only a dotted name, because its
            library is not installed; `part`: a part of a client. Of the project itself: `function`, with its
            mark; `class`; `of own`: an instance of such a class; `module`. Otherwise `unknown`.
    """

    what: str
    value: Any


UNKNOWN = Known("unknown", None)


def returned(function: Known) -> Known:
    """Return what a call gives: an instance of a class, a file, what a library's annotations say."""
    if function.what == "class":
        return Known("of own", function.value)
    if function.what in {"name", "part"}:
        return _from_name(function)
    if function.what != "object":
        return UNKNOWN
    if isinstance(function.value, type):
        return Known("instance", function.value)
    if function.value is open:
        return Known("instance", io.TextIOWrapper)
    return _hinted(function.value) or _instance(known.RETURNS.get(_name_of(function.value), "")) or UNKNOWN


def _from_name(function: Known) -> Known:
    """Return what something gives of which only the name is known."""
    owner, _, name = function.value.rpartition(".")
    if owner in known.BUILDERS and name not in known.BUILDERS[owner]:
        return Known("part", owner)
    return _instance(known.RETURNS.get(function.value, "")) or UNKNOWN


def _instance(name: str) -> Known | None:
    """Return an instance of a class by its name: of the class itself, where its library is installed."""
    if not name:
        return None
    if name in known.BUILDERS:
        return Known("part", name)
    module, _, cls = name.rpartition(".")
    try:
        return Known("instance", getattr(importlib.import_module(module), cls))
    except Exception:
        return Known("name", name)


def made(owner: Known, name: str) -> Known | None:
    """Return what a client has under a name that its class does not tell."""
    return None if owner.what != "instance" else _made_by(_name_of(owner.value), name)


def _made_by(cls: str, name: str) -> Known | None:
    if cls in known.FACADES:
        return Known("part", f"{cls}.{name}")
    found = known.MADE.get(cls, {})
    return None if name in known.VALUES else _instance(found.get(name, found.get("*", "")))


def of_name(owner: Known, name: str) -> Known:
    """Return an attribute of what only the name is known of."""
    if owner.what == "name" and owner.value in known.MADE:
        # Its class is not here to say which are methods: those begin with a small letter, objects do not.
        found = known.MADE[owner.value]
        if name in found or name[:1].isupper():
            return _made_by(owner.value, name) or UNKNOWN
    spelled = known.BUILDERS.get(owner.value, {}).get(name)
    return Known(owner.what, spelled or f"{owner.value}.{name}")


def read(found: Any) -> Known | None:
    """Return what a property gives, where it says so."""
    if isinstance(found, property) and found.fget is not None:
        return _hinted(found.fget)
    return _hinted(found.func) if isinstance(found, functools.cached_property) else None


def _hinted(function: Any) -> Known | None:
    """Return what a function's annotation says that it gives."""
    try:
        hint = typing.get_type_hints(function).get("return")
    except Exception:
        return None
    is_said = isinstance(hint, type) and hint not in (type(None), object, Any)
    return Known("instance", hint) if is_said else None


def _name_of(thing: Any) -> str:
    owner = getattr(thing, "__objclass__", None) or getattr(thing, "__self__", None)
    module = getattr(owner, "__module__", None) if isinstance(owner, type) else None
    return f"{module or getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', '')}"
