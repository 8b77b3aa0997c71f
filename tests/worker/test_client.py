"""`worker.client`: what a worker asks over HTTP, and when it asks again."""

from collections.abc import AsyncIterator

import pytest

from ninelives_server.errors import SetupError
from ninelives_server.worker import client as clients
from ninelives_server.worker.client import Client, Refused
from tests.worker.fake_server import TOKEN, FakeServer


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with FakeServer() as fake:
        yield fake


async def test_a_server_that_cannot_answer_yet_is_asked_again(server: FakeServer):
    """
    A worker that starts while the server's database is away waits for it, and does not end.
    """
    server.config_failures = [503, 500]
    client = Client(server.url, TOKEN)

    found = await client.config()

    await client.close()
    assert found.temporal_namespace
    assert server.config_failures == []


async def test_a_token_that_is_refused_ends_the_worker(server: FakeServer):
    """
    Asking again would change nothing.
    """
    client = Client(server.url, "wrong")

    with pytest.raises(SetupError, match="does not accept this worker's token"):
        await client.config()

    await client.close()


async def test_an_outage_is_waited_for_however_long(server: FakeServer, monkeypatch: pytest.MonkeyPatch):
    """
    A database that is away is no fault of the session: only what the server cannot do runs out of patience.
    """
    monkeypatch.setattr(clients, "_PATIENCE", 0.0)
    row = server.add("ses_1", "pass")
    client = Client(server.url, TOKEN)
    server.outage = [503, 502, 504]

    found = await client.build(row.build, "ses_1")
    server.outage = [500]
    with pytest.raises(Refused, match="answered 500"):
        await client.build(row.build, "ses_1")

    await client.close()
    assert found == server.builds[row.build]


async def test_a_server_that_says_nothing_for_very_long_is_given_up(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
):
    """
    A session must not be stuck without a reason.
    """
    monkeypatch.setattr(clients, "_SILENCE", 0.0)
    client = Client(server.url, TOKEN)
    await server.close()

    with pytest.raises(Refused, match="does not answer"):
        await client.build("0" * 64, "ses_1")

    await client.close()
    await server.open()
