"""Pages of connections: list, form, health, and what can be done with one."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, Response

from ninelives_server.errors import Conflict, Invalid, NinelivesError
from ninelives_server.integrations.contract import AuthMode, Check, Integration
from ninelives_server.model.connections import Connection, ConnectionState
from ninelives_server.model.projects import Project
from ninelives_server.web import forms, live
from ninelives_server.web.guards import Member, PageRoute
from ninelives_server.web.pages import View

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_TO_INITIALISE = {ConnectionState.NEW, ConnectionState.INIT_REQUIRED}


async def texts(request: Request) -> dict[str, str]:
    """Return the text fields of a form post."""
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}


async def _project_of(view: View, connection: Connection) -> Project | None:
    if connection.project_id is None:
        return None
    return await view.services.projects.get(view.actor, connection.project_id)


def _kinds(view: View) -> list[tuple[str, str]]:
    """Return what may be connected, as options of a form: what has apps of one's own first."""
    found = sorted(view.services.registry.all(), key=lambda i: (not i.auth_modes[0].uses_oauth, i.title))
    return [(integration.name, integration.title) for integration in found]


def _modes(integration: Integration, connection: Connection | None) -> list[tuple[str, str]]:
    """Return how it may be connected, as options of a form; none where there is nothing to choose."""
    is_new = connection is None or (connection.state in _TO_INITIALISE and not connection.secrets_set)
    if not is_new or len(integration.auth_modes) == 1:
        return []
    return [(mode.name, mode.title) for mode in integration.auth_modes]


def _mode_of(view: View, connection: Connection, wanted: str) -> AuthMode:
    """Return the mode of a connection's form: another one only where there is a choice."""
    integration = view.services.registry.get(connection.integration)
    offered = {name for name, _ in _modes(integration, connection)}
    return view.services.registry.mode(
        integration.name, wanted if wanted in offered else connection.auth_mode
    )


def _docs_link(view: View, integration: Integration) -> str:
    """Return the address of an integration's guide, which may be a page of ours."""
    url = integration.docs_url
    return view.at.prefix + url if url.startswith("/") else url


def _form_page(
    view: View,
    *,
    project: Project | None,
    integration: Integration,
    mode: AuthMode,
    name: str,
    connection: Connection | None = None,
    values: Mapping[str, str] | None = None,
    problem: Invalid | Conflict | None = None,
) -> HTMLResponse:
    """Show the form: new, to initialise or to edit; again with what was entered where there is a problem."""
    services = view.services
    errors = {} if problem is None else problem.fields
    fields = forms.inputs(
        mode,
        values=values,
        secrets_set=frozenset() if connection is None else connection.secrets_set,
        errors=errors,
    )
    return view.page(
        "connection_form.html",
        status=422 if problem else 200,
        project=project,
        connection=connection,
        integration=integration,
        kinds=_kinds(view),
        modes=_modes(integration, connection),
        docs_url=_docs_link(view, integration),
        mode=mode,
        name=name,
        fields=fields,
        errors=errors,
        problem="" if problem is None else str(problem),
        callback_url=services.connections.callback_url(integration.name),
        callback_warning=services.connections.callback_warning(),
        is_initialising=connection is not None and connection.state in _TO_INITIALISE,
    )


async def _authorise(view: View, connection_id: str) -> Response:
    """Begin an authorisation, and lead to its start page.

    Where that is on another host, this browser's login is not known there: it will ask for the short code, so
    a page shows the code and stays open.
    """
    back = view.at.url("connections", connection_id)
    try:
        link = await view.services.connections.begin(
            view.actor, connection_id, return_to=f"/connections/{connection_id}"
        )
    except NinelivesError as error:
        return view.go(back, tone="bad", message=str(error))
    if urlsplit(link.url).netloc == view.request.headers.get("host", "").lower():
        return view.go(link.url)
    context = await _flow_context(view, connection_id, link.flow_id)
    return view.page("authorise.html", link=link, **context)


async def _flow_context(view: View, connection_id: str, flow_id: str) -> dict[str, Any]:
    return {
        "connection": await view.services.connections.get(view.actor, connection_id),
        "flow": await view.services.connections.flow_status(view.actor, flow_id),
    }


