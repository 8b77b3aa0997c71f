"""The OAuth endpoints but for authorize: what is granted, refused and told."""

import base64
import hashlib
import hmac
import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from testing.fake_salesforce.oauth_client import CALLBACK, OAuthClient

from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce
from ninelives_server.testing.fake_salesforce.oauth import jws
from ninelives_server.testing.fake_salesforce.visitor import Visitor

# -- tokens --------------------------------------------------------------------------------------


def test_a_token_answer_has_salesforces_fields(
    oauth: OAuthClient, visitor: Visitor, org: FakeSalesforce
) -> None:
    """
    No `expires_in`, `issued_at` in milliseconds as text, a signature over id and time, an id token.
    """
    tokens = oauth.connect(visitor)

    assert "expires_in" not in tokens
    assert re.fullmatch(r"\d{13}", tokens["issued_at"])
    assert tokens["access_token"].startswith(f"{org.details.org_id[:15]}!")
    assert set(tokens["scope"].split()) == {"api", "refresh_token", "openid"}
    assert tokens["instance_url"] == org.details.instance_url
    secret = org.details.client_secret.encode()
    digest = hmac.new(secret, (tokens["id"] + tokens["issued_at"]).encode(), hashlib.sha256).digest()
    assert tokens["signature"] == base64.b64encode(digest).decode()
    claims = json.loads(base64.urlsafe_b64decode(tokens["id_token"].split(".")[1] + "=="))
    assert claims["aud"] == org.details.client_id


@pytest.mark.parametrize(
    ("changes", "error", "description"),
    [
        ({"code_verifier": "x" * 50}, "invalid_request", "invalid code verifier"),
        ({"code_verifier": ""}, "invalid_grant", "missing required code verifier"),
        ({"redirect_uri": "http://localhost:1/"}, "redirect_uri_mismatch", "redirect_uri must match configuration"),
        ({"client_secret": "wrong"}, "invalid_client", "invalid client credentials"),
        ({"client_id": "nobody"}, "invalid_client_id", "client identifier invalid"),
        ({"code": "garbage"}, "invalid_grant", "invalid authorization code"),
        ({"scope": "api"}, "invalid_request", "scope parameter not supported"),
        ({"grant_type": "device"}, "unsupported_grant_type", "grant type not supported"),
        ({"grant_type": "password"}, "invalid_grant", "authentication failure"),
    ],
)  # fmt: skip
def test_the_token_endpoint_refuses_in_salesforces_words(
    oauth: OAuthClient, visitor: Visitor, changes: dict[str, str], error: str, description: str
) -> None:
    """
    Each refusal is a 400 with error and description; the code is not used up by it.
    """
    code = oauth.code(visitor)

    refused = oauth.exchange(**{"code": code, **changes})
    after = oauth.exchange(code)

    assert refused.status_code == 400
    assert refused.json() == {"error": error, "error_description": description}
    assert after.status_code == 200


def test_a_code_dies_after_fifteen_minutes(oauth: OAuthClient, visitor: Visitor, org: FakeSalesforce) -> None:
    """
    An old code is expired, not invalid.
    """
    code = oauth.code(visitor)
    org.control.advance_clock(901)

    assert oauth.exchange(code).json()["error_description"] == "expired authorization code"


def test_a_code_that_comes_back_can_end_its_tokens(
    oauth: OAuthClient, visitor: Visitor, org: FakeSalesforce
) -> None:
    """
    By a switch the org follows RFC 6749, section 4.1.2.
    """
    org.control.set_behaviour(code_reuse_revokes=True)
    code = oauth.code(visitor)
    tokens = oauth.exchange(code).json()

    oauth.exchange(code)

    assert oauth.refresh(tokens["refresh_token"]).status_code == 400


def test_without_the_scope_there_is_no_refresh_token(oauth: OAuthClient, visitor: Visitor) -> None:
    """
    `refresh_token` or `offline_access` must be asked for; asking for nothing gets all of the app's scopes.
    """
    without = oauth.exchange(oauth.code(visitor, scope="api")).json()
    synonym = oauth.exchange(oauth.code(visitor, scope="api offline_access")).json()
    everything = oauth.exchange(oauth.code(visitor, scope=None)).json()

    assert "refresh_token" not in without
    assert "refresh_token" in synonym
    assert set(everything["scope"].split()) == {"api", "refresh_token", "id", "openid"}


def test_parameters_may_come_in_the_query_and_credentials_as_basic(
    oauth: OAuthClient, visitor: Visitor, org: FakeSalesforce
) -> None:
    """
    Both ways to authenticate work, and parameters in the query of the POST count.
    """
    fields = {
        "grant_type": "authorization_code", "code": oauth.code(visitor), "redirect_uri": CALLBACK,
        "code_verifier": oauth.verifier,
    }  # fmt: skip

    response = oauth.http.post(
        "/services/oauth2/token", params=fields, auth=(org.details.client_id, org.details.client_secret)
    )

    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-cache,no-store"


