"""A real server for the commands of the pages, and a terminal to type them in."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

for helpers in ("api", "cli", "docs"):
    sys.path.insert(0, str(Path(__file__).parent.parent / helpers))

import api_site  # noqa: E402
import terminal  # noqa: E402


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[api_site.Site]:
    """A real server without a worker."""
    with api_site.site_on(tmp_path_factory.mktemp("docs") / "data") as site:
        yield site


@pytest.fixture
def ninelives(site: api_site.Site, monkeypatch: pytest.MonkeyPatch) -> terminal.Terminal:
    """Commands against the server, as its administrator."""
    return terminal.Terminal(monkeypatch).at(site)
