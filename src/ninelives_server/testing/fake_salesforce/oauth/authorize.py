"""`/services/oauth2/authorize`: checks the request, then login page, consent page, and back with a code.

Whatever is wrong before the app and its callback are known stays on Salesforce's own page, in the bare form
that Salesforce shows; nothing of it reaches the callback.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from ninelives_server.testing.fake_salesforce.apps import SCOPES, App
from ninelives_server.testing.fake_salesforce.behaviour import pair
from ninelives_server.testing.fake_salesforce.http import Call, Reply, redirect, text_reply, with_query
from ninelives_server.testing.fake_salesforce.org import Org
from ninelives_server.testing.fake_salesforce.pages import login, render

CONSENT = "/setup/secur/RemoteAccessAuthorizationPage.apexp"
_BLOCKED = "OAUTH_APP_BLOCKED|this app is blocked by admin"
_DENIED = "access_denied|end-user denied authorization"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A checked authorize request that waits for its user."""

    client_id: str
    redirect_uri: str
    state: str | None
    scopes: tuple[str, ...]
    challenge: str | None
    nonce: str | None
    ask_again: bool


class _Bare(Exception):
    """An error that only Salesforce's own page shows."""

    def __init__(self, error: str, description: str, *, typed: bool = True) -> None:
        super().__init__(error)
        self.error, self.description, self.typed = error, description, typed


class _Redirected(Exception):
    """An error that goes to the callback."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(error)
        self.error, self.description = error, description


def start(org: Org, call: Call, _parts: Mapping[str, str]) -> Reply:
    """Take an authorize request and send the browser to the login or consent page."""
    params = {**call.query, **call.form()}
    try:
        app = _trusted(org, params)
    except _Bare as error:
        return _bare_page(org, error)
    try:
        request = _checked(app, params)
    except _Redirected as error:
        return _back(params["redirect_uri"], params.get("state"), error.error, error.description)
    prompts = params.get("prompt", "").split()
    if params.get("immediate") == "true":
        return _immediate(org, call, request)
    request_id = secrets.token_urlsafe(24)
    org.pending[request_id] = request
    page = f"{CONSENT}?{urlencode({'source': request_id})}"
    if "login" in prompts or "select_account" in prompts:
        login.forget(org, call)
        return login.ask(page, params.get("login_hint", ""))
    if login.current_user(org, call) is None:
        return login.ask(page, params.get("login_hint", ""))
    return redirect(page)


def _trusted(org: Org, params: Mapping[str, str]) -> App:
    app = org.app(params.get("client_id", ""))
    if app is None:
        raise _Bare("invalid_client_id", "client identifier invalid")
    redirect_uri = params.get("redirect_uri", "")
    if not redirect_uri:
        raise _Bare("redirect_uri_missing", "missing redirect_uri")
    if redirect_uri not in app.callbacks:
        raise _Bare("redirect_uri_mismatch", "redirect_uri must match configuration")
    if (
        params.get("response_type", "code") == "code"
        and app.require_pkce
        and not params.get("code_challenge")
    ):
        raise _Bare("invalid_request", "missing required code challenge", typed=False)
    if params.get("code_challenge_method", "S256") != "S256":
        raise _Bare("invalid_request", "invalid code challenge method")
    return app


def _checked(app: App, params: Mapping[str, str]) -> Request:
    if params.get("response_type") != "code":
        raise _Redirected("unsupported_response_type", "response type not supported")
    scopes = app.grantable(params.get("scope"))
    if scopes is None:
        raise _Redirected("invalid_scope", "the requested scope is not allowed")
    return Request(
        client_id=app.client_id, redirect_uri=params["redirect_uri"], state=params.get("state"),
        scopes=scopes, challenge=params.get("code_challenge") or None, nonce=params.get("nonce"),
        ask_again="consent" in params.get("prompt", "").split(),
    )  # fmt: skip


def _bare_page(org: Org, error: _Bare) -> Reply:
    text = f"error={error.error}&error_description={quote(error.description)}"
    status = org.behaviour.authorize_error_status
    if error.typed:
        return text_reply(text, status=status)
    # Without a Content-Type browsers save a file called "authorize".
    return Reply(status=status, body=text.encode())


def _back(redirect_uri: str, state: str | None, error: str, description: str) -> Reply:
    return redirect(
        with_query(redirect_uri, {"error": error, "error_description": description, "state": state})
    )


def _immediate(org: Org, call: Call, request: Request) -> Reply:
    user = login.current_user(org, call)
    if user and org.ledger.live(client_id=request.client_id, user_id=user["Id"]):
        return _with_code(org, request, user["Id"])
    return _back(request.redirect_uri, request.state, "immediate_unsuccessful", "immediate unsuccessful")


# -- consent -------------------------------------------------------------------------------------


def consent(org: Org, call: Call, _parts: Mapping[str, str]) -> Reply:
    """Show what the app asks for, with the buttons Allow and Deny."""
    request_id = call.query.get("source", "")
    request: Request | None = org.pending.get(request_id)
    if request is None:
        return render.page("gone.html", status=400)
    page = f"{CONSENT}?{urlencode({'source': request_id})}"
    user = login.current_user(org, call)
    if user is None:
        return login.ask(page)
    app = org.apps[request.client_id]
    policy = _BLOCKED if app.blocked else org.behaviour.authorize_policy_error
    if policy:
        del org.pending[request_id]
        return _back(request.redirect_uri, request.state, *pair(policy))
    known = org.ledger.live(client_id=request.client_id, user_id=user["Id"])
    if known and not org.behaviour.ask_every_time and not request.ask_again:
        del org.pending[request_id]
        return _with_code(org, request, user["Id"])
    return render.page(
        "consent.html", action=page, app_name=app.name, username=user["Username"],
        scopes=[SCOPES.get(scope, scope) for scope in request.scopes],
    )  # fmt: skip


def decide(org: Org, call: Call, _parts: Mapping[str, str]) -> Reply:
    """Take the user's decision back to the callback."""
    request_id = call.query.get("source", "")
    user = login.current_user(org, call)
    if user is None:
        return login.ask(f"{CONSENT}?{urlencode({'source': request_id})}")
    request: Request | None = org.pending.pop(request_id, None)
    if request is None:
        return render.page("gone.html", status=400)
    if call.form().get("decision") != "allow":
        return _back(request.redirect_uri, request.state, *pair(_DENIED))
    return _with_code(org, request, user["Id"])


def _with_code(org: Org, request: Request, user_id: str) -> Reply:
    code = org.ledger.add_code(
        client_id=request.client_id, user_id=user_id, redirect_uri=request.redirect_uri,
        scopes=request.scopes, challenge=request.challenge, nonce=request.nonce, now=org.clock.now(),
    )  # fmt: skip
    return redirect(with_query(request.redirect_uri, {"code": code.value, "state": request.state}))
