"""Connecting an account by the form, in a real browser, with the org on another site."""

from playwright.async_api import Page, expect

from people import PATIENCE, Desk, Visit  # isort: skip

expect.set_options(timeout=PATIENCE)


async def connected_page(page: Page, desk: Desk) -> None:
    """Expect a connection's page that shows whose account it is."""
    facts = desk.org.facts
    await expect(page.get_by_role("heading", level=1)).to_have_text("crm")
    account = page.get_by_role("region", name="Account")
    for text in (facts["org_id"], facts["username"], facts["instance_url"], "api refresh_token"):
        await expect(account).to_contain_text(text)
    await expect(page.locator(".title .pill")).to_have_text("ok")


async def test_a_new_connection_is_entered_authorised_and_shown(visit: Visit, desk: Desk):
    """
    From the project's page to the account's name; Salesforce opens in a tab of its own, and the tab that
    stayed behind follows without being touched.
    """
    page = visit.page
    await visit.open(f"/projects/{desk.project()}")
    await page.get_by_role("link", name="New connection").first.click()
    await expect(page.get_by_label("Callback URL", exact=True)).to_have_value(desk.callback)
    await page.get_by_label("Name", exact=True).fill("crm")
    await visit.enter_app()
    await visit.save_and_authorise()
    found = await visit.findings()

    tab = await visit.continue_to_salesforce()
    await expect(page.get_by_role("heading", name="Waiting for Salesforce")).to_be_visible()
    await visit.decide(tab)

    await expect(tab.get_by_role("heading", name="Connected")).to_be_visible()
    assert found + await visit.findings(tab) == []
    await expect(page.get_by_role("heading", name="Connected")).to_be_visible()
    assert "?" not in tab.url
    await page.get_by_role("link", name="Go to connection crm").click()
    await connected_page(page, desk)


async def test_it_works_without_javascript(plain_visit: Visit, desk: Desk):
    """
    Forms, links and a meta refresh are enough; only liveness is missing.
    """
    visit, page = plain_visit, plain_visit.page
    await visit.open(f"/projects/{desk.project()}/connections/new")
    await page.get_by_label("Name", exact=True).fill("crm")
    await visit.enter_app()
    await visit.save_and_authorise()

    tab = await visit.continue_to_salesforce()
    await visit.decide(tab)
    await expect(tab.get_by_role("heading", name="Connected")).to_be_visible()
    await page.get_by_role("link", name="the page beside it").click()

    await expect(page.get_by_role("heading", name="Connected")).to_be_visible()
    await page.get_by_role("link", name="Go to connection crm").click()
    await connected_page(page, desk)


async def test_it_works_by_keyboard_alone(visit: Visit, desk: Desk):
    """
    From the form to the outcome with Tab, typing, arrows, Space and Enter.
    """
    page, facts = visit.page, desk.org.facts
    await visit.open(f"/projects/{desk.project()}/connections/new")

    async def reach(name: str, on: Page = page) -> None:
        """Press Tab until a control with this name or label has the focus."""
        for _ in range(60):
            await on.keyboard.press("Tab")
            focused = await on.evaluate(
                "() => { const e = document.activeElement; if (!e) return ''; "
                "return [e.name, e.value, e.innerText, e.getAttribute('aria-label')].join('|') }"
            )
            if name in focused:
                return
        raise AssertionError(f"{name!r} cannot be reached with Tab")

    await reach("name|")
    await page.keyboard.press("Control+A")
    await page.keyboard.type("crm")
    await reach("client_id|")
    await page.keyboard.type(facts["client_id"])
    await reach("client_secret|")
    await page.keyboard.type(facts["client_secret"])
    await reach("environment|")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowDown")
    await reach("environment.other|")
    await page.keyboard.type(facts["login_url"])
    await reach("Save and authorise")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Continue to Salesforce")).to_be_focused()
    async with visit.context.expect_page() as opened:
        await page.keyboard.press("Enter")
    tab = await opened.value
    await tab.locator("[name=username]").wait_for()
    await visit.decide(tab)

    await expect(page.get_by_role("heading", name="Connected")).to_be_visible()
    await reach("Go to connection crm")
    await page.keyboard.press("Enter")
    await connected_page(page, desk)


async def test_denied_consent_can_be_retried(visit: Visit, desk: Desk):
    """
    The outcome says what to do; Retry asks the org again, with nothing to type on our side.
    """
    project = desk.project()
    connection = desk.connection(project)
    page = visit.page
    await visit.open(f"/connections/{connection}")
    await page.get_by_role("button", name="Authorise").click()
    tab = await visit.continue_to_salesforce()
    await visit.decide(tab, "deny")

    await expect(tab.get_by_role("heading", name="Not connected")).to_be_visible()
    await expect(page.get_by_role("heading", name="Not connected")).to_be_visible()
    await expect(page.get_by_text("end-user denied authorization")).to_be_visible()
    await tab.get_by_role("button", name="Retry").click()
    await visit.decide(tab)
    await expect(tab.get_by_role("heading", name="Connected")).to_be_visible()
    assert desk.connection_named(project)["state"] == "ok"


