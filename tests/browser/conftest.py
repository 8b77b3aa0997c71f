"""Real Chromium, a real server and a real fake org on another site than the server.

Server and org are started once in each test process; every test has a browser, a project and a connection of
its own. Chromium is Debian's: Playwright brings only the protocol.
"""

import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

sys.path.insert(0, str(Path(__file__).parent))

from people import Desk, Visit  # noqa: E402

from ninelives_server.testing import running, story  # noqa: E402

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
#: Chromium's own sandbox needs what containers often lack; these pages are all ours.
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here drives Chromium against one server: keep it in one process, and give it time."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(300))
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A server at `http://localhost:PORT` and an org at `https://127.0.0.1:PORT`: two sites for a browser."""
    directory = tmp_path_factory.mktemp("browser")
    port = story.free_port()
    callback = f"http://localhost:{port}/oauth/redirect/salesforce"
    with running.fake_org(
        directory / "org", callback=callback, arguments=("--host-name", "127.0.0.1")
    ) as org:
        env = {"NINELIVES_CA_FILE": org.facts["ca_file"], "NINELIVES_ALLOW_INSECURE_PROVIDERS": "1"}
        up = running.Up(directory / "data", env=env, port=port)
        try:
            up.start()
            yield Desk(up, org, callback)
        finally:
            up.stop()


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    """A browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
async def visit(chromium: Browser, desk: Desk) -> AsyncIterator[Visit]:
    """Somebody who is logged in."""
    async with Visit.begun(chromium, desk) as visit:
        yield visit


@pytest.fixture
async def plain_visit(chromium: Browser, desk: Desk) -> AsyncIterator[Visit]:
    """Somebody who is logged in and has JavaScript turned off."""
    async with Visit.begun(chromium, desk, javascript=False) as visit:
        yield visit
