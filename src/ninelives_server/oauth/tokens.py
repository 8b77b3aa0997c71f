"""What a token endpoint grants: reading it strictly, merging it with what we have, keeping it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSet:
    """Tokens of one grant, and what came with them.

    Attributes:
        refresh_token: `None` where the provider gave none.
        lifetime: As told with the tokens; `stamped` makes a time of it.
        expires_at: When the access token stops working; `None` where the provider does not say, as Salesforce
            does not.
        scopes: As granted, sorted; empty where the provider does not say.
        extra: Other text members of the answer that are no secret and that the provider's code asked for.
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    lifetime: timedelta | None = None
    expires_at: datetime | None = None
    scopes: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)

    def merged(self, newer: "TokenSet") -> "TokenSet":
        """Return the newer tokens; what their answer left out is kept from these.

        A provider without rotation answers a refresh without a refresh token (RFC 6749, section 6), and some
        leave out the scopes or their own members.
        """
        return replace(
            newer,
            refresh_token=newer.refresh_token or self.refresh_token,
            scopes=newer.scopes or self.scopes,
            extra={**self.extra, **{k: v for k, v in newer.extra.items() if v}},
        )

    def stamped(self, now: datetime) -> "TokenSet":
        """Return the same tokens with `expires_at` set from a lifetime that begins now."""
        return self if self.lifetime is None else replace(self, lifetime=None, expires_at=now + self.lifetime)


def parse(document: Mapping[str, object], *, keep: tuple[str, ...] = ()) -> TokenSet | None:
    """Read a token answer (RFC 6749, section 5.1); `None` where it grants nothing.

    `keep` names the provider's own members to keep in `extra`. An `expires_in` that is no number is ignored:
    it only ever makes us refresh earlier.
    """
    access = document.get("access_token")
    if not isinstance(access, str) or not access:
        return None
    refresh = document.get("refresh_token")
    scope = document.get("scope")
    return TokenSet(
        access_token=access,
        refresh_token=refresh if isinstance(refresh, str) and refresh else None,
        lifetime=_lifetime(document.get("expires_in")),
        scopes=tuple(sorted(set(scope.split()))) if isinstance(scope, str) else (),
        extra={name: value for name in keep if isinstance(value := document.get(name), str)},
    )


def _lifetime(seconds: object) -> timedelta | None:
    if isinstance(seconds, str) and seconds.isdigit():
        seconds = int(seconds)
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 < seconds < 10**9:
        return None
    return timedelta(seconds=seconds)


def dump(tokens: TokenSet) -> dict[str, bytes]:
    """Return the values to seal: each secret on its own, the rest as `token_facts`."""
    facts = {
        "expires_at": tokens.expires_at.isoformat() if tokens.expires_at else None,
        "scopes": list(tokens.scopes),
        "extra": dict(tokens.extra),
    }
    found = {"access_token": tokens.access_token.encode(), "token_facts": json.dumps(facts).encode()}
    if tokens.refresh_token is not None:
        found["refresh_token"] = tokens.refresh_token.encode()
    return found


def load(values: Mapping[str, bytes]) -> TokenSet | None:
    """Return the tokens that `dump` made, or `None` where there is no access token."""
    if "access_token" not in values:
        return None
    facts = json.loads(values.get("token_facts", b"{}"))
    expires = facts.get("expires_at")
    refresh = values.get("refresh_token")
    return TokenSet(
        access_token=values["access_token"].decode(),
        refresh_token=refresh.decode() if refresh is not None else None,
        expires_at=datetime.fromisoformat(expires).astimezone(UTC) if expires else None,
        scopes=tuple(facts.get("scopes", ())),
        extra=dict(facts.get("extra", {})),
    )
