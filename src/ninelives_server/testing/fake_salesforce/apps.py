"""External client apps of the org: their OAuth settings, and which callbacks Salesforce lets one enter."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from ninelives_server.testing.fake_salesforce import sfid

#: Where `ninelives up` listens unless told otherwise.
DEFAULT_CALLBACK = "http://localhost:9980/oauth/redirect/salesforce"

#: Scope -> its name on the Setup page.
SCOPES = {
    "api": "Manage user data via APIs (api)",
    "refresh_token": "Perform requests at any time (refresh_token, offline_access)",
    "id": "Access the identity URL service (id, profile, email, address, phone)",
    "openid": "Access unique user identifiers (openid)",
    "web": "Manage user data via Web browsers (web)",
    "full": "Full access (full)",
}
DEFAULT_SCOPES = ("api", "refresh_token", "id", "openid")
_SAME_SCOPE = {"offline_access": "refresh_token", "profile": "id", "email": "id"}


@dataclass(slots=True, kw_only=True)
class App:
    """One external client app. The defaults are the strictest that Salesforce creates.

    Attributes:
        callbacks: Compared exactly, letter by letter.
        client_credentials_user: Id of the user that the client credentials flow runs as; `None` where the
            flow is not enabled.
        certificate: PEM that signs JWT bearer assertions; `None` where the flow is not enabled.
        preauthorised: Users need not approve it before the JWT bearer flow.
        visible_from: Until then the token and authorize endpoints do not know it.
    """

    app_id: str
    name: str
    contact_email: str
    client_id: str
    client_secret: str = field(repr=False)
    callbacks: tuple[str, ...]
    scopes: tuple[str, ...] = DEFAULT_SCOPES
    distribution: str = "Local"
    oauth_enabled: bool = True
    require_secret_web: bool = True
    require_secret_refresh: bool = True
    require_pkce: bool = True
    rotate_refresh_tokens: bool = True
    client_credentials_user: str | None = None
    certificate: str | None = field(default=None, repr=False)
    preauthorised: bool = False
    visible_from: datetime
    blocked: bool = False

    def grantable(self, requested: str | None) -> tuple[str, ...] | None:
        """Return the scopes that a request gets, or `None` if it asks for one that the app has not."""
        if not requested or not requested.split():
            return self.scopes
        wanted = [_SAME_SCOPE.get(scope, scope) for scope in requested.split()]
        if not set(wanted) <= set(self.scopes):
            return None
        return tuple(scope for scope in self.scopes if scope in wanted)


def new_app(
    ids: sfid.Sequence, *, name: str, contact_email: str, callbacks: Iterable[str], visible_from: datetime
) -> App:
    """Make an app with a fresh consumer key and secret.

    Raises:
        ValueError: Salesforce would not let one save one of the callbacks.
    """
    return App(
        app_id=ids.new(sfid.APP_PREFIX),
        name=name,
        contact_email=contact_email,
        client_id=new_key(),
        client_secret=new_secret(),
        callbacks=checked_callbacks(callbacks),
        visible_from=visible_from,
    )


def new_key() -> str:
    """Return a consumer key; they begin with `3MVG9` and have 85 characters."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._"
    return "3MVG9" + "".join(secrets.choice(alphabet) for _ in range(80))


def new_secret() -> str:
    """Return a consumer secret: 64 hexadecimal digits in upper case."""
    return secrets.token_hex(32).upper()


def checked_callbacks(callbacks: Iterable[str]) -> tuple[str, ...]:
    """Return the callbacks without blanks.

    Raises:
        ValueError: Salesforce would not let one save one of them; the text says which and why.
    """
    found = tuple(c.strip() for c in callbacks if c.strip())
    for callback in found:
        reason = refusal(callback)
        if reason:
            raise ValueError(f"Callback URL: {callback}: {reason}")
    return found


def refusal(callback: str) -> str | None:
    """Return why Setup refuses a callback, or `None` if it takes it.

    It takes https, `http://localhost` with any port, and schemes of mobile apps; not plain http to any
    other name, nor to 127.0.0.1 or an address of the local network.
    """
    try:
        parts = urlsplit(callback)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "this is not a valid URL"
    if parts.fragment:
        return "a callback has no fragment"
    if parts.scheme == "https":
        return None if host else "this is not a valid URL"
    if parts.scheme == "http":
        return None if host == "localhost" else "use a secure (https) URL, or http://localhost"
    if not parts.scheme or parts.scheme in {"javascript", "data", "file", "vbscript"}:
        return "this is not a valid URL"
    return None
