"""Looks after connections by itself: tries again what failed, and keeps alive what nobody uses.

An app's policy may end a refresh token that was not used for a while, and a person wants to hear of a dead
grant before the next event does.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from ninelives_server import log
from ninelives_server.connections.health import Health
from ninelives_server.connections.parts import Parts
from ninelives_server.connections.refresh import Refresher
from ninelives_server.errors import NinelivesError
from ninelives_server.model.actors import system
from ninelives_server.model.connections import Connection, ConnectionState
from ninelives_server.store import connections, oauth_flows, refreshes
from ninelives_server.store.core import Tx

logger = log.get(__name__)

PERIOD = 30.0  # seconds between two looks
#: A grant that nobody used is refreshed at least this often.
IDLE = timedelta(hours=24)
#: Flows are kept for those who ask how one went.
FLOWS_KEPT = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    connection: Connection
    is_failing: bool


class Keeper:
    """Tests failing connections when their time has come, and refreshes idle ones."""

    def __init__(self, parts: Parts, refresher: Refresher, health: Health) -> None:
        self._parts = parts
        self._refresher = refresher
        self._health = health

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            try:
                await self.sweep()
            except Exception:  # the task's root: the next look may go well
                logger.exception("keeper.failed")
            await asyncio.sleep(PERIOD)

    async def sweep(self) -> None:
        """Look once at all connections."""
        for due in await self._parts.store.read(_due):
            try:
                if due.is_failing:
                    await self._health.test(system(due.connection.org_id), due.connection)
                else:
                    await self._refresher.token(due.connection.id, force=True)
            except NinelivesError as error:
                logger.info("connection.still_failing", connection_id=due.connection.id, reason=str(error))
        await self._parts.store.write(lambda tx: oauth_flows.delete_ended(tx, tx.now - FLOWS_KEPT))


def _due(tx: Tx) -> list[_Due]:
    failing = connections.in_state(tx, ConnectionState.DEGRADED, ConnectionState.NEEDS_ADMIN)
    found = [
        _Due(connection=c, is_failing=True)
        for c in failing
        if c.account is not None and _is_due(refreshes.of(tx, c.id).retry_at, tx.now)
    ]
    idle = connections.in_state(tx, ConnectionState.OK)
    found += [
        _Due(connection=c, is_failing=False)
        for c in idle
        if c.last_refreshed_at is not None and c.last_refreshed_at + IDLE <= tx.now
    ]
    return found


def _is_due(retry_at: datetime | None, now: datetime) -> bool:
    return retry_at is None or retry_at <= now
