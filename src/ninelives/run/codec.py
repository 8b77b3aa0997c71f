"""What a step came to, as the bytes of its record: a value, changed arguments, an error, or a live value.

User code gets what was read back from these bytes, on the first run too, so that a first run and a replay
never differ. Neither supervisor nor server ever unpickles them.
"""

import datetime as dt
import decimal
import io
import pickle
import sys
import uuid
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ninelives.run import calltable, changes, failures, memory, reducers
from ninelives.run.changes import Tracked
from ninelives.run.masking import Masks

#: What the first byte says.
_VALUE, _CHANGED, _ERROR, _LIVE, _LOST, _STATES = b"v", b"c", b"e", b"l", b"m", b"f"

#: Stands before the pieces of a text with secrets in it.
_NAMED = "named"

#: Values of these types are their own copies.
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})
_TIMES = {dt.datetime, dt.date, dt.time, dt.timedelta, dt.timezone}
_PLAIN = _ATOMS | _TIMES | {decimal.Decimal, uuid.UUID, bytearray}
_CONTAINERS = frozenset({list, tuple, dict, set, frozenset, OrderedDict})


class Outcome(NamedTuple):
    """A record's body, and what user code gets.

    Attributes:
        status: `ok`, `error` or `live`.
        value: The value as read back, or the exception; the live value itself.
    """

    status: str
    body: bytes
    value: Any


class ChangesLost(Exception):
    """A step changed its arguments in a way that could not be recorded."""


class References(Protocol):
    """What records refer to instead of holding it (`registry`)."""

    def reference(self, value: Any) -> Any:
        """Return plain data that refers to an object; `None` where its value is recorded."""
        ...

    def referred_to(self, reference: Any) -> Any:
        """Return what that refers to."""
        ...


class Codec:
    """Writes and reads the bodies of one session's steps."""

    def __init__(self, masks: Masks, is_user: Any) -> None:
        self._masks = masks
        self._is_user = is_user
        #: Set once there is a registry.
        self.references: References | None = None

    def value(self, value: Any, tracked: Tracked | None) -> Outcome | None:
        """Return what is recorded of a value, or `None` where it cannot be: it is live."""
        if type(value) not in _ATOMS and _has_finalizer(value):
            return None
        if tracked is None:
            return self._plain(value)
        changed = self._without_secrets(tracked)
        try:
            body, used = _dump((value, changed), tracked.containers)
        except Exception:
            return self._value_only(value, is_changed=bool(changed))
        if not changed and not used:
            return self._plain(value)
        if self._hides_secret(value, body):
            return self._naming(value, tracked)
        again, content = self._load(body, tracked.containers)
        changes.apply(tracked.containers, content)
        return Outcome("ok", _CHANGED + body, again)

    def _naming(self, value: Any, tracked: Tracked | None) -> Outcome | None:
        """Return what is recorded of a library's object that holds secrets: names stand in their places.

        So what a service answered is kept although the request with its token hangs on it. The project's own
        objects are live then, and so is what is made again by the same call, with the secrets of then.
        """
        cls = type(value)
        module = getattr(sys.modules.get(cls.__module__), "__file__", None) or ""
        if calltable.is_handle(cls) or self._is_user(module):
            return None
        return self.referring(value, tracked)

    def referring(self, value: Any, tracked: Tracked | None) -> Outcome | None:
        """Return what is recorded of a value that holds live ones: references stand in their places."""
        if _has_finalizer(value):
            return None
        containers = () if tracked is None else tracked.containers
        changed = [] if tracked is None else self._without_secrets(tracked)
        try:
            body, _ = _dump((value, changed), containers, self.references, self._masks)
            if self._masks.occur_in(body):
                return None
            again, content = self._load(body, containers)
        except Exception:
            return None
        changes.apply(containers, content)
        return Outcome("ok", _CHANGED + body, again)

    def _without_secrets(self, tracked: Tracked) -> changes.Content:
        """Return what a step has changed, without objects that hold a secret: no pickle of them is kept."""
        found: changes.Content = []
        for index, item in tracked.changed():
            if not isinstance(item, changes.Whole) or not self._masks.occur_in(item.data):
                found.append((index, item))
            elif memory.is_database(tracked.targets[index]):
                found.append((index, changes.Whole(_dump(memory.NO_CONTENT, ())[0])))
        return found

    def _plain(self, value: Any) -> Outcome | None:
        try:
            if type(value) in _ATOMS:
                body, again = pickle.dumps(value, 5), value
            else:
                body = reducers.dumps(value)
                again = pickle.loads(body)
        except Exception:
            return None
        if self._hides_secret(value, body):
            return self._naming(value, None)
        return Outcome("ok", _VALUE + body, again)

    def _value_only(self, value: Any, *, is_changed: bool) -> Outcome | None:
        """Record a value whose changed arguments cannot be recorded; a replay cannot pass here."""
        found = self._plain(value)
        if found is None or not is_changed:
            return found
        return found._replace(body=_LOST + found.body[1:])

    def _hides_secret(self, value: Any, body: bytes) -> bool:
        return self._masks.occur_in(body) and not is_plain(value)

    def error(self, error: BaseException, tracked: Tracked | None) -> Outcome:
        """Return what is recorded of an exception."""
        document = failures.describe(error, self._is_user)
        changed = self._without_secrets(tracked) if tracked is not None else []
        containers: Sequence[Any] = tracked.containers if tracked is not None else ()
        try:
            body, _ = _dump((document, changed), containers)
        except Exception:
            body, _ = _dump((document, []), ())
        again, content = self._load(body, containers)
        changes.apply(containers, content)
        return Outcome("error", _ERROR + body, failures.rebuild(again))

    def live(self, about: dict[str, Any]) -> bytes:
        """Return the body of a live value's record."""
        return _LIVE + pickle.dumps(about, 5)

    def read(self, body: bytes, containers: Sequence[Any]) -> Outcome:
        """Return what a record says, having changed the arguments as its step did.

        Raises:
            ChangesLost: The step changed its arguments in a way that was not recorded.
        """
        tag, data = body[:1], body[1:]
        if tag == _VALUE:
            return Outcome("ok", b"", pickle.loads(data))
        if tag == _CHANGED:
            value, content = self._load(data, containers)
            changes.apply(containers, content, self._restore)
            return Outcome("ok", b"", value)
        if tag == _ERROR:
            document, content = self._load(data, containers)
            changes.apply(containers, content, self._restore)
            return Outcome("error", b"", failures.rebuild(document))
        raise ChangesLost

    def whole(self, value: Any) -> bytes:
        """Return the pickle of an object's state, with references in it; errors of pickling pass."""
        return _dump(reducers.state_of(value), (value,), self.references)[0]

    def _restore(self, value: Any, data: bytes) -> None:
        """Give an object the state that `whole` pickled."""
        try:
            changes.restore(value, self._load(data, (value,)))
        except memory.NotRecorded as error:
            raise ChangesLost(str(error)) from None

    def _load(self, data: bytes, containers: Sequence[Any]) -> Any:
        return _Unpickler(io.BytesIO(data), containers, self.references, self._masks).load()

    def about(self, body: bytes) -> dict[str, Any]:
        """Return what a record says of its live value."""
        found = pickle.loads(body[1:])
        assert isinstance(found, dict)
        return found


