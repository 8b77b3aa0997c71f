"""What a successful token request returns."""

import base64
import hashlib
import hmac
from typing import Any

from ninelives_server.testing.fake_salesforce import times
from ninelives_server.testing.fake_salesforce.apps import App
from ninelives_server.testing.fake_salesforce.grants import AccessToken, Grant
from ninelives_server.testing.fake_salesforce.http import Call
from ninelives_server.testing.fake_salesforce.oauth import jws
from ninelives_server.testing.fake_salesforce.org import Org


def token_answer(
    org: Org, call: Call, app: App, token: AccessToken, *, grant: Grant | None = None,
    refresh: bool = False, id_token: bool = False, nonce: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return the JSON of a token response; there is no `expires_in`, and `issued_at` is a text."""
    base = org.addresses.login_for(call.scheme, call.host)
    identity = f"{base}/id/{org.org_id}/{token.user_id}"
    issued_at = str(times.milliseconds(token.issued_at))
    answer: dict[str, Any] = {"access_token": token.value}
    if refresh and grant and grant.refresh_token:
        answer["refresh_token"] = grant.refresh_token
    answer |= {
        "signature": signature(app.client_secret, identity, issued_at),
        "scope": scope_text(token.scopes),
        "instance_url": org.addresses.instance_for(call.scheme, call.host),
        "id": identity,
        "token_type": "Bearer",
        "issued_at": issued_at,
    }
    if id_token and "openid" in token.scopes:
        answer["id_token"] = _id_token(org, base, app, token, nonce)
    return answer


def signature(secret: str, identity: str, issued_at: str) -> str:
    """Return the signature by which an app checks that the identity comes from Salesforce."""
    digest = hmac.new(secret.encode(), (identity + issued_at).encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def scope_text(scopes: tuple[str, ...]) -> str:
    """Return the granted scopes; their order is Salesforce's, not the request's."""
    order = {"refresh_token": 0, "api": 1, "web": 2, "full": 3, "id": 4, "openid": 5}
    return " ".join(sorted(scopes, key=lambda s: order.get(s, 9)))


def _id_token(org: Org, base: str, app: App, token: AccessToken, nonce: str | None) -> str:
    now = int(org.clock.now().timestamp())
    user = org.user(token.user_id)
    digest = hashlib.sha256(token.value.encode()).digest()
    claims: dict[str, Any] = {
        "at_hash": jws.encode(digest[:16]),
        "sub": f"{base}/id/{org.org_id}/{token.user_id}",
        "iss": base,
        "aud": app.client_id,
        "iat": now,
        "exp": now + org.behaviour.id_token_lifetime_seconds,
        "preferred_username": user["Username"],
        "name": user["Name"],
        "email": user["Email"],
    }
    if nonce:
        claims["nonce"] = nonce
    return jws.sign(claims, org.signing_key)
