"""Which streams are read, and by whom: reconciles what deployed projects want with what runs here.

There is one reader for each org of ours, integration, account and topic, on whichever server holds the
stream's lease. A notice or half a minute is enough for any change to be seen, so a crash needs no clean-up.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from ninelives_server import log
from ninelives_server.errors import CallerError, NeedsReauth, NinelivesError
from ninelives_server.events.ingest import Ingest
from ninelives_server.events.reader import Pace, Reader
from ninelives_server.integrations.http import Outbound
from ninelives_server.integrations.registry import Registry
from ninelives_server.integrations.streams import ApiToken, Reading, Source
from ninelives_server.model import actors
from ninelives_server.model.actors import Actor
from ninelives_server.model.connections import Connection, ConnectionState
from ninelives_server.model.events import Stream
from ninelives_server.store import connections, streams
from ninelives_server.store.core import Store
from ninelives_server.store.notices import Notice
from ninelives_server.store.streams import LeaseLost, StreamKey, Wish

logger = log.get(__name__)

#: Connections whose streams are read: one that is degraded is being retried, its token may well be good.
_USABLE = frozenset({ConnectionState.OK, ConnectionState.DEGRADED})


class AccessToken(Protocol):
    """A good access token of a connection."""

    @property
    def token(self) -> str:
        """The token itself."""
        ...

    @property
    def instance_url(self) -> str:
        """Base address of the account's API."""
        ...


class Tokens(Protocol):
    """Hands out access tokens."""

    async def access_token(self, connection_id: str, actor: Actor, refused: str | None) -> AccessToken:
        """Return a token other than the refused one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How often things happen; in seconds."""

    reconcile: float = 30.0
    lease: float = 30.0
    pace: Pace = field(default_factory=Pace)


@dataclass(slots=True, kw_only=True)
class _Want:
    """A stream that is wanted.

    Attributes:
        connections: Whose triggers want it, in order; one of them speaks for all.
        problem: Why it cannot be read, for people; empty where it can.
    """

    key: StreamKey
    event_type: str
    connections: dict[str, None]
    problem: str


@dataclass(slots=True, kw_only=True)
class _Running:
    """A stream that this server reads or waits for.

    Attributes:
        fence: Of the lease while it is held.
    """

    want: _Want
    task: "asyncio.Task[None]" = field(init=False)
    stream_id: str = ""
    fence: int | None = None


