"""All pages in one router, the static files, and a page for what is not there."""

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from ninelives_server.web import (
    addresses,
    builds,
    connections,
    events,
    guards,
    guides,
    login,
    oauth,
    projects,
    sessions,
    settings_pages,
    triggers,
)

router = APIRouter(include_in_schema=False)
for module in (
    login,
    oauth,
    guides,
    projects,
    builds,
    connections,
    triggers,
    sessions,
    events,
    settings_pages,
):
    router.routes.extend(module.router.routes)  # see `api.app`

#: Programs ask below these; they get no pages.
_FOR_PROGRAMS = ("/api/", "/webhooks/", "/store/", "/.well-known/", "/static/")
_A_YEAR = 365 * 24 * 3600  # seconds


class _Static(StaticFiles):
    """Static files; their addresses change with their content, so browsers need not ask again."""

    def file_response(self, *args: object, **options: object) -> Response:
        """Answer with a file."""
        answer = super().file_response(*args, **options)  # type: ignore[arg-type]
        answer.headers["Cache-Control"] = f"public, max-age={_A_YEAR}, immutable"
        answer.headers["X-Content-Type-Options"] = "nosniff"
        return answer


def mount_static(app: FastAPI) -> None:
    """Serve the static files, and show people a page where there is nothing."""
    app.mount("/static", _Static(directory=str(addresses.STATIC)), name="static")
    nothing_here = app.router.default

    async def missing(scope: Scope, receive: Receive, send: Send) -> None:
        is_page = scope["type"] == "http" and not scope["path"].startswith(_FOR_PROGRAMS)
        if is_page and "text/html" in Request(scope).headers.get("accept", ""):
            answer = await guards.error_page(Request(scope), 404, f"nothing is at {scope['path']}")
            await answer(scope, receive, send)
            return
        await nothing_here(scope, receive, send)

    app.router.default = missing
