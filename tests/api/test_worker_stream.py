"""The sockets of the worker that `up` starts: its token counts for them as for any worker's link."""

import asyncio
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import FastAPI

sys.path.insert(0, str(Path(__file__).parent.parent / "sessions"))

from conversation import PATIENCE, PYTHON, Scheduler, Tokens, serving  # noqa: E402
from world import World  # noqa: E402

from ninelives.run import wire  # noqa: E402
from ninelives_server.access.service import Access  # noqa: E402
from ninelives_server.api import worker_tokens  # noqa: E402
from ninelives_server.server import Running  # noqa: E402
from ninelives_server.settings import Settings  # noqa: E402
from ninelives_server.store.core import Store  # noqa: E402
from ninelives_server.vault.vault import Vault  # noqa: E402


async def test_it_is_hung_up_on_once_its_token_is_revoked(
    sqlite: Store, vault: Vault, monkeypatch: pytest.MonkeyPatch
):
    """And not before."""
    monkeypatch.setattr(worker_tokens, "LOOK_EVERY", 0.1)
    world, access = await World.made(sqlite, vault), Access(store=sqlite)
    token_id, token = await access.worker_token(world.actor, "worker on this machine")
    services = cast("Any", SimpleNamespace(access=access))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    near, far = socket.socketpair()
    async with serving(world, Scheduler(), Tokens()) as links, asyncio.timeout(PATIENCE):
        running = Running(services=services, app=FastAPI(), links=links, settings=Settings())
        carrying = asyncio.create_task(running.carry(ours, token))
        socket.send_fds(theirs, [b"{}"], [far.fileno()])
        far.close()
        reader, writer = await asyncio.open_unix_connection(sock=near)
        about = {"worker_id": "wrk_1", "name": "w", "slots": 4, "python": PYTHON, "isolation": "none"}
        writer.write(wire.encode({"t": "hello", **about, "sessions": []}))
        welcome = await wire.read(reader)
        await asyncio.sleep(0.5)
        is_there = not carrying.done()
        await access.revoke_token(world.actor, token_id)
        rest = await reader.read()
        writer.close()
        await carrying
    ours.close()
    theirs.close()

    assert (welcome.type, is_there, rest) == ("welcome", True, b"")
