"""What all parts of a session's process share, and how records are written and compared.

One `Core` exists in a process that runs a durable session. The parts (`steps`, `waits`, `values`, `output`,
…) each take it and add one thing; none of them knows another.
"""

import json
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, Final, NoReturn, Protocol

from ninelives.errors import Divergence, LiveValueLost, Stopped
from ninelives.run import calltable, changes, wire
from ninelives.run.classify import Classifier
from ninelives.run.codec import Codec
from ninelives.run.digest import Digests
from ninelives.run.link import EXIT_LOST, Link
from ninelives.run.masking import Masks
from ninelives.run.past import Past, Record
from ninelives.run.preview import Previews
from ninelives.run.scope import Strand
from ninelives.run.tracebacks import Formatter
from ninelives.run.turns import Entry, Lane, Turns
from ninelives.run.wire import Frame

#: The name of the record that raises `Stopped`, and its key's `n` in strand `0` is where.
STOP: Final = "ninelives.Stopped"
#: The name of the record of a time-out of a lock.
TIMEOUT: Final = "threading.timeout"
STARTED: Final = "started"
ABANDONED: Final = "abandoned"

#: Of the arguments of a call that differ. characters
_SHOWN = 300
#: Errors that are looked through for one of a value that was lost.
_DEPTH = 10

_wall = time.time


class ReachesOut(Protocol):
    """An event loop of user code (`loops`)."""

    @property
    def reaches_out(self) -> bool:
        """Whether it waits for a socket or a pipe of user code."""
        ...


