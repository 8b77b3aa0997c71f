"""A small JSON view of values for people: bounded in depth, length and size, secrets masked.

It never raises and calls no code of the project or of libraries.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from ninelives.run.digest import STANDS_FOR, function_name, type_name
from ninelives.run.masking import Masks

_DEPTH = 4
_ITEMS = 20
_TEXT = 300  # characters
#: All texts of one preview together. characters
_TOTAL = 4000


class Previews:
    """Makes previews for one session."""

    def __init__(self, masks: Masks) -> None:
        self._masks = masks

    def of_args(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Return the arguments of a call: a list, followed by an object where there are keywords."""
        view = _View(self._masks)
        shown: list[Any] = [view.of(value, _DEPTH) for value in args[:_ITEMS]]
        if kwargs:
            shown.append({key: view.of(value, _DEPTH) for key, value in islice(kwargs.items(), _ITEMS)})
        return shown

    def of_value(self, value: object) -> Any:
        """Return one value."""
        return _View(self._masks).of(value, _DEPTH)

    def of_error(self, error: BaseException) -> str:
        """Return an exception as one line."""
        text = f"{type(error).__name__}: {text_of(error)}"
        return _in_unicode(self._masks.text(text)[:1000])


def text_of(error: BaseException) -> str:
    """Return an exception's message, also where the class cannot make one."""
    try:
        return str(error)
    except Exception:
        return "its message cannot be shown"


def _in_unicode(text: str) -> str:
    """Return a text that a frame can carry; half of a surrogate pair, of a cut emoji, is shown escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


class _View:
    __slots__ = ("_left", "_mask")

    def __init__(self, masks: Masks) -> None:
        self._mask = masks.text
        self._left = _TOTAL

    def of(self, value: Any, depth: int) -> Any:
        cls = type(value)
        if value is None or cls is bool or cls is int or cls is float:
            return _number(value)
        if cls is str:
            return self._text(value)
        show = _SHOWN.get(cls) or _shown_as(cls)
        if show is not None and depth > 0 and self._left > 0:
            return show(self, value, depth - 1)
        return self._name(value)

    def _text(self, value: str) -> str:
        size = max(0, min(_TEXT, self._left))
        masked = _in_unicode(self._mask(value))
        self._left -= min(len(masked), size)
        return masked if len(masked) <= size else f"{masked[:size]}… ({len(value)} characters)"

    def sequence(self, value: Any, depth: int) -> Any:
        shown = [self.of(item, depth) for item in islice(value, _ITEMS)]
        if len(value) > _ITEMS:
            shown.append(f"… ({len(value)} items)")
        return shown

    def mapping(self, value: Any, depth: int) -> Any:
        shown = {self._text(self._key(k)): self.of(v, depth) for k, v in islice(value.items(), _ITEMS)}
        if len(value) > _ITEMS:
            shown["…"] = f"({len(value)} keys)"
        return shown

    def _key(self, key: Any) -> str:
        return str(self._name(key) if STANDS_FOR in type(key).__dict__ else key)

    def data(self, value: Any, _depth: int) -> Any:
        return f"<{len(value)} bytes>"

    def plain(self, value: Any, _depth: int) -> Any:
        return self._text(str(value))

    def _name(self, value: Any) -> str:
        stands_for = type(value).__dict__.get(STANDS_FOR)
        if stands_for is not None:
            return f"<{stands_for(value)}>"
        if isinstance(value, type) or hasattr(type(value), "__get__"):
            return self._text(f"<{function_name(value)}>")
        return f"<{type_name(type(value))}>"


def _number(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in {float("inf"), float("-inf")}):  # noqa: PLR0124
        return str(value)
    if isinstance(value, int) and not -(2**53) <= value <= 2**53:
        return (
            str(value)[:_TEXT] if value.bit_length() < 1000 else f"<an integer of {value.bit_length()} bits>"
        )
    return value


def _shown_as(cls: type) -> Callable[[_View, Any, int], Any] | None:
    if issubclass(cls, OrderedDict) and cls.__iter__ is OrderedDict.__iter__:
        return _SHOWN[dict]  # simple_salesforce's answers
    for base in (dict, list, tuple):
        if issubclass(cls, base) and getattr(cls, "__iter__", None) is base.__iter__:
            return _SHOWN[base]
    return _View.plain if type_name(cls) in _PLAIN else None


_PLAIN = frozenset(
    [
        "datetime.datetime",
        "datetime.date",
        "datetime.time",
        "datetime.timedelta",
        "decimal.Decimal",
        "uuid.UUID",
        "fractions.Fraction",
        "pathlib.PosixPath",
        "pathlib.PurePosixPath",
        "pathlib._local.PosixPath",
    ]
)
_SHOWN: dict[type, Callable[[_View, Any, int], Any]] = {
    list: _View.sequence,
    tuple: _View.sequence,
    set: _View.sequence,
    frozenset: _View.sequence,
    dict: _View.mapping,
    bytes: _View.data,
    bytearray: _View.data,
}