class Sources:
    """Reads the streams that deployed projects want."""

    def __init__(
        self,
        *,
        store: Store,
        ingest: Ingest,
        registry: Registry,
        tokens: Tokens,
        http: Outbound,
        ca_file: Path | None = None,
        timing: Timing | None = None,
    ) -> None:
        self._store = store
        self._ingest = ingest
        self._registry = registry
        self._tokens = tokens
        self._http = http
        self._ca_file = ca_file
        self._timing = timing or Timing()
        self._owner = f"server-{secrets.token_hex(8)}"
        self._running: dict[StreamKey, _Running] = {}
        # Of account and event type; an org does not rename its objects.
        self._topics: dict[tuple[str, str, str, str], str] = {}

    async def run(self) -> None:
        """Reconcile at each change and now and then, until cancelled; then give the leases back."""
        renewing = asyncio.create_task(self._renew_for_ever())
        notices = self._store.notices
        try:
            with (
                notices.subscribed("trigger") as by_trigger,
                notices.subscribed("deployment") as by_deployment,
                notices.subscribed("connection") as by_connection,
                notices.subscribed("subscription") as by_subscription,
            ):
                changes = (by_trigger, by_deployment, by_connection, by_subscription)
                while True:
                    for change in changes:
                        change.take()
                    await self._try_reconcile()
                    await _any_set(changes, self._timing.reconcile)
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            await self._stop(list(self._running))

    async def _try_reconcile(self) -> None:
        try:
            await self.reconcile()
        except Exception:
            logger.exception("streams.reconcile_failed")

    async def reconcile(self) -> None:
        """Start the readers that are missing and stop those that nobody needs."""
        wishes = await self._store.read(streams.wishes)
        wants = await asyncio.gather(*(self._want(wish) for wish in wishes if _is_usable(wish)))
        wanted: dict[StreamKey, _Want] = {}
        for want in wants:
            if want is not None:
                wanted.setdefault(want.key, want).connections.update(want.connections)
        await self._stop([key for key in self._running if key not in wanted])
        for key, want in wanted.items():
            if want.problem:
                await self._note(want)
            elif (running := self._running.get(key)) is None or running.task.done():
                self._start(want)
            else:
                running.want.connections = want.connections
        waiting = {(w.org_id, w.integration, w.account_key) for w in wishes if not _is_usable(w)}
        await self._store.write(lambda tx: streams.rest(tx, wanted.keys(), waiting))

    async def _want(self, wish: Wish) -> _Want | None:
        """Return the stream that a trigger needs; `None` where it cannot be told now."""
        source = self._registry.source(wish.integration)
        if source is None:
            return None
        account = (wish.org_id, wish.integration, wish.account_key)
        topic = self._topics.get((*account, wish.event_type), "")
        problem = ""
        if not topic:
            topic, problem = await self._ask_topic(source, wish)
            if not problem:
                self._topics[*account, wish.event_type] = topic
        key = StreamKey(
            org_id=wish.org_id, integration=wish.integration, account_key=wish.account_key, topic=topic
        )
        return _Want(
            key=key, event_type=wish.event_type, connections={wish.connection_id: None}, problem=problem
        )

    async def _ask_topic(self, source: Source, wish: Wish) -> tuple[str, str]:
        """Return the topic of a trigger, or what comes close to it and why it is not known."""
        hint = source.topic_hint(wish.event_type)
        try:
            reading = await self._reading(wish.integration, wish.account_key, [wish.connection_id])
            return await source.topic_for(reading, wish.event_type), ""
        except CallerError as error:
            return hint, str(error)
        except NinelivesError as error:
            # The service cannot be asked now: an earlier reader knew the topic.
            known = await self._store.read(
                lambda tx: streams.of_account(tx, wish.org_id, wish.integration, wish.account_key)
            )
            topics = (s.topic for s in known if s.topic.lower() == hint.lower() and s.fence)
            return (found, "") if (found := next(topics, "")) else (hint, str(error))

    async def _note(self, want: _Want) -> None:
        await self._store.write(lambda tx: streams.note(tx, want.key, "refused", want.problem))

    def _start(self, want: _Want) -> None:
        running = _Running(want=want)
        running.task = asyncio.create_task(self._hold(running), name=f"stream {want.key.topic}")
        running.task.add_done_callback(self._note_end)
        self._running[want.key] = running

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """Say why nobody reads a stream any more; the next look at what is wanted begins again."""
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("stream.task_failed", task=task.get_name(), exc_info=error)

    async def _stop(self, keys: Sequence[StreamKey]) -> None:
        stopped = [self._running.pop(key) for key in keys]
        for running in stopped:
            running.task.cancel()
        await asyncio.gather(*(running.task for running in stopped), return_exceptions=True)

    async def _hold(self, running: _Running) -> None:
        """Wait for the stream's lease and read while it is held; for ever."""
        stream = await self._store.write(lambda tx: streams.ensure(tx, running.want.key))
        while True:
            leased = await self._store.write(
                lambda tx: streams.lease(tx, stream.id, self._owner, self._lease)
            )
            if leased is None:
                await self._wait_for(stream.id)
                continue
            running.stream_id, running.fence = leased.id, leased.fence
            try:
                await self._reader(running, leased).run()
            except LeaseLost:
                logger.warning("stream.lease_lost", stream_id=stream.id)
            finally:
                running.fence = None
                await asyncio.shield(self._release(leased))

    async def _release(self, leased: Stream) -> None:
        await self._store.write(lambda tx: streams.release(tx, leased.id, leased.fence))

    async def _wait_for(self, stream_id: str) -> None:
        """Wait until the stream's lease may be free."""
        with self._store.notices.subscribed("stream", stream_id) as notice:
            await _any_set((notice,), self._timing.lease / 3)

    def _reader(self, running: _Running, stream: Stream) -> Reader:
        source = self._registry.source(stream.integration)
        assert source is not None
        return Reader(
            stream=stream,
            source=source,
            event_type=running.want.event_type,
            reading=lambda: self._reading(
                stream.integration, stream.account_key, list(running.want.connections)
            ),
            store=self._store,
            ingest=self._ingest,
            pace=self._timing.pace,
        )

    @property
    def _lease(self) -> timedelta:
        return timedelta(seconds=self._timing.lease)

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._timing.lease / 3)
            try:
                await self._renew()
            except Exception:
                logger.exception("streams.renew_failed")

    async def _renew(self) -> None:
        """Lengthen the leases; a reader whose lease is gone is stopped before it has to find out."""
        held = {r.stream_id: r.fence for r in self._running.values() if r.fence is not None}
        if not held:
            return
        kept = await self._store.write(lambda tx: streams.renew(tx, held, self._owner, self._lease))
        for running in list(self._running.values()):
            if running.fence is not None and running.stream_id in held.keys() - kept:
                await self._stop([running.want.key])
                self._start(running.want)

    async def _reading(self, integration: str, account_key: str, connection_ids: list[str]) -> Reading:
        """Return what the source is given, in the name of the first of the connections that is usable."""
        found = await self._store.read(
            lambda tx: [connections.by_id(tx, connection_id) for connection_id in connection_ids]
        )
        usable = [c for c in found if c is not None and c.state in _USABLE and c.account_key == account_key]
        if not usable:
            raise NeedsReauth("no connection to this account is authorised")
        connection = usable[0]
        return Reading(
            settings=connection.settings,
            account_key=account_key,
            token=self._token_of(connection),
            http=self._http,
            rule=self._registry.get(integration).host_rule(),
            insecure_hosts=self._http.insecure_hosts,
            ca_file=self._ca_file,
        )

    def _token_of(self, connection: Connection) -> Callable[[str | None], Awaitable[ApiToken]]:
        actor = actors.system(connection.org_id)

        async def token(refused: str | None) -> ApiToken:
            found = await self._tokens.access_token(connection.id, actor, refused)
            org_id = connection.account.org_id if connection.account is not None else ""
            return ApiToken(token=found.token, instance_url=found.instance_url.rstrip("/"), org_id=org_id)

        return token


def _is_usable(wish: Wish) -> bool:
    return wish.connection_state in _USABLE


async def _any_set(notices: Sequence[Notice], seconds: float) -> None:
    """Wait until one of the notices is set, or the time is over."""
    waits = [asyncio.ensure_future(notice.wait()) for notice in notices]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
