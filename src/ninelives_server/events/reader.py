"""One reader of one stream, for as long as it holds the stream's lease.

Reads batches from the integration's source, records each with its cursor in one unit, and writes down how the
stream fares. Who reads which stream is decided in `events.sources`.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import timedelta

from ninelives_server import log
from ninelives_server.errors import NinelivesError, OwnerError, Transient
from ninelives_server.events.ingest import Ingest, Recorded
from ninelives_server.integrations.streams import Batch, Reading, Received, Source
from ninelives_server.model.events import NewEvent, Stream
from ninelives_server.store import streams
from ninelives_server.store.core import Store, Tx
from ninelives_server.store.streams import CursorSave, LeaseLost, StreamKey

logger = log.get(__name__)

#: A stream that nobody wanted for longer begins with what happens from now on: a project that was switched
#: off for a while is not flooded when it is switched on.
RESUME_WITHIN = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How patient a reader is; all in seconds.

    Attributes:
        first_retry: After a stream broke; doubled at each further failure, up to `last_retry`.
        refused_retry: Where only a person can help: looked at again this often.
        check_every: Whether the service would send anything, where it would.
        recheck_every: The same, where it would not.
    """

    first_retry: float = 0.5
    last_retry: float = 300.0
    refused_retry: float = 30.0
    check_every: float = 3600.0
    recheck_every: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fare:
    """How a stream fares, as the store shows it."""

    state: str
    reason: str = ""


