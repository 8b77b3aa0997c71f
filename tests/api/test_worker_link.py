"""`api.worker_link`: the WebSocket and the HTTP routes of workers, on a real server."""

import asyncio
import contextlib
import hashlib
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
import uvicorn
import websockets
from fastapi import FastAPI

sys.path.insert(0, str(Path(__file__).parent.parent / "sessions"))

from conversation import PATIENCE, Scheduler, Tokens, a_record  # noqa: E402
from world import World, record  # noqa: E402

from ninelives.run import wire  # noqa: E402
from ninelives_server.access.service import Access  # noqa: E402
from ninelives_server.api import problems, worker_link, worker_tokens  # noqa: E402
from ninelives_server.sessions.links import Links  # noqa: E402
from ninelives_server.sessions.transfer import Transfer  # noqa: E402
from ninelives_server.settings import Settings  # noqa: E402
from ninelives_server.store.core import Store  # noqa: E402
from ninelives_server.vault.vault import Vault  # noqa: E402


class Projects:
    """Has one bundle."""

    async def bundle_of(self, build_id: str) -> bytes:
        return f"bundle of {build_id}".encode()


class Server:
    """The application on a port of its own."""

    def __init__(self, world: World, links: Links, token: str, url: str) -> None:
        self.world = world
        self.links = links
        self.token = token
        self.url = url

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def link(self, token: str | None = None) -> websockets.connect:
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        url = f"ws{self.url.removeprefix('http')}/api/v1/worker/link"
        return websockets.connect(
            url, additional_headers=headers, compression=None, proxy=None, max_size=None
        )

    def client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=f"{self.url}/api/v1/worker", headers=self.headers, trust_env=False)


@contextlib.asynccontextmanager
async def uvicorn_of(app: FastAPI) -> AsyncIterator[str]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            app, log_config=None, lifespan="off", ws="websockets-sansio", ws_max_size=1 << 26
        )
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        task = asyncio.create_task(server.serve(sockets=[sock]))
        try:
            while not server.started:
                await asyncio.sleep(0.01)
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


@pytest.fixture
async def server(sqlite: Store, vault: Vault) -> AsyncIterator[Server]:
    world = await World.made(sqlite, vault)
    access = Access(store=sqlite)
    _, token = await access.worker_token(world.actor, "w")
    links = Links(
        store=sqlite,
        journal=world.journal,
        tokens=Tokens(),
        scheduler=Scheduler(),
        keep=world.keep,
        grace=0.2,
    )
    app = FastAPI()
    app.state.services = SimpleNamespace(access=access, settings=Settings(), projects=Projects())
    app.state.worker_doors = worker_link.WorkerDoors(
        links=links,
        transfer=Transfer(store=sqlite, vault=vault),
        temporal_address="127.0.0.1:7233",
        temporal_namespace="default",
    )
    problems.install(app)
    app.include_router(worker_link.router)
    running = asyncio.create_task(links.run())
    try:
        async with uvicorn_of(app) as url:
            yield Server(world, links, token, url)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def hello() -> bytes:
    return wire.encode({"t": "hello", "worker_id": "wrk_1", "name": "w", "slots": 2, "sessions": []})


async def frames(socket: websockets.ClientConnection, count: int) -> list[wire.Frame]:
    found: list[wire.Frame] = []
    while len(found) < count:
        async with asyncio.timeout(PATIENCE):
            data = await socket.recv()
        assert isinstance(data, bytes)
        found.extend(wire.decode_all(data))
    return found


async def test_frames_go_both_ways(server: Server):
    """
    Hello and a claim in one message; welcome and claimed come back; so do acknowledgements.
    """
    session = await server.world.session()

    async with server.link() as socket:
        await socket.send(hello() + wire.encode({"t": "claim", "sid": session.id, "activity_id": "turn-1"}))
        first = await frames(socket, 2)
        await socket.send(b"".join(wire.encode(*a_record(session.id, 1, n)) for n in range(50)))
        acks = await frames(socket, 50)

    assert {frame.type for frame in first} == {"welcome", "claimed"}
    assert [frame.head["seq"] for frame in acks] == list(range(1, 51))


