"""The life of a grant in the database: saved whole, or forgotten whole. Pure units, no I/O to elsewhere."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ninelives_server.connections.safe import Safe
from ninelives_server.errors import Invalid
from ninelives_server.integrations import hosts
from ninelives_server.integrations.contract import Diagnosis, Identity, Integration
from ninelives_server.model.actors import Actor
from ninelives_server.model.connections import Account, Connection, ConnectionState
from ninelives_server.oauth.tokens import TokenSet
from ninelives_server.store import audit, connections, refreshes
from ninelives_server.store.core import Tx

#: What an administrator has to change is looked at again this often.
SLOW_RETRY = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """An access token for immediate use, and where to use it.

    Attributes:
        generation: Of the grant; a larger one is newer.
        expires_at: `None` where the provider does not say.
    """

    connection_id: str
    token: str = field(repr=False)
    instance_url: str
    org_id: str
    user_id: str
    expires_at: datetime | None
    generation: int


def access_of(connection: Connection, tokens: TokenSet) -> AccessToken:
    """Return what users of a connection get."""
    account = connection.account
    return AccessToken(
        connection_id=connection.id,
        token=tokens.access_token,
        instance_url=tokens.extra.get("instance_url", "") or (account.instance_url if account else ""),
        org_id=account.org_id if account else "",
        user_id=account.user_id if account else "",
        expires_at=tokens.expires_at,
        generation=connection.generation,
    )


def save_new(
    tx: Tx, safe: Safe, connection: Connection, tokens: TokenSet, identity: Identity, by: Actor
) -> None:
    """Save a fresh authorisation: tokens, identity and state in this one unit.

    The refresh row is locked first and forgets the old grant, so that a refresh of it that is under way finds
    another generation and saves nothing.
    """
    refreshes.locked(tx, connection.id)
    refreshes.forget(tx, connection.id)
    safe.put_tokens(tx, connection, tokens.stamped(tx.now))
    connections.set_grant(tx, connection.id, account=identity.account, account_key=identity.account_key)
    trouble = identity.trouble
    if trouble is None or trouble.state is ConnectionState.DEGRADED:
        connections.set_state(tx, connection.id, ConnectionState.OK)
    else:
        set_diagnosed(tx, connection.id, trouble)
        refreshes.postpone(tx, connection.id, tx.now + SLOW_RETRY)
    connections.touch(tx, connection.id, checked_at=tx.now, refreshed_at=tx.now)
    before = connection.account
    audit.record(
        tx,
        by,
        "connection.authorised",
        connection.id,
        project_id=connection.project_id,
        details={
            "account": identity.account_key,
            "user": identity.account.user,
            "scopes": list(identity.account.scopes),
            "client_id": connection.settings.get("client_id", ""),
            "account_before": connection.account_key if before else None,
        },
    )


def save_refreshed(
    tx: Tx, safe: Safe, connection: Connection, tokens: TokenSet
) -> tuple[Connection, TokenSet]:
    """Save refreshed tokens, with the API's address that came with them; return both as they are now."""
    stamped = tokens.stamped(tx.now)
    safe.put_tokens(tx, connection, stamped)
    account = _moved(connection.account, stamped)
    generation = connections.set_grant(tx, connection.id, account=account, account_key=connection.account_key)
    connections.set_state(tx, connection.id, ConnectionState.OK)
    connections.touch(tx, connection.id, refreshed_at=tx.now, checked_at=tx.now)
    return replace(connection, account=account, generation=generation, last_refreshed_at=tx.now), stamped


def _moved(account: Account | None, tokens: TokenSet) -> Account | None:
    if account is None:
        return None
    url = tokens.extra.get("instance_url", "").rstrip("/") or account.instance_url
    return replace(account, instance_url=url, scopes=tokens.scopes or account.scopes)


def forget(tx: Tx, safe: Safe, connection: Connection) -> None:
    """Forget a grant on our side; what the owner entered stays."""
    refreshes.locked(tx, connection.id)
    refreshes.forget(tx, connection.id)
    safe.drop_tokens(tx, connection)
    connections.set_grant(tx, connection.id, account=None, account_key=None)


def set_diagnosed(tx: Tx, connection_id: str, diagnosis: Diagnosis) -> None:
    """Set the state that a diagnosis leads to, with its words."""
    connections.set_state(
        tx,
        connection_id,
        diagnosis.state,
        reason=diagnosis.message,
        provider_reason=diagnosis.provider_words,
    )


def trusted(
    tokens: TokenSet, old: TokenSet, integration: Integration, insecure_hosts: frozenset[str]
) -> TokenSet:
    """Return the tokens with an API address that belongs to the service: the old one where the new does not.

    The tokens themselves are kept in any case: with rotation the old refresh token is dead.
    """
    try:
        hosts.check(tokens.extra.get("instance_url", ""), integration.host_rule(), insecure_hosts)
    except Invalid:
        return replace(tokens, extra={**tokens.extra, "instance_url": old.extra.get("instance_url", "")})
    return tokens
