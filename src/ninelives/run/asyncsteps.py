"""Steps of coroutine functions: the key is taken by the call, awaiting what it returns is the step.

Several may be under way in one event loop; their answers are handed out one after the other, in the order of
their commits, when the loop has nothing else to do.
"""

import asyncio
import inspect
from collections.abc import Generator
from typing import Any

from ninelives.errors import NotSupported
from ninelives.host import Function, Mark
from ninelives.run.codec import Outcome
from ninelives.run.core import ABANDONED, STARTED
from ninelives.run.digest import SCALARS
from ninelives.run.loops import SessionLoop
from ninelives.run.scope import current
from ninelives.run.stepping import AWAITED, PENDING, Inside, Step, Stepping, handed_out, interruption
from ninelives.run.turns import Entry

_Future = asyncio.Future[None]


class AsyncSteps(Stepping):
    """Makes steps of awaited calls."""

    def make(self, fn: Function, name: str, mark: Mark, /, *args: Any, **kwargs: Any) -> Any:
        """Call a coroutine function; the key is taken now, awaiting what is returned is the step."""
        scope = current.get()
        if scope is None or not scope.records:
            return fn(*args, **kwargs)
        step = self._prepared(scope.strand, Step(fn, name, mark, args, kwargs))
        return self.awaited(step, None)

    def later(self, step: Step, value: Any) -> Any:
        """Return what is awaited for a step whose call, to a plain function, returned `value`."""
        record = step.record
        is_pending = (
            record.body[:1] == PENDING if record is not None and record.body else not _is_coroutine(value)
        )
        return Pending(self, step, value) if is_pending else self.awaited(step, value)

    async def entered(self, step: Step, value: Any) -> Any:
        """Be the step of entering what a call returned, as `async with` does."""
        return await self.awaited(step, value, enter=True)

    async def awaited(self, step: Step, value: Any, *, enter: bool = False) -> Any:
        """Be the step; `value` is what the call returned, where it has been made already."""
        source = None if value is None else _Source(value, enter=enter)
        outcome = await self._made(step, source)
        if outcome.status == "error":
            raise outcome.value
        return outcome.value

    async def _made(self, step: Step, source: "_Source | None") -> Outcome:
        record = step.record
        if record is not None and record.status == STARTED and step.mark.never:
            return await self._interrupted_async(step)
        if record is None or record.status == STARTED:
            return await self._execute_async(step, source)
        if source is not None:
            source.drop()
        if record.status == ABANDONED:
            await asyncio.get_running_loop().create_future()
        await self._await_turn_async(record.seq)
        return self._replayed(step, record._replace(body=_plain(record.body)))

    async def _interrupted_async(self, step: Step) -> Outcome:
        return await self._finish_async(step, interruption(step), is_error=True, attempt=2)

    async def _await_turn_async(self, seq: int) -> None:
        future, entry = self._future_entry()
        self._core.turns.expect(entry, seq)
        await _until(future, entry)

    def _future_entry(self) -> tuple[_Future, Entry]:
        """Return a future of the running loop, and the entry whose handing out completes it."""
        loop = asyncio.get_running_loop()
        if not isinstance(loop, SessionLoop):
            raise NotSupported("steps can be awaited in asyncio's own event loop only; use asyncio.run")
        future: _Future = loop.create_future()

        def deliver() -> None:
            if not future.done():
                future.set_result(None)

        return future, Entry(self._core.own_lane(), lambda: loop.append_ready(deliver))

    async def _execute_async(self, step: Step, source: "_Source | None") -> Outcome:
        core = self._core
        if step.mark.never:
            self._announce(step)
        core.turns.begin()
        try:
            attempt, value, is_error = await self._attempts_async(step, source)
        except asyncio.CancelledError:
            self._abandon(step, b"" if source is None else source.tag)
            raise
        return await self._finish_async(
            step,
            value,
            is_error=is_error,
            attempt=attempt,
            is_begun=True,
            prefix=b"" if source is None else source.tag,
        )

    async def _finish_async(
        self,
        step: Step,
        value: Any,
        *,
        is_error: bool,
        attempt: int,
        is_begun: bool = False,
        prefix: bytes = b"",
    ) -> Outcome:
        head, outcome = self._record(step, value, is_error=is_error, attempt=attempt)
        future, entry = self._future_entry()
        self._core.send(head, prefix + outcome.body, entry, ends=is_begun)
        await _until(future, entry)
        return handed_out(outcome, entry.seq)

    async def _attempts_async(self, step: Step, source: "_Source | None") -> tuple[int, Any, bool]:
        retry, attempt = step.mark.retry, 1
        inside = Inside(step.strand, step.n, self._core.past)
        token = current.set(inside)
        try:
            while True:
                try:
                    called = self._called(step, source, attempt)
                    async with asyncio.timeout(step.mark.timeout):
                        return attempt, await called, False
                except asyncio.CancelledError:
                    raise
                except BaseException as error:
                    if attempt > retry.times or not isinstance(error, retry.on):
                        return attempt, error, True
                await asyncio.sleep(retry.pause(attempt))
                attempt += 1
        finally:
            current.reset(token)
            inside.end(self._core.flush_output)

    def _called(self, step: Step, source: "_Source | None", attempt: int) -> Any:
        """Return what is awaited in an attempt: a further one makes the call anew."""
        if source is None:
            return self._call(step)
        return source.called() if attempt == 1 else source.like(self._call(step)).called()

    def _abandon(self, step: Step, tag: bytes) -> None:
        """Record that the caller of a step was cancelled before the step was done."""
        core = self._core
        core.turns.abandoned()
        head = core.head("call", step.strand.name, step.n, "step", step.name, "abandoned", step.began)
        head["digest"] = step.digest.hex()
        head["preview"] = {"args": core.previews.of_args(step.args, step.kwargs)}
        core.send(head, tag)


