"""An integration that is data: one TOML file, for services that a key is enough for.

    name = "telegram"
    aliases = ["telegram_bot"]          # other names in manifests; may be left out
    title = "Telegram"
    docs = "https://core.telegram.org/bots"

    [[modes]]                           # the first is what a manifest's connection gets
    name = "bot_token"
    title = "Bot token"
    token = "BotToken"                  # the field that is handed out as access token; may be left out
    variables = {auth_type = "bot"}     # what sessions find beside the fields; may be left out

    [[modes.fields]]                    # `name` is the variable: sessions find `CONNECTION__BotToken`
    name = "BotToken"
    label = "Bot token"
    kind = "secret"
    required = true

There is no conditional in it; what needs one has earned a folder with code. OAuth is not declarative yet.
"""

import tomllib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from ninelives_server.errors import Invalid
from ninelives_server.integrations import entered
from ninelives_server.integrations.contract import (
    App,
    AuthMode,
    Check,
    Diagnosis,
    Field,
    Hint,
    Identity,
)
from ninelives_server.integrations.hosts import HostRule
from ninelives_server.model.connections import ConnectionState
from ninelives_server.oauth.messages import Flow
from ninelives_server.oauth.outcomes import Kind, Refusal
from ninelives_server.oauth.tokens import TokenSet

_FIELD_KEYS = {"name", "label", "help", "kind", "required", "default", "placeholder", "long", "client_secret"}


class Declarative:
    """Implements `integrations.contract.Integration` for a service without OAuth; see the module."""

    token_lifetime: timedelta | None = None
    waiting_hints: Sequence[Hint] = ()

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.name: str = document["name"]
        self.aliases: Sequence[str] = tuple(document.get("aliases", ()))
        self.title: str = document["title"]
        self.docs_url: str = document["docs"]
        self.auth_modes: Sequence[AuthMode] = tuple(_mode(mode) for mode in document["modes"])

    @classmethod
    def load(cls, path: Path) -> "Declarative":
        """Read a file.

        Raises:
            Invalid: It is no TOML, or lacks something; the message names the file and the key.
        """
        try:
            return cls(tomllib.loads(path.read_text(encoding="utf-8")))
        except tomllib.TOMLDecodeError as error:
            raise Invalid(f"{path.name}: {error}") from error
        except KeyError as error:
            raise Invalid(f"{path.name} lacks the key {error}") from error

    def host_rule(self) -> HostRule:
        """Return a rule under which nothing but public addresses could be called; nothing is."""
        return HostRule()

    def normalise(
        self, mode: str, settings: Mapping[str, str], insecure_hosts: frozenset[str]
    ) -> dict[str, str]:
        """Return the settings without blanks around them."""
        _ = mode, insecure_hosts
        return {name: value.strip() for name, value in settings.items()}

    def login_host(self, settings: Mapping[str, str]) -> str:
        """Return nothing: nobody logs in."""
        _ = settings
        return ""

    def authorize_url(self, app: App, *, redirect_uri: str, state: str, challenge: str) -> str:
        """Refuse: there is nothing to authorise in a browser."""
        _ = app, redirect_uri, state, challenge
        raise Invalid(f"{self.title} is connected by what is entered, not in a browser")

    def exchange(self, app: App, *, code: str, verifier: str, redirect_uri: str) -> Flow[TokenSet | Refusal]:
        """Refuse: no code was ever asked for."""
        _ = app, code, verifier, redirect_uri
        return (yield from self._refused())

    def refresh(self, app: App, tokens: TokenSet) -> Flow[TokenSet | Refusal]:
        """Refuse: a key is not refreshed."""
        _ = app, tokens
        return (yield from self._refused())

    def identify(self, app: App, tokens: TokenSet) -> Flow[Identity | Refusal]:
        """Refuse: nothing is known of whose key it is."""
        _ = app, tokens
        return (yield from self._refused())

    def probe(self, app: App, tokens: TokenSet) -> Flow[Diagnosis | None]:
        """Find nothing wrong: nothing is asked."""
        _ = app, tokens
        yield from ()
        return None

    def doctor(self, app: App, tokens: TokenSet) -> Flow[Sequence[Check]]:
        """Check nothing."""
        _ = app, tokens
        yield from ()
        return []

    def revoke(self, app: App, tokens: TokenSet) -> Flow[Refusal | None]:
        """Refuse: a key is revoked where it was made."""
        _ = app, tokens
        return (yield from self._refused())

    def _refused(self) -> Flow[Refusal]:
        yield from ()
        return Refusal(kind=Kind.REFUSED, error="not_supported", description=f"{self.title} uses a key")

    def diagnose(self, refusal: Refusal, *, redirect_uri: str = "") -> Diagnosis:
        """Say that the key has to be looked at."""
        _ = redirect_uri
        return Diagnosis(
            state=ConnectionState.NEEDS_REAUTH,
            message=f"{self.title} does not take what was entered",
            next_steps=("Make a new key at the service and enter it in the connection's form",),
            provider_words=refusal.words,
        )

    def refresh_helps(self, words: str) -> bool:
        """Say no: a key that is refused stays refused."""
        _ = words
        return False

    def session_environment(
        self, name: str, connection_id: str, auth_mode: str, tokens: TokenSet
    ) -> dict[str, str]:
        """Return the id only: what was entered is added by `integrations.entered`."""
        _ = auth_mode, tokens
        return {f"{name}__connection_id": connection_id}


def _mode(document: Mapping[str, Any]) -> AuthMode:
    fields = tuple(_field(one) for one in document["fields"])
    if any(f.is_client_secret for f in fields):
        fields = (*fields, entered.GIVE_FIELD)
    return AuthMode(
        name=document["name"],
        title=document["title"],
        fields=fields,
        uses_oauth=False,
        setup_steps=tuple(document.get("setup_steps", ())),
        variables=dict(document.get("variables", {})),
        token_field=document.get("token", ""),
    )


def _field(document: Mapping[str, Any]) -> Field:
    unknown = set(document) - _FIELD_KEYS
    if unknown:
        raise Invalid(f"field {document['name']!r} has unknown keys: {', '.join(sorted(unknown))}")
    found = {key: value for key, value in document.items() if key not in {"long", "client_secret"}}
    return Field(
        **found, is_long=bool(document.get("long")), is_client_secret=bool(document.get("client_secret"))
    )
