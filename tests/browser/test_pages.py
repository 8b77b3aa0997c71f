"""Every page, judged by axe in light and dark, on a wide and a narrow screen."""

from pathlib import Path

import httpx2
import pytest
from people import Desk, Visit
from playwright.async_api import Browser

MANIFEST = """\
version: v2
project:
  name: {name}
  connections:
    - name: crm
      integration: salesforce
  triggers:
    - name: hook
      webhook: {{}}
      call: main.py:on_hook
    - name: lead
      connection: crm
      event_type: lead
      call: main.py:on_hook
  vars:
    - name: CHANNEL
      value: "#sales"
"""


#: What sticks out of the page, and is not inside something that scrolls by itself.
WIDER = """() => {
  const scrolls = e => e && (/auto|scroll|hidden/.test(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  const width = document.documentElement.scrollWidth;
  return width <= innerWidth ? [] : [`${width}`, ...[...document.querySelectorAll('body *')]
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e.parentElement))
    .map(e => e.outerHTML.slice(0, 120))];
}"""


@pytest.fixture(scope="module")
def shown(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A project with something of everything; the paths of all pages about it."""
    directory = tmp_path_factory.mktemp("shown")
    name = f"shown_{directory.name}".replace("-", "_")
    (directory / "ninelives.yaml").write_text(MANIFEST.format(name=name))
    (directory / "main.py").write_text("def on_hook(event):\n    print(event.data)\n")
    desk.up.cli("deploy", str(directory))
    triggers = desk.up.call("GET", f"/projects/{name}/triggers")["items"]
    hook = next(t["webhook_url"] for t in triggers if t["webhook_url"])
    event = httpx2.post(hook, json={"lead": "Ada"}, trust_env=False).json()["event_id"]
    session = desk.up.call("POST", f"/projects/{name}/sessions", json={"entrypoint": "main.py:on_hook"})
    connection = desk.connection_named(name)["id"]
    project = f"/projects/{name}"
    sections = ("connections", "triggers", "variables", "deployments", "sessions", "events", "run")
    return [
        "/",
        project,
        *(f"{project}/{section}" for section in sections),
        f"{project}/connections/new",
        f"/connections/{connection}",
        f"/connections/{connection}/edit",
        "/sessions",
        "/sessions?state=error&record=none",
        f"/sessions/{session['id']}",
        f"/sessions/{session['id']}/steps",
        f"/events/{event}",
        "/settings",
        "/audit",
        "/docs/integrations/salesforce/private-oauth",
        "/login",
        "/nothing/here",
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing_on_any_page(chromium: Browser, desk: Desk, shown: list[str], scheme: str):
    """
    WCAG 2.2 AA and axe's own best practices; and the policy of the page refuses nothing that it needs.
    """
    found: list[str] = []
    async with Visit.begun(chromium, desk, color_scheme=scheme) as visit:
        for path in shown:
            answer = await visit.open(path)
            assert answer is not None
            assert answer.status == (404 if path == "/nothing/here" else 200), path
            await visit.page.evaluate(
                "() => { for (const d of document.querySelectorAll('details')) d.open = true; }"
            )
            found += await visit.findings()

    assert found == []


async def test_no_page_is_wider_than_a_narrow_screen(chromium: Browser, desk: Desk, shown: list[str]):
    """
    Text reflows at 320 CSS pixels (WCAG 1.4.10); tables alone may scroll, inside themselves.
    """
    too_wide: list[str] = []
    async with Visit.begun(chromium, desk, viewport={"width": 320, "height": 640}) as visit:
        for path in shown:
            await visit.open(path)
            too_wide += [f"{path}: {what}" for what in await visit.page.evaluate(WIDER)]

    assert too_wide == []


async def test_long_names_fit_on_a_narrow_screen(chromium: Browser, desk: Desk, tmp_path: Path):
    """
    Names may be as long as somebody likes: they break, and nothing sticks out of the page.
    """
    name = f"a_project_with_a_very_long_name_that_somebody_chose_{tmp_path.name}".replace("-", "_")[:100]
    connection = "the_customer_relationship_management_of_the_european_subsidiary"
    manifest = (
        MANIFEST.format(name=name).replace("crm", connection).replace("- name: lead", f"- name: {connection}")
    )
    (tmp_path / "ninelives.yaml").write_text(manifest)
    (tmp_path / "main.py").write_text("def on_hook(event):\n    print(event.data)\n")
    desk.up.cli("deploy", str(tmp_path))
    connection_id = desk.connection_named(name, connection)["id"]
    sections = ("", "/connections", "/triggers", "/sessions", "/events", "/run", "/connections/new")
    paths = ["/", *(f"/projects/{name}{section}" for section in sections), f"/connections/{connection_id}"]
    too_wide: list[str] = []
    async with Visit.begun(chromium, desk, viewport={"width": 320, "height": 640}) as visit:
        for path in paths:
            await visit.open(path)
            too_wide += [f"{path}: {what}" for what in await visit.page.evaluate(WIDER)]

    assert too_wide == []


async def test_times_switch_between_utc_and_local(chromium: Browser, desk: Desk, shown: list[str]):
    """
    The choice holds on the next page, and for parts that arrive later.
    """
    async with Visit.begun(chromium, desk, timezone_id="Asia/Kolkata") as visit:
        page = visit.page
        await visit.open("/audit")
        utc = await page.locator("time").first.inner_text()
        await page.get_by_role("button", name="Times: UTC").click()
        local = await page.locator("time").first.inner_text()
        await visit.open("/settings")
        later = await page.locator("time").first.inner_text()

    assert utc.endswith(" UTC")
    assert local.endswith(" +05:30")
    assert later.endswith(" +05:30")


async def test_values_are_copied_with_a_button(chromium: Browser, desk: Desk):
    """
    The callback reaches the clipboard as it is, and the button says so.
    """
    async with Visit.begun(chromium, desk, permissions=["clipboard-read", "clipboard-write"]) as visit:
        page = visit.page
        await visit.open("/settings")
        await page.get_by_role("button", name="Copy Salesforce").click()
        copied = await page.evaluate("() => navigator.clipboard.readText()")

    assert copied == desk.callback
