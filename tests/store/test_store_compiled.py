"""Statements that the driver runs: they come to what SQLAlchemy makes of them, on both databases."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from factories import a_person, a_project

from ninelives_server.store import tables
from ninelives_server.store.compiled import Statement
from ninelives_server.store.core import Store
from ninelives_server.vault.vault import Vault

AT = datetime(2026, 11, 28, 14, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
TABLE = tables.connections
ID: sa.BindParameter[str] = sa.bindparam("the_id")


@pytest.fixture
async def values(database: Store, vault: Vault) -> dict[str, object]:
    """A connection: text, times, JSON, nothing, and numbers."""
    await database.write(vault.start)
    actor = await a_person(database)
    project = await a_project(database, vault, actor)
    return {
        "id": "con_1", "org_id": actor.org_id, "project_id": project.id, "name": "crm", "integration": "salesforce",
        "auth_mode": "private", "state": "ready", "state_since": AT, "settings": {"ümlaut": [1, None, True]},
        "account": None, "account_key": "00D", "generation": 3, "last_checked_at": None, "created_at": AT,
        "created_by": "usr_1",
    }  # fmt: skip


def inserting(names) -> Statement:
    made = {name: sa.bindparam(name, type_=TABLE.c[name].type) for name in names}
    return Statement(sa.insert(TABLE).values(made))


async def test_what_is_written_and_read_is_what_sqlalchemy_writes_and_reads(database: Store, values):
    """Values of each type, and the defaults of columns that are not named."""
    assert await database.write(lambda tx: inserting(values).run(tx, **values)) == 1

    query = sa.select(TABLE).where(TABLE.c.id == ID)
    theirs = await database.read(lambda tx: tx.connection.execute(query, {"the_id": "con_1"}).one()._asdict())
    ours = await database.read(lambda tx: Statement(query).one(tx, the_id="con_1")._asdict())

    assert ours == theirs
    assert {name: ours[name] for name in values} == values
    assert ours["state_since"].tzinfo == UTC
    assert ours["reason"] == TABLE.c.reason.default.arg


async def test_rows_are_counted_and_missed(database: Store, values):
    """What is not there is none, an empty list, or an error, as it is asked for."""
    await database.write(lambda tx: inserting(values).run(tx, **values))
    found = Statement(sa.select(TABLE.c.name).where(TABLE.c.id == ID).order_by(TABLE.c.name).limit(1))
    renamed = Statement(sa.update(TABLE).where(TABLE.c.id == ID).values(name=sa.bindparam("new")))

    assert await database.write(lambda tx: renamed.run(tx, the_id="con_1", new="sales")) == 1
    assert await database.write(lambda tx: renamed.run(tx, the_id="con_2", new="other")) == 0
    assert await database.read(lambda tx: found.scalars(tx, the_id="con_1")) == ["sales"]
    assert await database.read(lambda tx: found.first(tx, the_id="con_2")) is None
    with pytest.raises(sa.exc.NoResultFound):
        await database.read(lambda tx: found.one(tx, the_id="con_2"))


async def test_a_value_that_is_not_given_is_an_error(database: Store):
    """It would be NULL otherwise, and find nothing or change the wrong rows."""
    found = Statement(sa.select(TABLE.c.name).where(TABLE.c.id == ID))

    with pytest.raises((KeyError, sa.exc.StatementError), match="the_id"):
        await database.read(found.all)


async def test_a_time_without_a_zone_is_refused(database: Store, values):
    """As everywhere in the store."""
    statement = Statement(sa.update(TABLE).where(TABLE.c.id == ID).values(created_at=sa.bindparam("at")))

    with pytest.raises((ValueError, sa.exc.StatementError), match="without a zone"):
        await database.write(lambda tx: statement.run(tx, the_id="con_1", at=datetime(2026, 1, 1)))  # noqa: DTZ001
