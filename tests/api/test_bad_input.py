"""
Input that is nothing: every door answers with a 4xx that names the problem, and nobody else notices.
"""

import json
import socket

import pytest
from api_site import Site, Things

from ninelives import arguments
from ninelives_server.model.events import DEEPEST

pytestmark = [pytest.mark.system]

JSON = {"Content-Type": "application/json"}


def deep(levels: int) -> bytes:
    return b'{"entrypoint": "main.py:on_open", "inputs": {"x": %b%b}}' % (b"[" * levels, b"]" * levels)


def start(site: Site, things: Things, content, **options):
    return site.ask("POST", f"/projects/{things.project}/sessions", content=content, headers=JSON, **options)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "body: Field required"),
        (b'{"entrypoint":', "body: is no JSON: Expecting value at character 14"),
        (b'"text"', "body: Input should be a valid dictionary"),
        (b"{}", "entrypoint: Field required"),
        (b'{"entrypoint": "main.py:on_open", "inputs": []}', "inputs: Input should be a valid dictionary"),
        (b'{"entrypoint": "main.py:nope"}', "it has main.py:on_open"),
        (b'{"entrypoint": "main.py:\\u0000"}', "it has main.py:on_open"),
        (b'{"entrypoint": "\xff"}', "body: is no UTF-8 text: byte 0xff at 16"),
        (b"\x1f\x8b\x00", "body: is no UTF-8 text: byte 0x8b at 1"),
        (b'{"inputs": {"x": ' + b"9" * 5000 + b"}}", "body: has a number with more than 4300 digits"),
        (b'{"inputs": {"x": 1e999}}', "NaN and Infinity are no JSON"),
        (b'{"inputs": {"x": "\\ud800"}}', "half of a surrogate pair"),
        (deep(DEEPEST), f"body: is nested in more than {DEEPEST} levels"),
        (deep(900), f"body: is nested in more than {DEEPEST} levels"),
        (deep(985), f"body: is nested in more than {DEEPEST} levels"),
        (deep(10_000), f"body: is nested in more than {DEEPEST} levels"),
    ],
    ids=[*"abcdefghijklmnop"],
)
def test_a_session_that_cannot_be_started_so_is_told_why(site: Site, things: Things, content, says):
    """
    Whatever is in the body; `fields` says where.
    """
    answer = start(site, things, content)

    assert answer.status_code == 422, answer.text
    assert says in answer.json()["detail"]
    assert answer.headers["content-type"] == "application/problem+json"


def test_what_is_no_json_by_its_type_is_told(site: Site, things: Things):
    """
    Not that it is no dictionary: it may look like one.
    """
    path = f"/projects/{things.project}/sessions"

    for headers in (
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ):
        answer = site.ask("POST", path, content=b'{"entrypoint": "main.py:on_open"}', headers=headers)

        assert answer.status_code == 422
        assert "Content-Type: application/json" in answer.json()["detail"]


def test_inputs_have_a_limit(site: Site, things: Things):
    """
    What a session hands to another one has the same; the whole body has one that is read no further.
    """
    body = '{"entrypoint": "main.py:on_open", "inputs": {"x": "%s"}}'
    taken = start(site, things, (body % ("x" * (arguments.LARGEST - 100))).encode())
    large = start(site, things, (body % ("x" * arguments.LARGEST)).encode())
    chunks = (b"x" * 1_000_000 for _ in range(40))
    endless = start(site, things, chunks)
    keyed = site.ask("POST", "/projects", content=b"x" * 20_000_000, headers={**JSON, "Idempotency-Key": "k"})

    assert taken.status_code == 201
    assert [answer.status_code for answer in (large, endless, keyed)] == [413] * 3
    assert f"{arguments.LARGEST} bytes as JSON" in large.json()["detail"]
    assert (
        endless.json()["detail"]
        == keyed.json()["detail"]
        == "the body of a request may have at most 16384 KiB"
    )
    assert {answer.json()["code"] for answer in (large, endless, keyed)} == {"too_large"}


def test_nobody_fills_the_memory_of_a_server_that_he_cannot_use(site: Site):
    """
    Forms of the pages are bounded as well, for whoever has no login.
    """
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = site.ask("POST", "/login", api=False, who=None, content=b"a=" + b"x" * 20_000_000, headers=form)

    assert answer.status_code == 413


def test_an_address_or_method_that_there_is_not_is_named(site: Site, things: Things):
    """
    With what there is: programs read `Allow`.
    """
    nowhere = site.ask("POST", "/nope")
    empty = site.http.post(f"{site.up.url}/webhooks/")
    method = site.ask("PUT", f"/projects/{things.project}/sessions")

    assert (nowhere.status_code, nowhere.json()["detail"]) == (404, "there is nothing at /api/v1/nope")
    assert (empty.status_code, empty.json()["detail"]) == (404, "there is nothing at /webhooks/…")
    assert method.status_code == 405
    assert method.headers["allow"] == "POST"
    assert (
        method.json()["detail"]
        == f"PUT is not possible at /api/v1/projects/{things.project}/sessions; POST is"
    )


@pytest.mark.parametrize("levels", [DEEPEST, 800, 985, 10_000])
def test_json_of_any_depth_makes_an_event_that_can_be_looked_at(site: Site, things: Things, levels):
    """
    Whoever knows a webhook's address must not be able to break the page of its events; the text is there.
    """
    for body in (b"[" * levels + b"]" * levels, b'{"a":' * levels + b"1" + b"}" * levels):
        event_id = site.good(site.http.post(things.webhook_url, content=body, headers=JSON))["event_id"]

        found = site.get(f"/events/{event_id}")["data"]["body"]

        assert (found["json"] is None) == (levels > DEEPEST)
        assert found["text"] == body.decode()
        assert site.look(f"/events/{event_id}").status_code == 200


def test_a_webhook_is_no_proxy(site: Site, things: Things):
    """
    CONNECT is answered without a defect in the log: an answer 202 to it would open a tunnel (RFC 9110, 9.3.6).
    """
    path = things.webhook_url.removeprefix(site.up.url)
    host, _, port = site.up.url.removeprefix("http://").partition(":")
    with socket.create_connection(("127.0.0.1", int(port)), 20) as sock:
        sock.sendall(f"CONNECT {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        said = b"".join(iter(lambda: sock.recv(65536), b""))

    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 ")
    assert json.loads(body)["detail"] == "this server is no proxy"