async def test_a_wrong_secret_is_corrected_in_the_form(visit: Visit, desk: Desk):
    """
    The outcome names the field and leads to the form, which has kept everything else.
    """
    project = desk.project()
    page = visit.page
    await visit.open(f"/projects/{project}/connections/new")
    await page.get_by_label("Name", exact=True).fill("crm")
    await visit.enter_app(secret="not-the-secret")
    await visit.save_and_authorise()
    tab = await visit.continue_to_salesforce()
    await visit.decide(tab)

    await expect(tab.get_by_text("invalid client credentials")).to_be_visible()
    await expect(page.get_by_role("heading", name="Not connected")).to_be_visible()
    await page.get_by_role("link", name="Change what was entered").click()
    await expect(page.get_by_label("Client ID")).to_have_value(desk.org.facts["client_id"])
    await expect(page.get_by_label("Client Secret")).to_have_value("")
    await page.get_by_label("Client Secret").fill(desk.org.facts["client_secret"])
    await visit.save_and_authorise()
    tab = await visit.continue_to_salesforce()
    await visit.decide(tab)
    await expect(page.get_by_role("heading", name="Connected")).to_be_visible()


async def test_what_the_org_keeps_to_itself_is_explained_beside_it(visit: Visit, desk: Desk):
    """
    An app without our callback: the org shows bare text and sends nothing back. Our page beside it shows the
    callback; once the app has it, Retry connects, and the waiting tab follows the new attempt.
    """
    other = "https://elsewhere.example/oauth/redirect/salesforce"
    app = desk.org.control.add_app(name="Wrong callback", callbacks=[other])
    project = desk.project()
    page = visit.page
    await visit.open(f"/projects/{project}/connections/new")
    await page.get_by_label("Name", exact=True).fill("crm")
    await visit.enter_app(client_id=app["client_id"], secret=app["client_secret"])
    await visit.save_and_authorise()
    tab = await visit.continue_to_salesforce()

    await expect(tab.locator("body")).to_contain_text("redirect_uri_mismatch")
    await expect(page.get_by_role("heading", name="Waiting for Salesforce")).to_be_visible()
    await expect(page.locator(".hints li").first).to_contain_text("redirect_uri_mismatch")
    await expect(page.get_by_role("textbox", name="Callback URL that was sent")).to_have_value(desk.callback)
    assert await visit.findings() == []

    desk.org.control.edit_app(client_id=app["client_id"], callbacks=[other, desk.callback])
    first = page.url
    again = await visit.continue_to_salesforce("Retry")
    await page.wait_for_url(lambda url: "/oauth/wait/" in url and url != first)
    await visit.decide(again)
    await expect(page.get_by_role("heading", name="Connected")).to_be_visible()


async def test_a_connection_of_a_manifest_is_initialised(visit: Visit, desk: Desk, tmp_path):
    """
    It is marked where the project is shown; its type is preset and locked, its name is the manifest's.
    """
    project = f"manifest_{tmp_path.name}".replace("-", "_")
    (tmp_path / "ninelives.yaml").write_text(
        f"version: v2\nproject:\n  name: {project}\n  connections:\n    - name: crm\n      integration: salesforce\n"
    )
    (tmp_path / "main.py").write_text("def on_lead(event):\n    print(event)\n")
    desk.up.cli("deploy", str(tmp_path))
    page = visit.page
    await visit.open(f"/projects/{project}")
    await expect(page.get_by_text("needs initialising")).to_be_visible()
    await page.get_by_role("link", name="Initialise crm").click()

    await expect(page.get_by_label("Connection type")).to_be_disabled()
    await expect(page.get_by_label("Connection type")).to_have_value("salesforce")
    await visit.enter_app()
    await visit.save_and_authorise()
    tab = await visit.continue_to_salesforce()
    await visit.decide(tab)
    await page.get_by_role("link", name="Go to connection crm").click()
    await connected_page(page, desk)


async def test_a_connection_is_tested_edited_and_disconnected(visit: Visit, desk: Desk):
    """
    Each button says what it came to; a blank secret is kept; the org has revoked the grant at the end.
    """
    project = desk.project()
    connection = desk.connection(project)
    page = visit.page
    await visit.open(f"/connections/{connection}")
    await page.get_by_role("button", name="Authorise").click()
    tab = await visit.continue_to_salesforce()
    await visit.decide(tab)
    await page.get_by_role("link", name="Go to connection crm").click()

    for button in ("Test", "Refresh"):
        await page.get_by_role("button", name=button, exact=True).click()
        await expect(page.locator(".flash.good").first).to_be_visible()
    await page.get_by_role("button", name="Check everything").click()
    await expect(page.get_by_role("heading", name="What the doctor found")).to_be_visible()
    await page.get_by_role("link", name="Edit").click()
    await page.get_by_label("Name", exact=True).fill("renamed")
    await page.get_by_role("button", name="Save", exact=True).click()
    await page.get_by_role("button", name="Test", exact=True).click()
    await expect(page.locator(".flash.good").first).to_be_visible()
    await page.get_by_text("Disconnect…").click()
    await page.get_by_role("button", name="Disconnect").click()

    await expect(page.locator(".title .pill")).to_have_text("disconnected")
    await expect(page.get_by_text("Nobody has authorised it.")).to_be_visible()
