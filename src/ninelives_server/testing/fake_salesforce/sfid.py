"""Salesforce record ids: 15 characters, or 18 with a suffix that survives case-insensitive systems.

The suffix: for each run of five characters, bit i is set where character i is an upper-case letter, and
the number 0 to 31 stands for a character of `A`-`Z`, `0`-`5` (object reference, "Field types", ID).
"""

import secrets

_SUFFIX = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

EMPTY = "000000000000000AAA"

ORG_PREFIX = "00D"
APP_PREFIX = "0xI"
CHANNEL_MEMBER_PREFIX = "0v8"
QUERY_PREFIX = "01g"


def suffix(short: str) -> str:
    """Return the three characters that make a 15-character id one of 18."""
    letters = []
    for start in (0, 5, 10):
        bits = sum(1 << i for i, c in enumerate(short[start : start + 5]) if c.isupper())
        letters.append(_SUFFIX[bits])
    return "".join(letters)


def to_long(short: str) -> str:
    """Return the 18-character form of a 15-character id."""
    return short + suffix(short)


def normalise(text: object) -> str | None:
    """Return the 18-character form of an id of either length, or `None` where the text is no id.

    An 18-character id whose letter case was changed is no id.
    """
    if not isinstance(text, str) or not text.isascii() or not text.isalnum():
        return None
    if len(text) == 15:
        return to_long(text)
    if len(text) == 18 and text[15:] == suffix(text[:15]):
        return text
    return None


def random_short(prefix: str) -> str:
    """Return a random 15-character id with this key prefix."""
    return prefix + "".join(secrets.choice(_DIGITS) for _ in range(15 - len(prefix)))


class Sequence:
    """Hands out ids of one org: ascending per key prefix, and different from those of any other org."""

    def __init__(self) -> None:
        self._pod = "".join(secrets.choice(_DIGITS) for _ in range(3))
        self._next = secrets.randbelow(62**6)

    def new(self, prefix: str) -> str:
        """Return the next id of 18 characters with this key prefix."""
        self._next += 1
        digits, number = [], self._next
        for _ in range(9):
            number, rest = divmod(number, 62)
            digits.append(_DIGITS[rest])
        return to_long(prefix + self._pod + "".join(reversed(digits)))
