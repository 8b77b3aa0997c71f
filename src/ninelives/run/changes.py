"""Arguments that a step changes: found by comparing before and after, changed again in place by a replay.

Containers and objects of the project's classes are compared by digest, up to a size. Whatever they reach
keeps its identity: it is recorded as a number, the place in a walk that a replay repeats. The receiver of a
library's method is compared by its pickle, where it has one: a workbook that got a row has that row after a
replay too. So are arguments of some libraries' classes that only hold data: a data frame, an XML element.
"""

import dataclasses
import io
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ninelives.run import calltable, memory, reducers
from ninelives.run.digest import SCALARS, Digests, TooLarge, fields_of, type_name

#: Larger arguments are not compared. bytes of canonical form
_LIMIT = 1_000_000
#: Arguments that reach more containers than this are not compared either.
_MOST = 20_000

_CONTENTS = (list, dict, set, bytearray, deque)
#: What they hold is no part of their fields.
_BUFFERS = (io.BytesIO, io.StringIO, array)
_BUILTIN = frozenset({*_CONTENTS, tuple})

#: Receivers whose pickle is larger are not compared. bytes
_RECEIVER_LIMIT = 256_000
#: The same of arguments that hold data. bytes
_DATA_LIMIT = 1_000_000

#: Classes that the project did not write and whose objects only hold data, with what is derived from them.
_DATA = frozenset(
    {
        "argparse.Namespace",
        "array.array",
        "_io.BytesIO",
        "_io.StringIO",
        "collections.ChainMap",
        "collections.UserDict",
        "collections.UserList",
        "configparser.RawConfigParser",
        "email.message.Message",
        "numpy.ndarray",
        "pandas.DataFrame",
        "pandas.Series",
        "pandas.core.frame.DataFrame",
        "pandas.core.series.Series",
        "types.SimpleNamespace",
        "xml.etree.ElementTree.Element",
    }
)
#: Stands in the place of a receiver where there is none.
_NOBODY = object()


class Pickles(Protocol):
    """Pickles libraries' objects (`codec`)."""

    def whole(self, value: Any) -> bytes:
        """Return the pickle of an object's state."""
        ...


Content = list[tuple[int, Any]]


class Whole(NamedTuple):
    """The state of a library's object that has changed, as a pickle."""

    data: bytes


class Part(NamedTuple):
    """Fields of an object whose class says which of them its pickle has; the others stay as they are."""

    fields: dict[str, Any]


class Tracked:
    """The containers that a call's arguments reach.

    Attributes:
        containers: All that are reached, in the order of a walk; the numbers in a record are places here.
        targets: What a record may change: the containers, the place of the receiver, then arguments that hold
            data. Their numbers are beyond what a release knew that did not compare them: it passes them over.
        has_lost_receiver: The receiver could be recorded before the call, and cannot be any more.
    """

    __slots__ = (
        "_before", "_data", "_data_before", "_digests", "_pickles", "_reach", "_receiver", "_receiver_before",
        "_roots", "containers", "has_lost_receiver", "targets",
    )  # fmt: skip

    def __init__(
        self,
        roots: Sequence[Any],
        receiver: Any,
        digests: Digests,
        has_fields: Callable[[type], bool],
        pickles: Pickles | None,
        data: Sequence[Any] = (),
    ) -> None:
        self._pickles = pickles
        self._digests = digests
        self._roots = roots
        self._receiver = receiver
        self.containers: list[Any] = []
        self._reach: list[range] = []
        seen: set[int] = set()
        for root in roots:
            begin = len(self.containers)
            _walk(root, self.containers, seen, has_fields)
            self._reach.append(range(begin, len(self.containers)))
        place = [_NOBODY] if receiver is None else [receiver]
        self.targets = [*self.containers, *place, *data]
        if receiver is not None:
            self.containers.append(receiver)  # always the last
        self._data = data
        self._data_before: list[Any] = []
        self._before: list[bytes | None] = []
        self._receiver_before: bytes | None = None
        self.has_lost_receiver = False

    def look(self) -> None:
        """Remember how the arguments look, before a call that may change them."""
        self._before = [self._digest(root) for root in self._roots]
        if self._receiver is not None:
            self._receiver_before = _pickled(self._receiver, self._pickles)
        self._data_before = [self._state(value) for value in self._data]

    def _state(self, value: Any) -> Any:
        is_database = memory.is_database(value)
        return memory.mark(value) if is_database else _pickled(value, self._pickles, _DATA_LIMIT)

    def _digest(self, root: Any) -> bytes | None:
        try:
            return self._digests.of_value(root, _LIMIT)
        except (TooLarge, RecursionError):
            return None

    def changed(self) -> Content:
        """Return the contents of the arguments that have changed since `look`."""
        found: Content = []
        for root, before, reach in zip(self._roots, self._before, self._reach, strict=True):
            if before is not None and self._digest(root) != before:
                found.extend((index, _content(self.containers[index])) for index in reach)
        after = None if self._receiver_before is None else _pickled(self._receiver, self._pickles)
        is_lost = after is None and self._receiver_before is not None
        # A handle is made again by the call that made it, whatever it is in the middle of knowing.
        self.has_lost_receiver = is_lost and not calltable.is_handle(type(self._receiver))
        if after is not None and after != self._receiver_before:
            found.append((len(self.containers) - 1, Whole(after)))
        first = len(self.targets) - len(self._data)
        for index, (value, was) in enumerate(zip(self._data, self._data_before, strict=True), start=first):
            now = None if was is None else self._state(value)
            if now is not None and now != was:
                whole = self._pickles.whole(value) if self._pickles and memory.is_database(value) else now
                found.append((index, Whole(whole)))
        return found


