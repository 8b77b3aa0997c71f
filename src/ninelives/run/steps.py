"""Steps: a call is executed once, recorded, and from then on answered from the journal.

key taken -> digest -> in the journal?  yes: wait for its turn, read it back
                                        no:  execute, send, wait until committed, hand out as read back
"""

import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from ninelives.host import Function, Mark
from ninelives.run.asyncsteps import AsyncSteps, is_awaitable
from ninelives.run.codec import Outcome
from ninelives.run.core import STARTED, Core
from ninelives.run.past import Record
from ninelives.run.registry import Registry
from ninelives.run.scope import current
from ninelives.run.stepping import AWAITED, PENDING, Inside, Step, Stepping, handed_out, interruption, passed
from ninelives.run.turns import Entry


class Steps(Stepping):
    """Makes steps of calls."""

    def __init__(self, core: Core, registry: Registry, asynchronous: AsyncSteps) -> None:
        super().__init__(core, registry)
        self._async = asynchronous

    def make(self, fn: Function, name: str, mark: Mark, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function as a step."""
        scope = current.get()
        if scope is None or not scope.records:
            return fn(*args, **kwargs)
        outcome = self._made(self._prepared(scope.strand, Step(fn, name, mark, args, kwargs)))
        if outcome.status == "error":
            # The one place: a first run and a replay show the same traceback.
            raise outcome.value
        return outcome.value

    def _made(self, step: Step) -> Outcome:
        record = step.record
        if record is None or (record.status == STARTED and not step.mark.never):
            return self._execute(step)
        if record.status == STARTED:
            return self._interrupted(step)
        if record.body[:1] in {AWAITED, PENDING}:
            return passed(self._async.later(step, None))
        self._await_turn(record)
        return self._replayed(step, record)

    def _await_turn(self, record: Record) -> None:
        """Wait until a record's answer is handed out."""
        turns = self._core.turns
        if not turns.is_alone:
            lane = self._core.own_lane()
            turns.wait_for(lane, Entry(lane), record.seq)

    def _interrupted(self, step: Step) -> Outcome:
        """Tell user code that a step had started; that it was told is what the step came to."""
        return self._finish(step, interruption(step), is_error=True, attempt=2)

    def _execute(self, step: Step) -> Outcome:
        core = self._core
        if step.mark.never:
            self._announce(step)
        if core.turns.is_alone:
            attempt, value, is_error = self._attempts(step)
            return self._finish(step, value, is_error=is_error, attempt=attempt)
        lane = core.own_lane()
        entry = Entry(lane)
        core.turns.leave(lane, entry)
        attempt, value, is_error = self._attempts(step)
        if not is_error and is_awaitable(value):
            core.turns.come_back(lane)
            return passed(self._async.later(step, value))
        head, outcome = self._record(step, value, is_error=is_error, attempt=attempt)
        core.send(head, outcome.body, entry)
        core.turns.wait(lane)
        return handed_out(outcome, entry.seq)

    def _finish(self, step: Step, value: Any, *, is_error: bool, attempt: int) -> Outcome:
        """Record what a step came to, in the only strand there is, and hand it out."""
        if not is_error and is_awaitable(value):
            return passed(self._async.later(step, value))
        head, outcome = self._record(step, value, is_error=is_error, attempt=attempt)
        seq = self._core.commit(head, outcome.body)
        return handed_out(outcome, seq)

    def _attempts(self, step: Step) -> tuple[int, Any, bool]:
        """Execute a step until it succeeds or may not be tried again; say whether it failed."""
        retry, attempt = step.mark.retry, 1
        inside = Inside(step.strand, step.n, self._core.past)
        token = current.set(inside)
        try:
            while True:
                try:
                    return attempt, self._try(step), False
                except BaseException as error:
                    if attempt > retry.times or not isinstance(error, retry.on):
                        return attempt, error, True
                time.sleep(retry.pause(attempt))
                attempt += 1
        finally:
            current.reset(token)
            inside.end(self._core.flush_output)

    def _try(self, step: Step) -> Any:
        if step.mark.timeout is None:
            return self._call(step)
        return _within(step.mark.timeout, step.name, lambda: self._call(step))


def _within(seconds: float, name: str, call: Callable[[], Any]) -> Any:
    """Call a function in a thread and give up on it after a time; it cannot be ended."""
    found: list[tuple[bool, Any]] = []

    def run() -> None:
        try:
            found.append((True, context.run(call)))
        except BaseException as error:
            found.append((False, error))

    context = copy_context()
    thread = threading.Thread(target=run, name=f"step {name}", daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise TimeoutError(f"step {name} took longer than {seconds} s")
    is_value, value = found[0]
    if is_value:
        return value
    raise value
