"""The guide docs/integrations/salesforce/private-oauth.md as a person follows it, step by step, in Chromium."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from ninelives_server.testing import running

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextlib.contextmanager
def chromium(*mapped: str) -> Iterator[Browser]:
    """Start Debian's Chromium; the `mapped` names lead to this machine, as a hosts file would say."""
    rules = ",".join(f"MAP {name} 127.0.0.1" for name in mapped)
    arguments = [*ARGUMENTS, *([f"--host-resolver-rules={rules}"] if rules else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def context_of(browser: Browser, **options: object) -> BrowserContext:
    """Return a fresh profile; the fake org and the proxies have certificates of their own."""
    context = browser.new_context(ignore_https_errors=True, **options)
    context.set_default_timeout(30_000)
    return context


@dataclass
class Followed:
    """What the guide led to."""

    callback: str
    client_id: str
    client_secret: str
    outcome: str


def log_in(page: Page, up: running.Up) -> None:
    """Open a one-time login link and use it."""
    page.goto(up.cli("login", "--web").stdout.strip())
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Projects").wait_for()


def new_project(page: Page, home: str, name: str) -> None:
    """Create a project by hand."""
    page.goto(home)
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Create project").click()
    page.wait_for_url(f"**/projects/{name}*")


def enter_setup(page: Page, org: running.Org) -> None:
    """Log in to the org and open Setup."""
    page.goto(f"{org.facts['login_url']}/lightning/setup/SetupOneHome/home")
    if page.get_by_label("Username").count():
        page.get_by_label("Username").fill(org.facts["username"])
        page.get_by_label("Password").fill(org.facts["password"])
        page.get_by_role("button", name="Log In").click()
    page.get_by_role("heading", name="Setup Home").wait_for()


def make_app(page: Page, org: running.Org, name: str, callback: str) -> tuple[str, str]:
    """Make an External Client App with the callback; the security defaults stay as they are."""
    enter_setup(page, org)
    page.get_by_label("Quick Find").fill("External Client")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("main").get_by_role("link", name="External Client App Manager").click()
    page.get_by_role("link", name="New External Client App").click()
    page.get_by_label("External Client App Name").fill(name)
    page.get_by_label("Contact Email").fill("owner@example.test")
    page.get_by_label("Enable OAuth").check()
    page.get_by_label("Callback URL").fill(callback)
    for scope in ("api", "refresh_token"):
        page.locator(f"#scope-{scope}").check()
    for default in ("require_secret_web", "require_secret_refresh", "require_pkce", "rotate_refresh_tokens"):
        assert page.locator(f"#{default}").is_checked(), f"{default} is no default of the org"
    page.get_by_role("button", name="Create").click()
    page.get_by_role("link", name="Consumer Key and Secret").click()
    return page.get_by_label("Consumer Key").input_value(), page.get_by_label("Consumer Secret").input_value()


def select_for_capture(page: Page, org: running.Org, entity: str) -> None:
    """Select an object under Setup > Change Data Capture."""
    enter_setup(page, org)
    page.get_by_label("Quick Find").fill("Change Data")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("main").get_by_role("link", name="Change Data Capture").click()
    page.get_by_label("Available Entities").select_option(entity)
    page.get_by_role("button", name="Add").click()
    page.get_by_role("button", name="Save").click()
    assert page.get_by_label("Selected Entities").locator(f"option[value={entity}]").count() == 1


def fill_form(page: Page, org: running.Org, client_id: str, client_secret: str) -> None:
    """Fill the connection form, in the order in which it asks."""
    page.get_by_label("Client ID").fill(client_id)
    page.get_by_label("Client Secret").fill(client_secret)
    page.locator("input[name=environment][value='other:']").check()
    page.locator("input.other-text").first.fill(org.facts["login_url"])
    page.get_by_text("More settings").click()
    page.locator("input[name=pubsub_endpoint]").fill(org.facts["pubsub_endpoint"])


def grant(page: Page, org: running.Org) -> str:
    """Log in at the provider where it asks, allow, and return the text of the page where it ends."""
    page.get_by_label("Username").or_(page.get_by_role("button", name="Allow")).first.wait_for()
    if page.get_by_label("Username").count():
        page.get_by_label("Username").fill(org.facts["username"])
        page.get_by_label("Password").fill(org.facts["password"])
        page.get_by_role("button", name="Log In").click()
    page.get_by_role("button", name="Allow").click()
    page.wait_for_url("**/oauth/outcome/**")
    return page.locator("main").inner_text()


def authorise(context: BrowserContext, page: Page, org: running.Org) -> str:
    """Go on from "Save and authorise": a code where it is asked for, the provider's pages, the outcome."""
    elsewhere = page.get_by_role("link", name="Continue in a new tab")
    onwards = page.get_by_role("button", name="Continue to Salesforce")
    elsewhere.or_(onwards).first.wait_for()
    if elsewhere.count():
        code = page.locator("#short-code").input_value()
        with context.expect_page() as opened:
            elsewhere.click()
        page = opened.value
        page.get_by_label("Short code").fill(code)
        onwards = page.get_by_role("button", name="Continue to Salesforce")
    with context.expect_page() as opened:
        onwards.click()
    return grant(opened.value, org)


def connect(context: BrowserContext, page: Page, org: running.Org, pages: str, project: str) -> Followed:
    """Create a connection by the web form, with an app made for it, and authorise it."""
    page.goto(f"{pages}/projects/{project}/connections/new")
    callback = page.locator("#callback-url").input_value()
    setup = context.new_page()
    client_id, client_secret = make_app(setup, org, f"Ninelives {project}", callback)
    setup.close()
    page.get_by_label("Name", exact=True).fill("crm")
    fill_form(page, org, client_id, client_secret)
    page.get_by_role("button", name="Save and authorise").click()
    outcome = authorise(context, page, org)
    return Followed(callback, client_id, client_secret, outcome)
