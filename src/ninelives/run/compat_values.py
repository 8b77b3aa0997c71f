"""Values that AutoKitteh's store and signals take and JSON does not have.

There, bytes, sets, dates and spans of time come back as what they were; tuples come back as lists, and named
tuples and objects with attributes as `AttrDict`. What this server keeps is JSON, so what JSON does not have
is written as a mapping of one key that says what it is: `{"$bytes": "…"}`.
"""

import base64
import enum
import importlib
import json
import math
import os
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from ninelives.event import AttrDict

_READ: dict[str, Callable[[Any], Any]] = {
    "$bytes": base64.b64decode,
    "$date": date.fromisoformat,
    "$datetime": datetime.fromisoformat,
    "$decimal": lambda text: importlib.import_module("decimal").Decimal(text),
    "$dict": lambda pairs: {unwrapped(key): unwrapped(value) for key, value in pairs},
    "$float": float,
    "$set": lambda items: {_hashable(unwrapped(item)) for item in items},
    "$time": time.fromisoformat,
    "$timedelta": lambda seconds: timedelta(seconds=seconds),
    "$uuid": lambda text: importlib.import_module("uuid").UUID(text),
}

#: What is written as its text, by the name of its class: most projects never load `decimal` and `uuid`.
_AS_TEXT = {
    "datetime.date": "$date",
    "datetime.time": "$time",
    "decimal.Decimal": "$decimal",
    "uuid.UUID": "$uuid",
}


def wrapped(value: Any) -> Any:
    """Return a value as JSON from which `unwrapped` makes it again.

    Raises:
        TypeError: It, or something in it, is nothing that AutoKitteh keeps.
        ValueError: It contains itself.
    """
    return _walk(value, _tagged, ())


def plain(value: Any) -> Any:
    """Return a value as JSON for people and other programs: without tags, dates as text, sets as lists."""
    return _walk(value, _told, ())


def unwrapped(value: Any) -> Any:
    """Return what `wrapped` was given; mappings answer to attributes as well."""
    if isinstance(value, list):
        return [unwrapped(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((tag, content),) = value.items()
        if tag in _READ:
            return _READ[tag](content)
    return AttrDict({key: unwrapped(item) for key, item in value.items()})


def _walk(value: Any, leaf: Callable[[Any], Any], above: tuple[int, ...]) -> Any:
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or isinstance(value, bool | int | str):
        return value
    if _is_leaf(value):
        return leaf(value)
    if id(value) in above:
        raise ValueError(f"a value of type {type(value).__name__} contains itself")
    return _of_parts(value, leaf, (*above, id(value)))


def _is_leaf(value: Any) -> bool:
    is_known = isinstance(value, float | bytes | bytearray | memoryview | datetime | timedelta)
    return is_known or isinstance(value, os.PathLike) or _name_of(value) in _AS_TEXT


def _of_parts(value: Any, leaf: Callable[[Any], Any], above: tuple[int, ...]) -> Any:
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        value = dict(zip(value._fields, value, strict=False))
    if isinstance(value, list | tuple):
        return [_walk(item, leaf, above) for item in value]
    if isinstance(value, set | frozenset):
        items = sorted((_walk(item, leaf, above) for item in value), key=json.dumps)
        return {"$set": items} if leaf is _tagged else items
    found = value if isinstance(value, Mapping) else _attributes(value)
    if found is None:
        raise TypeError(f"a value of type {type(value).__name__} cannot be kept; give its parts instead")
    return _mapping(found, leaf, above)


def _mapping(value: Mapping[Any, Any], leaf: Callable[[Any], Any], above: tuple[int, ...]) -> Any:
    is_plain = all(isinstance(key, str) for key in value) and not (
        len(value) == 1 and next(iter(value)) in _READ
    )
    if is_plain or leaf is not _tagged:
        return {key: _walk(item, leaf, above) for key, item in value.items()}
    return {"$dict": [[_walk(key, leaf, above), _walk(item, leaf, above)] for key, item in value.items()]}


def _tagged(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": str(value)}
    if _name_of(value) in _AS_TEXT:
        return {_AS_TEXT[_name_of(value)]: str(value)}
    if isinstance(value, timedelta):
        return {"$timedelta": value.total_seconds()}
    if isinstance(value, datetime):
        # As there: a time without a zone counts as UTC, and every one comes back in it.
        moment = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        return {"$datetime": moment.isoformat()}
    return {"$bytes": base64.b64encode(value).decode()}


def _told(value: Any) -> Any:
    if _name_of(value) in _AS_TEXT or isinstance(value, os.PathLike):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value if isinstance(value, float) else bytes(value).decode(errors="replace")


def _attributes(value: Any) -> dict[str, Any] | None:
    """Return what an object has in its attributes; `None` of a class or a function, or where it has none."""
    if isinstance(value, type) or callable(value):
        return None
    slots = [name for cls in type(value).__mro__ for name in _slots(cls) if hasattr(value, name)]
    found = getattr(value, "__dict__", None)
    if not isinstance(found, dict) and not slots:
        return None
    return {**{name: getattr(value, name) for name in slots}, **(found or {})}


def _slots(cls: type) -> tuple[str, ...]:
    slots = cls.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(name for name in slots if not name.startswith("__"))


def _name_of(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
