"""
Units of work: whole or not at all, in order, and told to others once they are committed.
"""

import asyncio
import ctypes
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from ninelives_server.errors import DatabaseAway
from ninelives_server.store import access, driver
from ninelives_server.store.core import SqliteStore, Store, Tx, opened
from ninelives_server.store.tables import audit, metadata, orgs


def names(tx: Tx) -> list[str]:
    return list(tx.connection.execute(sa.select(orgs.c.name).order_by(orgs.c.name)).scalars())


async def test_a_unit_is_committed_when_it_returns(database: Store):
    """
    And hands on what it returned.
    """
    made = await database.write(lambda tx: access.insert_org(tx, "acme"))

    assert made.startswith("org_")
    assert await database.read(names) == ["acme"]


async def test_nothing_of_a_unit_that_raises_remains(database: Store):
    """
    The caller gets the error as it was raised.
    """

    def fails(tx: Tx) -> None:
        access.insert_org(tx, "acme")
        raise LookupError("on purpose")

    with pytest.raises(LookupError, match="on purpose"):
        await database.write(fails)

    assert await database.read(names) == []


async def test_a_failing_unit_does_not_fail_its_group(database: Store):
    """
    Units that arrive together share a commit on SQLite, and nothing else.
    """

    def unit(number: int):
        def work(tx: Tx) -> int:
            access.insert_org(tx, f"{number:03}")
            if number % 3 == 0:
                raise LookupError(number)
            return number

        return work

    results = await asyncio.gather(*(database.write(unit(n)) for n in range(60)), return_exceptions=True)

    assert [r for r in results if not isinstance(r, LookupError)] == [n for n in range(60) if n % 3]
    assert await database.read(names) == [f"{n:03}" for n in range(60) if n % 3]


async def test_a_broken_constraint_fails_its_unit_only(database: Store):
    """
    The database's own refusals are errors of one unit too.
    """

    def twice(tx: Tx) -> None:
        access.insert_user(tx, "same")
        access.insert_user(tx, "same")

    ends = await asyncio.gather(
        database.write(lambda tx: access.insert_org(tx, "a")),
        database.write(twice),
        database.write(lambda tx: access.insert_org(tx, "b")),
        return_exceptions=True,
    )

    assert isinstance(ends[1], sa.exc.IntegrityError)
    assert await database.read(names) == ["a", "b"]


async def test_foreign_keys_are_enforced(database: Store):
    """
    On SQLite too, where they are off by default.
    """
    new = access.NewToken(user_id="usr_none", org_id="org_none", kind="api", hash=b"x" * 32, created_by="x")

    with pytest.raises(sa.exc.IntegrityError):
        await database.write(lambda tx: access.insert_token(tx, new))


async def test_a_notice_is_told_once_the_unit_is_committed(database: Store):
    """
    Of a unit that failed nothing is told.
    """

    def work(tx: Tx, thing: str, fails: bool) -> None:
        tx.notify("project", thing)
        if fails:
            raise LookupError

    with database.notices.subscribed("project") as any_of, database.notices.subscribed("project", "b") as one:
        with pytest.raises(LookupError):
            await database.write(lambda tx: work(tx, "failed", True))
        await database.write(lambda tx: work(tx, "a", False))
        await database.write(lambda tx: work(tx, "b", False))
        await asyncio.wait_for(one.wait(), 30)

        assert any_of.take() == {"a", "b"}
        assert one.take() == {"b"}
        assert not any_of.is_set()


async def test_times_are_aware_and_in_utc(database: Store):
    """
    Whatever zone they were given in, and whether the database knows zones or not.
    """
    given = datetime(2026, 3, 29, 3, 30, tzinfo=UTC)
    elsewhere = given.astimezone(__import__("zoneinfo").ZoneInfo("Asia/Kolkata"))
    values = {"id": "aud_1", "at": elsewhere, "actor": "x", "action": "x", "target": "x", "details": {}}

    await database.write(lambda tx: tx.connection.execute(sa.insert(audit).values(values)))

    found = await database.read(lambda tx: tx.connection.execute(sa.select(audit.c.at)).scalar_one())
    assert found == given
    assert found.tzinfo is UTC
    naive = {**values, "id": "aud_2", "at": datetime(2026, 1, 1)}
    with pytest.raises(sa.exc.StatementError, match="without a zone"):
        await database.write(lambda tx: tx.connection.execute(sa.insert(audit).values(naive)))


