"""Group commit: what arrives while a commit is on its way is the next commit.

One fsync then serves everybody who came meanwhile, and nobody waits for company: an operation that comes
alone is committed alone, at once.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from ninelives_server import log
from ninelives_server.errors import DatabaseAway
from ninelives_server.sessions.journal import Journal
from ninelives_server.sessions.records import Answer, Op, Refused, size_of
from ninelives_server.store import outages

logger = log.get(__name__)

#: Operations of one commit.
LARGEST = 1000
#: Bytes of values of one commit.
LARGEST_BYTES = 8 * 1024 * 1024
#: Waits between tries while the database is away. seconds
_RETRIES = (0.05, 0.2, 1.0, 2.0, 5.0)

Told = Callable[[list[tuple[Op, Answer]]], None]


class Group:
    """A queue of operations, and the one task that commits them."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._queue: deque[tuple[Op, Told]] = deque()
        self._arrived = asyncio.Event()

    def submit(self, op: Op, told: Told) -> None:
        """Commit an operation with the next unit; `told` gets its answer, with those committed together."""
        self._queue.append((op, told))
        self._arrived.set()

    async def run(self) -> None:
        """Commit until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while batch := self._take():
                answers = await self._commit([op for op, _ in batch])
                _tell(batch, answers)

    def _take(self) -> list[tuple[Op, Told]]:
        batch: list[tuple[Op, Told]] = []
        size = 0
        while self._queue and len(batch) < LARGEST and size < LARGEST_BYTES:
            op, told = self._queue.popleft()
            size += size_of(op)
            batch.append((op, told))
        return batch

    async def _commit(self, ops: list[Op]) -> list[Answer]:
        try:
            return await self._until_back(ops)
        except Exception:
            logger.exception("journal.commit_failed", operations=len(ops))
        return [await self._alone(op) for op in ops]

    async def _alone(self, op: Op) -> Answer:
        """Commit one operation by itself, so that it fails nobody else."""
        try:
            return (await self._until_back([op]))[0]
        except Exception:
            logger.exception("journal.operation_failed", session_id=op.session_id)
            return Refused("failed")

    async def _until_back(self, ops: list[Op]) -> list[Answer]:
        """Commit, and wait for a database that is away: no process ends because of it."""
        tries = 0
        while True:
            try:
                return await self._journal.commit(ops)
            except Exception as error:
                if not outages.is_outage(error):
                    raise
                said = str(error) if isinstance(error, DatabaseAway) else type(error).__name__
                logger.warning("journal.database_away", error=said, tries=tries)
                await asyncio.sleep(_RETRIES[min(tries, len(_RETRIES) - 1)])
                tries += 1


def _tell(batch: list[tuple[Op, Told]], answers: list[Answer]) -> None:
    if len(batch) == 1:
        ((op, told),) = batch
        told([(op, answers[0])])
        return
    by_told: dict[Told, list[tuple[Op, Answer]]] = {}
    for (op, told), answer in zip(batch, answers, strict=True):
        by_told.setdefault(told, []).append((op, answer))
    for told, pairs in by_told.items():
        told(pairs)
