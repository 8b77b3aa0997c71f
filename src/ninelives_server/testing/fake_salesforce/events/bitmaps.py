"""Bitmaps of changed fields in change events.

Bit i stands for field i of the schema, the header being field 0; written as `0x` and upper-case hex of whole
bytes. Parts of a compound field follow as `P-0x…`, P being the compound field's number (change data capture
guide, "changedFields"; and ChangeEventHeaderUtility in github.com/forcedotcom/pub-sub-api).
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from ninelives_server.testing.fake_salesforce.events.avro import EventField


def encode(layout: Iterable[EventField], names: AbstractSet[str]) -> list[str]:
    """Return the bitmaps of these fields, named as the object names them (`BillingStreet`)."""
    top, nested = [], []
    for index, field in enumerate(layout, start=1):
        if field.name in names and not field.parts:
            top.append(index)
        parts = [i for i, part in enumerate(field.parts) if part.name in names]
        if parts:
            nested.append(f"{index}-{_hex(parts)}")
    return ([_hex(top)] if top else []) + nested


def _hex(bits: Iterable[int]) -> str:
    number = sum(1 << bit for bit in bits)
    length = max(1, (number.bit_length() + 7) // 8)
    return "0x" + number.to_bytes(length, "big").hex().upper()
