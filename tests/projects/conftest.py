"""The service of projects on a real database, and somebody who uses it."""

import sys
from pathlib import Path

import pytest
from factories import a_person

sys.path.insert(0, str(Path(__file__).parent))

import making  # noqa: E402

from ninelives_server.model.actors import Actor  # noqa: E402
from ninelives_server.projects.service import Projects  # noqa: E402
from ninelives_server.store.core import Store  # noqa: E402
from ninelives_server.vault.vault import Vault  # noqa: E402


@pytest.fixture
async def projects(database: Store, vault: Vault) -> Projects:
    await database.write(vault.start)
    return making.services(database, vault)


@pytest.fixture
async def ada(database: Store) -> Actor:
    return await a_person(database)
