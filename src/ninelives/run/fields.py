"""The attributes of live values: recorded as far as they are plain, so that a replay can read them.

What stands for a lost value answers from them without anything being made again. Attributes that are objects
of libraries are *parts*: known by their class, reached through their owner.
"""

import enum
import pathlib
import types
from collections.abc import Callable, Iterator
from typing import Any, Final

from ninelives.run import calltable, reducers
from ninelives.run.codec import is_plain
from ninelives.run.digest import fields_of, type_name
from ninelives.run.masking import Masks

#: Larger attributes are not recorded. bytes
_LARGEST = 20_000
#: Nor those of objects with more attributes than this.
_MOST = 200

_NO_PARTS: Final = (
    type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.FrameType,
    types.CodeType, types.GeneratorType, list, tuple, dict, set, frozenset,
)  # fmt: skip
_SLOTS = (types.GetSetDescriptorType, types.MemberDescriptorType)


class Fields:
    """Reads the attributes of one session's live values."""

    def __init__(self, masks: Masks, is_user_class: Callable[[type], bool]) -> None:
        self._masks = masks
        self._is_user_class = is_user_class
        self._slots: dict[type, tuple[str, ...]] = {}
        #: Attributes that are never recorded: they do not pickle.
        self._hopeless: set[tuple[type, str]] = set()

    def of(self, value: Any) -> dict[str, bytes]:
        """Return the attributes that can be recorded, each as a pickle."""
        found: dict[str, bytes] = {}
        cls = type(value)
        if cls is types.GeneratorType:
            return found
        shown = calltable.SHOWN.get(type_name(cls), ())
        for name, item in self._attributes(value):
            if (cls, name) not in self._hopeless and (name in shown or self._is_recorded(item)):
                data = _pickled(item)
                if data is None:
                    self._hopeless.add((cls, name))
                elif len(data) <= _LARGEST and not self._masks.occur_in(data):
                    found[name] = data
        return found

    def _is_recorded(self, item: Any) -> bool:
        return (
            is_plain(item, 5)
            or isinstance(item, enum.Enum | pathlib.PurePath)
            or self._is_user_class(type(item))
        )

    def parts(self, value: Any) -> Iterator[tuple[str, Any]]:
        """Go over the attributes that are objects of libraries, and could be referred to."""
        for name, item in self._attributes(value):
            if (
                not isinstance(item, _NO_PARTS)
                and not self._is_recorded(item)
                and type(item).__weakrefoffset__
            ):
                yield name, item

    def _attributes(self, value: Any) -> Iterator[tuple[str, Any]]:
        cls = type(value)
        own = fields_of(value)
        if len(own) <= _MOST:
            yield from own.items()
        if cls not in self._slots:
            self._slots[cls] = tuple(_slots_of(cls))
        for name in self._slots[cls]:
            try:
                item = getattr(value, name)
            except Exception:  # noqa: S112 - a closed cursor refuses to be asked
                continue
            yield name, item


def _slots_of(cls: type) -> Iterator[str]:
    """Return the attributes of a class that is written in C."""
    yield from calltable.SHOWN.get(type_name(cls), ())
    for base in cls.__mro__[:-1]:
        for name, item in vars(base).items():
            if isinstance(item, _SLOTS) and not name.startswith("_"):
                yield name


def _pickled(item: Any) -> bytes | None:
    try:
        return reducers.dumps(item)
    except Exception:
        return None
