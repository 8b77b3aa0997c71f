"""`worker.client`: what a worker asks over HTTP, and when it asks again."""

from collections.abc import AsyncIterator

import pytest

from ninelives_server.errors import SetupError
from ninelives_server.worker.client import Client
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
