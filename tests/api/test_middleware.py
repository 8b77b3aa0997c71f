"""What every request passes."""

import pytest

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
        "path": path,
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
    "host", ["evil.example", "localhost.evil.example", "flows.example.com.evil.example", ""]
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
    [("/nine/api", "/api"), ("/nine", "/"), ("/ninety/api", "/ninety/api"), ("/api", "/api")],
)
async def test_the_public_prefix_is_taken_off_where_a_proxy_left_it_on(asked, path):
    """
    Some proxies strip the prefix and some do not; only whole segments count.
    """
    seen, _ = await ask(
        settings(public_url="https://flows.example.com/nine"), host="flows.example.com", path=asked
    )

    assert seen[0]["path"] == path


async def test_a_request_id_is_kept_or_made():
    """
    A caller's id is kept if it is harmless in a log line; else one is made.
    """
    _, kept = await ask(settings(), host="localhost", headers=[(b"x-request-id", b"abc-1")])
    _, made = await ask(settings(), host="localhost", headers=[(b"x-request-id", b"bad\nline")])

    assert (b"x-request-id", b"abc-1") in kept[0]["headers"]
    assert dict(made[0]["headers"])[b"x-request-id"].startswith(b"req_")
