"""Pages of connections: the form in its three ways, health, and the end of a connection."""

import re

import factories
import pytest
from site_world import Site

from ninelives_server.model.connections import Account, ConnectionState
from ninelives_server.store import connections

SECRET = "D1EF9B0C3A-very-secret"
NEW = "/projects/lead_router/connections/new"
ENTERED = {
    "name": "crm",
    "integration": "salesforce",
    "auth_mode": "oauth_private",
    "client_id": "3MVG9abc",
    "client_secret": SECRET,
    "environment": "production",
}


def field(html: str, name: str) -> str:
    """Return the tag of an input."""
    found = re.search(rf'<(?:input|select)[^>]*\bname="{re.escape(name)}"[^>]*>', html)
    assert found, f"no field {name}"
    return found[0]


async def test_the_form_asks_in_the_order_in_which_the_app_is_made(site: Site):
    """
    The callback comes first, because the app needs it; then the two values, alone required; then where.
    """
    await site.project()
    html = await site.text(NEW)

    order = [
        "Callback URL",
        'name="client_id"',
        'name="client_secret"',
        'name="environment"',
        "More settings",
    ]
    places = [html.index(text) for text in order]
    assert places == sorted(places)
    assert f"{site.url}/oauth/redirect/salesforce" in html
    assert '<label for="f-client_id">Client ID</label>' in html
    assert '<label for="f-client_secret">Client Secret</label>' in html
    assert "Consumer Key: External Client App Manager &gt; Settings &gt; OAuth Settings" in html
    assert " required" in field(html, "client_id")
    assert " required" in field(html, "client_secret")
    assert " required" not in field(html, "scopes")
    assert re.search(r'value="production" checked>Production or Developer Edition', html)
    assert '<option value="salesforce" selected>Salesforce</option>' in html
    assert "/docs/integrations/salesforce/private-oauth" in html


async def test_a_connection_is_saved_and_no_page_ever_shows_its_secret(site: Site):
    """
    Neither the page after saving nor the form to edit; they say that it is set.
    """
    await site.project()

    shown = await site.after(await site.post(NEW, **ENTERED, then="save"))
    [connection] = await site.services.connections.list(site.actor)
    form = await site.text(f"/connections/{connection.id}/edit")
    pages = [shown, form, await site.text("/audit")]

    assert connection.settings["client_id"] == "3MVG9abc"
    assert connection.secrets_set == {"client_secret"}
    assert "Connection crm is saved" in shown
    assert all(SECRET not in page for page in pages)
    assert "leave this blank to keep it" in form
    assert " required" not in field(form, "client_secret")


async def test_saving_and_authorising_leads_to_the_start_page(site: Site):
    """
    In one press; the ticket is good for one start.
    """
    await site.project()

    answer = await site.post(NEW, **ENTERED, then="authorise")
    [connection] = await site.services.connections.list(site.actor)

    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{site.url}/oauth/start/{connection.id}?ticket=")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"client_id": ""}, "Client ID"),
        ({"client_secret": ""}, "Client Secret"),
        ({"environment": "other:", "environment.other": "https://evil.example"}, "My Domain"),
        ({"name": "9 lives"}, "name"),
    ],
)
async def test_what_cannot_be_saved_is_shown_again_without_loss(site: Site, wrong: dict[str, str], said: str):
    """
    What was typed is still there, but for the secret, which no page shows; the reason stands at its field.
    """
    await site.project()

    answer = await site.browser.post(NEW, data={**ENTERED, **wrong, "then": "save"})

    assert answer.status_code == 422
    assert said in answer.text
    assert 'role="alert"' in answer.text
    assert SECRET not in answer.text
    if "client_id" not in wrong:
        assert 'value="3MVG9abc"' in answer.text
    assert await site.services.connections.list(site.actor) == []


async def test_a_connection_of_a_manifest_is_initialised_with_its_type_locked(site: Site):
    """
    Name and type are the manifest's; only the app is asked for.
    """
    project, _ = await site.project()
    connection = await factories.a_connection(site.services.store, project, name="crm")
    path = f"/connections/{connection.id}/edit"

    html = await site.text(path)
    answer = await site.browser.post(path, data={**ENTERED, "then": "authorise"})

    assert "Initialise crm" in html
    assert " disabled" in field(html, "integration")
    assert answer.headers["location"].startswith(f"{site.url}/oauth/start/{connection.id}?ticket=")


async def test_editing_keeps_the_secret_that_is_left_blank_and_the_mode(site: Site):
    """
    Saving the form as it was shown changes nothing.
    """
    project, _ = await site.project()
    await site.post(NEW, **ENTERED, then="save")
    [connection] = await site.services.connections.list(site.actor)
    before = await site.services.store.read(lambda tx: connections.secrets_of(tx, connection.id))

    blank = {**ENTERED, "client_secret": "", "client_id": "3MVG9other", "auth_mode": "oauth_default"}
    await site.browser.post(f"/connections/{connection.id}/edit", data={**blank, "then": "save"})

    after = await site.services.store.read(lambda tx: connections.secrets_of(tx, connection.id))
    edited = await site.services.connections.get(site.actor, connection.id)
    assert after == before
    assert edited.settings["client_id"] == "3MVG9other"
    assert edited.auth_mode == "oauth_private"


