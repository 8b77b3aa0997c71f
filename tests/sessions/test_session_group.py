"""The group commit: one session's nonsense is refused, and holds up nobody."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from world import World, record

from ninelives_server.sessions.group import Group
from ninelives_server.sessions.records import Acked, Refused


@asynccontextmanager
async def running(world: World):
    group = Group(world.journal)
    task = asyncio.create_task(group.run())
    try:
        yield group
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    "nonsense", [{"name": "half \ud800"}, {"strand": "half \udfff"}, {"n": 1 << 70}, {"attempt": -(1 << 70)}]
)
async def test_what_no_database_takes_is_refused_alone(world: World, nonsense):
    """It is no outage: to try it again would hold up all sessions for ever."""
    bad, epoch = await world.running()
    good, other = await world.running()
    answers = []

    async with running(world) as group, asyncio.timeout(60):
        group.submit(world.put(bad, epoch, record(**nonsense)), answers.extend)
        group.submit(world.put(good, other, record()), answers.extend)
        while len(answers) < 2:
            await asyncio.sleep(0.01)

    assert {op.session_id: answer for op, answer in answers} == {bad: Refused("failed"), good: Acked(1)}


async def alone(group: Group, world: World, sid: str, epoch: int) -> None:
    """Have a session commit so often, with nobody between, that it counts as the only one."""
    for n in range(10):
        answers = []
        group.submit(world.put(sid, epoch, record(n=n)), answers.extend)
        while not answers:
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_what_a_session_says_that_is_alone_is_committed_where_it_was_read(world: World):
    """All of it at once; the loop does not turn before it has its answer."""
    sid, epoch = await world.running()
    answers = []

    async with running(world) as group, asyncio.timeout(60):
        group.submit_at_once([world.put(sid, epoch, record(n=10))], answers.extend)
        assert answers == []
        await alone(group, world, sid, epoch)
        answers.clear()
        group.submit_at_once([world.put(sid, epoch, record(n=n)) for n in (11, 12)], answers.extend)

        assert [answer for _, answer in answers] == [Acked(12), Acked(13)]


async def test_a_session_is_not_alone_while_others_have_said_something(world: World):
    """They are committed together, as ever, and so is what is too much for now."""
    sid, epoch = await world.running()
    other, second = await world.running()
    answers, later = [], []

    async with running(world) as group, asyncio.timeout(60):
        await alone(group, world, sid, epoch)
        group.submit(world.put(other, second, record()), answers.extend)
        group.submit_at_once([world.put(sid, epoch, record(n=10))], answers.extend)
        assert answers == []
        while len(answers) < 2:
            await asyncio.sleep(0.001)
        await alone(group, world, sid, epoch)  # records that are there already
        large = world.put(sid, epoch, record(n=11, value=bytes(300_000)))
        group.submit_at_once([large], later.extend)
        assert later == []
        while not later:
            await asyncio.sleep(0.001)

    assert {op.session_id: answer for op, answer in answers} == {other: Acked(1), sid: Acked(11)}
    assert [answer for _, answer in later] == [Acked(12)]


async def test_what_cannot_be_committed_at_once_is_tried_again_and_refused(world: World):
    sid, epoch = await world.running()
    answers = []

    async with running(world) as group, asyncio.timeout(60):
        await alone(group, world, sid, epoch)
        group.submit_at_once([world.put(sid, epoch, record(n=10, name="half \ud800"))], answers.extend)
        while not answers:
            await asyncio.sleep(0.001)

    assert [answer for _, answer in answers] == [Refused("failed")]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_full_disk_is_waited_for(world: World):
    """Nothing is refused: no session ends because somebody has to make room."""
    sid, epoch = await world.running()
    answers = []

    def allow(tx, pages):
        return tx.connection.exec_driver_sql(f"PRAGMA max_page_count={pages}").scalar_one()

    await world.store.write(lambda tx: allow(tx, 1))  # no fewer than there are
    async with running(world) as group, asyncio.timeout(60):
        group.submit(world.put(sid, epoch, record(value=bytes(1_000_000))), answers.extend)
        await asyncio.sleep(1)
        assert answers == []
        await world.store.write(lambda tx: allow(tx, 1_000_000))
        while not answers:
            await asyncio.sleep(0.01)

    assert [answer for _, answer in answers] == [Acked(1)]
