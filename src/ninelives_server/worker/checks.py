"""Tries code that is not deployed on the journals of sessions, without network, and tells what came of it.

A check is a job of the server's: the code comes over the link, then one session after the other. Processes
are confined as sessions are; they send nothing but their verdict (`ninelives.run.check`).
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ninelives.run import limits, wire
from ninelives.run.confine import Mode
from ninelives_server import log
from ninelives_server.errors import Invalid, SetupError
from ninelives_server.worker import dumps
from ninelives_server.worker.builds import Builds
from ninelives_server.worker.environments import Environments
from ninelives_server.worker.pool import Zygotes
from ninelives_server.worker.tail import Tail
from ninelives_server.worker.zygotes import Bounds, End, Zygote, ZygoteLost

logger = log.get(__name__)

#: How long a replay may take. seconds
_PATIENCE = 60.0
_FAILED = "failed"
#: Of what a process wrote last. characters
_LAST = 500
#: What a verdict says (`ninelives.run.check`), and how long it may be. characters
_SAID = ("outcome", "seq", "strand", "n", "recorded", "called", "file", "line", "message")
_LONGEST = 4000


@dataclass(slots=True)
class _Job:
    """Code to be checked, and the sessions whose journals are coming."""

    build_sha256: str
    requirements: tuple[str, ...]
    bundle: bytearray = field(default_factory=bytearray)
    starts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    pasts: dict[str, bytearray] = field(default_factory=dict)


class Checker:
    """Does what the server's frames `check…` ask for."""

    def __init__(
        self,
        builds: Builds,
        environments: Environments,
        zygotes: Zygotes,
        mode: Mode,
        send: Callable[[bytes], None],
    ) -> None:
        self._builds = builds
        self._environments = environments
        self._zygotes = zygotes
        self._mode = mode
        self._send = send
        self._jobs: dict[str, _Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def receive(self, frame: wire.Frame) -> None:
        """Take a frame; one of a job that is not known any more is dropped."""
        head = frame.head
        if frame.type == "check":
            self._jobs[head["id"]] = _Job(head["build_sha256"], tuple(head["requirements"]))
            return
        job = self._jobs.get(head["id"])
        if job is None:
            return
        match frame.type:
            case "check_build":
                job.bundle += frame.body
            case "check_session":
                job.starts[head["sid"]] = head["start"]
                job.pasts[head["sid"]] = bytearray()
            case "check_past":
                job.pasts[head["sid"]] += frame.body
            case "check_run":
                task = asyncio.create_task(self._answer(head["id"], job, head["sid"]))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case "check_over":
                del self._jobs[head["id"]]

    def forget(self) -> None:
        """Drop all jobs: the server that gave them does not listen any more."""
        self._jobs.clear()

    async def _answer(self, job_id: str, job: _Job, session_id: str) -> None:
        try:
            said = await self._run(f"{job_id}-{session_id}", job, session_id)
        except (Invalid, SetupError, ZygoteLost, OSError) as error:
            said = {"outcome": _FAILED, "message": str(error)}
        except Exception as error:  # the root of a task
            logger.exception("check.failed", session_id=session_id)
            said = {"outcome": _FAILED, "message": f"the check itself failed: {type(error).__name__}"}
        said = {key: _bounded(said.get(key)) for key in _SAID}
        self._send(wire.encode({"t": "checked", "id": job_id, "sid": session_id, **said}))

    async def _run(self, name: str, job: _Job, session_id: str) -> Mapping[str, Any]:
        if self._mode != "mount_namespace":
            raise SetupError("this worker cannot cut off the network: its kernel allows no namespaces")
        start, past = job.starts.pop(session_id), bytes(job.pasts.pop(session_id))
        bundle = job.bundle

        async def fetch() -> bytes:
            return bytes(bundle)

        build = await self._builds.ensure(job.build_sha256, fetch)
        environment = await self._environments.ensure(job.requirements)
        variables = set(start.get("env") or ())
        hashseed = str(start.get("hashseed") or "0")
        zygote = await self._zygotes.get(environment, hashseed, build, variables)
        bounds = Bounds(limits=start.get("limits") or {}, wall_left=_PATIENCE, network=False)
        ours, theirs = socket.socketpair()
        output, theirs_output = os.pipe()
        try:
            ended = zygote.fork(name, build, None, theirs, theirs_output, bounds)
        finally:
            theirs.close()
            os.close(theirs_output)
        ended.add_done_callback(lambda done: done.cancelled() or done.exception())
        frames = b"".join((wire.encode({**start, "t": "start"}), past, wire.encode({"t": "go"})))
        said, text = await _verdict(zygote, name, ours, output, frames)
        if said is not None:
            return said
        await asyncio.wait({ended}, timeout=1.0)
        end = ended.result() if ended.done() and not ended.exception() else End(None, None)
        return {"outcome": _FAILED, "message": _unfinished(end, text, build)}


def _bounded(value: object) -> str | int | None:
    """Return a part of a verdict as the link takes it: project code can write anything for one."""
    if type(value) is int and abs(value) < 2**31:
        return value
    return None if value is None else str(value)[:_LONGEST].encode("utf-8", "replace").decode()


async def _verdict(
    zygote: Zygote, name: str, ours: socket.socket, output: int, frames: bytes
) -> tuple[Mapping[str, Any] | None, str]:
    """Give a process its journal and wait for what it says; without that, return what it wrote last."""
    tail = Tail()
    await tail.attach(output)
    ours.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=ours)
    try:
        async with asyncio.timeout(_PATIENCE + 5):
            writer.write(frames)
            while (frame := await wire.read(reader)).type != "checked":
                pass
            return frame.head, ""
    except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
        await tail.ended(patience=1.0)
        return None, tail.text()
    finally:
        zygote.kill(name)
        tail.close()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def _unfinished(end: End, text: str, build: Path) -> str:
    """Say why code did not come to where its journal ends.

    Args:
        end: How its process ended.
        text: What that wrote last; before it is killed for a limit it writes where its threads stand.
        build: Where its code was.
    """
    if end.limit is not None:
        name = str(end.limit["name"])
        bound = f"{_PATIENCE:g} s" if name == limits.WALL else f"its {name}, {end.limit['limit']}"
        place = dumps.stood(text, [build])
        where = f"; it stood at {place}" if place else ""
        return f"the code does not come to where the journal ends within {bound}{where}"
    how = f"signal {end.signal}" if end.signal is not None else f"exit code {end.code}"
    last = text.strip()[-_LAST:]
    return f"the process ended before its journal did: {end.why or how}" + f"\n{last}" * bool(last)
