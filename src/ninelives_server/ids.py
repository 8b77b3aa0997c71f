"""Prefixed, time-sortable ids, such as `ses_01k9zq3v5w8xj2m4n6p7r8s9t0`.

The body is a UUIDv7 (RFC 9562, section 5.7) in Crockford's base 32, lower case, 26 characters:
sorting the text sorts by time.
"""

import secrets
import time
from datetime import datetime
from typing import NewType

OrgId = NewType("OrgId", str)
UserId = NewType("UserId", str)
ProjectId = NewType("ProjectId", str)
BuildId = NewType("BuildId", str)
DeploymentId = NewType("DeploymentId", str)
ConnectionId = NewType("ConnectionId", str)
TriggerId = NewType("TriggerId", str)
EventId = NewType("EventId", str)
SessionId = NewType("SessionId", str)
TokenId = NewType("TokenId", str)
WorkerId = NewType("WorkerId", str)

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
#: Two characters for each 10 bits.
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
_LENGTH = 26  # characters for 128 bits
_RANDOM = 10  # bytes for the 74 random bits
_LOW = (1 << 62) - 1


def _encode(number: int, length: int = _LENGTH) -> str:
    """Write a number in Crockford's base 32, in an even number of characters."""
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(5 * length - 10, -1, -10)])


def new(prefix: str) -> str:
    """Make an id such as `prj_…`; ids made later sort after it (to the millisecond)."""
    return f"{prefix}_{_encode(_number(time.time_ns() // 1_000_000, secrets.token_bytes(_RANDOM)))}"


def several(prefix: str, count: int) -> list[str]:
    """Make ids in ascending order, of one time; much cheaper than one by one."""
    stamp, drawn = time.time_ns() // 1_000_000, secrets.token_bytes(_RANDOM * count)
    starts = range(0, len(drawn), _RANDOM)
    numbers = sorted(_number(stamp, drawn[start : start + _RANDOM]) for start in starts)
    return [f"{prefix}_{_encode(number)}" for number in numbers]


def _number(stamp: int, drawn: bytes) -> int:
    """Return a UUIDv7 of a time, in milliseconds, and 74 of the random bits."""
    tail = int.from_bytes(drawn)
    return stamp << 80 | 0x7 << 76 | (tail >> 62 & 0xFFF) << 64 | 0b10 << 62 | tail & _LOW


def earliest(prefix: str, at: datetime) -> str:
    """Return the least id that can have been made at a time."""
    return f"{prefix}_{_encode(int(at.timestamp() * 1000) << 80)}"


def derived(prefix: str, digest: bytes) -> str:
    """Make an id from the first 16 bytes of a digest: the same input gives the same id."""
    return f"{prefix}_{_encode(int.from_bytes(digest[:16], 'big'))}"


def is_id(text: str, prefix: str) -> bool:
    """Say whether `text` has the form of an id with this prefix."""
    head, _, body = text.partition("_")
    return head == prefix and len(body) == _LENGTH and all(c in ALPHABET for c in body)


def new_slug() -> str:
    """Make an unguessable name for a webhook address: 160 random bits."""
    return _encode(secrets.randbits(160), 32)
