"""`store.outages`, and a PostgreSQL store whose server goes away and comes back."""

import asyncio
import contextlib
import sqlite3

import asyncpg
import pytest
import sqlalchemy as sa

from ninelives_server.errors import DatabaseAway, Invalid
from ninelives_server.store import outages
from ninelives_server.store.core import PostgresStore

ADMIN = sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                "AND datname = current_database()")  # fmt: skip


def _of_sqlite(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "is_outage"),
    [
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (DatabaseAway(), True),
        (asyncpg.CannotConnectNowError("the database system is starting up"), True),
        (asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"), True),
        (asyncpg.AdminShutdownError("terminating connection"), True),
        (sa.exc.DBAPIError("SELECT 1", {}, asyncpg.CannotConnectNowError("starting up")), True),
        (sa.exc.DBAPIError("SELECT 1", {}, asyncpg.DivisionByZeroError("division by zero")), False),
        (asyncpg.UniqueViolationError("duplicate key"), False),
        (_of_sqlite(sqlite3.SQLITE_FULL), True),
        (_of_sqlite(sqlite3.SQLITE_IOERR_FSYNC), True),
        (_of_sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT), True),
        (_of_sqlite(sqlite3.SQLITE_ERROR), False),
        (_of_sqlite(sqlite3.SQLITE_CONSTRAINT_UNIQUE), False),
        (ValueError(), False),
    ],
)
def test_an_outage_is_told_from_a_defect(error, is_outage):
    """
    What may succeed later is tried again, what never will is not.
    """
    assert outages.is_outage(error) is is_outage


@pytest.fixture
async def store(postgres):
    """A store on a real PostgreSQL."""
    async with postgres.store() as store:
        yield store


async def cut(store: PostgresStore) -> None:
    """Have the server end every connection of the store, its listener included."""
    with contextlib.suppress(DatabaseAway, asyncpg.PostgresError, sa.exc.DBAPIError):
        await store.write(lambda tx: tx.connection.execute(ADMIN))


@pytest.mark.store
async def test_a_unit_whose_connection_was_cut_says_that_the_database_is_away(store):
    """
    Callers see one error whatever the driver says, and may try the same again.
    """
    end_mine = sa.text("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(DatabaseAway):
        await store.write(lambda tx: tx.connection.execute(end_mine))

    assert await store.read(lambda tx: tx.connection.execute(sa.text("SELECT 1")).scalar_one()) == 1


@pytest.mark.store
async def test_text_with_a_nul_is_the_fault_of_whoever_asks(store):
    """
    PostgreSQL has no such text; the same again would fail again, and the next unit does not.
    """
    query = sa.text("SELECT CAST(:text AS text)")

    with pytest.raises(Invalid, match="NUL character"):
        await store.read(lambda tx: tx.connection.execute(query, {"text": "a\0b"}).scalar_one())

    assert await store.read(lambda tx: tx.connection.execute(query, {"text": "ab"}).scalar_one()) == "ab"


@pytest.mark.store
async def test_notices_come_again_after_the_listener_was_cut(store):
    """
    A PostgreSQL that was restarted would else leave new sessions to the sweep; who waits is woken once, to look
    for what was told meanwhile.
    """
    with store.notices.subscribed("start") as notice:
        await cut(store)
        await asyncio.wait_for(notice.wait(), 20)
        assert notice.take() == set()

        await store.write(lambda tx: tx.notify("start", "ses_1"))
        await asyncio.wait_for(notice.wait(), 20)

        assert notice.take() == {"ses_1"}


@pytest.mark.store
async def test_notices_come_again_after_the_listener_met_a_defect(store, monkeypatch, capsys):
    """
    It says what it was, and listens again: else this server would hear of nothing until it is restarted.
    """
    connect, failures = store._connect, [LookupError("a defect")]

    async def broken_once():
        if failures:
            raise failures.pop()
        return await connect()

    monkeypatch.setattr(store, "_connect", broken_once)
    with store.notices.subscribed("start") as notice:
        await cut(store)
        await asyncio.wait_for(notice.wait(), 20)

    assert failures == []
    assert "task.failed" in capsys.readouterr().out
