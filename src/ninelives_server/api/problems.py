"""Errors as `application/problem+json` (RFC 9457), with a stable `code` for programs.

The codes are documented in docs/reference/api.md; a test compares the two.
"""

import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from ninelives_server import errors, log
from ninelives_server.api.middleware import told
from ninelives_server.model.events import DEEPEST

logger = log.get(__name__)

TOO_DEEP = f"is nested in more than {DEEPEST} levels"
_DIGITS = "Exceeds the limit"

_STATUS: tuple[tuple[type[errors.NinelivesError], int], ...] = (
    (errors.Invalid, 422),
    (errors.NotFound, 404),
    (errors.Forbidden, 403),
    (errors.Unauthenticated, 401),
    (errors.Conflict, 409),
    (errors.TooLarge, 413),
    (errors.CallerError, 400),
    (errors.OwnerError, 409),
    (errors.Transient, 503),
    (errors.ProviderError, 502),
    (errors.SetupError, 500),
)

_TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    422: "Not acceptable input",
    429: "Too many requests",
    500: "Internal error",
    502: "The provider failed",
    503: "Try again later",
    504: "Timed out",
}


def status_of(error: errors.NinelivesError) -> int:
    """Return the HTTP status for an error of ours."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def problem(
    status: int, code: str, detail: str, *, request: Request, fields: dict[str, str] | None = None
) -> JSONResponse:
    """Return a problem document."""
    body: dict[str, object] = {
        "type": f"about:blank#{code}",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": getattr(request.state, "request_id", None),
    }
    if fields:
        body["fields"] = fields
    headers = {"WWW-Authenticate": 'Bearer realm="ninelives"'} if status == 401 else None
    return JSONResponse(body, status_code=status, headers=headers, media_type="application/problem+json")


def of(error: errors.NinelivesError | errors.DatabaseAway, request: Request) -> JSONResponse:
    """Return the problem document of an error of ours."""
    path = told(request.url.path)
    if isinstance(error, errors.DatabaseAway):
        logger.warning("request.failed", code=error.code, status=503, path=path)
        answer = problem(503, error.code, str(error), request=request)
        answer.headers["Retry-After"] = "1"
        return answer
    status = status_of(error)
    if status >= 500:
        logger.warning("request.failed", code=error.code, status=status, path=path)
    return problem(status, error.code, str(error), request=request, fields=error.fields)


async def _ours(request: Request, error: Exception) -> Response:
    if not isinstance(error, errors.NinelivesError | errors.DatabaseAway):  # registered for these only
        raise error
    return of(error, request)


async def _validation(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    fields = {_place(item): _said(item) for item in error.errors()}
    detail = "; ".join(f"{name or 'body'}: {message}" for name, message in fields.items())
    return problem(422, "invalid", detail, request=request, fields=fields)


def _place(item: Mapping[str, Any]) -> str:
    """Return the name of a field; empty where it is the body itself."""
    if item["type"] == "json_invalid":
        return ""
    return ".".join(str(part) for part in item["loc"] if part != "body")


def _said(item: Mapping[str, Any]) -> str:
    if item["type"] == "extra_forbidden":
        return "there is no such field here; see /openapi.json for those that there are"
    if item["type"] == "json_invalid":
        return f"is no JSON: {item['ctx']['error']} at character {item['loc'][-1]}"
    if isinstance(item.get("input"), bytes):
        return "is read as JSON only; send it with Content-Type: application/json"
    return str(item["msg"])


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == 400 and (unread := _unread(error.__cause__)) is not None:
        return problem(422, "invalid", f"body: {unread}", request=request, fields={"": unread})
    answer = problem(
        error.status_code, _CODES.get(error.status_code, "http"), _detail(error, request), request=request
    )
    answer.headers.update(error.headers or {})
    return answer


_CODES = {
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
}


def _unread(cause: BaseException | None) -> str | None:
    """Return what is wrong with a body that cannot be read as JSON: the framework has no words for it."""
    match cause:
        case UnicodeDecodeError():
            return f"is no UTF-8 text: byte {cause.object[cause.start]:#x} at {cause.start}"
        case RecursionError():
            return TOO_DEEP
        case ValueError() if str(cause).startswith(_DIGITS):
            return f"has a number with more than {sys.get_int_max_str_digits()} digits"
    return None


def _detail(error: HTTPException, request: Request) -> str:
    """Say what there is not; the framework's own words are those of the status."""
    path, allowed = told(request.url.path), (error.headers or {}).get("Allow", "")
    if error.detail == HTTPStatus.NOT_FOUND.phrase:
        return f"there is nothing at {path}"
    if error.detail == HTTPStatus.METHOD_NOT_ALLOWED.phrase:
        verb = "are" if "," in allowed else "is"
        return f"{request.method} is not possible at {path}" + f"; {allowed} {verb}" * bool(allowed)
    return str(error.detail)


def install(app: FastAPI) -> None:
    """Answer every error of the API with a problem document."""
    app.add_exception_handler(errors.NinelivesError, _ours)
    app.add_exception_handler(errors.DatabaseAway, _ours)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
