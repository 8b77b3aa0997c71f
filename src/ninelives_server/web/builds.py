"""The page of a build: what it holds, what it needs, and how its environment was made, as it is made."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from ninelives_server.web import live
from ninelives_server.web.guards import Member, PageRoute
from ninelives_server.web.pages import View

router = APIRouter(route_class=PageRoute, include_in_schema=False)


async def _context(view: View, build_id: str) -> dict[str, Any]:
    projects = view.services.projects
    build = await projects.build(view.actor, build_id)
    return {
        "build": build,
        "project": await projects.get(view.actor, build.project_id),
        "logs": await projects.environment_logs(view.actor, build_id),
    }


@router.get("/builds/{build_id}")
async def build(view: Member, build_id: str) -> Response:
    """Show a build."""
    return view.page("build.html", **await _context(view, build_id))


@router.get("/builds/{build_id}/live")
async def build_live(view: Member, build_id: str) -> Response:
    """Keep a build's page true while it is looked at."""
    await view.services.projects.build(view.actor, build_id)

    async def render() -> live.Part:
        return live.Part(view.fragment("_build.html", await _context(view, build_id)))

    return live.stream(view, [("build", build_id)], render)
