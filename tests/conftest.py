"""What all tests share: a clean environment, and databases that are made once and cloned for each test."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Tests import their helpers as `databases` and `factories`; they are no package.
sys.path.insert(0, str(Path(__file__).parent))

import databases  # noqa: E402

from ninelives_server.store.core import Store  # noqa: E402
from ninelives_server.vault import keys  # noqa: E402
from ninelives_server.vault.vault import Vault  # noqa: E402

# How long an example takes is the machine's affair: on a full one, 200 ms say nothing about the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine or of another test reaches this one."""
    for name in [name for name in os.environ if name.startswith("NINELIVES_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file."""
    return databases.sqlite_template(tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[databases.Postgres]:
    """A real PostgreSQL of this test process, with a migrated template database."""
    with databases.Postgres.started() as server:
        yield server


@pytest.fixture
async def sqlite(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Store]:
    """A store on an empty SQLite file of its own."""
    async with databases.sqlite_store(sqlite_template, tmp_path / "ninelives.db") as store:
        yield store


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.store)])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A store on an empty database of its own: the test runs on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        template = request.getfixturevalue("sqlite_template")
        async with databases.sqlite_store(template, tmp_path / "ninelives.db") as store:
            yield store
    else:
        async with request.getfixturevalue("postgres").store() as store:
            yield store


@pytest.fixture
def vault() -> Vault:
    """A vault with one fixed master key. Call `await store.write(vault.start)` first."""
    from ninelives_server.store import data_keys

    return Vault(keys.parse("k1:" + "A" * 43 + "=", "the test"), data_keys)
