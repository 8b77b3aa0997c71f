"""Pages of projects: the list, the overview, variables, deployments, and running code by hand."""

import json
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form
from starlette.responses import HTMLResponse, Response

from ninelives_server.errors import Conflict, Invalid, NinelivesError
from ninelives_server.model.connections import ConnectionState
from ninelives_server.model.projects import Build, Deployment, DeploymentState, Project
from ninelives_server.model.triggers import Trigger
from ninelives_server.web import live, setup
from ninelives_server.web.guards import Member, PageRoute
from ninelives_server.web.pages import View

router = APIRouter(route_class=PageRoute, include_in_schema=False)

#: So many of the last sessions are shown as marks. sessions
RECENT = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A project in the list.

    Attributes:
        recent: Its last sessions, oldest first.
        broken: Its connections that somebody must look after.
        ailing: Its triggers whose filter, entry point or source is in error.
    """

    project: Project
    recent: list[Any]
    broken: list[Any]
    ailing: list[Trigger]


async def _cards(view: View) -> list[Card]:
    services, actor = view.services, view.actor
    good = {ConnectionState.OK, ConnectionState.DEGRADED}
    cards = []
    for project in await services.projects.list(actor):
        page = await services.sessions.list(actor, project_ref=project.id, limit=RECENT)
        connections = await services.connections.list(actor, project.id)
        broken = [connection for connection in connections if connection.state not in good]
        ailing = [
            trigger for trigger in await services.projects.triggers(actor, project.id) if trigger.last_error
        ]
        cards.append(Card(project=project, recent=list(reversed(page.items)), broken=broken, ailing=ailing))
    return cards


async def _projects(view: View, *, name: str = "", problem: str = "") -> HTMLResponse:
    return view.page(
        "projects.html", status=422 if problem else 200, cards=await _cards(view), name=name, problem=problem
    )


@router.get("/")
async def projects(view: Member) -> Response:
    """List the projects."""
    return await _projects(view)


@router.get("/live/projects")
async def projects_live(view: Member) -> Response:
    """Keep the list true while it is looked at."""

    async def render() -> live.Part:
        return live.Part(view.fragment("_projects.html", {"cards": await _cards(view)}))

    channels = [(name, None) for name in ("project", "session", "connection", "trigger")]
    return live.stream(view, channels, render)


@router.get("/projects")
async def projects_by_path(view: Member) -> Response:
    """Lead those who shorten a project's address to the list."""
    return view.go(view.at.url())


@router.post("/projects")
async def create_project(view: Member, name: Annotated[str, Form()] = "") -> Response:
    """Make a project by hand."""
    try:
        project = await view.services.projects.create(view.actor, name.strip())
    except (Invalid, Conflict) as problem:
        return await _projects(view, name=name, problem=str(problem))
    return view.go(view.at.url("projects", project.name), message=f"Project {project.name} is made")


async def _overview(view: View, ref: str) -> dict[str, Any]:
    services, actor = view.services, view.actor
    project = await services.projects.get(actor, ref)
    connections = await services.connections.list(actor, project.id)
    triggers = await services.projects.triggers(actor, project.id)
    deployments = await services.projects.deployments(actor, project.id)
    variables = await services.projects.variables(actor, project.id)
    sessions = await services.sessions.list(actor, project_ref=project.id, limit=RECENT)
    statuses = {trigger.id: await services.events.trigger_status(actor, trigger) for trigger in triggers}
    return {
        "project": project,
        "connections": connections,
        "triggers": triggers,
        "statuses": statuses,
        "active": next((d for d in deployments if d.state is DeploymentState.ACTIVE), None),
        "sessions": sessions.items,
        "now": await view.now(),
        "trigger_names": {trigger.id: trigger.name for trigger in triggers},
        "steps": setup.steps(connections, triggers, statuses, deployments, variables, sessions.items),
    }


@router.get("/projects/{ref}")
async def project(view: Member, ref: str) -> Response:
    """Show a project at a glance, and what is still to do."""
    return view.page("project.html", **await _overview(view, ref))


@router.get("/projects/{ref}/live")
async def project_live(view: Member, ref: str) -> Response:
    """Keep the overview true while it is looked at."""

    async def render() -> live.Part:
        return live.Part(view.fragment("_overview.html", await _overview(view, ref)))

    channels = [(name, None) for name in ("connection", "trigger", "deployment", "session", "stream")]
    return live.stream(view, channels, render)


@router.post("/projects/{ref}/retention")
async def set_retention(
    view: Member,
    ref: str,
    sessions: Annotated[int, Form()],
    events: Annotated[int, Form()],
    logs: Annotated[int, Form()],
) -> Response:
    """Say for how many days things are kept."""
    changed = await view.services.projects.set_retention(
        view.actor, ref, sessions=sessions, events=events, logs=logs
    )
    return view.go(view.at.url("projects", changed.name), message="Retention is saved")


@router.post("/projects/{ref}/concurrency")
async def set_concurrency(view: Member, ref: str, max_concurrent: Annotated[int, Form()]) -> Response:
    """Say how many sessions may be open at once."""
    changed = await view.services.projects.set_max_concurrent(view.actor, ref, max_concurrent)
    return view.go(view.at.url("projects", changed.name), message="The limit is saved")


@router.post("/projects/{ref}/delete")
async def delete_project(view: Member, ref: str) -> Response:
    """Delete a project with everything in it."""
    found = await view.services.projects.get(view.actor, ref)
    await view.services.projects.delete(view.actor, found.id)
    return view.go(view.at.url(), message=f"Project {found.name} is deleted, and its data key with it")


