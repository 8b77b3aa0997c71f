"""The composition root: builds everything, starts it in order, stops it backwards.

Nothing else in the program makes a service. What needs somebody else's answer names a protocol of its own;
here the two sides meet.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version

import uvicorn
from fastapi import FastAPI

from ninelives_server import log, tasks
from ninelives_server.access import token_file
from ninelives_server.access.audit import Audit
from ninelives_server.access.idempotency import Idempotency
from ninelives_server.access.service import Access
from ninelives_server.api import app as api_app
from ninelives_server.api import bodies, problems, worker_link, worker_tokens
from ninelives_server.api.idempotency import IdempotencyKeys
from ninelives_server.api.middleware import Gate
from ninelives_server.api.webhooks import Hooks
from ninelives_server.connections.flows import Flows
from ninelives_server.connections.parts import outbound
from ninelives_server.connections.service import Connections
from ninelives_server.engine.client import Engine
from ninelives_server.engine.embedded import EmbeddedTemporal
from ninelives_server.engine.schedules import Schedules as Clockwork
from ninelives_server.engine.starter import Starter, looking
from ninelives_server.errors import NinelivesError, SetupError
from ninelives_server.events.children import Children
from ninelives_server.events.dispatch import Dispatcher
from ninelives_server.events.filters import Filters
from ninelives_server.events.ingest import Ingest
from ninelives_server.events.replies import Replies
from ninelives_server.events.schedules import Schedules
from ninelives_server.events.service import Events
from ninelives_server.events.sources import Sources
from ninelives_server.events.ticks import Ticks
from ninelives_server.events.webhooks import Webhooks
from ninelives_server.integrations.registry import Registry
from ninelives_server.model import actors
from ninelives_server.projects import addresses
from ninelives_server.projects.service import Projects
from ninelives_server.services import Services
from ninelives_server.sessions import stream
from ninelives_server.sessions.calls import Calls
from ninelives_server.sessions.checks import Checks
from ninelives_server.sessions.journal import Journal
from ninelives_server.sessions.limits import Limits
from ninelives_server.sessions.links import Links
from ninelives_server.sessions.published import Published
from ninelives_server.sessions.queues import Queues
from ninelives_server.sessions.retention import Retention
from ninelives_server.sessions.service import Sessions
from ninelives_server.sessions.start import Starts
from ninelives_server.sessions.stops import Stops
from ninelives_server.sessions.transfer import Transfer
from ninelives_server.sessions.values import Values
from ninelives_server.settings import Settings
from ninelives_server.store import core, data_keys, schema
from ninelives_server.store.core import Store
from ninelives_server.vault import keys
from ninelives_server.vault.vault import Vault
from ninelives_server.web import app as web_app
from ninelives_server.worker import isolation, sdk
from ninelives_server.worker.environments import Environments
from ninelives_server.worker.words import Tell

logger = log.get(__name__)

#: How long answers may take to end once the server stops; streams end at once. seconds
GRACEFUL_TIMEOUT = 5


@dataclass(slots=True, kw_only=True)
class Running:
    """A server that has started, and the handles to serve and stop it."""

    services: Services
    app: FastAPI
    links: Links
    settings: Settings
    _server: uvicorn.Server | None = None

    async def serve(self, sock: socket.socket) -> None:
        """Answer requests on a bound socket until `end_serving`."""
        config = uvicorn.Config(
            self.app,
            log_level="warning",
            access_log=False,  # queries of /oauth and /login must never be logged
            log_config=None,
            timeout_graceful_shutdown=GRACEFUL_TIMEOUT,
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            ws="websockets-sansio",
            ws_per_message_deflate=False,  # frames are small and on this machine's loopback or a fast link
            ws_max_size=64 * 1024 * 1024,
        )
        self._server = uvicorn.Server(config)
        # Signals are the caller's: it stops workers before the socket closes.
        self._server.capture_signals = suppress  # type: ignore[method-assign,assignment]
        await self._server.serve(sockets=[sock])

    async def carry(self, sock: socket.socket, token: str) -> None:
        """Speak with a worker through the door that it was started with, while its token is good."""
        door = stream.Door(self.links, sock)
        try:
            await worker_tokens.refused(self.services.access, token)
        finally:
            door.close()  # also where nobody can tell any more whether it is

    def begin_stop(self) -> None:
        """End the streams of pages and API; everything else still answers, so that workers can finish."""
        self.services.stopping.set()

    def end_serving(self) -> None:
        """Stop to answer."""
        self.links.close()
        if self._server is not None:
            self._server.should_exit = True

    async def ready(self, *, with_worker: bool, seconds: float = 60.0) -> None:
        """Wait until requests are answered and, where one was started, a worker has its link.

        Raises:
            SetupError: It took too long; the message names the log that says why.
        """
        try:
            async with asyncio.timeout(seconds):
                # Neither uvicorn nor a worker on another process tells us; asking is cheap.
                while self._server is None or not self._server.started:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                while with_worker and not await self.links.workers():  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        except TimeoutError:
            log_file = self.settings.data_dir / "logs" / "worker.log"
            raise SetupError(f"no worker came within {seconds:.0f} s; {log_file} says why") from None

    async def failed(self) -> str:
        """Wait until this server cannot go on, and return why; only another process can."""
        return await self.services.store.failed()

    async def worker_token(self) -> str:
        """Return the token of the worker on this machine, a new one where the old one is not valid."""
        path = self.settings.private_dir / "worker-token"
        with suppress(OSError, NinelivesError):
            present = path.read_text(encoding="utf-8").strip()
            await self.services.access.authenticate(present)
            return present
        _, secret = await self.services.access.worker_token(await self._admin(), "worker on this machine")
        token_file.write(path, secret)
        return secret

    async def login_url(self) -> str:
        """Return a fresh login link of the first user."""
        secret = await self.services.access.login_link(await self._admin())
        return f"{self.settings.pages_url}/login?token={secret}"

    async def isolation_warning(self) -> str | None:
        """Say so where a worker cannot keep project code from this server's keys."""
        for worker in await self.links.workers():
            if worker.isolation == "none":
                return "project code can read this server's keys (see `ninelives doctor`)"
        return None

    async def temporal_warning(self, seconds: float = 5.0) -> str | None:
        """Say so, and what it means, where Temporal has not answered after this time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.services.starter.connected()
        return self.services.starter.warning

    async def _admin(self) -> actors.Actor:
        path = self.settings.private_dir / "admin-token"
        return await self.services.access.authenticate(path.read_text(encoding="utf-8").strip())


@asynccontextmanager
async def started(
    settings: Settings,
    *,
    embedded: bool,
    temporal: EmbeddedTemporal | None = None,
    token: asyncio.Future[str] | None = None,
) -> AsyncIterator[Running]:
    """Start everything but the socket, in order; stop it backwards.

    Args:
        settings: As read.
        embedded: Make keys where there are none, and migrate.
        temporal: The one to use, begun by the caller; `None` where an address is set.
        token: Gets the token of the worker on this machine, before anything else takes time.

    Raises:
        SetupError: Something that whoever runs the server must put right.
    """
    # Where only Landlock or nothing confines sessions, this keeps our memory and environment from them.
    isolation.hide_memory()
    async with AsyncExitStack() as stack:
        store = await _database(stack, settings, embedded=embedded)
        vault = Vault(keys.load(settings, create=embedded), data_keys)
        await store.write(vault.start)
        where = await _temporal(settings, temporal)
        running, background = _composed(stack, settings, store, vault, where)
        await running.services.access.bootstrap(settings.private_dir / "admin-token")
        if token is not None:
            token.set_result(await running.worker_token())
        background_tasks = [asyncio.create_task(tasks.forever(name, run)) for name, run in background]
        try:
            yield running
        finally:
            running.services.stopping.set()
            for task in reversed(background_tasks):
                task.cancel()
            await asyncio.gather(*background_tasks, return_exceptions=True)


async def _database(stack: AsyncExitStack, settings: Settings, *, embedded: bool) -> Store:
    url = settings.database_url.get_secret_value() if settings.database_url else None
    path = settings.private_dir / "ninelives.db"
    if embedded:
        before, after = await schema.migrated(url, path)
        if before != after:
            logger.info("schema.migrated", before=before, after=after)
    else:
        await schema.check(url, path)
    return await stack.enter_async_context(core.opened(url, path))


@dataclass(frozen=True, slots=True)
class _Temporal:
    """Where Temporal is.

    Attributes:
        address: `host:port`.
        secret: What the door of an embedded one asks for.
    """

    address: str
    secret: str | None = field(default=None, repr=False)


async def _temporal(settings: Settings, embedded: EmbeddedTemporal | None) -> _Temporal:
    if embedded is None:
        assert settings.temporal_address is not None
        return _Temporal(settings.temporal_address)
    await embedded.serving()
    return _Temporal(embedded.address, embedded.secret)


def _composed(
    stack: AsyncExitStack, settings: Settings, store: Store, vault: Vault, temporal: _Temporal
) -> tuple[Running, list[tuple[str, Callable[[], Awaitable[object]]]]]:
    """Make every service and introduce those that need each other."""
    registry = Registry.load()
    http = outbound(settings)
    connections = Connections(store=store, vault=vault, registry=registry, settings=settings, http=http)
    flows = Flows(store=store, vault=vault, registry=registry, settings=settings, http=http)
    stack.push_async_callback(connections.close)
    stack.push_async_callback(flows.close)
    filters = Filters()
    projects = Projects(
        store=store,
        vault=vault,
        registry=registry,
        filters=filters,
        resolver=_Resolver(settings),
        grants=connections,
        retention=settings.retention,
        unreachable=addresses.unreachable(settings.base_url),
    )
    starts = Starts(
        vault=vault,
        variables=projects,
        accounts=connections,
        base_url=settings.base_url,
        ca_file=str(settings.ca_file) if settings.ca_file else None,
        limits=Limits(defaults=settings.limits, journal=settings.journal),
    )
    sessions = Sessions(store=store, vault=vault, starts=starts)
    dispatcher = Dispatcher(store=store, vault=vault, filters=filters, sessions=sessions)
    ingest = Ingest(store=store, vault=vault, filters=filters, dispatcher=dispatcher)
    children = Children(ingest=ingest, sessions=starts)
    calls = Calls(vault=vault, starts=starts, filters=filters, children=children)
    journal = Journal(store=store, vault=vault, starts=starts, calls=calls)
    transfer = Transfer(store=store, vault=vault)
    ticks = Ticks(store=store, ingest=ingest)
    engine = Engine(
        address=temporal.address,
        secret=temporal.secret,
        namespace=settings.temporal_namespace,
        look=looking(journal),
        tick=ticks.tick,
    )
    schedules = Schedules(store=store, clockwork=Clockwork(engine=engine), ticks=ticks)
    starter = Starter(store=store, engine=engine)
    links = Links(
        store=store,
        journal=journal,
        tokens=connections,
        scheduler=starter,
        keep=transfer.keep,
        prepares=connections,
    )
    starter.give = links.give
    sources = Sources(
        store=store,
        ingest=ingest,
        registry=registry,
        tokens=connections,
        http=http,
        ca_file=settings.ca_file,
    )
    access = Access(store=store)
    services = Services(
        settings=settings,
        store=store,
        vault=vault,
        access=access,
        audit=Audit(store=store),
        idempotency=Idempotency(store=store, vault=vault),
        registry=registry,
        projects=projects,
        connections=connections,
        flows=flows,
        sessions=sessions,
        checks=Checks(store=store, starts=starts, links=links, transfer=transfer),
        values=Values(store=store, vault=vault, base_url=settings.base_url),
        journal=journal,
        events=Events(
            store=store,
            vault=vault,
            ingest=ingest,
            dispatcher=dispatcher,
            registry=registry,
            base_url=settings.base_url,
        ),
        ingest=ingest,
        filters=filters,
        webhooks=Webhooks(
            store=store, ingest=ingest, variables=projects, body_limit=settings.webhooks.body_limit
        ),
        published=Published(store=store, vault=vault),
        replies=Replies(store=store, vault=vault),
        starter=starter,
    )
    doors = worker_link.WorkerDoors(
        links=links,
        transfer=transfer,
        temporal_address=temporal.address,
        temporal_namespace=settings.temporal_namespace,
        temporal_secret=temporal.secret,
    )
    retention = Retention(store=store, audit_days=settings.retention.audit)
    queues = Queues(store=store)
    stops = Stops(store=store, journal=journal, links=links)
    background: list[tuple[str, Callable[[], Awaitable[object]]]] = [
        ("engine", engine.run),
        ("links", links.run),
        ("starter", starter.run),
        ("dispatcher", dispatcher.run),
        ("queues", queues.run),
        ("connections", connections.run),
        ("sources", sources.run),
        ("schedules", schedules.run),
        ("stops", stops.run),
        ("retention", retention.run),
        ("tidy", lambda: _tidy(access)),
    ]
    app = application(settings, services, doors)
    return Running(services=services, app=app, links=links, settings=settings), background


class _Resolver:
    """Pins requirements, by the same interpreter and rules as the workers'; made when first asked."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._environments: Environments | None = None

    async def resolve(self, requirements: str, tell: Tell) -> list[str]:
        """Return the exact packages that a `requirements.txt` stands for, see `Environments.resolve`."""
        if self._environments is None:
            self._environments = await asyncio.to_thread(self._made)
        return await self._environments.resolve(requirements, tell)

    def _made(self) -> Environments:
        data_dir = self._settings.data_dir
        return Environments(data_dir, sdk=sdk.install(data_dir / "sdk"), private=[self._settings.private_dir])


