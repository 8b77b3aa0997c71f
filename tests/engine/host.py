"""A server's side of the engine, and a worker without processes: it claims sessions and does what a test says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

from temporal_client import connected
from temporalio import activity
from temporalio.client import WorkflowExecutionStatus
from temporalio.worker import Worker
from world import World

from ninelives_server.engine.client import Engine
from ninelives_server.engine.embedded import EmbeddedTemporal
from ninelives_server.engine.starter import Starter, looking
from ninelives_server.model.sessions import ACTIVITY_NAME, SESSION_QUEUE, SessionState
from ninelives_server.sessions.journal import Claimed
from ninelives_server.store import inbox

Turn = Callable[["Host", str, int], Awaitable[dict[str, Any]]]


async def finish(host: "Host", session_id: str, epoch: int) -> dict[str, Any]:
    """End at once."""
    await host.world.journal.commit([host.world.done(session_id, epoch)])
    return {"outcome": "finished"}


class Host:
    """What a worker does, in this process.

    Attributes:
        turns: What to do at each turn of a session, in order; afterwards it ends.
        began: Session and epoch of each turn that was claimed.
        refused: Why claims were refused.
    """

    def __init__(self, world: World, worker_id: str = "wrk_1") -> None:
        self.world = world
        self.worker_id = worker_id
        self.turns: list[Turn] = []
        self.began: list[tuple[str, int]] = []
        self.activity_ids: list[str] = []
        self.refused: list[str] = []
        self.changed = asyncio.Event()

    @activity.defn(name=ACTIVITY_NAME)
    async def run_session(self, session_id: str) -> dict[str, Any]:
        beats = asyncio.create_task(self._beat())
        try:
            answer = await self.world.journal.claim(self.worker_id, session_id)
            if not isinstance(answer, Claimed):
                self.refused.append(answer.why)
                self.changed.set()
                return {"outcome": "not_claimed"}
            self.began.append((session_id, answer.epoch))
            self.activity_ids.append(activity.info().activity_id)
            self.changed.set()
            turn = self.turns.pop(0) if self.turns else finish
            return await turn(self, session_id, answer.epoch)
        finally:
            beats.cancel()

    async def _beat(self) -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(1)

    @contextlib.asynccontextmanager
    async def working(self, temporal: EmbeddedTemporal) -> AsyncIterator["Host"]:
        client = await connected(temporal)
        async with Worker(
            client,
            task_queue=SESSION_QUEUE,
            activities=[self.run_session],
            max_concurrent_activities=20,
            graceful_shutdown_timeout=timedelta(),
        ):
            yield self

    async def until(self, predicate: Callable[[], bool], patience: float = 90) -> None:
        """Wait until the predicate holds; it is asked whenever something happened here."""
        async with asyncio.timeout(patience):
            while not predicate():
                self.changed.clear()
                await self.changed.wait()


class Server:
    """What a server runs of the engine."""

    def __init__(self, world: World, temporal: EmbeddedTemporal) -> None:
        self.world = world
        self.engine = Engine(
            address=temporal.address,
            secret=temporal.secret,
            namespace="default",
            look=looking(world.journal),
        )
        self.starter = Starter(store=world.store, engine=self.engine)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Server"]:
        tasks = [asyncio.create_task(self.engine.run()), asyncio.create_task(self.starter.run())]
        try:
            async with asyncio.timeout(60):
                await self.engine.connected()
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def is_over(temporal: EmbeddedTemporal, session_id: str, patience: float = 60) -> bool:
    """Wait until the session's workflow has ended well."""
    client = await connected(temporal)
    async with asyncio.timeout(patience):
        while True:
            found = await client.get_workflow_handle(session_id).describe()
            if found.status is not WorkflowExecutionStatus.RUNNING:
                return found.status is WorkflowExecutionStatus.COMPLETED
            await asyncio.sleep(0.05)


async def until_waiting(world: World, session_id: str) -> None:
    """Wait until a session waits."""
    async with asyncio.timeout(60):
        while await world.state(session_id) is not SessionState.WAITING:
            await asyncio.sleep(0.02)


def parks(until: timedelta | None, *, as_number: bool = False) -> Turn:
    """Park until a time from now, or until something arrives."""

    async def turn(host: Host, session_id: str, epoch: int) -> dict:
        await host.world.store.write(
            lambda tx: [inbox.remove(tx, i.id) for i in inbox.unread(tx, session_id)]
        )
        at = None if until is None else host.world.journal.clock.now() + until
        await host.world.journal.commit([host.world.park(session_id, epoch, at)])
        return {"outcome": "parked", "until": at and (at.timestamp() if as_number else at.isoformat())}

    return turn
