"""What is sent over connections that our sockets accept leaves at once."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from ninelives_server.cli.directory import bound
from ninelives_server.testing.fake_salesforce.main import _listen


@pytest.mark.parametrize("made", [bound, _listen], ids=["the server", "the fake org"])
async def test_small_parts_of_an_answer_do_not_wait_for_each_other(
    made: Callable[[str, int], socket.socket],
):
    """
    The body of an answer follows its head by itself; where it waited for the client to acknowledge that, each
    request on a connection that is kept took 40 ms.
    """
    options: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            there = transport.get_extra_info("socket")
            options.set_result(there.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            transport.close()

    listener = made("127.0.0.1", 0)
    server = await asyncio.get_running_loop().create_server(Accepted, sock=listener)
    async with server:
        _, writer = await asyncio.open_connection(*listener.getsockname())
        no_delay = await asyncio.wait_for(options, 10)
        writer.close()

    assert no_delay