class _Source:
    """What a plain function returned to be awaited, or entered."""

    def __init__(self, value: Any, *, enter: bool) -> None:
        self._value = value
        self._enter = enter
        self.tag = AWAITED if _is_coroutine(value) else PENDING

    def called(self) -> Any:
        """Return what is awaited."""
        return self._value.__aenter__() if self._enter else self._value

    def like(self, value: Any) -> "_Source":
        """Return what another call gave, to be awaited or entered as this was."""
        return _Source(value, enter=self._enter)

    def drop(self) -> None:
        """Do not await it: the journal has the answer."""
        close = getattr(self._value, "close", None)
        if _is_coroutine(self._value) and close is not None:
            close()


class Pending:
    """Stands for an object that a library returned to be awaited, or entered with `async with`."""

    def __init__(self, steps: AsyncSteps, step: Step, value: Any) -> None:
        self._steps = steps
        self._step = step
        self._value = value

    def __getattr__(self, name: str) -> Any:
        return getattr(self._value, name)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._steps.awaited(self._step, self._value).__await__()

    async def __aenter__(self) -> Any:
        return await self._steps.entered(self._step, self._value)

    async def __aexit__(self, *error: object) -> Any:
        # A replay has nothing to leave: it was left by the process that entered it.
        return await self._value.__aexit__(*error) if self._value is not None else None


def is_awaitable(value: Any) -> bool:
    """Tell whether what a plain function returned does its work when it is awaited."""
    cls = type(value)
    if cls in SCALARS:
        return False
    return hasattr(cls, "__await__") and not isinstance(value, asyncio.Future | Pending)


def _is_coroutine(value: Any) -> bool:
    return inspect.iscoroutine(value)


def _plain(body: bytes) -> bytes:
    return body[1:] if body[:1] in {AWAITED, PENDING} else body


async def _until(future: _Future, entry: Entry) -> None:
    """Wait for an answer; a cancelled task does not wait for it any more."""
    try:
        await future
    except asyncio.CancelledError:
        entry.is_over = True
        raise
