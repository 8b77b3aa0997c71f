"""
Backups: the whole database as one file, and a new one made from it.
"""

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from factories import a_person

from ninelives_server.errors import Invalid, SetupError
from ninelives_server.store import backup, schema
from ninelives_server.store.core import SqliteStore
from ninelives_server.store.tables import metadata

HEAD = backup.Head(schema=schema.head(), made_at=datetime(2026, 11, 28, tzinfo=UTC), keys="k1:hush\n")


async def everything(url: str | None, path: Path) -> dict[str, list[tuple]]:
    def look(connection):
        return {t.name: sorted(map(repr, connection.execute(sa.select(t)))) for t in metadata.sorted_tables}

    return await backup._connected(url, path, look, "BEGIN")


async def a_backup(path: Path) -> io.BytesIO:
    """A backup of a database with people, a build without a manifest and times in it."""
    await schema.migrated(None, path)
    store = SqliteStore(path)
    ada = await a_person(store)

    def fill(tx):
        made = {"created_at": tx.now, "created_by": ada.id}
        tables = metadata.tables
        project = {"id": "prj_1", "org_id": ada.org_id, "name": "p", "display_name": "ü"}
        tx.connection.execute(sa.insert(tables["projects"]).values(**project, **made))
        build = {"id": "bld_1", "project_id": "prj_1", "sha256": "0", "size_bytes": 2**40, "entrypoints": []}
        rest = {"requirements": ["a==1"], "manifest": sa.null(), "environment_logs": []}
        tx.connection.execute(sa.insert(tables["builds"]).values(**build, **rest, **made))
        blob = {
            "sha256": "0",
            "project_id": "prj_1",
            "part": 0,
            "sealed_data": b"\x00\xff",
            "created_at": tx.now,
        }
        tx.connection.execute(sa.insert(tables["blobs"]).values(**blob))

    await store.write(fill)
    target = io.BytesIO()
    await backup.write(None, path, target, HEAD)  # the store is open: a server may run
    await store.close()
    target.seek(0)
    return target


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.store)])
async def test_what_is_restored_is_what_was_backed_up(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
):
    """
    Every row of every table, bytes, times and absent values included; into the other database, too.
    """
    made = await a_backup(tmp_path / "old.db")
    before = await everything(None, tmp_path / "old.db")
    assert (backup.head_of(made), before["blobs"] != []) == (HEAD, True)

    if kind == "sqlite":
        rows = await backup.restore(None, tmp_path / "new.db", made)
        after = await everything(None, tmp_path / "new.db")
    else:
        async with request.getfixturevalue("postgres").database(empty=True) as url:
            rows = await backup.restore(url, tmp_path, made)
            after = await everything(url, tmp_path)
            again = io.BytesIO()
            assert await backup.write(url, tmp_path, again, HEAD) == rows

    assert after == before
    assert rows == sum(map(len, before.values()))


async def test_a_database_that_is_not_empty_is_refused(tmp_path: Path):
    """
    Nothing that is there is overwritten or mixed with something else.
    """
    made = await a_backup(tmp_path / "old.db")
    before = await everything(None, tmp_path / "old.db")

    with pytest.raises(SetupError, match="is not empty"):
        await backup.restore(None, tmp_path / "old.db", made)

    assert await everything(None, tmp_path / "old.db") == before


@pytest.mark.parametrize("left", [0.5, 0.9])
async def test_a_part_of_a_backup_restores_nothing(tmp_path: Path, left: float):
    """
    A copy that broke off is noticed, and the database stays empty.
    """
    whole = (await a_backup(tmp_path / "old.db")).getvalue()

    with pytest.raises(Invalid, match="missing"):
        await backup.restore(None, tmp_path / "new.db", io.BytesIO(whole[: int(len(whole) * left)]))

    assert not any((await everything(None, tmp_path / "new.db")).values())


def test_what_is_no_backup_is_refused():
    """
    Whatever it is.
    """
    with pytest.raises(Invalid, match="no backup"):
        backup.head_of(io.BytesIO(b"hello"))
