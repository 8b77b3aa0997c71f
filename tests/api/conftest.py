"""One server for all tests of the API in a test process: each test makes things of its own in it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Helpers are imported by name; tests are no package.
sys.path.insert(0, str(Path(__file__).parent))

import api_site  # noqa: E402


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[api_site.Site]:
    """A real server, logging as JSON, with people of two orgs."""
    directory = tmp_path_factory.mktemp("site")
    with api_site.site_on(
        directory / "data", NINELIVES_LOG_FORMAT="json", NINELIVES_LOG_LEVEL="debug"
    ) as site:
        yield site


@pytest.fixture(scope="session")
def things(site: api_site.Site) -> api_site.Things:
    """A project with one of everything; tests only look at it, or fail to change it."""
    return site.things()
