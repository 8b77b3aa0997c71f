"""A connection's secrets: sealed in the store, opened only where they are used.

Each value is bound to its row and name, so that one that is copied to another connection does not open.
"""

from collections.abc import Mapping

from ninelives_server.integrations.contract import App
from ninelives_server.model.connections import Connection
from ninelives_server.oauth import tokens
from ninelives_server.oauth.tokens import TokenSet
from ninelives_server.store import connections
from ninelives_server.store.core import Tx
from ninelives_server.vault.vault import SERVER, Vault

#: What belongs to a grant, and goes when it goes; everything else is what the owner entered.
GRANTED = ("access_token", "refresh_token", "token_facts")


def owner_of(connection: Connection) -> str:
    """Return whose data key seals a connection's secrets."""
    return connection.project_id or SERVER


class Safe:
    """Opens and seals the secrets of connections."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def put(self, tx: Tx, connection: Connection, values: Mapping[str, bytes]) -> None:
        """Seal and save values, in the place of those of the same name."""
        for name, value in values.items():
            sealed = self._vault.seal(tx, owner_of(connection), _place(connection, name), value)
            connections.put_secret(tx, connection.id, name, sealed)

    def put_tokens(self, tx: Tx, connection: Connection, granted: TokenSet) -> None:
        """Save a grant's tokens; a refresh token that it has not is not kept from an older one."""
        values = tokens.dump(granted)
        self.put(tx, connection, values)
        connections.drop_secrets(tx, connection.id, [name for name in GRANTED if name not in values])

    def drop_tokens(self, tx: Tx, connection: Connection) -> None:
        """Forget a grant; what the owner entered stays."""
        connections.drop_secrets(tx, connection.id, GRANTED)

    def tokens(self, tx: Tx, connection: Connection) -> TokenSet | None:
        """Return the tokens, opened; `None` where there are none."""
        return tokens.load(self._opened(tx, connection, granted=True))

    def app(self, tx: Tx, connection: Connection) -> App:
        """Return the connection's own app: its settings, and its secrets opened."""
        entered = self._opened(tx, connection, granted=False)
        return App(
            settings=connection.settings, secrets={name: value.decode() for name, value in entered.items()}
        )

    def seal_verifier(self, tx: Tx, connection: Connection, flow_id: str, verifier: str) -> bytes:
        """Seal a flow's PKCE verifier."""
        return self._vault.seal(tx, owner_of(connection), _verifier(flow_id), verifier.encode())

    def open_verifier(self, tx: Tx, connection: Connection, flow_id: str, sealed: bytes) -> str:
        """Open a flow's PKCE verifier."""
        return self._vault.open(tx, owner_of(connection), _verifier(flow_id), sealed).decode()

    def _opened(self, tx: Tx, connection: Connection, *, granted: bool) -> dict[str, bytes]:
        sealed = connections.secrets_of(tx, connection.id)
        return {
            name: self._vault.open(tx, owner_of(connection), _place(connection, name), value)
            for name, value in sealed.items()
            if (name in GRANTED) == granted
        }


def _place(connection: Connection, name: str) -> str:
    return f"connection_secrets:{connection.id}/{name}:sealed_value"


def _verifier(flow_id: str) -> str:
    return f"oauth_flows:{flow_id}:sealed_verifier"
