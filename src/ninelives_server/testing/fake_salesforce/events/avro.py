"""Avro schemas of change events and platform events, as GetSchema returns them.

The form follows schemas that real orgs returned: namespace `com.sforce.eventbus`, every field a union with
`null`, the Salesforce type in `doc`, and compound fields as records. A schema's id is the MD5 fingerprint of
its canonical form in URL-safe base64 without padding.
"""

import base64
import io
import json
from dataclasses import dataclass
from typing import Any

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from ninelives_server.testing.fake_salesforce.schema.fields import (
    ADDRESS_PARTS,
    NUMBERS,
    Field,
    SObject,
)

CHANGE_TYPES = (
    "CREATE", "UPDATE", "DELETE", "UNDELETE", "GAP_CREATE", "GAP_UPDATE", "GAP_DELETE", "GAP_UNDELETE",
    "GAP_OVERFLOW", "SNAPSHOT",
)  # fmt: skip
_STRINGS = {"type": "array", "items": "string"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventField:
    """A field of the schema: a simple one, or a compound one with its parts in order."""

    name: str
    source: Field
    parts: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSchema:
    """A schema under its id, with the layout that bitmaps count by.

    Attributes:
        layout: The fields behind `ChangeEventHeader`; in a platform event, all fields.
    """

    schema_id: str
    name: str
    json: str
    layout: tuple[EventField, ...]
    parsed: Any

    def encode(self, datum: dict[str, Any]) -> bytes:
        """Return the raw binary form, without container or prefix."""
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self.parsed, datum)
        return out.getvalue()

    def decode(self, payload: bytes) -> dict[str, Any]:
        """Read the raw binary form.

        Raises:
            ValueError: The bytes are not of this schema.
        """
        stream = io.BytesIO(payload)
        try:
            datum = fastavro.schemaless_reader(stream, self.parsed, None)
        except (EOFError, IndexError, UnicodeDecodeError, KeyError) as error:
            raise ValueError(f"payload does not fit {self.name}") from error
        if stream.read(1):
            raise ValueError(f"payload is longer than {self.name}")
        assert isinstance(datum, dict)
        return datum


def layout(sobject: SObject) -> tuple[EventField, ...]:
    """Return the event's fields in schema order: parts stand inside their compound field."""
    found: list[EventField] = []
    for field in sobject.fields:
        if not field.event or field.compound:
            continue
        parts = tuple(f for f in sobject.fields if f.compound == field.name)
        if field.type == "address":
            order = [part for part, *_ in ADDRESS_PARTS]
            parts = tuple(sorted(parts, key=lambda f: order.index(f.part or "")))
        elif parts:
            order = ["Salutation", "FirstName", "LastName"]
            parts = tuple(sorted(parts, key=lambda f: order.index(f.part or "")))
        found.append(EventField(name=field.name, source=field, parts=parts))
    return tuple(found)


def change_event(sobject: SObject) -> EventSchema:
    """Return the schema of an object's change event."""
    header = {"name": "ChangeEventHeader", "type": _header(), "doc": "Data:ComplexValueType"}
    return _schema(sobject.change_event, [header], layout(sobject))


def platform_event(sobject: SObject) -> EventSchema:
    """Return the schema of a platform event; who made it and when are not optional."""
    fixed = [
        {"name": "CreatedDate", "type": "long", "doc": "CreatedDate:DateTime"},
        {"name": "CreatedById", "type": "string", "doc": "CreatedBy:EntityId"},
    ]
    rest = tuple(f for f in layout(sobject) if f.name not in {"CreatedDate", "CreatedById"})
    return _schema(sobject.name, fixed, rest)


def _schema(name: str, first: list[dict[str, Any]], fields: tuple[EventField, ...]) -> EventSchema:
    known: set[str] = set()
    document = {
        "type": "record",
        "name": name,
        "namespace": "com.sforce.eventbus",
        "fields": first + [_field(f, known) for f in fields],
    }
    digest = bytes.fromhex(fingerprint(to_parsing_canonical_form(document), "MD5"))
    # The canonical form leaves out docs; the field ids in them keep schemas of two orgs apart in real life.
    return EventSchema(
        schema_id=base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        name=name,
        json=json.dumps(document, separators=(",", ":")),
        layout=fields,
        parsed=fastavro.parse_schema(document),
    )


def _header() -> dict[str, Any]:
    change_type = {"type": "enum", "name": "ChangeType", "symbols": list(CHANGE_TYPES)}
    types: dict[str, Any] = {
        "entityName": "string", "recordIds": _STRINGS, "changeType": change_type,
        "changeOrigin": "string", "transactionKey": "string", "sequenceNumber": "int",
        "commitTimestamp": "long", "commitNumber": "long", "commitUser": "string",
        "nulledFields": _STRINGS, "diffFields": _STRINGS, "changedFields": _STRINGS,
    }  # fmt: skip
    fields = [{"name": name, "type": kind} for name, kind in types.items()]
    return {"type": "record", "name": "ChangeEventHeader", "fields": fields}


def _field(field: EventField, known: set[str]) -> dict[str, Any]:
    kinds: list[Any] = ["null"]
    if field.parts:
        kinds.append(_compound(field, known))
    elif field.source.doc == "Data:Switchable_PersonName":
        kinds += ["string", _record("Switchable_PersonName", ("Salutation", "FirstName", "LastName"), known)]
    else:
        kinds.append(_avro_type(field.source))
    return {"name": field.name, "type": kinds, "doc": field.source.doc, "default": None}


def _compound(field: EventField, known: set[str]) -> Any:
    name = "Address" if field.source.type == "address" else "PersonName"
    types = {f.part or f.name: _avro_type(f) for f in field.parts}
    return _record(name, types, known)


def _record(name: str, fields: Any, known: set[str]) -> Any:
    if name in known:
        return name  # Avro defines a name once and refers to it later
    known.add(name)
    types = fields if isinstance(fields, dict) else dict.fromkeys(fields, "string")
    inner = [{"name": n, "type": ["null", kind], "default": None} for n, kind in types.items()]
    return {"type": "record", "name": name, "fields": inner}


def _avro_type(field: Field) -> str:
    if field.type == "int":
        return "int"
    if field.type in NUMBERS:
        return "double"
    if field.type in {"date", "datetime"}:
        return "long"
    return "boolean" if field.type == "boolean" else "string"
