"""A digest of a call that stays the same when the same call is made again: in another process, another hour.

SHA-256 over type-tagged values: sets sorted, dictionaries in the order of insertion, no identities. What has
no value form (a client, a lock) counts as its type's name; a secret inside a text counts as the name of its
variable. It is never made from a pickle, which depends on identities and versions.
"""

import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import hashlib
import pathlib
import re
import types
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ninelives.run.masking import Masks

#: Has no value form of its own and stands for an object of another class (`live.Placeholder`).
STANDS_FOR = "__ninelives_stands_for__"

_NOTHING = Masks()
#: Of these nothing can be changed, called or awaited, and none is live.
SCALARS = frozenset({str, int, float, bool, type(None), bytes})


class TooLarge(Exception):
    """The value is larger than the caller wants to look at."""


def _always(_value: object) -> bool:
    return True


def type_name(cls: type) -> str:
    """Return the full name of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def function_name(fn: Any) -> str:
    """Return the full name of a function, class or other callable."""
    name = getattr(fn, "__qualname__", None)
    if not isinstance(name, str):
        return type_name(type(fn))
    module = getattr(fn, "__module__", None)
    return f"{module}.{name}" if isinstance(module, str) else name


class Digests:
    """Makes digests for one session.

    `has_fields` tells of which classes the attributes are compared: those of the project itself. `hints`
    names, for other classes, attributes that tell one object from another.
    """

    def __init__(
        self,
        masks: Masks = _NOTHING,
        has_fields: Callable[[type], bool] = lambda _cls: False,
        hints: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        self._masks = masks
        self._has_fields = has_fields
        self._hints = {name: tuple(attributes) for name, attributes in (hints or {}).items()}
        #: Tells under which name a live value counts; `None` where a value is none.
        self.live_form: Callable[[object], str | None] | None = None
        #: Tells whether the fields of a library's dataclass count: a change of them by a step is recorded.
        self.is_kept: Callable[[object], bool] = _always

    def of_call(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """Return the digest of a call."""
        writer = self._writer()
        writer.text(name)
        for value in args:
            writer.put(value)
        for key, value in kwargs.items():
            writer.out.append(b"=")
            writer.text(key)
            writer.put(value)
        return writer.digest()

    def of_value(self, value: object, limit: int | None = None) -> bytes:
        """Return the digest of a value.

        Raises:
            TooLarge: Its canonical form has more bytes than `limit`.
        """
        writer = self._writer(limit)
        writer.put(value)
        return writer.digest()

    def _writer(self, limit: int | None = None) -> "_Writer":
        return _Writer(self._masks, self._has_fields, self._hints, limit, self.live_form, self.is_kept)


class _Writer:
    """Writes the canonical form of values."""

    __slots__ = ("_fields", "_hints", "_is_kept", "_left", "_live", "_mask", "_open", "out")

    def __init__(
        self,
        masks: Masks,
        has_fields: Callable[[type], bool],
        hints: Mapping[str, tuple[str, ...]],
        limit: int | None = None,
        live_form: Callable[[object], str | None] | None = None,
        is_kept: Callable[[object], bool] | None = None,
    ) -> None:
        self.out: list[bytes] = []
        self._live = live_form
        self._is_kept = is_kept or _always
        self._mask = masks.text
        self._fields = has_fields
        self._hints = hints
        self._open: list[int] = []
        self._left = limit

    def digest(self) -> bytes:
        return hashlib.sha256(b"".join(self.out)).digest()

    def put(self, value: Any) -> None:
        cls = type(value)
        if self._live is not None and cls not in SCALARS:
            form = self._live(value)
            if form is not None:
                self.data(b"?", form.encode())
                return
        write = _WRITERS.get(cls)
        if write is not None:
            write(self, value)
        else:
            self._other(value)

    def text(self, value: str) -> None:
        data = self._mask(value).encode("utf-8", "surrogatepass")
        if self._left is not None:
            self._spend(len(data))
        self.out.append(b"s%d:" % len(data) + data)

    def data(self, tag: bytes, data: bytes) -> None:
        if self._left is not None:
            self._spend(len(data))
        self.out.append(b"%s%d:" % (tag, len(data)))
        self.out.append(data)

    def named(self, tag: bytes, cls: type, text: str) -> None:
        """Write something that its class and a text describe."""
        self.data(tag, type_name(cls).encode())
        self.text(text)

    def _spend(self, size: int) -> None:
        assert self._left is not None
        self._left -= size + 8
        if self._left < 0:
            raise TooLarge

    def enter(self, value: object) -> bool:
        """Begin a container; one inside itself is written as the number of levels up."""
        key = id(value)
        if key in self._open:
            self.out.append(b"^%d;" % (len(self._open) - self._open.index(key)))
            return False
        if self._left is not None:
            self._spend(0)
        self._open.append(key)
        return True

    def leave(self) -> None:
        self._open.pop()

    def sequence(self, tag: bytes, value: Iterable[Any], size: int) -> None:
        if self.enter(value):
            self.out.append(b"%s%d:" % (tag, size))
            for item in value:
                self.put(item)
            self.leave()

    def mapping(self, tag: bytes, value: Mapping[Any, Any], whole: object) -> None:
        if self.enter(whole):
            self.out.append(b"%s%d:" % (tag, len(value)))
            for key, item in value.items():
                self.put(key)
                self.put(item)
            self.leave()

    def unordered(self, value: Iterable[Any]) -> None:
        if self.enter(value):
            forms = sorted(map(self._form, value))
            self.out.append(b"S%d:" % len(forms))
            self.out.extend(forms)
            self.leave()

    def _form(self, value: object) -> bytes:
        kept, self.out = self.out, []
        self.put(value)
        form, self.out = b"".join(self.out), kept
        return form

    def _other(self, value: Any) -> None:
        cls = type(value)
        stands_for = cls.__dict__.get(STANDS_FOR)
        if stands_for is not None:
            form = stands_for(value)
            if type(form) is str:
                self.data(b"?", form.encode())
            else:
                self.put(form)
            return
        for base, write in _BASES:
            if issubclass(cls, base):
                self.data(b"c", type_name(cls).encode())
                write(self, value)
                return
        if self._fields(cls) or (dataclasses.is_dataclass(cls) and self._is_kept(value)):
            self._object(value)
        else:
            self._unknown(value)

    def _object(self, value: Any) -> None:
        self.data(b"o", type_name(type(value)).encode())
        self.mapping(b"d", fields_of(value), value)

    def _unknown(self, value: Any) -> None:
        name = type_name(type(value))
        self.data(b"?", name.encode())
        for attribute in self._hints.get(name, ()):
            self.put(getattr(value, attribute, None))
        # Asked of the class: an object may answer to every name, as simple_salesforce's client does.
        if all(hasattr(type(value), attribute) for attribute in ("tobytes", "dtype", "shape")):  # numpy
            self.text(f"{value.dtype} {value.shape}")
            if value.dtype != object:
                self.data(b"b", value.tobytes())


def fields_of(value: Any) -> dict[str, Any]:
    """Return an object's attributes, those in slots included."""
    found: dict[str, Any] = {}
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in {"__dict__", "__weakref__"} and hasattr(value, name):
                found[name] = getattr(value, name)
    found.update(getattr(value, "__dict__", {}))
    return found


