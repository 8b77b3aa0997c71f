"""`/composite` and `/composite/batch`: several requests in one call, with references between them."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ninelives_server.testing.fake_salesforce.faults import RestError
from ninelives_server.testing.fake_salesforce.http import Call
from ninelives_server.testing.fake_salesforce.records import Unit
from ninelives_server.testing.fake_salesforce.rest.request import Answer, Request

Dispatch = Callable[[Request], Answer]
_REFERENCE = re.compile(r"@\{([A-Za-z0-9_]+)((?:\.[A-Za-z0-9_]+|\[\d+\])*)\}")
_MAX = 25
_ROLLED_BACK = "The transaction was rolled back since another operation in the same transaction failed."
_HALTED = "Invalid reference specified. No value for {name} found in {reference}"


def composite(request: Request, dispatch: Dispatch) -> Answer:
    """Carry out parts in order; later ones may refer to the results of earlier ones."""
    document = request.record()
    parts = document.get("compositeRequest") or []
    if len(parts) > _MAX:
        message = f"Limit of {_MAX} reached. Cannot process more than {_MAX} subrequests"
        raise RestError(400, "LIMIT_EXCEEDED", message)
    if document.get("allOrNone") is True:
        return Answer(body={"compositeResponse": _all_or_none(request, parts, dispatch)})
    results = _run(request, parts, dispatch, unit=None)
    return Answer(body={"compositeResponse": results})


def _all_or_none(request: Request, parts: list[Any], dispatch: Dispatch) -> list[dict[str, Any]]:
    with request.writing() as unit:
        start = unit.mark()
        results = _run(request, parts, dispatch, unit=unit)
        first = next((i for i, r in enumerate(results) if r["httpStatusCode"] >= 400), None)
        if first is not None:
            unit.back_to(start)
            results = [
                r if i == first else _halted(r["referenceId"], _ROLLED_BACK) for i, r in enumerate(results)
            ]
    return results


def _run(
    request: Request, parts: list[Any], dispatch: Dispatch, *, unit: Unit | None
) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    known: dict[str, Any] = {}
    for part in parts:
        reference = str(part.get("referenceId", ""))
        try:
            part = _resolved(part, known)  # noqa: PLW2901  (the resolved form takes its place)
        except LookupError as error:
            results.append(_halted(reference, str(error.args[0])))
            continue
        answer = _carried_out(request, part, dispatch, unit)
        if answer.status < 400:
            known[reference] = answer.body
        results.append(
            {"body": answer.body, "httpHeaders": _named(answer.headers), "httpStatusCode": answer.status,
             "referenceId": reference}
        )  # fmt: skip
    return results


def _halted(reference: str, message: str) -> dict[str, Any]:
    body = [{"errorCode": "PROCESSING_HALTED", "message": message}]
    return {"body": body, "httpHeaders": {}, "httpStatusCode": 400, "referenceId": reference}


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.title(): value for name, value in headers.items()}


def _carried_out(request: Request, part: Any, dispatch: Dispatch, unit: Unit | None) -> Answer:
    url = urlsplit(str(part.get("url", "")))
    headers = {
        **request.call.headers,
        **{k.lower(): str(v) for k, v in (part.get("httpHeaders") or {}).items()},
    }
    body = part.get("body")
    call = Call(
        method=str(part.get("method", "GET")).upper(), path=url.path, query=dict(parse_qsl(url.query)),
        headers=headers, body=b"" if body is None else json.dumps(body).encode(),
        scheme=request.call.scheme, client=request.call.client,
    )  # fmt: skip
    try:
        return dispatch(request.part(call, unit))
    except RestError as error:
        return Answer(status=error.status, body=error.as_list(), headers=error.headers)


def _resolved(value: Any, known: Mapping[str, Any]) -> Any:
    """Return the part with references such as `@{ref.id}` replaced.

    Raises:
        LookupError: A reference has no value; its text is the message.
    """
    if isinstance(value, dict):
        return {k: _resolved(v, known) if k != "referenceId" else v for k, v in value.items()}
    if isinstance(value, list):
        return [_resolved(v, known) for v in value]
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole:
        return _looked_up(whole, known)
    return _REFERENCE.sub(lambda match: str(_looked_up(match, known)), value)


def _looked_up(match: re.Match[str], known: Mapping[str, Any]) -> Any:
    reference, path = match.groups()
    if reference not in known:
        raise LookupError(_HALTED.format(name=path.lstrip(".") or reference, reference=reference))
    value = known[reference]
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        try:
            value = value[name] if name else value[int(index)]
        except (KeyError, IndexError, TypeError):
            raise LookupError(_HALTED.format(name=name or index, reference=reference)) from None
    return value


def batch(request: Request, dispatch: Dispatch) -> Answer:
    """Carry out independent parts; their URLs begin at the version."""
    document = request.record()
    parts = document.get("batchRequests") or []
    if len(parts) > _MAX:
        raise RestError(400, "LIMIT_EXCEEDED", f"Cannot process more than {_MAX} subrequests")
    results = []
    for part in parts:
        url = f"/services/data/{str(part.get('url', '')).removeprefix('/services/data/')}"
        inner = {"method": part.get("method", "GET"), "url": url, "body": part.get("richInput")}
        answer = _carried_out(request, inner, dispatch, None)
        results.append({"statusCode": answer.status, "result": answer.body})
        if answer.status >= 400 and document.get("haltOnError"):
            break
    failed = any(r["statusCode"] >= 400 for r in results)
    return Answer(body={"hasErrors": failed, "results": results})