class Core:
    """The session's process, seen from inside.

    Attributes:
        main: Strand `0`.
        last_seq: Of the newest record that was acknowledged.
        end_with: Ends the session with an error, at once.
        on_idle: Called when nobody can go on.
        cancel_main: Cancels the task that strand `0` waits for.
        on_unanswered: Called before a call that the journal cannot answer is made.
        flush_output: Called with a strand before it takes a key.
        replay_seconds: How long it took until the journal could not answer any more.
        serving: Threads that serve processes of user code, whose work a park would lose.
        loops: Event loops that user code has run; one may be waiting for an answer that is no step's.
        has_processes: User code has begun to have work done by other processes.
        is_at_work: Tells whether one of them lives.
    """

    def __init__(
        self, *, link: Link, past: Past, masks: Masks, classifier: Classifier, seed: str, session_id: str
    ) -> None:
        self.link: Final = link
        self.past: Final = past
        self.masks: Final = masks
        self.classifier: Final = classifier
        self.seed: Final = bytes.fromhex(seed)
        self.session_id: Final = session_id
        self.turns = Turns(self._idle)
        self.digests = Digests(masks, classifier.is_user_class, calltable.HINTS)
        self.previews = Previews(masks)
        self.formatter = Formatter(classifier.build_dir, classifier.is_user_file)
        self.codec = Codec(masks, classifier.is_user_file)
        self.digests.is_kept = lambda value: changes.is_kept(value, self.codec)
        self.main: Final = Strand("0", past)
        self.last_seq = past.last_seq
        self.end_with: Callable[[BaseException], NoReturn] = _cannot_end
        self.on_idle: Callable[[], None] = _nothing
        self.cancel_main: Callable[[], None] = _nothing
        self.on_unanswered: Callable[[], None] = _nothing
        self.flush_output: Callable[[Strand], None] = _nothing_of
        self.replay_seconds = 0.0
        self.serving: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        self.loops: weakref.WeakSet[ReachesOut] = weakref.WeakSet()
        self.has_processes = False
        self.is_at_work: Callable[[], bool] = _is_not
        self._began = time.monotonic()
        self._is_replaying = past.count > 0
        self._stop: Entry | None = None
        self._lanes = threading.local()
        self.main_lane = self.adopt_thread(self.turns.first_lane())
        self._expect_stop()

    # --- lanes ------------------------------------------------------------------------------------------

    def adopt_thread(self, lane: Lane) -> Lane:
        """Make the calling thread a lane."""
        self._lanes.lane = lane
        return lane

    def forget_thread(self) -> None:
        """Make the calling thread no lane any more."""
        self._lanes.lane = None

    def lane(self) -> Lane | None:
        """Return the lane of the calling thread, if it is one."""
        return getattr(self._lanes, "lane", None)

    def own_lane(self) -> Lane:
        """Return the lane of the calling thread, which is one because it runs a strand."""
        lane: Lane = self._lanes.lane
        return lane

    def _idle(self) -> None:
        self.on_idle()

    # --- keys -------------------------------------------------------------------------------------------

    def take(self, strand: Strand, *, for_timeout: bool = False) -> tuple[int, Record | None]:
        """Take a strand's next key, and the record that earlier processes left there.

        Where other processes work for user code, a time-out has a record only where it was blocked for long:
        that of one which is not blocked this time is passed over.

        Raises:
            Stopped: The session was stopped here.
        """
        self.flush_output(strand)
        n = strand.take()
        record = strand.calls.pop(n, None)
        while record is not None and record.name == TIMEOUT and self.has_processes and not for_timeout:
            n = strand.take()
            record = strand.calls.pop(n, None)
        if record is not None and record.name == STOP:
            self._raise_stop(strand)
        if strand.stop_n is not None and n > strand.stop_n:
            # The stop has a key; the call that gives way to it has none, on this run as on a replay.
            strand.give_back()
            self._raise_stop(strand)
        if record is None or record.status == STARTED:
            self.on_unanswered()
        if self._is_replaying and record is None:
            self._is_replaying = False
            self.replay_seconds = time.monotonic() - self._began
        return n, record

    def compare(
        self,
        record: Record,
        strand: Strand,
        n: int,
        kind: str,
        name: str,
        digest: bytes,
        given: tuple[tuple[Any, ...], Mapping[str, Any]] | None = None,
    ) -> None:
        """End the session unless a record is of the call that is made now, of what it is `given`."""
        if record.name == name and record.digest == digest.hex() and record.kind == kind:
            return
        if (lost := _lost_on_the_way()) is not None:
            self.end_with(lost)  # the first run had the value here: that is what the user has to know
        if record.name == name:
            what = f"{name} was called with other arguments"
            if given is not None:
                now = json.dumps(self.previews.of_args(*given), ensure_ascii=False)
                what += f" than now ({now[:_SHOWN]}); `ninelives session steps` shows those of then"
        else:
            what = f"the journal has {record.name}, the code now calls {name}"
        file, line = self._user_line()
        place = f", {file}:{line}" if file else ""
        about = {"seq": record.seq, "strand": strand.name, "n": n, "recorded": record.name, "called": name}
        self.end_with(
            Divergence(
                f"the code does not do what it did before: at record {record.seq} (strand {strand.name}, "
                f"number {n}{place}) {what}; run this session with the build it was started with, or make "
                "what the code does depend on recorded values only",
                {**about, "file": file, "line": line},
            )
        )

    def _user_line(self) -> tuple[str | None, int | None]:
        """Return the file, as in the project, and the line of the user's that runs now."""
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            file = frame.f_code.co_filename
            if self.classifier.is_user_file(file):
                return file.removeprefix(self.classifier.build_dir.rstrip("/") + "/"), frame.f_lineno
            frame = frame.f_back
        return None, None

    # --- records ----------------------------------------------------------------------------------------

    def head(
        self, track: str, strand: str, n: int, kind: str, name: str, status: str, began: float
    ) -> dict[str, Any]:
        """Return the head of a record's frame, to be added to."""
        return {
            "t": "record",
            "track": track,
            "strand": strand,
            "n": n,
            "kind": kind,
            "name": name,
            "status": status,
            "attempt": 1,
            "start": began,
            "end": _wall(),
        }

    def commit(self, head: dict[str, Any], body: bytes) -> int:
        """Send a record and wait until it is committed; return its `seq`."""
        return self.acknowledged(self.link.ask(head, body))

    def send(
        self, head: dict[str, Any], body: bytes, entry: Entry | None = None, *, ends: bool = True
    ) -> None:
        """Send a record; once it is committed, `entry` has arrived, and its step has ended."""

        def answer(frame: Frame) -> None:
            seq = self.acknowledged(frame)
            if entry is not None:
                self.turns.arrived(entry, seq, was_executing=ends)

        self.link.post(head, answer, body)

    def acknowledged(self, frame: Frame) -> int:
        """Return the `seq` of an acknowledgement; a refusal ends this process."""
        if frame.type == "refuse":
            refused(frame)
        seq: int = frame.head["seq"]
        self.last_seq = max(self.last_seq, seq)
        return seq

    # --- stopping ---------------------------------------------------------------------------------------

    def stop(self, reason: str) -> None:
        """Have `Stopped` raised in strand `0`; called in the link's thread, perhaps more than once."""
        if self._stop is not None:
            return
        self._stop = self._stop_entry()
        n = self.main.take_for_stop()
        head = self.head("call", self.main.name, n, "wait", STOP, "fired", _wall())
        head["preview"] = {"args": [self.masks.text(reason)]} if reason else None
        entry = self._stop
        self.link.post(head, lambda frame: self._stop_committed(entry, frame), b"")

    def _stop_entry(self) -> Entry:
        """Return what ends a wait of strand `0`; where that is an event loop, its main task is cancelled."""
        entry = Entry(self.main_lane, is_stop=True)

        def deliver() -> None:
            self.is_stop(entry)
            self.cancel_main()

        entry.deliver = deliver
        return entry

    def _stop_committed(self, entry: Entry, frame: Frame) -> None:
        self.turns.arrived(entry, self.acknowledged(frame), was_executing=False)

    def _expect_stop(self) -> None:
        """Raise a stop of an earlier process where it was raised."""
        found = self.past.by_name(self.main.name, STOP)
        if found is not None:
            self._stop = self._stop_entry()
            self.turns.expect(self._stop, found[1].seq)

    @property
    def was_stopped(self) -> bool:
        """Whether a stop was asked for, now or in an earlier process."""
        return self._stop is not None

    def is_stop(self, entry: Entry | None) -> bool:
        """Tell whether it was a stop that ended a wait; its key is taken then."""
        if entry is None or not entry.is_stop:
            return False
        if self.main.stop_n is None:
            self.main.take()  # a replay: the key that the first run took for it
        self.main.stop_n = None
        return True

    def _raise_stop(self, strand: Strand) -> NoReturn:
        strand.stop_n = None
        if self._stop is not None:
            self._stop.is_over = True
        raise Stopped("the session was stopped")


def _lost_on_the_way() -> LiveValueLost | None:
    """Return the error that the code is handling, where a replay alone has it."""
    error = sys.exc_info()[1]
    for _ in range(_DEPTH):
        if error is None or isinstance(error, LiveValueLost):
            return error
        error = error.__cause__ or error.__context__
    return None


def stopped() -> Stopped:
    """Return what a stop raises."""
    return Stopped("the session was stopped")


def refused(frame: Frame) -> NoReturn:
    """End this process: somebody else runs the session, or it has ended."""
    reason = frame.head.get("reason")
    os.write(2, f"ninelives: the server refused a record ({reason}); this process ends\n".encode())
    os._exit(EXIT_LOST)


def too_large(name: str, body: bytes) -> ValueError | None:
    """Return the error for a value that no record takes."""
    if len(body) <= wire.VALUE_LIMIT:
        return None
    return ValueError(
        f"step {name} returned {len(body)} bytes; a step's value may have {wire.VALUE_LIMIT}: write it to a "
        "file service and return where it is, or return it in parts"
    )


def _nothing() -> None:
    pass


def _is_not() -> bool:
    return False


def _nothing_of(_strand: Strand) -> None:
    pass


def _cannot_end(error: BaseException) -> NoReturn:
    raise error