async def test_the_time_of_a_unit_is_now(database: Store):
    """
    From the database's clock on PostgreSQL, the machine's on SQLite.
    """
    now = await database.write(lambda tx: tx.now)

    assert abs(datetime.now(UTC) - now) < timedelta(minutes=1)
    assert now.tzinfo is not None


async def test_reading_does_not_write(database: Store):
    """
    What a reader tries to change is not there afterwards.
    """
    try:
        await database.read(lambda tx: access.insert_org(tx, "acme"))
    except sa.exc.DBAPIError:
        pass  # PostgreSQL refuses it at once

    assert await database.read(names) == []


async def test_a_reader_sees_one_moment(sqlite: Store):
    """
    What is committed meanwhile is not half seen.
    """
    await sqlite.write(lambda tx: access.insert_org(tx, "a"))
    loop = asyncio.get_running_loop()

    def read(tx: Tx) -> tuple[list[str], list[str]]:
        before = names(tx)
        writing = asyncio.run_coroutine_threadsafe(sqlite.write(lambda t: access.insert_org(t, "b")), loop)
        writing.result(60)
        return before, names(tx)

    before, after = await sqlite.read(read)

    assert before == after == ["a"]
    assert await sqlite.read(names) == ["a", "b"]


async def test_a_full_disk_is_an_outage_for_all_who_wrote_together(sqlite: Store):
    """
    SQLite undoes the whole transaction then: nobody is told that theirs was committed, and it goes on afterwards.
    """

    def allow(tx: Tx, pages: int) -> None:
        tx.connection.exec_driver_sql(f"PRAGMA max_page_count={pages}").scalar_one()

    def fill(tx: Tx) -> None:
        driver.sqlite(tx).execute("CREATE TABLE filled (bytes BLOB)")
        driver.sqlite(tx).execute("INSERT INTO filled VALUES (zeroblob(4000000))")

    await sqlite.write(lambda tx: allow(tx, 1))  # no fewer than there are
    writers = [sqlite.write(lambda tx: None), sqlite.write(fill), sqlite.write(lambda tx: None)]
    found = await asyncio.gather(*writers, return_exceptions=True)
    await sqlite.write(lambda tx: allow(tx, 1_000_000))

    assert isinstance(found[1], DatabaseAway)
    assert "database or disk is full" in str(found[1])
    assert {type(error) for error in found} <= {DatabaseAway, type(None)}
    await sqlite.write(fill)


async def test_a_glance_waits_for_no_slow_reader(sqlite: Store):
    """
    It is made in the event loop's thread, which must not wait for a connection that others use.
    """
    go_on = threading.Event()
    gone_on: list[bool] = []

    def slow(_tx: Tx) -> None:
        gone_on.append(go_on.wait(10))

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(40))
    readers = [asyncio.create_task(sqlite.read(slow)) for _ in range(20)]
    await asyncio.sleep(0.3)

    found = await sqlite.glance(lambda tx: driver.sqlite(tx).execute("SELECT 1").fetchone())
    before = list(gone_on)
    go_on.set()
    await asyncio.gather(*readers)

    assert (found, before) == ((1,), [])
    assert gone_on == [True] * len(readers)


async def test_a_cancelled_caller_does_not_undo_its_unit(sqlite: Store):
    """
    Whether it was committed is the database's business once it was accepted.
    """
    task = asyncio.create_task(sqlite.write(lambda tx: access.insert_org(tx, "kept")))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    # Writes are done in the order of their arrival.
    await sqlite.write(lambda tx: None)
    assert await sqlite.read(names) == ["kept"]


