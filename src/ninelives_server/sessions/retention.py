"""Retention: what is old enough goes, a little at a time.

Each project says for how many days it keeps finished sessions, events and logs; 0 is for ever. Never
deleted: a session that has not ended, the cursor of a stream, and an event so young that its source may
still send it again, for its row is what tells the second one from the first.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from ninelives_server import log
from ninelives_server.store import retention, workers
from ninelives_server.store.core import Store, Tx
from ninelives_server.store.retention import Deleted

logger = log.get(__name__)

#: How often. seconds
EVERY = 3600.0
#: Rows of one transaction: no other writer waits for long.
BATCH = 200
#: Salesforce keeps events for three days; a source may repeat what is younger.
YOUNGEST_EVENT = timedelta(days=4)
#: Workers that are lost are remembered for so long.
_WORKERS = timedelta(days=7)
_BREATH = 0.05  # seconds between batches, for others to write


class Retention:
    """Deletes what no project keeps any more."""

    def __init__(self, *, store: Store, audit_days: int, batch: int = BATCH) -> None:
        self._store = store
        self._audit_days = audit_days
        self._batch = batch

    async def run(self) -> None:
        """Sweep every hour, until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.sweep()
            except Exception:  # the root of a task: the next sweep goes on
                logger.exception("retention.sweep_failed")

    async def sweep(self) -> dict[str, int]:
        """Delete all that is due, and return how many rows of each kind."""
        deleted = {"sessions": 0, "logs": 0, "events": 0, "blobs": 0}
        for kept in await self._store.read(retention.periods):
            batch = self._batch
            for kind, delete in (
                ("sessions", partial(retention.delete_sessions, kept=kept, limit=batch)),
                ("logs", partial(retention.delete_logs, kept=kept, limit=batch)),
                ("events", partial(retention.delete_events, kept=kept, youngest=YOUNGEST_EVENT, limit=batch)),
                ("blobs", partial(retention.delete_blobs, kept=kept, limit=batch)),
            ):
                deleted[kind] += await self._repeat(delete)
        days = self._audit_days
        deleted["audit"] = (
            await self._repeat(partial(retention.delete_audit, days=days, limit=self._batch)) if days else 0
        )
        deleted["workers"] = await self._store.write(partial(workers.forget, since=_WORKERS))
        if any(deleted.values()):
            logger.info("retention.swept", **deleted)
        return deleted

    async def _repeat(self, delete: Callable[[Tx], Deleted]) -> int:
        total, more = 0, True
        while more:
            count, more = await self._store.write(delete)
            total += count
            await asyncio.sleep(_BREATH if more else 0)
        return total
