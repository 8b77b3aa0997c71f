"""From a Pub/Sub message to event data: Avro, change bitmaps, what an update really changed.

The rules are Salesforce's (Change Data Capture Developer Guide, "Change Event Header Fields", "Change Event
Body Fields", "Subscribe with Pub/Sub API"). Reading streams is the business of `pubsub`.
"""

import io
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import fastavro

from ninelives_server.errors import ProviderError
from ninelives_server.integrations.streams import Received

#: Field of every change event; platform events do not have it.
HEADER = "ChangeEventHeader"
_BITMAPS = ("changedFields", "nulledFields", "diffFields")
#: An org has a schema for each version of each object's fields; old ones are of no use for long.
_SCHEMAS_KEPT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """A parsed schema.

    Attributes:
        name: Of the event, such as `LeadChangeEvent`.
        fields: Names in the order that bitmaps count in.
        children: Names of the parts of each compound field, by the field's place.
    """

    name: str
    avro: Any
    fields: tuple[str, ...]
    children: Mapping[int, tuple[str, ...]]


def parse(schema_json: str) -> Schema:
    """Parse a schema as GetSchema returns it.

    Raises:
        ProviderError: It is no schema of an event.
    """
    try:
        document = json.loads(schema_json)
        avro = fastavro.parse_schema(document)
        return Schema(
            name=str(document["name"]),
            avro=avro,
            fields=tuple(str(field["name"]) for field in document["fields"]),
            children=_children(document),
        )
    except (ValueError, KeyError, TypeError, fastavro.schema.SchemaParseException) as error:
        raise ProviderError(f"Salesforce sent a schema that cannot be read: {error}") from None


def _children(document: Mapping[str, Any]) -> dict[int, tuple[str, ...]]:
    """Return the parts of the compound fields; Avro defines a record once and names it from then on."""
    defined: dict[str, tuple[str, ...]] = {}
    children: dict[int, tuple[str, ...]] = {}
    for place, field in enumerate(document["fields"]):
        for kind in field["type"] if isinstance(field["type"], list) else [field["type"]]:
            if isinstance(kind, Mapping) and kind.get("type") == "record":
                parts = tuple(str(part["name"]) for part in kind["fields"])
                children[place] = defined[str(kind["name"])] = parts
            elif isinstance(kind, str) and (known := defined.get(kind.rpartition(".")[2])) is not None:
                children[place] = known
    return children


class Schemas:
    """Parsed schemas by id; an id stands for one content for ever."""

    def __init__(self) -> None:
        self._parsed: OrderedDict[str, Schema] = OrderedDict()

    def find(self, schema_id: str) -> Schema | None:
        """Return a schema that was added, `None` where it has to be asked for."""
        found = self._parsed.get(schema_id)
        if found is not None:
            self._parsed.move_to_end(schema_id)
        return found

    def add(self, schema_id: str, schema_json: str) -> Schema:
        """Parse a schema and keep it."""
        schema = self._parsed[schema_id] = parse(schema_json)
        while len(self._parsed) > _SCHEMAS_KEPT:
            self._parsed.popitem(last=False)
        return schema


def _bits(text: str) -> list[int]:
    """Return the places of the set bits of `0x…`: big-endian hex, the lowest bit is place 0."""
    number = int(text, 16)
    return [place for place in range(number.bit_length()) if number >> place & 1]


def names(schema: Schema, bitmaps: Iterable[str]) -> list[str]:
    """Turn the bitmaps of a header's field list into names, parts of compound fields as `Name.FirstName`.

    Places that the schema does not have are shown as `#31`: better than to lose that something changed.
    """
    found: list[str] = []
    for bitmap in bitmaps:
        parent, nested, hex_bits = bitmap.rpartition("-")
        if not nested:
            found += [_name(schema.fields, place) for place in _bits(bitmap)]
            continue
        place = int(parent)
        parts = schema.children.get(place, ())
        found += [f"{_name(schema.fields, place)}.{_name(parts, bit)}" for bit in _bits(hex_bits)]
    return found


def _name(known: tuple[str, ...], place: int) -> str:
    return known[place] if place < len(known) else f"#{place}"


def decode(schema: Schema, payload: bytes) -> dict[str, Any]:
    """Return an event's data: for a change event the header with names, and the fields that say something.

    CREATE and UNDELETE keep every field. UPDATE keeps what changed, cleared fields as `None`: in the message
    itself, unchanged and cleared fields look alike. DELETE and GAP_… have the header only.

    Raises:
        ProviderError: The bytes do not fit the schema.
    """
    try:
        data = cast("dict[str, Any]", fastavro.schemaless_reader(io.BytesIO(payload), schema.avro, None))
        header = data.get(HEADER)
        return _trimmed(schema, data, header) if isinstance(header, dict) else data
    except (ValueError, KeyError, IndexError, TypeError, EOFError, OverflowError) as error:
        raise ProviderError(f"a {schema.name} of Salesforce cannot be decoded: {error}") from None


def _trimmed(schema: Schema, data: dict[str, Any], header: dict[str, Any]) -> dict[str, Any]:
    for name in _BITMAPS:
        header[name] = names(schema, header.get(name) or ())
    match header.get("changeType"):
        case "CREATE" | "UNDELETE" | "SNAPSHOT":
            return data
        case "UPDATE":
            return _changed(data, header)
        case _:
            return {HEADER: header}


def _changed(data: dict[str, Any], header: dict[str, Any]) -> dict[str, Any]:
    said = [*header["changedFields"], *header["nulledFields"], *header["diffFields"]]
    if not said:
        # Not seen in any sample: rather keep what has a value than nothing.
        return {name: value for name, value in data.items() if value is not None}
    kept: dict[str, Any] = {HEADER: header}
    for name in said:
        field, is_part, part = name.partition(".")
        if field not in data:
            continue
        value = data[field]
        if is_part and isinstance(value, Mapping):
            parts = kept.setdefault(field, {})
            if isinstance(parts, dict) and parts is not value:
                parts[part] = value.get(part)
        else:
            kept[field] = value
    return kept


def received(schema: Schema, event_id: str, payload: bytes) -> Received:
    """Return a message as an event, named by its entity in lower case (as AutoKitteh does).

    Raises:
        ProviderError: The bytes do not fit the schema.
    """
    data = decode(schema, payload)
    header = data.get(HEADER)
    if not isinstance(header, dict):
        return Received(
            source_key=event_id, event_type=schema.name.lower(), data=data, memo={"event_uuid": event_id}
        )
    records = header.get("recordIds") or ()
    return Received(
        source_key=_change_key(header, event_id),
        event_type=str(header.get("entityName") or schema.name).lower(),
        data=data,
        record_id=str(records[0]) if records else None,
        memo={
            "event_uuid": event_id,
            "change_type": str(header.get("changeType", "")),
            "change_origin": str(header.get("changeOrigin") or ""),
        },
    )


def _change_key(header: Mapping[str, Any], event_id: str) -> str:
    """Name a change by its place in its transaction, which is the same on every topic that carries it.

    A trigger for one entity and one for all of them read two topics; the change is one event all the same.
    """
    transaction, number = header.get("transactionKey"), header.get("sequenceNumber")
    records = header.get("recordIds") or ("",)
    if not transaction or number is None:
        return event_id
    kind = f"{header.get('entityName')}:{header.get('changeType')}:{records[0]}"
    return f"{transaction}:{header.get('commitNumber', '')}:{number}:{kind}"
