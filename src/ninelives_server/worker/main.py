"""The worker process: makes its parts, connects to server and Temporal, and stops in order.

`run` is what `ninelives worker` and `ninelives up` start, in a process of its own.
"""

import asyncio
import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import signal
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from temporalio.client import Client as Temporal
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.service import HttpConnectProxyConfig
from temporalio.worker import Worker

from ninelives.run import confine
from ninelives.run.confine import Mode
from ninelives_server import ids, log, tasks
from ninelives_server.errors import SetupError
from ninelives_server.model.sessions import SESSION_QUEUE, TEMPORAL_USER
from ninelives_server.worker import activity, isolation, sdk, tidy
from ninelives_server.worker.builds import Builds
from ninelives_server.worker.cgroups import Groups
from ninelives_server.worker.client import Client, Config
from ninelives_server.worker.environments import Environments
from ninelives_server.worker.link import Link
from ninelives_server.worker.pool import Kind, Zygotes
from ninelives_server.worker.supervisor import GRACE, Identity, Parts, Supervisor
from ninelives_server.worker.zygotes import Zygote

logger = log.get(__name__)

#: What one session is reckoned to take, where the number of slots is not given. bytes
_SESSION = 64 * 1024 * 1024
_SLOTS = 200
_HEARTBEATS = timedelta(seconds=2)
#: Where sessions, and what is imported ahead for them, find the file of certificate authorities.
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
#: Temporal's part of stopping takes no longer than this after the sessions have ended. seconds
_FAREWELL = 5.0
_RETRY = 0.5  # seconds between attempts to reach Temporal
#: An embedded Temporal that was killed is there again within this time. seconds
_EMBEDDED = 10.0
_REPORT = 2.0  # seconds between reports of what runs here

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a worker is started.

    Attributes:
        token: Returns the worker's token; asked, on a thread, when everything else is ready.
        data_dir: Builds, environments and working directories; nothing of it is needed for long.
        slots: Sessions at once; 0 means free memory / 64 MB, at most 200.
        private: What sessions must not see, beside `data_dir`.
        door: Where it has started us, the socket through which the server gets others from us.
    """

    server_url: str
    token: Callable[[], str] = field(repr=False)
    data_dir: Path
    name: str
    slots: int = 0
    require_isolation: bool = False
    ca_file: Path | None = None
    private: tuple[Path, ...] = ()
    door: socket.socket | None = None


def run(
    *,
    server_url: str,
    token: Callable[[], str],
    data_dir: Path,
    name: str,
    slots: int = 0,
    require_isolation: bool = False,
    ca_file: Path | None = None,
    private_dirs: Sequence[Path] = (),
    parent: int | None = None,
    door: socket.socket | None = None,
) -> int:
    """Run a worker until SIGTERM or SIGINT, see `Options`; return its exit status.

    With `parent`, the process that started this one, the worker is killed when that ends.

    Raises:
        SetupError: The server refuses the token, or sessions cannot be isolated though they must be.
    """
    if parent is not None:
        confine.die_with_parent()
        if os.getppid() != parent:
            return 0
    options = Options(
        server_url=server_url,
        token=token,
        data_dir=data_dir.resolve(),
        name=name,
        slots=slots,
        require_isolation=require_isolation,
        ca_file=ca_file,
        private=tuple(private_dirs),
        door=door,
    )
    isolation.hide_memory()
    return uvloop.run(_Life(options).main())


class _Life:
    """A worker from its start to its end."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._stop = asyncio.Event()

    async def main(self) -> int:
        """Start the parts in order, work, and stop them backwards."""
        self._listen_to_signals()
        options = self._options
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(_owned(options.data_dir))
            # What takes time and nobody's answer comes first: the token may still be on its way.
            mode = await asyncio.to_thread(isolation.probe)
            place = await asyncio.to_thread(_prepare, options)
            token = await self._unless_stopped(asyncio.to_thread(options.token))
            if token is None:
                return 0
            client = Client(options.server_url, token, options.ca_file)
            stack.push_async_callback(client.close)
            config = await self._unless_stopped(client.config())
            if config is None:
                return 0
            if mode == "none":
                _lament(required=options.require_isolation or config.isolation_required)
            supervisor = await self._supervisor(client, mode, place, stack)
            link = Link(client.url("link"), client.headers, client.context, supervisor, options.door)
            supervisor.connect(link.send, lambda: link.hand)
            await stack.enter_async_context(tasks.kept("link", link.run))
            await stack.enter_async_context(tasks.kept("report", partial(_report, supervisor)))
            try:
                temporal = await self._unless_stopped(_connect(config, options.name))
                return 0 if temporal is None else await self._work(temporal, supervisor)
            finally:
                # Whatever became of Temporal, the server may have given us sessions.
                await supervisor.stop()
                if link.is_open:
                    await supervisor.leave()

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        if self._stop.is_set():
            os.kill(os.getpid(), signal.SIGKILL)  # asked twice: all that we started ends with us
        self._stop.set()

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return what `work` returns, or `None` if this worker is to stop before."""
        task, stop = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait({task})
        return None

    async def _supervisor(
        self, client: Client, mode: Mode, place: "_Place", stack: contextlib.AsyncExitStack
    ) -> Supervisor:
        options = self._options
        environments = Environments(options.data_dir, sdk=place.sdk, mode=mode, private=options.private)
        groups = await asyncio.to_thread(Groups.found)
        if groups is not None:
            stack.callback(groups.close)
        zygotes = Zygotes(lambda kind: _start_zygote(options, mode, place.sdk, kind, place.ca_file))
        stack.push_async_callback(zygotes.close)
        identity = Identity(
            worker_id=ids.new("wrk"), name=options.name, slots=_slots(options.slots), isolation=mode
        )
        builds = Builds(options.data_dir / "builds", mode)
        parts = Parts(
            client=client,
            builds=builds,
            environments=environments,
            zygotes=zygotes,
            work=options.data_dir / "work",
            ca_file=place.ca_file,
            groups=groups,
        )
        return Supervisor(identity, parts)

    async def _work(self, temporal: Temporal, supervisor: Supervisor) -> int:
        worker = Worker(
            temporal,
            task_queue=SESSION_QUEUE,
            activities=[activity.SessionActivity(supervisor.run).run_session],
            tuner=activity.tuner(supervisor),
            max_heartbeat_throttle_interval=_HEARTBEATS,
            default_heartbeat_throttle_interval=_HEARTBEATS,
            graceful_shutdown_timeout=timedelta(seconds=GRACE + _FAREWELL),
        )
        working = asyncio.create_task(worker.run())
        stop = asyncio.create_task(self._stop.wait())
        logger.info("worker.started", name=self._options.name, slots=supervisor.slots)
        await asyncio.wait({working, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if working.done():  # it never ends by itself
            logger.error("temporal.failed", error=type(working.exception()).__name__)
            return 1
        leaving = asyncio.create_task(worker.shutdown())
        await supervisor.stop()
        await asyncio.wait({leaving}, timeout=_FAREWELL)
        working.cancel()
        await asyncio.wait({working}, timeout=_FAREWELL)
        logger.info("worker.stopped", name=self._options.name)
        return 0


def _lament(*, required: bool) -> None:
    """Say that sessions cannot be isolated here.

    Raises:
        SetupError: They must be.
    """
    if required:
        raise SetupError(
            "this kernel allows neither namespaces nor Landlock, so project code could read this "
            "server's keys, and isolation is required; run the worker where one of them works"
        )
    logger.warning("isolation.missing", note="project code can read this server's keys")


@contextlib.contextmanager
def _owned(data_dir: Path) -> Iterator[None]:
    """Hold a directory for one worker alone: each clears away what its predecessor's sessions left.

    Raises:
        SetupError: Another worker has it.
    """
    (data_dir / "work").mkdir(parents=True, exist_ok=True)
    with (data_dir / "worker.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SetupError(
                f"another worker uses the directory {data_dir}; give each its own with --data-dir"
            ) from None
        yield


@dataclass(frozen=True, slots=True)
class _Place:
    """What lies ready for sessions on the disk."""

    sdk: Path
    ca_file: Path | None


def _prepare(options: Options) -> _Place:
    data_dir = options.data_dir
    for name in ("sdk", "builds", "environments", "cache", "work"):
        (data_dir / name).mkdir(parents=True, exist_ok=True)
        (data_dir / name).chmod(0o755)
    for left in (data_dir / "work").iterdir():  # of a worker that was killed
        shutil.rmtree(left, ignore_errors=True)
    place = sdk.install(data_dir / "sdk")
    tidy.used(place)
    for name in ("sdk", "builds", "environments"):
        tidy.prune(data_dir / name)
    return _Place(place, _bundle(options.ca_file, data_dir / "sdk"))


def _bundle(ca_file: Path | None, directory: Path) -> Path | None:
    """Write the system's authorities and ours to one file that sessions may read."""
    if ca_file is None:
        return None
    system = ssl.get_default_verify_paths().cafile
    files = [Path(system)] if system else []
    text = b"\n".join(path.read_bytes() for path in (*files, ca_file))
    target = directory / f"ca-{hashlib.sha256(text).hexdigest()[:16]}.pem"
    if not target.exists():
        fresh = target.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(text)
        fresh.chmod(0o644)
        fresh.replace(target)
    return target