def _int(writer: _Writer, value: int) -> None:
    writer.out.append(b"i%x;" % value)


def _float(writer: _Writer, value: float) -> None:
    writer.out.append(b"f%s;" % value.hex().encode())


def _bool(writer: _Writer, value: bool) -> None:
    writer.out.append(b"T" if value else b"F")


def _none(writer: _Writer, _value: None) -> None:
    writer.out.append(b"N")


def _complex(writer: _Writer, value: complex) -> None:
    writer.out.append(b"j")
    _float(writer, value.real)
    _float(writer, value.imag)


def _bytes(writer: _Writer, value: Any) -> None:
    writer.data(b"b", bytes(value))


def _list(writer: _Writer, value: Any) -> None:
    writer.sequence(b"l", value, len(value))


def _tuple(writer: _Writer, value: tuple[Any, ...]) -> None:
    writer.sequence(b"t", value, len(value))


def _dict(writer: _Writer, value: dict[Any, Any]) -> None:
    writer.mapping(b"d", value, value)


def _set(writer: _Writer, value: Any) -> None:
    writer.unordered(value)


def _as_text(writer: _Writer, value: object) -> None:
    writer.named(b"v", type(value), str(value))


def _as_repr(writer: _Writer, value: object) -> None:
    writer.named(b"v", type(value), repr(value))


def _enum(writer: _Writer, value: enum.Enum) -> None:
    writer.named(b"v", type(value), value.name or repr(value.value))


def _pattern(writer: _Writer, value: re.Pattern[Any]) -> None:
    writer.named(b"v", re.Pattern, f"{value.flags} {value.pattern!r}")


def _callable(writer: _Writer, value: Any) -> None:
    writer.data(b"n", function_name(value).encode())


def _method(writer: _Writer, value: Any) -> None:
    _callable(writer, value)
    writer.put(value.__self__)


def _module(writer: _Writer, value: types.ModuleType) -> None:
    writer.data(b"n", value.__name__.encode())


def _partial(writer: _Writer, value: functools.partial[Any]) -> None:
    for part in (value.func, value.args, value.keywords):
        writer.put(part)


_WRITERS: dict[type, Callable[[_Writer, Any], None]] = {
    str: _Writer.text,
    int: _int,
    bool: _bool,
    type(None): _none,
    float: _float,
    complex: _complex,
    bytes: _bytes,
    bytearray: _bytes,
    memoryview: _bytes,
    list: _list,
    tuple: _tuple,
    dict: _dict,
    set: _set,
    frozenset: _set,
    deque: _list,
    type(...): _none,
    range: _as_repr,
    slice: _as_repr,
    dt.datetime: _as_repr,
    dt.date: _as_repr,
    dt.time: _as_repr,
    dt.timedelta: _as_repr,
    dt.timezone: _as_repr,
    decimal.Decimal: _as_text,
    fractions.Fraction: _as_text,
    uuid.UUID: _as_text,
    types.FunctionType: _callable,
    types.BuiltinFunctionType: _callable,
    types.MethodType: _method,
    types.ModuleType: _module,
    functools.partial: _partial,
    re.Pattern: _pattern,
    type: _callable,
}
#: Subclasses count as their class's name and the base's value; the first match counts.
_BASES: tuple[tuple[type, Callable[[_Writer, Any], None]], ...] = (
    (enum.Enum, _enum),
    (type, _callable),
    (str, lambda writer, value: writer.text(str.__str__(value))),
    (int, lambda writer, value: _int(writer, int.__index__(value))),
    (float, lambda writer, value: _float(writer, float.__float__(value))),
    (tuple, _tuple),
    (list, _list),
    (dict, _dict),
    (set, _set),
    (frozenset, _set),
    (bytes, _bytes),
    (bytearray, _bytes),
    (dt.date, _as_repr),
    (dt.time, _as_repr),
    (dt.timedelta, _as_repr),
    (dt.tzinfo, _as_repr),
    (decimal.Decimal, _as_text),
    (pathlib.PurePath, _as_text),
    (deque, _list),
)
