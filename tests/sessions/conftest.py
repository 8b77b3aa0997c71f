"""The world that tests of sessions live in."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from world import World  # noqa: E402

from ninelives_server.store.core import Store  # noqa: E402
from ninelives_server.vault.vault import Vault  # noqa: E402


@pytest.fixture
async def world(database: Store, vault: Vault) -> World:
    """One project with a build in service, on SQLite and on PostgreSQL."""
    return await World.made(database, vault)
