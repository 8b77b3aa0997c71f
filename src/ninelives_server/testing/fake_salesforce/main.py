"""Starts one org: certificates, ports, HTTP and gRPC servers; and stops it."""

import asyncio
import contextlib
import json
import secrets
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import grpc
import uvicorn

from ninelives_server.clock import SystemClock
from ninelives_server.testing.fake_salesforce import apps, certificates
from ninelives_server.testing.fake_salesforce.app import App
from ninelives_server.testing.fake_salesforce.behaviour import Behaviour
from ninelives_server.testing.fake_salesforce.control.desk import Desk
from ninelives_server.testing.fake_salesforce.control.traffic import Traffic
from ninelives_server.testing.fake_salesforce.org import Org
from ninelives_server.testing.fake_salesforce.pubsub.service import PubSub

_STREAMS = 128  # each open stream is a thread
_GRACE = 0.2  # seconds that requests in hand get at the end
_MAX_MESSAGE = 4 * 1024 * 1024  # bytes; the limit of the Pub/Sub API


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to start an org.

    Attributes:
        port: Of HTTPS; 0 lets the system pick.
        pubsub_port: Of the Pub/Sub API.
        http_port: Of plain HTTP, which real orgs do not have; `None` leaves it off.
        directory: Keeps the certificate authority for the next start; `None` is a temporary one.
        callbacks: Of the app that the org starts with.
        host_name: The name in every URL of the org. `127.0.0.1` makes it another site than `localhost`.
        names: Further names in the certificate.
        bind: Address to listen on.
    """

    port: int = 0
    pubsub_port: int = 0
    http_port: int | None = None
    directory: Path | None = None
    callbacks: tuple[str, ...] = (apps.DEFAULT_CALLBACK,)
    host_name: str = "localhost"
    names: tuple[str, ...] = ()
    bind: str = "127.0.0.1"
    behaviour: Behaviour = field(default_factory=Behaviour)


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What one needs to know to use the org; the first line on stdout."""

    login_url: str
    instance_url: str
    pubsub_endpoint: str
    ca_file: str
    org_id: str
    client_id: str
    client_secret: str = field(repr=False)
    username: str
    password: str = field(repr=False)
    control_url: str

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """An org that serves."""

    details: Details
    org: Org
    desk: Desk
    http_url: str | None


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing."""
        yield


@asynccontextmanager
async def serving(options: Options) -> AsyncIterator[Running]:
    """Serve an org for as long as the block runs.

    Raises:
        ValueError: A callback is one that Salesforce refuses.
        OSError: A port is taken.
    """
    async with AsyncExitStack() as stack:
        directory = options.directory or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        org = Org(clock=SystemClock(), behaviour=options.behaviour)
        traffic = Traffic()
        files = certificates.provide(
            directory, names=[options.host_name, *options.names], now=org.clock.now()
        )
        https = stack.enter_context(_listen(options.bind, options.port))
        http = None
        if options.http_port is not None:
            http = stack.enter_context(_listen(options.bind, options.http_port))
        pubsub_port = await _start_pubsub(stack, org, options, files)
        org.addresses = replace(
            org.addresses, host=options.host_name, https_port=https.getsockname()[1],
            http_port=http.getsockname()[1] if http else None, pubsub_port=pubsub_port,
        )  # fmt: skip
        details = _furnish(org, options, files.ca_file)
        app = App(org, traffic)
        stack.callback(app.close)
        await _start_http(stack, app, https, files)
        if http:
            await _start_http(stack, app, http, None)
        stack.callback(traffic.release_all)
        http_url = f"http://localhost:{org.addresses.http_port}" if http else None
        yield Running(details=details, org=org, desk=Desk(org, traffic), http_url=http_url)


def _listen(bind: str, port: int) -> socket.socket:
    # Made anew from its descriptor it knows its protocol, and asyncio sets TCP_NODELAY on what is accepted.
    found = socket.socket(fileno=socket.create_server((bind, port)).detach())
    found.setblocking(False)
    return found


async def _start_pubsub(
    stack: AsyncExitStack, org: Org, options: Options, files: certificates.Certificates
) -> int:
    service = PubSub(org)
    limits = [
        ("grpc.max_receive_message_length", _MAX_MESSAGE),
        ("grpc.max_send_message_length", _MAX_MESSAGE),
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.server(ThreadPoolExecutor(_STREAMS, thread_name_prefix="pubsub"), options=limits)
    server.add_generic_rpc_handlers((service.handlers(),))
    credentials = grpc.ssl_server_credentials([(files.key_file.read_bytes(), files.chain_file.read_bytes())])
    port = server.add_secure_port(f"{options.bind}:{options.pubsub_port}", credentials)
    server.start()

    async def stop() -> None:
        service.stopping.set()
        org.bus.log.wake()
        await asyncio.to_thread(server.stop(grace=1).wait)

    stack.push_async_callback(stop)
    return int(port)


def _furnish(org: Org, options: Options, ca_file: Path) -> Details:
    """Give the org its first user and its app, and nothing else: that is what a new org has."""
    password = secrets.token_urlsafe(12)
    username = f"admin@{org.my_domain}.test"
    org.add_user(username=username, password=password, first_name="Ada", last_name="Admin", email=username)
    wait = timedelta(seconds=options.behaviour.app_propagation_seconds)
    app = apps.new_app(
        org.ids, name="Ninelives", contact_email=username, callbacks=options.callbacks,
        visible_from=org.clock.now() + wait,
    )  # fmt: skip
    org.apps[app.client_id] = app
    at = org.addresses
    return Details(
        login_url=at.login_url, instance_url=at.instance_url, pubsub_endpoint=at.pubsub_endpoint,
        ca_file=str(ca_file.absolute()), org_id=org.org_id, client_id=app.client_id,
        client_secret=app.client_secret, username=username, password=password, control_url=at.control_url,
    )  # fmt: skip


async def _start_http(
    stack: AsyncExitStack, app: App, listener: socket.socket, files: certificates.Certificates | None
) -> None:
    config = uvicorn.Config(
        app, lifespan="off", log_level="error", access_log=False, timeout_graceful_shutdown=2,
        timeout_keep_alive=75,
        server_header=False, ws="none", h11_max_incomplete_event_size=64 * 1024,
        ssl_certfile=files.chain_file if files else None,
        ssl_keyfile=files.key_file if files else None,
    )  # fmt: skip
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))

    async def stop() -> None:
        server.should_exit = True
        await asyncio.wait({task}, timeout=_GRACE)
        for connection in list(server.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport:
                transport.abort()  # an idle client keeps its TLS connection open for as long as it likes
        await task

    stack.push_async_callback(stop)
    while not server.started:
        if task.done():
            task.result()
        await asyncio.sleep(0.01)


async def serve_until(stop: asyncio.Event, options: Options, on_ready: Callable[[Running], None]) -> None:
    """Serve an org until the event is set; `on_ready` learns what was started."""
    async with serving(options) as running:
        on_ready(running)
        await stop.wait()


def _announce(running: Running) -> None:
    line = running.details.to_json()
    if running.http_url:
        line = json.dumps({**json.loads(line), "http_url": running.http_url})
    print(line, flush=True)


def run(
    port: int = 0, pubsub_port: int = 0, directory: Path | str | None = None, *,
    callback: str | Sequence[str] = (), host_name: str = "localhost", names: Sequence[str] = (),
    http_port: int | None = None, bind: str = "127.0.0.1", behaviour: Behaviour | None = None,
    on_ready: Callable[[Running], None] = _announce,
) -> None:  # fmt: skip
    """Serve an org until SIGINT or SIGTERM; this blocks.

    The first line on stdout is one JSON object, unless `on_ready` is another function.

    Raises:
        ValueError: A callback is one that Salesforce refuses.
        OSError: A port is taken.
    """
    callbacks = (callback,) if isinstance(callback, str) else tuple(callback)
    options = Options(
        port=port, pubsub_port=pubsub_port, http_port=http_port,
        callbacks=callbacks or (apps.DEFAULT_CALLBACK,),
        directory=Path(directory) if directory else None, host_name=host_name, names=tuple(names),
        bind=bind, behaviour=behaviour or Behaviour(),
    )  # fmt: skip
    asyncio.run(_until_signalled(options, on_ready))


async def _until_signalled(options: Options, on_ready: Callable[[Running], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, ValueError):
            loop.add_signal_handler(number, stop.set)
    await serve_until(stop, options, on_ready)
