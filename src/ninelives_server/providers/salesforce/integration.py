"""The Salesforce integration: the owner's own app by the web server flow with PKCE.

No app of anybody else is ever offered or used: client id and secret come from the connection alone. Tokens
are asked for at the configured login host, everything else goes to the newest `instance_url`.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from ninelives_server.errors import Invalid
from ninelives_server.integrations.contract import App, AuthMode, Check, Diagnosis, Hint, Identity
from ninelives_server.integrations.hosts import HostRule
from ninelives_server.oauth import grants
from ninelives_server.oauth.grants import Client
from ninelives_server.oauth.messages import Flow
from ninelives_server.oauth.outcomes import Kind, Refusal
from ninelives_server.oauth.tokens import TokenSet
from ninelives_server.providers.salesforce import doctor, environment, errors, form, identity

#: What a refresh token variable holds where a helper only tests that it is set.
MANAGED = "managed-by-ninelives"
_KEEP = ("instance_url", "id", "token_format")
_PATH = "/services/oauth2"


class Salesforce:
    """Implements `integrations.contract.Integration`."""

    name = "salesforce"
    aliases: Sequence[str] = ()
    title = "Salesforce"
    docs_url = "/docs/integrations/salesforce/private-oauth"
    auth_modes: Sequence[AuthMode] = (form.PRIVATE,)
    #: Salesforce does not say how long a token lives; 15 minutes is the shortest session time-out of an org.
    token_lifetime: timedelta | None = timedelta(minutes=15)
    waiting_hints: Sequence[Hint] = form.HINTS

    def host_rule(self) -> HostRule:
        """Return Salesforce's own domains."""
        return environment.HOSTS

    def normalise(
        self, mode: str, settings: Mapping[str, str], insecure_hosts: frozenset[str]
    ) -> dict[str, str]:
        """Return the settings in their stored form; the environment corrected, the scopes tidied."""
        _ = mode
        found = {name: value.strip() for name, value in settings.items()}
        scopes = " ".join(dict.fromkeys(found.get("scopes", "").replace(",", " ").split())) or form.SCOPES
        if not {"refresh_token", "offline_access"} & set(scopes.split()):
            message = (
                "the scopes must contain refresh_token: without it Salesforce gives access for an hour or two"
            )
            raise Invalid(message, fields={"scopes": message})
        client_id = found.get("client_id", "")
        if any(c.isspace() for c in client_id):
            message = "the Client ID must not contain blanks; copy the Consumer Key again"
            raise Invalid(message, fields={"client_id": message})
        return {
            "client_id": client_id,
            "environment": environment.normalise(found.get("environment", ""), insecure_hosts),
            "scopes": scopes,
            "pubsub_endpoint": environment.normalise_pubsub(found.get("pubsub_endpoint", ""), insecure_hosts),
        }

    def login_host(self, settings: Mapping[str, str]) -> str:
        """Return the host of the configured environment."""
        return urlsplit(environment.login_url(settings)).netloc

    def authorize_url(self, app: App, *, redirect_uri: str, state: str, challenge: str) -> str:
        """Return Salesforce's authorize address.

        `prompt=login` makes Salesforce ask who one is: else the org that the browser happens to be logged in
        to would be connected, or would say that it does not know the app.
        """
        return grants.authorization_url(
            f"{environment.login_url(app.settings)}{_PATH}/authorize",
            client_id=app.settings["client_id"],
            redirect_uri=redirect_uri,
            state=state,
            challenge=challenge,
            extra={"scope": app.settings.get("scopes", form.SCOPES), "prompt": "login"},
        )

    def exchange(self, app: App, *, code: str, verifier: str, redirect_uri: str) -> Flow[TokenSet | Refusal]:
        """Trade the code; a grant without refresh token is refused here, with the way out."""
        found = yield from grants.exchange(
            _token_url(app), _client(app), code=code, verifier=verifier, redirect_uri=redirect_uri, keep=_KEEP
        )
        if isinstance(found, Refusal):
            return errors.classified(found)
        if found.refresh_token is None:
            yield from grants.revoke(f"{identity.instance_url(found)}{_PATH}/revoke", found.access_token)
            return Refusal(kind=Kind.NEEDS_ADMIN, error="no_refresh_token", description="")
        return _checked(found)

    def refresh(self, app: App, tokens: TokenSet) -> Flow[TokenSet | Refusal]:
        """Trade the refresh token, at the login host: an instance may have moved."""
        found = yield from grants.refresh(_token_url(app), _client(app), tokens, keep=_KEEP)
        return errors.classified(found) if isinstance(found, Refusal) else _checked(found)

    def identify(self, app: App, tokens: TokenSet) -> Flow[Identity | Refusal]:
        """Find out org and user."""
        _ = app
        return (yield from identity.identify(tokens))

    def probe(self, app: App, tokens: TokenSet) -> Flow[Diagnosis | None]:
        """Ask for the API's resources: needs a live token, the scope `api` and the permission to use it."""
        _ = app
        url = f"{identity.instance_url(tokens)}{identity.API}/"
        answer = yield grants.bearer("GET", url, tokens.access_token)
        return None if answer.ok else errors.diagnose(errors.from_api(answer))

    def doctor(self, app: App, tokens: TokenSet) -> Flow[Sequence[Check]]:
        """Check what is known to get in the way."""
        _ = app
        return (yield from doctor.examine(tokens))

    def revoke(self, app: App, tokens: TokenSet) -> Flow[Refusal | None]:
        """Revoke the refresh token at the instance, which ends its access tokens too."""
        base = identity.instance_url(tokens) or environment.login_url(app.settings)
        found = yield from grants.revoke(f"{base}{_PATH}/revoke", tokens.refresh_token or tokens.access_token)
        return found if found is None else errors.classified(found)

    def diagnose(self, refusal: Refusal, *, redirect_uri: str = "") -> Diagnosis:
        """Say what a refusal means."""
        found = errors.diagnose(refusal)
        if redirect_uri and refusal.error.startswith("redirect_uri"):
            return replace(found, next_steps=(f"The callback URL is {redirect_uri}", *found.next_steps))
        return found

    def refresh_helps(self, words: str) -> bool:
        """Say whether a 401 with these words is cured by a new token; two policies look like an expiry."""
        text = words.lower()
        return not any(t in text for t in ("not valid for use with the rest api", "is not attached to agent"))

    def session_environment(
        self, name: str, connection_id: str, auth_mode: str, tokens: TokenSet
    ) -> dict[str, str]:
        """Return what `salesforce_client` and its kin read; never a refresh token or a client secret."""
        return {
            f"{name}__oauth_access_token": tokens.access_token,
            f"{name}__instance_url": identity.instance_url(tokens),
            f"{name}__connection_id": connection_id,
            f"{name}__auth_type": "oauthPrivate" if auth_mode == form.PRIVATE.name else auth_mode,
            f"{name}__oauth_refresh_token": MANAGED,
        }


def _token_url(app: App) -> str:
    return f"{environment.login_url(app.settings)}{_PATH}/token"


def _client(app: App) -> Client:
    return Client(client_id=app.settings["client_id"], client_secret=app.secrets.get("client_secret"))


def _checked(tokens: TokenSet) -> TokenSet | Refusal:
    """Refuse an answer without the API's address; read the expiry of a token that is a JWT."""
    if not identity.instance_url(tokens):
        return Refusal(kind=Kind.TRANSIENT, error="", description="the token answer has no instance_url")
    if tokens.extra.get("token_format") == "jwt" or tokens.access_token.count(".") == 2:
        return replace(tokens, expires_at=_jwt_expiry(tokens.access_token))
    return tokens


def _jwt_expiry(token: str) -> datetime | None:
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return datetime.fromtimestamp(int(claims["exp"]), tz=UTC)
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, binascii.Error):
        return None


integration = Salesforce()
