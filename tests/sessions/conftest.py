"""The world that tests of sessions live in."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from textwrap import dedent

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from stage import Stage  # noqa: E402
from world import World  # noqa: E402

from ninelives_server.store.core import Store  # noqa: E402
from ninelives_server.testing.session_harness import Harness  # noqa: E402
from ninelives_server.vault.vault import Vault  # noqa: E402


@pytest.fixture
async def world(database: Store, vault: Vault) -> World:
    """One project with a build in service, on SQLite and on PostgreSQL."""
    return await World.made(database, vault)


@pytest.fixture(scope="session")
def harness() -> Iterator[Harness]:
    """Starts session processes; one helper process for all tests of this worker."""
    made = Harness()
    yield made
    made.close()


@pytest.fixture
def stage(
    world: World, harness: Harness, tmp_path: Path
) -> Callable[[str], AbstractAsyncContextManager[Stage]]:
    """Runs the sessions of a program, `main.py`, in real processes on the real journal."""

    def make(source: str) -> AbstractAsyncContextManager[Stage]:
        directory = tmp_path / "build"
        directory.mkdir(exist_ok=True)
        (directory / "main.py").write_text(dedent(source), encoding="utf-8")
        return Stage(world, harness, directory).open()

    return make
