"""Codes, refresh tokens and access tokens: what was given to whom, and what ended it.

Pure state: the time comes in, decisions go out, refusals are `OAuthError`. Reading a request and writing
the answer is `oauth/`'s business.
"""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ninelives_server.testing.fake_salesforce.behaviour import Behaviour
from ninelives_server.testing.fake_salesforce.faults import OAuthError

_TOKEN_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._"
NOT_VALID = "Session expired or invalid"


@dataclass(slots=True, kw_only=True)
class Code:
    """An authorization code and what it stands for."""

    value: str = field(repr=False)
    client_id: str
    user_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    challenge: str | None
    nonce: str | None
    issued_at: datetime
    used: bool = False
    grant_id: str | None = None


@dataclass(slots=True, kw_only=True)
class Grant:
    """One approval of an app by a user, with its line of refresh tokens.

    Attributes:
        refresh_token: The one that works; `None` where the scope does not include one, or it is gone.
        ended: Why it ended, in our words; `None` while it lives.
    """

    grant_id: str
    client_id: str
    user_id: str
    scopes: tuple[str, ...]
    created_at: datetime
    used_at: datetime
    refresh_token: str | None = field(default=None, repr=False)
    retired: set[str] = field(default_factory=set, repr=False)
    ended: str | None = None


@dataclass(slots=True, kw_only=True)
class AccessToken:
    """A session of a user through an app.

    Attributes:
        grant_id: `None` where no approval stands behind it (client credentials, JWT bearer).
        refusal: What the REST API says instead of answering; `None` while it works.
    """

    value: str = field(repr=False)
    client_id: str
    user_id: str
    grant_id: str | None
    scopes: tuple[str, ...]
    issued_at: datetime
    used_at: datetime
    refusal: str | None = None
    revoked: bool = False


