"""A server's side of its links with workers."""

from collections.abc import AsyncIterator

import pytest
from conversation import Scheduler, Tokens, serving
from world import World

from ninelives_server.sessions.links import Links
from ninelives_server.store.core import Store
from ninelives_server.vault.vault import Vault


@pytest.fixture
async def world(sqlite: Store, vault: Vault) -> World:
    """The dialogue is the same on every database."""
    return await World.made(sqlite, vault)


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler()


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
async def links(world: World, scheduler: Scheduler, tokens: Tokens) -> AsyncIterator[Links]:
    async with serving(world, scheduler, tokens) as links:
        yield links
