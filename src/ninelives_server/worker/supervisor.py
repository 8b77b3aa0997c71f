"""Everything that a worker runs: claims sessions, finds their build, environment and zygote, and runs them.

The server gives it sessions over the link, and activities (`activity`) ask it to run one. The link also
brings the server's other frames.
"""

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ninelives.run import semantics, wire
from ninelives.run.confine import Mode
from ninelives_server import log
from ninelives_server.errors import Invalid, SetupError
from ninelives_server.worker.ahead import Ahead
from ninelives_server.worker.builds import Builds
from ninelives_server.worker.cgroups import Groups
from ninelives_server.worker.checks import Checker
from ninelives_server.worker.client import Client, Refused
from ninelives_server.worker.environments import Environment, Environments
from ninelives_server.worker.link import Hand
from ninelives_server.worker.pool import Zygotes
from ninelives_server.worker.sessions import SHUTDOWN, Claim, Full, Outcome, Running, Stopped
from ninelives_server.worker.zygotes import ZygoteLost

logger = log.get(__name__)

#: Steps in hand have this long when the worker stops. seconds
GRACE = 10.0
#: A worker without a link for this long must not go on: its sessions run elsewhere by then. seconds
LINK_PATIENCE = 30.0
#: The server's answer to the last word of a worker that stops is not waited for longer. seconds
_FAREWELL = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """How the worker introduces itself."""

    worker_id: str
    name: str
    slots: int
    isolation: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What sessions are made of.

    Attributes:
        work: Where sessions' working directories are made in which mounts cannot do it.
        ca_file: Certificates that sessions trust; `None` leaves them the system's.
        groups: Counts sessions' processes, where the system lets us.
    """

    client: Client
    builds: Builds
    environments: Environments
    zygotes: Zygotes
    work: Path
    ca_file: Path | None = None
    groups: Groups | None = None


@dataclass(slots=True)
class Preparing:
    """A session whose environment is being made; kept while it runs, to be told again over a new link.

    Attributes:
        said: What uv has said so far; empty where another session of the same build passes it on.
    """

    claim: Claim
    said: str = ""
    is_over: bool = False

    def is_for(self, build_sha256: str) -> bool:
        """Tell whether it still waits for what this build needs."""
        return not self.is_over and self.claim.build_sha256 == build_sha256

    @property
    def frame(self) -> bytes:
        """The frame that tells how it stands."""
        packages = 0 if self.is_over else len(self.claim.requirements)
        head = {"t": "preparing", "sid": self.claim.session_id, "ep": self.claim.epoch, "packages": packages}
        return wire.encode(head, self.said.encode())


class Supervisor:
    """Runs the sessions of one worker. It is the link's peer."""

    def __init__(self, identity: Identity, parts: Parts, *, link_patience: float = LINK_PATIENCE) -> None:
        self._identity = identity
        self._parts = parts
        self._patience = link_patience
        self._running: dict[str, Running] = {}
        self._claims: dict[str, tuple[bytes, asyncio.Future[Running | None]]] = {}
        self._preparing: dict[str, Preparing] = {}
        self._send: Callable[[bytes], None] = lambda _: None
        self._hand: Callable[[], Hand | None] = lambda: None
        self._watchdog: asyncio.TimerHandle | None = None
        self._left = asyncio.Event()
        self._given: set[asyncio.Task[None]] = set()
        self._checker = Checker(
            parts.builds, parts.environments, parts.zygotes, identity.isolation, self._transmit
        )
        self._ahead = Ahead(parts.environments, self._transmit)
        #: Called when a session that we were given has left.
        self.on_room: Callable[[], None] = lambda: None
        self.is_stopping = False

    def connect(self, send: Callable[[bytes], None], hand: Callable[[], Hand | None] = lambda: None) -> None:
        """Say where frames go, and what hands processes to the server; the watch over the link begins."""
        self._send = send
        self._hand = hand
        self.lost()

    @property
    def slots(self) -> int:
        """How many sessions may run at once."""
        return self._identity.slots

    @property
    def room(self) -> int:
        """How many sessions more may run now."""
        if self.is_stopping:
            return 0
        return self.slots - len(self._running) - len(self._claims)

    @property
    def not_given(self) -> int:
        """How many places are not taken by sessions that the server has given us."""
        return self.slots - len(self._given)

    @property
    def session_ids(self) -> list[str]:
        """Sessions that this worker holds."""
        return list(self._running)

    # The link's peer

    def hello(self) -> Mapping[str, Any]:
        """Return the first frame: who we are, and what we still run."""
        who = self._identity
        return {
            "t": "hello",
            "worker_id": who.worker_id,
            "name": who.name,
            "slots": who.slots,
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
            "isolation": who.isolation,
            "release": version("ninelives"),
            "semantics": sorted(semantics.CARRIED),
            "takes": not self.is_stopping,
            "begins": True,
            "sessions": [running.key for running in self._running.values()],
        }

    def report(self) -> None:
        """Tell the server what we run, so that nothing stays with us that we do not."""
        self._send(wire.encode({"t": "runs", "sessions": [r.key for r in self._running.values()]}))

    def resend(self) -> None:
        """Send again what the server has not answered."""
        if self._watchdog is not None:
            self._watchdog.cancel()
        for frame, _ in self._claims.values():
            self._send(frame)
        for preparing in self._preparing.values():
            self._send(preparing.frame)
        for running in self._running.values():
            running.resend()

    def receive(self, frame: wire.Frame, raw: bytes) -> None:
        """Take a frame of the server's."""
        session_id = str(frame.head.get("sid", ""))
        if frame.type.startswith("check"):
            self._checker.receive(frame)
            return
        if frame.type == "expect":
            if not self.is_stopping:
                self._ahead.receive(frame)
            return
        if frame.type in {"claimed", "not_claimed"}:
            self._answer_claim(session_id, frame)
            return
        running = self._running.get(session_id)
        if running is not None and frame.head.get("ep", running.claim.epoch) == running.claim.epoch:
            running.deliver(frame, raw)

    def lost(self) -> None:
        """Start to count the time without a link."""
        self._left.set()
        self._checker.forget()
        for running in self._running.values():
            running.lost()
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._watchdog = asyncio.get_running_loop().call_later(self._patience, self._despair)

    def _despair(self) -> None:
        if self._running:
            logger.warning("link.given_up", after_s=self._patience, sessions=len(self._running))
        for running in self._running.values():
            running.kill("no link to the server")

    def _answer_claim(self, session_id: str, frame: wire.Frame) -> None:
        claim = Claim.read(frame.head) if frame.type == "claimed" else None
        if claim is not None and frame.head.get("is_given") and not self.is_stopping:
            self._take(claim)
            return
        _, answer = self._claims.pop(session_id, (b"", None))
        if answer is None or answer.done() or self.is_stopping:
            if claim is not None:
                self._decline(claim)
            if answer is not None and not answer.done():
                answer.set_exception(Stopped("this worker stops"))
        elif frame.head.get("why") == "full":
            answer.set_exception(Full("the server has given this worker all that it has room for"))
        else:
            answer.set_result(None if claim is None else self._hold(claim))

    def _hold(self, claim: Claim) -> Running:
        """Begin to run a session; here, not in a task: the server's next frame may be for it already."""
        running = Running(claim, self._parts.client, self._transmit, self._hand())
        running.former = self._running.get(claim.session_id)
        self._running[claim.session_id] = running
        return running

    def _take(self, claim: Claim) -> None:
        """Run a session that the server gives us."""
        task = asyncio.create_task(self._run_given(self._hold(claim)))
        self._given.add(task)
        task.add_done_callback(self._left_us)

    def _left_us(self, task: asyncio.Task[None]) -> None:
        self._given.discard(task)
        self.on_room()

    async def _run_given(self, running: Running) -> None:
        """Run a session without an activity: what it comes to, the server knows from the link."""
        try:
            await self._run_alone(running)
        except Stopped as stopped:
            logger.info("session.stopped", session_id=running.claim.session_id, why=str(stopped))
        except Exception:  # the root of a task
            logger.exception("session.failed", session_id=running.claim.session_id)
            self._decline(running.claim, has_begun=running.has_begun)

    def _decline(self, claim: Claim, *, has_begun: bool = False) -> None:
        """Give back a session that nobody here wants any more, so that another worker gets it at once."""
        key = {"sid": claim.session_id, "ep": claim.epoch}
        may = claim.may_decline and not has_begun
        self._send(wire.encode({"t": "declined", **key} if may else {"t": "died", **key, **SHUTDOWN}))

    # Running sessions

    async def run(self, session_id: str, activity_id: str, attempt: int) -> Outcome:
        """Claim a session and run it until it ends, parks or dies.

        Raises:
            Stopped: This worker does not run it (any more): it is held elsewhere, was killed, or we stop.
            Full: As many run as may.
        """
        if self.is_stopping:
            raise Stopped("this worker stops")
        if self.room < 1:
            raise Full("this worker has no room")
        running = await self._claim(session_id, activity_id, attempt)
        if running is None:
            return Outcome("not_claimed")
        return await self._run_alone(running)

    async def _run_alone(self, running: Running) -> Outcome:
        """Run a session when its former process is gone, and forget it."""
        try:
            if running.former is not None:
                running.former.kill("superseded")
                await running.former.gone.wait()
                running.former = None
            return await self._run(running)
        finally:
            self._forget(running)

    def _forget(self, running: Running) -> None:
        session_id = running.claim.session_id
        if self._running.get(session_id) is running:
            del self._running[session_id]
            self._preparing.pop(session_id, None)

    def _transmit(self, frame: bytes) -> None:
        self._send(frame)

    async def _claim(self, session_id: str, activity_id: str, attempt: int) -> Running | None:
        """Ask for a session; `None` if the server does not hand it out."""
        head = {"t": "claim", "sid": session_id, "activity_id": activity_id, "attempt": attempt}
        answer: asyncio.Future[Running | None] = asyncio.get_running_loop().create_future()
        self._claims[session_id] = (wire.encode(head), answer)
        self._send(self._claims[session_id][0])
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            running = answer.result() if answer.done() and not answer.exception() else None
            if running is not None:
                self._forget(running)
                self._decline(running.claim)
            answer.cancel()
            raise

    async def _run(self, running: Running) -> Outcome:
        try:
            return await self._start(running)
        except Stopped:
            if running.killed == SHUTDOWN["reason"] and running.has_begun:
                await self._say_farewell(running)
            raise
        except asyncio.CancelledError:
            running.kill("cancelled")
            raise

    async def _start(self, running: Running) -> Outcome:
        claim, parts = running.claim, self._parts
        try:
            # The server may be away for long: by then the session has been killed, and runs elsewhere.
            build = await running.unless_killed(asyncio.create_task(self._build(claim)))
            environment = await self._environment(claim)
            hashseed = str(claim.start.get("hashseed") or "0")
            variables = set(claim.start.get("env") or ())
            zygote = await parts.zygotes.get(environment, hashseed, build, variables)
        except (Invalid, SetupError, Refused, ZygoteLost, OSError) as error:
            logger.warning("session.not_started", session_id=claim.session_id, error=str(error))
            running.gone.set()
            return await running.fail(str(error), was_killed=isinstance(error, ZygoteLost))
        except Stopped:
            running.gone.set()
            raise
        if running.killed:
            running.gone.set()
            raise Stopped(running.killed)
        async with self._workplace(claim, build) as work:
            return await running.run(zygote, build, work, ca_file=parts.ca_file, groups=parts.groups)

    async def _build(self, claim: Claim) -> Path:
        fetch = partial(self._parts.client.build, claim.build_sha256, claim.session_id)
        return await self._parts.builds.ensure(claim.build_sha256, fetch)

    async def _environment(self, claim: Claim) -> Environment:
        """Return a session's environment; the server is told while it is being made."""
        environments = self._parts.environments
        if not claim.requirements or environments.has(claim.requirements):
            return await environments.ensure(claim.requirements)
        preparing = self._preparing[claim.session_id] = Preparing(claim)
        self._send(preparing.frame)
        try:
            return await environments.ensure(claim.requirements, lambda said: self._say(preparing, said))
        finally:
            preparing.is_over = True
            self._send(preparing.frame)

    def _say(self, preparing: Preparing, said: str) -> None:
        """Pass on what uv says; of those that wait for the same, one is enough."""
        sha256 = preparing.claim.build_sha256
        if preparing is next(other for other in self._preparing.values() if other.is_for(sha256)):
            preparing.said = said
            self._send(preparing.frame)

    @contextlib.asynccontextmanager
    async def _workplace(self, claim: Claim, build: Path) -> AsyncIterator[Path | None]:
        """Give the session a copy of its build to work in, where its zygote cannot mount one.

        As there, `home` and `tmp` lie beside it.
        """
        if self._identity.isolation == "mount_namespace":
            yield None
            return
        work = self._parts.work / f"{claim.session_id}-{claim.epoch}"
        try:
            yield await asyncio.to_thread(_copy, build, work)
        finally:
            await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)

    async def _say_farewell(self, running: Running) -> None:
        """Tell the server that we ended the process, so that it need not find out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await running.report_shutdown()

    # Stopping

    async def stop(self, grace: float = GRACE) -> None:
        """Let steps in hand come to their end, within `grace`; then end all processes."""
        self.is_stopping = True
        self._send(wire.encode({"t": "stopping"}))
        await self._ahead.stop()
        for running in self._running.values():
            running.relay.holds_back = True
        await asyncio.gather(*(self._drain(running, grace) for running in list(self._running.values())))
        if self._given:
            await asyncio.wait(self._given, timeout=_FAREWELL)

    async def leave(self) -> None:
        """Tell the server that this worker is no more, and wait a little for it to hang up.

        Without that it would look for a worker that is lost.
        """
        self._left.clear()
        self._send(wire.encode({"t": "bye"}))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await self._left.wait()

    async def _drain(self, running: Running, grace: float) -> None:
        if not running.has_begun:  # it may be installing packages for minutes yet
            running.kill(SHUTDOWN["reason"])
            self._decline(running.claim)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await running.relay.stood_still()
        running.kill(SHUTDOWN["reason"])
        await running.gone.wait()


def _copy(build: Path, work: Path) -> Path:
    shutil.rmtree(work, ignore_errors=True)
    for name in ("home", "tmp"):
        (work / name).mkdir(parents=True)
    return Path(shutil.copytree(build, work / "session", symlinks=True))
