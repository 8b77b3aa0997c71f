"""The door of the REST API: versions, sessions, limits, and the way to the function that answers."""

from collections.abc import Mapping
from typing import Any

from ninelives_server.testing.fake_salesforce.faults import RestError, not_found
from ninelives_server.testing.fake_salesforce.http import Call, Reply, Router, json_reply
from ninelives_server.testing.fake_salesforce.org import Org
from ninelives_server.testing.fake_salesforce.rest import collections, composite, query, sobjects, tooling
from ninelives_server.testing.fake_salesforce.rest.request import Answer, Handler, Request

_OLDEST, _NEWEST, _RETIRED = 31, 67, 30
_POLICY = "This session is not valid for use with the REST API"


def serve(org: Org, call: Call) -> Reply:
    """Answer a request below `/services/data`."""
    if call.path.rstrip("/") == "/services/data":
        return json_reply(_versions())
    headers: dict[str, str] = {}
    try:
        request = _admitted(org, call)
        headers["sforce-limit-info"] = f"api-usage={org.api_calls}/{org.behaviour.daily_api_requests}"
        answer = _dispatch(request)
    except RestError as error:
        return json_reply(error.as_list(), status=error.status, headers={**headers, **error.headers})
    if answer.body is None:
        return Reply(status=answer.status, headers={**headers, **answer.headers})
    return json_reply(answer.body, status=answer.status, headers={**headers, **answer.headers})


def _versions() -> list[dict[str, str]]:
    seasons = {2: "Winter", 0: "Spring", 1: "Summer"}
    return [
        {"label": f"{seasons[number % 3]} '{26 + (number - 65) // 3:02d}",
         "url": f"/services/data/v{number}.0", "version": f"{number}.0"}
        for number in range(_OLDEST, _NEWEST + 1)
    ]  # fmt: skip


def _admitted(org: Org, call: Call) -> Request:
    """Return the request with its user.

    Raises:
        RestError: There is no good session, no such version, or the allocation is used up.
    """
    value = call.token()
    if value is None:
        raise RestError(
            401, "INVALID_AUTH_HEADER", "INVALID_AUTH_HEADER", headers={"www-authenticate": "Token"}
        )
    session = org.session(value)
    if session is None:
        raise RestError(401, "INVALID_SESSION_ID", org.refusal(value))
    if not {"api", "full", "web"} & set(session.scopes):
        raise RestError(401, "INVALID_SESSION_ID", _POLICY)
    version = _version(call.path)
    org.api_calls += 1
    if org.behaviour.enforce_api_limit and org.api_calls > org.behaviour.daily_api_requests:
        raise RestError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
    return Request(org=org, call=call, user_id=session.user_id, version=version)


def _version(path: str) -> str:
    text = path.removeprefix("/services/data/").partition("/")[0]
    number, dot, minor = text.removeprefix("v").partition(".")
    if not (text.startswith("v") and dot and minor == "0" and number.isdigit()):
        raise not_found()
    if int(number) <= _RETIRED:
        raise RestError(410, "UNSUPPORTED_API_VERSION", "This version of the API has been retired.")
    if int(number) > _NEWEST:
        raise not_found()
    return f"{number}.0"


def _dispatch(request: Request) -> Answer:
    call = request.call
    path = call.path.removeprefix("/services/data/").partition("/")[2]
    method = call.method
    if method == "POST" and "_HttpMethod" in call.query:
        method = call.query["_HttpMethod"].upper()
    found = _ROUTES.find(method, f"/{path.rstrip('/')}")
    if isinstance(found, set):
        if not found:
            raise not_found()
        allowed = ",".join(sorted(found))
        message = f"HTTP Method '{method}' not allowed. Allowed are {allowed}"
        raise RestError(405, "METHOD_NOT_ALLOWED", message, headers={"allow": allowed})
    handler, parts = found
    return handler(request, parts)


def _resources(request: Request, _parts: Mapping[str, str]) -> Answer:
    names = ("composite", "event", "limits", "query", "queryAll", "recent", "search", "sobjects", "tooling")
    document = {name: f"{request.base}/{name}" for name in names}
    base = request.org.addresses.login_for(request.call.scheme, request.call.host)
    return Answer(body={**document, "identity": f"{base}/id/{request.org.org_id}/{request.user_id}"})


