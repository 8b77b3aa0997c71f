"""`POST /services/oauth2/token`: codes, refresh tokens, client credentials and JWT bearer assertions.

It refuses `scope`, has no minimum or maximum for the length of a verifier (Salesforce's own wording leads to
171 characters, more than RFC 7636 allows), and takes parameters from the query as well.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus, urlencode
from xml.sax.saxutils import escape

from ninelives_server.testing.fake_salesforce.apps import App
from ninelives_server.testing.fake_salesforce.behaviour import pair
from ninelives_server.testing.fake_salesforce.faults import OAuthError
from ninelives_server.testing.fake_salesforce.grants import Code
from ninelives_server.testing.fake_salesforce.http import Call, Reply, json_reply
from ninelives_server.testing.fake_salesforce.oauth import jws
from ninelives_server.testing.fake_salesforce.oauth.answers import token_answer
from ninelives_server.testing.fake_salesforce.org import Org

Params = Mapping[str, str]
_NO_STORE = {"cache-control": "no-cache,no-store", "pragma": "no-cache"}
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_MAX_ASSERTION_LIFE = 600  # seconds; the documentation asks for 3 to 5 minutes


def serve(org: Org, call: Call, _parts: Mapping[str, str]) -> Reply:
    """Answer a token request."""
    params = {**call.query, **call.form()}
    try:
        document, status = _grant(org, call, params), 200
    except OAuthError as error:
        document = {"error": error.error, "error_description": error.description}
        status = error.status
    return _written(document, status, params.get("format", "json"))


def _written(document: dict[str, Any], status: int, form: str) -> Reply:
    if form == "urlencoded":
        return Reply(
            status=status, body=urlencode(document).encode(), headers=dict(_NO_STORE),
            content_type="application/x-www-form-urlencoded;charset=UTF-8",
        )  # fmt: skip
    if form == "xml":
        inner = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in document.items())
        page = f'<?xml version="1.0" encoding="UTF-8"?><OAuth>{inner}</OAuth>'
        return Reply(
            status=status, body=page.encode(), content_type="application/xml;charset=UTF-8",
            headers=dict(_NO_STORE),
        )  # fmt: skip
    return json_reply(document, status=status, headers=_NO_STORE)


def _grant(org: Org, call: Call, params: Params) -> dict[str, Any]:
    if call.method != "POST":
        raise OAuthError("invalid_request", "must use HTTP POST")
    org.ledger.requests += 1
    if 0 < org.behaviour.login_rate_limit < org.ledger.requests:
        raise OAuthError("rate_limit_exceeded", "login rate exceeded")
    kinds = {
        "authorization_code": _from_code,
        "refresh_token": _from_refresh_token,
        "client_credentials": _from_client_credentials,
        _JWT_BEARER: _from_assertion,
        "password": _from_password,
    }
    kind = kinds.get(params.get("grant_type", ""))
    if kind is None:
        raise OAuthError("unsupported_grant_type", "grant type not supported")
    if params.get("scope"):
        raise OAuthError("invalid_request", "scope parameter not supported")
    return kind(org, call, params)


# -- the app -------------------------------------------------------------------------------------


def credentials(call: Call, params: Params) -> tuple[str, str | None]:
    """Return client id and secret from the Basic header or from the body; no secret is `None`."""
    kind, _, value = call.header("authorization").partition(" ")
    if kind.lower() == "basic":
        try:
            text = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise OAuthError("invalid_client", "invalid client credentials") from None
        client_id, _, secret = text.partition(":")
        return unquote_plus(client_id), unquote_plus(secret)
    return params.get("client_id", ""), params.get("client_secret")


def known_app(org: Org, call: Call, params: Params, *, secret_required: bool | None = None) -> App:
    """Return the app that asks; a secret that is sent is checked even where none is required.

    Raises:
        OAuthError: The app is unknown, or its secret is wrong or missing.
    """
    client_id, secret = credentials(call, params)
    app = org.app(client_id)
    if app is None:
        raise OAuthError("invalid_client_id", "client identifier invalid")
    required = app.require_secret_web if secret_required is None else secret_required
    wrong = secret is not None and not hmac.compare_digest(secret.encode(), app.client_secret.encode())
    if wrong or (required and secret is None):
        raise OAuthError("invalid_client", "invalid client credentials")
    return app


def _active_user(org: Org, user_id: str) -> None:
    if not org.user(user_id)["IsActive"]:
        raise OAuthError("inactive_user", "user is inactive")


# -- grants --------------------------------------------------------------------------------------


def _from_code(org: Org, call: Call, params: Params) -> dict[str, Any]:
    app = known_app(org, call, params)
    now, behaviour = org.clock.now(), org.behaviour
    code = org.ledger.take_code(params.get("code", ""), client_id=app.client_id, now=now, behaviour=behaviour)
    if params.get("redirect_uri") != code.redirect_uri:
        raise OAuthError("redirect_uri_mismatch", "redirect_uri must match configuration")
    _check_verifier(org, code, params.get("code_verifier"))
    _active_user(org, code.user_id)
    code.used = True
    grant = org.ledger.open(
        client_id=app.client_id, user_id=code.user_id, scopes=code.scopes, now=now, behaviour=behaviour
    )
    code.grant_id = grant.grant_id
    token = org.ledger.add_token(
        client_id=app.client_id, user_id=code.user_id, grant_id=grant.grant_id, scopes=code.scopes,
        now=now, behaviour=behaviour,
    )  # fmt: skip
    return token_answer(org, call, app, token, grant=grant, refresh=True, id_token=True, nonce=code.nonce)


def _check_verifier(org: Org, code: Code, verifier: str | None) -> None:
    if code.challenge is None:
        if verifier and org.behaviour.pkce_unexpected_verifier:
            raise OAuthError(*pair(org.behaviour.pkce_unexpected_verifier))
        return
    if not verifier:
        raise OAuthError(*pair(org.behaviour.pkce_missing_verifier))
    digest = jws.encode(hashlib.sha256(verifier.encode()).digest())
    if not hmac.compare_digest(digest, code.challenge.rstrip("=")):
        raise OAuthError(*pair(org.behaviour.pkce_mismatch))


def _from_refresh_token(org: Org, call: Call, params: Params) -> dict[str, Any]:
    client_id, _ = credentials(call, params)
    found = org.app(client_id)
    app = known_app(org, call, params, secret_required=found is not None and found.require_secret_refresh)
    if app.blocked:
        raise OAuthError("invalid_grant", "expired access/refresh token")
    now, behaviour = org.clock.now(), org.behaviour
    grant = org.ledger.take_refresh(
        params.get("refresh_token", ""), client_id=app.client_id, now=now,
        rotate=app.rotate_refresh_tokens, behaviour=behaviour,
    )  # fmt: skip
    _active_user(org, grant.user_id)
    token = org.ledger.add_token(
        client_id=app.client_id, user_id=grant.user_id, grant_id=grant.grant_id, scopes=grant.scopes,
        now=now, behaviour=behaviour,
    )  # fmt: skip
    return token_answer(
        org, call, app, token, grant=grant, refresh=app.rotate_refresh_tokens,
        id_token=behaviour.refresh_returns_id_token,
    )  # fmt: skip


def _from_client_credentials(org: Org, call: Call, params: Params) -> dict[str, Any]:
    if call.host in {"login.salesforce.com", "test.salesforce.com"}:
        raise OAuthError("invalid_grant", "request not supported on this domain")
    app = known_app(org, call, params, secret_required=True)
    if app.client_credentials_user is None:
        raise OAuthError("invalid_grant", "no client credentials user enabled")
    return _without_grant(org, call, app, app.client_credentials_user)


def _from_assertion(org: Org, call: Call, params: Params) -> dict[str, Any]:
    assertion = params.get("assertion", "")
    try:
        claims = jws.claims(assertion)
    except ValueError:
        raise OAuthError("invalid_grant", "invalid assertion") from None
    app = org.app(str(claims.get("iss", "")))
    if app is None:
        raise OAuthError("invalid_client_id", "client identifier invalid")
    if app.certificate is None or not jws.is_signed_by(assertion, app.certificate):
        raise OAuthError("invalid_grant", "invalid assertion")
    base = org.addresses.login_for(call.scheme, call.host)
    if str(claims.get("aud", "")).rstrip("/") not in {base, org.addresses.login_url}:
        raise OAuthError("invalid_grant", "Audience validation failed")
    lifetime = float(claims.get("exp", 0)) - org.clock.now().timestamp()
    if not 0 < lifetime <= _MAX_ASSERTION_LIFE:
        raise OAuthError("invalid_grant", "expired authorization code")
    user = org.by_username(str(claims.get("sub", "")))
    if user is None:
        raise OAuthError("invalid_grant", "invalid assertion")
    approved = app.preauthorised or org.ledger.live(client_id=app.client_id, user_id=user["Id"])
    if not approved:
        raise OAuthError("invalid_grant", "user hasn't approved this consumer")
    return _without_grant(org, call, app, user["Id"])


def _without_grant(org: Org, call: Call, app: App, user_id: str) -> dict[str, Any]:
    _active_user(org, user_id)
    scopes = tuple(scope for scope in app.scopes if scope != "refresh_token")
    if not scopes:
        raise OAuthError("invalid_grant", "no valid scopes defined")
    token = org.ledger.add_token(
        client_id=app.client_id, user_id=user_id, grant_id=None, scopes=scopes, now=org.clock.now(),
        behaviour=org.behaviour,
    )  # fmt: skip
    return token_answer(org, call, app, token)


def _from_password(org: Org, call: Call, params: Params) -> dict[str, Any]:
    known_app(org, call, params)
    raise OAuthError("invalid_grant", "authentication failure")  # the flow is off in new orgs
