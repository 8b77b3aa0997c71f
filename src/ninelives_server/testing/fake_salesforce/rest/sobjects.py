"""`/sobjects`: describe, create, read, update, delete, upsert, and what changed in a span of time."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from ninelives_server.testing.fake_salesforce import derive, sfid, times, values
from ninelives_server.testing.fake_salesforce.faults import RestError, not_found
from ninelives_server.testing.fake_salesforce.records import Row
from ninelives_server.testing.fake_salesforce.rest import describe
from ninelives_server.testing.fake_salesforce.rest.request import Answer, Request
from ninelives_server.testing.fake_salesforce.schema.fields import SObject

Parts = Mapping[str, str]


def list_all(request: Request, _parts: Parts) -> Answer:
    """Return the objects of the org."""
    found = [describe.summary(o, request.base) for o in request.org.catalog.all()]
    return Answer(body={"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": found})


def basic(request: Request, parts: Parts) -> Answer:
    """Return what an object is, without its fields."""
    sobject = request.sobject(parts["sobject"])
    recent: list[Any] = []
    return Answer(body={"objectDescribe": describe.summary(sobject, request.base), "recentItems": recent})


def describe_one(request: Request, parts: Parts) -> Answer:
    """Return what an object is, with its fields."""
    return Answer(body=describe.full(request.sobject(parts["sobject"]), request.base))


def create(request: Request, parts: Parts) -> Answer:
    """Make a record, or publish a platform event."""
    sobject = request.sobject(parts["sobject"])
    given = request.record()
    if sobject.event_type:
        return _publish(request, sobject, given)
    if "Id" in given:
        message = "cannot specify Id in an insert call"
        raise RestError(400, "INVALID_FIELD_FOR_INSERT_UPDATE", message, fields=["Id"])
    with request.writing() as unit:
        record_id = unit.insert(sobject, given)
    return Answer(
        status=201, body={"id": record_id, "success": True, "errors": []},
        headers={"location": f"{request.base}/sobjects/{sobject.name}/{record_id}"},
    )  # fmt: skip


def _publish(request: Request, sobject: SObject, given: Row) -> Answer:
    now = request.org.clock.now()
    datum: dict[str, Any] = {
        "CreatedDate": times.milliseconds(now), "CreatedById": request.user_id
    }  # fmt: skip
    for name, value in given.items():
        found = values.writable(sobject, name, creating=True)
        accepted = values.accept(found, value)
        is_time = found.type in {"date", "datetime"} and accepted is not None
        datum[found.name] = times.milliseconds(accepted) if is_time else accepted
    event = request.org.bus.publish(sobject, datum, now)
    enqueued = {"statusCode": "OPERATION_ENQUEUED", "message": event.event_id, "fields": []}
    return Answer(status=201, body={"id": request.org.ids.new("e01"), "success": True, "errors": [enqueued]})


def record_id_of(sobject: SObject, text: str) -> str:
    """Return the id of a record in its long form.

    Raises:
        RestError: It is no id, or one of another object.
    """
    found = sfid.normalise(text)
    if found is None or found[:3] != sobject.prefix:
        if found is None:
            message = f"{sobject.label} ID: id value of incorrect type: {text}"
            raise RestError(400, "MALFORMED_ID", message, fields=["Id"])
        raise not_found()
    return found


def read(request: Request, parts: Parts) -> Answer:
    """Return a record, all its fields or those asked for."""
    sobject = request.sobject(parts["sobject"])
    row = request.org.records.live(sobject, record_id_of(sobject, parts["id"]))
    names = [n.strip() for n in request.call.query.get("fields", "").split(",") if n.strip()]
    return Answer(body=shown(request, sobject, row, names))


def shown(request: Request, sobject: SObject, row: Row, names: list[str]) -> Row:
    """Return a row as REST shows it, with these fields or all.

    Raises:
        RestError: One of the names is no field.
    """
    url = f"{request.base}/sobjects/{sobject.name}/{row['Id']}"
    record: Row = {"attributes": {"type": sobject.name, "url": url}}
    fields = []
    for name in names:
        found = sobject.find(name)
        if found is None:
            message = f"No such column '{name}' on sobject of type {sobject.name}"
            raise RestError(400, "INVALID_FIELD", message)
        fields.append(found)
    if names and not any(f.name == "Id" for f in fields):
        record["Id"] = row["Id"]
    for field in fields or sobject.fields:
        if field.type == "address":
            record[field.name] = derive.compound(sobject, field.name, row)
        else:
            record[field.name] = values.show(row.get(field.name))
    return record


def update(request: Request, parts: Parts) -> Answer:
    """Change a record."""
    sobject = request.sobject(parts["sobject"])
    given = request.record()
    if "Id" in given:
        message = "The Id field should not be specified in the sobject data."
        raise RestError(400, "INVALID_FIELD", message)
    with request.writing() as unit:
        unit.update(sobject, record_id_of(sobject, parts["id"]), given)
    return Answer(status=204)


def delete(request: Request, parts: Parts) -> Answer:
    """Delete a record."""
    sobject = request.sobject(parts["sobject"])
    with request.writing() as unit:
        unit.delete(sobject, record_id_of(sobject, parts["id"]))
    return Answer(status=204)


# -- by external id ------------------------------------------------------------------------------


def _matches(request: Request, sobject: SObject, parts: Parts) -> list[Row]:
    found = sobject.find(parts["field"])
    if found is None or not (found.external_id or found.type == "id"):
        message = f"Provided external ID field does not exist or is not accessible: {parts['field']}"
        raise RestError(404, "NOT_FOUND", message)
    wanted = values.accept(found, parts["value"])
    return request.org.records.matching(sobject, found.name, wanted)


def _only(request: Request, sobject: SObject, rows: list[Row]) -> Row:
    if not rows:
        raise not_found()
    if len(rows) > 1:
        urls = [f"{request.base}/sobjects/{sobject.name}/{row['Id']}" for row in rows]
        raise RestError(300, "MULTIPLE_CHOICES", "more than one record", body=urls)
    return rows[0]


def read_by(request: Request, parts: Parts) -> Answer:
    """Return the record with this external id."""
    sobject = request.sobject(parts["sobject"])
    row = _only(request, sobject, _matches(request, sobject, parts))
    names = [n.strip() for n in request.call.query.get("fields", "").split(",") if n.strip()]
    return Answer(body=shown(request, sobject, row, names))


def delete_by(request: Request, parts: Parts) -> Answer:
    """Delete the record with this external id."""
    sobject = request.sobject(parts["sobject"])
    row = _only(request, sobject, _matches(request, sobject, parts))
    with request.writing() as unit:
        unit.delete(sobject, row["Id"])
    return Answer(status=204)


def upsert(request: Request, parts: Parts) -> Answer:
    """Change the record with this external id, or make it."""
    sobject = request.sobject(parts["sobject"])
    rows, given = _matches(request, sobject, parts), request.record()
    field = sobject.find(parts["field"])
    assert field
    if rows:
        row = _only(request, sobject, rows)
        with request.writing() as unit:
            unit.update(sobject, row["Id"], given)
        if float(request.version) < 46:
            return Answer(status=204)
        return Answer(body={"id": row["Id"], "success": True, "errors": [], "created": False})
    if request.call.query.get("updateOnly") == "true" or field.type == "id":
        raise not_found()
    with request.writing() as unit:
        record_id = unit.insert(sobject, {**given, field.name: parts["value"]})
    return Answer(
        status=201, body={"id": record_id, "success": True, "errors": [], "created": True},
        headers={"location": f"{request.base}/sobjects/{sobject.name}/{record_id}"},
    )  # fmt: skip


# -- replication ---------------------------------------------------------------------------------


def _span(request: Request) -> tuple[datetime, datetime]:
    try:
        start = times.read_datetime(request.call.query.get("start", "").replace(" ", "+"))
        end = times.read_datetime(request.call.query.get("end", "").replace(" ", "+"))
    except ValueError as error:
        raise RestError(400, "INVALID_REPLICATION_DATE", str(error)) from error
    if end - start < timedelta(minutes=1):
        message = "endDate must be at least 1 minute greater than startDate"
        raise RestError(400, "INVALID_REPLICATION_DATE", message)
    return start, end


def updated(request: Request, parts: Parts) -> Answer:
    """Return the ids of records that were made or changed in a span of time."""
    sobject = request.sobject(parts["sobject"])
    start, end = _span(request)
    rows = request.org.records.rows(sobject)
    found = [row["Id"] for row in rows if start <= row["LastModifiedDate"] <= end]
    return Answer(body={"ids": found, "latestDateCovered": times.write_datetime(end)})


def deleted(request: Request, parts: Parts) -> Answer:
    """Return the records that were deleted in a span of time."""
    sobject = request.sobject(parts["sobject"])
    start, end = _span(request)
    rows = [r for r in request.org.records.rows(sobject, deleted=True) if r.get("IsDeleted")]
    found = [
        {"id": row["Id"], "deletedDate": times.write_datetime(row["LastModifiedDate"])}
        for row in rows
        if start <= row["LastModifiedDate"] <= end
    ]
    document = {
        "deletedRecords": found, "earliestDateAvailable": times.write_datetime(start),
        "latestDateCovered": times.write_datetime(end),
    }  # fmt: skip
    return Answer(body=document)


def event_schema(request: Request, parts: Parts) -> Answer:
    """Return the Avro schema of an object's event, by name or by schema id."""
    bus = request.org.bus
    if "schema_id" in parts:
        schema = bus.schema(parts["schema_id"])
    else:
        name = parts["sobject"]
        sobject = request.org.catalog.find(name) or request.org.catalog.by_change_event(name)
        schema = bus.schema_of(sobject) if sobject else None
    if schema is None:
        raise not_found()
    return Answer(body={**_loaded(schema.json), "uuid": schema.schema_id})


def _loaded(text: str) -> dict[str, Any]:
    import json

    document: dict[str, Any] = json.loads(text)
    return document