async def test_closing_finishes_what_was_accepted(tmp_path: Path, sqlite_template: Path):
    """
    A server that stops loses no unit.
    """
    path = tmp_path / "x.db"
    path.write_bytes(sqlite_template.read_bytes())
    store = SqliteStore(path)
    tasks = [
        asyncio.create_task(store.write(lambda tx, n=n: access.insert_org(tx, f"{n:03}"))) for n in range(50)
    ]
    await asyncio.sleep(0)

    await store.close()
    await asyncio.gather(*tasks)

    async with opened(None, path) as again:
        assert len(await again.read(names)) == 50


async def test_sqlite_syncs_each_commit(sqlite: Store):
    """
    WAL with a full sync: a committed unit survives a power cut.
    """

    def pragmas(tx: Tx) -> list[object]:
        return [
            tx.connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]

    assert await sqlite.write(pragmas) == ["wal", 2, 1]


#: Bytes that are no secret, or no longer one: hashes, digests, wrapped keys, positions in a stream.
PLAIN_BYTES = {
    "tokens.hash",
    "idempotency.key",
    "idempotency.request",
    "idempotency.body",  # sealed by its service
    "data_keys.wrapped",
    "oauth_flows.ticket_hash",
    "oauth_flows.code_hash",
    "oauth_flows.cookie_hash",
    "oauth_flows.state_hash",
    "streams.cursor",
    "journal.digest",
}


def test_bytes_are_sealed_or_known_to_be_no_secret():
    """
    A new column of bytes is named `sealed_…`, or is looked at by a person and added to the list.
    """
    found = {
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.c
        if isinstance(column.type, sa.LargeBinary) and not column.name.startswith("sealed_")
    }

    assert found == PLAIN_BYTES


def test_what_people_make_says_who_and_when():
    """
    These rows have their maker and the time; what has an org or a project goes with it.
    """
    made = {"orgs", "users", "members", "tokens", "projects", "variables", "builds", "deployments",
            "connections", "oauth_flows", "triggers", "events", "sessions"}  # fmt: skip

    for table in metadata.sorted_tables:
        columns = set(table.c.keys())
        assert ({"created_at", "created_by"} <= columns) is (table.name in made), table.name
        for name in columns & {"org_id", "project_id"}:
            target = table.c[name].foreign_keys
            # The audit log outlives what it names; a subscription goes with its session.
            assert target or table.name in {"audit", "subscriptions"}, table.name
            assert all(key.ondelete == "CASCADE" for key in target), table.name


async def test_a_dead_writer_is_no_secret(sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch):
    """
    Who waits for it hears at once that it has died, so does who comes later, and what was committed is so.
    """
    entered, go_on = threading.Event(), threading.Event()

    def slow(tx: Tx) -> str:
        entered.set()
        go_on.wait(20)
        return access.insert_org(tx, "acme")

    committed = asyncio.create_task(sqlite.write(slow))
    await asyncio.to_thread(entered.wait, 20)
    waiting = asyncio.create_task(sqlite.write(lambda tx: access.insert_org(tx, "never")))
    failed = asyncio.create_task(sqlite.failed())
    await asyncio.sleep(0)
    monkeypatch.setattr(sqlite, "_settle", _broken_once(sqlite._settle))
    go_on.set()
    answers = await asyncio.wait_for(asyncio.gather(committed, waiting, return_exceptions=True), 20)
    why = await asyncio.wait_for(failed, 20)

    assert str(answers[0]).startswith("org_")
    assert isinstance(answers[1], DatabaseAway)
    assert "LookupError('a defect')" in why
    with pytest.raises(DatabaseAway, match="has died"):
        await sqlite.write(names)
    assert await sqlite.read(names) == ["acme"]


def _broken_once(settle):
    """Fail as nobody has thought of, and work from then on."""
    failures = [LookupError("a defect")]

    def broken(group) -> None:
        if failures:
            raise failures.pop()
        settle(group)

    return broken


async def test_a_writer_that_is_killed_is_no_secret_either(sqlite: SqliteStore):
    """
    An exception that comes from outside meets it in the middle of its waiting.
    """
    thread = sqlite._thread
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))

    with pytest.raises(DatabaseAway, match="has died"):
        # It wakes for the first of these.
        while True:
            await asyncio.wait_for(sqlite.write(names), 20)

    assert "SystemExit" in await asyncio.wait_for(sqlite.failed(), 20)
