"""The switches of the fake org: what nobody could verify against a live org, or a test may want otherwise.

The defaults are the best knowledge we have of a new Developer Edition org with an External Client App as
Salesforce creates it. Code of the product must pass with either position of every switch here.
"""

from dataclasses import dataclass, fields, replace
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How this org answers where Salesforce's documentation leaves it open, or where an admin decides.

    Attributes:
        ask_every_time: Show the consent page again to a user who has approved the app already.
        authorize_error_status: HTTP status of errors that only Salesforce's own page shows.
        authorize_policy_error: `error|description` sent to the callback after the login, such as
            `OAUTH_APP_BLOCKED|this app is blocked by admin`; empty where the policy allows the app.
        app_propagation_seconds: How long a new app answers `client identifier invalid`.
        code_lifetime_seconds: How long an authorization code is good for.
        code_reuse_revokes: Whether a code that is presented again ends its tokens (RFC 6749, 4.1.2).
        pkce_mismatch: `error|description` for a verifier that does not fit its challenge.
        pkce_missing_verifier: `error|description` for a challenge without a verifier.
        pkce_unexpected_verifier: `error|description` for a verifier without a challenge; empty accepts it.
        approvals_kept: How many refresh tokens one user may hold for one app; the oldest one goes first.
        reuse_access_token: A refresh returns the access token that still lives instead of a new one.
        refresh_returns_id_token: Whether a refresh with the scope `openid` returns an id token.
        session_timeout_seconds: Inactivity after which an access token ends.
        refresh_token_idle_seconds: Inactivity after which a refresh token ends; 0 means never.
        id_token_lifetime_seconds: Life of an id token.
        revoke_unknown: `error|description` that revoke answers for a token it does not know; empty means 200.
        login_rate_limit: Token requests until `login rate exceeded`; 0 means no limit.
        query_batch_size: Records of a page of a query where the client asks for nothing.
        query_batch_minimum: The smallest page that `Sforce-Query-Options` may ask for.
        daily_api_requests: The allocation that `Sforce-Limit-Info` names.
        enforce_api_limit: Refuse calls above the allocation with REQUEST_LIMIT_EXCEEDED.
        keepalive_seconds: Longest silence on a Subscribe stream that waits for events.
        idle_stream_seconds: How long a stream lives with nothing requested; 0 means for ever.
        max_outstanding: Most events that one stream may have requested and not received.
        event_retention_seconds: Age at which events leave the bus.
        accept_short_tenant_id: Whether `tenantid` may be the org id of 15 characters.
        check_instance_url: Whether `instanceurl` must be an address of this org.
        revocation_ends_streams: Whether revoking a token ends the streams that it opened.
        expiry_ends_streams: Whether a token that times out ends them too.
        unselected_topic: `silent` (the topic exists, nothing arrives) or `not_found` for the topic of an
            entity that is not selected for Change Data Capture.
        early_headers: Whether an accepted Subscribe sends its headers at once, or with the first message.
        multi_entity_schema_id: What GetTopic answers as schema id of `/data/ChangeEvents`.
    """

    ask_every_time: bool = True
    authorize_error_status: int = 400
    authorize_policy_error: str = ""
    app_propagation_seconds: int = 0
    code_lifetime_seconds: int = 900
    code_reuse_revokes: bool = False
    pkce_mismatch: str = "invalid_request|invalid code verifier"
    pkce_missing_verifier: str = "invalid_grant|missing required code verifier"
    pkce_unexpected_verifier: str = "invalid_grant|invalid code verifier"
    approvals_kept: int = 5
    reuse_access_token: bool = False
    refresh_returns_id_token: bool = False
    session_timeout_seconds: int = 7200
    refresh_token_idle_seconds: int = 0
    id_token_lifetime_seconds: int = 120
    revoke_unknown: str = "invalid_token|invalid token"
    login_rate_limit: int = 0
    query_batch_size: int = 2000
    query_batch_minimum: int = 200
    daily_api_requests: int = 15000
    enforce_api_limit: bool = False
    keepalive_seconds: float = 270
    idle_stream_seconds: float = 60
    max_outstanding: int = 100
    event_retention_seconds: int = 72 * 3600
    accept_short_tenant_id: bool = True
    check_instance_url: bool = True
    revocation_ends_streams: bool = True
    expiry_ends_streams: bool = False
    unselected_topic: str = "silent"
    early_headers: bool = True
    multi_entity_schema_id: str = ""

    def but(self, changes: dict[str, object]) -> Self:
        """Return a copy with these switches set.

        Raises:
            ValueError: A name is no switch, or a value has the wrong type.
        """
        known = {field.name: type(getattr(self, field.name)) for field in fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise ValueError(f"no switch {name!r}; there are {', '.join(sorted(known))}")
            if not _fits(value, known[name]):
                raise ValueError(f"switch {name} takes {known[name].__name__}, not {value!r}")
        return replace(self, **changes)  # type: ignore[arg-type]


def _fits(value: object, kind: type) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    return isinstance(value, int | float) if kind in {int, float} else isinstance(value, kind)


def pair(text: str) -> tuple[str, str]:
    """Split `error|description` as the switches above write it."""
    error, _, description = text.partition("|")
    return error, description
