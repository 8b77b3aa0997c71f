"""Temporal as this server needs it: start, signal, fail. It may be away at any time, and come back empty."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.service import HttpConnectProxyConfig, RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from ninelives_server import log, tasks
from ninelives_server.engine.failures import CONVERTER
from ninelives_server.engine.workflow import LOOK, TICK, Course, SessionWorkflow, TickWorkflow
from ninelives_server.model.sessions import TEMPORAL_USER, WAKE_SIGNAL, WORKFLOW_NAME, WORKFLOW_QUEUE

logger = log.get(__name__)

#: Between tries to reach Temporal; the last one repeats. seconds
_RETRIES = (0.05, 0.1, 0.2, 0.5, 1.0)
#: For one request. seconds
_RPC_LIMIT = timedelta(seconds=10)
_PROBE_LIMIT = timedelta(seconds=5)
#: For one try to connect. seconds
_CONNECT_LIMIT = 3.0
#: The tries after which the log says that Temporal does not answer. An embedded one needs a few to begin.
_TELL_EVERY = 20
#: How often we ask whether Temporal is there. seconds
_PROBE_EVERY = 2.0

#: Says what should happen to a session: `{"outcome": …, "until": …}`.
Look = Callable[[str], Awaitable[Mapping[str, Any]]]
#: Takes a time of a trigger's schedule.
Tick = Callable[[str, datetime], Awaitable[None]]


def _door(address: str, secret: str | None) -> HttpConnectProxyConfig | None:
    """Return the way to an embedded Temporal, which is behind a door; `None` for any other one."""
    if secret is None:
        return None
    return HttpConnectProxyConfig(target_host=address, basic_auth=(TEMPORAL_USER, secret))


@functools.cache
def _runtime() -> Runtime:
    """Return the SDK's core, without its warning at each start that it balances nothing behind a door."""
    usual = TelemetryFilter(core_level="WARN", other_level="ERROR").formatted()
    logging = LoggingConfig(filter=f"{usual},temporal_sdk_bridge::client=error")
    return Runtime(telemetry=TelemetryConfig(logging=logging))


class TemporalAway(Exception):
    """Temporal cannot be reached now; the sweep tries again."""


