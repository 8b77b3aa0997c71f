"""`up`, `server` and `worker`: the commands that run things themselves instead of asking a server."""

import asyncio
import gc
import importlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
import uvloop

from ninelives_server import log
from ninelives_server import settings as settings_module
from ninelives_server.cli import directory
from ninelives_server.cli import output as out
from ninelives_server.cli.client import FAILED, USAGE, connect, fail
from ninelives_server.cli.processes import Child
from ninelives_server.engine import embedded
from ninelives_server.engine.embedded import EmbeddedTemporal
from ninelives_server.errors import SetupError
from ninelives_server.model.sessions import CARRIED
from ninelives_server.settings import Settings

logger = log.get(__name__)

P = ParamSpec("P")
R = TypeVar("R")

#: Steps in hand get 10 s at a shutdown; the worker itself needs a little more to report them. seconds
WORKER_GRACE = 12.0
#: A server that has not stopped in order by then ends all the same; in order it takes 25 at most. seconds
STOP_LIMIT = 30.0


def _setup_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Show what whoever runs the server must put right, without a traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except SetupError as error:
            return fail(str(error), FAILED)

    return run


def _server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for decorate in reversed(
        (
            click.option("--host", help="address to bind; default 127.0.0.1"),
            click.option("--port", type=int, help="default 9980; 0 picks a free one"),
            click.option(
                "--data-dir", type=click.Path(path_type=Path), help="default $XDG_DATA_HOME/ninelives"
            ),
            click.option("--public-url", help="address under which browsers and other systems reach it"),
            click.option("--web-url", help="address of the pages, where it is another one"),
            click.option("--database-url", help="postgresql://…; default: SQLite in the data directory"),
            click.option(
                "--temporal-address", metavar="HOST:PORT", help="your own Temporal; default: embedded"
            ),
            click.option("--temporal-namespace", help="default: default"),
        )
    ):
        command = decorate(command)
    return command


@click.command()
@_server_options
@click.option("--no-worker", is_flag=True, help="run no session on this machine")
@_setup_errors
def up(*, no_worker: bool, **flags: Any) -> None:
    """Run everything on this machine: server, database, Temporal and one worker."""
    settings = settings_module.load(**flags)
    log.configure(settings.log_level, settings.log_format)
    with directory.owned(settings):
        sock = directory.bound(settings.host, settings.port)
        settings = settings.model_copy(update={"port": sock.getsockname()[1]})
        _serve(settings, sock, embedded=True, with_worker=not no_worker)


def _serve(settings: Settings, sock: socket.socket, *, embedded: bool, with_worker: bool) -> None:
    """Run a server until a signal; exit with a status that tells a supervisor whether to start it again."""
    code = uvloop.run(_run(settings, sock, embedded=embedded, with_worker=with_worker))
    if code:
        raise SystemExit(code)


