"""`store.sessions`: who should run, on both databases."""

import sys
from datetime import timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "sessions"))

from world import World  # noqa: E402

from ninelives_server.model.sessions import SessionState  # noqa: E402
from ninelives_server.store import inbox, sessions, sweeps  # noqa: E402
from ninelives_server.store.core import Store, Tx  # noqa: E402
from ninelives_server.vault.vault import Vault  # noqa: E402

pytestmark = pytest.mark.store


@pytest.fixture
async def world(database: Store, vault: Vault) -> World:
    return await World.made(database, vault)


async def should_run(world: World, *, limit: int = 100, quiet: timedelta = timedelta()) -> list[str]:
    return await world.store.read(lambda tx: sweeps.should_run(tx, quiet=quiet, limit=limit))


async def parked(world: World, until: timedelta | None = None) -> str:
    sid, epoch = await world.running()
    at = None if until is None else world.journal.clock.now() + until
    await world.journal.commit([world.park(sid, epoch, at)])
    return sid


async def test_a_parked_session_with_mail_should_run(world: World):
    """
    The others that are parked should not, however many they are.
    """
    for _ in range(3):
        await parked(world, timedelta(hours=1))
    sid = await parked(world)
    await world.store.write(lambda tx: inbox.put(tx, inbox.new_id(), sid, kind="event", name="x"))

    assert await should_run(world) == [sid]
    assert await should_run(world, quiet=timedelta(minutes=1)) == []  # it was asked for a moment ago


async def test_mail_for_a_session_that_runs_starts_nothing(world: World):
    """
    Its process reads it.
    """
    sid, _ = await world.running()
    await world.store.write(lambda tx: inbox.put(tx, inbox.new_id(), sid, kind="event", name="x"))

    assert await should_run(world) == []


async def test_a_batch_is_no_larger_than_asked(world: World):
    """
    The sweep goes on with the rest, which it finds because the first ones are marked.
    """
    made = {(await world.session()).id for _ in range(5)}

    def take(tx: Tx) -> list[str]:
        return sweeps.should_run(tx, quiet=timedelta(seconds=-1), limit=2)

    first = await world.store.write(take)

    assert len(first) == 2
    assert set(first) <= made


async def test_a_parked_session_that_must_stop_is_due(world: World):
    """
    So the sweep finds it although nobody waits for anything.
    """
    sid = await parked(world)

    await world.sessions.stop(world.actor, sid)

    assert await should_run(world) == [sid]
    assert [s.id for s in await world.store.read(sessions.stopping)] == [sid]


async def test_what_an_ended_session_had_not_read_is_gone(world: World):
    """
    Nobody will read it any more.
    """
    sid, epoch = await world.running()
    await world.store.write(lambda tx: inbox.put(tx, inbox.new_id(), sid, kind="event", name="x"))

    await world.journal.commit([world.done(sid, epoch)])

    assert await world.store.read(lambda tx: inbox.unread(tx, sid)) == []


async def test_mail_comes_in_the_order_of_its_arrival(world: World):
    """
    And is taken out one by one.
    """
    sid, _ = await world.running()
    for name in "abc":
        await world.store.write(
            lambda tx, name=name: inbox.put(tx, inbox.new_id(), sid, kind="signal", name=name)
        )

    first, *rest = await world.store.read(lambda tx: inbox.unread(tx, sid))
    await world.store.write(lambda tx: inbox.remove(tx, first.id))

    assert (first.name, [item.name for item in rest]) == ("a", ["b", "c"])
    assert await world.store.read(lambda tx: inbox.has_unread(tx, sid))
    assert len(await world.store.read(lambda tx: inbox.unread(tx, sid))) == 2


async def test_the_next_timer_is_known(world: World):
    """
    Sessions that wait without a time, and those that were asked for, have none.
    """
    await parked(world)
    await parked(world, timedelta(hours=2))
    soon = await parked(world, timedelta(hours=1))

    due = await world.store.read(sweeps.next_wake)
    session = await world.store.read(lambda tx: sessions.by_id(tx, soon))

    assert session is not None
    assert due == session.wake_at
    assert session.state is SessionState.WAITING
    assert await world.store.write(lambda tx: sessions.wake(tx, soon))
    later = await world.store.read(sweeps.next_wake)
    assert later is not None
    assert later > due
