"""A person at a real browser: what they do on our pages and on the org's."""

import itertools
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, Response

from ninelives_server.testing import running

AXE = (Path(__file__).parent / "vendor" / "axe-core-4.14.1.min.js").read_text(encoding="utf-8")
#: What WCAG 2.2 AA asks for, by axe's tags.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
#: A noisy machine with two cores may take this long for a page. milliseconds
PATIENCE = 30_000
_numbers = itertools.count(1)


@dataclass
class Desk:
    """Where people work: one server, one org.

    Attributes:
        callback: Of the server, as the org's app has it.
    """

    up: running.Up
    org: running.Org
    callback: str

    def login_link(self) -> str:
        """Return a fresh login link."""
        return str(self.up.call("POST", "/login-links", json={"user": None})["url"])

    def project(self) -> str:
        """Make a project and return its name."""
        name = f"project_{time.monotonic_ns()}_{next(_numbers)}"
        self.up.call("POST", "/projects", json={"name": name})
        return name

    def connection(self, project: str, name: str = "crm", **fields: str) -> str:
        """Make a connection with the org's app, not authorised, and return its id."""
        facts = self.org.facts
        made = self.up.call(
            "POST",
            "/connections",
            json={
                "project": project,
                "name": name,
                "integration": "salesforce",
                "settings": {"client_id": facts["client_id"], "environment": facts["login_url"]} | fields,
                "secrets": {"client_secret": facts["client_secret"]},
            },
        )
        return str(made["id"])

    def kill_worker(self) -> None:
        """Kill the worker with SIGKILL; the server starts another one."""
        pid = self.up.worker_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def connection_named(self, project: str, name: str = "crm") -> Any:
        """Return a connection's document."""
        return self.up.call("GET", "/connections", params={"project": project, "name": name})["items"][0]


@dataclass
class Visit:
    """One person with one browser window.

    Attributes:
        complaints: What Chromium's console said: refused by the policy, script errors.
    """

    desk: Desk
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def begun(
        cls, browser: Browser, desk: Desk, *, javascript: bool = True, **options: Any
    ) -> AsyncIterator["Visit"]:
        """Open a window and log in."""
        context = await browser.new_context(
            ignore_https_errors=True, java_script_enabled=javascript, **options
        )
        context.set_default_timeout(PATIENCE)
        page = await context.new_page()
        visit = cls(desk, context, page)
        context.on("page", visit._listen)
        visit._listen(page)
        await page.goto(desk.login_link())
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_role("heading", name="Projects").wait_for()
        yield visit
        await context.close()
        assert visit.complaints == []

    def _listen(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                self.complaints.append(message.text)
                if message.type == "error" and "Content Security Policy" in message.text
                else None
            ),
        )

    async def open(self, path: str) -> Response | None:
        """Open one of our pages."""
        return await self.page.goto(f"{self.desk.up.url}{path}")

    # --- our form -----------------------------------------------------------------------------------

    async def enter_app(self, *, client_id: str | None = None, secret: str | None = None) -> None:
        """Fill in the connection form."""
        facts = self.desk.org.facts
        page = self.page
        await page.get_by_label("Client ID").fill(client_id or facts["client_id"])
        await page.get_by_label("Client Secret").fill(secret or facts["client_secret"])
        await page.get_by_role("radio", name="My Domain URL").check()
        await page.get_by_role("textbox", name="My Domain URL").fill(facts["login_url"])

    async def save_and_authorise(self) -> None:
        """Press the button; the start page follows."""
        await self.page.get_by_role("button", name="Save and authorise").click()
        await self.page.get_by_role("button", name="Continue to Salesforce").wait_for()

    async def continue_to_salesforce(self, button: str = "Continue to Salesforce") -> Page:
        """Press the button that opens Salesforce, and return the new tab."""
        async with self.context.expect_page() as opened:
            await self.page.get_by_role("button", name=button).click()
        return await opened.value

    # --- the org's pages ----------------------------------------------------------------------------

    async def decide(self, tab: Page, decision: str = "allow") -> None:
        """Log in at the org and allow or deny; wait for the page that the org leads back to."""
        facts = self.desk.org.facts
        await tab.locator("[name=username]").fill(facts["username"])
        await tab.locator("[name=password]").fill(facts["password"])
        await tab.locator("[name=password]").press("Enter")
        await tab.locator(f"button[name=decision][value={decision}]").click()
        await tab.wait_for_url("**/oauth/outcome/**")

    # --- judging ------------------------------------------------------------------------------------

    async def findings(self, page: Page | None = None) -> list[str]:
        """Return what axe finds on the page that is open."""
        shown = page or self.page
        # By the protocol, not by a script element: the policy of the page would refuse that.
        await shown.evaluate(AXE)
        found = await shown.evaluate(
            "rules => axe.run(document, {runOnly: {type: 'tag', values: rules}})", RULES
        )
        return [
            f"{shown.url}: {item['id']}: {node['html'][:200]} {node.get('failureSummary', '')}"
            for item in found["violations"]
            for node in item["nodes"]
        ]