def _limits(request: Request, _parts: Mapping[str, str]) -> Answer:
    daily = request.org.behaviour.daily_api_requests
    maxima = {
        "DailyApiRequests": (daily, max(0, daily - request.org.api_calls)),
        "DailyBulkApiBatches": (15000, 15000), "DailyBulkV2QueryJobs": (10000, 10000),
        "DailyDeliveredPlatformEvents": (10000, 10000), "DailyStreamingApiEvents": (10000, 10000),
        "DataStorageMB": (5, 5), "FileStorageMB": (20, 20),
        "HourlyPublishedPlatformEvents": (50000, 50000), "MonthlyPlatformEvents": (300000, 300000),
    }  # fmt: skip
    return Answer(body={name: {"Max": top, "Remaining": left} for name, (top, left) in maxima.items()})


def _search(request: Request, _parts: Mapping[str, str]) -> Answer:
    """Find records by their name: `FIND {text}`, without the rest of SOSL."""
    sosl = request.call.query.get("q", "")
    wanted = sosl.partition("{")[2].partition("}")[0].strip().strip("*").lower()
    if not wanted:
        raise RestError(
            400, "MALFORMED_SEARCH", "No search term found. The search term must be enclosed in braces."
        )
    found: list[dict[str, Any]] = []
    for sobject in request.org.catalog.all():
        for row in request.org.records.rows(sobject) if not sobject.event_type else ():
            if wanted in str(row.get("Name") or "").lower():
                url = f"{request.base}/sobjects/{sobject.name}/{row['Id']}"
                found.append({"attributes": {"type": sobject.name, "url": url}, "Id": row["Id"]})
    return Answer(body={"searchRecords": found})


def _composite(request: Request, _parts: Mapping[str, str]) -> Answer:
    return composite.composite(request, _dispatch)


def _batch(request: Request, _parts: Mapping[str, str]) -> Answer:
    return composite.batch(request, _dispatch)


def _routes() -> Router[Handler]:
    router: Router[Handler] = Router()
    one = "/sobjects/{sobject}/{id}"
    member = "/tooling/sobjects/PlatformEventChannelMember"
    for methods, path, handler in (
        ("GET", "", _resources),
        ("GET", "/limits", _limits),
        ("GET", "/recent", lambda _request, _parts: Answer(body=[])),
        ("GET", "/search", _search),
        ("GET", "/query", query.query),
        ("GET", "/queryAll", query.query_all),
        ("GET", "/query(?:All)?/{locator}", query.more),
        ("GET", "/sobjects", sobjects.list_all),
        ("GET", "/sobjects/{sobject}", sobjects.basic),
        ("POST", "/sobjects/{sobject}", sobjects.create),
        ("GET", "/sobjects/{sobject}/describe", sobjects.describe_one),
        ("GET", "/sobjects/{sobject}/updated", sobjects.updated),
        ("GET", "/sobjects/{sobject}/deleted", sobjects.deleted),
        ("GET", "/sobjects/{sobject}/eventSchema", sobjects.event_schema),
        ("GET", "/event/eventSchema/{schema_id}", sobjects.event_schema),
        ("GET", one, sobjects.read),
        ("PATCH", one, sobjects.update),
        ("DELETE", one, sobjects.delete),
        ("GET", "/sobjects/{sobject}/{field}/{value*}", sobjects.read_by),
        ("PATCH", "/sobjects/{sobject}/{field}/{value*}", sobjects.upsert),
        ("DELETE", "/sobjects/{sobject}/{field}/{value*}", sobjects.delete_by),
        ("POST", "/composite", _composite),
        ("POST", "/composite/batch", _batch),
        ("POST", "/composite/sobjects", collections.create),
        ("PATCH", "/composite/sobjects", collections.update),
        ("DELETE", "/composite/sobjects", collections.delete),
        ("GET POST", "/composite/sobjects/{sobject}", collections.retrieve),
        ("PATCH", "/composite/sobjects/{sobject}/{field}", collections.upsert),
        ("POST", "/composite/tree/{sobject}", collections.tree),
        ("GET", "/tooling/query", tooling.run_query),
        ("GET", "/tooling/query/{locator}", query.more),
        ("POST", member, tooling.create_member),
        ("GET", f"{member}/{{id}}", tooling.read_member),
        ("DELETE", f"{member}/{{id}}", tooling.delete_member),
    ):
        router.add(methods, path, handler)
    return router


_ROUTES = _routes()
