"""The store of the package `autokitteh`: its functions, and its dictionary, which the original never saves.

`autokitteh.store` is the dictionary and the name of the module at once, so both have the functions.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from ninelives import values
from ninelives.run.compat_values import unwrapped, wrapped

_ABSENT = object()


def get_value(key: str) -> Any:
    """Return a value, as what it was stored."""
    return unwrapped(values.get_value(key))


def set_value(key: str, value: Any) -> None:
    """Store a value."""
    values.set_value(key, wrapped(value))


def check_and_set_value(key: str, expected: Any, value: Any) -> bool:
    """Store a value if the current one is as expected."""
    return values.check_and_set_value(key, wrapped(expected), wrapped(value))


def mutate(key: str, op: str, *args: Any) -> Any:
    """Change a value; the operands of `check_and_set` come as AutoKitteh takes them: new, then expected."""
    match str(op):
        case "set":
            return set_value(key, *args)
        case "get":
            return get_value(key)
        case "del":
            return values.del_value(key)
        case "add":
            return values.add_value(key, *args)
        case "check_and_set":
            new, expected = args
            return check_and_set_value(key, expected, new)
    raise ValueError(f"mutate_value knows set, get, del, add and check_and_set, not {op!r}")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "get_value": get_value,
    "set_value": set_value,
    "del_value": values.del_value,
    "add_values": values.add_value,
    "check_and_set_value": check_and_set_value,
    "mutate_value": mutate,
    "list_values_keys": values.list_keys,
    "publish_value": values.publish_value,
    "unpublish_value": values.unpublish_value,
}


def teach(module: ModuleType) -> None:
    """Have the dictionary tell what it has not, and answer to the names of the module whose name it bears.

    Reading a missing key gives `None`, as in the original; there `in` is always true and `setdefault`, `get`
    with a default and `pop` never find anything missing.
    """
    owner: Any = module.Store
    for name, method in {"__contains__": _contains, "get": get, "setdefault": setdefault, "pop": pop}.items():
        method.__module__ = module.__name__
        setattr(owner, name, method)
    for name in (*FUNCTIONS, "get_store_public_url", "Op", "Store"):
        setattr(module.store, name, getattr(module, name))


def _contains(self: Any, key: object) -> bool:
    """Tell whether there is a value."""
    return key in list(self)


def get(self: Any, key: str, default: Any = None) -> Any:
    """Return a value, or `default` where there is none."""
    value = self[key]
    return value if value is not None or key in self else default


def setdefault(self: Any, key: str, default: Any = None) -> Any:
    """Return a value; store `default` where there is none."""
    if self[key] is None and key not in self:
        self[key] = default
    return self[key]


def pop(self: Any, key: str, default: Any = _ABSENT) -> Any:
    """Delete a value and return it; without a default, a missing one is a `KeyError`."""
    value = self[key]
    if value is None and key not in self:
        if default is _ABSENT:
            raise KeyError(key)
        return default
    del self[key]
    return value
