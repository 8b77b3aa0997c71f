"""A site to look at: the real application over real HTTP, without Temporal and without a worker."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from site_world import Site, served  # noqa: E402

from ninelives_server.store.core import Store  # noqa: E402
from ninelives_server.vault.vault import Vault  # noqa: E402


@pytest.fixture
async def site(sqlite: Store, vault: Vault, tmp_path: Path) -> AsyncIterator[Site]:
    """A server at `http://localhost:PORT` with an administrator who is logged in."""
    async with served(sqlite, vault, tmp_path) as site:
        yield site
