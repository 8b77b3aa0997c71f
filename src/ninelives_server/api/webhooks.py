"""The address that other systems call: `/webhooks/{slug}`, any method, any suffix.

It stands before the routes: nothing is called as often, and it needs nothing of what they pass. What every
request passes, it passes too (`api.middleware`).
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from urllib.parse import parse_qsl, quote

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.datastructures import URL
from starlette.types import ASGIApp, Receive, Scope, Send

from ninelives_server.api import bodies, problems
from ninelives_server.errors import DatabaseAway, NinelivesError, Unauthenticated
from ninelives_server.events.replies import PATIENCE, Reply
from ninelives_server.events.webhooks import WebhookRequest
from ninelives_server.services import Services

_BELOW = "/webhooks/"
#: A request of which the whole body has not come by then is refused. seconds
ARRIVED_WITHIN = 60.0
_PLAIN_HOST = re.compile(r"[a-z0-9.-]+(:([1-9][0-9]{0,3}|[1-5][0-9]{4}))?")


class Hooks:
    """Answers what is below `/webhooks/`, and passes everything else on."""

    def __init__(self, app: ASGIApp, *, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        slug = "" if scope["type"] != "http" else _slug(scope["path"])
        if not slug:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            answer = await self._answer(request, slug)
        except (NinelivesError, DatabaseAway) as error:
            answer = refusal = problems.of(error, request)
            if isinstance(error, Unauthenticated):
                # What a browser or client is to ask for depends on the trigger; it is never our own token.
                refusal.headers["WWW-Authenticate"] = 'Basic realm="webhook"'
        await answer(scope, receive, send)

    async def _answer(self, request: Request, slug: str) -> ASGIApp:
        """Store the request as an event; answer 202 once it is committed, or with what its session says."""
        services = self._services
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(ARRIVED_WITHIN):
                body = await bodies.limited(request, services.webhooks.body_limit, "a webhook's body")
        except TimeoutError:
            return _too_slow(request)
        receipt = await services.webhooks.accept(_read(request, slug, body))
        if not receipt.is_sync:
            return _Accepted(receipt.event_id)
        # What receiving took counts: the sender's patience began with its request.
        left = max(PATIENCE - (asyncio.get_running_loop().time() - began), 0.0)
        return _response(await services.replies.wait(receipt.event_id, seconds=left), receipt.event_id)


def _too_slow(request: Request) -> Response:
    """Refuse a request whose end nobody can tell from silence, and hang up (RFC 9110, section 15.5.9)."""
    detail = f"the request's body has not come whole within {ARRIVED_WITHIN:g} s"
    answer = problems.problem(408, "too_slow", detail, request=request)
    answer.headers["Connection"] = "close"
    return answer


class _Accepted:
    """The answer 202: nothing is sent as often, so its bytes are put together without a response object."""

    def __init__(self, event_id: str) -> None:
        self._id = event_id.encode("ascii")

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        body = b'{"event_id":"%b"}' % self._id
        headers = [
            (b"content-length", b"%d" % len(body)),
            (b"content-type", b"application/json"),
            (b"ninelives-event-id", self._id),
            (b"autokitteh-event-id", self._id),
        ]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _slug(path: str) -> str:
    """Return the slug that a path names; empty where it is no webhook's."""
    return path[len(_BELOW) :].partition("/")[0] if path.startswith(_BELOW) else ""


def _read(request: Request, slug: str, body: bytes) -> WebhookRequest:
    scope = request.scope
    path: str = scope["path"]
    query: bytes = scope["query_string"]
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    return WebhookRequest(
        slug=slug,
        path_suffix=path[len(_BELOW) + len(slug) + 1 :],
        method=scope["method"],
        raw_url=_address(scope, query, headers),
        path=path,
        query=parse_qsl(query.decode("latin-1"), keep_blank_values=True) if query else (),
        headers=headers,
        body=body,
        remote_addr=request.client.host if request.client else "",
    )


def _address(scope: Scope, query: bytes, headers: Sequence[tuple[str, str]]) -> str:
    """Return the URL of a request as it was asked for: what its sender quoted stays quoted.

    Some senders sign it, and project code can tell `a%2Fb` from `a/b` by nothing else.
    """
    host = next((value for name, value in headers if name == "host"), "")
    if not _PLAIN_HOST.fullmatch(host):
        # Starlette knows what else is a host, and what stands for one that is not given.
        host = URL(scope={**scope, "path": "/", "query_string": b""}).netloc
    path: bytes = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    return f"{scope['scheme']}://{host}{(path + b'?' + query if query else path).decode('latin-1')}"


def _response(reply: Reply, event_id: str) -> Response:
    ours = {
        "Ninelives-Event-ID": event_id,
        "AutoKitteh-Event-ID": event_id,
        "Content-Security-Policy": "sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    every = {"Cache-Control": "no-cache", **reply.headers, **ours}
    if reply.rest is None:
        return Response(reply.body, status_code=reply.status, headers=every)

    async def parts() -> AsyncIterator[bytes]:
        yield reply.body
        assert reply.rest is not None
        async for part in reply.rest:
            yield part

    return StreamingResponse(parts(), status_code=reply.status, headers=every)
