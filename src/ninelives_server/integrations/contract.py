"""What an integration is: the form that people fill in, and what can be said to its service.

Everything that talks to the service is a flow (`oauth.messages.Flow`): it yields requests and does no I/O, so
one implementation serves the server, tests and any client. Nothing here knows about rows, pages or HTTP.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, Protocol

from ninelives_server.integrations.hosts import HostRule
from ninelives_server.model.connections import Account, ConnectionState
from ninelives_server.oauth.messages import Flow
from ninelives_server.oauth.outcomes import Refusal
from ninelives_server.oauth.tokens import TokenSet

FieldKind = Literal["text", "secret", "choice", "url"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One answer of a `choice` field: what is stored, and what people see."""

    value: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One input of an auth mode.

    Attributes:
        name: Key in a connection's settings, or in its secrets where `kind` is `secret`.
        label: Exactly what the form shows.
        help: The vendor's name of the thing and the menu path to it.
        kind: `secret` is write-only; `choice` offers `choices`.
        default: Used where nothing is entered; the form shows it.
        other_label: Of a `choice` that also takes any text, such as an address; empty where it does not. A
            form then shows one more option with this label, and a text input for it.
        is_advanced: Most people leave it as it is; a form may fold it away.
        is_long: It has several lines, as a key file has.
        is_client_secret: Sessions get it only where the owner said so (`AuthMode.gives_client_secret`).
    """

    name: str
    label: str
    help: str = ""
    kind: FieldKind = "text"
    required: bool = False
    choices: tuple[Choice, ...] = ()
    default: str = ""
    placeholder: str = ""
    other_label: str = ""
    is_advanced: bool = False
    is_long: bool = False
    is_client_secret: bool = False

    @property
    def is_secret(self) -> bool:
        """Whether the value is write-only and sealed."""
        return self.kind == "secret"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthMode:
    """One way to authenticate.

    Attributes:
        fields: In the order in which a form shows them.
        uses_oauth: Whether a browser has to authorise it; a form then says "Save and authorise".
        setup_steps: What to do at the service first, one sentence each.
        variables: Of a mode without OAuth: what its sessions find beside the fields, such as `auth_type`.
        token_field: Of a mode without OAuth: the field that is handed out as its access token; may be empty.
    """

    name: str
    title: str
    fields: tuple[Field, ...]
    uses_oauth: bool
    setup_steps: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    token_field: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """The connection's own app: what its owner entered. Bound to one connection; there is no other.

    Attributes:
        settings: Not secret, normalised by `Integration.normalise`.
        secrets: Such as `client_secret`.
    """

    settings: Mapping[str, str]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What a failure means: the state it leads to, one sentence for people, and what to do, in order.

    Attributes:
        provider_words: What the service said, safe to show.
    """

    state: ConnectionState
    message: str
    next_steps: tuple[str, ...] = ()
    provider_words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who authorised.

    Attributes:
        account_key: The integration's own stable text for this account, for events.
        trouble: What the first API call with the new token ran into; `None` where it worked.
    """

    account: Account
    account_key: str
    trouble: Diagnosis | None = None


CheckStatus = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of the doctor."""

    name: str
    status: CheckStatus
    message: str
    next_step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """A likely cause of something that only the service's own page shows, and the way out."""

    seen: str
    cause: str
    next_step: str


class Integration(Protocol):
    """A kind of service. One object per kind, without state; the registry loads it by name.

    Attributes:
        aliases: Other names under which manifests may ask for it.
        auth_modes: The first one is what a manifest's connection gets.
        token_lifetime: How long an access token is surely good where the service does not say; older ones are
            refreshed before a session starts. `None`: until it is refused.
        waiting_hints: For the page that waits beside the service's own pages, likeliest first.
    """

    name: str
    aliases: Sequence[str]
    title: str
    docs_url: str
    auth_modes: Sequence[AuthMode]
    token_lifetime: timedelta | None
    waiting_hints: Sequence[Hint]

    def host_rule(self) -> HostRule:
        """Return the hosts that may be called for this integration."""
        ...

    def normalise(
        self, mode: str, settings: Mapping[str, str], insecure_hosts: frozenset[str]
    ) -> dict[str, str]:
        """Return the settings in their stored form: defaults filled in, addresses corrected.

        Raises:
            Invalid: A value cannot be used; `fields` names it.
        """
        ...

    def login_host(self, settings: Mapping[str, str]) -> str:
        """Return the host on which people log in, for showing it."""
        ...

    def authorize_url(self, app: App, *, redirect_uri: str, state: str, challenge: str) -> str:
        """Return where the browser goes to ask for consent."""
        ...

    def exchange(self, app: App, *, code: str, verifier: str, redirect_uri: str) -> Flow[TokenSet | Refusal]:
        """Trade an authorization code for tokens."""
        ...

    def refresh(self, app: App, tokens: TokenSet) -> Flow[TokenSet | Refusal]:
        """Trade the refresh token for a new access token; the result is merged with `tokens`."""
        ...

    def identify(self, app: App, tokens: TokenSet) -> Flow[Identity | Refusal]:
        """Find out whose tokens these are."""
        ...

    def probe(self, app: App, tokens: TokenSet) -> Flow[Diagnosis | None]:
        """Make one cheap call that needs what sessions need; `None` where it works."""
        ...

    def doctor(self, app: App, tokens: TokenSet) -> Flow[Sequence[Check]]:
        """Check one thing after the other that this service is known to get in the way with."""
        ...

    def revoke(self, app: App, tokens: TokenSet) -> Flow[Refusal | None]:
        """End the grant at the service; `None` where it did."""
        ...

    def diagnose(self, refusal: Refusal, *, redirect_uri: str = "") -> Diagnosis:
        """Say what a refusal means; total: every refusal has an answer."""
        ...

    def refresh_helps(self, words: str) -> bool:
        """Say whether a new access token can cure a 401 with these words."""
        ...

    def session_environment(
        self, name: str, connection_id: str, auth_mode: str, tokens: TokenSet
    ) -> dict[str, str]:
        """Return the variables by which sessions find this connection, named `NAME__…`."""
        ...
