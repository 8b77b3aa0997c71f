"""`/query`, `/queryAll` and their next pages."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ninelives_server.testing.fake_salesforce import sfid
from ninelives_server.testing.fake_salesforce.faults import RestError
from ninelives_server.testing.fake_salesforce.org import Org
from ninelives_server.testing.fake_salesforce.records import Row
from ninelives_server.testing.fake_salesforce.rest.request import Answer, Request
from ninelives_server.testing.fake_salesforce.schema.fields import SObject
from ninelives_server.testing.fake_salesforce.soql import engine, parser
from ninelives_server.testing.fake_salesforce.soql.syntax import AllFields, Path, Query

_CURSOR_LIFE = timedelta(days=2)
_MAX_BATCH = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The records of a query that did not fit on one page."""

    records: list[Row]
    size: int
    user_id: str
    made_at: datetime
    path: str


class _Stored:
    """The org's records as the engine reads them."""

    def __init__(self, org: Org) -> None:
        self._org = org

    def find(self, name: str) -> SObject | None:
        found = self._org.catalog.find(name)
        return None if found is None or found.event_type else found

    def rows(self, sobject: SObject, *, deleted: bool) -> Iterable[Row]:
        return self._org.records.rows(sobject, deleted=deleted)

    def any_row(self, record_id: str) -> tuple[SObject, Row] | None:
        return self._org.records.any_row(record_id)


def query(request: Request, _parts: Mapping[str, str]) -> Answer:
    """Run a query."""
    return answer(request, _Stored(request.org), "query", deleted=False)


def query_all(request: Request, _parts: Mapping[str, str]) -> Answer:
    """Run a query that sees deleted records too."""
    return answer(request, _Stored(request.org), "query", deleted=True)


def answer(request: Request, source: engine.Source, path: str, *, deleted: bool) -> Answer:
    """Run the query of a request over these rows and return its first page."""
    soql = request.call.query.get("q", "")
    if not soql.strip():
        raise RestError(400, "MALFORMED_QUERY", "unexpected token: '<EOF>'")
    parsed = parser.parse(soql)
    _check_all_fields(parsed)
    context = engine.Context(
        source=source, soql=soql, today=request.org.clock.now().date(), base=request.base, deleted=deleted
    )
    result = engine.run(parsed, context)
    page = _first_page(request, result, path)
    if request.call.query.get("columns") == "true":
        page["columnMetadata"] = [_column(item) for item in parsed.select]
    return Answer(body=page)


def _check_all_fields(parsed: Query) -> None:
    macros = [item for item in parsed.select if isinstance(item, AllFields)]
    if any(m.which != "STANDARD" for m in macros) and (parsed.limit is None or parsed.limit > 200):
        message = "The SOQL FIELDS function must have a LIMIT of at most 200"
        raise RestError(400, "MALFORMED_QUERY", message)


def _column(item: Any) -> dict[str, Any]:
    name = str(item) if isinstance(item, Path) else getattr(item, "alias", None) or ""
    return {
        "columnName": name,
        "displayName": name,
        "joinColumns": [],
        "aggregate": not isinstance(item, Path),
    }


def _batch_size(request: Request) -> int:
    behaviour = request.org.behaviour
    for option in request.call.header("sforce-query-options").split(","):
        name, _, value = option.partition("=")
        if name.strip().lower() == "batchsize" and value.strip().isdigit():
            return max(behaviour.query_batch_minimum, min(int(value), _MAX_BATCH))
    return behaviour.query_batch_size


def _first_page(request: Request, result: engine.Result, path: str) -> dict[str, Any]:
    size = _batch_size(request)
    if len(result.records) <= size:
        return {"totalSize": result.total, "done": True, "records": result.records}
    locator = request.org.ids.new(sfid.QUERY_PREFIX)
    request.org.cursors[locator] = Cursor(
        records=result.records, size=size, user_id=request.user_id, made_at=request.org.clock.now(), path=path
    )
    return {
        "totalSize": result.total, "done": False,
        "nextRecordsUrl": f"{request.base}/{path}/{locator}-{size}", "records": result.records[:size],
    }  # fmt: skip


def more(request: Request, parts: Mapping[str, str]) -> Answer:
    """Return the next page of a query."""
    locator, _, offset = parts["locator"].partition("-")
    cursor: Cursor | None = request.org.cursors.get(sfid.normalise(locator) or "")
    age_ok = cursor and request.org.clock.now() - cursor.made_at <= _CURSOR_LIFE
    if cursor is None or not age_ok or cursor.user_id != request.user_id or not offset.isdigit():
        raise RestError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
    start, total = int(offset), len(cursor.records)
    end = start + cursor.size
    page: dict[str, Any] = {"totalSize": total, "done": end >= total}
    if end < total:
        page["nextRecordsUrl"] = f"{request.base}/{cursor.path}/{locator}-{end}"
    page["records"] = cursor.records[start:end]
    return Answer(body=page)
