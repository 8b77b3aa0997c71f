"""What every page passes: origin of forms, headers, errors as pages, nothing of other orgs."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from site_world import Site, browser, served

from ninelives_server.model.actors import Role
from ninelives_server.store.core import Store
from ninelives_server.vault.vault import Vault

FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://localhost:1"},
    {"Origin": "null"},
    {},
]


def bare(site: Site) -> httpx2.AsyncClient:
    """A browser with the login, that says nothing of where its forms come from."""
    return httpx2.AsyncClient(
        base_url=site.url, cookies=site.browser.cookies, headers={"Accept": "text/html"}, trust_env=False
    )


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_a_form_of_another_site_changes_nothing(site: Site, headers: dict[str, str]):
    """
    The login cookie comes along with a forged form; that must not be enough.
    """
    async with bare(site) as client:
        answer = await client.post("/projects", data={"name": "forged"}, headers=headers)

    assert answer.status_code == 403
    assert "another site" in answer.text
    assert await site.services.projects.list(site.actor) == []


async def test_our_own_forms_pass_by_origin_where_a_browser_sends_no_more(site: Site):
    """
    `Sec-Fetch-Site` comes to https and localhost only; `Origin` comes with every form.
    """
    async with bare(site) as client:
        answer = await client.post("/projects", data={"name": "mine"}, headers={"Origin": site.url})

    assert answer.status_code == 303
    assert [p.name for p in await site.services.projects.list(site.actor)] == ["mine"]


async def test_a_page_without_referrer_proves_itself_by_its_form_token(site: Site):
    """
    Its forms come with `Origin: null`; token and cookie must match, or a stranger could log somebody in as
    himself.
    """
    secret = await site.services.access.login_link(site.actor)
    null = {"Origin": "null"}
    async with httpx2.AsyncClient(base_url=site.url, trust_env=False) as client:
        page = await client.get(f"/login?token={secret}")
        token = re.search(r'name="form_token" value="([^"]+)"', page.text)[1]
        forged = await client.post("/login", data={"token": secret, "form_token": "x"}, headers=null)
        own = await client.post("/login", data={"token": secret, "form_token": token}, headers=null)

    assert forged.status_code == 403
    assert own.status_code == 303


async def test_pages_carry_a_policy_without_holes(site: Site):
    """
    No `unsafe-*`, no `*`, no framing, nothing kept in caches.
    """
    answer = await site.get("/")

    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "*" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "same-origin"


PAGES = ["/", "/sessions", "/settings", "/audit", "/projects/lead_router/run"] + [
    f"/projects/lead_router{section}"
    for section in ("", "/connections", "/connections/new", "/triggers", "/variables", "/deployments",
                    "/sessions", "/events")
]  # fmt: skip


async def test_no_page_has_inline_styles_or_handlers(site: Site):
    """
    The policy would refuse them silently: the page would look or work differently than written.
    """
    await site.project()

    for path in PAGES:
        html = await site.text(path)
        assert not re.search(r"\sstyle=", html), path
        assert not re.search(r"\son\w+=", html), path
        assert not re.search(r"<script(?![^>]*\bsrc=)", html), path
        assert "javascript:" not in html, path


async def test_what_is_not_there_is_a_page(site: Site):
    """
    People get a page that says what is missing and leads on; programs get their problem document.
    """
    for path in (
        "/projects/nobody",
        "/sessions/ses_0",
        "/connections/con_0",
        "/events/evt_0",
        "/nothing/here",
    ):
        page = await site.get(path)
        assert page.status_code == 404, path
        assert page.headers["content-type"].startswith("text/html")
        assert "Go to the projects" in page.text
    program = await site.get("/api/v1/nothing", headers={"Accept": "text/html"})
    assert program.headers["content-type"] == "application/problem+json"


async def test_a_field_that_is_no_number_is_named(site: Site):
    """
    What a form cannot be read as is said on a page, not in JSON.
    """
    await site.project()

    answer = await site.post("/projects/lead_router/retention", sessions="many", events="1", logs="1")

    assert answer.status_code == 422
    assert "sessions" in answer.text


async def test_a_defect_of_ours_is_a_page_that_helps_to_find_it(site: Site, monkeypatch: pytest.MonkeyPatch):
    """
    It names the request, as the log does, and nothing of what went wrong inside.
    """

    async def broken(*_args: object) -> None:
        raise RuntimeError("the key is hush-hush")

    monkeypatch.setattr(type(site.services.projects), "list", broken)

    answer = await site.get("/")

    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.text
    assert "hush-hush" not in answer.text


async def test_another_orgs_things_are_not_there(site: Site):
    """
    Neither in lists nor by their address, nor may anything be done with them.
    """
    project, _ = await site.project()
    session = await site.session(project)
    async with site.somebody("eve", Role.ADMIN) as eve:
        pages = {path: await eve.get(path) for path in ("/", "/sessions", "/audit")}
        by_address = [
            await eve.get(f"/projects/{project.name}"),
            await eve.get(f"/sessions/{session.id}"),
            await eve.get(f"/sessions/{session.id}/live"),
            await eve.get(f"/sessions/{session.id}/log"),
            await eve.get(f"/events/{session.event_id}"),
            await eve.post(f"/sessions/{session.id}/stop"),
            await eve.post(f"/projects/{project.name}/delete"),
        ]

    assert all(project.name not in page.text for page in pages.values())
    assert all(session.id not in page.text for page in pages.values())
    assert [answer.status_code for answer in by_address] == [404] * 7


async def test_a_viewer_sees_and_may_not_change(site: Site):
    """
    Buttons are not shown, and a form that is sent anyway is refused.
    """
    project, _ = await site.project()
    async with site.somebody("vera", Role.VIEWER, site.actor.org_id) as vera:
        page = await vera.get(f"/projects/{project.name}")
        refused = await vera.post("/projects", data={"name": "mine"})

    assert page.status_code == 200
    assert ">Run…<" not in page.text
    assert refused.status_code == 403
    assert "member" in refused.text


@pytest.fixture
async def below(sqlite: Store, vault: Vault, tmp_path: Path) -> AsyncIterator[Site]:
    """A server whose public address has a path."""
    async with served(sqlite, vault, tmp_path, public_url="https://acme.example/nl") as site:
        yield site


async def test_a_path_in_front_is_kept_by_every_link_and_cookie(below: Site):
    """
    Behind a proxy that serves others too, a link without the prefix leads to somebody else.
    """
    project, _ = await below.project()
    secret = await below.services.access.login_link(below.actor)
    host = {"Host": "acme.example"}
    async with browser(below.url) as client:
        login = await client.post("/nl/login", data={"token": secret}, headers=host)
        cookie = login.headers.get_list("set-cookie")[0]
        headers = {**host, "Cookie": cookie.partition(";")[0]}
        pages = [await client.get(f"/nl{path}", headers=headers) for path in ("", *PAGES[1:])]

    assert login.headers["location"] == "/nl/"
    assert "Path=/nl;" in cookie
    assert "Secure" in cookie
    for page in pages:
        assert page.status_code == 200, page.url
        links = re.findall(r'(?:href|src|action|hx-sse:connect)="(/[^"]*)"', page.text)
        assert links
        assert [link for link in links if not link.startswith("/nl/")] == []
    assert project.name in pages[0].text
