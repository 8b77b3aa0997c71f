"""Fixtures of the events' tests."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from event_world import World
from stream_world import StreamWorld

from ninelives_server.integrations.registry import Registry
from ninelives_server.store.core import Store
from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce
from ninelives_server.vault.vault import Vault


@pytest.fixture
async def world(database: Store, vault: Vault) -> World:
    """Everything between an event and a session row, on SQLite and on PostgreSQL."""
    await database.write(vault.start)
    return World(database, vault, Registry([]))


@pytest.fixture
def org() -> Iterator[FakeSalesforce]:
    """A new org with Lead selected for Change Data Capture."""
    with FakeSalesforce.start(callbacks=["http://localhost:9980/x"]) as org:
        org.control.select_entities(entities=["Lead"])
        yield org


@pytest.fixture
async def here(sqlite: Store, vault: Vault, org: FakeSalesforce) -> StreamWorld:
    """A server's database and one org."""
    await sqlite.write(vault.start)
    return StreamWorld(World(sqlite, vault, Registry.load()), [org])
