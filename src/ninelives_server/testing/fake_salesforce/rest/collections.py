"""`/composite/sobjects` and `/composite/tree`: many records in one call."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ninelives_server.testing.fake_salesforce import sfid, values
from ninelives_server.testing.fake_salesforce.faults import RestError
from ninelives_server.testing.fake_salesforce.records import Row, Unit
from ninelives_server.testing.fake_salesforce.rest.request import Answer, Request
from ninelives_server.testing.fake_salesforce.rest.sobjects import record_id_of, shown
from ninelives_server.testing.fake_salesforce.schema.fields import SObject

Parts = Mapping[str, str]
Write = Callable[[Unit, Any], dict[str, Any]]
_MAX = 200
_ROLLED_BACK = {
    "statusCode": "ALL_OR_NONE_OPERATION_ROLLED_BACK",
    "message": (
        "Record rolled back because not all records were valid and the request was using AllOrNone header"
    ),
    "fields": [],
}  # fmt: skip


def _many(request: Request, items: Sequence[Any], write: Write, *, all_or_none: bool) -> Answer:
    if len(items) > _MAX:
        message = f"record limit reached. cannot submit more than {_MAX} records into this call"
        raise RestError(400, "EXCEEDED_ID_LIMIT", message)
    with request.writing() as unit:
        start = unit.mark()
        results = [_one(unit, item, write) for item in items]
        if all_or_none and any(not r["success"] for r in results):
            unit.back_to(start)
            results = [
                r if not r["success"] else {"success": False, "errors": [_ROLLED_BACK]} for r in results
            ]
    return Answer(body=results)


def _one(unit: Unit, item: Any, write: Write) -> dict[str, Any]:
    mark = unit.mark()
    try:
        return write(unit, item)
    except RestError as error:
        unit.back_to(mark)
        return {"success": False, "errors": [error.as_save_error()]}


def _type_of(request: Request, record: Any) -> SObject:
    attributes = record.get("attributes") if isinstance(record, dict) else None
    name = attributes.get("type", "") if isinstance(attributes, dict) else ""
    found = request.org.catalog.find(name)
    if found is None:
        raise RestError(400, "INVALID_TYPE", f"sObject type '{name}' is not supported.")
    return found


def _id_of(sobject: SObject, record: Row) -> str:
    given = record.get("Id") or record.get("id")
    if not given:
        raise RestError(400, "MISSING_ARGUMENT", "Id not specified in an update call", fields=["Id"])
    return record_id_of(sobject, str(given))


def _without_id(record: Row) -> Row:
    return {name: value for name, value in record.items() if name not in {"Id", "id", "attributes"}}


def create(request: Request, _parts: Parts) -> Answer:
    """Make up to 200 records."""
    document = request.record()

    def write(unit: Unit, record: Row) -> dict[str, Any]:
        record_id = unit.insert(_type_of(request, record), _without_id(record))
        return {"id": record_id, "success": True, "errors": []}

    return _many(request, document.get("records", []), write, all_or_none=document.get("allOrNone") is True)


def update(request: Request, _parts: Parts) -> Answer:
    """Change up to 200 records."""
    document = request.record()

    def write(unit: Unit, record: Row) -> dict[str, Any]:
        sobject = _type_of(request, record)
        record_id = _id_of(sobject, record)
        unit.update(sobject, record_id, _without_id(record))
        return {"id": record_id, "success": True, "errors": []}

    return _many(request, document.get("records", []), write, all_or_none=document.get("allOrNone") is True)


def delete(request: Request, _parts: Parts) -> Answer:
    """Delete up to 200 records, named in the query."""
    ids = [i.strip() for i in request.call.query.get("ids", "").split(",") if i.strip()]

    def write(unit: Unit, given: str) -> dict[str, Any]:
        record_id = sfid.normalise(given) or ""
        sobject = request.org.catalog.by_prefix(record_id)
        if sobject is None:
            raise RestError(400, "MALFORMED_ID", f"malformed id {given}", fields=["Id"])
        unit.delete(sobject, record_id)
        return {"id": record_id, "success": True, "errors": []}

    return _many(request, ids, write, all_or_none=request.call.query.get("allOrNone") == "true")


def upsert(request: Request, parts: Parts) -> Answer:
    """Change or make up to 200 records of one object by external id."""
    sobject = request.sobject(parts["sobject"])
    field = sobject.find(parts["field"])
    if field is None or not (field.external_id or field.type == "id"):
        message = f"Provided external ID field does not exist or is not accessible: {parts['field']}"
        raise RestError(404, "NOT_FOUND", message)
    document = request.record()

    def write(unit: Unit, record: Row) -> dict[str, Any]:
        wanted = values.accept(field, record.get(field.name))
        rows = request.org.records.matching(sobject, field.name, wanted) if wanted else []
        if len(rows) > 1:
            raise RestError(400, "DUPLICATE_EXTERNAL_ID", "Field value is not unique", fields=[field.name])
        if rows:
            changed = {n: v for n, v in _without_id(record).items() if n != field.name}
            unit.update(sobject, rows[0]["Id"], changed)
            return {"id": rows[0]["Id"], "success": True, "errors": [], "created": False}
        record_id = unit.insert(sobject, _without_id(record))
        return {"id": record_id, "success": True, "errors": [], "created": True}

    return _many(request, document.get("records", []), write, all_or_none=document.get("allOrNone") is True)


def retrieve(request: Request, parts: Parts) -> Answer:
    """Return many records of one object; `null` stands for one that is not there."""
    sobject = request.sobject(parts["sobject"])
    if request.call.method == "POST":
        document = request.record()
        ids, names = document.get("ids", []), document.get("fields", [])
    else:
        ids = request.call.query.get("ids", "").split(",")
        names = [n for n in request.call.query.get("fields", "").split(",") if n]
    found: list[Row | None] = []
    for given in ids:
        row = request.org.records.find(sobject, sfid.normalise(given.strip()) or "")
        is_live = row is not None and not row.get("IsDeleted")
        found.append(shown(request, sobject, row, names) if row and is_live else None)
    return Answer(body=found)


def tree(request: Request, parts: Parts) -> Answer:
    """Make records with their children, all or none."""
    sobject = request.sobject(parts["sobject"])
    results: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []

    def write(unit: Unit, kind: SObject, record: Row, parent: Row) -> None:
        reference = str((record.get("attributes") or {}).get("referenceId", ""))
        relations = {c[2]: c for c in kind.children}
        nested = {n: v for n, v in record.items() if n in relations and isinstance(v, dict)}
        plain = {n: v for n, v in record.items() if n not in nested}
        try:
            record_id = unit.insert(kind, {**plain, **parent})
        except RestError as error:
            errors.append({"referenceId": reference, "errors": [error.as_save_error()]})
            return
        results.append({"referenceId": reference, "id": record_id})
        for name, group in nested.items():
            child, field, _ = relations[name]
            for inner in group.get("records", []):
                write(unit, request.sobject(child), inner, {field: record_id})

    with request.writing() as unit:
        start = unit.mark()
        for record in request.record().get("records", []):
            write(unit, sobject, record, {})
        if errors:
            unit.back_to(start)
            return Answer(status=400, body={"hasErrors": True, "results": errors})
    return Answer(status=201, body={"hasErrors": False, "results": results})
