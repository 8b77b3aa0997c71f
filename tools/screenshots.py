"""Take the pictures of the documentation from a running UI, after the main story on the fake org.

`make screenshots` runs it; it needs Debian's Chromium. The pictures are committed, so look at them before.
"""

import json
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from ninelives_server.testing import story

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
#: Wide enough for the whole layout, without its empty margins. CSS pixels
SIZE = {"width": 1180, "height": 800}


def log_in(browser: Browser, stage: story.Stage) -> Page:
    """Return a page of somebody who is logged in."""
    page = browser.new_context(viewport=SIZE, color_scheme="light").new_page()
    page.goto(stage.up.cli("login", "--web").stdout.strip())
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Projects").wait_for()
    return page


def take(page: Page, name: str) -> None:
    """Take a picture of the whole page, without the banner that a server with a fake org has."""
    page.evaluate("() => document.querySelectorAll('.banner').forEach(e => e.remove())")
    page.evaluate("() => document.activeElement.blur()")
    page.mouse.move(0, 0)
    page.screenshot(path=IMAGES / name, full_page=True)
    sys.stderr.write(f"docs/images/{name}\n")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main() -> None:
    """Play the story and take the pictures."""
    with tempfile.TemporaryDirectory() as directory, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        with story.stage(Path(directory), say=_say) as stage:
            summary = story.tell(stage)
            sys.stderr.write(json.dumps(summary) + "\n")
            page = log_in(browser, stage)
            page.goto(f"{stage.up.url}/sessions/{summary['session']['id']}")
            page.locator(".timeline summary", has_text="query").first.click()
            take(page, "session.png")
            stage.up.call("POST", "/projects", json={"name": "sales"})
            page.goto(f"{stage.up.url}/projects/sales/connections/new?kind=salesforce")
            page.get_by_label("Client ID").wait_for()
            take(page, "connection-form.png")
        browser.close()


if __name__ == "__main__":
    main()