async def test_a_start_without_an_app_says_what_is_missing(site: Site):
    """
    The button of a connection that nobody has filled in leads back with the reason.
    """
    project, _ = await site.project()
    connection = await factories.a_connection(site.services.store, project)

    html = await site.after(await site.post(f"/connections/{connection.id}/authorise"))

    assert "has no Client ID and no Client Secret" in html


async def test_the_page_shows_whose_account_it_is_and_how_it_fares(site: Site):
    """
    Organisation, user, instance, scopes; the state in our words and in the provider's.
    """
    project, _ = await site.project()
    account = Account(
        org_id="00D000000000001EAA",
        org_name="Acme",
        user="ada@acme.example",
        user_id="005000000000001AAA",
        instance_url="https://acme.my.salesforce.com",
        scopes=("api", "refresh_token"),
    )
    connection = await factories.a_connection(
        site.services.store,
        project,
        state=ConnectionState.OK,
        account=account,
        account_key="00D|005",
        settings={"client_id": "3MVG9abc", "environment": "production"},
    )
    await site.services.store.write(
        lambda tx: connections.set_state(
            tx,
            connection.id,
            ConnectionState.NEEDS_REAUTH,
            reason="the grant has ended; connect again",
            provider_reason="expired access/refresh token",
        )
    )

    html = await site.text(f"/connections/{connection.id}")

    for text in ("Acme · 00D000000000001EAA", "ada@acme.example", "https://acme.my.salesforce.com",
                 "api refresh_token", "needs reconnecting", "the grant has ended; connect again",
                 "expired access/refresh token", "Last checked", "Reconnect", "Disconnect…", "Delete…"):  # fmt: skip
        assert text in html


async def test_a_test_without_a_grant_says_so(site: Site):
    """
    What a button came to is said on the page that it leads back to, whichever button it was.
    """
    project, _ = await site.project()
    connection = await factories.a_connection(
        site.services.store, project, state=ConnectionState.NEEDS_REAUTH
    )
    path = f"/connections/{connection.id}"

    tested = await site.after(await site.post(f"{path}/test"))
    refreshed = await site.after(await site.post(f"{path}/refresh"))
    examined = await site.post(f"{path}/doctor")

    assert "flash bad" in tested
    assert "flash bad" in refreshed
    assert examined.status_code == 200
    assert "What the doctor found" in examined.text


async def test_deleting_says_what_became_of_the_grant(site: Site):
    """
    And the connection is gone.
    """
    project, _ = await site.project()
    connection = await factories.a_connection(site.services.store, project)

    html = await site.after(await site.post(f"/connections/{connection.id}/delete", keep_grant="true"))

    assert "Connection crm is deleted" in html
    assert "the grant at the provider was kept" in html
    assert await site.services.connections.list(site.actor) == []


async def test_what_people_and_providers_wrote_is_escaped(site: Site):
    """
    A provider's words and a setting may hold anything.
    """
    project, _ = await site.project()
    nasty = "<img src=x onerror=alert(1)>"
    connection = await factories.a_connection(
        site.services.store, project, state=ConnectionState.DEGRADED, settings={"client_id": nasty}
    )
    await site.services.store.write(
        lambda tx: connections.set_state(
            tx, connection.id, ConnectionState.DEGRADED, reason=nasty, provider_reason=nasty
        )
    )

    for path in (
        f"/connections/{connection.id}",
        f"/connections/{connection.id}/edit",
        "/projects/lead_router",
    ):
        assert "<img src=x" not in await site.text(path)


async def test_a_connection_by_a_key_is_ready_when_it_is_saved(site: Site):
    """
    The form of its mode has no callback and no button to authorise; no page shows the key.
    """
    await site.project()
    form = await site.text(f"{NEW}?kind=jira&auth_mode=pat")
    made = {"name": "tg", "integration": "telegram", "auth_mode": "bot_token", "BotToken": SECRET}

    shown = await site.after(await site.post(NEW, **made, then="save"))
    [connection] = await site.services.connections.list(site.actor)

    assert '<option value="jira" selected>Atlassian Jira</option>' in form
    assert '<option value="pat" selected>' in form
    assert "Callback URL" not in form
    assert "Save and authorise" not in form
    assert (connection.state, connection.auth_mode) == (ConnectionState.OK, "bot_token")
    assert "Reconnect" not in shown
    assert SECRET not in shown + await site.text(f"/connections/{connection.id}/edit")


async def test_a_connection_that_a_manifest_brought_takes_another_mode_until_it_is_set_up(site: Site):
    """
    Its form offers the modes; a key file has a place of several lines.
    """
    project, _ = await site.project()
    made = await factories.a_connection(
        site.services.store, project, name="gh", integration="github", auth_mode="pat"
    )

    page = await site.text(f"/connections/{made.id}")
    form = await site.text(f"/connections/{made.id}/edit?auth_mode=app")
    entered = {
        "name": "gh",
        "auth_mode": "app",
        "app_id": "1",
        "install_id": "2",
        "private_key": "-----BEGIN\nx",
    }
    shown = await site.after(await site.post(f"/connections/{made.id}/edit", **entered, then="save"))
    after = await site.services.connections.get(site.actor, made.id)

    assert "gh is not set up" in page
    assert '<option value="app" selected>Your own GitHub App</option>' in form
    assert '<textarea id="f-private_key"' in form
    assert "Connection gh is saved" in shown
    assert (after.auth_mode, after.state) == ("app", ConnectionState.OK)
    assert '<select id="f-auth_mode"' not in await site.text(f"/connections/{made.id}/edit")
