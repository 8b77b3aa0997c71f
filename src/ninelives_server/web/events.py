"""Pages of events: what came in, what it held, and what became of it."""

from typing import Annotated, Any

from fastapi import APIRouter, Form
from starlette.responses import Response

from ninelives_server.model.projects import Project
from ninelives_server.web import live
from ninelives_server.web.guards import Member, PageRoute
from ninelives_server.web.pages import View
from ninelives_server.web.projects import testing

router = APIRouter(route_class=PageRoute, include_in_schema=False)


async def _listing(view: View, project: Project, cursor: str | None) -> dict[str, Any]:
    services, actor = view.services, view.actor
    page = await services.events.list(actor, project.id, cursor=cursor, limit=50)
    here = ("projects", project.name, "events")
    return {
        "project": project,
        "page": page,
        "connections": {c.id: c.name for c in await services.connections.list(actor, project.id)},
        "trigger_names": {t.id: t.name for t in await services.projects.triggers(actor, project.id)},
        "next_href": view.at.url(*here, cursor=page.next_cursor) if page.next_cursor else "",
        "live_href": view.at.url(*here, "live", cursor=cursor),
    }


@router.get("/projects/{ref}/events")
async def events(view: Member, ref: str, cursor: str | None = None) -> Response:
    """List a project's events, newest first."""
    project = await view.services.projects.get(view.actor, ref)
    return view.page("events.html", **await _listing(view, project, cursor))


@router.get("/projects/{ref}/events/live")
async def events_live(view: Member, ref: str, cursor: str | None = None) -> Response:
    """Keep the list true while it is looked at."""
    project = await view.services.projects.get(view.actor, ref)

    async def render() -> live.Part:
        return live.Part(view.fragment("_events.html", await _listing(view, project, cursor)))

    return live.stream(view, [("event", None)], render)


async def _context(view: View, event_id: str) -> dict[str, Any]:
    services, actor = view.services, view.actor
    detail = await services.events.get(actor, event_id)
    event = detail.event
    project = await services.projects.get(actor, event.project_id)
    return {
        "event": event,
        "data": detail.data,
        "project": project,
        "connections": {c.id: c.name for c in await services.connections.list(actor, project.id)},
        "trigger_names": {t.id: t.name for t in await services.projects.triggers(actor, project.id)},
        "testing": await testing(view, project.id),
    }


@router.get("/events/{event_id}")
async def event(view: Member, event_id: str) -> Response:
    """Show an event with its data and what each trigger made of it."""
    return view.page("event.html", **await _context(view, event_id))


@router.get("/events/{event_id}/live")
async def event_live(view: Member, event_id: str) -> Response:
    """Show what becomes of an event as soon as it is known."""

    async def render() -> live.Part:
        context = await _context(view, event_id)
        is_over = context["event"].dispatched_at is not None
        return live.Part(view.fragment("_event.html", context), is_over=is_over)

    return live.stream(view, [("event", event_id)], render)


@router.post("/events/{event_id}/redispatch")
async def redispatch(view: Member, event_id: str, deployment_id: Annotated[str, Form()] = "") -> Response:
    """Dispatch a copy of an event again, and show it."""
    copy = await view.services.events.redispatch(view.actor, event_id, deployment_id=deployment_id or None)
    return view.go(view.at.url("events", copy.id), message="This is the copy that was dispatched again")