def track(
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    digests: Digests,
    has_fields: Callable[[type], bool],
    receiver: Any = None,
    pickles: Pickles | None = None,
    *,
    is_alone: bool = False,
) -> Tracked | None:
    """Find what a call may change: containers among its arguments, its receiver; `None` for nothing.

    Databases in memory that the arguments reach, too; all that there are where a step `is_alone`, and no
    other strand can have changed them meanwhile.
    """
    given = [value for value in (*args, *kwargs.values()) if type(value) not in SCALARS]
    databases = memory.databases()
    if databases:
        databases = databases if is_alone else _databases_of(given, has_fields)
    if not given and receiver is None and not databases:
        return None
    roots = [value for value in given if _can_change(value, has_fields)]
    data = [] if pickles is None else [value for value in given if _holds_data(value, has_fields, pickles)]
    if receiver is not None and (
        pickles is None or has_fields(type(receiver)) or not _keeps_state(type(receiver), receiver)
    ):
        receiver = None
    data = [value for value in data if value is not receiver]
    if databases and pickles is not None:
        # Behind those that were given: a release that did not know of them passes them over.
        data += [found for found in databases if not any(found is value for value in data)]
    if not roots and receiver is None and not data:
        return None
    try:
        tracked = Tracked(roots, receiver, digests, has_fields, pickles, data)
    except RecursionError:
        return None
    return tracked if len(tracked.containers) <= _MOST else None


def _keeps_state(cls: type, receiver: Any) -> bool:
    """Tell whether a library's object may be changed by its own methods, and a pickle would show it."""
    if type(getattr(receiver, "__dict__", None)) is not dict:
        return False
    return type_name(cls) not in calltable.RECONNECTING


_hold_data: dict[type, bool] = {}


#: Dataclasses of libraries whose first object could be pickled, or could not.
_kept: dict[type, bool] = {}


def is_kept(value: Any, pickles: Pickles) -> bool:
    """Tell whether the fields of a library's dataclass can be recorded, or never change.

    That of its first object counts for a class: it is the same in each process of a session.
    """
    cls = type(value)
    if cls not in _kept:
        try:
            _kept[cls] = _is_frozen(cls) or bool(pickles.whole(value))
        except Exception:
            _kept[cls] = False
    return _kept[cls]


def _is_frozen(cls: type) -> bool:
    parameters = getattr(cls, "__dataclass_params__", None)
    return bool(getattr(parameters, "frozen", False))


def _holds_data(value: Any, has_fields: Callable[[type], bool], pickles: Pickles) -> bool:
    """Tell whether a step may change what no walk sees: data of a library, attributes of a container."""
    cls = type(value)
    if cls in _BUILTIN:
        return False
    if memory.is_database(value):
        return True
    if has_fields(cls):
        return isinstance(value, (*_CONTENTS, *_BUFFERS))
    if dataclasses.is_dataclass(cls) and not isinstance(value, type) and not _is_frozen(cls):
        return is_kept(value, pickles) and not calltable.is_handle(cls)
    if cls not in _hold_data:
        _hold_data[cls] = any(type_name(base) in _DATA for base in cls.__mro__)
    return _hold_data[cls]


