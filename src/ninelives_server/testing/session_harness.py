"""Runs programs in real session processes, with the journal in memory and crashes wherever a test wants them.

A small helper process forks the sessions, as a worker's zygote does; this side plays supervisor and server:
it commits records, answers calls, and kills a session with SIGKILL after any record. So a test can run a
program, kill it after each of its records in turn, let it go on, and compare (`Harness.crash_everywhere`).
"""

import array
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ninelives import arguments
from ninelives.run import semantics, wire
from ninelives.run.wire import Frame
from ninelives_server.testing.session_forker import FORKER
from ninelives_server.testing.session_journal import Journal, Row

__all__ = [
    "Answers",
    "CallError",
    "Harness",
    "Journal",
    "NothingYet",
    "Outcome",
    "Process",
    "Program",
    "Row",
    "Stuck",
]

_SDK = Path(wire.__file__).resolve().parents[2]
#: A session that says nothing for so long is stuck. seconds
_PATIENCE = 60.0

#: Calls that may have to wait for their answer.
WAITS = frozenset({"next_event", "next_signal"})
#: Answers a call of the SDK: gets the arguments, returns a value; `CallError` is what user code gets.
Answers = Mapping[str, Callable[[Mapping[str, Any]], Any]]


class CallError(Exception):
    """An error that a server's answer carries."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class NothingYet(Exception):
    """What an answer raises where a wait has to go on; `mail` has the session ask again."""


class Stuck(AssertionError):
    """A session process said nothing for a long time."""


@dataclass
class Outcome:
    """What one or more processes of a session came to.

    Attributes:
        state: `completed`, `error` or `stopped`; `killed` and `parked` where the process ended before that.
        until: When a parked session is due.
        awaits: What of its inbox a parked session waits for.
        restart: The data of a successor, where the session asked for one.
        waiting: What the session said about whether all its strands wait, in order.
    """

    state: str
    result: Any = None
    error: dict[str, Any] | None = None
    journal: Journal = field(default_factory=Journal)
    until: float | None = None
    awaits: list[str] | None = None
    restart: dict[str, Any] | None = None
    waiting: list[bool] = field(default_factory=list)

    @property
    def prints(self) -> str:
        """What was printed."""
        return self.journal.prints()


@dataclass
class Program:
    """A project directory, and how its session is started."""

    directory: Path
    entrypoint: str = "main.py:main"
    data: Mapping[str, Any] = field(default_factory=dict)
    is_durable: bool = True
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    answers: Answers = field(default_factory=dict)
    connections: Iterable[str] = ()
    event_id: str | None = None
    event_type: str | None = None
    ca_file: str | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    park_after: float | None = None
    check: bool = False
    semantics: int = semantics.CURRENT
    call_limit: int = arguments.LARGEST


class Harness:
    """Starts session processes and plays their server.

    `python` is the interpreter that runs them, `path` what it finds beside its own packages, and `preload`
    names modules that it has loaded before it forks a session, as a worker's zygote has. `sdk` is where the
    package `ninelives` lies, of this release or another one.
    """

    def __init__(
        self,
        python: str = sys.executable,
        *,
        path: Sequence[str] = (),
        preload: Sequence[str] = (),
        sdk: Path = _SDK,
    ) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        #: What sessions that were killed leave behind is gone with it.
        self.temporary = Path(tempfile.mkdtemp(prefix="ninelives-"))
        env = {"PATH": os.environ.get("PATH", ""), "PYTHONHASHSEED": "0", "TMPDIR": str(self.temporary)}
        command = [python, "-B", "-X", "utf8", "-c", FORKER, str(sdk), str(theirs.fileno())]
        command += [os.pathsep.join(path), ",".join(preload)]
        self._forker = subprocess.Popen(
            command, pass_fds=(theirs.fileno(),), env=env, stdin=subprocess.DEVNULL
        )
        theirs.close()
        self._control = ours
        self._killed_after: Row | None = None

    def close(self) -> None:
        """Stop the helper."""
        self._control.close()
        self._forker.wait(10)
        shutil.rmtree(self.temporary, ignore_errors=True)

    # --- running ------------------------------------------------------------------------------------------

    def run(
        self,
        program: Program,
        journal: Journal | None = None,
        *,
        kill_after: int | None = None,
        on_row: Callable[["Process", Row], None] | None = None,
        stay: bool = False,
    ) -> Outcome:
        """Run one process of a session until it ends, parks or is killed.

        Args:
            program: What to run.
            journal: What earlier processes committed.
            kill_after: Kill it when it has committed this many records of its own.
            on_row: Called after each record that is committed, before it is acknowledged.
            stay: Answer `stay` to a session that wants to be parked.
        """
        journal = journal if journal is not None else Journal()
        with self.process(program, journal) as process:
            return process.serve(kill_after=kill_after, on_row=on_row, stay=stay)

    @contextmanager
    def process(self, program: Program, journal: Journal) -> Iterator["Process"]:
        """Start a process of a session; it is killed at the end if it still runs."""
        ours, pid = self.fork(program.directory)
        process = Process(ours, pid, program, journal)
        try:
            process.begin()
            yield process
        finally:
            process.kill()

    def fork(self, directory: Path) -> tuple[socket.socket, int]:
        """Start a session process for the code of a directory; return our end of its socket, and its pid."""
        ours, theirs = socket.socketpair()
        work = directory / ".work" if (directory / ".work").is_dir() else directory
        message = f"{directory}\0{work}".encode()
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))
        self._control.sendmsg([message], [rights])
        theirs.close()
        return ours, int(self._control.recv(64))

    def to_the_end(self, program: Program, journal: Journal) -> Outcome:
        """Run processes of a session until it has ended, waiting through parks."""
        while True:
            outcome = self.run(program, journal)
            if outcome.state != "parked":
                return outcome
            assert outcome.until is not None
            time.sleep(max(0.0, outcome.until - time.time()))

    def crash_everywhere(
        self,
        program: Program,
        *,
        reset: Callable[[], None] | None = None,
        effects: Callable[[], Mapping[str, int]] = dict,
        is_sequential: bool = True,
        twice: bool = False,
    ) -> Outcome:
        """Run a program; then kill it after each of its records in turn, let it go on, and compare.

        What nobody killed is replayed as well: it must come to the same and commit nothing new.

        Args:
            program: What to run.
            reset: Called before each new run, to put the world outside back.
            effects: Says how often what was done to the world outside: as often as without a crash, but for a
                step that may have been under way.
            is_sequential: One step is under way at most, and none when a step has just been committed. A
                program with several strands may print in another order, but must come to the same.
            twice: Kill the second process too, after each of its records in turn.

        Returns:
            What the run without a crash came to.

        Raises:
            AssertionError: A run with a crash came to something else, or printed something else.
        """
        whole = self._run_and_replay(program, reset)
        done = dict(effects())
        for count in range(1, len(whole.journal.rows) + 1):
            again = self._killed_and_continued(program, reset, count)
            same = _facts if is_sequential else _end
            assert same(again) == same(whole), (
                f"killed after record {count}: {same(again)}\n"
                f"expected: {same(whole)}\n{again.journal.in_order()}"
            )
            _check_effects(
                _more_often(effects(), done), count, self._killed_after, is_sequential=is_sequential
            )
            if twice:
                self._crash_again(program, reset, count, same(whole), same)
        return whole

    def _crash_again(
        self,
        program: Program,
        reset: Callable[[], None] | None,
        first: int,
        expected: Mapping[str, Any],
        facts: Callable[[Outcome], Mapping[str, Any]],
    ) -> None:
        """Kill a program after a record, and its second process after each of its own."""
        for second in range(1, 10_000):
            if reset is not None:
                reset()
            journal = Journal()
            self.run(program, journal, kill_after=first)
            outcome = self.run(program, journal, kill_after=second)
            is_over = outcome.state not in {"killed", "parked"}
            found = outcome if is_over else self.to_the_end(program, journal)
            assert facts(found) == expected, f"killed after {first} and {second} more: {facts(found)}"
            if is_over:
                return

    def _killed_and_continued(
        self, program: Program, reset: Callable[[], None] | None, kill_after: int
    ) -> Outcome:
        if reset is not None:
            reset()
        journal = Journal()
        outcome = self.run(program, journal, kill_after=kill_after)
        self._killed_after = max(journal.rows.values(), key=lambda row: row.seq, default=None)
        return self.to_the_end(program, journal) if outcome.state in {"killed", "parked"} else outcome

    def _run_and_replay(self, program: Program, reset: Callable[[], None] | None) -> Outcome:
        if reset is not None:
            reset()
        journal = Journal()
        outcome = self.to_the_end(program, journal)
        before = journal.in_order()
        replayed = self.run(program, journal)
        assert _facts(replayed) == _facts(outcome), f"replay: {_facts(replayed)}\nfirst: {_facts(outcome)}"
        assert journal.in_order() == before, f"a replay added to the journal: {journal.in_order()}"
        return outcome


def _check_effects(extra: Mapping[str, int], count: int, row: Row | None, *, is_sequential: bool) -> None:
    """See that nothing was done twice but what was under way when the process was killed."""
    is_between = row is not None and row.head["track"] == "call" and row.head["status"] != "started"
    most = 0 if is_between else 1
    if not is_sequential:
        most = 3  # as many strands as test programs have
    often = sum(extra.values()) if is_sequential else max(extra.values(), default=0)
    assert often <= most, (
        f"killed after record {count} ({row}), done more often than without a crash: {extra}"
    )


def _end(outcome: Outcome) -> dict[str, Any]:
    return {name: fact for name, fact in _facts(outcome).items() if name in {"state", "result"}}


def _more_often(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """Return what was done more often than before; what was done less often counts too."""
    names = {*now, *before}
    found = {name: now.get(name, 0) - before.get(name, 0) for name in names}
    return {name: difference if difference > 0 else 99 for name, difference in found.items() if difference}


def _facts(outcome: Outcome) -> dict[str, Any]:
    error = outcome.error and {k: outcome.error[k] for k in ("type", "message", "traceback")}
    prints = outcome.journal.prints(in_steps=False)
    facts = {"state": outcome.state, "result": outcome.result, "error": error, "prints": prints}
    return facts if outcome.restart is None else {**facts, "restart": outcome.restart}


class Process:
    """One process of a session, seen from the server."""

    def __init__(self, sock: socket.socket, pid: int, program: Program, journal: Journal) -> None:
        self.pid = pid
        self.journal = journal
        self.own_rows = 0
        self._sock = sock
        self._program = program
        self._outcome = Outcome("killed", journal=journal)
        sock.settimeout(_PATIENCE)

    def begin(self) -> None:
        """Send everything that comes before the session may run."""
        program = self._program
        self.send(
            t="start",
            session_id="ses_test",
            entrypoint=program.entrypoint,
            is_durable=program.is_durable,
            env={**program.env, **program.secrets},
            event={"data": program.data, "event_id": program.event_id, "event_type": program.event_type},
            seed="5eed" * 16,
            secrets=sorted(program.secrets.values()),
            secret_names={value: name for name, value in program.secrets.items()},
            semantics=program.semantics,
            records=len(self.journal.rows),
            tz="UTC",
            ca_file=program.ca_file,
            connections=list(program.connections),
            limits=dict(program.limits),
            park_after=program.park_after,
            check=program.check,
            call_limit=program.call_limit,
        )
        for row in self.journal.in_order():
            self._sock.sendall(wire.encode({"t": "past", "seq": row.seq, **row.head}, row.body))
        self.send(t="go")

    def send(self, **head: Any) -> None:
        """Send a frame."""
        self._sock.sendall(wire.encode(head))

    def kill(self) -> None:
        """Kill it, if it still runs, and what it has started and left behind."""
        for kill in (os.kill, os.killpg):
            with suppress(ProcessLookupError):
                kill(self.pid, signal.SIGKILL)
        self._sock.close()

    def serve(
        self,
        *,
        kill_after: int | None = None,
        on_row: Callable[["Process", Row], None] | None = None,
        stay: bool = False,
    ) -> Outcome:
        """Be the server until the process ends, parks or is killed."""
        while True:
            try:
                frame = wire.receive(self._sock)
            except TimeoutError:
                raise Stuck(f"no frame for {_PATIENCE} s; committed: {self.journal.in_order()}") from None
            except (EOFError, ConnectionResetError):
                return self._outcome
            row = self._take(frame, stay=stay)
            if row is not None:
                self.own_rows += 1
                if on_row is not None:
                    on_row(self, row)
                if kill_after is not None and self.own_rows >= kill_after:
                    return self._outcome
                self._acknowledge(frame, row)
            if self._outcome.state != "killed":
                return self._outcome

    def _take(self, frame: Frame, *, stay: bool) -> Row | None:
        head = frame.head
        match frame.type:
            case "record":
                row = self.journal.put(head, frame.body)
                if row is None:
                    self.send(t="refuse", i=head["i"], reason="different")
                return row
            case "call":
                head["args"] = arguments.unpacked(head["name"], head["args"], frame.body)
                return self._call(head)
            case "park":
                self._park(head, stay=stay)
            case "waiting":
                self._outcome.waiting.append(head["is_waiting"])
            case "checked":
                self._outcome.state = f"check: {head['outcome']}"
                self._outcome.error = head
            case "done":
                self._outcome.state = head["state"]
                self._outcome.error = head["error"]
                found = json.loads(frame.body) if frame.body else None
                restart = head.get("restart")
                self._outcome.restart = restart if restart is None or found is None else found["data"]
                self._outcome.result = found if restart is None else None
                self.send(t="done_ok", i=head["i"])
        return None

    def _acknowledge(self, frame: Frame, row: Row) -> None:
        head = frame.head
        if frame.type == "record":
            self.send(t="ack", i=head["i"], seq=row.seq)
        elif row.head["status"] == "started":
            self.send(t="wait", i=head["i"], until=None, left=None)
        else:
            told = json.loads(row.body)
            self.send(t="answer", i=head["i"], seq=row.seq, value=told.get("value"), error=told.get("error"))

    def _call(self, head: dict[str, Any]) -> Row | None:
        told: dict[str, Any]
        there = None if head["key"] is None else self.journal.call(head["key"])
        if there is not None and there.head["status"] != "started":
            return there
        try:
            told = {"value": self._program.answers[head["name"]](head["args"])}
        except NothingYet:
            return self._wait(head, there)
        except CallError as error:
            told = {"error": {"type": error.kind, "message": str(error)}}
        if head["key"] is None:
            self.send(t="answer", i=head["i"], seq=None, value=told.get("value"), error=told.get("error"))
            return None
        status = "error" if "error" in told else "ok"
        kind = "wait" if head["name"] in WAITS else "step"
        record = {"track": "call", "kind": kind, "name": head["name"], "status": status, "attempt": 1}
        record |= {"strand": head["key"]["strand"], "n": head["key"]["n"], "digest": head["digest"]}
        record |= {"start": head["start"], "end": head["start"], "preview": head.get("preview")}
        return self.journal.put(record, json.dumps(told).encode())

    def _wait(self, head: dict[str, Any], there: Row | None) -> Row | None:
        """Let a wait go on; that it has begun is recorded where it has a key."""
        record = {"track": "call", "kind": "wait", "name": head["name"], "status": "started", "attempt": 1}
        if head["key"] is not None and there is None:
            record |= {"strand": head["key"]["strand"], "n": head["key"]["n"], "digest": head["digest"]}
            return self.journal.put(record, b"{}")
        self.send(t="wait", i=head["i"], until=None, left=None)
        return None

    def _park(self, head: dict[str, Any], *, stay: bool) -> None:
        self.send(t="stay" if stay else "parked", i=head["i"])
        if not stay:
            self._outcome.state = "parked"
            self._outcome.until = head["until"]
            self._outcome.awaits = head.get("awaits")