def with_states(body: bytes, states: Mapping[str, Any]) -> bytes:
    """Return a body that also says how live values were after the step."""
    data = pickle.dumps(states, 5)
    return _STATES + len(data).to_bytes(4, "big") + data + body


def split_states(body: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return a body without, and what it said of live values."""
    if body[:1] != _STATES:
        return body, {}
    size = int.from_bytes(body[1:5], "big")
    states: dict[str, Any] = pickle.loads(body[5 : 5 + size])
    return body[5 + size :], states


def _has_finalizer(value: Any) -> bool:
    """Tell whether an object does something when it is thrown away: a copy of it is not the same."""
    fields = getattr(value, "__dict__", None)
    return type(fields) is dict and any(type(field) is weakref.finalize for field in fields.values())


def is_plain(value: Any, depth: int = 50) -> bool:
    """Tell whether a value is plain data: builtin scalars and containers of them."""
    cls = type(value)
    if cls in _PLAIN:
        return True
    if depth == 0:
        return False
    if cls is dict or cls is OrderedDict:
        return all(is_plain(k, depth - 1) and is_plain(v, depth - 1) for k, v in value.items())
    return cls in _CONTAINERS and all(is_plain(item, depth - 1) for item in value)


class _Pickler(pickle.Pickler):
    """Writes the containers that the arguments reach as numbers, and what is live as references."""

    def __init__(
        self,
        file: io.BytesIO,
        containers: Sequence[Any],
        references: References | None,
        masks: Masks | None,
    ) -> None:
        super().__init__(file, 5)
        self._masks = masks
        self._known = {id(container): index for index, container in enumerate(containers)}
        self._reference = None if references is None else references.reference
        self.used = False

    def persistent_id(self, obj: Any) -> Any:
        index = self._known.get(id(obj))
        if index is not None:
            self.used = True
            return index
        if type(obj) is str and self._masks is not None:
            parts = self._masks.parts(obj)
            return None if parts is None else (_NAMED, *parts)
        return None if self._reference is None or type(obj) in _ATOMS else self._reference(obj)

    reducer_override = reducers.override


class _Unpickler(pickle.Unpickler):
    def __init__(
        self, file: io.BytesIO, containers: Sequence[Any], references: References | None, masks: Masks
    ) -> None:
        super().__init__(file)
        self._masks = masks
        self._containers = containers
        self._references = references

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, int):
            return self._containers[pid]
        if type(pid) is tuple and pid[0] == _NAMED:
            return self._masks.joined(pid[1:])
        assert self._references is not None
        return self._references.referred_to(pid)


def _dump(
    value: Any,
    containers: Sequence[Any],
    references: References | None = None,
    masks: Masks | None = None,
) -> tuple[bytes, bool]:
    file = io.BytesIO()
    pickler = _Pickler(file, containers, references, masks)
    pickler.dump(value)
    return file.getvalue(), pickler.used
