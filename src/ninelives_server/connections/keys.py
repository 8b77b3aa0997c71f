"""What sessions get of connections: the variables of their helpers, and tokens that need no refreshing."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from ninelives_server.connections.grants import AccessToken
from ninelives_server.connections.safe import Safe
from ninelives_server.errors import NeedsReauth
from ninelives_server.integrations import entered
from ninelives_server.integrations.registry import Registry
from ninelives_server.model.actors import Actor
from ninelives_server.model.connections import Connection, ConnectionState
from ninelives_server.store import audit, connections
from ninelives_server.store.core import Tx


class Keys:
    """Opens what a connection holds, for sessions of its project."""

    def __init__(self, registry: Registry, safe: Safe) -> None:
        self._registry = registry
        self._safe = safe

    def environment(
        self, tx: Tx, actor: Actor, connection: Connection
    ) -> tuple[Mapping[str, str], AbstractSet[str]]:
        """Return a connection's variables, named `NAME__…`, and which of the values are masked.

        Where it is not set up these are its id and what its manifest says beyond the fields of its forms.
        """
        integration = self._registry.get(connection.integration)
        own = entered.own_variables(integration, connection.settings)
        found = {**_prefixed(connection, own), f"{connection.name}__connection_id": connection.id}
        if connection.state is ConnectionState.DISCONNECTED:
            return found, frozenset()
        mode = self._registry.mode(connection.integration, connection.auth_mode)
        if not mode.uses_oauth:
            values, masked = entered.variables(mode, self._safe.app(tx, connection))
            if masked:
                used(tx, actor, connection)
            return {**found, **_prefixed(connection, values)}, masked
        tokens = self._safe.tokens(tx, connection)
        if tokens is None:
            return found, frozenset()
        used(tx, actor, connection)
        granted = integration.session_environment(
            connection.name, connection.id, connection.auth_mode, tokens
        )
        return {**found, **granted}, {tokens.access_token}

    def token(self, tx: Tx, actor: Actor, connection: Connection) -> AccessToken:
        """Return the key of a connection without OAuth in the place of an access token.

        It is the only one there is, so one that was refused is returned as well.

        Raises:
            NeedsReauth: It was not entered, or the connection's mode has none.
        """
        mode = self._registry.mode(connection.integration, connection.auth_mode)
        key = self._safe.app(tx, connection).secrets.get(mode.token_field, "")
        if connection.state is not ConnectionState.OK or not key:
            is_ready = connection.state is ConnectionState.OK
            why = f"{mode.title} gives no access token" if is_ready else connection.reason or "not set up yet"
            raise NeedsReauth(f"connection {connection.name!r}: {why}")
        used(tx, actor, connection)
        return AccessToken(
            connection_id=connection.id,
            token=key,
            instance_url="",
            org_id="",
            user_id="",
            expires_at=None,
            generation=connection.generation,
        )


def used(tx: Tx, actor: Actor, connection: Connection) -> None:
    """Note that a credential of a connection was handed out."""
    connections.touch(tx, connection.id, used_at=tx.now)
    audit.record(tx, actor, "connection.token_used", connection.id, project_id=connection.project_id)


def _prefixed(connection: Connection, variables: Mapping[str, str]) -> dict[str, str]:
    return {f"{connection.name}__{name}": value for name, value in variables.items()}
