"""Access tokens of the project's connections.

A session finds the token that was fresh when its process started in the variable `NAME__oauth_access_token`;
newer ones it gets by asking, never by refreshing: it holds no refresh token.
"""

import hashlib
import os
import re
from datetime import UTC, datetime
from typing import NamedTuple

from ninelives import host
from ninelives.errors import ConnectionNotReady, TokenRefused


class Token(NamedTuple):
    """An access token.

    Attributes:
        expires_at: In UTC; `None` where the provider does not say, as Salesforce does not.
        instance_url: Where the account's API is; empty where the provider has one address for all.
    """

    value: str
    instance_url: str
    expires_at: datetime | None

    def __repr__(self) -> str:
        return f"Token(instance_url={self.instance_url!r}, expires_at={self.expires_at!r})"


def check_name(connection: str) -> str:
    """Return the name of a connection if it can be one.

    Raises:
        ValueError: It cannot.
    """
    if not isinstance(connection, str) or not re.fullmatch(r"[A-Za-z_]\w*", connection):
        raise ValueError(f"a connection's name is letters, digits and _, not {connection!r}")
    return connection


def token_in_hand(connection: str) -> Token:
    """Return the newest token that this process knows; empty where there is none."""
    prefix = f"{check_name(connection)}__"
    value = os.environ.get(f"{prefix}oauth_access_token", "")
    return Token(value, os.environ.get(f"{prefix}instance_url", ""), None)


def renew(connection: str, refused: str | None = None) -> Token:
    """Ask the server for an access token and remember it for this process.

    Args:
        connection: The connection's name.
        refused: A token that the provider has refused: another one is wanted.

    Raises:
        ConnectionNotReady: There is no such connection, or it is not connected.
        TokenRefused: There is no other token to be had.
    """
    session = host.required(f"renewing the token of {connection!r}")
    if check_name(connection) not in session.connections:
        raise ConnectionNotReady(
            f"this project has no connection {connection!r}; add it to the manifest, or run "
            f"`ninelives connection create PROJECT {connection} INTEGRATION`"
        )
    digest = hashlib.sha256(refused.encode()).hexdigest() if refused else None
    answer = session.token(connection, digest)
    value = str(answer.get("token") or answer.get("access_token") or "")
    if not value:
        raise TokenRefused(f"the server has no access token for {connection!r}; connect the account again")
    found = Token(value, str(answer.get("instance_url") or ""), _time(answer.get("expires_at")))
    os.environ[f"{connection}__oauth_access_token"] = found.value
    if found.instance_url:
        os.environ[f"{connection}__instance_url"] = found.instance_url
    return found


def _time(value: object) -> datetime | None:
    if value is None or value == "":
        return None
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    parsed = datetime.fromisoformat(str(value))
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def refresh_oauth(integration: str, connection: str) -> tuple[str, datetime]:
    """Return a new access token and when it expires, in UTC without a zone, as AutoKitteh's helpers expect.

    Where the provider does not say when it expires, the time is two hours from now.
    """
    del integration  # the connection knows its own
    return _with_expiry(renew(connection, token_in_hand(connection).value or None))


def access_oauth(integration: str, connection: str) -> tuple[str, datetime]:
    """Return a good access token and when it expires, as `refresh_oauth` does; a new one only where due."""
    del integration  # the connection knows its own
    return _with_expiry(renew(connection))


def _with_expiry(found: Token) -> tuple[str, datetime]:
    expires = found.expires_at or datetime.fromtimestamp(datetime.now(UTC).timestamp() + 7200, UTC)
    return found.value, expires.replace(tzinfo=None)
