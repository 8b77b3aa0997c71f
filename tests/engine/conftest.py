"""A real Temporal, the engine on it, and a host that runs sessions."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

for folder in ("sessions", "engine"):
    sys.path.insert(0, str(Path(__file__).parent.parent / folder))

from host import Host, Server  # noqa: E402
from world import World  # noqa: E402

from ninelives_server.engine.embedded import EmbeddedTemporal  # noqa: E402
from ninelives_server.store.core import Store  # noqa: E402
from ninelives_server.vault.vault import Vault  # noqa: E402


@pytest.fixture
async def temporal(tmp_path: Path) -> AsyncIterator[EmbeddedTemporal]:
    """A Temporal of this test."""
    server = EmbeddedTemporal(private_dir=tmp_path, log_file=tmp_path / "temporal.log")
    async with server.running():
        yield server


@pytest.fixture
async def world(sqlite: Store, vault: Vault) -> World:
    """One project with a build in service."""
    return await World.made(sqlite, vault)


@pytest.fixture
async def server(world: World, temporal: EmbeddedTemporal) -> AsyncIterator[Server]:
    """The engine and the starter, connected."""
    async with Server(world, temporal).running() as server:
        yield server


@pytest.fixture
async def host(world: World, server: Server, temporal: EmbeddedTemporal) -> AsyncIterator[Host]:
    """A host that takes sessions."""
    async with Host(world).working(temporal) as host:
        yield host
