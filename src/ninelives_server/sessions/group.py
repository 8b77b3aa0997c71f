"""Group commit: what arrives while a commit is on its way is the next commit.

One fsync then serves everybody who came meanwhile, and nobody waits for company: an operation that comes
alone is committed alone, at once.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence

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
#: A session is alone that nobody else came between in so many commits.
_ALONE = 8
#: Waits between tries while the database is away. seconds
_RETRIES = (0.05, 0.2, 1.0, 2.0, 5.0)

Told = Callable[[list[tuple[Op, Answer]]], None]


class Group:
    """A queue of operations, and the one task that commits them."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._queue: deque[tuple[Op, Told]] = deque()
        self._arrived = asyncio.Event()
        self._is_committing = False
        # Whose operations came last, and how many times in a row nobody else's came with or between them.
        self._last = ""
        self._streak = 0

    def submit(self, op: Op, told: Told) -> None:
        """Commit an operation with the next unit; `told` gets its answer, with those committed together."""
        self._queue.append((op, told))
        self._arrived.set()

    def submit_at_once(self, ops: Sequence[Op], told: Told) -> None:
        """Do as `submit`, and perhaps now: whoever says so has everything in place for the answers."""
        self._queue.extend((op, told) for op in ops)
        if not self._commit_now():
            self._arrived.set()

    def _commit_now(self) -> bool:
        """Commit what there is before the loop turns, where one session has long been the only one."""
        if self._streak < _ALONE or self._is_committing or self._is_of_others():
            return False
        batch = self._take()
        answers = None
        with contextlib.suppress(Exception):  # it is tried again, and said if it fails again
            answers = self._journal.commit_now([op for op, _ in batch])
        if answers is None:
            self._queue.extendleft(reversed(batch))
            return False
        _tell(batch, answers)
        return not self._queue

    def _is_of_others(self) -> bool:
        return any(op.session_id != self._last for op, _ in self._queue)

    async def run(self) -> None:
        """Commit until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while batch := self._take():
                self._note(batch)
                self._is_committing = True
                answers = await self._commit([op for op, _ in batch])
                self._is_committing = False
                _tell(batch, answers)

    def _note(self, batch: Sequence[tuple[Op, Told]]) -> None:
        whose = {op.session_id for op, _ in batch}
        is_again = whose == {self._last}
        self._streak = self._streak + 1 if is_again else 0
        self._last = whose.pop()

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
