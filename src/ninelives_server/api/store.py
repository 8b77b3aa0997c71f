"""The address of published values: `/store/{project}/{key}`, open to everybody."""

from email.utils import format_datetime

from fastapi import APIRouter
from fastapi.responses import Response

from ninelives_server.api.auth import TheServices

router = APIRouter(tags=["store"])


@router.api_route("/store/{project_id}/{key:path}", methods=["GET", "HEAD"], include_in_schema=False)
async def published(project_id: str, key: str, services: TheServices) -> Response:
    """Answer a published value as JSON; no script runs on it, whatever it holds."""
    found = await services.published.read(project_id, key)
    headers = {
        "Cache-Control": "no-cache",
        "Last-Modified": format_datetime(found.updated_at, usegmt=True),
        "Content-Security-Policy": "sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(found.document, media_type="application/json", headers=headers)
