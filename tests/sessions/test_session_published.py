"""Published values: what was published is read by anybody, nothing else is."""

import json

import pytest
from world import World

from ninelives_server.errors import NotFound
from ninelives_server.sessions.published import Published
from ninelives_server.store import values


async def keep(world: World, key: str, value: object) -> None:
    """Store a value as a session does."""

    def put(tx):
        project_id = world.project.id
        sealed = world.vault.seal(tx, project_id, values.context(project_id, key), json.dumps(value).encode())
        values.put(tx, project_id, key, sealed)

    await world.store.write(put)


async def test_only_a_published_value_is_read(world: World):
    """
    It is JSON; a key that is not published looks like one that is not there.
    """
    published = Published(store=world.store, vault=world.vault)
    await keep(world, "open", {"a": 1})
    await keep(world, "closed", 2)
    await world.store.write(lambda tx: values.publish(tx, world.project.id, "open", is_published=True))

    found = await published.read(world.project.id, "open")

    assert json.loads(found.document) == {"a": 1}
    for key in ("closed", "none"):
        with pytest.raises(NotFound, match="nothing is published here"):
            await published.read(world.project.id, key)
    with pytest.raises(NotFound):
        await published.read("prj_other", "open")


async def test_what_is_taken_back_is_gone(world: World):
    """
    And a value that changes stays published.
    """
    published = Published(store=world.store, vault=world.vault)
    await keep(world, "k", 1)
    await world.store.write(lambda tx: values.publish(tx, world.project.id, "k", is_published=True))
    await keep(world, "k", 2)

    assert (await published.read(world.project.id, "k")).document == b"2"
    await world.store.write(lambda tx: values.publish(tx, world.project.id, "k", is_published=False))
    with pytest.raises(NotFound):
        await published.read(world.project.id, "k")
