"""Start zygotes and speak with them: one warm process per environment that forks session processes.

The other side is `ninelives.run.zygote`. What a session says on its own socket is not seen here.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ninelives_server import log
from ninelives_server.errors import SetupError
from ninelives_server.worker import isolation
from ninelives_server.worker.tail import Tail

logger = log.get(__name__)

_PACKET = 65536
#: A zygote that is not ready by then is stuck; a slow machine imports our own modules in a second. seconds
_READY_WITHIN = 60.0
#: What is asked to end has this long; then it is killed. seconds
_GRACE = 2.0


@dataclass(frozen=True, slots=True)
class End:
    """How a session's process ended; both `None` where it never started.

    Attributes:
        why: What kept it from starting.
        limit: The limit for which it was killed: `{name, limit, used}`.
    """

    code: int | None
    signal: int | None
    why: str = ""
    limit: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a session's processes may use.

    Attributes:
        limits: By name (`ninelives.run.limits`).
        wall_left: How long it may still take; `None` does not limit it. seconds
        network: Whether they may use it; without it only where sessions have namespaces.
        group: A descriptor of its control group's `cgroup.procs`; the caller's to close.
    """

    limits: Mapping[str, int] = field(default_factory=dict)
    wall_left: float | None = None
    network: bool = True
    group: int | None = None


class ZygoteLost(Exception):
    """The zygote is gone, and its sessions with it."""


