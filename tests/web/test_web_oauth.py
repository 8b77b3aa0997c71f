"""The browser's side of an authorisation, against a fake org, without JavaScript."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from site_world import Site, browser, served

from ninelives_server.model.connections import Connection, ConnectionState
from ninelives_server.store.core import Store
from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce
from ninelives_server.testing.fake_salesforce.visitor import Visitor
from ninelives_server.vault.vault import Vault
from ninelives_server.web import live


@pytest.fixture
def org() -> Iterator[FakeSalesforce]:
    """A new org; its app gets the callback of the test's server."""
    with FakeSalesforce.start() as org:
        yield org


@dataclass
class Scene:
    """A site, an org, and a connection with the org's app."""

    site: Site
    org: FakeSalesforce
    connection: Connection

    async def link(self) -> str:
        """Press "Reconnect" and return where it leads."""
        answer = await self.site.post(f"/connections/{self.connection.id}/authorise")
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    async def start(self, client: httpx2.AsyncClient, url: str, **typed: str) -> httpx2.Response:
        """Open a start link and press its button."""
        page = await client.get(url)
        assert page.status_code == 200, page.text
        ticket = re.search(r'name="ticket" value="([^"]+)"', page.text)[1]
        return await client.post(urlsplit(url).path, data={"ticket": ticket, **typed})

    async def provider(self, left: httpx2.Response, decision: str = "allow") -> str:
        """Follow the page that leads to the provider; return the callback as path and query."""
        url = unescape(re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', left.text)[1])
        callback = await asyncio.to_thread(self._visit, url, decision)
        assert callback.startswith(f"{self.site.url}/oauth/redirect/salesforce?")
        parts = urlsplit(callback)
        return f"{parts.path}?{parts.query}"

    def _visit(self, url: str, decision: str) -> str:
        found = self.org.details
        with Visitor(username=found.username, password=found.password, ca_file=found.ca_file) as visitor:
            return visitor.authorize(url, decision=decision)

    async def state(self) -> ConnectionState:
        """Return how the connection fares."""
        return (await self.site.services.connections.get(self.site.actor, self.connection.id)).state


@pytest.fixture
async def scene(sqlite: Store, vault: Vault, tmp_path: Path, org: FakeSalesforce) -> AsyncIterator[Scene]:
    """A connection that is entered and not authorised."""
    given = {"ca_file": org.ca_file, "allow_insecure_providers": True}
    async with served(sqlite, vault, tmp_path, **given) as site:
        org.control.edit_app(
            client_id=org.details.client_id, callbacks=[f"{site.url}/oauth/redirect/salesforce"]
        )
        project, _ = await site.project()
        connection = await site.services.connections.create(
            site.actor,
            project.id,
            "crm",
            "salesforce",
            settings={"client_id": org.details.client_id, "environment": org.details.login_url},
            secrets={"client_secret": org.details.client_secret},
        )
        yield Scene(site, org, connection)


async def test_the_whole_way_leads_to_a_page_without_a_query(scene: Scene):
    """
    Start page, provider, redirect, outcome; the outcome can be loaded again, and the connection is ok.
    """
    client = scene.site.browser
    left = await scene.start(client, await scene.link())
    landed = await client.get(await scene.provider(left))
    outcome = await client.get(landed.headers["location"])
    again = await client.get(landed.headers["location"])
    shown = await scene.site.text(f"/connections/{scene.connection.id}")

    assert landed.status_code == 303
    assert "?" not in landed.headers["location"]
    assert landed.headers["referrer-policy"] == "no-referrer"
    assert "Connected" in outcome.text
    assert again.text == outcome.text
    assert f"{scene.site.url}/connections/{scene.connection.id}" in outcome.text
    assert await scene.state() is ConnectionState.OK
    for text in (scene.org.details.org_id, scene.org.details.username, scene.org.details.instance_url):
        assert text in outcome.text
        assert text in shown


async def test_the_start_page_shows_who_asks_and_uses_nothing_up(scene: Scene):
    """
    Somebody who follows a link sees whose connection it is before anything happens.
    """
    url = await scene.link()

    first = await scene.site.get(url)
    second = await scene.site.get(url)
    left = await scene.start(scene.site.browser, url)
    spent = await scene.site.get(url)

    for text in ("crm", "lead_router", "admin", "Continue to Salesforce"):
        assert text in first.text
    assert second.status_code == left.status_code == 200
    assert spent.status_code == 410
    assert "ninelives connection init" in spent.text


async def test_a_browser_without_the_login_is_asked_for_the_short_code(scene: Scene):
    """
    A link that was sent to a stranger binds nothing: the code is shown to its maker only.
    """
    link = await scene.site.services.connections.begin(scene.site.actor, scene.connection.id)
    async with browser(scene.site.url) as stranger:
        page = await stranger.get(link.url)
        wrong = await scene.start(stranger, link.url, code="aaaa-aaaa")
        right = await scene.start(stranger, link.url, code=link.code)
        landed = await stranger.get(await scene.provider(right))

    assert 'name="code"' in page.text
    assert link.code not in page.text
    assert wrong.status_code == 422
    assert "4 tries are left" in wrong.text
    assert landed.status_code == 303
    assert await scene.state() is ConnectionState.OK


async def test_the_page_that_leaves_has_a_link_and_sets_a_cookie_that_scripts_cannot_read(scene: Scene):
    """
    A meta refresh, because `form-action` would bind a redirect; no script is needed, and nothing is kept.
    """
    left = await scene.start(scene.site.browser, await scene.link())
    [cookie] = left.headers.get_list("set-cookie")

    assert left.status_code == 200
    assert cookie.startswith("ninelives_flow_")
    for part in ("HttpOnly", "SameSite=lax", "Path=/oauth"):
        assert part in cookie
    assert left.headers["referrer-policy"] == "no-referrer"
    assert left.headers["cache-control"] == "no-store"
    assert scene.org.details.client_secret not in left.text


async def test_denied_consent_says_what_to_do_and_retries(scene: Scene):
    """
    Retry goes straight to the provider again, with everything that was entered.
    """
    client = scene.site.browser
    left = await scene.start(client, await scene.link())
    landed = await client.get(await scene.provider(left, "deny"))
    outcome = await client.get(landed.headers["location"])
    action = re.search(r'action="(/oauth/retry/[^"]+)"', outcome.text)[1]
    again = await client.post(action)
    back = await client.get(await scene.provider(again))
    shown = await client.get(back.headers["location"])

    assert "What to do" in outcome.text
    assert "end-user denied authorization" in outcome.text
    assert "Connected" in shown.text


async def test_a_wrong_secret_is_told_from_other_failures(scene: Scene):
    """
    The page names the field, quotes the service and leads to the form.
    """
    scene.org.control.rotate_secret(client_id=scene.org.details.client_id)
    client = scene.site.browser
    left = await scene.start(client, await scene.link())
    landed = await client.get(await scene.provider(left))
    outcome = await client.get(landed.headers["location"])

    assert "Client Secret" in outcome.text
    assert "invalid client credentials" in outcome.text
    assert f"/connections/{scene.connection.id}/edit" in outcome.text
    assert scene.org.details.client_secret not in outcome.text


async def test_an_answer_that_belongs_to_nobody_is_explained(scene: Scene):
    """
    Without a state, with an unknown one, or in a browser that did not start it.
    """
    client = scene.site.browser
    left = await scene.start(client, await scene.link())
    callback = await scene.provider(left)
    async with browser(scene.site.url) as other:
        foreign = await other.get(callback)
        page = await other.get(foreign.headers["location"])
        nothing = await other.get("/oauth/redirect/salesforce?code=aPrx")
        unknown = await other.get("/oauth/redirect/salesforce?code=aPrx&state=made-up")
        pages = [await other.get(answer.headers["location"]) for answer in (nothing, unknown)]

    assert page.status_code == 410
    assert "another browser" in page.text
    for shown in pages:
        assert shown.status_code == 410
        assert "What to do" in shown.text
    assert await scene.state() is ConnectionState.INIT_REQUIRED


async def test_the_page_beside_the_provider_explains_what_it_keeps_to_itself(scene: Scene):
    """
    The exact callback, the likely causes in order, the settings to compare, Retry; for the browser that
    started it, and for nobody else.
    """
    client = scene.site.browser
    left = await scene.start(client, await scene.link())
    path = re.search(r'href="(/oauth/wait/[^"]+)"', left.text)[1]
    page = await client.get(path)
    async with browser(scene.site.url) as other:
        foreign = await other.get(path)

    causes = [
        "redirect_uri_mismatch",
        "invalid_client_id",
        "missing required code challenge",
        "What was sent",
    ]
    places = [page.text.index(text) for text in causes]
    assert places == sorted(places)
    assert f"{scene.site.url}/oauth/redirect/salesforce" in page.text
    assert "up to ten minutes" in page.text
    assert "an empty page, or a downloaded file" in page.text
    assert "<dt>Client ID</dt>" in page.text
    assert ">Retry<" in page.text
    assert foreign.status_code == 410
    assert scene.org.details.client_id not in foreign.text


async def test_the_page_beside_the_provider_learns_of_the_end(scene: Scene):
    """
    Its stream sends the outcome as soon as there is one, and closes.
    """
    client = scene.site.browser
    left = await scene.start(client, await scene.link())
    path = re.search(r'href="(/oauth/wait/[^"]+)"', left.text)[1]
    async with client.stream("GET", f"{path}/live") as answer:
        parts = answer.aiter_text()
        text = await anext(parts)
        callback = await scene.provider(left)
        async with browser(scene.site.url) as tab:
            tab.cookies.update(client.cookies)
            await tab.get(callback)
        async with asyncio.timeout(30):
            async for part in parts:
                text += part

    assert "Waiting for Salesforce" in text
    assert "Connected" in text
    assert text.endswith(live.OVER)


async def test_with_callbacks_on_another_host_the_page_shows_the_short_code(
    sqlite: Store, vault: Vault, tmp_path: Path
):
    """
    The login is not known there, so the start page will ask for the code; this page stays open and follows.
    """
    given = {"public_url": "https://acme-api.example", "web_url": "https://acme.example"}
    async with served(sqlite, vault, tmp_path, **given) as site:
        project, _ = await site.project()
        connection = await site.services.connections.create(
            site.actor, project.id, "crm", "salesforce",
            settings={"client_id": "3MVG9abc"}, secrets={"client_secret": "hush-hush-hush"},
        )  # fmt: skip
        answer = await site.post(f"/connections/{connection.id}/authorise")
        policy = answer.headers["content-security-policy"]
        url = unescape(re.search(r'href="(https://acme-api.example/oauth/start/[^"]+)"', answer.text)[1])
        parts = urlsplit(url)
        async with browser(site.url) as there:
            there.headers["Host"] = "acme-api.example"
            page = await there.get(f"{parts.path}?{parts.query}")

    code = re.search(r'id="short-code"', answer.text)
    assert answer.status_code == 200
    assert code
    assert re.search(r'value="\w{4}-\w{4}" id="short-code"', answer.text)
    assert "https://acme-api.example" in policy
    assert 'name="code"' in page.text
