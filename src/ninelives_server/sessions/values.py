"""The store: a project's key-value data, as sessions and as people change it.

Values are JSON, sealed with the project's key. Every change locks the project's values first, so that
reading and writing back (`add`, `check_and_set`) is atomic, however many write at once.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from ninelives import arguments
from ninelives_server.errors import Invalid, NotFound
from ninelives_server.model.actors import Actor, Role
from ninelives_server.store import audit, sessions, values
from ninelives_server.store.core import Store, Tx
from ninelives_server.vault.vault import Vault

#: The largest value. bytes
VALUE_LIMIT = arguments.LARGEST
#: The longest key; the column's length. characters
KEY_LIMIT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A value with its key; in lists without the value.

    Attributes:
        url: Where everybody may read it; `None` where it is not published.
    """

    key: str
    value: Any = field(default=None, repr=False)
    is_published: bool
    url: str | None
    updated_at: datetime


class Data:
    """Reads and writes values inside a unit."""

    def __init__(self, *, vault: Vault) -> None:
        self._vault = vault

    def load(self, tx: Tx, project_id: str, key: str) -> Any:
        """Return a value, `None` where there is none."""
        found = values.get(tx, project_id, key)
        return None if found is None else self.opened(tx, project_id, found)

    def opened(self, tx: Tx, project_id: str, found: values.Value) -> Any:
        """Return what a row holds."""
        context = values.context(project_id, found.key)
        return json.loads(self._vault.open(tx, project_id, context, found.sealed_value))

    def save(self, tx: Tx, project_id: str, key: str, value: Any) -> None:
        """Store a value; the caller has locked the project's.

        Raises:
            Invalid: It is too large.
        """
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(
            "utf-8", "backslashreplace"
        )
        if len(text) > VALUE_LIMIT:
            raise Invalid(f"the value for {key!r} has {len(text)} bytes; the store takes {VALUE_LIMIT}")
        context = values.context(project_id, key)
        values.put(tx, project_id, key, self._vault.seal(tx, project_id, context, text))


def checked_key(key: object) -> str:
    """Return a key that the store takes.

    Raises:
        Invalid: It is none.
    """
    if not isinstance(key, str) or not 0 < len(key) <= KEY_LIMIT:
        raise Invalid(f"a key of the store is a text of 1 to {KEY_LIMIT} characters")
    return key


class Values:
    """What people and programs may do with a project's store."""

    def __init__(self, *, store: Store, vault: Vault, base_url: str) -> None:
        self._store = store
        self._data = Data(vault=vault)
        self._base_url = base_url

    async def list(self, actor: Actor, project_ref: str) -> Sequence[Entry]:
        """Return the keys of a project, sorted.

        Raises:
            NotFound: There is no such project in the actor's org.
        """

        def read(tx: Tx) -> Sequence[Entry]:
            project_id = _project(tx, actor, project_ref)
            return [self._entry(project_id, found) for found in values.listing(tx, project_id)]

        return await self._store.read(read)

    async def get(self, actor: Actor, project_ref: str, key: str) -> Entry:
        """Return a value.

        Raises:
            NotFound: There is no such project in the actor's org, or no such key.
        """

        def read(tx: Tx) -> Entry:
            project_id = _project(tx, actor, project_ref)
            if (found := values.get(tx, project_id, key)) is None:
                raise _missing(key)
            return self._entry(project_id, found, self._data.opened(tx, project_id, found))

        return await self._store.read(read)

    async def set(self, actor: Actor, project_ref: str, key: str, value: Any) -> None:
        """Store a value.

        Raises:
            Forbidden: The actor may only look.
            NotFound: There is no such project in the actor's org.
            Invalid: The key or the value is too long.
        """
        actor.needs(Role.MEMBER)

        def write(tx: Tx) -> None:
            project_id = _project(tx, actor, project_ref)
            values.lock(tx, project_id)
            self._data.save(tx, project_id, checked_key(key), value)
            _note(tx, actor, "store.value_set", project_id, key)

        await self._store.write(write)

    async def delete(self, actor: Actor, project_ref: str, key: str) -> None:
        """Delete a value.

        Raises:
            Forbidden: The actor may only look.
            NotFound: There is no such project in the actor's org, or no such key.
        """
        actor.needs(Role.MEMBER)

        def write(tx: Tx) -> None:
            project_id = _project(tx, actor, project_ref)
            values.lock(tx, project_id)
            if not values.delete(tx, project_id, key):
                raise _missing(key)
            _note(tx, actor, "store.value_deleted", project_id, key)

        await self._store.write(write)

    async def publish(self, actor: Actor, project_ref: str, key: str, *, is_published: bool) -> Entry:
        """Let everybody read a value, or not any more.

        Raises:
            Forbidden: The actor may only look.
            NotFound: There is no such project in the actor's org, or no such key.
        """
        actor.needs(Role.MEMBER)

        def write(tx: Tx) -> Entry:
            project_id = _project(tx, actor, project_ref)
            if not values.publish(tx, project_id, key, is_published=is_published):
                raise _missing(key)
            action = "store.value_published" if is_published else "store.value_unpublished"
            _note(tx, actor, action, project_id, key)
            found = values.get(tx, project_id, key)
            assert found is not None
            return self._entry(project_id, found, self._data.opened(tx, project_id, found))

        return await self._store.write(write)

    def _entry(self, project_id: str, found: values.Value, value: Any = None) -> Entry:
        is_published = found.published_at is not None
        return Entry(
            key=found.key,
            value=value,
            is_published=is_published,
            url=f"{self._base_url}/store/{project_id}/{quote(found.key)}" if is_published else None,
            updated_at=found.updated_at,
        )


def _project(tx: Tx, actor: Actor, ref: str) -> str:
    project_id = sessions.project_of(tx, actor.org_id, ref)
    if project_id is None:
        raise NotFound(f"there is no project {ref!r}; see `ninelives project list`")
    return project_id


def _missing(key: str) -> NotFound:
    return NotFound(f"the store has no value for {key!r}; see `ninelives store list`")


def _note(tx: Tx, actor: Actor, action: str, project_id: str, key: str) -> None:
    audit.record(tx, actor, action, project_id, project_id=project_id, details={"key": key[:100]})
