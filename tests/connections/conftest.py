"""Fixtures of the connections' tests: a fake org, and a server's services around it."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from connections_world import CALLBACK, World, a_world

from ninelives_server.store.core import Store
from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce
from ninelives_server.vault.vault import Vault


@pytest.fixture
def org() -> Iterator[FakeSalesforce]:
    """A new org, as strict as Salesforce makes them: PKCE, secret and rotation required."""
    with FakeSalesforce.start(callbacks=[CALLBACK]) as org:
        yield org


@pytest.fixture
async def world(sqlite: Store, vault: Vault, org: FakeSalesforce, tmp_path: Path) -> AsyncIterator[World]:
    """A person with a project, on SQLite."""
    world = await a_world(sqlite, vault, org, tmp_path)
    yield world
    await world.connections.close()


@pytest.fixture
async def any_world(
    database: Store, vault: Vault, org: FakeSalesforce, tmp_path: Path
) -> AsyncIterator[World]:
    """A person with a project, on SQLite and on PostgreSQL."""
    world = await a_world(database, vault, org, tmp_path)
    yield world
    await world.connections.close()
