"""Headers that project code answers with: what HTTP can carry (RFC 9110, section 5).

As with `http.client` and Python's own servers: values are Latin-1, and what is none is an error, not
something to guess at.
"""

import re
from collections.abc import Mapping
from typing import Any

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: Control characters but for the tab: they end a header, or the response's whole head.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_LATIN_1 = 0xFF
_SHOWN = 100  # characters of a value in a message


def wrong(headers: object) -> str | None:
    """Return what is wrong with the headers of an answer, or `None`; `None` and `{}` are none."""
    if headers is None:
        return None
    if not isinstance(headers, Mapping):
        return f"headers are an object of names and values, not {type(headers).__name__}"
    found = (_wrong(str(name), value) for name, value in headers.items())
    return next((text for text in found if text is not None), None)


def _wrong(name: str, value: Any) -> str | None:
    if _TOKEN.fullmatch(name) is None:
        return f"{name[:_SHOWN]!r} is no name of a header: letters, digits and - are"
    text = str(value)
    if (control := _CONTROL.search(text)) is not None:
        why = f"{control.group()!r} is a control character"
    elif beyond := next((character for character in text if ord(character) > _LATIN_1), None):
        why = f"HTTP's headers are Latin-1, which has no {beyond!r}"
        why += "; encode it, as with urllib.parse.quote, or put it into the body"
    else:
        return None
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return f"the header {name!r} cannot have the value {shown!r}: {why}"