def test_the_secret_is_needed_where_the_app_says_so(
    oauth: OAuthClient, visitor: Visitor, org: FakeSalesforce
) -> None:
    """
    Web flow and refresh have a box each; a secret that is sent is checked even where none is needed.
    """
    app = org.details.client_id
    org.control.edit_app(app, require_secret_web=False)
    fields = {"grant_type": "authorization_code", "redirect_uri": CALLBACK, "code_verifier": oauth.verifier}

    tokens = oauth.http.post(
        "/services/oauth2/token", data={**fields, "client_id": app, "code": oauth.code(visitor)}
    ).json()
    refused = oauth.http.post(
        "/services/oauth2/token",
        data={"grant_type": "refresh_token", "client_id": app, "refresh_token": tokens["refresh_token"]},
    )
    wrong = oauth.exchange(oauth.code(visitor), client_secret="wrong")

    assert refused.json()["error"] == wrong.json()["error"] == "invalid_client"
    assert oauth.refresh(tokens["refresh_token"]).status_code == 200


def test_authlib_is_refused_because_it_sends_scope_on_refresh(
    oauth: OAuthClient, visitor: Visitor, org: FakeSalesforce
) -> None:
    """
    A generic library repeats the scope when it refreshes; Salesforce does not take that, and nothing is lost.
    """
    tokens = oauth.connect(visitor)
    found = org.details
    client = OAuth2Session(
        found.client_id,
        found.client_secret,
        token=tokens,
        scope="api refresh_token",
        token_endpoint_auth_method="client_secret_post",
    )
    client.verify, client.trust_env = found.ca_file, False

    with client, pytest.raises(OAuthError, match="scope parameter not supported"):
        client.refresh_token(f"{found.login_url}/services/oauth2/token")

    assert oauth.refresh(tokens["refresh_token"]).status_code == 200


def test_the_sixth_approval_ends_the_first(oauth: OAuthClient, visitor: Visitor) -> None:
    """
    A user may hold five refresh tokens for an app; the oldest goes, silently.
    """
    tokens = [oauth.connect(visitor)["refresh_token"] for _ in range(6)]

    answers = [oauth.refresh(token).status_code for token in tokens]

    assert answers == [400, 200, 200, 200, 200, 200]


def test_a_session_ends_after_two_idle_hours(
    oauth: OAuthClient, visitor: Visitor, org: FakeSalesforce
) -> None:
    """
    Use extends a session; without use it times out. The refresh token lives on.
    """
    tokens = oauth.connect(visitor)
    headers = {"Authorization": f"OAuth {tokens['access_token']}"}
    statuses = []
    for seconds in (7000, 7000, 7300):
        org.control.advance_clock(seconds)
        statuses.append(oauth.http.get("/services/data/v66.0/limits", headers=headers).status_code)

    assert statuses == [200, 200, 401]
    assert oauth.refresh(tokens["refresh_token"]).status_code == 200


def test_a_new_app_spreads_slowly_where_the_switch_says_so(oauth: OAuthClient, org: FakeSalesforce) -> None:
    """
    A key that was just made is unknown for a while.
    """
    org.control.set_behaviour(app_propagation_seconds=600)
    app = org.control.add_app("New", [CALLBACK])
    url = oauth.authorize_url(client_id=app["client_id"])

    before = oauth.http.get(url)
    org.control.advance_clock(601)
    after = oauth.http.get(url)

    assert "client%20identifier%20invalid" in before.text
    assert after.status_code == 302


# -- who, and the end ----------------------------------------------------------------------------


def test_userinfo_answers_bad_tokens_with_403_and_text(
    oauth: OAuthClient, visitor: Visitor, org: FakeSalesforce
) -> None:
    """
    Identity endpoints do not use 401 and JSON.
    """
    tokens = oauth.connect(visitor)
    good = {"Authorization": f"Bearer {tokens['access_token']}"}

    found = oauth.http.get("/services/oauth2/userinfo", headers=good).json()
    bad = oauth.http.get("/services/oauth2/userinfo", headers={"Authorization": "Bearer x"})
    none = oauth.http.get("/services/oauth2/userinfo")
    other = oauth.http.get(f"/id/{org.details.org_id}/005000000000001AAA", headers=good)

    assert found["organization_id"] == org.details.org_id
    assert found["preferred_username"] == org.details.username
    assert (bad.status_code, bad.text) == (403, "Bad_OAuth_Token")
    assert (none.status_code, none.text) == (403, "Missing_OAuth_Token")
    assert (other.status_code, other.text) == (403, "Bad_Id")


