"""Connections over HTTP. No answer ever holds a secret."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from ninelives_server.api import bodies, documents
from ninelives_server.api.auth import TheActor, TheServices

router = APIRouter(prefix="/api/v1", tags=["connections"])


class NewConnection(bodies.Body):
    """A connection to be made; `settings` and `secrets` by field name of the auth mode."""

    project: str
    name: str
    integration: str
    auth_mode: str | None = None
    settings: dict[str, str] = Field(default_factory=dict)
    secrets: dict[str, str] = Field(default_factory=dict, repr=False)


class ConnectionEdit(bodies.Body):
    """Changes; a secret that is blank or left out is kept.

    So is the auth mode, but for a connection that was never set up, which takes the one that is given.
    """

    name: str | None = None
    auth_mode: str | None = None
    settings: dict[str, str] = Field(default_factory=dict)
    secrets: dict[str, str] = Field(default_factory=dict, repr=False)


class TestDoc(documents.Document):
    """What a test of a connection found."""

    ok: bool
    message: str
    next_steps: list[str] = Field(default_factory=list)


class CheckDoc(documents.Document):
    """One check of the doctor."""

    name: str
    status: str
    message: str
    next_step: str = ""


class RevokeDoc(documents.Document):
    """What became of the grant at the provider."""

    revoked: bool
    message: str


class StartDoc(documents.Document):
    """Where a browser begins to authorise, and the short code that it may ask for."""

    url: str
    code: str
    expires_at: datetime
    flow_id: str


class FlowDoc(documents.Document):
    """How an authorisation fares; `outcome` is safe to show."""

    status: str
    outcome: dict[str, Any] | None = None


@router.get("/connections")
async def list_connections(
    services: TheServices,
    actor: TheActor,
    project: Annotated[str | None, Query()] = None,
    name: Annotated[str | None, Query()] = None,
) -> documents.Page[documents.ConnectionDoc]:
    """List connections, of one project or of all that you may see."""
    found = await services.connections.list(actor, project)
    return documents.Page(
        items=[documents.ConnectionDoc.of(c) for c in found if name is None or c.name == name]
    )


@router.post("/connections", status_code=201)
async def create_connection(
    new: NewConnection, services: TheServices, actor: TheActor
) -> documents.ConnectionDoc:
    """Create a connection with the owner's own app; authorise it afterwards."""
    made = await services.connections.create(
        actor,
        new.project,
        new.name,
        new.integration,
        auth_mode=new.auth_mode,
        settings=new.settings,
        secrets=new.secrets,
    )
    return documents.ConnectionDoc.of(made)


@router.get("/connections/{connection_id}")
async def show_connection(
    connection_id: str, services: TheServices, actor: TheActor
) -> documents.ConnectionDoc:
    """Show a connection: its state, since when, and why."""
    return documents.ConnectionDoc.of(await services.connections.get(actor, connection_id))


@router.patch("/connections/{connection_id}")
async def edit_connection(
    connection_id: str, edit: ConnectionEdit, services: TheServices, actor: TheActor
) -> documents.ConnectionDoc:
    """Edit a connection; blank secrets are kept."""
    changed = await services.connections.edit(
        actor,
        connection_id,
        settings=edit.settings,
        secrets=edit.secrets,
        name=edit.name,
        auth_mode=edit.auth_mode,
    )
    return documents.ConnectionDoc.of(changed)


@router.delete("/connections/{connection_id}")
async def delete_connection(
    connection_id: str,
    services: TheServices,
    actor: TheActor,
    keep_grant: Annotated[bool, Query(description="do not revoke at the provider")] = False,
) -> RevokeDoc:
    """Delete a connection; its grant is revoked at the provider."""
    report = await services.connections.delete(actor, connection_id, keep_grant=keep_grant)
    return RevokeDoc.model_validate(report)


@router.post("/connections/{connection_id}/test")
async def test_connection(connection_id: str, services: TheServices, actor: TheActor) -> TestDoc:
    """Call the provider once and say whether it works."""
    return TestDoc.model_validate(await services.connections.test(actor, connection_id))


@router.get("/connections/{connection_id}/doctor")
async def doctor(connection_id: str, services: TheServices, actor: TheActor) -> documents.Page[CheckDoc]:
    """Run every check that the integration has."""
    found = await services.connections.doctor(actor, connection_id)
    return documents.Page(items=documents.many(CheckDoc, found))


@router.post("/connections/{connection_id}/refresh")
async def refresh(connection_id: str, services: TheServices, actor: TheActor) -> documents.ConnectionDoc:
    """Refresh the access token now."""
    return documents.ConnectionDoc.of(await services.connections.refresh(actor, connection_id, force=True))


@router.post("/connections/{connection_id}/revoke")
async def revoke(connection_id: str, services: TheServices, actor: TheActor) -> RevokeDoc:
    """Disconnect: revoke the grant at the provider and forget the tokens; the app's settings stay."""
    return RevokeDoc.model_validate(await services.connections.disconnect(actor, connection_id))


@router.post("/connections/{connection_id}/authorise")
async def authorise(connection_id: str, services: TheServices, actor: TheActor) -> StartDoc:
    """Begin an authorisation: open `url` in a browser within ten minutes."""
    return StartDoc.model_validate(await services.connections.begin(actor, connection_id))


@router.get("/flows/{flow_id}")
async def show_flow(flow_id: str, services: TheServices, actor: TheActor) -> FlowDoc:
    """Tell how an authorisation fares."""
    return FlowDoc.model_validate(await services.connections.flow_status(actor, flow_id))


@router.get("/integrations")
async def list_integrations(services: TheServices, actor: TheActor) -> documents.Page[dict[str, Any]]:
    """List the integrations with their auth modes and fields."""
    _ = actor
    return documents.Page(
        items=[
            {
                "name": integration.name,
                "aliases": list(integration.aliases),
                "title": integration.title,
                "docs_url": integration.docs_url,
                "callback_url": services.connections.callback_url(integration.name),
                "callback_warning": services.connections.callback_warning(),
                "auth_modes": [
                    {
                        "name": mode.name,
                        "title": mode.title,
                        "uses_oauth": mode.uses_oauth,
                        "fields": [
                            {
                                "name": field.name,
                                "label": field.label,
                                "help": field.help,
                                "kind": field.kind,
                                "required": field.required,
                            }
                            for field in mode.fields
                        ],
                    }
                    for mode in integration.auth_modes
                ],
            }
            for integration in services.registry.all()
        ]
    )
