"""Background work that must not vanish: where it fails, that is logged, and it is begun again.

What cannot be begun again ends the process instead (`cli.up`), for whoever supervises it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from ninelives_server import log

logger = log.get(__name__)

#: Between a failure and the next beginning. seconds
_PAUSE = 1.0


async def forever(name: str, run: Callable[[], Awaitable[object]], *, pause: float = _PAUSE) -> None:
    """Run something that does not end by itself, again when it does: one bad row must not end it for good."""
    task = asyncio.current_task()
    while True:
        try:
            await run()
        except asyncio.CancelledError:
            if task is not None and task.cancelling():
                raise
            # Nobody wants us to end: something that it waited for was cancelled.
            logger.exception("task.failed", task=name)
        except Exception:  # the root of a task
            logger.exception("task.failed", task=name)
        else:
            logger.error("task.ended", task=name)
        await asyncio.sleep(pause)


@asynccontextmanager
async def kept(name: str, run: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Run something `forever` beside the block, and no longer."""
    task = asyncio.create_task(forever(name, run), name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
