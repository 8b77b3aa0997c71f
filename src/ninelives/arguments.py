"""What a session hands to the server: JSON, of a size and depth that its socket takes."""

import json
from collections.abc import Mapping
from typing import Any, Final

#: The arguments of one call, as JSON. A frame's header holds them, with a preview beside. bytes
LARGEST: Final = 500_000
#: Levels of lists and mappings in each other.
DEEPEST: Final = 90


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


def plain(name: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as the server takes them.

    Raises:
        TypeError: They are no JSON, or nested too deeply for it.
        ValueError: They are too large, or hold text that is no Unicode, or names that cannot be stored.
    """
    try:
        text = json.dumps(dict(args), allow_nan=False)
        found: dict[str, Any] = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"{name} takes values that JSON can hold: {error}") from error
    if text.count("[") + text.count("{") > DEEPEST and _depth(found) > DEEPEST:
        raise TypeError(f"{name} takes values that are nested {DEEPEST} levels deep at most")
    if "\\u0000" in text:
        check_names(name, found)
    if "\\ud" in text or len(text) > LARGEST:
        _check_text(name, json.dumps(found, ensure_ascii=False))
    return found


def _check_text(name: str, text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise ValueError(f"{name} takes Unicode text; {half!a} is half of a surrogate pair") from None
    if size > LARGEST:
        raise ValueError(
            f"{name} was given {size} bytes as JSON; {LARGEST} are allowed: give it in parts, or put it "
            "where files are kept and give its address"
        )


def _depth(value: Any) -> int:
    """Return how deep JSON data is nested."""
    deepest, level = 0, [value]
    while level := [
        item
        for one in level
        for item in (one.values() if isinstance(one, dict) else one)
        if isinstance(item, dict | list)
    ]:
        deepest += 1
    return deepest
