"""Who calls the API: a Bearer token, or the login cookie of a page that asks on its own origin."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from ninelives_server.errors import Forbidden, Unauthenticated
from ninelives_server.model.actors import Actor
from ninelives_server.services import Services

#: Name of the login cookie; `web` sets it.
COOKIE = "ninelives_session"
#: Where a request's state has the digest of its `Idempotency-Key` and caller, from `api.idempotency`.
KEY = "idempotency_key"


def services_of(request: Request) -> Services:
    """Return the services of the application."""
    services: Services = request.app.state.services
    return services


def bearer_of(header: str | None) -> str | None:
    """Return the token of an `Authorization: Bearer …` header (RFC 6750, section 2.1)."""
    scheme, _, token = (header or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


async def actor_of(request: Request) -> Actor:
    """Return who calls.

    Raises:
        Unauthenticated: There is no credential, or it is not valid.
        Forbidden: A cookie came with a request that another site made, or a worker's token was used.
    """
    services = services_of(request)
    if token := bearer_of(request.headers.get("authorization")):
        actor = await services.access.authenticate(token)
        if "worker" in actor.scopes:
            raise Forbidden(
                "a worker's token is for the worker link only; make one with `ninelives token create NAME`"
            )
        return actor
    if not _is_own_page(request, services):
        raise Forbidden("a login cookie is good for requests of this server's own pages only")
    actor_or_none = await services.access.browser(request.cookies.get(COOKIE))
    if actor_or_none is None:
        raise Unauthenticated("no valid token; set NINELIVES_TOKEN or send 'Authorization: Bearer …'")
    return actor_or_none


def _is_own_page(request: Request, services: Services) -> bool:
    """Say whether a page of ours asks.

    Browsers say so in `Sec-Fetch-Site`, though only to https and localhost; to other addresses in `Origin`,
    with everything that may change something (Fetch, section 3.2).
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = request.headers.get("origin")
    if origin is None:
        return True
    ours = {urlsplit(url).netloc for url in (services.settings.public_url, services.settings.web_url) if url}
    return urlsplit(origin.lower()).netloc in {request.headers.get("host", "").lower(), *ours}


async def _services(request: Request) -> Services:
    # FastAPI calls a function that is not `async` in a thread, which takes longer than all this does.
    return services_of(request)


async def _key(request: Request) -> str | None:
    key: str | None = getattr(request.state, KEY, None)
    return key


TheServices = Annotated[Services, Depends(_services)]
#: For what is to be done once even where the server dies before its answer is kept; `None` where none came.
TheKey = Annotated[str | None, Depends(_key)]
TheActor = Annotated[Actor, Depends(actor_of)]
