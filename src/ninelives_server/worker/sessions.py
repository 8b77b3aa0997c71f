"""One attempt to run a session, from the server's claim to the end of its process.

What a turn ends with is the server's word (`finished`, `parked`, what becomes of a process that died); this
module only sees to it that there is exactly one process and that it is gone afterwards.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ninelives.run import limits, wire
from ninelives_server import log
from ninelives_server.worker import dumps
from ninelives_server.worker.cgroups import Groups
from ninelives_server.worker.client import Client
from ninelives_server.worker.handed import Handed
from ninelives_server.worker.link import Hand
from ninelives_server.worker.relay import Relay
from ninelives_server.worker.tail import Tail
from ninelives_server.worker.zygotes import Bounds, End, Zygote, ZygoteLost

T = TypeVar("T")

logger = log.get(__name__)

#: A process that said its last word, and got its answer, ends by itself within this time. seconds
_LEAVE = 5.0
_SIGKILL = 9
#: How a worker reports a process that it ended because it stops itself; no fault of the session.
SHUTDOWN: dict[str, Any] = {
    "signal": None,
    "exit_code": None,
    "reason": "shutdown",
    "stderr": "",
    "limit": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the server hands out with a session.

    Attributes:
        wall_left: How long it may still take; `None` does not limit it. seconds
        may_decline: The server takes it back as if it had never been handed out; older ones do not.
        must_begin: Its code may run only once the server knows: it is not durable, and runs once.
    """

    session_id: str
    epoch: int
    start: Mapping[str, Any] = field(repr=False)
    build_sha256: str
    requirements: tuple[str, ...]
    records: int
    wall_left: float | None = None
    may_decline: bool = False
    must_begin: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """Which attempt this is."""
        return self.session_id, self.epoch

    @property
    def limits(self) -> Mapping[str, int]:
        """What the session may use, by name (`ninelives.run.limits`)."""
        found: Mapping[str, int] = self.start.get("limits") or {}
        return found

    @classmethod
    def read(cls, head: Mapping[str, Any]) -> "Claim":
        """Read a frame `claimed`."""
        return cls(
            session_id=str(head["sid"]),
            epoch=int(head["ep"]),
            start=head["start"],
            build_sha256=str(head["build_sha256"]),
            requirements=tuple(head.get("requirements") or ()),
            records=int(head.get("records") or 0),
            wall_left=head.get("wall_left"),
            may_decline=bool(head.get("may_decline")),
            must_begin=bool(head.get("must_begin")),
        )


class Stopped(Exception):
    """This worker ended the process itself: it shuts down, lost its server, or was told to."""


class Full(Stopped):
    """This worker runs as many sessions as it may: the server has given it one meanwhile."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a turn ended.

    Attributes:
        name: `finished`, `parked` or `died`.
        until: When a parked session is due; `None` where only its inbox wakes it.
        delay: Seconds until the next start, where it died and is to be tried again; else `None`.
    """

    name: str
    until: str | None = None
    delay: float | None = None


