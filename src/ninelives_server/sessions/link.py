"""The dialogue with one worker, without its transport: frames in, frames out.

What the database must hold goes through the group commit; claims and tokens, which take longer, are tasks of
their own. The frames are those of `ninelives.run.wire`.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ninelives.run import wire
from ninelives.run.wire import BrokenFrame, Frame
from ninelives_server import log
from ninelives_server.errors import DatabaseAway
from ninelives_server.model.sessions import CARRIED
from ninelives_server.sessions import frames, hello, records
from ninelives_server.sessions.direct import Directs
from ninelives_server.sessions.hello import Hello
from ninelives_server.sessions.journal import Claimed, NotClaimed
from ninelives_server.sessions.needs import Kind
from ninelives_server.sessions.outbox import Outbox
from ninelives_server.sessions.parts import Parts
from ninelives_server.sessions.records import Answer, Call, Op

logger = log.get(__name__)

_AWAY = 0.5  # seconds between questions to a database that is away
#: The first report after a claim may have been sent before it; so many in a row deny a session.
_MISSED = 2
#: Reasons after which a session's process must not go on.
_FATAL = frozenset({"fenced", "limit", "nonsense"})
#: The call that is no operation of the journal's.
_TOKEN = "token"  # noqa: S105  # its name
#: What became of a session for which the database failed us, and only for it.
_NOT_STORED = "the server could not store what it said; the server's log says why"


@dataclass(slots=True)
class Held:
    """A session that this worker runs.

    Attributes:
        activity_id: Of Temporal's activity; `None` where the session was given without one, or the worker
            came back to a server that never knew it.
        missed: How many of the worker's reports in a row did not name it.
        is_sought: Temporal was asked to find it a worker, and may still do so.
    """

    epoch: int
    activity_id: str | None
    missed: int = 0
    is_sought: bool = False


class Greets(Protocol):
    """Takes a worker in (`sessions.links`)."""

    async def __call__(self, link: "Link", hello: Hello) -> None:
        """Take the worker in, and give `link.held` the sessions that it may go on with."""
        ...


class Leaves(Protocol):
    """Lets a worker go that stops (`sessions.links`)."""

    async def __call__(self, link: "Link") -> None:
        """Take from the worker what it may still hold, and have the transport hang up."""
        ...


class Link:
    """One worker's side of the conversation.

    Attributes:
        worker_id: Empty until it has said hello.
        held: What it runs, by session id.
        carried: The versions of the semantics that its release has.
        python: Its minor version of Python; empty until it has said hello.
        slots: How many sessions it runs at once.
        takes: It runs what it is given unasked.
        asks: It never does: a worker of the first release.
        begins: It says when the code of a session that is not durable begins.
        is_closed: The transport must hang up once `outgoing` has been sent.
        outbox: What its transport sends.
        directs: Its sessions' processes that speak to us themselves; `None` where it stands between.
        heard_at: When it last said something, by the event loop's clock; it reports every 2 s.
    """

    def __init__(self, parts: Parts, greet: Greets, leave: Leaves) -> None:
        self.worker_id = ""
        self.held: dict[str, Held] = {}
        self.carried = CARRIED
        self.python = ""
        self.slots = 0
        self.takes = False
        self.asks = False
        self.begins = False
        self.is_closed = False
        self.heard_at = asyncio.get_running_loop().time()
        self._parts = parts
        self._greet = greet
        self._leave = leave
        self.outbox = Outbox()
        self.directs: Directs | None = None
        self._notes = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._returns: set[asyncio.Task[None]] = set()
        self._coming: set[str] = set()
        self._checks: dict[tuple[str, str], asyncio.Future[Mapping[str, Any]]] = {}
        self._expected: set[str] = set()

    # --- transport --------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take one message with any number of frames.

        Raises:
            BrokenFrame: The worker does not speak our language.
        """
        now = self._parts.clock.now()
        self.heard_at = asyncio.get_running_loop().time()
        for frame in wire.decode_all(data):
            match frame.type:
                case "hello" | "runs" | "stopping" | "bye":
                    self._hear_of_worker(frame)
                case "claim":
                    self._start(self._claim(frame))
                case "preparing":
                    self._start(self._prepare(frame))
                case "declined":
                    self._returns.add(self._start(self._take_back(frame)))
                case "checked":
                    self._checked(frame)
                case _:
                    self._do(frames.of_frame(frame, now))

    def _do(self, op: Op) -> None:
        if isinstance(op, Call) and op.name == _TOKEN:
            self._start(self._token(op))
            return
        self._parts.group.submit(op, self._told)

    def _do_all(self, ops: Sequence[Op], *, at_once: bool) -> None:
        """Do what one session has said together, perhaps before this returns."""
        if at_once and not any(isinstance(op, Call) and op.name == _TOKEN for op in ops):
            self._parts.group.submit_at_once(ops, self._told)
        else:
            for op in ops:
                self._do(op)

    def _hear_of_worker(self, frame: Frame) -> None:
        match frame.type:
            case "hello":
                self._start(self._greet(self, hello.of_frame(frame)))
            case "runs":
                self._hear_report(hello.sessions_of(frame))
            case "stopping":
                self.takes = False
                if self.directs is not None:
                    self.directs.stop()
            case "bye":
                self._start(self._say_goodbye())

    async def _say_goodbye(self) -> None:
        """Let the worker go, once what it has given back is nobody's."""
        await asyncio.gather(*self._returns, return_exceptions=True)
        await self._leave(self)

    async def outgoing(self) -> bytes:
        """Wait until there is something to send, and return all of it."""
        return await self.outbox.wait()

    def close(self) -> None:
        """Say nothing more and have the transport hang up."""
        self.is_closed = True
        self.outbox.stir()

    async def end(self) -> None:
        """Stop what is under way; the transport is gone."""
        self.is_closed = True
        for check in self._checks.values():
            if not check.done():
                check.set_exception(ConnectionError("the worker is gone"))
        if self.directs is not None:
            self.directs.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def send(self, kind: str, body: bytes = b"", /, **head: object) -> None:
        """Send a frame, together with whatever else is ready."""
        self.outbox.put(wire.encode({"t": kind, **head}, body))

    def send_to_session(
        self, session_id: str, epoch: int, kind: str, body: bytes = b"", /, **head: object
    ) -> None:
        """Send a frame to a session's process."""
        if self.directs is None or not self.directs.say(session_id, epoch, kind, body, head):
            self.send(kind, body, sid=session_id, ep=epoch, **head)

    def open_directly(self, is_dead: Callable[[], bool] = lambda: False) -> Directs:
        """Have the worker's processes speak to us themselves, until it `is_dead`."""
        parts = self._parts
        self.directs = Directs(
            holds=self.holds,
            take=self._do_all,
            send=self.send,
            keep=parts.keep,
            is_dead=is_dead,
            clock=parts.clock,
        )
        return self.directs

    def holds(self, session_id: str, epoch: int) -> bool:
        """Tell whether the worker was given a session, under this epoch."""
        held = self.held.get(session_id)
        return held is not None and held.epoch == epoch

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._returns.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("link.task_failed", worker_id=self.worker_id, exc_info=error)
            self.close()

    def expect(self, build_id: str, requirements: Sequence[str]) -> None:
        """Have the worker make the environment of a build, if it has none, before a session needs it."""
        if self.takes and not self.is_closed:
            self._expected.add(build_id)
            self.send("expect", build_id=build_id, requirements=list(requirements))

    # --- checks -----------------------------------------------------------------------------------

    def expect_check(self, job: str, session_id: str) -> asyncio.Future[Mapping[str, Any]]:
        """Return the verdict on a session that is about to be asked for; an error if the worker goes."""
        answer: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        if self.is_closed:
            answer.set_exception(ConnectionError("the worker is gone"))
        self._checks[job, session_id] = answer
        return answer

    def _checked(self, frame: Frame) -> None:
        answer = self._checks.pop((str(frame.head["id"]), str(frame.head["sid"])), None)
        if answer is not None and not answer.done():
            answer.set_result(frame.head)

    # --- claims and tokens ------------------------------------------------------------------------

    async def _claim(self, frame: Frame) -> None:
        """Hand out a session that the worker asks for, on behalf of Temporal's activity."""
        session_id = str(frame.head["sid"])
        if not self.worker_id:
            raise BrokenFrame("a worker must say hello before it claims a session")
        if self.takes and self._free < 1:
            # It may not have heard yet of what we give it. Temporal goes on asking, and nobody is overtaken.
            self._parts.crowd.add(session_id)
            self._parts.crowd.seek(session_id)
            answer: Claimed | NotClaimed = NotClaimed("full")
        else:
            answer = await self._claimed(session_id)
        if isinstance(answer, Claimed):
            activity_id = frame.head.get("activity_id")
            await self._hand_out(session_id, answer, str(activity_id) if activity_id else None)
        else:
            until = None if answer.until is None else answer.until.isoformat()
            self.send("not_claimed", sid=session_id, why=answer.why, until=until)

    @property
    def kind(self) -> Kind:
        """What it has."""
        return Kind(self.python, self.carried)

    @property
    def room(self) -> int:
        """How many sessions more the worker may be given."""
        return self._free if self.takes and not self.is_closed else 0

    def has(self, session_id: str) -> bool:
        """Tell whether the worker runs a session, or its claim is under way."""
        return session_id in self.held or session_id in self._coming

    @property
    def _free(self) -> int:
        return self.slots - len(self.held) - len(self._coming - self.held.keys())

    def give(self, session_id: str) -> None:
        """Have the worker run a session that it did not ask for; where it cannot, another one is found."""
        self._coming.add(session_id)
        self._start(self._give(session_id))

    async def _give(self, session_id: str) -> None:
        scheduler, is_sought = self._parts.scheduler, self._parts.crowd.is_sought(session_id)
        # Where the link is gone meanwhile, somebody else may have it.
        then: Callable[[str], None] | None = scheduler.wake
        try:
            answer = await self._claimed(session_id)
            then = None
            if isinstance(answer, Claimed):
                await self._hand_out(session_id, answer, None, is_sought=is_sought)
            elif answer.why in {"parked", "failed"}:
                then = scheduler.ask
        finally:
            if then is not None:
                then(session_id)

    async def _claimed(self, session_id: str) -> Claimed | NotClaimed:
        self._coming.add(session_id)
        crowd = self._parts.crowd
        try:
            await self._parts.prepare(session_id)
            answer = await self._parts.journal.claim(
                self.worker_id, session_id, self.carried, self.python, begins=self.begins
            )
        except Exception:
            # Of this session only, such as a key that is gone: the worker's other sessions go on.
            logger.exception("session.claim_failed", session_id=session_id)
            answer = NotClaimed("failed")
        finally:
            self._coming.discard(session_id)
            crowd.stir()
        if isinstance(answer, NotClaimed) and answer.needs is not None:
            crowd.add(session_id, answer.needs)
            crowd.stir()
        else:
            crowd.forget(session_id)
        return answer

    async def _hand_out(
        self, session_id: str, claimed: Claimed, activity_id: str | None, *, is_sought: bool = False
    ) -> None:
        self.held[session_id] = Held(claimed.epoch, activity_id, is_sought=is_sought)
        if self.is_closed:
            await self._parts.journal.take_back(self.worker_id, session_id, claimed.epoch)
            return
        self.send(
            "claimed",
            sid=session_id,
            ep=claimed.epoch,
            start=claimed.start,
            build_sha256=claimed.build_sha256,
            requirements=list(claimed.requirements),
            records=claimed.records,
            wall_left=claimed.wall_left,
            is_given=activity_id is None,
            may_decline=True,
            must_begin=claimed.must_begin,
        )

    async def _take_back(self, frame: Frame) -> None:
        """Give a session to somebody else whose process the worker has not begun, and will not."""
        session_id, epoch = str(frame.head["sid"]), int(frame.head["ep"])
        held = self.held.get(session_id)
        if held is not None and held.epoch == epoch:
            del self.held[session_id]
            self._parts.crowd.stir()
        await self._parts.journal.take_back(self.worker_id, session_id, epoch)

    async def _prepare(self, frame: Frame) -> None:
        """Note that a session's environment is being made, or not any more; in the order of the frames."""
        head, journal = frame.head, self._parts.journal
        said = frame.body.decode("utf-8", "replace")
        try:
            async with self._notes:
                if head.get("build_id") in self._expected:
                    await journal.prepare_ahead(self.worker_id, str(head["build_id"]), said)
                elif "sid" in head:
                    packages = int(head.get("packages") or 0)
                    await journal.prepare(self.worker_id, str(head["sid"]), int(head["ep"]), packages, said)
        except Exception:
            # It is for people only: the session goes on without.
            logger.exception("session.not_noted", session_id=head.get("sid"), build_id=head.get("build_id"))

    async def _token(self, call: Call) -> None:
        session_id, epoch, i = call.session_id, call.epoch, call.i
        if not self.holds(session_id, epoch):
            self._refuse(session_id, epoch, i, "fenced")
            return
        try:
            value, error = await self._ask_tokens(session_id, call.args)
        except Exception:
            logger.exception("session.token_failed", session_id=session_id)
            value, error = None, {"type": "Transient", "message": "the server failed; its log says why"}
        self.send_to_session(session_id, epoch, "answer", i=i, seq=None, value=value, error=error)

    async def _ask_tokens(
        self, session_id: str, args: Mapping[str, Any]
    ) -> tuple[Any, Mapping[str, str] | None]:
        """Ask until there is a database: user code must not learn that it was away."""
        while True:
            try:
                return await self._parts.tokens(session_id, args)
            except DatabaseAway:
                await asyncio.sleep(_AWAY)

    # --- answers ----------------------------------------------------------------------------------

    def _told(self, answered: list[tuple[Op, Answer]]) -> None:
        try:
            for op, answer in answered:
                self._tell(op, answer)
        except Exception:
            # Its worker comes back and asks again; what other workers asked for is told to them.
            logger.exception("link.answers_lost", worker_id=self.worker_id)
            self.close()

    def _tell(self, op: Op, answer: Answer) -> None:
        session_id, epoch, i = op.session_id, op.epoch, getattr(op, "i", None)
        match answer:
            case records.Acked(seq):
                self.send_to_session(session_id, epoch, "ack", i=i, seq=seq)
            case records.Answered(seq, value, error, body):
                self.send_to_session(
                    session_id, epoch, "answer", body, i=i, seq=seq, value=value, error=error
                )
            case records.Pending(until, left):
                self.send_to_session(
                    session_id, epoch, "wait", i=i, until=records.seconds_of(until), left=left
                )
            case records.Refused(reason):
                self._refuse(session_id, epoch, i, reason)
                self._note_failure(op, reason)
            case records.Parked() | records.Ended():
                self._over(op, answer)
                kind = "parked" if isinstance(answer, records.Parked) else "done_ok"
                self.send_to_session(session_id, epoch, kind, i=i)
            case records.Buried(outcome, delay):
                self._over(op, answer)
                self.send("died_ok", sid=session_id, ep=epoch, outcome=outcome, delay=delay)
            case records.Stay():
                self.send_to_session(session_id, epoch, "stay", i=i)
            case records.Begun():
                self.send("begun", sid=session_id, ep=epoch)

    def _over(self, op: Op, answer: Answer) -> None:
        """Forget a session; where no activity of ours will tell Temporal, do it here."""
        held = self.held.get(op.session_id)
        if held is None or held.epoch != op.epoch:
            return
        del self.held[op.session_id]
        self._parts.crowd.stir()
        if held.activity_id is not None:
            return
        scheduler = self._parts.scheduler
        match answer:
            case records.Parked():
                scheduler.ask(op.session_id)
            case records.Buried("retry", delay):
                asyncio.get_running_loop().call_later(delay, scheduler.wake, op.session_id)
            case _ if held.epoch > 1 or held.is_sought:
                # An earlier turn may have ended in a wait, for which there is a timer.
                scheduler.over(op.session_id)

    def _refuse(self, session_id: str, epoch: int, i: object, reason: str) -> None:
        if i is not None:
            self.send_to_session(session_id, epoch, "refuse", i=i, reason=reason)
        if reason in _FATAL:
            self.kill(session_id, epoch, reason)

    def _note_failure(self, op: Op, reason: str) -> None:
        """Take what broke us for a death of the session's process: it is tried again a few times."""
        if reason == "failed" and isinstance(op, records.Died):
            self.kill(op.session_id, op.epoch, reason)
        elif reason == "failed":
            self.send("kill", sid=op.session_id, ep=op.epoch, why=reason)
            died = records.Died(op.session_id, op.epoch, None, None, _NOT_STORED, "")
            self._parts.group.submit(died, self._told)

    def runs(self, session_id: str, epoch: int) -> bool:
        """Tell whether the worker runs a session: we gave it out, and its reports do not deny it."""
        held = self.held.get(session_id)
        return held is not None and held.epoch == epoch and held.missed < _MISSED

    def _hear_report(self, reported: Mapping[str, int]) -> None:
        for session_id, held in self.held.items():
            held.missed = 0 if reported.get(session_id) == held.epoch else held.missed + 1

    def adopt(self, session_id: str, epoch: int, activity_id: str | None) -> None:
        """Let the worker go on with a session."""
        self.held[session_id] = Held(epoch, activity_id)

    def mail(self, session_id: str) -> None:
        """Tell a session that something has come into its inbox."""
        if (held := self.held.get(session_id)) is not None:
            self.send_to_session(session_id, held.epoch, "mail")

    def kill(self, session_id: str, epoch: int, why: str) -> None:
        """Have a session's process killed with its whole tree."""
        held = self.held.get(session_id)
        if held is not None and held.epoch == epoch:
            del self.held[session_id]
            self._parts.crowd.stir()
        self.send("kill", sid=session_id, ep=epoch, why=why)
