"""Outgoing HTTP against a real server on loopback."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from ninelives_server.errors import Invalid
from ninelives_server.integrations.hosts import HostRule
from ninelives_server.integrations.http import Outbound, tls_context
from ninelives_server.oauth.messages import Answer, Flow, Request

ACME = HostRule(suffixes=("acme.test",))
LOCAL = frozenset({"localhost"})


@asynccontextmanager
async def serving(
    reply: Callable[[bytes, asyncio.StreamWriter], Awaitable[None]], context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Serve raw bytes; yield the port and the requests that came."""
    seen: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            seen.append(head)
            await reply(head, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], seen


def saying(text: bytes) -> Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]:
    """Always give this answer."""

    async def reply(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()

    return reply


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Y: z\r\n\r\nhi"


async def test_an_answer_comes_back_whole():
    """Status, headers in lower case, body."""
    async with serving(saying(OK)) as (port, seen):
        answer = await Outbound(insecure_hosts=LOCAL).send(
            Request(method="POST", url=f"http://localhost:{port}/t?x=1", form={"a": "b c"}), ACME
        )

    assert (answer.status, answer.body, answer.headers["x-y"]) == (200, b"hi", "z")
    assert seen[0].startswith(b"POST /t?x=1 HTTP/1.1")
    assert b"application/x-www-form-urlencoded" in seen[0]


async def test_a_redirect_is_not_followed():
    """It would lead where nobody checked."""
    text = b"HTTP/1.1 302 Found\r\nLocation: http://localhost:1/secret\r\nContent-Length: 0\r\n\r\n"
    async with serving(saying(text)) as (port, seen):
        answer = await Outbound(insecure_hosts=LOCAL).send(
            Request(method="GET", url=f"http://localhost:{port}/"), ACME
        )

    assert answer.status == 302
    assert len(seen) == 1


async def test_a_host_that_is_not_allowed_gets_no_request():
    """The check comes before the socket."""
    async with serving(saying(OK)) as (port, seen):
        with pytest.raises(Invalid):
            await Outbound().send(Request(method="GET", url=f"http://localhost:{port}/"), ACME)
        with pytest.raises(Invalid):
            await Outbound().send(Request(method="GET", url=f"https://localhost:{port}/"), ACME)

    assert seen == []


async def resolves_to(*addresses: str):
    """Make a resolver that always answers the same."""

    async def resolve(_host: str, _port: int) -> list[str]:
        return list(addresses)

    return resolve


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("93.184.216.34", "10.0.0.1"), ()])
async def test_a_name_that_leads_inside_gets_no_request(addresses: tuple[str, ...]):
    """Any private address among the answers is one too many."""
    http = Outbound(resolver=await resolves_to(*addresses))

    with pytest.raises(Invalid, match="not a public address"):
        await http.send(Request(method="GET", url="https://rebind.example/"), HostRule())


async def test_the_connection_goes_to_the_address_that_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """
    A second answer of the name server must not lead elsewhere; the certificate is still checked for the name.
    """
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("pinned.example").configure_cert(context)
    asked = []

    async def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    monkeypatch.setattr("ninelives_server.integrations.hosts.is_public", lambda _: True)
    http = Outbound(ca_file=tmp_path / "ca.pem", resolver=resolve)
    async with serving(saying(OK), context) as (port, seen):
        answer = await http.send(Request(method="GET", url=f"https://pinned.example:{port}/p"), HostRule())
        other = await http.send(Request(method="GET", url=f"https://other.example:{port}/p"), HostRule())

    assert answer.status == 200, answer
    assert f"Host: pinned.example:{port}".encode().lower() in seen[0].lower()
    assert asked == ["pinned.example", "other.example"]
    assert "certificate" in other.failure.lower()
    assert len(seen) == 1


async def test_a_certificate_of_nobody_we_trust_is_no_answer(tmp_path: Path):
    """`NINELIVES_CA_FILE` is trusted beside the system's authorities, and nothing else is."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    async with serving(saying(OK), context) as (port, _):
        request = Request(method="GET", url=f"https://localhost:{port}/")
        trusted = await Outbound(ca_file=tmp_path / "ca.pem", insecure_hosts=LOCAL).send(request, ACME)
        refused = await Outbound(insecure_hosts=LOCAL).send(request, ACME)

    assert trusted.status == 200
    assert refused.status == 0
    assert not refused.may_have_arrived
    assert len(tls_context(tmp_path / "ca.pem").get_ca_certs()) == len(tls_context(None).get_ca_certs()) + 1


async def test_a_server_that_never_answers_is_given_up():
    """Within the limit; the request may have arrived."""

    async def silent(_: bytes, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with serving(silent) as (port, _):
        answer = await Outbound(insecure_hosts=LOCAL, time_limit=0.3).send(
            Request(method="GET", url=f"http://localhost:{port}/"), ACME
        )

    assert "did not answer" in answer.failure
    assert answer.may_have_arrived


async def test_an_answer_that_trickles_is_given_up_too():
    """The limit is for the whole request, not for each byte."""

    async def trickle(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with serving(trickle) as (port, _):
        started = time.monotonic()
        answer = await Outbound(insecure_hosts=LOCAL, time_limit=0.5).send(
            Request(method="GET", url=f"http://localhost:{port}/"), ACME
        )

    assert answer.failure
    assert time.monotonic() - started < 20


async def test_nobody_listening_means_that_nothing_was_sent():
    """Such a request may be sent again at once."""
    async with serving(saying(OK)) as (port, _):
        pass

    answer = await Outbound(insecure_hosts=LOCAL).send(
        Request(method="GET", url=f"http://localhost:{port}/"), ACME
    )

    assert "cannot be reached" in answer.failure
    assert not answer.may_have_arrived


async def test_a_name_that_does_not_exist_is_told():
    """Such as a My Domain with a typing mistake."""

    async def resolve(_host: str, _port: int) -> list[str]:
        raise OSError(-2, "Name or service not known")

    answer = await Outbound(resolver=resolve).send(
        Request(method="GET", url="https://mistyped.example/"), HostRule()
    )

    assert "mistyped.example cannot be found" in answer.failure
    assert not answer.may_have_arrived


async def test_a_flow_is_driven_to_its_end():
    """Request by request, and closed whatever happens."""

    def flow(port: int) -> Flow[list[int]]:
        found = []
        for _ in range(3):
            answer: Answer = yield Request(method="GET", url=f"http://localhost:{port}/")
            found.append(answer.status)
        return found

    async with serving(saying(OK)) as (port, _):
        assert await Outbound(insecure_hosts=LOCAL).run(flow(port), ACME) == [200, 200, 200]
