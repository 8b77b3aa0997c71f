"""
The schema: migrations bring a database to the tables that the code knows, and a newer one is refused.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from ninelives_server.errors import SetupError
from ninelives_server.store import schema, workers
from ninelives_server.store.columns import Utc
from ninelives_server.store.core import PostgresStore, SqliteStore, Store
from ninelives_server.store.tables import metadata

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.store)])
async def empty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[str | None, Path]]:
    """An empty database: its address, and the path that counts where there is none."""
    path = tmp_path / "ninelives.db"
    if request.param == "sqlite":
        yield None, path
        return
    async with request.getfixturevalue("postgres").database(empty=True) as url:
        yield url, path


async def with_store(where: tuple[str | None, Path], work):
    """Run a unit on a database that was made by hand."""
    url, path = where
    store: Store = SqliteStore(path) if url is None else PostgresStore(url, pool_size=1)
    try:
        return await store.write(work)
    finally:
        await store.close()


async def upgraded_to(where: tuple[str | None, Path], revision: str) -> None:
    """Bring a database to the schema of an older version of the program."""

    def work(connection: sa.Connection) -> None:
        config = schema._config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    await schema._with_connection(*where, work)


async def test_migrations_make_the_tables_of_the_code(empty):
    """
    Nothing is missing, nothing is left over, no type differs.
    """
    assert await schema.migrated(*empty) == (None, schema.head())

    def compare(tx):
        context = MigrationContext.configure(tx.connection, opts={"compare_type": True})
        return compare_metadata(context, metadata)

    assert await with_store(empty, compare) == []


@pytest.mark.parametrize("older", ["0001", "0002", "0003", "0004"])
async def test_a_database_of_an_older_schema_is_upgraded_with_what_is_in_it(empty, older: str):
    """
    Rows stay, and the tables are those of the code afterwards.
    """
    await upgraded_to(empty, older)
    made = sa.insert(metadata.tables["orgs"]).values(id="org_1", name="acme", created_at=NOW, created_by="x")
    await with_store(empty, lambda tx: tx.connection.execute(made))

    assert await schema.migrated(*empty) == (older, schema.head())

    def look(tx):
        kept = tx.connection.execute(sa.select(metadata.tables["orgs"].c.name)).scalars().all()
        return kept, compare_metadata(MigrationContext.configure(tx.connection), metadata)

    assert await with_store(empty, look) == (["acme"], [])


async def test_workers_of_an_older_schema_have_said_no_release(empty):
    """
    What the row of a worker tells of it is what its link has said before the upgrade.
    """
    await upgraded_to(empty, "0004")
    row = "INSERT INTO workers (id, name, slots, python, isolation, connected_at, seen_at) VALUES ('wrk_1', 'w', 4, "
    made = sa.text(f"{row}'3.11', 'none', :now, :now)").bindparams(sa.bindparam("now", NOW, Utc))
    await with_store(empty, lambda tx: tx.connection.execute(made))

    await schema.migrated(*empty)
    [worker] = await with_store(empty, lambda tx: workers.listing(tx, seen_within=timedelta(days=36500)))

    assert (worker.id, worker.release, worker.semantics) == ("wrk_1", "", [])


async def test_a_missing_migration_would_be_noticed(empty):
    """
    The comparison can fail.
    """
    await schema.migrated(*empty)

    def compare(tx):
        tx.connection.execute(sa.text("ALTER TABLE orgs ADD COLUMN odd INTEGER"))
        return compare_metadata(MigrationContext.configure(tx.connection), metadata)

    [(what, *_, column)] = await with_store(empty, compare)
    assert (what, column.name) == ("remove_column", "odd")


async def test_migrating_again_changes_nothing(empty):
    """
    `up` does it at each start.
    """
    await schema.migrated(*empty)

    assert await schema.migrated(*empty) == (schema.head(), schema.head())
    assert await schema.check(*empty) == schema.head()


async def test_servers_that_start_together_wait_for_each_other(empty):
    """
    One of them migrates. Eight at once, so that several put a fresh SQLite file into WAL mode together.
    """
    found = await asyncio.gather(*(schema.migrated(*empty) for _ in range(8)))

    assert sorted(str(before) for before, _ in found) == [schema.head()] * 7 + ["None"]


async def test_a_newer_schema_is_refused_with_both_versions_named(empty):
    """
    An older program must not write into what it does not understand.
    """
    await schema.migrated(*empty)
    newer = sa.text("UPDATE alembic_version SET version_num = '0042'")
    await with_store(empty, lambda tx: tx.connection.execute(newer))

    for attempt in (schema.migrated, schema.check):
        with pytest.raises(SetupError, match=rf"has schema 0042 .* knows schemas up to {schema.head()}"):
            await attempt(*empty)


async def test_an_older_schema_is_not_used(empty):
    """
    A server without embedded parts leaves the migration to its operator.
    """
    with pytest.raises(SetupError, match=rf"none .* needs {schema.head()}; run `ninelives server migrate`"):
        await schema.check(*empty)


def test_it_can_be_called_without_an_event_loop(tmp_path: Path):
    """
    As `ninelives server migrate` does.
    """
    assert schema.migrate(None, tmp_path / "x.db") == (None, schema.head())


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "postgresql://nobody:hush@127.0.0.1:1/none",
            "postgresql://nobody:***@127.0.0.1:1/none cannot be used",
        ),
        (None, "unable to open database file"),
    ],
)
async def test_a_database_that_cannot_be_reached_is_a_clear_error(url, message, tmp_path: Path):
    """
    With its address, without its password.
    """
    with pytest.raises(SetupError) as caught:
        await schema.check(url, tmp_path / "no" / "such" / "directory" / "x.db")

    assert message in str(caught.value)
    assert "hush" not in str(caught.value)
