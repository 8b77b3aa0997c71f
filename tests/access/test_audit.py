"""
The audit log, for people: newest first, page by page, of one org only.
"""

import pytest
from factories import a_person, a_project

from ninelives_server.access.audit import Audit
from ninelives_server.errors import Invalid, NotFound
from ninelives_server.store import audit
from ninelives_server.store.core import Store
from ninelives_server.vault.vault import Vault


async def write_down(store: Store, actor, count: int, project_id: str | None = None) -> None:
    for number in range(count):
        await store.write(
            lambda tx, n=number: audit.record(
                tx, actor, "thing.changed", f"thing {n}", project_id=project_id, details={"n": n}
            )
        )


async def test_pages_cover_the_log_once(database: Store):
    """
    Going from cursor to cursor shows each entry once, newest first.
    """
    ada = await a_person(database)
    await write_down(database, ada, 7)
    log = Audit(store=database)

    seen, cursor = [], None
    while True:
        page = await log.list(ada, cursor=cursor, limit=3)
        seen += [entry.id for entry in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert len(seen) == len(set(seen)) == 7
    assert seen == sorted(seen, reverse=True)


async def test_a_project_has_its_own_log(database: Store, vault: Vault):
    """
    By name while it is there, by id also afterwards.
    """
    ada = await a_person(database)
    project = await a_project(database, vault, ada)
    await write_down(database, ada, 2, project.id)
    await write_down(database, ada, 1)
    log = Audit(store=database)

    assert len((await log.list(ada, project_ref="lead_router")).items) == 2
    assert len((await log.list(ada, project_ref=project.id)).items) == 2
    assert len((await log.list(ada)).items) == 3
    with pytest.raises(NotFound, match="'other'"):
        await log.list(ada, project_ref="other")


async def test_another_org_reads_its_own_log_only(database: Store, vault: Vault):
    """
    Neither by name nor by id.
    """
    ada = await a_person(database)
    eve = await a_person(database, org="evil", name="eve")
    project = await a_project(database, vault, ada)
    await write_down(database, ada, 2, project.id)
    log = Audit(store=database)

    assert (await log.list(eve)).items == []
    assert (await log.list(eve, project_ref=project.id)).items == []
    with pytest.raises(NotFound):
        await log.list(eve, project_ref="lead_router")


@pytest.mark.parametrize("cursor", ["", "x", "YXVkXzE", "é", "aud_00000000000000000000000000"])
async def test_a_made_up_cursor_is_refused(database: Store, cursor: str):
    """
    Cursors are opaque: nobody has to guess what a wrong one means.
    """
    with pytest.raises(Invalid, match="next_cursor"):
        await Audit(store=database).list(await a_person(database), cursor=cursor)


async def test_an_entry_goes_with_its_unit(database: Store):
    """
    What was rolled back is not in the log.
    """
    ada = await a_person(database)

    def fails(tx):
        audit.record(tx, ada, "thing.changed", "x")
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(fails)

    assert (await Audit(store=database).list(ada)).items == []
