"""Pages of triggers: what starts sessions, and whether it listens."""

from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Form
from starlette.responses import Response

from ninelives_server.errors import Invalid
from ninelives_server.model.projects import Project
from ninelives_server.model.triggers import Overlap, Trigger
from ninelives_server.projects.trigger_limits import TriggerLimits
from ninelives_server.settings import Settings
from ninelives_server.web import live
from ninelives_server.web.guards import Member, PageRoute
from ninelives_server.web.pages import View

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_CHANNELS = [("trigger", None), ("stream", None), ("connection", None), ("deployment", None)]
_HERE_ONLY = {"localhost", "127.0.0.1", "::1"}


def webhook_warning(settings: Settings) -> str:
    """Return why nobody outside may reach a webhook of this server; empty where that is not known."""
    host = urlsplit(settings.base_url).hostname or ""
    if host not in _HERE_ONLY:
        return ""
    return (
        "this address reaches this machine only; start the server with `--public-url` where other systems "
        "are to call it"
    )


async def _context(view: View, project: Project) -> dict[str, Any]:
    services, actor = view.services, view.actor
    found = await services.projects.triggers(actor, project.id)
    return {
        "project": project,
        "triggers": found,
        "statuses": {trigger.id: await services.events.trigger_status(actor, trigger) for trigger in found},
        "connections": {c.id: c for c in await services.connections.list(actor, project.id)},
        "webhook_warning": webhook_warning(view.settings),
    }


@router.get("/projects/{ref}/triggers")
async def triggers(view: Member, ref: str) -> Response:
    """List a project's triggers and how they fare."""
    project = await view.services.projects.get(view.actor, ref)
    return view.page("triggers.html", **await _context(view, project))


@router.get("/projects/{ref}/triggers/live")
async def triggers_live(view: Member, ref: str) -> Response:
    """Keep the list true while it is looked at."""
    project = await view.services.projects.get(view.actor, ref)

    async def render() -> live.Part:
        return live.Part(view.fragment("_triggers.html", await _context(view, project)))

    return live.stream(view, _CHANNELS, render)


async def _limits_page(
    view: View, trigger: Trigger, sent: dict[str, Any], problems: dict[str, str] | None = None
) -> Response:
    return view.page(
        "trigger_limits.html",
        status=422 if problems else 200,
        project=await view.services.projects.get(view.actor, trigger.project_id),
        trigger=trigger,
        sent=sent,
        problems=problems or {},
    )


@router.get("/triggers/{trigger_id}/limits")
async def limits_page(view: Member, trigger_id: str) -> Response:
    """Show a trigger's limits, to be changed."""
    found = await view.services.projects.trigger(view.actor, trigger_id)
    limit = found.options.get("max_concurrent", 0)
    return await _limits_page(
        view, found, {"max_concurrent": limit, "key": found.key, "overlap": str(found.overlap)}
    )


@router.post("/triggers/{trigger_id}/limits")
async def set_limits(
    view: Member,
    trigger_id: str,
    max_concurrent: Annotated[int, Form()],
    key: Annotated[str, Form()] = "",
    overlap: Annotated[Overlap, Form()] = Overlap.ALLOW,
) -> Response:
    """Change a trigger's limits."""
    projects = view.services.projects
    wanted = TriggerLimits(max_concurrent=max_concurrent, key=key, overlap=overlap)
    try:
        changed = await projects.limit_trigger(view.actor, trigger_id, wanted)
    except Invalid as error:
        sent = {"max_concurrent": max_concurrent, "key": key, "overlap": str(overlap)}
        found = await projects.trigger(view.actor, trigger_id)
        return await _limits_page(view, found, sent, dict(error.fields))
    project = await projects.get(view.actor, changed.project_id)
    message = f"The limits of {changed.name} are saved"
    return view.go(view.at.url("projects", project.name, "triggers"), message=message)
