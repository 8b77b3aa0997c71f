"""What every request passes."""

import json
from urllib.parse import unquote

import pytest
import structlog

from ninelives_server.api import middleware
from ninelives_server.settings import Settings


def settings(**given):
    return Settings(data_dir="/nowhere", **given)


async def ask(gate_settings, *, host, path="/x", headers=(), kind="http"):
    """Send one request through the gate; return what the application saw and what was answered."""
    seen, sent = [], []

    async def app(scope, _receive, send):
        seen.append(scope)
        if kind == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"fine"})

    async def send(message):
        sent.append(message)

    scope = {
        "type": kind,
        "method": "GET",
        "path": unquote(path),
        "raw_path": path.encode(),
        "headers": [(b"host", host.encode()), *headers],
    }
    await middleware.Gate(app, settings=gate_settings)(scope, None, send)
    return seen, sent


@pytest.mark.parametrize(
    "host", ["localhost:9980", "127.0.0.1:9980", "[::1]:9980", "flows.example.com", "FLOWS.example.com:443"]
)
async def test_its_own_names_are_served(host):
    """
    The bound address, localhost and the public address are the server's own names, in any case.
    """
    seen, _ = await ask(settings(public_url="https://flows.example.com"), host=host)

    assert len(seen) == 1


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "flows.example.com.evil.example", "", "[::1", "localhost]"],
)
async def test_a_foreign_host_is_refused_with_the_setting_that_would_allow_it(host):
    """
    A name that somebody else pointed at this server (DNS rebinding) reaches nothing, and an owner who forgot
    the public address reads its name.
    """
    seen, sent = await ask(settings(public_url="https://flows.example.com"), host=host)

    assert not seen
    assert sent[0]["status"] == 421
    assert b"NINELIVES_PUBLIC_URL" in sent[1]["body"]


async def test_a_host_is_shown_as_text_and_never_as_markup():
    """
    The refused name comes from whoever asked.
    """
    _, sent = await ask(settings(), host="<script>alert(1)</script>")

    assert b"<script>" not in sent[1]["body"]


async def test_a_foreign_host_opens_no_websocket():
    """
    The worker link is behind the same gate.
    """
    seen, sent = await ask(settings(), host="evil.example", kind="websocket")

    assert not seen
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ("/nine/api", "/api"),
        ("/nine", "/"),
        ("/ninety/api", "/ninety/api"),
        ("/api", "/api"),
        ("/nine/a%20b", "/a b"),
    ],
)
async def test_the_public_prefix_is_taken_off_where_a_proxy_left_it_on(asked, path):
    """
    Some proxies strip the prefix and some do not; only whole segments count.
    """
    seen, _ = await ask(
        settings(public_url="https://flows.example.com/nine"), host="flows.example.com", path=asked
    )

    assert seen[0]["path"] == path
    assert seen[0]["raw_path"] == path.replace(" ", "%20").encode()


@pytest.mark.parametrize("path", ["/api/v1/projects/%00", "/store/a/%00", "/webhooks/a%00/b"])
async def test_nothing_has_a_nul_in_its_name(path):
    """
    No database is asked for it: PostgreSQL cannot.
    """
    seen, sent = await ask(settings(), host="localhost", path=path)

    assert not seen
    assert (sent[0]["status"], json.loads(sent[1]["body"])["code"]) == (404, "not_found")


async def test_what_follows_a_webhooks_slug_may_hold_anything():
    """
    It is data of the event.
    """
    seen, _ = await ask(settings(), host="localhost", path="/webhooks/slug/a%00b")

    assert seen[0]["path"] == "/webhooks/slug/a\0b"


async def test_a_request_id_is_kept_or_made():
    """
    A caller's id is kept if it is harmless in a log line; else one is made.
    """
    _, kept = await ask(settings(), host="localhost", headers=[(b"x-request-id", b"abc-1")])
    _, made = await ask(settings(), host="localhost", headers=[(b"x-request-id", b"bad\nline")])

    assert (b"x-request-id", b"abc-1") in kept[0]["headers"]
    assert dict(made[0]["headers"])[b"x-request-id"].startswith(b"req_")


async def test_a_defect_is_answered_as_a_problem_and_logged_with_its_request():
    """
    The caller learns the request's id and nothing else; the log has the traceback under it.
    """
    sent = []

    async def broken(_scope, _receive, _send):
        raise RuntimeError("the inside of the server")

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/api/v1/x", "headers": [(b"host", b"localhost")]}
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as logs:
        await middleware.Gate(broken, settings=settings())(scope, None, send)

    body = json.loads(sent[1]["body"])
    assert (sent[0]["status"], body["code"]) == (500, "internal")
    assert "inside" not in sent[1]["body"].decode()
    [line] = [line for line in logs if line["event"] == "request.broke"]
    assert line["request_id"] == body["request_id"] == dict(sent[0]["headers"])[b"x-request-id"].decode()


@pytest.mark.parametrize("path", ["/webhooks/x", "/store/p/k"])
async def test_what_others_decide_is_sandboxed(path):
    """
    Any answer below these addresses, refusals included, runs nothing in a browser.
    """
    _, sent = await ask(settings(), host="localhost", path=path)

    assert (b"content-security-policy", b"sandbox") in sent[0]["headers"]
    assert (b"x-content-type-options", b"nosniff") in sent[0]["headers"]