@router.get("/connections/{connection_id}/flows/{flow_id}/live")
async def flow_live(view: Member, connection_id: str, flow_id: str) -> Response:
    """Say on the page that shows the short code how the authorisation fares."""

    async def render() -> live.Part:
        context = await _flow_context(view, connection_id, flow_id)
        flow = await view.services.connections.flow_status(view.actor, flow_id)
        return live.Part(view.fragment("_flow.html", context), is_over=flow.outcome is not None)

    return live.stream(view, [("flow", flow_id)], render)


async def _free_name(view: View, project: Project, wanted: str) -> str:
    """Return a name that the project has not used yet, for a start."""
    taken = {c.name for c in await view.services.connections.list(view.actor, project.id)}
    numbered = (f"{wanted}_{number}" for number in range(2, 1000))
    return next((name for name in (wanted, *numbered) if name not in taken), wanted)


@router.get("/projects/{ref}/connections")
async def connections(view: Member, ref: str) -> Response:
    """List a project's connections."""
    project = await view.services.projects.get(view.actor, ref)
    found = await view.services.connections.list(view.actor, project.id)
    return view.page("connections.html", project=project, connections=found)


@router.get("/projects/{ref}/connections/new")
async def new_connection(view: Member, ref: str, kind: str = "", auth_mode: str = "") -> Response:
    """Show an empty form; `kind` is an integration, of which another mode may be chosen."""
    project = await view.services.projects.get(view.actor, ref)
    registry = view.services.registry
    integration = registry.get(kind or _kinds(view)[0][0])
    is_of_kind = auth_mode in {mode.name for mode in integration.auth_modes}
    return _form_page(
        view,
        project=project,
        integration=integration,
        mode=registry.mode(integration.name, auth_mode if is_of_kind else None),
        name=await _free_name(view, project, integration.name),
    )


@router.post("/projects/{ref}/connections/new")
async def create_connection(view: Member, ref: str) -> Response:
    """Make a connection; lead to its authorisation where that was asked for."""
    project = await view.services.projects.get(view.actor, ref)
    sent = await texts(view.request)
    integration = view.services.registry.get(sent.get("integration", ""))
    mode = view.services.registry.mode(integration.name, sent.get("auth_mode"))
    settings, secrets = forms.read(mode, sent)
    name = sent.get("name", "").strip()
    try:
        made = await view.services.connections.create(
            view.actor,
            project.id,
            name,
            integration.name,
            auth_mode=mode.name,
            settings=settings,
            secrets=secrets,
        )
    except (Invalid, Conflict) as problem:
        return _form_page(
            view,
            project=project,
            integration=integration,
            mode=mode,
            name=name,
            values=settings,
            problem=problem,
        )
    if sent.get("then") == "authorise":
        return await _authorise(view, made.id)
    return view.go(view.at.url("connections", made.id), message=f"Connection {made.name} is saved")


async def _users(view: View, project: Project | None, connection: Connection) -> list[dict[str, Any]]:
    """Return the triggers that listen to a connection, each with how it fares."""
    if project is None:
        return []
    found = await view.services.projects.triggers(view.actor, project.id)
    return [
        {"trigger": trigger, "status": await view.services.events.trigger_status(view.actor, trigger)}
        for trigger in found
        if trigger.connection_id == connection.id
    ]


async def _context(view: View, connection_id: str) -> dict[str, Any]:
    connection = await view.services.connections.get(view.actor, connection_id)
    project = await _project_of(view, connection)
    integration = view.services.registry.get(connection.integration)
    mode = view.services.registry.mode(connection.integration, connection.auth_mode)
    return {
        "connection": connection,
        "integration": integration,
        "mode": mode,
        "project": project,
        "users": await _users(view, project, connection),
        "callback_url": view.services.connections.callback_url(connection.integration),
        "needs_setup": connection.state in _TO_INITIALISE,
    }


async def _show(view: View, connection_id: str, checks: Sequence[Check] | None = None) -> HTMLResponse:
    return view.page("connection.html", checks=checks, **await _context(view, connection_id))


@router.get("/connections/{connection_id}")
async def connection(view: Member, connection_id: str) -> Response:
    """Show a connection's health."""
    return await _show(view, connection_id)