class Zygote:
    """One zygote, as its supervisor sees it.

    It must be started by the thread that lives longest: the kernel kills it when that thread ends.
    """

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self._process = process
        self._control = control
        self._tail = Tail()
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._ends: dict[str, asyncio.Future[End]] = {}
        self._preloads: deque[asyncio.Future[frozenset[str]]] = deque()
        self._preloaded: dict[str, asyncio.Task[frozenset[str]]] = {}
        self._outbox: deque[tuple[bytes, list[int]]] = deque()
        self.is_alive = True
        self._loop.add_reader(control, self._receive)

    @classmethod
    async def start(cls, sdk: Path, spec: Mapping[str, object]) -> "Zygote":
        """Start one and wait until it is confined and warm.

        Raises:
            SetupError: It could not be confined, or its environment does not start.
        """
        ours, theirs = os.pipe()
        try:
            process, control = launch(sdk, spec, output=theirs)
        finally:
            os.close(theirs)
        zygote = cls(process, control)
        await zygote._tail.attach(ours)
        try:
            async with asyncio.timeout(_READY_WITHIN):
                await asyncio.shield(zygote._ready)
        except TimeoutError:
            await zygote.close()
            raise SetupError(f"no interpreter was ready within {_READY_WITHIN:.0f} s") from None
        except ZygoteLost as lost:
            await zygote._tail.ended(patience=1.0)
            said = zygote._tail.text().strip()[-500:]
            raise SetupError(
                f"the interpreter for sessions ended before it was ready: {said or lost}"
            ) from None
        return zygote

    @property
    def pid(self) -> int:
        """The process that we started; the zygote itself is its child where namespaces are used."""
        return self._process.pid

    @property
    def session_count(self) -> int:
        """How many sessions run in it."""
        return len(self._ends)

    def fork(
        self,
        name: str,
        build: Path,
        work: Path | None,
        sock: socket.socket,
        output: int,
        bounds: Bounds | None = None,
    ) -> asyncio.Future[End]:
        """Start a session's process; `sock` and `output` stay the caller's to close.

        Returns:
            How it ends, once it does; `ZygoteLost` if the zygote dies with it.
        """
        ended: asyncio.Future[End] = self._loop.create_future()
        if not self.is_alive:
            ended.set_exception(ZygoteLost("it is gone"))
            return ended
        self._ends[name] = ended
        place = str(work) if work else None
        bounds = bounds or Bounds()
        request: dict[str, object] = {"t": "fork", "id": name, "build": str(build), "work": place}
        request |= {"limits": dict(bounds.limits), "wall_left": bounds.wall_left}
        request["network"] = bounds.network
        fds = [sock.fileno(), output, *([] if bounds.group is None else [bounds.group])]
        self._send(request, [os.dup(fd) for fd in fds])
        return ended

    def kill(self, name: str) -> None:
        """Kill a session's process and all that it started."""
        if name in self._ends and self.is_alive:
            self._send({"t": "kill", "id": name}, [])

    async def preload(self, build: Path, *, imports: bool = True) -> frozenset[str]:
        """Import what a build's sessions may share, and compile its modules, once.

        Args:
            build: The directory.
            imports: Not so where its sessions make each import themselves.

        Returns:
            Names of variables that the imports looked for: a session that has one must be forked elsewhere.
        """
        key = str(build)
        if key not in self._preloaded:
            self._preloaded[key] = self._loop.create_task(self._preload(key, imports))
        return await asyncio.shield(self._preloaded[key])

    async def _preload(self, build: str, imports: bool) -> frozenset[str]:
        answer: asyncio.Future[frozenset[str]] = self._loop.create_future()
        self._preloads.append(answer)
        self._send({"t": "preload", "build": build, "imports": imports}, [])
        return await answer

    async def close(self) -> None:
        """End it and everything below it, and wait for that."""
        if self.is_alive:
            self._loop.remove_reader(self._control)
            with contextlib.suppress(OSError):
                self._control.shutdown(socket.SHUT_RDWR)
        for how in (None, signal.SIGTERM, signal.SIGKILL):
            if how is not None:
                self._process.send_signal(how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, _GRACE)
                break
        self._lose()

    def _send(self, message: Mapping[str, object], fds: list[int]) -> None:
        self._outbox.append((json.dumps(message).encode(), fds))
        if len(self._outbox) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._outbox and self.is_alive:
            data, fds = self._outbox[0]
            try:
                socket.send_fds(self._control, [data], fds)
            except BlockingIOError:
                self._loop.add_writer(self._control, self._flush)
                return
            except OSError:
                self._lose()
                return
            self._outbox.popleft()
            for fd in fds:
                os.close(fd)
        if self.is_alive:
            self._loop.remove_writer(self._control)

    def _receive(self) -> None:
        try:
            data = self._control.recv(_PACKET)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            if self._ready.done():
                logger.warning("zygote.lost", pid=self.pid, output=self._tail.text()[-500:])
            self._lose()
            return
        self._on(json.loads(data))

    def _on(self, message: dict[str, Any]) -> None:
        match message["t"]:
            case "ready":
                self._ready.set_result(None)
            case "failed":
                self._ready.set_exception(ZygoteLost(message["why"]))
            case "preloaded":
                logger.debug("zygote.preloaded", left=message["left"], missed=message["missed"])
                self._preloads.popleft().set_result(frozenset(message["missed"]))
            case "exited":
                end = End(message["code"], message["signal"], message.get("why", ""), message.get("limit"))
                ended = self._ends.pop(message["id"], None)
                if ended is not None and not ended.done():
                    ended.set_result(end)

    def _lose(self) -> None:
        if not self.is_alive:
            return
        self.is_alive = False
        self._loop.remove_reader(self._control)
        self._loop.remove_writer(self._control)
        self._control.close()
        for _, fds in self._outbox:
            for fd in fds:
                os.close(fd)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        lost = ZygoteLost(f"exit status {self._process.returncode}")
        futures: list[asyncio.Future[Any]] = [self._ready, *self._ends.values(), *self._preloads]
        for future in futures:
            if not future.done():
                future.set_exception(lost)
                future.exception()  # nobody may be waiting for it
        self._ends.clear()


def launch(
    sdk: Path, spec: Mapping[str, object], output: int | None = None
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a process that confines itself as `spec` says; return it and our end of its control socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    program = sdk / "ninelives" / "run" / "zygote.py"
    flags = ["-S", "-s", "-P", "-B", "-X", "utf8"]
    command = [isolation.base_python(), *flags, str(program), str(os.getpid()), str(theirs.fileno())]
    environ = {**isolation.clean_environ(), "PYTHONHASHSEED": str(spec.get("hashseed", "0"))}
    with theirs:
        process = subprocess.Popen(
            command,
            env={**environ, **_variables(spec)},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
    ours.send(json.dumps(spec).encode())
    ours.setblocking(False)
    return process, ours


def _variables(spec: Mapping[str, object]) -> Mapping[str, str]:
    given = spec.get("environ")
    return given if isinstance(given, dict) else {}