#: Classes whose objects do not pickle, or hold a secret; they are not tried again.
_hopeless: set[type] = set()


def _pickled(receiver: Any, pickles: Pickles | None, limit: int = _RECEIVER_LIMIT) -> bytes | None:
    cls = type(receiver)
    if cls in _hopeless or pickles is None:
        return None
    try:
        data = pickles.whole(receiver)
    except Exception:
        _hopeless.add(cls)
        return None
    return data if len(data) <= limit else None


def _can_change(value: Any, has_fields: Callable[[type], bool]) -> bool:
    return isinstance(value, (*_CONTENTS, tuple)) or has_fields(type(value))


def _walk(value: Any, found: list[Any], seen: set[int], has_fields: Callable[[type], bool]) -> None:
    if type(value) in SCALARS or id(value) in seen or len(found) > _MOST:
        return
    if isinstance(value, tuple):
        parts: Iterable[Any] = value
    elif isinstance(value, _CONTENTS):
        parts = _parts(value)
    elif has_fields(type(value)):
        parts = fields_of(value).values()
    else:
        return
    seen.add(id(value))
    if not isinstance(value, tuple):
        found.append(value)
    for part in parts:
        _walk(part, found, seen, has_fields)


def _databases_of(given: Sequence[Any], has_fields: Callable[[type], bool]) -> list[Any]:
    """Return the databases in memory that values are, are cursors of, or hold."""
    holders: list[Any] = []
    seen: set[int] = set()
    for value in given:
        _walk(value, holders, seen, has_fields)
    parts = [*given, *(part for value in given if isinstance(value, tuple) for part in value)]
    for holder in holders:
        parts.extend(_parts(holder) if isinstance(holder, _CONTENTS) else fields_of(holder).values())
    found = map(memory.database_of, parts)
    return list({id(one): one for one in found if one is not None}.values())


def _parts(value: Any) -> Iterable[Any]:
    """Return what a container holds; the order within a set is no order to rely on."""
    if isinstance(value, dict):
        return value.values()
    return () if isinstance(value, set | bytearray) else value


def _content(container: Any) -> Any:
    if isinstance(container, dict):
        return list(container.items())
    if isinstance(container, bytearray):
        return bytes(container)
    if isinstance(container, _CONTENTS):
        return list(container)
    if getattr(type(container), "__getstate__", None) is not object.__getstate__:
        state = reducers.state_of(container)
        if type(state) is dict:
            return Part(state)
    return fields_of(container)


def apply(
    containers: Sequence[Any], content: Content, restore: Callable[[Any, bytes], None] | None = None
) -> None:
    """Give containers the contents that a record names; objects of libraries with `restore`, in replays."""
    for index, items in content:
        if index >= len(containers) or containers[index] is _NOBODY:
            continue  # the receiver, which was lost since: what stands for it knows its attributes
        if not isinstance(items, Whole):
            _fill(containers[index], items)
        elif restore is not None:
            restore(containers[index], items.data)


def restore(target: Any, state: Any) -> None:
    """Give an object of a library a state that `reducers.state_of` returned."""
    if isinstance(target, array):
        target[:] = array(target.typecode, state)
    elif memory.is_database(target):
        memory.fill(target, *state)
    elif hasattr(type(target), "__setstate__"):
        target.__setstate__(state)
    elif isinstance(state, tuple):
        own, slots = state
        _set_fields(target, {**(own or {}), **(slots or {})})
    else:
        _set_fields(target, state or {})


def _fill(container: Any, items: Any) -> None:
    """Give a container its contents; methods of its own class would do more, as `Counter.update` counts."""
    if isinstance(items, Part):
        for name, value in items.fields.items():
            object.__setattr__(container, name, value)
    elif isinstance(container, list | bytearray):
        container[:] = items
    elif isinstance(container, dict):
        base = OrderedDict if isinstance(container, OrderedDict) else dict
        base.clear(container)
        base.update(container, items)
    elif isinstance(container, set):
        set.clear(container)
        set.update(container, items)
    elif isinstance(container, deque):
        container.clear()
        container.extend(items)
    else:
        _set_fields(container, items)


def _set_fields(target: Any, fields: Mapping[str, Any]) -> None:
    own = getattr(target, "__dict__", None)
    if own is not None:
        own.clear()
    for name, value in fields.items():
        object.__setattr__(target, name, value)
