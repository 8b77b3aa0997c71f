"""Answering the event that started the session, starting other sessions, and beginning anew."""

import base64
import json as jsons
from collections.abc import Mapping
from typing import Any, NoReturn

from ninelives import host
from ninelives.errors import Restarting

#: The part of a body that one outcome holds, so that it fits into `arguments.INLINE`: as base64, or as text
#: of six bytes a character.
_BYTES = 300_000
_CHARACTERS = 80_000


def outcome(value: Any, *, event_id: str | None = None) -> None:
    """Add a JSON value to what the session's event, or another one of the project, came to."""
    host.required("ninelives.outcome").call("outcome", {"value": value, "event_id": event_id})


def http_outcome(
    status_code: int = 200,
    body: Any = None,
    *,
    json: Any = None,
    headers: Mapping[str, str] | None = None,
    more: bool = False,
    event_id: str | None = None,
) -> None:
    """Answer the HTTP request that started the session.

    Args:
        status_code: Of the first answer; later ones of the same request add to its body.
        body: Text and bytes as they are, anything else as JSON.
        json: Anything, as JSON with its content type; not together with `body`.
        headers: Of the first answer.
        more: Further answers to the same request will follow.
        event_id: Answers another event than the session's own.
    """
    if body is not None and json is not None:
        raise ValueError("http_outcome takes body or json, not both")
    answer: dict[str, Any] = {"status_code": status_code, "headers": dict(headers or {}), "more": True}
    *first, last = _pieces(answer, body, json)
    for piece in first:
        outcome(piece, event_id=event_id)
    outcome({**last, "more": more}, event_id=event_id)


def _pieces(answer: dict[str, Any], body: Any, json: Any) -> list[dict[str, Any]]:
    """Return an answer in as many as its body needs, because one call to the server takes so much only."""
    if isinstance(body, bytes | bytearray):
        parts = [bytes(body[at : at + _BYTES]) for at in range(0, len(body), _BYTES)] or [b""]
        return [{**answer, "body_base64": base64.b64encode(part).decode()} for part in parts]
    whole = {**answer, "body": body} if json is None else {**answer, "json": json}
    text = body if isinstance(body, str) else _dumped(body if json is None else json)
    if len(text) <= _CHARACTERS:
        return [whole]
    if text is not body and not any(name.lower() == "content-type" for name in answer["headers"]):
        answer["headers"]["Content-Type"] = "application/json"
    starts = range(0, len(text), _CHARACTERS)
    return [{**answer, "body": text[at : at + _CHARACTERS]} for at in starts]


def _dumped(value: Any) -> str:
    """Return a value as JSON; empty where it is none, which is refused when it is sent."""
    try:
        return jsons.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return ""


def start(
    loc: str,
    data: Mapping[str, Any] | None = None,
    memo: Mapping[str, str] | None = None,
    project: str = "",
) -> str:
    """Start another session and return its id; exactly one, whatever crashes.

    Args:
        loc: The entry point, `file.py:name`.
        data: Becomes the new session's `event.data`; JSON.
        memo: Kept with the session, for people.
        project: Another project of the same organisation, with an active deployment.
    """
    args = {"loc": loc, "data": dict(data or {}), "memo": dict(memo or {}), "project": project}
    return str(host.required("ninelives.start").call("start", args))


def restart(data: Mapping[str, Any] | None = None) -> NoReturn:
    """End this session and start its successor with an empty journal, both at once.

    For sessions that go on for ever: a journal has a limit. The successor runs the same entry point, of the
    code that is deployed now; it takes over the subscriptions with their ids, what was not read of events and
    signals, and the ends of child sessions. `finally` blocks on the way out are run.

    Args:
        data: Becomes the successor's `event.data`; JSON.

    Raises:
        TypeError: The data is no JSON.
        ValueError: It is too large.
    """
    session = host.required("ninelives.restart")
    raise Restarting(session.plain("restart", {"data": dict(data or {})})["data"])
