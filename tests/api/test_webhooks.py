"""The address that other systems call, over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import httpx2
import pytest
import structlog
from api_site import MANIFEST, Site, Things, a_bundle, a_name

from ninelives_server.api import webhooks
from ninelives_server.errors import DatabaseAway
from ninelives_server.events.webhooks import Receipt, WebhookRequest
from ninelives_server.server import application
from ninelives_server.settings import Settings
from ninelives_server.testing.running import until

pytestmark = [pytest.mark.system]

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def event_of(site: Site, answer):
    return site.get(f"/events/{answer.json()['event_id']}")


def test_a_request_is_answered_with_the_events_id(site: Site, things: Things):
    """
    202, in the body and in both headers, and the event is there already.
    """
    answer = site.http.post(things.webhook_url, json={"x": 2})

    event = event_of(site, answer)
    assert answer.status_code == 202
    assert answer.json() == {"event_id": event["id"]}
    assert answer.headers["ninelives-event-id"] == answer.headers["autokitteh-event-id"] == event["id"]
    assert event["data"]["body"]["json"] == {"x": 2}
    assert event["project_id"] == things.project


def test_what_is_answered_there_may_do_nothing_in_a_browser(site: Site, things: Things):
    """
    The address is on our origin: no script runs, nothing is sniffed, whatever is answered.
    """
    for answer in (site.http.get(things.webhook_url), site.http.get(f"{site.up.url}/webhooks/none")):
        assert answer.headers["content-security-policy"] == "sandbox"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "PROPFIND", "QUERY"]
)
def test_any_method_will_do(site: Site, things: Things, method):
    """
    It is the event's type and part of its data.
    """
    answer = site.http.request(method, things.webhook_url)

    assert answer.status_code == 202
    event = site.get(f"/events/{answer.headers['ninelives-event-id']}")
    assert event["event_type"] == method.lower()
    assert event["data"]["method"] == method


def test_what_follows_the_address_is_kept(site: Site, things: Things):
    """
    A suffix of several parts, quoted ones too, and the query.
    """
    event = event_of(site, site.http.post(f"{things.webhook_url}/a/b%20c%3Fd?q=1&q=2", content=b"hello"))

    assert event["data"]["url"]["path_suffix"] == "a/b c?d"
    assert event["data"]["url"]["path"].endswith("/a/b c?d")
    assert event["data"]["raw_url"].endswith("/a/b%20c%3Fd?q=1&q=2")
    assert event["data"]["url"]["query"] == {"q": "1, 2"}
    assert event["data"]["body"]["text"] == "hello"


def test_a_webhook_that_wants_a_secret_refuses_others(site: Site):
    """
    401, and no event; with the secret of the project's variable, 202.
    """
    auth = "type: webhook, auth: {{scheme: token, secret: HOOK_TOKEN, header: X-Gitlab-Token}}"
    name = a_name()
    manifest = MANIFEST.replace("type: webhook", auth)
    site.good(site.ask("POST", "/deploys", content=a_bundle(name, manifest=manifest)))
    body = {"value": "a-long-token", "is_secret": True}
    site.good(site.ask("PUT", f"/projects/{name}/variables/HOOK_TOKEN", json=body))
    [hook] = [t for t in site.get(f"/projects/{name}/triggers")["items"] if t["name"] == "hook"]

    refused = site.http.post(hook["webhook_url"], content=b"x")
    taken = site.http.post(hook["webhook_url"], content=b"x", headers={"X-Gitlab-Token": "a-long-token"})

    assert hook["auth"] == {"scheme": "token", "secret": "HOOK_TOKEN", "header": "X-Gitlab-Token"}
    assert (refused.status_code, refused.json()["code"]) == (401, "webhook_refused")
    assert taken.status_code == 202
    assert len(site.get(f"/events?project={name}")["items"]) == 1


def test_an_address_that_nobody_has_is_404(site: Site):
    """
    As a problem, with the request's id.
    """
    answer = site.http.post(f"{site.up.url}/webhooks/none")

    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


def test_a_project_that_is_not_in_service_has_no_webhook(site: Site):
    """
    Nothing is stored for what nobody would get.
    """
    mine = site.things()
    site.good(site.ask("POST", f"/deployments/{mine.deployment_id}/deactivate"))

    assert site.http.post(mine.webhook_url).status_code == 404


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_413(site: Site, things: Things, chunked):
    """
    Whether its length was told before or not; the largest that is allowed passes.
    """
    limit = 512 * 1024
    too_large = b"x" * (limit + 1)

    refused = site.http.post(things.webhook_url, content=iter([too_large]) if chunked else too_large)
    taken = site.http.post(things.webhook_url, content=b"x" * limit)

    assert (refused.status_code, refused.json()["code"]) == (413, "too_large")
    assert taken.status_code == 202


def test_our_own_cookies_do_not_reach_project_code(site: Site, things: Things):
    """
    A browser that is logged in sends them along; others' cookies stay.
    """
    cookies = f"theirs=1; ninelives_session={site.cookies['admin']}; ninelives_form=x"

    event = event_of(site, site.http.post(things.webhook_url, headers={"Cookie": cookies}))

    assert event["data"]["headers"]["Cookie"] == "theirs=1"
    assert site.cookies["admin"] not in str(event)


def test_a_delivery_that_is_tried_again_is_one_event(site: Site, things: Things):
    """
    Senders repeat what they did not hear an answer to.
    """
    headers = {"X-GitHub-Delivery": f"d-{things.project}"}

    first, second = (site.http.post(things.webhook_url, headers=headers) for _ in range(2))

    assert first.json() == second.json()


def test_a_trace_goes_on_in_event_and_session(site: Site, things: Things):
    """
    `traceparent` (W3C Trace Context) is kept from the request to the session that it starts.
    """
    event = event_of(site, site.http.post(things.webhook_url, headers={"traceparent": TRACE}))

    def session():
        found = site.get("/sessions", params={"project": things.project, "limit": 500})["items"]
        return next((item for item in found if item["event_id"] == event["id"]), None)

    assert event["traceparent"] == TRACE
    assert until("the session", session)["traceparent"] == TRACE


@pytest.mark.parametrize("given", ["nonsense", f"{TRACE}-", "ff" + TRACE[2:]])
def test_a_trace_that_is_none_is_left_out(site: Site, things: Things, given):
    """
    What goes on is well formed or nothing.
    """
    event = event_of(site, site.http.post(things.webhook_url, headers={"traceparent": given}))

    assert event["traceparent"] is None


class _Away:
    """Webhooks whose database does not answer."""

    body_limit = 1024

    async def accept(self, _request: WebhookRequest) -> Receipt:
        raise DatabaseAway("the database does not answer; try again in a moment")


@pytest.fixture
async def away() -> AsyncIterator[httpx2.AsyncClient]:
    """The whole application, called without a socket, while its database is away."""
    services = SimpleNamespace(webhooks=_Away())
    app = application(Settings(), services, SimpleNamespace())  # type: ignore[arg-type]
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost:9980") as client:
        yield client


async def test_a_database_that_is_away_is_503_and_never_202(away: httpx2.AsyncClient):
    """
    The sender is told to try again; the address, which is a secret, is in no log.
    """
    with structlog.testing.capture_logs() as logs:
        answer = await away.post("/webhooks/the-secret-slug/orders", content=b"{}")

    assert (answer.status_code, answer.json()["code"]) == (503, "database_away")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["content-security-policy"] == "sandbox"
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert any(line["event"] == "request.failed" for line in logs)
    assert "the-secret-slug" not in str(logs)


@pytest.mark.parametrize("path", ["/webhooks", "/webhooks/", "/webhooks//orders"])
async def test_without_a_slug_nothing_is_called(away: httpx2.AsyncClient, path):
    """
    There is no webhook to ask the database for.
    """
    answer = await away.post(path, content=b"{}")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_body_that_does_not_end_is_408(away: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch):
    """
    Nobody may keep a connection for ever; nothing is stored of half a request.
    """
    monkeypatch.setattr(webhooks, "ARRIVED_WITHIN", 0.1)

    async def half() -> AsyncIterator[bytes]:
        yield b'{"x": '
        await asyncio.Event().wait()

    answer = await away.post("/webhooks/slug", content=half())

    assert (answer.status_code, answer.json()["code"]) == (408, "too_slow")
    assert answer.headers["connection"] == "close"


async def test_a_foreign_host_reaches_no_webhook(away: httpx2.AsyncClient):
    """
    Webhooks stand before the routes, and behind the check of the Host.
    """
    answer = await away.post("/webhooks/slug", headers={"Host": "evil.example"})

    assert answer.status_code == 421


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("localhost:9980", "localhost:9980"),
        ("flows.example.com", "flows.example.com"),
        ("Flows.Example.com", "Flows.Example.com"),
        ("[::1]:9980", "[::1]:9980"),
        ("", "127.0.0.1:9980"),
    ],
)
@pytest.mark.parametrize("query", [b"", b"q=1&r=%20", b"q=\xff"])
def test_an_address_is_what_the_sender_asked_for(host, said, query):
    """
    What it quoted stays quoted, because it may have signed it; bytes that are no text break nothing.
    """
    scope = {
        "type": "http",
        "scheme": "https",
        "server": ("127.0.0.1", 9980),
        "path": "/webhooks/abc/b c/d?e/f",
        "raw_path": b"/webhooks/abc/b%20c/d%3Fe%2Ff",
        "query_string": query,
        "headers": [(b"accept", b"*/*"), (b"host", host.encode())],
    }
    headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]

    found = webhooks._address(scope, query, headers)

    end = f"?{query.decode('latin-1')}" if query else ""
    assert found == f"https://{said}/webhooks/abc/b%20c/d%3Fe%2Ff{end}"
