"""Turns committed changes into change events, and knows topics, schemas and what is selected for capture."""

import secrets
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from ninelives_server.testing.fake_salesforce import times
from ninelives_server.testing.fake_salesforce.events import avro, bitmaps
from ninelives_server.testing.fake_salesforce.events.avro import EventField, EventSchema
from ninelives_server.testing.fake_salesforce.events.log import Event, EventLog
from ninelives_server.testing.fake_salesforce.records import Change, Row
from ninelives_server.testing.fake_salesforce.schema.catalog import Catalog
from ninelives_server.testing.fake_salesforce.schema.fields import Field, SObject

ALL_CHANGES = "/data/ChangeEvents"


class Bus:
    """The event side of one org."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.log = EventLog()
        self.selected: set[str] = set()
        self._schemas: dict[str, EventSchema] = {}
        self._current: dict[str, tuple[int, EventSchema]] = {}
        self._commit_number = secrets.randbits(40) << 12

    # -- topics and schemas -------------------------------------------------------------------

    def select(self, names: Iterable[str]) -> None:
        """Select these objects, and no others, for Change Data Capture.

        Raises:
            ValueError: There is no such object, or it has no change events.
        """
        chosen = set()
        for name in names:
            found = self._catalog.find(name) or self._catalog.by_change_event(name)
            if found is None or found not in self._catalog.trackable():
                raise ValueError(f"no object {name!r} for Change Data Capture")
            chosen.add(found.name)
        self.selected = chosen

    def topic_object(self, topic: str) -> SObject | None:
        """Return the object behind `/data/…ChangeEvent` or `/event/…__e`; names are case-sensitive."""
        root, _, name = topic.removeprefix("/").partition("/")
        if root == "data":
            return self._catalog.by_change_event(name)
        found = self._catalog.find(name) if root == "event" else None
        return found if found and found.event_type and found.name == name else None

    def schema_of(self, sobject: SObject) -> EventSchema:
        """Return the schema in force; a new one where fields were added."""
        version, schema = self._current.get(sobject.name, (-1, None))
        if schema is None or version != sobject.version:
            schema = avro.platform_event(sobject) if sobject.event_type else avro.change_event(sobject)
            self._current[sobject.name] = (sobject.version, schema)
            self._schemas[schema.schema_id] = schema
        return schema

    def schema(self, schema_id: str) -> EventSchema | None:
        """Return a schema by its id, also one that was replaced."""
        for sobject in self._catalog.all():
            if sobject.change_events or sobject.event_type:
                self.schema_of(sobject)
        return self._schemas.get(schema_id)

    # -- events -------------------------------------------------------------------------------

    def publish_changes(self, changes: Sequence[Change], *, user_id: str, origin: str, now: datetime) -> None:
        """Put one event per changed record of the selected objects on the bus, as one transaction."""
        key, number = str(uuid.uuid4()), self._next_commit(now)
        for sequence, change in enumerate(changes, start=1):
            if change.sobject.name not in self.selected:
                continue  # leaves a gap in the sequence numbers, as in a real org
            header = {
                "entityName": change.sobject.name, "recordIds": [change.record_id],
                "changeType": change.kind, "changeOrigin": origin, "transactionKey": key,
                "sequenceNumber": sequence, "commitNumber": number, "commitUser": user_id,
                "commitTimestamp": times.milliseconds(times.whole_seconds(now)),
                "nulledFields": [], "diffFields": [], "changedFields": [],
            }  # fmt: skip
            self._append(change.sobject, _datum(self.schema_of(change.sobject), change, header), now)

    def publish_gap(
        self, sobject: SObject, kind: str, record_ids: Sequence[str], *, user_id: str, now: datetime
    ) -> Event:
        """Put a gap or overflow event on the bus: a header without fields.

        Raises:
            ValueError: The kind is none of the `GAP_` types.
        """
        if kind not in avro.CHANGE_TYPES or not kind.startswith("GAP_"):
            raise ValueError(f"{kind!r} is no gap event")
        header = {
            "entityName": sobject.name, "recordIds": list(record_ids), "changeType": kind,
            "changeOrigin": "", "transactionKey": str(uuid.uuid4()), "sequenceNumber": 1,
            "commitNumber": self._next_commit(now), "commitUser": user_id,
            "commitTimestamp": times.milliseconds(times.whole_seconds(now)),
            "nulledFields": [], "diffFields": [], "changedFields": [],
        }  # fmt: skip
        return self._append(sobject, {"ChangeEventHeader": header}, now)

    def publish(self, sobject: SObject, datum: Row, now: datetime, event_id: str | None = None) -> Event:
        """Put a platform event on the bus."""
        schema = self.schema_of(sobject)
        return self.log.append(
            topics=frozenset({f"/event/{sobject.name}"}), schema_id=schema.schema_id,
            payload=schema.encode(datum), at=now, event_id=event_id,
        )  # fmt: skip

    def _append(self, sobject: SObject, datum: dict[str, Any], now: datetime) -> Event:
        schema = self.schema_of(sobject)
        topics = frozenset({f"/data/{sobject.change_event}", ALL_CHANGES})
        return self.log.append(
            topics=topics, schema_id=schema.schema_id, payload=schema.encode(datum), at=now
        )

    def _next_commit(self, now: datetime) -> int:
        self._commit_number = max(self._commit_number + 1, times.milliseconds(now) << 12)
        return self._commit_number


def _datum(schema: EventSchema, change: Change, header: dict[str, Any]) -> dict[str, Any]:
    if change.kind == "DELETE":
        return {"ChangeEventHeader": header}
    names = set(change.fields) | {"LastModifiedDate"}
    if change.kind != "UPDATE":
        names = {f.name for f in change.sobject.fields}
    else:
        if change.after["LastModifiedById"] != change.before["LastModifiedById"]:
            names.add("LastModifiedById")
        header["changedFields"] = bitmaps.encode(schema.layout, names)
        header["nulledFields"] = bitmaps.encode(
            schema.layout, {n for n in change.fields if change.after.get(n) is None}
        )
    datum: dict[str, Any] = {"ChangeEventHeader": header}
    for field in schema.layout:
        datum[field.name] = _value(field, change.after, names)
    return datum


def _value(field: EventField, row: Row, names: set[str]) -> Any:
    if not field.parts:
        return raw(field.source, row.get(field.name)) if field.name in names else None
    parts = {p.part: raw(p, row.get(p.name)) for p in field.parts if p.name in names}
    if all(value is None for value in parts.values()):
        return None
    return {p.part: parts.get(p.part) for p in field.parts}


def raw(field: Field, value: Any) -> Any:
    """Return a value as Avro carries it: dates and datetimes as milliseconds."""
    if value is not None and field.type in {"date", "datetime"}:
        return times.milliseconds(value)
    return value
