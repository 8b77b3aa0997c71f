"""Values that a project has published, for anybody who asks."""

from dataclasses import dataclass
from datetime import datetime

from ninelives_server.errors import NotFound
from ninelives_server.store import values
from ninelives_server.store.core import Store, Tx
from ninelives_server.vault.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedValue:
    """One value, as JSON."""

    document: bytes
    updated_at: datetime


class Published:
    """Reads published values; nobody has to log in for them."""

    def __init__(self, *, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault

    async def read(self, project_id: str, key: str) -> PublishedValue:
        """Return a published value.

        Raises:
            NotFound: There is none; whether there is one that was not published is not told.
        """
        return await self._store.read(lambda tx: self._read(tx, project_id, key))

    def _read(self, tx: Tx, project_id: str, key: str) -> PublishedValue:
        found = values.get(tx, project_id, key)
        if found is None or found.published_at is None:
            raise NotFound("nothing is published here")
        context = values.context(project_id, key)
        document = self._vault.open(tx, project_id, context, found.sealed_value)
        return PublishedValue(document=document, updated_at=found.updated_at)
