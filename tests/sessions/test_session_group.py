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