class Reader:
    """Reads one stream until it is cancelled or loses its lease."""

    def __init__(
        self,
        *,
        stream: Stream,
        source: Source,
        event_type: str,
        reading: Callable[[], Awaitable[Reading]],
        store: Store,
        ingest: Ingest,
        pace: Pace,
    ) -> None:
        self._stream = stream
        self._key = StreamKey(
            org_id=stream.org_id,
            integration=stream.integration,
            account_key=stream.account_key,
            topic=stream.topic,
        )
        self._source = source
        self._event_type = event_type
        self._reading = reading
        self._store = store
        self._ingest = ingest
        self._pace = pace
        self._cursor = stream.cursor
        self._fare = Fare(state="starting")
        self._blocked = ""
        self._shown = Fare(state=stream.state, reason=stream.reason)
        self._unblocked = asyncio.Event()
        self._failures = 0
        self._was_open = stream.state in {"listening", "paused"}

    async def run(self) -> None:
        """Read for ever.

        Raises:
            LeaseLost: Another server reads this stream now.
        """
        await self._begin()
        checking = asyncio.create_task(self._check_for_ever())
        reading = asyncio.create_task(self._read_for_ever())
        try:
            await asyncio.wait((checking, reading), return_when=asyncio.FIRST_COMPLETED)
            for task in (reading, checking):
                if task.done():
                    task.result()
        finally:
            for task in (checking, reading):
                task.cancel()
            await asyncio.gather(checking, reading, return_exceptions=True)

    async def _begin(self) -> None:
        """Decide where to start: at the stored cursor, unless nobody has wanted the stream for a while."""
        stream = self._stream

        def start(tx: Tx) -> bool:
            is_old = stream.cursor_at is not None and tx.now - stream.cursor_at > RESUME_WITHIN
            if stream.state == "idle" and is_old:
                streams.forget_cursor(tx, stream.id, stream.fence)
                return True
            return False

        if await self._store.write(start):
            self._cursor = None
        await self._show(Fare(state="starting"))

    async def _check_for_ever(self) -> None:
        """Ask now and then whether the service would send anything at all."""
        while True:
            try:
                blocked = await self._source.blocked(await self._reading(), self._event_type)
            except NinelivesError as error:
                logger.info("stream.check_failed", stream_id=self._stream.id, reason=str(error))
            else:
                if self._blocked and not blocked:
                    self._unblocked.set()
                self._blocked = blocked
                await self._show(self._fare)
            await asyncio.sleep(self._pace.recheck_every if self._blocked else self._pace.check_every)

    async def _read_for_ever(self) -> None:
        while True:
            delay = await self._read_until_it_breaks()
            self._unblocked.clear()
            try:
                await asyncio.wait_for(self._unblocked.wait(), delay)
            except TimeoutError:
                continue

    async def _read_until_it_breaks(self) -> float:
        """Read; return the seconds after which to try again."""
        try:
            reading = await self._reading()
            async with aclosing(self._source.listen(reading, self._stream.topic, self._cursor)) as batches:
                async for batch in batches:
                    await self._take(self._with_gap(batch))
        except LeaseLost:
            raise
        except OwnerError as error:
            await self._show(Fare(state="refused", reason=str(error)))
            return self._pace.refused_retry
        except NinelivesError as error:
            return await self._failed(str(error), is_expected=isinstance(error, Transient))
        except Exception:
            logger.exception("stream.reader_failed", stream_id=self._stream.id)
            return await self._failed("an internal error; the server's log has it", is_expected=False)
        return await self._failed("the stream ended", is_expected=True)

    async def _failed(self, reason: str, *, is_expected: bool) -> float:
        self._failures += 1
        wait = min(self._pace.last_retry, self._pace.first_retry * 2.0 ** min(self._failures - 1, 20))
        logger.warning("stream.broken", stream_id=self._stream.id, reason=reason, is_expected=is_expected)
        await self._show(Fare(state="failing", reason=reason))
        # Jitter: streams that broke together must not come back together.
        return wait * random.uniform(0.5, 1)  # noqa: S311 - no secret

    def _with_gap(self, batch: Batch) -> Batch:
        """Say of the first batch of a stream that was open before, without a position, what is lost."""
        is_lost = self._was_open and self._cursor is None and self._fare.state != "listening"
        self._was_open = True
        if not is_lost or batch.gap:
            return batch
        return replace(batch, gap="the stream broke before there was a position to resume from")

    async def _take(self, batch: Batch) -> None:
        """Record a batch: events, cursor and gap in one unit; the next one is read only after that."""
        recorded = await self._store.write(lambda tx: self._record(tx, batch))
        self._ingest.announce(recorded)
        if batch.cursor is not None:
            self._cursor = batch.cursor
        elif batch.gap:
            self._cursor = None
        if batch.events or batch.cursor is not None:
            self._failures = 0
        await self._show(Fare(state="listening"))

    def _record(self, tx: Tx, batch: Batch) -> list[Recorded]:
        stream = self._stream
        cursor = None
        if batch.cursor is not None:
            cursor = CursorSave(
                stream_id=stream.id, fence=stream.fence, cursor=batch.cursor, events=len(batch.events)
            )
        if batch.gap:
            if cursor is None:
                streams.forget_cursor(tx, stream.id, stream.fence)
            self._add_gap(tx, batch.gap)
        elif cursor is None and not batch.events:
            return []
        return self._ingest.record_in(tx, self._fan_out(tx, batch.events), cursor)

    def _add_gap(self, tx: Tx, reason: str) -> None:
        known = streams.by_id(tx, self._stream.id)
        since = known.cursor_at if known is not None else None
        gap = {"from": since.isoformat() if since else "", "to": tx.now.isoformat(), "reason": reason}
        logger.warning("stream.gap_found", stream_id=self._stream.id, **gap)
        streams.add_gap(tx, self._stream.id, self._stream.fence, gap)

    def _fan_out(self, tx: Tx, received: Sequence[Received]) -> list[NewEvent]:
        """Return one event for each project and connection that is entitled to it, asked at this moment.

        Entitled are connections of this org to exactly this account, used by a trigger of a deployed project
        that needs exactly this topic; nobody else ever.
        """
        if not received:
            return []
        topic = self._key.topic.lower()
        audience = dict.fromkeys(
            (wish.project_id, wish.connection_id)
            for wish in streams.wishes(tx, self._key)
            if self._source.topic_hint(wish.event_type).lower() == topic
        )
        return [
            NewEvent(
                project_id=project_id,
                connection_id=connection_id,
                source_key=f"{connection_id}:{event.source_key}",
                event_type=event.event_type,
                data=event.data,
                memo=event.memo,
                record_id=event.record_id,
            )
            for event in received
            for project_id, connection_id in audience
        ]

    async def _show(self, fare: Fare) -> None:
        """Write down how the stream fares, where that has changed."""
        self._fare = fare
        shown = replace(fare, state="refused", reason=self._blocked) if self._blocked else fare
        if shown == self._shown:
            return
        self._shown = shown
        stream = self._stream
        await self._store.write(
            lambda tx: streams.set_state(tx, stream.id, stream.fence, shown.state, shown.reason)
        )
        logger.info("stream.state_changed", stream_id=stream.id, topic=stream.topic, state=shown.state)
