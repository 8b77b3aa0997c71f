"""Pages about the server itself: addresses, callbacks, tokens, users; and the audit log."""

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.responses import HTMLResponse, Response

from ninelives_server.errors import Conflict, Invalid
from ninelives_server.model.actors import Role
from ninelives_server.web import triggers
from ninelives_server.web.guards import Member, PageRoute
from ninelives_server.web.pages import View

router = APIRouter(route_class=PageRoute, include_in_schema=False)


async def _settings(view: View, *, made: str = "", problem: str = "") -> HTMLResponse:
    services = view.services
    callbacks = [
        (integration.title, services.connections.callback_url(integration.name))
        for integration in services.registry.all()
    ]
    return view.page(
        "settings.html",
        status=422 if problem else 200,
        tokens=await services.access.list_tokens(view.actor),
        callbacks=callbacks,
        callback_warning=services.connections.callback_warning(),
        webhook_warning=triggers.webhook_warning(view.settings),
        is_admin=view.actor.role is Role.ADMIN,
        roles=[role.value for role in (Role.MEMBER, Role.VIEWER, Role.ADMIN)],
        workers=await services.sessions.workers(view.actor),
        made=made,
        problem=problem,
    )


@router.get("/settings")
async def settings(view: Member) -> Response:
    """Show addresses and tokens."""
    return await _settings(view)


@router.post("/settings/tokens")
async def create_token(
    view: Member, name: Annotated[str, Form()] = "", scope: Annotated[str, Form()] = "all"
) -> Response:
    """Make a token and show it, this once."""
    try:
        if scope == "worker":
            _, secret = await view.services.access.worker_token(view.actor, name)
        else:
            _, secret = await view.services.access.create_token(view.actor, name, scopes=[scope])
    except (Invalid, Conflict) as problem:
        return await _settings(view, problem=str(problem))
    return await _settings(view, made=secret)


@router.post("/settings/tokens/{token_id}/revoke")
async def revoke_token(view: Member, token_id: str) -> Response:
    """Make a token useless at once."""
    await view.services.access.revoke_token(view.actor, token_id)
    return view.go(view.at.url("settings"), message="The token is revoked")


@router.post("/settings/users")
async def create_user(
    view: Member, name: Annotated[str, Form()] = "", role: Annotated[Role, Form()] = Role.MEMBER
) -> Response:
    """Make a user; they log in with a link that the CLI makes."""
    try:
        user = await view.services.access.create_user(view.actor, name, role)
    except (Invalid, Conflict) as problem:
        return await _settings(view, problem=str(problem))
    message = f"User {user.name} is made; `ninelives login --web {user.name}` makes a login link"
    return view.go(view.at.url("settings"), message=message)


@router.get("/audit")
async def audit(view: Member, project: str = "", cursor: str | None = None) -> Response:
    """Show who changed or used what, newest first."""
    page = await view.services.audit.list(view.actor, project_ref=project or None, cursor=cursor, limit=100)
    projects = await view.services.projects.list(view.actor)
    return view.page("audit.html", page=page, projects=projects, project_ref=project)