@router.get("/connections/{connection_id}/live")
async def connection_live(view: Member, connection_id: str) -> Response:
    """Keep a connection's health true while it is looked at."""

    async def render() -> live.Part:
        return live.Part(view.fragment("_connection.html", await _context(view, connection_id)))

    return live.stream(view, [("connection", connection_id), ("trigger", None), ("stream", None)], render)


@router.get("/connections/{connection_id}/edit")
async def edit_form(view: Member, connection_id: str, auth_mode: str = "") -> Response:
    """Show the form with what is known; secrets are write-only."""
    found = await view.services.connections.get(view.actor, connection_id)
    return _form_page(
        view,
        project=await _project_of(view, found),
        integration=view.services.registry.get(found.integration),
        mode=_mode_of(view, found, auth_mode),
        name=found.name,
        connection=found,
        values=found.settings,
    )


@router.post("/connections/{connection_id}/edit")
async def edit(view: Member, connection_id: str) -> Response:
    """Save a connection's form; a blank secret is kept, and so is the mode of one that was set up."""
    found = await view.services.connections.get(view.actor, connection_id)
    sent = await texts(view.request)
    mode = _mode_of(view, found, sent.get("auth_mode", ""))
    settings, secrets = forms.read(mode, sent)
    name = sent.get("name", found.name).strip()
    try:
        await view.services.connections.edit(
            view.actor,
            connection_id,
            settings=settings,
            secrets=secrets,
            name=name,
            auth_mode=mode.name,
        )
    except (Invalid, Conflict) as problem:
        return _form_page(
            view,
            project=await _project_of(view, found),
            integration=view.services.registry.get(found.integration),
            mode=mode,
            name=name,
            connection=found,
            values=settings,
            problem=problem,
        )
    if sent.get("then") == "authorise":
        return await _authorise(view, connection_id)
    return view.go(view.at.url("connections", connection_id), message=f"Connection {name} is saved")


@router.post("/connections/{connection_id}/authorise")
async def authorise(view: Member, connection_id: str) -> Response:
    """Begin an authorisation."""
    await view.services.connections.get(view.actor, connection_id)
    return await _authorise(view, connection_id)


@router.post("/connections/{connection_id}/test")
async def test(view: Member, connection_id: str) -> Response:
    """Call the provider once."""
    found = await view.services.connections.test(view.actor, connection_id)
    message = ". ".join((found.message, *found.next_steps))
    back = view.at.url("connections", connection_id)
    return view.go(back, tone="good" if found.ok else "bad", message=message)


@router.post("/connections/{connection_id}/doctor")
async def doctor(view: Member, connection_id: str) -> Response:
    """Run every check of the integration and show what they found."""
    checks = await view.services.connections.doctor(view.actor, connection_id)
    return await _show(view, connection_id, checks)


@router.post("/connections/{connection_id}/refresh")
async def refresh(view: Member, connection_id: str) -> Response:
    """Refresh the access token now."""
    await view.services.connections.get(view.actor, connection_id)
    back = view.at.url("connections", connection_id)
    try:
        await view.services.connections.refresh(view.actor, connection_id, force=True)
    except NinelivesError as error:
        return view.go(back, tone="bad", message=str(error))
    return view.go(back, message="The access token was refreshed")


@router.post("/connections/{connection_id}/disconnect")
async def disconnect(view: Member, connection_id: str) -> Response:
    """Revoke the grant at the provider; the app's settings stay."""
    report = await view.services.connections.disconnect(view.actor, connection_id)
    back = view.at.url("connections", connection_id)
    return view.go(back, tone="good" if report.revoked else "warn", message=report.message)


@router.post("/connections/{connection_id}/delete")
async def delete(view: Member, connection_id: str, keep_grant: Annotated[bool, Form()] = False) -> Response:
    """Delete a connection, and say what became of its grant."""
    found = await view.services.connections.get(view.actor, connection_id)
    project = await _project_of(view, found)
    report = await view.services.connections.delete(view.actor, connection_id, keep_grant=keep_grant)
    back = view.at.url("projects", project.name, "connections") if project else view.at.url()
    is_good = report.revoked or keep_grant
    message = f"Connection {found.name} is deleted. {report.message}"
    return view.go(back, tone="good" if is_good else "warn", message=message)