class Engine:
    """A connection to Temporal, and the worker that runs our workflows in this process.

    Attributes:
        address: `host:port`.
        namespace: Temporal's.
        secret: What the door of an embedded one asks for, see `engine.enclosure`.
        returned: Set when Temporal answers again, or for the first time; the starter clears it.
    """

    def __init__(
        self, *, address: str, namespace: str, look: Look, tick: Tick | None = None, secret: str | None = None
    ) -> None:
        self.address = address
        self.namespace = namespace
        self.secret = secret
        self._look = look
        self._tick = tick
        self._client: Client | None = None
        self._connected = asyncio.Event()
        self.returned = asyncio.Event()

    @property
    def is_connected(self) -> bool:
        """Whether Temporal answered when last asked."""
        return self._connected.is_set()

    async def connected(self) -> None:
        """Wait until Temporal answers."""
        await self._connected.wait()

    async def run(self) -> None:
        """Connect, and run workflows until cancelled; begin again where Temporal was lost."""
        while True:
            client = await self._connect()
            self._heard()
            async with tasks.kept("temporal watch", functools.partial(self._watch, client)):
                try:
                    await self._worker(client).run()
                except RuntimeError as error:
                    # What the SDK raises where it cannot go on, such as a namespace that is gone.
                    logger.warning("temporal.worker_failed", error=type(error).__name__)
            self._connected.clear()
            await asyncio.sleep(_RETRIES[-1])

    async def start(self, session_id: str) -> None:
        """Have a session run that has never been asked for, with the least delay.

        Raises:
            TemporalAway: It cannot be reached.
        """
        await self._ask(
            self._the_client().start_workflow(
                WORKFLOW_NAME,
                Course(session_id),
                id=session_id,
                task_queue=WORKFLOW_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                request_eager_start=True,
                rpc_timeout=_RPC_LIMIT,
            )
        )

    async def wake(self, session_id: str) -> None:
        """Have a session looked at, whether Temporal knows it or not: signal-with-start.

        Raises:
            TemporalAway: It cannot be reached.
        """
        await self._ask(
            self._the_client().start_workflow(
                WORKFLOW_NAME,
                Course(session_id, looks_first=True),
                id=session_id,
                task_queue=WORKFLOW_QUEUE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                start_signal=WAKE_SIGNAL,
                rpc_timeout=_RPC_LIMIT,
            )
        )

    async def over(self, session_id: str) -> None:
        """Have a session's workflow, if there is one, find out that it has ended.

        Raises:
            TemporalAway: It cannot be reached.
        """
        handle = self._the_client().get_workflow_handle(session_id)
        try:
            await handle.signal(WAKE_SIGNAL, rpc_timeout=_RPC_LIMIT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise TemporalAway(str(error.status)) from error

    async def fail_activity(self, session_id: str, activity_id: str) -> bool:
        """Fail a turn whose worker is lost: Temporal starts it elsewhere. `False` where it is over."""
        handle = self._the_client().get_async_activity_handle(
            workflow_id=session_id, run_id=None, activity_id=activity_id
        )
        try:
            await handle.fail(ApplicationError("WorkerLost", type="WorkerLost"), rpc_timeout=_RPC_LIMIT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise TemporalAway(str(error.status)) from error
            return False
        return True

    async def is_running(self, session_id: str) -> bool:
        """Tell whether Temporal has a workflow for a session."""
        handle = self._the_client().get_workflow_handle(session_id)
        try:
            found = await handle.describe(rpc_timeout=_RPC_LIMIT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise TemporalAway(str(error.status)) from error
            return False
        return found.status is WorkflowExecutionStatus.RUNNING

    @property
    def client(self) -> Client:
        """Temporal's client.

        Raises:
            TemporalAway: It was never reached.
        """
        return self._the_client()

    def _the_client(self) -> Client:
        if self._client is None:
            raise TemporalAway("no connection yet")
        return self._client

    async def _ask(self, request: Awaitable[object]) -> None:
        try:
            await request
        except RPCError as error:
            raise TemporalAway(str(error.status)) from error

    async def _connect(self) -> Client:
        tries = 0
        while True:
            # The SDK itself tries for a long time where nobody answers: then nobody would hear of it.
            with suppress(RuntimeError, RPCError, TimeoutError):
                async with asyncio.timeout(_CONNECT_LIMIT):
                    client = await Client.connect(
                        self.address,
                        namespace=self.namespace,
                        data_converter=CONVERTER,
                        runtime=_runtime(),
                        http_connect_proxy_config=_door(self.address, self.secret),
                    )
                    await _probe(client)
                self._client = client
                return client
            if tries % _TELL_EVERY == len(_RETRIES):
                logger.warning("temporal.unreachable", address=self.address, namespace=self.namespace)
            await asyncio.sleep(_RETRIES[min(tries, len(_RETRIES) - 1)])
            tries += 1

    async def _watch(self, client: Client) -> None:
        """Ask now and then whether Temporal is there."""
        while True:
            await asyncio.sleep(_PROBE_EVERY)
            try:
                await _probe(client)
            except RPCError as error:
                if self._connected.is_set():
                    logger.warning("temporal.away", error=str(error.status))
                self._connected.clear()
            else:
                self._heard()

    def _heard(self) -> None:
        if not self._connected.is_set():
            logger.info("temporal.connected", address=self.address, namespace=self.namespace)
            self._connected.set()
            self.returned.set()

    def _worker(self, client: Client) -> Worker:
        look, tick = self._look, self._tick

        @activity.defn(name=LOOK)
        async def look_activity(session_id: str) -> dict[str, Any]:
            return dict(await look(session_id))

        @activity.defn(name=TICK)
        async def tick_activity(trigger_id: str, at: str) -> None:
            if tick is not None:
                await tick(trigger_id, datetime.fromisoformat(at))

        return Worker(
            client,
            task_queue=WORKFLOW_QUEUE,
            workflows=[SessionWorkflow, TickWorkflow],
            activities=[look_activity, tick_activity],
            workflow_runner=UnsandboxedWorkflowRunner(),
            max_cached_workflows=2000,
        )


async def _probe(client: Client) -> None:
    """Ask for something of the namespace: a server that has just begun does not know it yet."""
    handle = client.get_workflow_handle("ninelives-probe")
    try:
        await handle.describe(rpc_timeout=_PROBE_LIMIT)
    except RPCError as error:
        # Of a namespace that is there, only the workflow is not found.
        if error.status is not RPCStatusCode.NOT_FOUND or "amespace" in str(error):
            raise
