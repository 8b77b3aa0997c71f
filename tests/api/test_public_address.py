"""One public address: every link that leaves the server has it, whatever the proxy in front does to the path."""

import re

import pytest
from api_site import Site, Things, site_on

pytestmark = [pytest.mark.system]

PUBLIC = "https://flows.example.com/nine"
PAGES = "https://ui.example.com/console"
#: What a proxy passes on: the path as it was asked for, or without the public prefix.
KEPT, STRIPPED = "kept", "stripped"


@pytest.fixture(scope="module")
def behind(tmp_path_factory):
    """A server behind a proxy, with the pages on another host than the callbacks, both below a path."""
    directory = tmp_path_factory.mktemp("public") / "data"
    # A trailing slash and a bare host are as good as the full address.
    with site_on(directory, "--public-url", "flows.example.com/nine/", NINELIVES_WEB_URL=PAGES) as site:
        yield site


@pytest.fixture(scope="module")
def deployed(behind: Site) -> Things:
    """A project with one of everything; its webhook is asked as the proxy would pass it on."""
    inner = behind.http.post

    def through(url: str, **options):
        assert url.startswith(f"{PUBLIC}/webhooks/")
        return inner(url.replace(PUBLIC, behind.up.url), headers={"Host": "flows.example.com"}, **options)

    behind.http.post = through
    try:
        return behind.things()
    finally:
        behind.http.post = inner


def ask(site: Site, url: str, *, proxy: str, method: str = "GET", who=None, **options):
    """Ask an address of the outside as a proxy that ends TLS passes it on."""
    base = PAGES if url.startswith(PAGES) else PUBLIC
    _, _, host, prefix = base.split("/")
    path = url.removeprefix(base)
    passed = f"/{prefix}{path}" if proxy == KEPT else path or "/"
    headers = {"Host": host, "Accept": "text/html", **options.pop("headers", {})}
    return site.look(passed, method=method, who=who, headers=headers, **options)


both = pytest.mark.parametrize("proxy", [KEPT, STRIPPED])


def test_every_address_that_leaves_is_the_public_one(behind: Site, deployed: Things):
    """
    Webhooks, callbacks and the start of an authorisation; login links lead to the pages.
    """
    trigger = behind.get(f"/triggers/{deployed.trigger_id}")
    start = behind.good(behind.ask("POST", f"/connections/{deployed.connection_id}/authorise"))
    link = behind.good(behind.ask("POST", "/login-links", json={}))["url"]
    callbacks = {item["callback_url"] for item in behind.get("/integrations")["items"]}

    assert trigger["webhook_url"].startswith(f"{PUBLIC}/webhooks/")
    assert start["url"].startswith(f"{PUBLIC}/oauth/start/{deployed.connection_id}?ticket=")
    assert link.startswith(f"{PAGES}/login?token=")
    assert f"{PUBLIC}/oauth/redirect/salesforce" in callbacks
    assert all(url.startswith(f"{PUBLIC}/oauth/redirect/") for url in callbacks)


def test_the_terminal_shows_them_too(behind: Site):
    """
    Whoever starts the server reads where it is, and the link to log in with.
    """
    shown = behind.up.log_file.read_text()

    assert f"ready at {PAGES}" in shown
    assert f"{PAGES}/login?token=" in shown
    assert behind.up.cli("login", "--web").stdout.startswith(f"{PAGES}/login?token=")


@both
def test_a_webhook_is_reached(behind: Site, deployed: Things, proxy):
    """
    Whether the proxy strips the prefix or not.
    """
    answer = ask(behind, deployed.webhook_url, proxy=proxy, method="POST", content=b"{}")

    assert answer.status_code == 202


@both
def test_a_person_logs_in_and_stays_below_the_prefix(behind: Site, proxy):
    """
    The way to the login page, the link, the form, the cookie and the way back.
    """
    first = ask(behind, f"{PAGES}/sessions", proxy=proxy)
    link = behind.good(behind.ask("POST", "/login-links", json={}))["url"]
    page = ask(behind, link, proxy=proxy)
    token = {"token": link.partition("token=")[2]}
    origin = {"Origin": "https://ui.example.com", "Cookie": "ninelives_next=/sessions"}
    done = ask(behind, f"{PAGES}/login", proxy=proxy, method="POST", data=token, headers=origin)

    assert first.headers["location"] == "/console/login"
    assert 'action="/console/login"' in page.text
    assert done.status_code == 303
    assert done.headers["location"] == "/console/sessions"
    cookie = next(c for c in done.headers.get_list("set-cookie") if c.startswith("ninelives_session="))
    assert "Path=/console" in cookie
    assert "Secure" in cookie
    assert "HttpOnly" in cookie


@both
def test_every_link_of_a_page_has_the_prefix(behind: Site, deployed: Things, proxy):
    """
    Links, forms, scripts, styles and streams; and what they point to is there.
    """
    paths = ("", f"/projects/{deployed.project}", f"/connections/{deployed.connection_id}", "/settings")
    for path in paths:
        page = ask(behind, f"{PAGES}{path or '/'}", proxy=proxy, who="admin")
        assert page.status_code == 200
        links = re.findall(r'(?:href|src|action|sse-connect|hx-get|hx-post)="(/[^"]*)"', page.text)
        assert len(links) > 5
        assert [link for link in links if not link.startswith("/console/")] == []
    static = next(link for link in links if "/static/" in link)
    asked = PAGES + static.removeprefix("/console").replace("&amp;", "&")
    assert ask(behind, asked, proxy=proxy).status_code == 200


@both
def test_the_callbacks_pages_stay_on_the_public_address(behind: Site, deployed: Things, proxy):
    """
    The start page and what the provider sends back, on the host of the callbacks.
    """
    start = behind.good(behind.ask("POST", f"/connections/{deployed.connection_id}/authorise"))
    page = ask(behind, start["url"], proxy=proxy)
    back = ask(behind, f"{PUBLIC}/oauth/redirect/salesforce?state=x&code=y", proxy=proxy)

    assert page.status_code == 200
    assert f'action="/nine/oauth/start/{deployed.connection_id}' in page.text
    assert back.status_code == 303
    assert back.headers["location"].startswith("/nine/oauth/")
    assert "?" not in back.headers["location"]


def test_a_host_that_is_not_ours_gets_a_page_that_names_the_settings(behind: Site):
    """
    Whoever forgot the public address reads what to set; whoever rebinds a name gets nothing else. The server's own
    names and this machine's still work.
    """
    refused = behind.look("/", headers={"Host": "other.example"})
    local = behind.look("/", headers={"Host": f"localhost:{behind.up.port}"})

    assert refused.status_code == 421
    assert refused.headers["content-type"] == "text/html; charset=utf-8"
    assert "other.example" in refused.text
    assert "NINELIVES_PUBLIC_URL" in refused.text
    assert "NINELIVES_WEB_URL" in refused.text
    assert local.status_code == 200


def test_pages_may_ask_the_api_from_their_own_address_only(behind: Site):
    """
    Browsers behind the proxy name the public origin, which is not what the server is bound to.
    """
    cookie = {"Cookie": f"ninelives_session={behind.cookies['admin']}", "Host": "ui.example.com"}

    own = behind.ask("GET", "/whoami", who=None, headers={**cookie, "Origin": "https://ui.example.com"})
    other = behind.ask("GET", "/whoami", who=None, headers={**cookie, "Origin": "https://evil.example"})

    assert (own.status_code, other.status_code) == (200, 403)
