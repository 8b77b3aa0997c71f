"""The org's pages in Chromium, with JavaScript off: the connection guide's clicks, and what axe finds."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright
from testing.fake_salesforce.oauth_client import OAuthClient

from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce

pytestmark = pytest.mark.browser
_LEVELS = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


class _Thanks(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"thanks")

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.fixture
def listener() -> Iterator[str]:
    """The base URL of a server that takes callbacks."""
    server = HTTPServer(("127.0.0.1", 0), _Thanks)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def _log_in(page: Page, org: FakeSalesforce) -> None:
    page.get_by_label("Username").fill(org.details.username)
    page.get_by_label("Password").fill(org.details.password)
    page.get_by_role("button", name="Log In").click()


def test_login_and_consent_work_without_scripts(
    browser: Browser, oauth: OAuthClient, org: FakeSalesforce, listener: str
) -> None:
    """
    A person logs in, sees who asks for what, and Allow leads to the callback with a code.
    """
    callback = f"{listener}/oauth/redirect/salesforce"
    org.control.edit_app(org.details.client_id, callbacks=[callback])
    context = browser.new_context(java_script_enabled=False, ignore_https_errors=True)
    page = context.new_page()

    page.goto(oauth.authorize_url(redirect_uri=callback))
    _log_in(page, org)
    expect(page.get_by_role("heading", name="Allow Access?")).to_be_visible()
    expect(page.get_by_text("Manage user data via APIs (api)")).to_be_visible()
    page.get_by_role("button", name="Allow").click()
    page.wait_for_url(f"{callback}?**")

    assert "code=aPrx" in page.url
    assert "state=s1" in page.url
    context.close()


def test_an_app_is_made_and_an_entity_selected_by_clicks(browser: Browser, org: FakeSalesforce) -> None:
    """
    The guide's steps, by the labels that it names.
    """
    context = browser.new_context(java_script_enabled=False, ignore_https_errors=True)
    page = context.new_page()
    page.goto(org.details.login_url)
    _log_in(page, org)
    page.get_by_label("Quick Find").fill("External Client App Manager")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("navigation", name="Setup").get_by_role(
        "link", name="External Client App Manager"
    ).click()
    page.get_by_role("link", name="New External Client App").click()
    page.get_by_label("External Client App Name").fill("Routing")
    page.get_by_label("Contact Email").fill("me@example.com")
    page.get_by_label("Enable OAuth").check()
    page.get_by_label("Callback URL").fill("http://localhost:9980/oauth/redirect/salesforce")
    page.get_by_label("Manage user data via APIs (api)").check()
    page.get_by_label("Perform requests at any time (refresh_token, offline_access)").check()
    expect(page.get_by_label("Require Proof Key for Code Exchange")).to_be_checked()
    page.get_by_role("button", name="Create").click()
    page.get_by_role("link", name="Consumer Key and Secret").click()

    app = next(a for a in org.control.apps() if a["name"] == "Routing")
    assert page.get_by_label("Consumer Key").input_value() == app["client_id"]
    assert page.get_by_label("Consumer Secret").input_value() == app["client_secret"]

    page.get_by_role("banner").get_by_role("link", name="Change Data Capture").click()
    page.get_by_label("Available Entities").select_option("Lead")
    page.get_by_role("button", name="Add").click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Your changes are saved.")

    assert org.state.bus.selected == {"Lead"}
    context.close()


def test_no_page_has_a_finding_of_axe(browser: Browser, oauth: OAuthClient, org: FakeSalesforce) -> None:
    """
    WCAG 2.2 AA, as far as axe can tell.
    """
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    app = org.control.apps()[0]["app_id"]
    findings = {}

    def check(name: str) -> None:
        found = Axe().run(page, options=_LEVELS)["violations"]
        if found:
            findings[name] = [(v["id"], v["nodes"][0]["html"]) for v in found]

    page.goto(oauth.authorize_url())
    check("login")
    _log_in(page, org)
    check("consent")
    manager = "/lightning/setup/ManageExternalClientApplication"
    for path in (
        "/lightning/setup/SetupOneHome/home", f"{manager}/home", f"{manager}/new", f"{manager}/{app}/settings",
        f"{manager}/{app}/consumer", "/lightning/setup/CdcObjectEnablement/home",
    ):  # fmt: skip
        page.goto(org.details.login_url + path)
        check(path)

    assert findings == {}
    context.close()
