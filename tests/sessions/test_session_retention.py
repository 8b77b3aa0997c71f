"""`sessions.retention`: what goes, and above all what stays."""

import hashlib
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from world import World, log_record, record

from ninelives_server.model.sessions import SessionState
from ninelives_server.sessions.retention import Retention
from ninelives_server.sessions.transfer import Transfer
from ninelives_server.store import retention as rows
from ninelives_server.store import tables

pytestmark = pytest.mark.store

OLD = timedelta(days=40)


async def execute(world: World, statement) -> None:
    await world.store.write(lambda tx: tx.connection.execute(statement) and None)


async def count(world: World, table) -> int:
    return await world.store.read(
        lambda tx: tx.connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
    )


async def ended(world: World, *, ago: timedelta, records: int = 1, **fields: object) -> str:
    """A session that ended so long ago."""
    sid, epoch = await world.running(**fields)
    puts = [world.put(sid, epoch, record(n)) for n in range(records)]
    await world.journal.commit([*puts, world.put(sid, epoch, log_record(0, "hi")), world.done(sid, epoch)])
    at = world.journal.clock.now() - ago
    await execute(
        world, tables.sessions.update().where(tables.sessions.c.id == sid).values(ended_at=at, created_at=at)
    )
    return sid


async def an_event(world: World, name: str, *, ago: timedelta, dispatched: bool = True) -> str:
    at = world.journal.clock.now() - ago
    await execute(
        world,
        tables.events.insert().values(
            id=name, org_id=world.project.org_id, project_id=world.project.id, source_key=name, event_type="x",
            sealed_data=b"", memo={}, dispatch=[], dispatched_at=at if dispatched else None, created_at=at,
            created_by="system",
        ),
    )  # fmt: skip
    return name


async def keep(world: World, **days: int) -> None:
    await execute(world, tables.projects.update().values(**{f"retain_{kind}": n for kind, n in days.items()}))


@pytest.fixture
def retention(world: World) -> Retention:
    return Retention(store=world.store, audit_days=365, batch=3)


async def test_sessions_that_ended_long_ago_go_with_their_journals(world: World, retention: Retention):
    """
    In small batches, until none is left; younger ones stay.
    """
    for _ in range(7):
        await ended(world, ago=OLD)
    young = await ended(world, ago=timedelta(days=1))

    deleted = await retention.sweep()

    assert deleted["sessions"] == 7
    assert [s.id for s in (await world.sessions.list(world.actor)).items] == [young]
    assert await count(world, tables.journal) == 2


async def test_a_long_journal_goes_in_pieces(
    world: World, retention: Retention, monkeypatch: pytest.MonkeyPatch
):
    """
    No transaction deletes more than so many records: other writers wait for none.
    """
    monkeypatch.setattr(rows, "RECORDS", 4)
    await ended(world, ago=OLD, records=15)

    deleted = await retention.sweep()

    assert deleted["sessions"] == 1
    assert await count(world, tables.journal) == 0


async def test_a_session_that_has_not_ended_is_never_deleted(world: World, retention: Retention):
    """
    A session may wait for a year.
    """
    sid, epoch = await world.running()
    await world.journal.commit([world.put(sid, epoch, log_record(0, "hi")), world.park(sid, epoch)])
    long_ago = world.journal.clock.now() - timedelta(days=400)
    await execute(
        world, tables.sessions.update().values(created_at=long_ago, state_since=long_ago, started_at=long_ago)
    )

    await retention.sweep()

    assert await world.state(sid) is SessionState.WAITING
    assert len(await world.sessions.prints(world.actor, sid)) == 1


async def test_zero_days_is_for_ever(world: World, retention: Retention):
    """
    Whoever wants to keep everything, does.
    """
    await keep(world, sessions=0, logs=0, events=0)
    await ended(world, ago=timedelta(days=4000))
    await an_event(world, "evt_1", ago=timedelta(days=4000))

    deleted = await retention.sweep()

    assert not any(deleted.values())


