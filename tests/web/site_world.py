"""The application as `server.py` composes it, on a port of its own, and a browser without JavaScript."""

import asyncio
import itertools
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import factories
import httpx2

from ninelives_server import server
from ninelives_server.model.actors import Actor, Role
from ninelives_server.model.projects import Build, Project
from ninelives_server.model.sessions import Session, SessionState
from ninelives_server.services import Services
from ninelives_server.sessions.records import Died, Done, Put, Record
from ninelives_server.settings import Settings
from ninelives_server.store.core import Store
from ninelives_server.vault.vault import Vault

AT = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
PATIENCE = 30.0  # seconds


def browser(url: str) -> httpx2.AsyncClient:
    """Return a browser that sends what browsers send with a form of the same page."""
    return httpx2.AsyncClient(
        base_url=url,
        headers={"Sec-Fetch-Site": "same-origin", "Accept": "text/html"},
        timeout=PATIENCE,
        trust_env=False,
        follow_redirects=False,
    )


@dataclass
class Site:
    """One server and its administrator.

    Attributes:
        browser: Logged in as the administrator.
    """

    services: Services
    settings: Settings
    actor: Actor
    url: str
    browser: httpx2.AsyncClient
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def get(self, path: str, **options: Any) -> httpx2.Response:
        """Open a page."""
        return await self.browser.get(path, **options)

    async def post(self, path: str, **data: Any) -> httpx2.Response:
        """Send a form."""
        return await self.browser.post(path, data=data)

    async def text(self, path: str) -> str:
        """Open a page that must be there and return its HTML."""
        answer = await self.get(path)
        assert answer.status_code == 200, (answer.status_code, answer.text[:500])
        return answer.text

    async def after(self, answer: httpx2.Response) -> str:
        """Follow the redirect of a form and return the page's HTML."""
        assert answer.status_code == 303, (answer.status_code, answer.text[:2000])
        return await self.text(answer.headers["location"])

    async def log_in(self, client: httpx2.AsyncClient, actor: Actor) -> None:
        """Log a browser in."""
        secret = await self.services.access.login_link(actor)
        answer = await client.post("/login", data={"token": secret})
        assert answer.status_code == 303, answer.text

    @asynccontextmanager
    async def somebody(
        self, name: str, role: Role, org_id: str | None = None
    ) -> AsyncIterator[httpx2.AsyncClient]:
        """Make a user, of another org where one is wanted, and log in as them."""
        person = await factories.a_person(
            self.services.store, name=name, role=role, org=f"org of {name}", org_id=org_id
        )
        async with browser(self.url) as client:
            await self.log_in(client, person)
            yield client

    # --- things to look at --------------------------------------------------------------------------

    async def project(self, name: str = "lead_router", **build: Any) -> tuple[Project, Build]:
        """Make a project whose deployment is active."""
        store, vault = self.services.store, self.services.vault
        project = await factories.a_project(store, vault, self.actor, name=name)
        made = await factories.a_build(store, project, **build)
        await factories.a_deployment(store, made)
        return project, made

    async def session(self, project: Project, data: Mapping[str, object] | None = None) -> Session:
        """Start a durable session by hand; nobody runs it yet."""
        return await self.services.events.start_session(
            self.actor, project.id, "main.py:on_lead", data or {}, is_durable=True
        )

    async def claim(self, session_id: str) -> int:
        """Be the worker that runs a session; return the epoch."""
        claimed = await self.services.journal.claim("wrk-1", session_id)
        return claimed.epoch  # type: ignore[union-attr]

    async def put(self, session_id: str, epoch: int, record: Record) -> None:
        """Write a record."""
        await self.services.journal.commit([Put(session_id, epoch, next(self.numbers), record)])

    async def die(self, session_id: str, epoch: int) -> None:
        """Let the session's process die, so that it can be claimed again."""
        await self.services.journal.commit(
            [Died(session_id, epoch, signal=9, exit_code=None, reason="", stderr="")]
        )

    async def end(
        self,
        session_id: str,
        epoch: int,
        state: SessionState = SessionState.COMPLETED,
        error: Mapping[str, Any] | None = None,
        result: bytes | None = b'{"routed": true}',
    ) -> None:
        """End a session."""
        await self.services.journal.commit(
            [Done(session_id, epoch, next(self.numbers), state, error, result)]
        )


def step(n: int, name: str = "requests.post", **fields: Any) -> Record:
    """A finished step of 200 ms, one second after the one before."""
    preview = fields.pop("preview", {"args": [n], "result": {"ok": n}})
    started = AT + timedelta(seconds=n)
    base = Record(
        track="call",
        strand="0",
        n=n,
        kind="step",
        name=name,
        digest=b"d" * 32,
        status="ok",
        attempt=1,
        started_at=started,
        ended_at=started + timedelta(milliseconds=200),
        value=b"value",
        blob=None,
        preview=json.dumps(preview).encode(),
    )
    return base._replace(**fields)


def printed(n: int, text: str, level: str = "print") -> Record:
    """Something printed."""
    return step(n, level, track="log", kind="log", digest=b"", value=text.encode())._replace(preview=None)


def bound() -> socket.socket:
    """Return a socket on a free port."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


@asynccontextmanager
async def served(store: Store, vault: Vault, directory: Path, **settings: Any) -> AsyncIterator[Site]:
    """Serve the application until the block ends."""
    sock = bound()
    made = Settings(data_dir=directory / "data", port=sock.getsockname()[1], **settings)
    made.private_dir.mkdir(parents=True)
    await store.write(vault.start)
    async with AsyncExitStack() as stack:
        # Port 9 is nobody's: nothing here asks Temporal.
        running, _ = server._composed(stack, made, store, vault, server._Temporal("127.0.0.1:9"))
        services = running.services
        await services.access.bootstrap(made.private_dir / "admin-token")
        actor = await services.access.authenticate((made.private_dir / "admin-token").read_text().strip())
        serving = asyncio.create_task(running.serve(sock))
        try:
            await running.ready(with_worker=False)
            url = f"http://localhost:{made.port}"
            client = await stack.enter_async_context(browser(url))
            site = Site(services, made, actor, url, client)
            await site.log_in(client, actor)
            yield site
        finally:
            running.begin_stop()
            running.end_serving()
            await serving
