"""Every page, judged by axe in light and dark, on a wide and a narrow screen."""

from pathlib import Path

import httpx2
import pytest
from people import Desk, Visit
from playwright.async_api import Browser, expect

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


#: Every control that a person can use with a mouse: what is folded away is opened first.
CONTROLS = """() => {
  for (const d of document.querySelectorAll('details')) d.open = true;
  const found = [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')]
    .filter(e => !e.disabled && e.type !== 'hidden' && e.checkVisibility({visibilityProperty: true}));
  // Of radio buttons one is on the way of Tab; the arrows lead to the others.
  const seen = new Set();
  const stops = found.filter(e => e.type !== 'radio' || !(seen.has(e.name) || !seen.add(e.name)));
  document.body.tabIndex = -1;
  document.body.focus();
  return stops.length;
}"""
#: What has the focus, and whether one can see that it has.
FOCUSED = """() => {
  const e = document.activeElement;
  if (!e || e === document.body) return null;
  e.dataset.visited = 'yes';
  const style = getComputedStyle(e);
  const isSeen = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0;
  return isSeen ? '' : e.outerHTML.slice(0, 120);
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


async def test_every_control_is_reached_by_keyboard_and_shows_its_focus(
    chromium: Browser, desk: Desk, shown: list[str]
):
    """
    Tab visits each link, button, field and scrolling part once, in turn, and traps nobody (WCAG 2.1.1, 2.1.2);
    what has the focus can be seen to have it (2.4.7).
    """
    wrong: list[str] = []
    async with Visit.begun(chromium, desk) as visit:
        for path in shown:
            found = await _by_keyboard(visit, path)
            # A list that was brought up to date meanwhile has other controls; then it is looked at once more.
            wrong += found and await _by_keyboard(visit, path)

    assert wrong == []


async def _by_keyboard(visit: Visit, path: str) -> list[str]:
    """Go through a page by keyboard and return what is wrong with it."""
    await visit.open(path)
    page, wrong = visit.page, []
    stops = await page.evaluate(CONTROLS)
    assert stops > 0, path
    # A field for a time has a stop for each of its parts; behind the last control the page lets go.
    for _ in range(stops + 20):
        await page.keyboard.press("Tab")
        unseen = await page.evaluate(FOCUSED)
        if unseen is None:
            break
        wrong += [f"{path}: its focus is not seen: {unseen}"] if unseen else []
    visited = await page.evaluate("() => document.querySelectorAll('[data-visited]').length")
    return wrong + ([] if visited == stops else [f"{path}: {visited} of {stops} controls are reached"])


async def test_every_page_says_the_same_without_javascript(
    visit: Visit, plain_visit: Visit, shown: list[str]
):
    """
    Liveness aside, a browser without JavaScript gets everything: the same headings, links, buttons and fields.
    """
    look = """() => [...document.querySelectorAll('h1, h2, main a, main button:not(copy-box *), main input, pre')]
      .map(e => `${e.tagName} ${e.name || ''} ${e.tagName === 'INPUT' ? '' : e.textContent.trim()}`)"""
    for path in shown:
        await visit.open(path)
        await plain_visit.open(path)

        assert await plain_visit.page.evaluate(look) == await visit.page.evaluate(look), path


async def test_a_project_is_made_and_run_without_javascript(plain_visit: Visit, desk: Desk, shown: list[str]):
    """
    Forms are forms: making a project, setting a variable, running code and looking how it went.
    """
    visit, page = plain_visit, plain_visit.page
    name = f"plain_{desk.project()}"[:60]
    await visit.open("/")
    await page.get_by_label("Name", exact=True).fill(name)
    await page.get_by_role("button", name="Create project").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(name)
    await page.get_by_role("link", name="Variables").click()
    await page.get_by_label("Name", exact=True).fill("CHANNEL")
    await page.get_by_label("Value").first.fill("#sales")
    await page.get_by_role("button", name="Set", exact=False).first.click()
    await expect(page.get_by_role("rowheader", name="CHANNEL")).to_be_visible()

    await visit.open(f"{shown[1]}/run")
    await page.get_by_label("Entry point").fill("main.py:on_hook")
    await page.get_by_label("Inputs").fill('{"lead": "Grace"}')
    await page.get_by_role("button", name="Run", exact=True).click()
    await page.wait_for_url("**/sessions/ses_*")
    desk.up.ended(page.url.rpartition("/")[2].partition("?")[0])
    await page.reload()
    await expect(page.locator(".title .pill")).to_have_text("completed")
    await expect(page.get_by_role("log", name="Prints")).to_contain_text("Grace")


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
