"""Login links, tokens, users and the audit log over HTTP."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from ninelives_server.api import bodies, documents
from ninelives_server.api.auth import TheActor, TheServices
from ninelives_server.model.actors import Role

router = APIRouter(prefix="/api/v1", tags=["access"])


class WhoAmI(BaseModel):
    """Who the token belongs to."""

    id: str
    name: str
    org_id: str
    role: Role
    scopes: list[str]


class LinkFor(bodies.Body):
    """Whom a login link is for; null is yourself."""

    user: str | None = None


class LoginLink(BaseModel):
    """A link good for one login within ten minutes."""

    url: str = Field(repr=False)


class NewToken(bodies.Body):
    """A token to be made."""

    name: str
    scopes: list[str] = Field(default_factory=lambda: ["all"])
    expires_at: datetime | None = None


class TokenDoc(documents.Document):
    """A token, without its secret."""

    id: str
    name: str
    kind: str
    scopes: list[str]
    expires_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime
    created_by: str


class MadeToken(BaseModel):
    """A new token; `token` is shown this once."""

    id: str
    token: str = Field(repr=False)


class NewUser(bodies.Body):
    """A user to be made in your org."""

    name: str
    role: Role = Role.MEMBER


class UserDoc(documents.Document):
    """A user."""

    id: str
    name: str


class AuditDoc(documents.Document):
    """One line of the audit log."""

    id: str
    at: datetime
    actor: str
    action: str
    target: str
    project_id: str | None
    details: dict[str, Any]


@router.get("/whoami")
async def whoami(actor: TheActor) -> WhoAmI:
    """Tell who you are."""
    return WhoAmI(
        id=actor.id,
        name=actor.user_name,
        org_id=actor.org_id,
        role=actor.role,
        scopes=sorted(actor.scopes),
    )


@router.post("/login-links", status_code=201)
async def make_login_link(link: LinkFor, services: TheServices, actor: TheActor) -> LoginLink:
    """Make a one-time link with which a person logs in to the pages."""
    secret = await services.access.login_link(actor, link.user)
    return LoginLink(url=f"{services.settings.pages_url}/login?token={secret}")


@router.get("/tokens")
async def list_tokens(services: TheServices, actor: TheActor) -> documents.Page[TokenDoc]:
    """List your org's tokens."""
    return documents.Page(items=documents.many(TokenDoc, await services.access.list_tokens(actor)))


@router.post("/tokens", status_code=201)
async def create_token(new: NewToken, services: TheServices, actor: TheActor) -> MadeToken:
    """Make a token; this answer is the only place that shows it."""
    if new.scopes == ["worker"]:
        token_id, secret = await services.access.worker_token(actor, new.name)
    else:
        token_id, secret = await services.access.create_token(
            actor, new.name, scopes=new.scopes, expires_at=new.expires_at
        )
    return MadeToken(id=token_id, token=secret)


@router.delete("/tokens/{token_id}", status_code=204)
async def revoke_token(token_id: str, services: TheServices, actor: TheActor) -> None:
    """Make a token useless at once."""
    await services.access.revoke_token(actor, token_id)


@router.post("/users", status_code=201)
async def create_user(new: NewUser, services: TheServices, actor: TheActor) -> UserDoc:
    """Make a user in your org."""
    return UserDoc.model_validate(await services.access.create_user(actor, new.name, new.role))


@router.get("/audit")
async def list_audit(
    services: TheServices,
    actor: TheActor,
    project: Annotated[str | None, Query()] = None,
    cursor: Annotated[str | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> documents.Page[AuditDoc]:
    """List who changed or used what, newest first."""
    page = await services.audit.list(actor, project_ref=project, cursor=cursor, limit=limit)
    return documents.Page(items=documents.many(AuditDoc, page.items), next_cursor=page.next_cursor)
