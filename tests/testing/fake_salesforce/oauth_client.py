"""A plain OAuth client for the tests of the fake org's endpoints."""

import base64
import hashlib
import secrets
import ssl
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce
from ninelives_server.testing.fake_salesforce.visitor import Visitor

CALLBACK = "http://localhost:9980/oauth/redirect/salesforce"


class OAuthClient:
    """Sends what a test says, and nothing more."""

    def __init__(self, org: FakeSalesforce) -> None:
        self.org = org
        self.verifier = secrets.token_urlsafe(48)
        context = ssl.create_default_context(cafile=org.details.ca_file)
        self.http = httpx2.Client(verify=context, base_url=org.details.login_url, trust_env=False)

    def challenge(self) -> str:
        """Return the S256 challenge of the verifier."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def authorize_url(self, **changes: str | None) -> str:
        """Return an authorize URL; a value of `None` leaves a field out."""
        fields: dict[str, str | None] = {
            "response_type": "code", "client_id": self.org.details.client_id, "redirect_uri": CALLBACK,
            "scope": "api refresh_token openid", "state": "s1", "code_challenge": self.challenge(),
            "code_challenge_method": "S256", **changes,
        }  # fmt: skip
        query = urlencode({k: v for k, v in fields.items() if v is not None})
        return f"{self.org.details.login_url}/services/oauth2/authorize?{query}"

    def code(self, visitor: Visitor, **changes: str | None) -> str:
        """Return a code that the visitor allowed."""
        query = parse_qs(urlsplit(visitor.authorize(self.authorize_url(**changes))).query)
        return query["code"][0]

    def token(self, **fields: str) -> httpx2.Response:
        """Post to the token endpoint with the app's credentials."""
        found = self.org.details
        data = {"client_id": found.client_id, "client_secret": found.client_secret, **fields}
        return self.http.post("/services/oauth2/token", data=data)

    def exchange(self, code: str, **changes: str) -> httpx2.Response:
        """Trade a code."""
        fields = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK,
            "code_verifier": self.verifier, **changes,
        }  # fmt: skip
        return self.token(**fields)

    def refresh(self, token: str, **changes: str) -> httpx2.Response:
        """Use a refresh token."""
        return self.token(grant_type="refresh_token", refresh_token=token, **changes)

    def connect(self, visitor: Visitor) -> dict[str, Any]:
        """Return the tokens of a whole flow."""
        response = self.exchange(self.code(visitor))
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found
