"""Who may see and do what on the HTML pages: every route that the web has, walked."""

import json
from types import SimpleNamespace

import pytest
from api_site import APP_SECRET, Site, Things
from fastapi.routing import APIRoute

from ninelives_server.web import app as web_app
from ninelives_server.web import flash, live

pytestmark = [pytest.mark.system]

#: Pages that anybody may open: logging in, the guides, and what a ticket or a flow's cookie opens.
OPEN = ("/login", "/logout", "/docs/", "/oauth/")
#: Streams do not end by themselves.
LIVE = ("/live", "/live/projects")
#: Another name of the list of projects, which is at `/`.
MOVED = "/projects"


def routes():
    """Return method and path of each route of the pages."""
    return sorted(set(below(web_app.router)))


def below(router):
    """Yield the routes of a router and of those that it includes."""
    for route in router.routes:
        if isinstance(route, APIRoute):
            yield from ((method, route.path) for method in route.methods)
        else:
            yield from below(route.original_router)


def closed():
    return [(method, path) for method, path in routes() if not path.startswith(OPEN)]


def pages():
    """Return the closed routes that answer with a page to be read, and the forms."""
    return [(method, path) for method, path in closed() if (method, path) != ("GET", MOVED)]


def filled(things: Things, path: str, **other: str) -> str:
    return things.path(path, ref=things.project, trigger=things.trigger_id, **other)


OWN_FORM = {"Sec-Fetch-Site": "same-origin"}


def test_there_are_pages_to_walk():
    """
    An empty walk would prove nothing.
    """
    assert len(closed()) > 40
    assert ("POST", "/projects/{ref}/delete") in closed()


def test_nobody_is_led_to_the_login_page(site: Site, things: Things):
    """
    From every page and from every form, whether the thing exists or not.
    """
    wrong = []
    for method, path in closed():
        answer = site.look(filled(things, path), method=method, who=None, headers=OWN_FORM)
        if (answer.status_code, answer.headers.get("location")) != (303, "/login"):
            wrong.append(f"{method} {path}: {answer.status_code}")

    assert "\n".join(wrong) == ""


def test_a_token_is_no_login(site: Site, things: Things):
    """
    A program's token in the cookie, or as a header, opens no page.
    """
    token = site.tokens["admin"]

    by_header = site.look("/", who=None, headers={"Authorization": f"Bearer {token}"})
    by_cookie = site.look("/", who=None, headers={"Cookie": f"ninelives_session={token}"})

    assert (by_header.status_code, by_cookie.status_code) == (303, 303)


def test_another_org_finds_no_page(site: Site, things: Things):
    """
    404 for every page and form of a thing of the first org, by id and by name.
    """
    wrong = []
    for method, path in closed():
        if "{" not in path:
            continue
        # What was asked for may be repeated; what only the thing itself tells may not.
        for ref, telling in (
            (things.project, things.project_name),
            (things.project_name, things.project),
        ):
            asked = things.path(path, ref=ref)
            form = form_for(method, path)
            answer = site.look(asked, method=method, who="stranger", headers=OWN_FORM, data=form)
            # A stream has begun before it looks; it ends at once, whether there is such a thing or not.
            if path.endswith(LIVE) and answer.text == live.OVER:
                continue
            if answer.status_code != 404 or telling in answer.text:
                wrong.append(f"{method} {asked}: {answer.status_code} {answer.text[:60]!r}")

    assert "\n".join(wrong) == ""


def test_another_orgs_pages_name_nothing_of_the_first(site: Site, things: Things):
    """
    The lists, the audit log and the settings of a stranger.
    """
    for path in ("/", "/sessions", "/audit", "/settings", f"/audit?project={things.project}"):
        answer = site.look(path, who="stranger")
        assert answer.status_code == 200, path
        for text in (things.project_name, things.session_id, things.connection_id, things.token_id):
            assert text not in answer.text.replace(path, ""), path


def test_a_viewer_sees_every_page_and_sends_no_form(site: Site, things: Things):
    """
    Each form is refused for the role, on a page or beside the button, and nothing changes.
    """
    own = {"/settings/tokens", "/settings/tokens/{token_id}/revoke"}
    before = site.get("/audit", params={"limit": 1})["items"]
    wrong = []
    for method, path in pages():
        if path in own or path.endswith(LIVE):
            continue
        answer = site.look(
            filled(things, path), method=method, who="viewer", headers=OWN_FORM, data=form_for(method, path)
        )
        is_right = answer.status_code == 200 if method == "GET" else "needs the role" in said(answer)
        if not is_right:
            wrong.append(f"{method} {path}: {answer.status_code} {said(answer)[-300:]}")

    assert "\n".join(wrong) == ""
    assert site.get("/audit", params={"limit": 1})["items"] == before


def said(answer) -> str:
    """Return the page, and the message that a redirect takes along."""
    cookies = {name: value.strip('"') for name, value in answer.cookies.items()}
    left = flash.read(SimpleNamespace(cookies=cookies))
    return answer.text + (left.text if left else "")


def form_for(method: str, path: str) -> dict[str, str] | None:
    """Return what a form needs to get as far as the question who may send it."""
    if method == "GET":
        return None
    return {
        "/projects": {"name": "never_made"},
        "/projects/{ref}/variables": {"name": "NEVER", "value": "x"},
        "/projects/{ref}/run": {"entrypoint": "main.py:on_open", "inputs": "{}"},
        "/projects/{ref}/connections/new": {
            "integration": "salesforce",
            "auth_mode": "oauth_private",
            "name": "never",
            "client_id": "3MVG9",
            "client_secret": "s",
        },
        "/projects/{ref}/retention": {"sessions": "1", "events": "1", "logs": "1"},
        "/projects/{ref}/concurrency": {"max_concurrent": "1"},
        "/triggers/{trigger_id}/limits": {"max_concurrent": "1"},
        "/deployments/{deployment_id}/delete": {"project_id": "x"},
        "/settings/users": {"name": "never", "role": "member"},
        "/sessions/{session_id}/fork": {"from_step": "1"},
    }.get(path, {})


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:1"},
        {"Origin": "null"},
        {},
    ],
    ids=json.dumps,
)
def test_a_form_of_another_site_is_refused(site: Site, things: Things, headers):
    """
    On every form, whoever is logged in: the browser says where it comes from, or proves it with a cookie.
    """
    before = site.get("/audit", params={"limit": 1})["items"]

    answers = {
        path: site.look(filled(things, path), method=method, who="admin", headers=headers).status_code
        for method, path in closed()
        if method == "POST"
    }

    assert {path: status for path, status in answers.items() if status != 403} == {}
    assert site.get("/audit", params={"limit": 1})["items"] == before


def test_pages_hold_no_secret_that_was_entered(site: Site, things: Things):
    """
    Its owner neither gets it back.
    """
    for method, path in pages():
        if method == "GET" and not path.endswith(LIVE):
            answer = site.look(filled(things, path))
            assert answer.status_code == 200, path
            assert APP_SECRET not in answer.text


def test_every_page_has_a_strict_policy(site: Site, things: Things):
    """
    Nothing but our own files, no inline script, no framing; and it is not kept by caches.
    """
    for method, path in pages():
        if method == "GET" and not path.endswith((*LIVE, "/log")):
            answer = site.look(filled(things, path))
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy, path
            assert "unsafe" not in policy
            assert "*" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "no-store" in answer.headers["cache-control"]


def test_the_list_of_projects_is_found_under_its_other_name_too(site: Site):
    """
    Who shortens an address by hand arrives.
    """
    answer = site.look(MOVED)

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
