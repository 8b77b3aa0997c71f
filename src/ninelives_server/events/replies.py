"""What a webhook answers whose trigger waits for its session: the session's outcomes as an HTTP response.

Kinds of outcome are those of AutoKitteh: `{status_code, headers, body | json, more}`; anything else is JSON.
"""

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ninelives_server import log
from ninelives_server.events import sniffing
from ninelives_server.model import headers as http_headers
from ninelives_server.model.events import Event
from ninelives_server.store import events, outcomes, sessions
from ninelives_server.store.core import Store, Tx
from ninelives_server.store.outcomes import Outcome
from ninelives_server.vault.vault import Vault

logger = log.get(__name__)

#: How long a caller is kept waiting. seconds
PATIENCE = 30.0
#: How long a response that has begun stays open while nothing follows. seconds
IDLE = 300.0
#: Answers and ends are looked for this often while nothing is announced. seconds
_LOOK_EVERY = 1.0

#: Answers with these have no body (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5).
_WITHOUT_BODY = frozenset({204, 205, 304})
_KNOWN = frozenset({"status_code", "headers", "body", "body_base64", "json", "more"})
#: Never taken from project code: they act on the whole site, or belong to the connection (RFC 9110, 7.6.1).
_DROPPED = frozenset(
    {
        "set-cookie",
        "clear-site-data",
        "service-worker-allowed",
        "content-security-policy",
        "x-content-type-options",
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP response that project code has made, or why there is none.

    Attributes:
        headers: Already without those that project code may not set.
        body: All of it, or with `rest` its beginning.
        rest: What follows, as it comes.
        is_good: Whether it is the session's, not ours about the session.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    rest: AsyncIterator[bytes] | None = field(default=None, repr=False)
    is_good: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    event: Event
    values: Sequence[Any]
    is_over: bool


class Replies:
    """Waits for what sessions answer to events."""

    def __init__(self, *, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    async def wait(self, event_id: str, *, seconds: float = PATIENCE) -> Reply:
        """Wait for the first answer to an event; with `more`, the others follow while they come.

        Returns:
            502 where nothing was started or signalled, or all of it has ended without an answer; 504 where
            the time is over.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        with self._store.notices.subscribed("event", event_id) as notice:
            while True:
                notice.take()
                view = await self._store.read(lambda tx: self._look(tx, event_id, 0))
                if view.values:
                    return self._reply(event_id, view.values[0])
                if view.is_over:
                    return _problem(502, _why(view.event))
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0:
                    return _problem(504, f"no answer within {PATIENCE:g} s of the request")
                await _told(notice, min(left, _LOOK_EVERY))

    def _reply(self, event_id: str, value: Any) -> Reply:
        reply = _first(value)
        has_rest = reply.is_good and reply.status not in _WITHOUT_BODY and _wants_more(value)
        return replace(reply, rest=self._rest(event_id)) if has_rest else reply

    async def _rest(self, event_id: str) -> AsyncIterator[bytes]:
        """Yield the bodies that follow the first, until one says no more, or nobody is left to say it."""
        seen = 1
        with self._store.notices.subscribed("event", event_id) as notice:
            deadline = asyncio.get_running_loop().time() + IDLE
            while (left := deadline - asyncio.get_running_loop().time()) > 0:
                notice.take()
                view = await self._store.read(lambda tx: self._look(tx, event_id, seen))  # noqa: B023
                for value in view.values:
                    yield _chunk(value)
                    if not _wants_more(value):
                        return
                    deadline = asyncio.get_running_loop().time() + IDLE
                if view.is_over:
                    return
                seen += len(view.values)
                await _told(notice, min(left, _LOOK_EVERY))

    def _look(self, tx: Tx, event_id: str, skip: int) -> _View:
        event = events.by_id(tx, event_id)
        assert event is not None
        # First whether it is over: an answer that comes between the two reads must not be missed.
        is_over = _is_over(tx, event)
        values = [self._open(tx, event, outcome) for outcome in outcomes.of_event(tx, event_id, skip=skip)]
        return _View(event=event, values=values, is_over=is_over)

    def _open(self, tx: Tx, event: Event, outcome: Outcome) -> Any:
        context = outcomes.context(outcome.id)
        return json.loads(self._vault.open(tx, event.project_id, context, outcome.sealed_value))


def _is_over(tx: Tx, event: Event) -> bool:
    """Say whether no session that the event has started can answer any more."""
    if event.dispatched_at is None:
        return False
    started = [item["session_id"] for item in event.dispatch if "session_id" in item]
    found = [sessions.by_id(tx, session_id) for session_id in started]
    return all(session is None or session.state.is_terminal for session in found)


async def _told(notice: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(notice.wait(), seconds)
    except TimeoutError:
        return


def _why(event: Event) -> str:
    if any("session_id" in item for item in event.dispatch):
        return "the session ended without an answer"
    return "no session was started for this request"


def _problem(status: int, text: str) -> Reply:
    return Reply(status=status, headers={"Content-Type": "text/plain; charset=utf-8"}, body=text.encode())


def _wants_more(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value.get("more")) and _is_answer(value)


def _is_answer(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and set(value) <= _KNOWN


def _part(value: Any) -> Mapping[str, Any]:
    return value if _is_answer(value) else {"json": value}


def _first(value: Any) -> Reply:
    """Make the response of the first answer: it has status and headers for all."""
    part = _part(value)
    if part.get("body") is not None and part.get("json") is not None:
        return _problem(502, "the session's answer cannot be sent: it has a body and json; give one of them")
    if (wrong := http_headers.wrong(part.get("headers"))) is not None:
        return _problem(502, f"the session's answer cannot be sent: {wrong}")
    try:
        status = int(part.get("status_code") or 200)
        body, media_type = _body(part)
    except (TypeError, ValueError, binascii.Error) as error:
        return _problem(502, f"the session's answer cannot be sent: {error}")
    if not 200 <= status <= 599:
        return _problem(502, f"the session answered with the status {status}, which is none")
    headers = {"Content-Type": media_type, "Cache-Control": "no-cache", **_headers(part.get("headers"))}
    if status in _WITHOUT_BODY:
        body = b""
    return Reply(status=status, headers=headers, body=body, is_good=True)


def _chunk(value: Any) -> bytes:
    """Return the body of a later answer; one that cannot be sent is left out, the status has gone already."""
    try:
        return _body(_part(value))[0]
    except (TypeError, ValueError, binascii.Error):
        logger.warning("webhook.chunk_dropped")
        return b""


def _body(part: Mapping[str, Any]) -> tuple[bytes, str]:
    """Return the bytes of an answer, and their media type where the session names none."""
    if part.get("body_base64") is not None:
        content = base64.b64decode(part["body_base64"], validate=True)
        return content, sniffing.media_type(content)
    if part.get("json") is not None:
        return json.dumps(part["json"]).encode(), "application/json"
    body = part.get("body")
    if body is None:
        return (b"null", "application/json") if set(part) == {"json"} else (b"", "text/plain; charset=utf-8")
    if isinstance(body, str):
        content = body.encode(errors="replace")
        return content, sniffing.media_type(content)
    return json.dumps(body).encode(), "application/json"


def _headers(given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping):
        return {}
    pairs = ((str(name).title(), str(value).strip(" \t")) for name, value in given.items())
    return {name: value for name, value in pairs if name.lower() not in _DROPPED}
