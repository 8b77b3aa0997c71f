"""Objects that mean something by being themselves: `MISSING = object()`, `NotSet`, `USE_CLIENT_DEFAULT`.

Code asks whether a value *is* such an object, so that a copy of it would be another answer. They are recorded
as the attribute of a module, or of a class in one, that holds them. Only objects without a state of their own
count: of one that has a state the record holds what it was at its step.
"""

import copyreg
import importlib
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any, Final

#: Where an object was found; the object itself, so that no other one gets its id.
_Found = tuple[object, str, str]

#: `Py_TPFLAGS_HEAPTYPE` (Include/object.h)
_MADE_IN_PYTHON: Final = 1 << 9

#: What a class must not have a way of its own for.
_AS_OBJECTS: Final = ("__new__", "__reduce__", "__reduce_ex__")

#: The sentinels of each class that was asked for, by their ids.
_known: dict[type, dict[int, _Found]] = {}


def place_of(value: Any) -> tuple[str, str] | None:
    """Return the module that holds a sentinel, and the dotted name in it; `None` for any other value."""
    cls = type(value)
    known = _known.get(cls)
    if known is None:
        known = _known[cls] = _all(cls) if _is_of_bare_objects(cls) else {}
    elif cls is object and id(value) not in known:
        known.update(_all(cls))  # a module that came later may hold it
    found = known.get(id(value))
    if found is None:
        return None
    # Libraries say of what they export that it is theirs; anything else is a state.
    has_state = not getattr(value, "__dict__", {}).keys() <= {"__module__"}
    return None if has_state else found[1:]


def at(module: str, name: str, cls: Any) -> Any:
    """Return the sentinel at a place; where the code has none there any more, another object of its class."""
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        found = None
    return found if type(found) is cls else cls.__new__(cls)


def _is_of_bare_objects(cls: Any) -> bool:
    """Tell whether objects of a class hold nothing in slots, and pickle in no way of their own."""
    return cls is object or (
        bool(cls.__flags__ & _MADE_IN_PYTHON)
        and all(getattr(cls, name) is getattr(object, name) for name in _AS_OBJECTS)
        and cls not in copyreg.dispatch_table
        and not any(
            type(item) is types.MemberDescriptorType for c in cls.__mro__ for item in vars(c).values()
        )
    )


def _all(cls: type) -> dict[int, _Found]:
    """Return the objects of a class that the class's module holds, and the packages around it.

    A plain `object()` does not tell where it is from: all modules are asked.
    """
    parts = cls.__module__.split(".")
    names = (
        list(sys.modules) if cls is object else [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    )
    found: dict[int, _Found] = {}
    modules = [(name, sys.modules.get(name)) for name in names]
    spaces = [(name, vars(module)) for name, module in modules if isinstance(module, types.ModuleType)]
    for name, space in spaces:
        for key, item in _items(space):
            if type(item) is cls:
                found.setdefault(id(item), (item, name, key))
    for name, space in spaces:
        for key, owner in _items(space):
            if isinstance(owner, type) and owner.__module__ == name:
                for inner, item in _items(vars(owner)):
                    if type(item) is cls:
                        found.setdefault(id(item), (item, name, f"{key}.{inner}"))
    return found


def _items(space: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from list(space.items())