async def _start_zygote(
    options: Options, mode: Mode, package: Path, kind: Kind, ca_file: Path | None = None
) -> Zygote:
    data_dir, prefix = options.data_dir, kind.environment.prefix
    builds, work = data_dir / "builds", data_dir / "work"
    plan = isolation.plan(
        mode,
        data_dir=data_dir,
        private=options.private,
        show=[data_dir / "sdk", prefix, builds],
        write=[] if mode == "mount_namespace" else [work],
    )
    spec = {
        "plan": plan,
        "prefix": str(prefix),
        "builds": str(builds),
        "work": str(work),
        "hashseed": kind.hashseed,
        # What is imported ahead may make its TLS context then; all its sessions have the same file.
        "environ": dict.fromkeys(_CA_VARIABLES, str(ca_file)) if ca_file else {},
    }
    return await Zygote.start(package, spec)


def _slots(given: int) -> int:
    if given:
        return given
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(_SLOTS, free // _SESSION))


async def _report(supervisor: Supervisor) -> None:
    while True:
        await asyncio.sleep(_REPORT)
        supervisor.report()


def _door(config: Config) -> HttpConnectProxyConfig | None:
    """Return the way to an embedded Temporal, which is behind a door; `None` for any other one."""
    if config.temporal_secret is None:
        return None
    credential = TEMPORAL_USER, config.temporal_secret
    return HttpConnectProxyConfig(target_host=config.temporal_address, basic_auth=credential)


@functools.cache
def _runtime() -> Runtime:
    """Return the SDK's core, without its warning at each start that it balances nothing behind a door."""
    usual = TelemetryFilter(core_level="WARN", other_level="ERROR").formatted()
    logging = LoggingConfig(filter=f"{usual},temporal_sdk_bridge::client=error")
    return Runtime(telemetry=TelemetryConfig(logging=logging))


async def _connect(config: Config, name: str) -> Temporal:
    """Connect to Temporal; it may still be starting.

    Raises:
        SetupError: It is the server's embedded one, and is not on this machine.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + _EMBEDDED
    while True:
        try:
            return await Temporal.connect(
                config.temporal_address,
                namespace=config.temporal_namespace,
                identity=name,
                runtime=_runtime(),
                http_connect_proxy_config=_door(config),
            )
        except RuntimeError as error:
            logger.info("temporal.unreachable", address=config.temporal_address, error=type(error).__name__)
            if config.temporal_secret is not None and loop.time() > until:
                raise SetupError(
                    f"the server's Temporal is embedded, at {config.temporal_address} on its own machine, "
                    "and cannot be reached from here; for workers on other hosts start the server with a "
                    "Temporal of your own: --temporal-address HOST:PORT"
                ) from None
            await asyncio.sleep(_RETRY)