class Ledger:
    """Everything that was granted in one org."""

    def __init__(self, org_id: str) -> None:
        self._short_org = org_id[:15]
        self.codes: dict[str, Code] = {}
        self.grants: dict[str, Grant] = {}
        self.tokens: dict[str, AccessToken] = {}
        self.requests = 0

    # -- codes --------------------------------------------------------------------------------

    def add_code(
        self, *, client_id: str, user_id: str, redirect_uri: str, scopes: tuple[str, ...],
        challenge: str | None, nonce: str | None, now: datetime,
    ) -> Code:  # fmt: skip
        """Issue a code. They are long, begin with `aPrx` and end with `==`."""
        code = Code(
            value=f"aPrx{_random(88)}==", client_id=client_id, user_id=user_id, redirect_uri=redirect_uri,
            scopes=scopes, challenge=challenge, nonce=nonce, issued_at=now,
        )  # fmt: skip
        self.codes[code.value] = code
        return code

    def take_code(self, value: str, *, client_id: str, now: datetime, behaviour: Behaviour) -> Code:
        """Return a code that may be traded now.

        Raises:
            OAuthError: It is unknown, of another app, too old, or was traded before.
        """
        code = self.codes.get(value)
        if code is None or code.client_id != client_id:
            raise OAuthError("invalid_grant", "invalid authorization code")
        if code.used:
            if behaviour.code_reuse_revokes and code.grant_id:
                self.end(self.grants[code.grant_id], "its code was presented again")
            raise OAuthError("invalid_grant", "expired authorization code")
        if now - code.issued_at > timedelta(seconds=behaviour.code_lifetime_seconds):
            raise OAuthError("invalid_grant", "expired authorization code")
        return code

    # -- grants -------------------------------------------------------------------------------

    def open(
        self, *, client_id: str, user_id: str, scopes: tuple[str, ...], now: datetime, behaviour: Behaviour
    ) -> Grant:
        """Record an approval; the oldest one of this user and app goes where there are too many."""
        grant = Grant(
            grant_id=secrets.token_hex(8), client_id=client_id, user_id=user_id, scopes=scopes,
            created_at=now, used_at=now,
        )  # fmt: skip
        if "refresh_token" in scopes:
            grant.refresh_token = _new_refresh_token()
        self.grants[grant.grant_id] = grant
        if grant.refresh_token:
            mine = [g for g in self.live(client_id=client_id, user_id=user_id) if g.refresh_token]
            for old in (
                mine[: -behaviour.approvals_kept or None] if len(mine) > behaviour.approvals_kept else ()
            ):
                self.end(old, "a newer approval took its place")
        return grant

    def live(self, *, client_id: str | None = None, user_id: str | None = None) -> list[Grant]:
        """Return the grants that live, oldest first, of an app, a user, or all."""
        return [
            g for g in self.grants.values()
            if g.ended is None and client_id in {None, g.client_id} and user_id in {None, g.user_id}
        ]  # fmt: skip

    def take_refresh(
        self, value: str, *, client_id: str, now: datetime, rotate: bool, behaviour: Behaviour
    ) -> Grant:
        """Use a refresh token; with rotation it is replaced.

        Raises:
            OAuthError: It does not live. A token that rotation had replaced takes its whole line with it.
        """
        grant = next((g for g in self.live(client_id=client_id) if g.refresh_token == value), None)
        if grant is None:
            for thief in [g for g in self.live(client_id=client_id) if value in g.retired]:
                self.end(thief, "a refresh token that rotation had replaced was presented")
            raise OAuthError("invalid_grant", "expired access/refresh token")
        idle = behaviour.refresh_token_idle_seconds
        if idle and now - grant.used_at > timedelta(seconds=idle):
            self.end(grant, "its refresh token was not used in time")
            raise OAuthError("invalid_grant", "token validity expired")
        grant.used_at = now
        if rotate:
            grant.retired.add(value)
            grant.refresh_token = _new_refresh_token()
        return grant

    def end(self, grant: Grant, reason: str) -> None:
        """End a grant with all its tokens."""
        grant.ended = reason
        for token in self.tokens.values():
            if token.grant_id == grant.grant_id:
                self.end_token(token)

    # -- access tokens ------------------------------------------------------------------------

    def add_token(
        self, *, client_id: str, user_id: str, grant_id: str | None, scopes: tuple[str, ...], now: datetime,
        behaviour: Behaviour,
    ) -> AccessToken:  # fmt: skip
        """Issue an access token, or return the one that still lives where the org reuses them."""
        if behaviour.reuse_access_token:
            for token in self.tokens.values():
                same = (token.client_id, token.user_id, token.grant_id) == (client_id, user_id, grant_id)
                if same and self.works(token, now, behaviour):
                    return token
        token = AccessToken(
            value=f"{self._short_org}!{_random(96)}", client_id=client_id, user_id=user_id,
            grant_id=grant_id, scopes=scopes, issued_at=now, used_at=now,
        )  # fmt: skip
        self.tokens[token.value] = token
        return token

    def works(self, token: AccessToken, now: datetime, behaviour: Behaviour) -> bool:
        """Say whether an access token is good now."""
        idle = timedelta(seconds=behaviour.session_timeout_seconds)
        return token.refusal is None and now - token.used_at <= idle

    def use(self, value: str, now: datetime, behaviour: Behaviour) -> AccessToken | None:
        """Return the session of an access token and keep it alive, or `None` where it is not good."""
        token = self.tokens.get(value)
        if token is None or not self.works(token, now, behaviour):
            return None
        token.used_at = now
        return token

    def end_token(self, token: AccessToken, refusal: str = NOT_VALID, *, revoked: bool = True) -> None:
        """End a session: revoked, or only as if it had timed out."""
        token.refusal = refusal
        token.revoked = token.revoked or revoked

    def revoke(self, value: str) -> bool:
        """End whatever the token belongs to; say whether it was known and lived.

        A refresh token takes its grant along, an access token only its own session.
        """
        for grant in self.live():
            if grant.refresh_token == value:
                self.end(grant, "revoked")
                return True
        token = self.tokens.get(value)
        if token is None or token.refusal is not None:
            return False
        self.end_token(token)
        return True


def _random(length: int) -> str:
    return "".join(secrets.choice(_TOKEN_ALPHABET) for _ in range(length))


def _new_refresh_token() -> str:
    return f"5Aep861{_random(80)}"