@router.get("/projects/{ref}/variables")
async def variables(view: Member, ref: str) -> Response:
    """List a project's variables; values of secrets are never shown."""
    found = await view.services.projects.get(view.actor, ref)
    items = await view.services.projects.variables(view.actor, found.id)
    return view.page("variables.html", project=found, variables=items)


@router.post("/projects/{ref}/variables")
async def set_variable(
    view: Member,
    ref: str,
    name: Annotated[str, Form()] = "",
    value: Annotated[str, Form()] = "",
    description: Annotated[str, Form()] = "",
    is_secret: Annotated[bool, Form()] = False,
) -> Response:
    """Set a variable."""
    back = view.at.url("projects", ref, "variables")
    try:
        await view.services.projects.set_variable(
            view.actor, ref, name.strip(), value, is_secret=is_secret, description=description.strip()
        )
    except (Invalid, Conflict) as problem:
        return view.go(back, tone="bad", message=str(problem))
    return view.go(back, message=f"Variable {name.strip()} is set; sessions that start from now on see it")


@router.post("/projects/{ref}/variables/{name}/delete")
async def delete_variable(view: Member, ref: str, name: str) -> Response:
    """Delete a variable."""
    await view.services.projects.delete_variable(view.actor, ref, name)
    return view.go(view.at.url("projects", ref, "variables"), message=f"Variable {name} is deleted")


@router.get("/projects/{ref}/deployments")
async def deployments(view: Member, ref: str) -> Response:
    """List a project's deployments with their builds."""
    found = await view.services.projects.get(view.actor, ref)
    items = await view.services.projects.deployments(view.actor, found.id)
    builds = {build.id: build for build in await view.services.projects.builds(view.actor, found.id)}
    return view.page("deployments.html", project=found, deployments=items, builds=builds)


async def _deployment_done(view: View, project_id: str, message: str) -> Response:
    found = await view.services.projects.get(view.actor, project_id)
    return view.go(view.at.url("projects", found.name, "deployments"), message=message)


@router.post("/deployments/{deployment_id}/activate")
async def activate(view: Member, deployment_id: str) -> Response:
    """Give new sessions to this deployment; the one before drains."""
    changed = await view.services.projects.activate(view.actor, deployment_id)
    return await _deployment_done(view, changed.project_id, "The deployment is active")


@router.post("/deployments/{deployment_id}/test")
async def test(view: Member, deployment_id: str) -> Response:
    """Let a deployment take the sessions and events that name it."""
    changed = await view.services.projects.test(view.actor, deployment_id)
    message = "The deployment is testing: sessions and events that name it run on it"
    return await _deployment_done(view, changed.project_id, message)


@router.post("/deployments/{deployment_id}/deactivate")
async def deactivate(view: Member, deployment_id: str) -> Response:
    """Give no new sessions to this deployment."""
    changed = await view.services.projects.deactivate(view.actor, deployment_id)
    return await _deployment_done(view, changed.project_id, f"The deployment is {changed.state}")


@router.post("/deployments/{deployment_id}/delete")
async def delete_deployment(view: Member, deployment_id: str, project_id: Annotated[str, Form()]) -> Response:
    """Delete a deployment that is inactive."""
    await view.services.projects.delete_deployment(view.actor, deployment_id)
    return await _deployment_done(view, project_id, "The deployment is deleted")


async def testing(view: View, project_id: str) -> list[Deployment]:
    """Return the deployments that take only what names them."""
    items = await view.services.projects.deployments(view.actor, project_id)
    return [item for item in items if item.state is DeploymentState.TESTING]


async def _active_build(view: View, found: Project) -> Build | None:
    items = await view.services.projects.deployments(view.actor, found.id)
    active = next((item for item in items if item.state is DeploymentState.ACTIVE), None)
    return None if active is None else await view.services.projects.build(view.actor, active.build_id)


async def _run_page(view: View, ref: str, *, sent: dict[str, Any], problem: str = "") -> HTMLResponse:
    found = await view.services.projects.get(view.actor, ref)
    return view.page(
        "run.html",
        status=422 if problem else 200,
        project=found,
        build=await _active_build(view, found),
        testing=await testing(view, found.id),
        sent=sent,
        problem=problem,
    )


@router.get("/projects/{ref}/run")
async def run_page(view: Member, ref: str, entrypoint: str = "") -> Response:
    """Show what can be run."""
    sent = {"entrypoint": entrypoint, "inputs": "{}", "is_durable": True}
    return await _run_page(view, ref, sent=sent)


def _inputs(text: str) -> dict[str, Any]:
    """Read the inputs of a run.

    Raises:
        Invalid: They are no JSON object.
    """
    try:
        value = json.loads(text or "{}")
    except ValueError as error:
        raise Invalid(f"the inputs are no JSON: {error}") from None
    if not isinstance(value, dict):
        raise Invalid('the inputs must be a JSON object, such as {"name": "Ada"}')
    return value


@router.post("/projects/{ref}/run")
async def run(
    view: Member,
    ref: str,
    entrypoint: Annotated[str, Form()] = "",
    inputs: Annotated[str, Form()] = "{}",
    is_durable: Annotated[bool, Form()] = False,
    deployment_id: Annotated[str, Form()] = "",
) -> Response:
    """Start a session without an event, and show it."""
    try:
        session = await view.services.events.start_session(
            view.actor,
            ref,
            entrypoint.strip(),
            _inputs(inputs),
            is_durable=is_durable,
            deployment_id=deployment_id or None,
        )
    except NinelivesError as problem:
        sent = {"entrypoint": entrypoint, "inputs": inputs, "is_durable": is_durable}
        return await _run_page(view, ref, sent=sent, problem=str(problem))
    return view.go(view.at.url("sessions", session.id))
