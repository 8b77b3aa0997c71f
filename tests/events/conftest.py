"""Fixtures of the events' tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from event_world import World

from ninelives_server.integrations.registry import Registry
from ninelives_server.store.core import Store
from ninelives_server.vault.vault import Vault


@pytest.fixture
async def world(database: Store, vault: Vault) -> World:
    """Everything between an event and a session row, on SQLite and on PostgreSQL."""
    await database.write(vault.start)
    return World(database, vault, Registry([]))
