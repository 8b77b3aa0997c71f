"""The address that other systems call: `/webhooks/{slug}`, any method, any suffix."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ninelives_server.api import bodies, problems
from ninelives_server.errors import Unauthenticated
from ninelives_server.events.replies import PATIENCE, Reply
from ninelives_server.events.webhooks import WebhookRequest
from ninelives_server.services import Services

router = APIRouter(tags=["webhooks"])


async def receive(request: Request) -> Response:
    """Store the request as an event; answer 202 once it is committed, or with what its session says."""
    services: Services = request.app.state.services
    began = asyncio.get_running_loop().time()
    body = await bodies.limited(request, services.webhooks.body_limit, "a webhook's body")
    try:
        receipt = await services.webhooks.accept(_read(request, body))
    except Unauthenticated as refused:
        answer = problems.problem(401, refused.code, str(refused), request=request)
        # What a browser or client is to ask for depends on the trigger; it is never our own token.
        answer.headers["WWW-Authenticate"] = 'Basic realm="webhook"'
        return answer
    headers = {
        "Ninelives-Event-ID": receipt.event_id,
        "AutoKitteh-Event-ID": receipt.event_id,
        "Content-Security-Policy": "sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    if not receipt.is_sync:
        return JSONResponse({"event_id": receipt.event_id}, status_code=202, headers=headers)
    # What receiving took counts: the sender's patience began with its request.
    left = max(PATIENCE - (asyncio.get_running_loop().time() - began), 0.0)
    return _response(await services.replies.wait(receipt.event_id, seconds=left), headers)


def _read(request: Request, body: bytes) -> WebhookRequest:
    return WebhookRequest(
        slug=request.path_params["slug"],
        path_suffix=request.path_params.get("suffix", ""),
        method=request.method,
        raw_url=str(request.url),
        path=request.url.path,
        query=request.query_params.multi_items(),
        headers=[(name, value) for name, value in request.headers.items()],
        body=body,
        remote_addr=request.client.host if request.client else "",
    )


def _response(reply: Reply, headers: dict[str, str]) -> Response:
    every = {"Cache-Control": "no-cache", **reply.headers, **headers}
    if reply.rest is None:
        return Response(reply.body, status_code=reply.status, headers=every)

    async def parts() -> AsyncIterator[bytes]:
        yield reply.body
        assert reply.rest is not None
        async for part in reply.rest:
            yield part

    return StreamingResponse(parts(), status_code=reply.status, headers=every)


class _AnyMethod:
    """An application instead of a function: a route to it takes any method, `PROPFIND` too."""

    async def __call__(self, scope: Scope, receive_: Receive, send: Send) -> None:
        response = await receive(Request(scope, receive_, send))
        await response(scope, receive_, send)


router.routes += [
    Route("/webhooks/{slug}", _AnyMethod()),
    Route("/webhooks/{slug}/{suffix:path}", _AnyMethod()),
]
