"""One server for the commands' tests in a test process, and a terminal to type them in."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The server and its people are those of the API's tests.
sys.path.insert(0, str(Path(__file__).parent.parent / "api"))
sys.path.insert(0, str(Path(__file__).parent))

import api_site  # noqa: E402
import terminal  # noqa: E402


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[api_site.Site]:
    """A real server with people of two orgs."""
    with api_site.site_on(tmp_path_factory.mktemp("cli") / "data") as site:
        yield site


@pytest.fixture(scope="session")
def things(site: api_site.Site) -> api_site.Things:
    """A project with one of everything; tests only look at it."""
    return site.things()


@pytest.fixture
def ninelives(site: api_site.Site, monkeypatch: pytest.MonkeyPatch) -> terminal.Terminal:
    """Commands against the server, as its administrator."""
    return terminal.Terminal(monkeypatch).at(site)
