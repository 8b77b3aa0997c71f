"""Waits for events and signals: the server looks into the inbox, and records what it hands out.

asked -> the answer, recorded              -> handed out in its turn
      -> `wait`: nothing there yet         -> in place until there is mail, or parked; then asked again

A wait that is asked for again, by this process or a later one, is the same one: it has a key. Without a key
(inside a step, or in a session that is not durable) it is made in place, and nothing is recorded.
"""

import asyncio
import json
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ninelives.run import core as cores
from ninelives.run.core import STARTED, Core, stopped
from ninelives.run.link import Link, Timer
from ninelives.run.loops import SessionLoop
from ninelives.run.past import Record
from ninelives.run.scope import Scope, Strand
from ninelives.run.turns import Entry
from ninelives.run.waits import Waits
from ninelives.run.wire import Frame

#: Who waits in place asks again after this time, should the word of its mail be lost. seconds
AGAIN = 10.0

_CANCELLED = "cancelled"
_allocate_lock = threading.Lock
_wall = time.time
_now = time.monotonic


class Asked:
    """A wait that the server ends.

    Attributes:
        deadline: When it ends without an answer. seconds since 1970
        topics: What of the inbox it waits for.
        since: When the server said that it has to wait; of the monotonic clock.
        is_over: Nobody waits for it any more.
        told: The answer.
    """

    def __init__(
        self, strand: Strand, n: int, name: str, args: Mapping[str, Any], digest: bytes, entry: Entry
    ) -> None:
        self.strand = strand
        self.n = n
        self.name = name
        self.args = args
        self.digest = digest
        self.entry = entry
        self.topics: Sequence[str] = ()
        self.began = _wall()
        self.deadline = math.inf
        self.since = _now()
        self.is_announced = False
        self.is_asking = False
        self.has_mail = False
        self.is_over = False
        self.told: Mapping[str, Any] | None = None
        self.timer: Timer | None = None


