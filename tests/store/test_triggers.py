"""Rows of triggers."""

from dataclasses import replace

import pytest
from factories import a_connection, a_person, a_project, a_trigger

from ninelives_server.model.triggers import TriggerType
from ninelives_server.store import triggers


@pytest.fixture
async def project(database, vault):
    await database.write(vault.start)
    return await a_project(database, vault, await a_person(database))


async def test_a_trigger_comes_back_as_it_was_saved(database, project):
    """
    Every attribute survives the store.
    """
    trigger = await a_trigger(database, project, event_type="post", filter="true", is_sync=True)

    found = await database.read(lambda tx: triggers.by_id(tx, trigger.id))

    assert found == trigger


async def test_a_trigger_is_found_by_name_slug_project_and_connection(database, project):
    """
    Each of the questions that others ask has its answer.
    """
    connection = await a_connection(database, project)
    hook = await a_trigger(database, project, name="hook")
    listener = await a_trigger(
        database, project, name="a", type=TriggerType.CONNECTION, connection_id=connection.id
    )

    def read(tx):
        return (
            triggers.by_name(tx, project.id, "hook"),
            triggers.by_slug(tx, hook.slug),
            triggers.of_project(tx, project.id),
            triggers.of_connection(tx, connection.id),
            triggers.matching(tx, project.id, connection.id),
            triggers.matching(tx, "prj_other", connection.id),
            triggers.by_id(tx, "trg_none"),
            triggers.by_slug(tx, "none"),
        )

    assert await database.read(read) == (hook, hook, [listener, hook], [listener], [listener], [], None, None)


async def test_an_update_keeps_identity_and_error(database, project):
    """
    A deploy changes what a trigger wants, not what went wrong with it.
    """
    trigger = await a_trigger(database, project)
    await database.write(lambda tx: triggers.set_error(tx, trigger.id, "broken"))

    await database.write(
        lambda tx: triggers.update(tx, replace(trigger, event_type="get", last_error="", created_by="x"))
    )

    found = await database.read(lambda tx: triggers.by_id(tx, trigger.id))
    assert (found.event_type, found.last_error, found.created_by) == ("get", "broken", trigger.created_by)
    assert found.slug == trigger.slug


async def test_an_error_is_set_told_and_cleared(database, project):
    """
    The same text again changes nothing and tells nobody.
    """
    trigger = await a_trigger(database, project)

    with database.notices.subscribed("trigger", trigger.id) as notice:
        await database.write(lambda tx: triggers.set_error(tx, trigger.id, "broken"))
        first = await database.read(lambda tx: triggers.by_id(tx, trigger.id))
        await notice.wait()
        notice.take()
        await database.write(lambda tx: triggers.set_error(tx, trigger.id, "broken"))
        again = await database.read(lambda tx: triggers.by_id(tx, trigger.id))
        assert not notice.is_set()

    await database.write(lambda tx: triggers.set_error(tx, trigger.id, ""))
    cleared = await database.read(lambda tx: triggers.by_id(tx, trigger.id))
    assert first == again
    assert first.last_error == "broken"
    assert first.last_error_at is not None
    assert (cleared.last_error, cleared.last_error_at) == ("", None)


async def test_a_deleted_trigger_is_gone(database, project):
    """
    Its address answers no more.
    """
    trigger = await a_trigger(database, project)

    await database.write(lambda tx: triggers.delete(tx, trigger.id))

    assert await database.read(lambda tx: triggers.by_slug(tx, trigger.slug)) is None
