"""Real session processes on the real journal: what a worker and Temporal do, in small and with kills.

Every frame of a process goes over a real link into the group commit, and every answer back. A session is
started when the database says that it should run, killed with SIGKILL after any of its commits, and started
again; what is parked has no process.
"""

import asyncio
import os
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from conversation import PYTHON, Scheduler, Tokens
from world import World

from ninelives.run import wire
from ninelives_server.sessions.link import Link
from ninelives_server.sessions.links import Links
from ninelives_server.sessions.service import SessionDetail
from ninelives_server.sessions.stops import Stops
from ninelives_server.sessions.transfer import Transfer
from ninelives_server.store import sweeps
from ninelives_server.testing.session_harness import Harness

PATIENCE = 90.0  # seconds
_COMMITS = frozenset({"ack", "answer", "wait"})


class Stage:
    """Runs sessions of one project directory.

    Attributes:
        kill_after: Kills a session's process once, after so many commits of all its processes.
        commits: How often the journal has answered each session.
        park_after: Longer waits have no process. seconds
        processes: How many processes each session has had.
        kills: How many processes were killed.
    """

    def __init__(self, world: World, harness: Harness, directory: Path) -> None:
        self.world = world
        self.kill_after: dict[str, int] = {}
        self.kill_all_after: int | None = None
        self.park_after = 5.0
        self.commits: dict[str, int] = defaultdict(int)
        self.processes: dict[str, int] = defaultdict(int)
        self.kills = 0
        self._harness = harness
        self._directory = directory
        self._scheduler = Scheduler()
        self._links = Links(
            store=world.store,
            journal=world.journal,
            tokens=Tokens(),
            scheduler=self._scheduler,
            keep=world.keep,
        )
        self._transfer = Transfer(store=world.store, vault=world.vault)
        self._link: Link = self._links.open()
        self._sockets: dict[str, tuple[asyncio.StreamWriter, int, int]] = {}
        self._claims: dict[str, asyncio.Future[wire.Frame]] = {}
        self._turns: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._died: dict[str, asyncio.Future[wire.Frame]] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Stage"]:
        """Run what should run, until left."""
        stops = Stops(store=self.world.store, journal=self.world.journal, links=self._links)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(work)
                for work in (
                    self._links.run(), self._hear(), stops.run(), self._listen("start"), self._listen("work"), self._due()
                )
            ]  # fmt: skip
            self._say("hello", worker_id="wrk_stage", name="stage", slots=9, python=PYTHON, isolation="none")
            try:
                yield self
            finally:
                for task in (*tasks, *self._turns.values()):
                    task.cancel()
                for _, _, pid in self._sockets.values():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def has_process(self, session_id: str) -> bool:
        """Tell whether a process runs this session now."""
        return session_id in self._sockets

    async def ended(self, session_id: str) -> SessionDetail:
        """Wait until a session has ended."""
        return await self.until(session_id, lambda found: found.session.state.is_terminal)

    async def parked(self, session_id: str) -> SessionDetail:
        """Wait until a session is parked, its process gone."""
        return await self.until(
            session_id,
            lambda found: (
                found.session.state == "waiting"
                and found.session.worker_id is None
                and not self.has_process(session_id)
            ),
        )

    async def until(self, session_id: str, is_so: Callable[[SessionDetail], bool]) -> SessionDetail:
        """Wait until a session is as asked for."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = await self.world.sessions.get(self.world.actor, session_id)
            if is_so(found):
                return found
            assert time.monotonic() < deadline, (found, await self.steps(session_id))
            await asyncio.sleep(0.02)

    async def until_steps(self, session_id: str, count: int) -> None:
        """Wait until a session has so many steps and waits, begun or ended."""
        deadline = time.monotonic() + PATIENCE
        while len(found := await self.steps(session_id)) < count:
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.02)

    async def steps(self, session_id: str) -> list[tuple[str, str, str]]:
        """Return a session's steps and waits: strand, name, status."""
        found = await self.world.sessions.steps(self.world.actor, session_id)
        return [(step.strand, step.name, step.status) for step in found if step.kind in {"step", "wait"}]

    async def prints(self, session_id: str) -> str:
        """Return what a session printed."""
        return "".join(p.text for p in await self.world.sessions.prints(self.world.actor, session_id))

    # --- turns ------------------------------------------------------------------------------------

    async def _listen(self, channel: str) -> None:
        with self.world.store.notices.subscribed(channel) as notice:
            while True:
                await notice.wait()
                for session_id in notice.take():
                    self.wake(session_id)

    async def _due(self) -> None:
        """Start parked sessions whose time has come: Temporal's timers."""
        while True:
            at = await self.world.store.read(sweeps.next_wake)
            if at is not None and at.timestamp() <= time.time():
                due = partial(sweeps.should_run, quiet=timedelta(), limit=100)
                for session_id in await self.world.store.read(due):
                    self.wake(session_id)
            await asyncio.sleep(0.05)

    def wake(self, session_id: str) -> None:
        """Have a session run if it should."""
        if session_id in self._turns:
            self._again.add(session_id)
            return
        task = self._turns[session_id] = asyncio.create_task(self._turn(session_id))
        task.add_done_callback(lambda done: self._over(session_id, done))

    def _over(self, session_id: str, task: "asyncio.Task[None]") -> None:
        del self._turns[session_id]
        if not task.cancelled():
            task.result()
            if session_id in self._again:
                self._again.discard(session_id)
                self.wake(session_id)

    async def _turn(self, session_id: str) -> None:
        self._claims[session_id] = asyncio.get_running_loop().create_future()
        self._say("claim", sid=session_id, activity_id="turn", attempt=1)
        claimed = await asyncio.wait_for(self._claims[session_id], PATIENCE)
        if claimed.type != "claimed":
            return
        epoch = int(claimed.head["ep"])
        self.processes[session_id] += 1
        sock, pid = self._harness.fork(self._directory)
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            writer.write(wire.encode({**claimed.head["start"], "park_after": self.park_after}))
            session = await self._transfer.held(session_id, epoch)
            async for piece in self._transfer.journal(session):
                writer.write(piece)
            writer.write(wire.encode({"t": "go"}))
            self._sockets[session_id] = (writer, epoch, pid)
            while (frame := await _received(reader)) is not None:
                if frame.type != "hello":
                    self._link.receive(
                        wire.encode({**frame.head, "sid": session_id, "ep": epoch}, frame.body)
                    )
        finally:
            self._sockets.pop(session_id, None)
            writer.close()
        await self._bury(session_id, epoch)

    async def _bury(self, session_id: str, epoch: int) -> None:
        """Say that a process is gone, and start the session again if it has to be."""
        self._died[session_id] = asyncio.get_running_loop().create_future()
        self._say("died", sid=session_id, ep=epoch, signal=9, exit_code=None, reason="", stderr="")
        frame = await asyncio.wait_for(self._died[session_id], PATIENCE)
        if frame.head["outcome"] == "retry":
            self._again.add(session_id)

    # --- the link ---------------------------------------------------------------------------------

    def _say(self, kind: str, /, **head: Any) -> None:
        self._link.receive(wire.encode({"t": kind, **head}))

    async def _hear(self) -> None:
        while True:
            for frame in wire.decode_all(await self._link.outgoing()):
                self._take(frame)

    def _take(self, frame: wire.Frame) -> None:
        session_id = str(frame.head.get("sid"))
        if frame.type in {"claimed", "not_claimed"}:
            self._claims[session_id].set_result(frame)
        elif frame.type == "died_ok":
            self._died[session_id].set_result(frame)
        elif session_id in self._sockets:
            self._forward(session_id, frame)

    def _forward(self, session_id: str, frame: wire.Frame) -> None:
        writer, epoch, pid = self._sockets[session_id]
        if epoch != frame.head.get("ep"):
            return
        if frame.type in _COMMITS:
            self.commits[session_id] += 1
            if self.commits[session_id] == self.kill_after.get(session_id, self.kill_all_after):
                self.kills += 1
                os.kill(pid, signal.SIGKILL)
                return
        if frame.type == "kill":
            os.kill(pid, signal.SIGKILL)
            return
        writer.write(wire.encode(frame.head, frame.body))


async def _received(reader: asyncio.StreamReader) -> wire.Frame | None:
    try:
        return await wire.read(reader)
    except (asyncio.IncompleteReadError, OSError):
        return None