class Mailbox:
    """The waits of a durable session for what comes into its inbox."""

    def __init__(self, core: Core, waits: Waits) -> None:
        self._core = core
        self._waits = waits
        self._open: set[Asked] = set()
        self._lock = _allocate_lock()
        waits.on_stay = self.look

    def wait(self, scope: Scope, name: str, args: Mapping[str, Any], topics: Sequence[str]) -> Any:
        """Wait in the calling thread; return what the answer holds."""
        core, lane = self._core, self._core.own_lane()
        entry = Entry(lane, can_be_stopped=scope.strand is core.main)
        asked, record = self._take(scope.strand, name, args, topics, entry)
        seq = 0
        if (past := _finished(record)) is not None:
            asked.told = json.loads(past.body)
            seq = past.seq
        elif record is None or record.status == STARTED:
            self._ask(asked)
        is_first = seq and core.turns.is_alone and not core.was_stopped
        if not is_first and core.is_stop(core.turns.wait_for(lane, entry, seq)):
            self._give_up(asked)
            raise stopped()
        return asked.told

    def wait_async(self, scope: Scope, name: str, args: Mapping[str, Any], topics: Sequence[str]) -> Any:
        """Return a coroutine that waits; the key is taken now."""
        entry = Entry(self._core.own_lane())
        return self._waiting(*self._take(scope.strand, name, args, topics, entry))

    async def _waiting(self, asked: Asked, record: Record | None) -> Any:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SessionLoop)
        future: asyncio.Future[None] = loop.create_future()

        def fire() -> None:
            if not future.done():
                future.set_result(None)

        asked.entry.deliver = lambda: loop.append_ready(fire)
        if (past := _finished(record)) is not None:
            asked.told = json.loads(past.body)
            self._core.turns.expect(asked.entry, past.seq)
        elif record is None or record.status == STARTED:
            self._ask(asked)
        try:
            await future
        except asyncio.CancelledError:
            self._give_up(asked)
            raise
        return asked.told

    def look(self) -> None:
        """Ask again for everything that is waited for: there may be mail. In the link's thread."""
        with self._lock:
            found = list(self._open)
        for asked in found:
            self._again(asked)

    def _take(
        self, strand: Strand, name: str, args: Mapping[str, Any], topics: Sequence[str], entry: Entry
    ) -> tuple[Asked, Record | None]:
        core = self._core
        n, record = core.take(strand)
        digest = core.digests.of_call(name, (), args)
        if record is not None:
            core.compare(record, strand, n, "wait", name, digest)
        asked = Asked(strand, n, name, args, digest, entry)
        asked.topics = topics
        return asked, record

    # --- asking -------------------------------------------------------------------------------------------

    def _ask(self, asked: Asked) -> None:
        """Ask the server; meanwhile the session is not idle: it is not parked with a question open."""
        core = self._core
        asked.is_asking, asked.has_mail = True, False
        core.turns.begin()
        head = {
            "t": "call",
            "key": {"strand": asked.strand.name, "n": asked.n},
            "name": asked.name,
            "args": dict(asked.args),
            "digest": asked.digest.hex(),
            "start": asked.began,
            "preview": {"args": core.previews.of_args((), asked.args)},
        }
        core.link.post(head, lambda frame: self._heard(asked, frame))

    def _again(self, asked: Asked) -> None:
        with self._lock:
            if asked not in self._open or asked.is_over:
                return
            if asked.is_asking:
                asked.has_mail = True
                return
            asked.is_asking = True
        if asked.timer is not None:
            asked.timer.cancel()
        self._ask(asked)

    def _heard(self, asked: Asked, frame: Frame) -> None:
        """Take the server's word; in the link's thread."""
        if frame.type == "wait":
            self._goes_on(asked, frame)
            return
        seq = self._core.acknowledged(frame)
        with self._lock:
            asked.is_asking = False
            asked.told = frame.head
            self._open.discard(asked)
            is_over = asked.is_over
        self._waits.ended(asked)
        if is_over:
            self._core.turns.abandoned()
            self._give_back(asked)
        else:
            self._core.turns.arrived(asked.entry, seq)

    def _goes_on(self, asked: Asked, frame: Frame) -> None:
        until, left = frame.head.get("until"), frame.head.get("left")
        with self._lock:
            is_new = asked not in self._open
            asked.is_asking, asked.is_announced = False, True
            asked.deadline = math.inf if until is None else until
            is_over, has_mail = asked.is_over, asked.has_mail
            if not is_over:
                self._open.add(asked)
        self._core.turns.abandoned()
        if is_over:
            self._cancelled(asked)
            return
        if is_new:
            asked.since = _now()
        pause = AGAIN if left is None else min(left, AGAIN)
        asked.timer = self._core.link.at(_now() + pause, lambda: self._again(asked))
        self._waits.begun(asked)
        if has_mail:
            self._again(asked)

    # --- giving up ----------------------------------------------------------------------------------------

    def _give_up(self, asked: Asked) -> None:
        """Wait no longer: the session was stopped, or the task cancelled."""
        asked.entry.is_over = True
        with self._lock:
            asked.is_over = True
            is_asking, was_open = asked.is_asking, asked in self._open
            self._open.discard(asked)
        if asked.timer is not None:
            asked.timer.cancel()
        self._waits.ended(asked)
        if is_asking:
            return  # the answer is on its way; what it brings is given back
        if asked.told is not None:
            self._give_back(asked)
        elif was_open:
            self._cancelled(asked)

    def _cancelled(self, asked: Asked) -> None:
        core = self._core
        head = core.head("call", asked.strand.name, asked.n, "wait", asked.name, _CANCELLED, asked.began)
        core.send(head | {"digest": asked.digest.hex(), "preview": None}, b"")

    def _give_back(self, asked: Asked) -> None:
        """Have what was delivered to nobody put back where it was."""
        if asked.told is not None and asked.told.get("value") is not None:
            key = {"strand": asked.strand.name, "n": asked.n}
            self._core.link.post(
                {"t": "call", "key": None, "name": "give_back", "args": key}, lambda _frame: None
            )


def _finished(record: Record | None) -> Record | None:
    """Return the record of a wait that has come to its end."""
    return None if record is None or record.status in {STARTED, _CANCELLED} else record


class PlainMailbox:
    """Waits without a key: made in place, by asking again when there is mail."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._gates: list[Any] = []
        self._lock = _allocate_lock()

    def wait(
        self, name: str, args: Mapping[str, Any], on_wait: Callable[[bool], None] = lambda _is: None
    ) -> Mapping[str, Any]:
        """Wait in the calling thread and return the answer; `on_wait` is told of a wait and of its end."""
        timeout = args.get("timeout")
        deadline = None if timeout is None else _now() + timeout
        gate = _allocate_lock()
        gate.acquire()
        has_waited = False
        with self._lock:
            self._gates.append(gate)
        try:
            while True:
                left = None if deadline is None else max(0.0, deadline - _now())
                again = {**args, "timeout": left}
                frame = self._link.ask({"t": "call", "key": None, "name": name, "args": again})
                if frame.type == "refuse":
                    cores.refused(frame)
                if frame.type != "wait":
                    return frame.head
                if not has_waited:
                    has_waited = True
                    on_wait(True)
                gate.acquire(timeout=AGAIN if left is None else min(left + 0.001, AGAIN))
        finally:
            with self._lock:
                self._gates.remove(gate)
            if has_waited:
                on_wait(False)

    def look(self) -> None:
        """Have everybody ask again: there may be mail. In the link's thread."""
        with self._lock:
            for gate in self._gates:
                if gate.locked():
                    gate.release()
