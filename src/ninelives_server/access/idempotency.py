"""Answers kept for `Idempotency-Key`, for a day. They may show a new token, so they are sealed.

How a key is made of a request, and that requests with one key wait for each other, is left to
`api.idempotency`.
"""

from dataclasses import dataclass, field
from datetime import timedelta

from ninelives_server.store import idempotency
from ninelives_server.store.core import Store, Tx
from ninelives_server.store.idempotency import KeptAnswer
from ninelives_server.vault.vault import SERVER, Vault

#: How long the same key gets the same answer.
KEPT_FOR = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that was given before.

    Attributes:
        request: SHA-256 of the body of the request that it answered.
    """

    request: bytes
    status: int
    body: bytes = field(repr=False)


class Idempotency:
    """Remembers answers by key."""

    def __init__(self, *, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    async def recall(self, key: bytes) -> Answer | None:
        """Return the answer that was given to this key within the last day."""

        def look(tx: Tx) -> Answer | None:
            kept = idempotency.find(tx, key, tx.now - KEPT_FOR)
            if kept is None:
                return None
            body = self._vault.open(tx, SERVER, _context(key), kept.sealed_body)
            return Answer(request=kept.request, status=kept.status, body=body)

        return await self._store.read(look)

    async def remember(self, key: bytes, request: bytes, status: int, body: bytes) -> None:
        """Keep an answer; the first one for a key stays."""

        def keep(tx: Tx) -> None:
            idempotency.delete_older(tx, tx.now - KEPT_FOR, key=key)
            sealed = self._vault.seal(tx, SERVER, _context(key), body)
            idempotency.insert(tx, key, KeptAnswer(request=request, status=status, sealed_body=sealed))

        await self._store.write(keep)


def _context(key: bytes) -> str:
    return f"idempotency:{key.hex()}:body"
