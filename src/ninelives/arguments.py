"""What a session hands to the server: JSON, of a size and depth that its socket takes."""

import json
from collections.abc import Mapping
from typing import Any, Final

#: The arguments of one call, as JSON; a session's result has the same limit. bytes
LARGEST: Final = 8 * 1024 * 1024
#: Of these, what a frame's header holds, with a preview beside; larger values are its body. Sessions that
#: were made before there were such bodies keep to this limit. bytes
INLINE: Final = 500_000
#: Levels of lists and mappings in each other.
DEEPEST: Final = 90
#: Of what is stored all the same, such as results of earlier releases; more is shown by no JSON library.
_DEEPEST_OF_ALL: Final = 200

#: Arguments that are stored sealed or as JSON, and so may hold any character.
_VALUES: Final = frozenset({"data", "expected", "memo", "payload", "value"})


def check_names(name: str, args: Mapping[str, Any]) -> None:
    """Refuse names and ids that no database takes.

    Raises:
        ValueError: One has a NUL character; PostgreSQL has no such text.
    """
    for argument, given in args.items():
        if argument not in _VALUES:
            for text in given if isinstance(given, list) else [given]:
                if isinstance(text, str) and "\0" in text:
                    raise ValueError(
                        f"{name}: {argument} {text!r} has a NUL character, which no name may have"
                    )


def plain(name: str, args: Mapping[str, Any], largest: int = INLINE) -> dict[str, Any]:
    """Return arguments as the server takes them.

    Raises:
        TypeError: They are no JSON, or nested too deeply for it.
        ValueError: They are too large, or hold text that is no Unicode, or names that cannot be stored.
    """
    return _checked(name, args, largest)[0]


def packed(name: str, args: Mapping[str, Any], largest: int) -> tuple[dict[str, Any], bytes]:
    """Return arguments as a frame carries them: in its header, large values as its body.

    Raises:
        TypeError: They are no JSON, or nested too deeply for it.
        ValueError: They are too large, or hold text that is no Unicode, or names that cannot be stored.
    """
    found, size = _checked(name, args, largest)
    if size <= INLINE:
        return found, b""
    values = {argument: found.pop(argument) for argument in _VALUES & found.keys()}
    _size(name, json.dumps(found, ensure_ascii=False), INLINE)
    return found, json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode()


def unpacked(name: str, args: Mapping[str, Any], body: bytes) -> Mapping[str, Any]:
    """Return all arguments of a frame; project code can write anything into its body.

    Raises:
        TypeError: The body is no JSON object, or nested too deeply.
        ValueError: It is too large.
    """
    if not body:
        return args
    if len(body) > LARGEST:
        raise _too_large(name, len(body), LARGEST)
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise TypeError(f"{name}: the values are no JSON: {error}") from error
    if not isinstance(values, dict) or not _VALUES.issuperset(values):
        raise TypeError(f"{name}: the values are no object of {', '.join(sorted(_VALUES))}")
    if depth(values) > DEEPEST:
        raise _too_deep(name)
    try:
        json.dumps(values, allow_nan=False, ensure_ascii=False).encode()
    except ValueError as error:
        raise ValueError(f"{name}: the values cannot be stored: {error}") from error
    return {**args, **values}


def wrong_json(text: bytes) -> str | None:
    """Return what is wrong with JSON that a session's process has made, or `None`."""
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        return f"it is no JSON: {error}"
    deepest = depth(value)
    return f"it is nested {deepest} levels deep" if deepest > _DEEPEST_OF_ALL else None


def _checked(name: str, args: Mapping[str, Any], largest: int) -> tuple[dict[str, Any], int]:
    """Return arguments as JSON has them, and their size, or more where it does not matter."""
    try:
        text = json.dumps(dict(args), allow_nan=False)
        found: dict[str, Any] = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"{name} takes values that JSON can hold: {error}") from error
    if text.count("[") + text.count("{") > DEEPEST and depth(found) > DEEPEST:
        raise _too_deep(name)
    if "\\u0000" in text:
        check_names(name, found)
    if "\\ud" in text or len(text) > INLINE:
        return found, _size(name, json.dumps(found, ensure_ascii=False), largest)
    return found, len(text)


def _size(name: str, text: str, largest: int) -> int:
    """Return how large arguments are, if they are text, and not too large."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise ValueError(f"{name} takes Unicode text; {half!a} is half of a surrogate pair") from None
    if size > largest:
        raise _too_large(name, size, largest)
    return size


def _too_large(name: str, size: int, largest: int) -> ValueError:
    return ValueError(
        f"{name} was given {size} bytes as JSON; {largest} are allowed: give it in parts, or put it "
        "where files are kept and give its address"
    )


def _too_deep(name: str) -> TypeError:
    return TypeError(f"{name} takes values that are nested {DEEPEST} levels deep at most")


def depth(value: Any) -> int:
    """Return how deep JSON data is nested."""
    deepest, level = 0, [value] if isinstance(value, dict | list) else []
    while level := [
        item
        for one in level
        for item in (one.values() if isinstance(one, dict) else one)
        if isinstance(item, dict | list)
    ]:
        deepest += 1
    return deepest