async def test_logs_may_go_before_their_sessions(world: World, retention: Retention):
    """
    The journal's steps stay, for people to look at.
    """
    await keep(world, sessions=90, logs=10)
    sid = await ended(world, ago=OLD)

    await retention.sweep()

    assert await world.sessions.prints(world.actor, sid) == []
    assert len(await world.sessions.steps(world.actor, sid)) == 1


async def test_old_events_go_unless_somebody_needs_them(world: World, retention: Retention):
    """
    Not one that was not dispatched, nor one whose session still runs.
    """
    await an_event(world, "evt_old", ago=OLD)
    await an_event(world, "evt_waiting", ago=OLD, dispatched=False)
    await an_event(world, "evt_running", ago=OLD)
    await world.running(event_id="evt_running")
    await an_event(world, "evt_new", ago=timedelta(days=1))

    deleted = await retention.sweep()

    left = await world.store.read(
        lambda tx: set(tx.connection.execute(sa.select(tables.events.c.id)).scalars())
    )
    assert deleted["events"] == 1
    assert left == {"evt_waiting", "evt_running", "evt_new"}


async def test_an_event_that_may_come_again_stays(world: World, retention: Retention):
    """
    Its row tells the second delivery from a first one, however short the project's period is.
    """
    await keep(world, events=1)
    await an_event(world, "evt_3_days", ago=timedelta(days=3))
    await an_event(world, "evt_5_days", ago=timedelta(days=5))

    await retention.sweep()

    left = await world.store.read(
        lambda tx: list(tx.connection.execute(sa.select(tables.events.c.id)).scalars())
    )
    assert left == ["evt_3_days"]


async def test_cursors_of_streams_stay(world: World, retention: Retention):
    """
    A stream that said nothing for a year goes on where it stood.
    """
    long_ago = world.journal.clock.now() - timedelta(days=400)
    await execute(
        world,
        tables.streams.insert().values(
            id="str_1", org_id=world.project.org_id, integration="salesforce", account_key="a", topic="t",
            cursor=b"1", cursor_at=long_ago, gaps=[], created_at=long_ago,
        ),
    )  # fmt: skip

    await retention.sweep()

    assert await count(world, tables.streams) == 1


async def test_blobs_go_when_nothing_names_them(world: World, retention: Retention):
    """
    Those of a journal stay with it, those of a build with the build, and young ones may still get a record.
    """
    transfer = Transfer(store=world.store, vault=world.vault)
    sid, epoch = await world.running()
    session = await transfer.held(sid, epoch)
    named, orphan, young = b"named", b"orphan", b"young"
    for data in (named, orphan, young):
        await transfer.put_blob(session, hashlib.sha256(data).hexdigest(), data)
    name = hashlib.sha256(named).hexdigest()
    await world.journal.commit([world.put(sid, epoch, record(0, value=None, blob=name))])
    long_ago: datetime = world.journal.clock.now() - timedelta(days=2)
    blobs = tables.blobs
    await execute(
        world,
        blobs.update().where(blobs.c.sha256 != hashlib.sha256(young).hexdigest()).values(created_at=long_ago),
    )
    await execute(
        world,
        blobs.insert().values(
            sha256=world.build.sha256,
            project_id=world.project.id,
            part=0,
            sealed_data=b"",
            created_at=long_ago,
        ),
    )

    deleted = await retention.sweep()

    left = await world.store.read(lambda tx: set(tx.connection.execute(sa.select(blobs.c.sha256)).scalars()))
    assert deleted["blobs"] == 1
    assert left == {name, hashlib.sha256(young).hexdigest(), world.build.sha256}


async def test_the_audit_log_is_kept_for_its_own_period(world: World, retention: Retention):
    """
    A year, whatever the projects say.
    """
    now = world.journal.clock.now()
    for name, days in (("aud_old", 400), ("aud_new", 300)):
        await execute(
            world,
            tables.audit.insert().values(
                id=name, at=now - timedelta(days=days), actor="x", action="y", target="z", details={}
            ),
        )

    deleted = await retention.sweep()

    left = await world.store.read(
        lambda tx: list(tx.connection.execute(sa.select(tables.audit.c.id)).scalars())
    )
    assert deleted["audit"] == 1
    assert left == ["aud_new"]
