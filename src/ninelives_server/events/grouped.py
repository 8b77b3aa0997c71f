"""Group commit for callers that come one by one: what arrives while a unit is on its way is the next unit.

Nobody waits for company that is not there: what comes alone is worked on alone, at once. Where a unit fails
as a whole, each of its items is tried by itself, so that a bad one fails nobody else.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from ninelives_server.errors import DatabaseAway

#: Rounds of the event loop from a request that lies at its socket until it is submitted here.
_ROUNDS = 3

T = TypeVar("T")
R = TypeVar("R")


class Grouped(Generic[T, R]):
    """Hands items that arrive together to one call."""

    def __init__(
        self, work: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]], *, largest: int
    ) -> None:
        """Have `work` done on at most `largest` items; it gives for each its result, or its error."""
        self._work = work
        self._largest = largest
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        """Return the result for an item, or raise its error. The work is done even if the caller leaves."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running is None:
            # The task belongs to all callers: what is bound to the first one's context is not its own.
            self._running = asyncio.create_task(self._run(), context=Context())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                for _ in range(_ROUNDS):
                    # What has arrived already comes along; while nothing has, this takes no time.
                    await asyncio.sleep(0)
                taken = self._waiting[: self._largest]
                del self._waiting[: self._largest]
                results = await self._results([item for item, _ in taken])
                for (_, future), result in zip(taken, results, strict=True):
                    _settle(future, result)
        finally:
            self._running = None

    async def _results(self, items: Sequence[T]) -> Sequence[R | Exception]:
        try:
            return await self._work(items)
        except Exception as error:  # noqa: BLE001 - each caller is told
            # A database that is away is away for all of them.
            if len(items) == 1 or isinstance(error, DatabaseAway):
                return [error] * len(items)
        return [(await self._results([item]))[0] for item in items]


def _settle(future: asyncio.Future[R], result: R | Exception) -> None:
    if future.done():  # its caller has left
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
