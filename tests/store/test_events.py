"""Rows of events."""

from dataclasses import replace
from datetime import timedelta

import pytest
from factories import a_build, a_deployment, a_person, a_project

from ninelives_server import ids
from ninelives_server.ids import EventId
from ninelives_server.model.events import NewEvent
from ninelives_server.store import events
from ninelives_server.store.events import SealedEvent, Wanted


@pytest.fixture
async def project(database, vault):
    await database.write(vault.start)
    return await a_project(database, vault, await a_person(database))


def some_events(project_id: str, keys) -> list[SealedEvent]:
    found = sorted(EventId(ids.new("evt")) for _ in keys)
    return [
        SealedEvent(
            id=event_id,
            new=NewEvent(project_id=project_id, source_key=key, event_type="lead", data={}),
            sealed_data=b"sealed",
        )
        for event_id, key in zip(found, keys, strict=True)
    ]


def insert(tx, new):
    return events.insert(tx, new, events.orgs_of(tx, {event.new.project_id for event in new}))


async def test_only_new_source_keys_are_inserted(database, project):
    """
    The answer names those that are new.
    """
    first = some_events(project.id, ["a", "b"])
    second = some_events(project.id, ["b", "c"])

    added = await database.write(lambda tx: insert(tx, first))
    later = await database.write(lambda tx: insert(tx, second))

    assert added == {event.id for event in first}
    assert later == {second[1].id}


async def test_a_source_key_that_comes_twice_in_one_batch_is_one_event(database, project):
    """
    The first one counts; the others of the batch are stored all the same.
    """
    new = some_events(project.id, ["a", "a", "b"])

    added = await database.write(lambda tx: insert(tx, new))

    assert added == {new[0].id, new[2].id}
    assert await database.read(lambda tx: events.undispatched(tx, 9)) == [new[0].id, new[2].id]


async def test_an_event_is_read_as_it_was_written(database, project):
    """
    By plain SQL or by the tables' own types: every column comes back as it was, times in UTC.
    """
    [plain] = some_events(project.id, ["a"])
    new = replace(
        plain.new,
        connection_id="con_1",
        trigger_id="trg_1",
        memo={"method": "POST", "path": "größe/“x”"},
        record_id="00Q1",
        traceparent="00-1-2-01",
        created_by="usr_1",
    )
    await database.write(lambda tx: insert(tx, [replace(plain, new=new)]))

    [taken] = await database.write(lambda tx: events.take_undispatched(tx, [plain.id]))

    read = await database.read(lambda tx: events.by_id(tx, plain.id))
    assert taken.event == read
    assert (taken.created_by, taken.sealed_data) == ("usr_1", b"sealed")
    assert {name: getattr(read, name) for name in ("connection_id", "trigger_id", "memo", "record_id")} == {
        "connection_id": "con_1",
        "trigger_id": "trg_1",
        "memo": new.memo,
        "record_id": "00Q1",
    }
    assert read.created_at.utcoffset() == timedelta(0)


async def test_an_event_whose_outcome_is_known_does_not_wait_for_dispatch(database, project):
    """
    It is stored as dispatched, with what became of it.
    """
    waiting, known = some_events(project.id, ["a", "b"])
    settled = replace(known, outcomes=[{"outcome": "filtered", "trigger": "größe"}])

    await database.write(lambda tx: insert(tx, [waiting, settled]))

    found = await database.read(lambda tx: events.by_id(tx, known.id))
    assert found.dispatch == [{"outcome": "filtered", "trigger": "größe"}]
    assert found.dispatched_at == found.created_at
    assert await database.read(lambda tx: events.undispatched(tx, 9)) == [waiting.id]


async def test_thousands_in_one_unit(database, project):
    """
    A burst goes in with few statements, whatever the limit of parameters.
    """
    new = some_events(project.id, [str(i) for i in range(3000)])

    added = await database.write(lambda tx: insert(tx, new))
    known = await database.read(
        lambda tx: events.ids_of(tx, [(project.id, event.new.source_key) for event in new])
    )

    assert len(added) == len(known) == 3000


async def test_what_waits_for_dispatch_is_found_oldest_first_and_taken_once(database, project):
    """
    After dispatch an event is not found again.
    """
    new = some_events(project.id, ["a", "b", "c"])
    await database.write(lambda tx: insert(tx, new))

    def dispatch(tx):
        taken = events.take_undispatched(tx, [new[0].id])
        events.set_dispatched(tx, {new[0].id: [{"outcome": "filtered"}]})
        return taken, events.take_undispatched(tx, [new[0].id])

    first, again = await database.write(dispatch)
    left = await database.read(lambda tx: events.undispatched(tx, 10))

    assert [taken.sealed_data for taken in first] == [b"sealed"]
    assert again == []
    assert left == [new[1].id, new[2].id]
    assert (await database.read(lambda tx: events.by_id(tx, new[0].id))).dispatch == [{"outcome": "filtered"}]


async def test_a_list_is_narrowed_by_time(database, project):
    """
    From `since` on, before `until`.
    """
    new = some_events(project.id, ["a"])
    await database.write(lambda tx: insert(tx, new))
    at = (await database.read(lambda tx: events.by_id(tx, new[0].id))).created_at

    async def count(**wanted):
        return len(
            await database.read(
                lambda tx: events.of_project(tx, project.id, wanted=Wanted(**wanted), before=None, limit=9)
            )
        )

    assert await count(since=at) == 1
    assert await count(until=at) == 0


async def test_the_target_is_the_active_deployment_or_the_one_that_is_named(database, project):
    """
    A deployment that takes nothing, or another project's, leads nowhere.
    """
    build = await a_build(database, project, entrypoints=("a.py:f", "b/c.py:g"))
    from ninelives_server.model.projects import DeploymentState

    old = await a_deployment(database, build, state=DeploymentState.INACTIVE)
    tried = await a_deployment(database, build, state=DeploymentState.TESTING)
    active = await a_deployment(database, build)

    def read(tx):
        return (
            events.target(tx, project.id),
            events.target(tx, project.id, tried.id),
            events.target(tx, project.id, old.id),
            events.target(tx, "prj_other", tried.id),
            events.target(tx, "prj_other"),
        )

    found, named, inactive, foreign, none = await database.read(read)
    assert (found.deployment_id, found.build_id) == (active.id, build.id)
    assert found.entrypoints == ("a.py:f", "b/c.py:g")
    assert named.deployment_id == tried.id
    assert (inactive, foreign, none) == (None, None, None)
