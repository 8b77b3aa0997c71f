"""Units of work: the one way to read and write the database.

A unit is a plain function of a `Tx`: `await store.write(work)`. It runs to its end without awaiting
anything else, so no transaction is ever open during I/O to elsewhere. Where it returns, the unit is
committed; where it raises, nothing of it remains.

On SQLite all writes go through one connection in arrival order, in a thread of its own; units that arrive
together share one commit (one fsync), each in a savepoint of its own. A short unit that finds nobody at it is
done where it is asked for. On PostgreSQL each unit is a transaction of its own. See
docs/decisions/0002-units-of-work-are-functions.md and docs/decisions/0008-short-commits-in-the-event-loop.md.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ninelives_server import log, tasks
from ninelives_server.clock import Clock, SystemClock
from ninelives_server.errors import DatabaseAway, Invalid
from ninelives_server.store import outages, sqlite_file
from ninelives_server.store.notices import Notices

T = TypeVar("T")

logger = log.get(__name__)

#: What callers are told by then.
_WRITER_GONE = "the thread that writes to the database has died, and the server ends; try again in a moment"
#: All notices of a unit at once.
_TELL = "SELECT pg_notify($1, told) FROM unnest($2::text[]) AS told"
#: Between attempts to listen to a PostgreSQL that is away. seconds
_LISTEN_RETRY = 0.5


@dataclass(slots=True)
class Tx:
    """One open transaction, handed to the modules of this package.

    Attributes:
        connection: SQLAlchemy's; only this package touches it.
        lite: The driver's own, on SQLite (`store.driver`).
        now: The time of the transaction, in UTC: the database's clock on PostgreSQL, the machine's on SQLite.
        notices: `(channel, id)` pairs that are told once the unit is committed.
    """

    connection: sa.Connection
    now: datetime
    notices: list[tuple[str, str]] = field(default_factory=list)
    lite: sqlite3.Connection | None = None

    def notify(self, channel: str, thing_id: str) -> None:
        """Tell subscribers of `channel` after the commit that this thing has changed."""
        self.notices.append((channel, thing_id))


class Store(Protocol):
    """A database, whichever it is."""

    notices: Notices

    async def write(self, work: Callable[[Tx], T], *, is_short: bool = False) -> T:
        """Run `work` in a transaction and commit it; return what it returned.

        `is_short` tells that the work takes no longer than to wake a thread and to be woken by it, so that
        the event loop may do it, too.
        """
        ...

    def write_now(self, work: Callable[[Tx], T]) -> tuple[T] | None:
        """Do as `write` with what is short, without waiting for anything; `None` where that cannot be."""
        ...

    async def read(self, work: Callable[[Tx], T]) -> T:
        """Run `work`, which must not write, on a consistent snapshot."""
        ...

    async def glance(self, work: Callable[[Tx], T]) -> T:
        """Do as `read` for what is found by its key, in less time than it takes to start a thread."""
        ...

    async def failed(self) -> str:
        """Wait until nothing can be written any more, and return why; not for a database that is away."""
        ...

    async def close(self) -> None:
        """Finish what was accepted and close the connections."""
        ...


@dataclass(slots=True, eq=False)
class _Unit:
    work: Callable[[Tx], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None
    is_committed: bool = False
    notices: list[tuple[str, str]] = field(default_factory=list)

    def settle(self, notices: Notices) -> None:
        """Tell what has changed, whether or not somebody still waits for the result, and then who does."""
        for channel, thing_id in self.notices:
            notices.tell(channel, thing_id)
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


@contextmanager
def _translated() -> Iterator[None]:
    """Say `DatabaseAway` where the database is at fault: callers may try again.

    `Invalid` where it was given text that it cannot hold: no use to try again.
    """
    try:
        yield
    except Exception as error:
        if (told := _told_of(error)) is not None:
            raise told from error
        raise


def _told_of(error: BaseException) -> Exception | None:
    """Return what callers are told of an error instead of it, as `_translated` says."""
    if isinstance(error, DatabaseAway):
        return None
    if outages.is_no_text(error):
        return Invalid("a text has a NUL character, which the database cannot hold")
    if not outages.is_outage(error):
        return None
    # In the words of SQLite, which name no data: somebody has to make room on a full disk.
    said = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    why = f"cannot be used now ({said})" if isinstance(said, sqlite3.Error) else "does not answer"
    return DatabaseAway(f"the database {why}; try again in a moment")


class SqliteStore:
    """SQLite: one writer thread with group commit, reads beside it."""

    def __init__(self, path: Path, *, clock: Clock | None = None, largest_group: int = 256) -> None:
        self._clock = clock or SystemClock()
        self._engine = sqlite_file.engine_of(path)
        self._largest_group = largest_group
        self._queue: queue.SimpleQueue[_Unit | None] = queue.SimpleQueue()
        # What is not settled yet, and why the thread is no more; who adds to it must know.
        self._unsettled: set[_Unit] = set()
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._has_failed = concurrent.futures.Future[str]()
        self.notices = Notices()
        # Its own: the pool's may all be in use by slow readers, and the event loop must not wait for one.
        self._glancing = self._engine.connect()
        # Of all writes. Nobody may wait for the file in SQLite itself: the event loop must not.
        self._connection = self._engine.connect()
        self._lite = sqlite_file.driver_of(self._connection)
        self._lite.execute("PRAGMA busy_timeout=0")
        self._writing = threading.Lock()
        self._pace = sqlite_file.Pace()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    async def write(self, work: Callable[[Tx], T], *, is_short: bool = False) -> T:
        """Run `work` in a transaction and commit it; return what it returned."""
        if is_short and self._has_begun_here():
            return self._write_here(work)
        loop = asyncio.get_running_loop()
        unit = _Unit(work=work, loop=loop, future=loop.create_future())
        self._enqueue(unit)
        # Whoever is cancelled here cancels the future only: the unit is done all the same.
        with _translated():
            result: T = await unit.future
        return result

    def write_now(self, work: Callable[[Tx], T]) -> tuple[T] | None:
        """Do as `write` with what is short, without waiting for anything; `None` where that cannot be."""
        return (self._write_here(work),) if self._has_begun_here() else None

    def _enqueue(self, unit: _Unit) -> None:
        with self._lock:
            if self._failure is not None:
                raise DatabaseAway(_WRITER_GONE) from self._failure
            self._unsettled.add(unit)
            self._queue.put(unit)

    def _has_begun_here(self) -> bool:
        """Begin a transaction in the event loop's thread; `False` where that would keep the loop waiting.

        That is while there are others, or somebody else writes to the file, and where the disk is slow.
        """
        if self._unsettled or self._failure is not None or self._pace.is_slow():
            return False
        if not self._writing.acquire(blocking=False):
            return False
        has_begun = False
        try:
            has_begun = sqlite_file.begun(self._lite, patience=0)
        finally:
            if not has_begun:
                self._writing.release()
        return has_begun

    def _write_here(self, work: Callable[[Tx], T]) -> T:
        """Run and commit a unit, in the transaction that has begun; nothing is made that only others need."""
        try:
            tx = Tx(self._connection, self._clock.now(), [], self._lite)
            result = work(tx)
            began = time.perf_counter()
            self._lite.commit()
            self._pace.note(time.perf_counter() - began)
        except BaseException as error:
            self._lite.rollback()
            if (told := _told_of(error)) is not None:
                raise told from error
            raise
        finally:
            self._forget_transaction()
            self._writing.release()
        for channel, thing_id in tx.notices:
            self.notices.tell(channel, thing_id)
        return result

    def _forget_transaction(self) -> None:
        """SQLAlchemy has a transaction of its own in mind where a unit has used it."""
        if self._connection.in_transaction():
            self._connection.rollback()

    async def read(self, work: Callable[[Tx], T]) -> T:
        """Run `work`, which must not write, on a consistent snapshot."""
        with _translated():
            return await asyncio.to_thread(self._read, work)

    async def glance(self, work: Callable[[Tx], T]) -> T:
        """Do as `read`, in the event loop's thread: in WAL mode no writer keeps a reader waiting."""
        with _translated():
            return self._snapshot(self._glancing, work)

    async def failed(self) -> str:
        """Wait until the thread that writes has died, and return of what."""
        return await asyncio.shield(asyncio.wrap_future(self._has_failed))

    async def close(self) -> None:
        """Finish what was accepted and close the connections."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()
        self._glancing.close()
        self._engine.dispose()

    def _read(self, work: Callable[[Tx], T]) -> T:
        with self._engine.connect() as connection:
            return self._snapshot(connection, work)

    def _snapshot(self, connection: sa.Connection, work: Callable[[Tx], T]) -> T:
        lite = sqlite_file.driver_of(connection)
        lite.execute("BEGIN")
        try:
            return work(Tx(connection, self._clock.now(), lite=lite))
        finally:
            lite.rollback()
            # SQLAlchemy has a transaction of its own in mind where the work has used it.
            connection.rollback()

    def _run(self) -> None:
        try:
            self._write_for_ever()
        except BaseException as error:  # the root of a thread: everybody waits for it
            logger.exception("store.writer_died")
            self._give_up(error)

    def _write_for_ever(self) -> None:
        open_ = True
        while open_:
            group, open_ = self._next_group()
            if group:
                with self._writing:
                    self._begin_and_commit(group)
                self._settle(group)

    def _give_up(self, error: BaseException) -> None:
        """Tell all who wait, and who comes later, that nothing is written any more."""
        with self._lock:
            self._failure = error
            units = list(self._unsettled)
        for unit in units:
            if unit.error is None and not unit.is_committed:
                unit.error = DatabaseAway(_WRITER_GONE)
        self._settle(units)
        self._has_failed.set_result(f"the thread that writes to the database has died: {error!r}")

    def _next_group(self) -> tuple[list[_Unit], bool]:
        """Wait for a unit and take those that have arrived with it."""
        group: list[_Unit] = []
        unit = self._queue.get()
        while unit is not None:
            group.append(unit)
            if len(group) >= self._largest_group:
                return group, True
            try:
                unit = self._queue.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _begin_and_commit(self, group: list[_Unit]) -> None:
        try:
            sqlite_file.begun(self._lite, patience=sqlite_file.BUSY_SECONDS)
        except sqlite3.Error as error:
            for unit in group:
                unit.error = error
        else:
            self._commit(group)

    def _commit(self, group: list[_Unit]) -> None:
        """Run the units of a transaction that has begun, and commit it."""
        try:
            for unit in group:
                self._try(unit, alone=len(group) == 1)
            self._lite.commit()
            for unit in group:
                unit.is_committed = True
        except BaseException as error:  # noqa: BLE001 - each unit's caller is told
            self._lite.rollback()
            for unit in group:
                unit.notices.clear()
                unit.error = unit.error or error
        finally:
            self._forget_transaction()

    def _try(self, unit: _Unit, *, alone: bool) -> None:
        """Run a unit; where it fails, undo it and nothing else. One that is alone needs no savepoint."""
        lite = self._lite
        tx = Tx(self._connection, self._clock.now(), unit.notices, lite)
        if alone:
            unit.result = unit.work(tx)
            return
        lite.execute("SAVEPOINT unit")
        try:
            unit.result = unit.work(tx)
        except BaseException as error:
            unit.notices.clear()
            unit.error = error
            if not lite.in_transaction:
                raise  # SQLite has undone all of it, as on a full disk: all units fail for that reason
            lite.execute("ROLLBACK TO unit")
        lite.execute("RELEASE unit")

    def _settle(self, group: list[_Unit]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Unit]] = {}
        for unit in group:
            by_loop.setdefault(unit.loop, []).append(unit)
        for loop, units in by_loop.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._settle_all, units)

    def _settle_all(self, units: list[_Unit]) -> None:
        for unit in units:
            unit.settle(self.notices)
            self._unsettled.discard(unit)


class PostgresStore:
    """PostgreSQL through asyncpg: a transaction per unit, changes told by LISTEN/NOTIFY."""

    CHANNEL = "ninelives"

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self._url = sa.make_url(url).set(drivername="postgresql+asyncpg")
        self._engine: AsyncEngine = create_async_engine(
            self._url, pool_size=pool_size, max_overflow=pool_size, pool_pre_ping=True
        )
        self.notices = Notices()
        self._listener: asyncpg.Connection
        self._listening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen for the notices of other servers (and our own), until `close`."""
        self._listener = await self._connect()
        self._listening = asyncio.create_task(tasks.forever("store listener", self._keep_listening))

    async def _connect(self) -> asyncpg.Connection:
        url = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        listener = await asyncpg.connect(url)
        await listener.add_listener(self.CHANNEL, self._heard)
        return listener

    async def _keep_listening(self) -> None:
        """Connect again whenever the connection breaks, and have everybody look at what they missed."""
        while True:
            listener = self._listener
            broken = asyncio.Event()
            listener.add_termination_listener(lambda _connection, broken=broken: broken.set())
            if listener.is_closed():
                broken.set()
            try:
                await broken.wait()
            finally:
                await listener.close(timeout=2)
            self._listener = await self._again()
            self.notices.missed()

    async def _again(self) -> asyncpg.Connection:
        while True:
            try:
                return await self._connect()
            except Exception as error:
                if not outages.is_outage(error):
                    raise
                await asyncio.sleep(_LISTEN_RETRY)

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        channel, _, thing_id = payload.partition(" ")
        self.notices.tell(channel, thing_id)

    async def write(self, work: Callable[[Tx], T], *, is_short: bool = False) -> T:  # noqa: ARG002
        """Run `work` in a transaction and commit it; return what it returned."""
        with _translated():
            async with self._engine.begin() as connection:
                return await connection.run_sync(self._unit, work, tell=True)

    def write_now(self, _work: Callable[[Tx], T]) -> tuple[T] | None:
        """Return `None`: a transaction waits for the database."""
        return None

    async def read(self, work: Callable[[Tx], T]) -> T:
        """Run `work`, which must not write, on a consistent snapshot."""
        with _translated():
            async with self._engine.connect() as connection:
                await connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
                return await connection.run_sync(self._unit, work, tell=False)

    async def glance(self, work: Callable[[Tx], T]) -> T:
        """Do as `read`: the driver needs no thread."""
        return await self.read(work)

    async def failed(self) -> str:
        """Wait for ever: a connection that breaks is made again."""
        never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        return await never

    async def close(self) -> None:
        """Close the connections."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        await self._engine.dispose()

    def _unit(self, connection: sa.Connection, work: Callable[[Tx], T], *, tell: bool) -> T:
        now: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        tx = Tx(connection, now)
        result = work(tx)
        if tell and tx.notices:
            told = [f"{channel} {thing_id}" for channel, thing_id in dict.fromkeys(tx.notices)]
            connection.exec_driver_sql(_TELL, (self.CHANNEL, told))
        return result


@asynccontextmanager
async def opened(database_url: str | None, sqlite_path: Path) -> AsyncIterator[Store]:
    """Open the database of the settings, already migrated; close it at the end."""
    if database_url is None:
        sqlite = SqliteStore(sqlite_path)
        try:
            yield sqlite
        finally:
            await sqlite.close()
        return
    postgres = PostgresStore(database_url)
    try:
        await postgres.start()
        yield postgres
    finally:
        await postgres.close()
