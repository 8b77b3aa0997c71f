"""The conversations of OAuth 2.0: code, refresh, revoke, introspect, userinfo (RFC 6749, 7009, 7662).

None of them ever sends a `scope` to the token endpoint: a refresh may only ask for less (RFC 6749,
section 6), and Salesforce refuses the parameter on every grant.
"""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri

from ninelives_server.oauth import outcomes, tokens
from ninelives_server.oauth.messages import Answer, Flow, Request
from ninelives_server.oauth.outcomes import Kind, Refusal
from ninelives_server.oauth.tokens import TokenSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """An app as the provider knows it, and how it proves itself (RFC 6749, section 2.3.1)."""

    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    method: Literal["post", "basic"] = "post"

    def form(self, values: Mapping[str, str]) -> dict[str, str]:
        """Return the form with what this client adds to the body."""
        own = {"client_id": self.client_id}
        if self.client_secret and self.method == "post":
            own["client_secret"] = self.client_secret
        return {**values, **own}

    def headers(self) -> dict[str, str]:
        """Return the headers of a request to the token endpoint."""
        found = {"Accept": "application/json"}
        if self.client_secret and self.method == "basic":
            pair = f"{quote(self.client_id, safe='')}:{quote(self.client_secret, safe='')}"
            found["Authorization"] = "Basic " + b64encode(pair.encode()).decode()
        return found


def authorization_url(
    url: str, *, client_id: str, redirect_uri: str, state: str, challenge: str, extra: Mapping[str, str]
) -> str:
    """Return where the browser asks for consent: response type `code`, PKCE S256."""
    return str(
        prepare_grant_uri(
            url,
            client_id,
            "code",
            redirect_uri=redirect_uri,
            state=state,
            code_challenge=challenge,
            code_challenge_method="S256",
            **{name: value for name, value in extra.items() if value},
        )
    )


def exchange(
    token_url: str, client: Client, *, code: str, verifier: str, redirect_uri: str, keep: tuple[str, ...] = ()
) -> Flow[TokenSet | Refusal]:
    """Trade an authorization code for tokens (RFC 6749, section 4.1.3; RFC 7636, section 4.5)."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
    }
    answer = yield _token_request(token_url, client, form)
    return _granted(answer, keep)


def refresh(
    token_url: str, client: Client, old: TokenSet, *, keep: tuple[str, ...] = ()
) -> Flow[TokenSet | Refusal]:
    """Trade a refresh token for a new access token (RFC 6749, section 6).

    Returns:
        The new tokens; they keep the old refresh token where the provider did not rotate it.
    """
    if old.refresh_token is None:
        return Refusal(kind=Kind.NEEDS_REAUTH, error="", description="there is no refresh token")
    form = {"grant_type": "refresh_token", "refresh_token": old.refresh_token}
    answer = yield _token_request(token_url, client, form)
    found = _granted(answer, keep)
    return old.merged(found) if isinstance(found, TokenSet) else found


def revoke(url: str, token: str, client: Client | None = None) -> Flow[Refusal | None]:
    """End a token (RFC 7009); one that the provider does not know is ended already.

    The client identifies itself only where it is given: Salesforce asks for the token alone.
    """
    form = {"token": token}
    headers = {"Accept": "application/json"}
    if client is not None:
        form, headers = client.form(form), client.headers()
    answer = yield Request(method="POST", url=url, headers=headers, form=form)
    if answer.ok:
        return None
    refusal = outcomes.from_answer(answer)
    return None if refusal.error == "invalid_token" else refusal


def introspect(url: str, client: Client, token: str) -> Flow[dict[str, object] | Refusal]:
    """Ask what the provider knows about a token (RFC 7662); `{"active": False}` for a dead one."""
    form = client.form({"token": token, "token_type_hint": "access_token"})
    answer = yield Request(method="POST", url=url, headers=client.headers(), form=form)
    document = answer.document()
    return document if answer.ok and "active" in document else outcomes.from_answer(answer)


def userinfo(url: str, access_token: str) -> Flow[dict[str, object] | Answer]:
    """Ask whose token this is (OpenID Connect Core, section 5.3); the answer itself where it refuses."""
    answer = yield bearer("GET", url, access_token)
    document = answer.document()
    return document if answer.ok and document else answer


def bearer(method: str, url: str, access_token: str) -> Request:
    """Make a request that carries an access token (RFC 6750, section 2.1)."""
    return Request(
        method=method,
        url=url,
        headers={"Authorization": f"Bearer {access_token}", "Accept": "application/json"},
    )


def _token_request(url: str, client: Client, form: Mapping[str, str]) -> Request:
    return Request(method="POST", url=url, headers=client.headers(), form=client.form(form))


def _granted(answer: Answer, keep: tuple[str, ...]) -> TokenSet | Refusal:
    if not answer.ok:
        return outcomes.from_answer(answer)
    found = tokens.parse(answer.document(), keep=keep)
    return outcomes.from_answer(answer) if found is None else found