async def _tidy(access: Access) -> None:
    while True:
        await access.sweep()
        await asyncio.sleep(3600)


def application(settings: Settings, services: Services, doors: worker_link.WorkerDoors) -> FastAPI:
    """Make the one ASGI application: API, worker link, pages, and what every request passes."""
    app = FastAPI(
        title="Ninelives",
        version=version("ninelives"),
        docs_url=None,
        redoc_url=None,
        # Nothing provides for it here, and to ask so for each request is not free.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.services = services
    app.state.worker_doors = doors
    problems.install(app)
    for router in (api_app.router, worker_link.router, web_app.router):
        app.router.routes.extend(router.routes)  # see `api.app`
    web_app.mount_static(app)
    app.add_middleware(IdempotencyKeys)
    app.add_middleware(bodies.Bounded)
    app.add_middleware(Hooks, services=services)
    app.add_middleware(Gate, settings=settings)
    return app


async def rotate_keys(settings: Settings) -> int:
    """Wrap every data key with the newest master key; return how many an older one had wrapped.

    Raises:
        SetupError: A key is missing, or the database is of another version.
    """
    url = settings.database_url.get_secret_value() if settings.database_url else None
    path = settings.private_dir / "ninelives.db"
    if url is None and not await asyncio.to_thread(path.exists):
        raise SetupError(f"there is no database at {path}")
    await schema.check(url, path)
    async with core.opened(url, path) as store:
        vault = Vault(keys.load(settings, create=False), data_keys)
        return await store.write(vault.rotate)
