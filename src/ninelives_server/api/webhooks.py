"""The address that other systems call: `/webhooks/{slug}`, any method, any suffix."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from ninelives_server.api import bodies
from ninelives_server.api.auth import TheServices
from ninelives_server.events.webhooks import WebhookRequest

router = APIRouter(tags=["webhooks"])

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
#: A larger body is refused with 413. bytes
BODY_LIMIT = 512 * 1024


@router.api_route("/webhooks/{slug}", methods=_METHODS, include_in_schema=False)
@router.api_route("/webhooks/{slug}/{suffix:path}", methods=_METHODS, include_in_schema=False)
async def receive(request: Request, slug: str, services: TheServices, suffix: str = "") -> Response:
    """Store the request as an event; answer 202 once it is committed, or with what its session says."""
    body = await bodies.limited(request, BODY_LIMIT, "a webhook's body")
    receipt = await services.webhooks.accept(
        WebhookRequest(
            slug=slug,
            path_suffix=suffix,
            method=request.method,
            raw_url=str(request.url),
            path=request.url.path,
            query=request.query_params.multi_items(),
            headers=[(name, value) for name, value in request.headers.items()],
            body=body,
            remote_addr=request.client.host if request.client else "",
        )
    )
    headers = {
        "Ninelives-Event-ID": receipt.event_id,
        "AutoKitteh-Event-ID": receipt.event_id,
        "Content-Security-Policy": "sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    if not receipt.is_sync:
        return JSONResponse({"event_id": receipt.event_id}, status_code=202, headers=headers)
    reply = await services.replies.wait(receipt.event_id)
    return Response(
        reply.body,
        status_code=reply.status,
        headers={"Cache-Control": "no-cache", **reply.headers, **headers},
    )