async def _run(settings: Settings, sock: socket.socket, *, embedded: bool, with_worker: bool) -> int:
    """Start everything, serve until a signal, stop backwards; return the exit status.

    Temporal and the worker need a second or more until they can do anything, and our own modules need
    longer: all three begin together, and wait for each other where they must.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _begin_stop, stop)
    local = f"http://{_local_host(settings.host)}:{settings.port}"
    async with AsyncExitStack() as stack:
        temporal = await _temporal(stack, settings) if embedded else None
        token: asyncio.Future[str] | None = loop.create_future() if with_worker else None
        opening: asyncio.Future[Any] = loop.create_future()
        worker = _worker(settings, token, opening, local) if token else None
        working = asyncio.create_task(worker.run()) if worker else None
        if worker:
            stack.push_async_callback(worker.stop, WORKER_GRACE)
        await asyncio.to_thread(_import_server)
        from ninelives_server import server

        running = await stack.enter_async_context(
            server.started(settings, embedded=embedded, temporal=temporal, token=token)
        )
        opening.set_result(running)
        serving = asyncio.create_task(running.serve(sock))
        opened = asyncio.create_task(_opened(settings, running, temporal, local, with_worker=with_worker))
        why = await _until_over(stop, running, serving, opened)
        if why:
            logger.error("server.failed", why=why)
            _begin_stop(stop)
        _say(settings, "stopping")
        running.begin_stop()
        if worker and working:
            await worker.stop(WORKER_GRACE)
            await working
        running.end_serving()
        opened.cancel()
        await asyncio.wait({serving, opened})
    _say(settings, "stopped")
    return FAILED if why else 0


def _begin_stop(stop: asyncio.Event) -> None:
    """Have the server stop; where that takes too long, this process ends, and its children with it."""
    if not stop.is_set():
        limit = threading.Timer(STOP_LIMIT, _end_at_once)
        limit.daemon = True
        limit.start()
    stop.set()


def _end_at_once() -> None:
    logger.error("server.stop_timed_out", after_s=STOP_LIMIT)
    os._exit(FAILED)


async def _opened(
    settings: Settings, running: Any, temporal: EmbeddedTemporal | None, url: str, *, with_worker: bool
) -> None:
    """Wait until the server is ready, and say where it is until cancelled."""
    await running.ready(with_worker=with_worker)
    with directory.announced(settings, url):
        await _greet(settings, running, temporal)
        await asyncio.Event().wait()


async def _until_over(
    stop: asyncio.Event, running: Any, serving: asyncio.Task[None], opened: asyncio.Task[None]
) -> str:
    """Wait for a signal, or until the server cannot go on; return why not."""
    stopped, failed = asyncio.create_task(stop.wait()), asyncio.create_task(running.failed())
    await asyncio.wait({stopped, failed, serving, opened}, return_when=asyncio.FIRST_COMPLETED)
    for task in (stopped, failed):
        task.cancel()
    if stop.is_set():
        return ""
    if opened.done():
        opened.result()  # it has failed
    if failed.done():
        return str(failed.result())
    error = None if serving.cancelled() else serving.exception()
    return f"requests are not answered any more: {error!r}" if error else "requests are not answered any more"


def _say(settings: Settings, state: str) -> None:
    if settings.log_format == "json":
        logger.info("server.state_changed", state=state)
    else:
        click.echo("stopping …" if state == "stopping" else state, err=True)


def _local_host(host: str) -> str:
    return "localhost" if host in {"127.0.0.1", "0.0.0.0", "::", "::1"} else host  # noqa: S104


def _import_server() -> None:
    """Import what a server is made of: 1,700 modules, and nothing that a collector would find."""
    gc.disable()
    try:
        importlib.import_module("ninelives_server.server")
        gc.freeze()
    finally:
        gc.enable()


async def _temporal(stack: AsyncExitStack, settings: Settings) -> EmbeddedTemporal | None:
    if settings.temporal_address is not None:
        return None
    temporal = EmbeddedTemporal(
        private_dir=settings.private_dir, log_file=settings.data_dir / "logs" / "temporal.log"
    )
    return await stack.enter_async_context(temporal.begun())


def _worker(settings: Settings, token: asyncio.Future[str], opening: asyncio.Future[Any], url: str) -> Child:
    logs = settings.data_dir / "logs"
    logs.mkdir(exist_ok=True)
    arguments = [sys.executable, "-m", "ninelives_server", "worker", "--server", url]
    arguments += ["--token-file", "-", "--data-dir", str(settings.data_dir)]
    # Told, not asked for: by the time it asks, we may be dead and somebody else its parent.
    arguments += ["--follow-parent", str(os.getpid()), "--door"]

    async def told() -> str:
        return await asyncio.shield(token)  # one that dies meanwhile takes nothing from the next one

    async def linked(link: socket.socket) -> None:
        await (await asyncio.shield(opening)).carry(link, await told())

    return Child("worker", arguments, log_file=logs / "worker.log", told=told, linked=linked)


async def _greet(settings: Settings, running: Any, temporal: EmbeddedTemporal | None) -> None:
    """Say where it is and how to log in; on stderr, as all that is meant for people.

    A log for programs stays one, without a login link in it: `ninelives login --web` makes one.
    """
    warnings = await _warnings(settings, running)
    if temporal and not temporal.is_enclosed:
        warnings.append(embedded.OPEN_WARNING)
    if settings.log_format == "json":
        logger.info("server.ready", url=settings.pages_url, local_url=f"http://localhost:{settings.port}")
        for warning in warnings:
            logger.warning("server.warned", warning=warning)
        return
    lines = ["", f"  Ninelives is ready at {settings.pages_url}"]
    if settings.public_url:
        lines.append(f"  (on this machine: http://localhost:{settings.port})")
    if not await running.services.access.has_logged_in():
        lines += ["", "  Log in with this link (10 minutes, once):", f"    {await running.login_url()}"]
    else:
        lines += ["", "  Log in with: ninelives login --web"]
    if os.environ.get("SSH_CONNECTION") and not settings.public_url:
        name = socket.gethostname()
        lines += ["", "  From your own machine, forward the port first:"]
        lines.append(f"    ssh -L {settings.port}:localhost:{settings.port} {name}")
    for warning in warnings:
        lines += ["", f"  Warning: {warning}"]
    click.echo("\n".join([*lines, "", "  Ctrl-C stops it; sessions go on at the next start.", ""]), err=True)


async def _warnings(settings: Settings, running: Any) -> list[str]:
    """Return what whoever started the server should know, as sentences with the way out."""
    from ninelives_server.connections import parts

    found = [
        await running.isolation_warning(),
        await running.temporal_warning(),
        parts.callback_warning(settings.base_url),
    ]
    return [warning for warning in found if warning]


@click.group()
def server() -> None:
    """A server without embedded parts, and the care of its data."""


@server.command("run")
@_server_options
@_setup_errors
def server_run(**flags: Any) -> None:
    """Run a server only: it needs --database-url, --temporal-address and encryption keys."""
    settings = settings_module.load(**flags)
    log.configure(settings.log_level, settings.log_format)
    for name, value in (
        ("--database-url", settings.database_url),
        ("--temporal-address", settings.temporal_address),
        ("NINELIVES_ENCRYPTION_KEYS", settings.encryption_keys),
    ):
        if value is None:
            fail(f"`server run` needs {name}; `ninelives up` has embedded parts for one machine", USAGE)
    with directory.owned(settings):
        sock = directory.bound(settings.host, settings.port)
        settings = settings.model_copy(update={"port": sock.getsockname()[1]})
        _serve(settings, sock, embedded=False, with_worker=False)


@server.command("migrate")
@click.option("--data-dir", type=click.Path(path_type=Path))
@click.option("--database-url")
@click.option("--force", is_flag=True, help="even where sessions are cut off by it")
@out.option
@_setup_errors
def server_migrate(output: str, force: bool, **flags: Any) -> None:
    """Bring the database to this version's schema; refuses a newer one.

    Where this version cannot go on with sessions that an old one began, it names them and changes nothing.
    """
    from ninelives_server.store import schema

    settings = settings_module.load(**flags)
    with directory.owned(settings):
        url = settings.database_url.get_secret_value() if settings.database_url else None
        path = settings.private_dir / "ninelives.db"
        _refuse_cut_off(schema.cut_off(url, path, CARRIED), force=force)
        before, after = schema.migrate(url, path)
    said = f"schema {after}" if before == after else f"schema {before or 'none'} -> {after}"
    out.document(output, {"schema_before": before, "schema": after}, lambda _: click.echo(said))


def _refuse_cut_off(sessions: list[tuple[str, ...]], *, force: bool) -> None:
    """Name the sessions that would be cut off, and stop unless that is meant."""
    for session_id, project, state in sessions:
        out.say(f"{session_id}  {project}  {state}")
    if sessions and not force:
        fail(
            f"this version cannot go on with these {len(sessions)} sessions: let them end with the version "
            "that runs them, or stop them, or say --force to cut them off; nothing was changed",
            FAILED,
        )


@server.command("rotate-key")
@click.option("--data-dir", type=click.Path(path_type=Path))
@click.option("--database-url")
@out.option
@_setup_errors
def server_rotate_key(output: str, **flags: Any) -> None:
    """Wrap every data key with the newest master key; no journal is rewritten. The server must be down."""
    from ninelives_server import server as server_module

    settings = settings_module.load(**flags)
    with directory.owned(settings):
        count = asyncio.run(server_module.rotate_keys(settings))
    out.document(output, {"wrapped": count}, lambda _: click.echo(_said_of_rotation(count)))


def _said_of_rotation(count: int) -> str:
    """Say how many data keys another master key had wrapped; nothing was wrong where it is none."""
    if not count:
        return (
            "nothing to do: the newest master key wraps every data key already; to rotate, put a new key "
            "before the others first"
        )
    keys = "1 data key was" if count == 1 else f"{count} data keys were"
    return f"{keys} wrapped with an older master key and now {'is' if count == 1 else 'are'} with the newest"


@click.group(invoke_without_command=True)
@click.option("--server", "server_url", metavar="URL", help="address of the server to run sessions for")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="a worker token, - for standard input; default: NINELIVES_TOKEN",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="for builds and environments")
@click.option("--name", help="shown to people; default: the host's name")
@click.option("--slots", type=int, help="sessions at once; default by free memory")
@click.option("--follow-parent", type=int, hidden=True)
@click.option("--door", type=int, hidden=True)
@click.pass_context
@_setup_errors
def worker(
    context: click.Context,
    *,
    server_url: str | None,
    token_file: Path | None,
    data_dir: Path | None,
    name: str | None,
    slots: int | None,
    follow_parent: int | None,
    door: int | None,
) -> None:
    """Run sessions for a server; any number of workers on any number of hosts."""
    if context.invoked_subcommand is not None:
        return
    if server_url is None:
        fail("a worker needs --server URL; `ninelives worker list` shows those that there are", USAGE)
    from ninelives_server.worker import main

    settings = settings_module.load(data_dir=data_dir)
    log.configure(settings.log_level, settings.log_format)
    code = main.run(
        server_url=settings_module.normalise_address(server_url),
        token=_token_source(token_file, settings),
        data_dir=settings.data_dir,
        name=name or socket.gethostname(),
        slots=slots if slots is not None else settings.worker.slots,
        require_isolation=settings.worker.require_isolation,
        ca_file=settings.ca_file,
        private_dirs=[settings.private_dir],
        parent=follow_parent,
        door=None if door is None else _own_end(door),
    )
    raise SystemExit(code)


def _own_end(number: int) -> socket.socket:
    """Return the socket that we were started with; nobody whom we start gets it."""
    os.set_inheritable(number, False)
    return socket.socket(fileno=number)


_NO_TOKEN = "a worker needs a token: --token-file or NINELIVES_TOKEN; see `ninelives token create`"  # noqa: S105


def _token_source(token_file: Path | None, settings: Settings) -> Callable[[], str]:
    """Return what gets the worker's token; a file is read at once, standard input when it is asked."""
    if token_file is None:
        token = settings.token.get_secret_value() if settings.token else ""
    elif str(token_file) == "-":
        return _token_said
    else:
        try:
            token = token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            fail(f"{token_file} cannot be read: {getattr(error, 'strerror', None) or error}", USAGE)
    return (lambda: token) if token else fail(_NO_TOKEN, USAGE)


def _token_said() -> str:
    token = sys.stdin.read().strip()
    if not token:
        raise SetupError(_NO_TOKEN)
    return token


@worker.command("list")
@out.option
def list_workers(output: str) -> None:
    """List the workers that are there now, with their slots in use."""
    page = connect().call("GET", "/workers")
    columns = ("id", "name", "used", "slots", "isolation", "python", "release", "connected_at")
    out.document(
        output, page, out.table(columns, "no worker is connected; start one with `ninelives worker`")
    )
