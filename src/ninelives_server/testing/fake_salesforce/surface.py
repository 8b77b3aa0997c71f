"""Everything that the org serves over HTTP, by path."""

from ninelives_server.testing.fake_salesforce.http import (
    Call,
    Handler,
    Reply,
    Router,
    redirect,
    text_reply,
)
from ninelives_server.testing.fake_salesforce.oauth import authorize, identity, token
from ninelives_server.testing.fake_salesforce.org import Org
from ninelives_server.testing.fake_salesforce.pages import admin, login
from ninelives_server.testing.fake_salesforce.rest import api

_OAUTH = "/services/oauth2"


def _router() -> Router[Handler]:
    router: Router[Handler] = Router()
    router.add("GET POST", f"{_OAUTH}/authorize", authorize.start)
    router.add("GET", authorize.CONSENT, authorize.consent)
    router.add("POST", authorize.CONSENT, authorize.decide)
    router.add("GET POST", f"{_OAUTH}/token", token.serve)
    router.add("GET POST", f"{_OAUTH}/revoke", identity.revoke)
    router.add("POST", f"{_OAUTH}/introspect", identity.introspect)
    router.add("GET POST", f"{_OAUTH}/userinfo", identity.userinfo)
    router.add("GET", "/.well-known/openid-configuration", identity.discovery)
    router.add("GET", "/.well-known/auth-configuration", identity.auth_configuration)
    router.add("GET", "/id/keys", identity.keys)
    router.add("GET POST", "/id/{org_id}/{user_id}", identity.identity)
    router.add("GET", "/", lambda _org, _call, _parts: redirect(login.HOME))
    router.add("GET", "/login", login.show)
    router.add("POST", "/login", login.submit)
    router.add("POST", "/secur/logout.jsp", login.log_out)
    admin.add_routes(router)
    return router


_ROUTER = _router()


def serve(org: Org, call: Call) -> Reply:
    """Answer a request; the caller holds the org's lock."""
    if call.path.rstrip("/") == "/services/data" or call.path.startswith("/services/data/"):
        return api.serve(org, call)
    found = _ROUTER.find(call.method, call.path)
    if isinstance(found, set):
        if found:
            return text_reply("Method Not Allowed", status=405)
        return text_reply("URL No Longer Exists", status=404)
    handler, parts = found
    reply = handler(org, call, parts)
    if reply.headers.get("location", "").startswith("/"):
        # Salesforce redirects to whole URLs, also inside the org.
        reply.headers["location"] = f"{call.scheme}://{call.host}{reply.headers['location']}"
    return reply