async def test_a_worker_whose_token_is_revoked_is_shut_out(server: Server, monkeypatch: pytest.MonkeyPatch):
    """
    At once, though its link is open: its sessions run elsewhere, and it may not come back.
    """
    monkeypatch.setattr(worker_tokens, "LOOK_EVERY", 0.1)
    access, actor = Access(store=server.world.store), server.world.actor
    session = await server.world.session()

    with server.world.store.notices.subscribed("work", session.id) as notice:
        async with server.link() as socket:
            await socket.send(
                hello() + wire.encode({"t": "claim", "sid": session.id, "activity_id": "turn-1"})
            )
            await frames(socket, 2)
            [token] = [token for token in await access.list_tokens(actor) if token.name == "w"]
            await access.revoke_token(actor, token.id)
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await frames(socket, 1)
        await asyncio.wait_for(notice.wait(), PATIENCE)
    with pytest.raises(websockets.InvalidStatus):
        await server.link()

    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, "token" in closed.value.rcvd.reason) == (4403, True)


async def test_a_worker_that_hangs_up_is_noticed(server: Server):
    """
    Its sessions are released after the grace.
    """
    session = await server.world.session()
    with server.world.store.notices.subscribed("work", session.id) as notice:
        async with server.link() as socket:
            await socket.send(
                hello() + wire.encode({"t": "claim", "sid": session.id, "activity_id": "turn-1"})
            )
            await frames(socket, 2)

        await asyncio.wait_for(notice.wait(), PATIENCE)


async def test_a_server_that_stops_hangs_up(server: Server):
    """
    Workers learn at once that they must look for another server.
    """
    async with server.link() as socket:
        await socket.send(hello())
        await frames(socket, 1)

        server.links.close()

        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(socket.recv(), PATIENCE)


@pytest.mark.parametrize("message", [b"\x00\x00\x00\x09nonsense", "text", wire.encode({"t": "dance"})])
async def test_nonsense_ends_the_link(server: Server, message: bytes | str):
    """
    With the close code for a broken protocol (RFC 6455, section 7.4.1).
    """
    async with server.link() as socket:
        await socket.send(message)

        with pytest.raises(websockets.ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), PATIENCE)

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1002


async def test_the_link_needs_a_workers_token(server: Server):
    """
    Neither nobody nor a user's token may speak there.
    """
    access: Access = Access(store=server.world.store)
    _, api_token = await access.create_token(server.world.actor, "mine", scopes=("all",))

    for token in ("", "wrong", api_token):
        with pytest.raises(websockets.InvalidStatus):
            async with server.link(token):
                pass


async def test_the_routes_need_a_workers_token(server: Server):
    """
    Every one of them.
    """
    paths = ("config", "builds/x?session=y", "sessions/x/journal?epoch=1", "blobs/x?session=y&epoch=1")
    async with httpx2.AsyncClient(base_url=f"{server.url}/api/v1/worker", trust_env=False) as client:
        answers = [await client.get(f"/{path}") for path in paths]
        answers.append(await client.put("/blobs/x?session=y&epoch=1"))

    assert [answer.status_code for answer in answers] == [401] * 5


async def test_a_worker_learns_how_to_take_part(server: Server):
    """
    Where Temporal is, and whether it must isolate.
    """
    async with server.client() as client:
        answer = await client.get("/config")

    assert answer.json()["temporal_address"] == "127.0.0.1:7233"
    assert answer.json()["temporal_namespace"] == "default"
    assert answer.json()["isolation_required"] is False


async def test_the_holder_gets_build_journal_and_blobs(server: Server):
    """
    All that a session's process needs, and only while it runs.
    """
    world = server.world
    sid, epoch = await world.running()
    await world.journal.commit([world.put(sid, epoch, record(n)) for n in range(3)])
    large = b"x" * 2_500_000
    name = hashlib.sha256(large).hexdigest()
    at = {"session": sid, "epoch": epoch}

    async with server.client() as client:
        build = await client.get(f"/builds/{world.build.sha256}", params={"session": sid})
        journal = await client.get(f"/sessions/{sid}/journal", params={"epoch": epoch})
        rest = await client.get(f"/sessions/{sid}/journal", params={"epoch": epoch, "after": 2})
        stored = await client.put(f"/blobs/{name}", params=at, content=large)
        blob = await client.get(f"/blobs/{name}", params=at)
        fenced = await client.get(f"/sessions/{sid}/journal", params={"epoch": epoch + 1})
        await world.journal.release(sid, epoch)
        released = await client.get(f"/builds/{world.build.sha256}", params={"session": sid})

    assert build.content == f"bundle of {world.build.id}".encode()
    assert [f.head["seq"] for f in wire.decode_all(journal.content)] == [1, 2, 3]
    assert [f.head["seq"] for f in wire.decode_all(rest.content)] == [3]
    assert stored.status_code == 204
    assert blob.content == large
    assert (fenced.status_code, fenced.json()["code"]) == (409, "fenced")
    assert released.status_code == 409