def test_introspection_tells_when_a_token_ends(
    oauth: OAuthClient, visitor: Visitor, org: FakeSalesforce
) -> None:
    """
    It is the one way to learn an opaque token's life; other apps' tokens are inactive.
    """
    tokens = oauth.connect(visitor)
    found = org.details
    own = {"client_id": found.client_id, "client_secret": found.client_secret}
    other = org.control.add_app("Other", [CALLBACK])
    theirs = {"client_id": other["client_id"], "client_secret": other["client_secret"]}

    def ask(app: dict[str, Any], token: str) -> dict[str, Any]:
        response = oauth.http.post("/services/oauth2/introspect", data={**app, "token": token})
        answer: dict[str, Any] = response.json()
        return answer

    active = ask(own, tokens["access_token"])
    assert active["active"] is True
    assert active["exp"] - active["iat"] == 7200
    assert active["username"] == found.username
    assert ask(own, tokens["refresh_token"])["active"] is True
    assert ask(theirs, tokens["access_token"]) == ask(own, "unknown") == {"active": False}


def test_revoking_an_access_token_keeps_the_refresh_token(oauth: OAuthClient, visitor: Visitor) -> None:
    """
    An access token's end is its own; a refresh token's end takes everything; an unknown one is an error.
    """
    tokens = oauth.connect(visitor)

    first = oauth.http.post("/services/oauth2/revoke", data={"token": tokens["access_token"]})
    refreshed = oauth.refresh(tokens["refresh_token"]).json()
    second = oauth.http.get("/services/oauth2/revoke", params={"token": refreshed["refresh_token"]})
    again = oauth.http.post("/services/oauth2/revoke", data={"token": refreshed["refresh_token"]})
    headers = {"Authorization": f"Bearer {refreshed['access_token']}"}

    assert (first.status_code, first.content) == (200, b"")
    assert second.status_code == 200
    assert again.status_code == 400
    assert oauth.http.get("/services/data/v66.0/limits", headers=headers).status_code == 401


def test_a_frozen_user_cannot_refresh(oauth: OAuthClient, visitor: Visitor, org: FakeSalesforce) -> None:
    """
    A deactivated user's sessions end, and the refresh says why.
    """
    tokens = oauth.connect(visitor)
    org.control.set_user_active(org.details.username, active=False)

    answer = oauth.refresh(tokens["refresh_token"]).json()

    assert answer == {"error": "inactive_user", "error_description": "user is inactive"}


def test_discovery_names_the_endpoints(oauth: OAuthClient, org: FakeSalesforce) -> None:
    """
    A client that is given the base finds the rest.
    """
    found = oauth.http.get("/.well-known/openid-configuration").json()

    assert found["token_endpoint"] == f"{org.details.login_url}/services/oauth2/token"
    assert oauth.http.get(found["jwks_uri"]).json()["keys"][0]["kty"] == "RSA"


def test_two_orgs_share_nothing(oauth: OAuthClient, visitor: Visitor, org: FakeSalesforce) -> None:
    """
    A second org has other ids, another app, and does not know the first one's tokens.
    """
    tokens = oauth.connect(visitor)
    with FakeSalesforce.start(callbacks=[CALLBACK]) as other:
        theirs = OAuthClient(other)
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        found = theirs.http.get("/services/data/v66.0/limits", headers=headers)
        theirs.http.close()

        assert other.details.org_id != org.details.org_id
        assert other.details.client_id != org.details.client_id
        assert found.status_code == 401


def test_a_signed_assertion_gets_a_token_for_an_approved_user(
    oauth: OAuthClient, org: FakeSalesforce
) -> None:
    """
    JWT bearer: the app's certificate must have signed it, for this audience, and the user must be approved.
    """
    key, certificate = _signer()
    found = org.details
    claims = {
        "iss": found.client_id, "sub": found.username, "aud": found.login_url,
        "exp": int(time.time()) + 180,
    }  # fmt: skip

    def ask(**changes: Any) -> Any:
        assertion = jws.sign({**claims, **changes}, key)
        grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
        data = {"grant_type": grant, "assertion": assertion}
        return oauth.http.post("/services/oauth2/token", data=data).json()

    assert ask()["error_description"] == "invalid assertion"  # the app has no certificate yet
    org.control.edit_app(found.client_id, certificate=certificate)
    assert ask()["error_description"] == "user hasn't approved this consumer"
    org.control.edit_app(found.client_id, preauthorised=True)
    answer = ask()
    assert answer["token_type"] == "Bearer"
    assert "refresh_token" not in answer
    assert ask(aud="https://login.salesforce.com")["error_description"] == "Audience validation failed"
    assert ask(iss="nobody")["error"] == "invalid_client_id"


def _signer() -> tuple[rsa.RSAPrivateKey, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return key, certificate.public_bytes(serialization.Encoding.PEM).decode()