class Running:
    """A session that this worker holds."""

    def __init__(
        self, claim: Claim, client: Client, send: Callable[[bytes], None], hand: Hand | None = None
    ) -> None:
        """Begin to hold it; `hand` where its process is to speak to the server itself."""
        self.claim = claim
        self._client = client
        self._send = send
        loop = asyncio.get_running_loop()
        self.relay = _relay(claim, client, send) if hand is None else Handed(*claim.key, hand)
        self._verdict: asyncio.Future[Outcome] = loop.create_future()
        self._died: bytes | None = None
        self._begin: bytes | None = None
        self._may_begin = asyncio.Event()
        self._was_let_go = False
        self._zygote: Zygote | None = None
        self._tail = Tail()
        self._roots: Sequence[Path] = ()
        self.former: Running | None = None
        self.killed = ""
        self.gone = asyncio.Event()

    @property
    def key(self) -> dict[str, Any]:
        """Name and epoch, as frames carry them."""
        return {"sid": self.claim.session_id, "ep": self.claim.epoch}

    @property
    def is_handed(self) -> bool:
        """Whether its process speaks to the server itself, or is going to: it cannot without this link."""
        return isinstance(self.relay, Handed)

    async def run(
        self,
        zygote: Zygote,
        build: Path,
        work: Path | None,
        *,
        ca_file: Path | None = None,
        groups: Groups | None = None,
    ) -> Outcome:
        """Fork the process, run it to its end, and return how the turn ended.

        With `groups` its processes are counted by a control group.

        Raises:
            Stopped: `kill` was called.
        """
        self._roots = (build,) if work is None else (build, work / "session")
        try:
            try:
                start = {**self.claim.start, "t": "start", "ca_file": str(ca_file) if ca_file else None}
                end = await self._process(zygote, build, work, wire.encode(start), groups)
            finally:
                self.gone.set()
                if groups is not None:
                    groups.remove(self._group)
            return await self._conclude(end)
        finally:
            self.relay.close()

    async def fail(self, why: str, *, was_killed: bool = False) -> Outcome:
        """Report that there will be no process, and return what the server makes of it.

        `was_killed`: what it would have been forked from, for no fault of the session.
        """
        return await self._report(End(None, _SIGKILL if was_killed else None, why))

    @property
    def has_begun(self) -> bool:
        """Whether its code may have run. Where that must not be twice, its process waits for `go`."""
        return self._was_let_go if self.claim.must_begin else self._zygote is not None

    def kill(self, why: str) -> None:
        """End the process and all that it started, now."""
        self.killed = self.killed or why
        if self._zygote is not None:
            self._zygote.kill(self.claim.session_id)

    def deliver(self, frame: wire.Frame, raw: bytes) -> None:
        """Take a frame of the server's."""
        if frame.type == "kill":
            self.kill(str(frame.head.get("why") or "killed"))
        elif frame.type == "begun":
            self._begin = None
            self._may_begin.set()
        elif frame.type == "died_ok":
            if not self._verdict.done():
                delay = frame.head.get("delay")
                is_over = frame.head.get("outcome") != "retry"
                self._verdict.set_result(Outcome("died", delay=None if is_over else float(delay or 0)))
        else:
            self.relay.deliver(frame, raw)

    def resend(self) -> None:
        """Send again, over a new link, what has no answer yet."""
        self.relay.resend()
        if self._begin is not None:
            self._send(self._begin)
        if self._died is not None:
            self._send(self._died)

    @property
    def _group(self) -> str:
        return f"{self.claim.session_id}-{self.claim.epoch}"

    def _fork(
        self, zygote: Zygote, build: Path, work: Path | None, groups: Groups | None
    ) -> tuple[asyncio.Future[End], socket.socket, int]:
        """Start the process; return how it ends, our end of its socket, and its output."""
        claim = self.claim
        ours, theirs = socket.socketpair()
        output, theirs_output = os.pipe()
        processes = claim.limits.get(limits.PROCESSES)
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, theirs_output)
            stack.enter_context(theirs)
            group = None
            if groups is not None and processes:  # the first process of its namespace counts, too
                group = stack.enter_context(groups.group(self._group, processes + 1))
            bounds = Bounds(limits=claim.limits, wall_left=claim.wall_left, group=group)
            ended = zygote.fork(claim.session_id, build, work, theirs, theirs_output, bounds)
        return ended, ours, output

    async def _process(
        self, zygote: Zygote, build: Path, work: Path | None, start: bytes, groups: Groups | None
    ) -> End:
        self._zygote = zygote
        ended, ours, output = self._fork(zygote, build, work, groups)
        if self.claim.must_begin:  # while the process gets ready
            self._begin = wire.encode({"t": "begin", **self.key})
            self._send(self._begin)
        await self.relay.attach(ours)
        await self._tail.attach(output)
        feed = asyncio.create_task(self._feed(start))
        watch = asyncio.create_task(self._leave())
        try:
            end = await self._await_end(ended)
            feed.cancel()
            await asyncio.wait({feed})
            await self.relay.left()  # what it sent before it ended is in the socket still
            await self._tail.ended(patience=1.0)
            return end
        finally:
            for task in (feed, watch):
                task.cancel()
            await asyncio.gather(feed, watch, return_exceptions=True)
            self._tail.close()

    async def _await_end(self, ended: asyncio.Future[End]) -> End:
        try:
            return await asyncio.shield(ended)
        except ZygoteLost:
            return End(None, _SIGKILL, "the interpreter that it was forked from was killed")
        except asyncio.CancelledError:
            self.kill("cancelled")
            with contextlib.suppress(ZygoteLost):
                await ended
            raise

    async def _feed(self, start: bytes) -> None:
        """Give the process its start document and its journal."""
        claim = self.claim
        await self.relay.give(start)
        if claim.records:
            try:
                async for piece in self._client.journal(claim.session_id, claim.epoch):
                    await self.relay.give(piece)
            except Exception as error:  # noqa: BLE001  # the root of a task
                logger.warning("journal.lost", session_id=claim.session_id, error=type(error).__name__)
                self.relay.broken = "its journal could not be read from the server"
                self._kill_process()
                return
        if claim.must_begin:
            await self._may_begin.wait()
            if self.killed:  # whoever had it killed may give it to somebody else: nothing of it has run
                return
        self._was_let_go = True
        await self.relay.let_go()

    def _kill_process(self) -> None:
        if self._zygote is not None:
            self._zygote.kill(self.claim.session_id)

    async def _leave(self) -> None:
        """See to it that a process leaves that has said its last word, or says nonsense."""
        said: list[asyncio.Future[Any]] = [self.relay.final, self.relay.closed]
        await asyncio.wait(said, return_when=asyncio.FIRST_COMPLETED)
        if not self.relay.broken:
            await asyncio.sleep(_LEAVE)
        self._kill_process()

    async def _conclude(self, end: End) -> Outcome:
        final = self.relay.final
        if self.killed and not final.done():
            raise Stopped(self.killed)
        if not final.done():
            # What it said last may be on its way; a death is reported after all that the process said.
            settled = asyncio.create_task(self.relay.settled())
            await self.unless_killed(settled)
        if final.done():
            name, until = final.result()
            return Outcome(name, until=until)
        return await self._report(end)

    async def _report(self, end: End) -> Outcome:
        self._begin = None
        text = dumps.readable(self.tail(), self._roots)
        why = self.relay.broken or end.why
        head = {
            "t": "died",
            **self.key,
            "signal": end.signal,
            "exit_code": end.code,
            "reason": why,
            "stderr": text,
            "limit": end.limit,
        }
        logger.warning(
            "session.died", **self.key, signal=end.signal, exit_code=end.code, reason=why, limit=end.limit
        )
        self._died = wire.encode(head)
        self._send(self._died)
        return await self.unless_killed(asyncio.shield(self._verdict))

    async def report_shutdown(self) -> None:
        """Tell the server that this worker ended the process, and wait for its answer."""
        self._died = wire.encode({"t": "died", **self.key, **SHUTDOWN})
        self._send(self._died)
        await self._verdict

    def lost(self) -> None:
        """Learn that the link is broken."""
        if self.is_handed:
            self.kill(SHUTDOWN["reason"])
        self.relay.lost()

    async def unless_killed(self, future: "asyncio.Future[T]") -> T:
        """Wait for something; it is given up where the session is killed meanwhile.

        Raises:
            Stopped: `kill` was called before there was a result.
        """
        try:
            while not future.done():
                if self.killed:
                    raise Stopped(self.killed)
                await asyncio.wait({future}, timeout=0.5)
            return future.result()
        finally:
            future.cancel()

    def tail(self) -> str:
        """Return the last lines of the process's output, without the secrets that it was given."""
        text = self._tail.text()
        for secret in self.claim.start.get("secrets") or ():
            if secret:
                text = text.replace(secret, "***")
        return text


def _relay(claim: Claim, client: Client, send: Callable[[bytes], None]) -> Relay:
    return Relay(
        *claim.key,
        send=send,
        upload=lambda value: client.put_blob(value, *claim.key),
        download=lambda name: client.blob(name, *claim.key),
    )
