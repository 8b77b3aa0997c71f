"""Limits as the server sees them: what holds, and how a session ends that has reached one."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from world import World, record

from ninelives_server.model.sessions import SessionState
from ninelives_server.sessions.journal import Claimed, NotClaimed
from ninelives_server.sessions.limits import Limits
from ninelives_server.sessions.records import Buried, Parked
from ninelives_server.settings import JournalSettings, LimitSettings
from ninelives_server.store import tables


async def _limit(world: World, **wanted: int) -> None:
    """Give the build's manifest these limits."""
    manifest = {"project": {"name": "p", "limits": wanted}}
    await world.store.write(
        lambda tx: tx.connection.execute(
            sa.update(tables.builds).where(tables.builds.c.id == world.build.id).values(manifest=manifest)
        )
    )


async def _began(world: World, session_id: str, ago: timedelta) -> None:
    """Have a session begun earlier."""
    await world.store.write(
        lambda tx: tx.connection.execute(
            sa.update(tables.sessions)
            .where(tables.sessions.c.id == session_id)
            .values(started_at=tx.now - ago)
        )
    )


def test_a_project_says_what_it_needs():
    """
    What the manifest gives holds, the settings fill in the rest; 0 is no limit.
    """
    found = Limits(defaults=LimitSettings(memory_mb=100)).of({"cpu_seconds": 5, "processes": 0})

    assert (found["memory_mb"], found["cpu_seconds"], found["processes"]) == (100, 5, 0)


@pytest.mark.parametrize(("wanted", "holds"), [(50, 50), (200, 100), (0, 100)])
def test_locked_limits_can_only_be_lowered(wanted: int, holds: int):
    """
    Whoever runs the server may keep its limits from those who deploy.
    """
    limits = Limits(defaults=LimitSettings(memory_mb=100, locked=True))

    assert limits.of({"memory_mb": wanted})["memory_mb"] == holds


def test_a_lock_on_no_limit_allows_any():
    """
    Where the server sets none, a project's own holds.
    """
    assert (
        Limits(defaults=LimitSettings(wall_seconds=0, locked=True)).of({"wall_seconds": 9})["wall_seconds"]
        == 9
    )


@pytest.mark.parametrize(
    ("records", "stored", "reached", "warned"),
    [
        (799, 0, None, False),
        (800, 0, None, True),
        (1000, 0, "1000 records (NINELIVES_JOURNAL__RECORDS)", True),
        (1, 1_600_000, None, False),
        (1, 1_700_000, None, True),
        (1, 2 * 1024 * 1024, "2 MB (NINELIVES_JOURNAL__SIZE_MB)", True),
    ],
)
def test_a_journal_is_warned_of_at_four_fifths_of_either_limit(
    records: int, stored: int, reached: str | None, warned: bool
):
    """
    Whichever comes first; the words are those of the error.
    """
    limits = Limits(journal=JournalSettings(records=1000, size_mb=2))

    assert limits.reached(records, stored) == reached
    assert limits.is_nearly_full(records, stored) is warned


async def test_the_limits_travel_with_the_claim(world: World):
    """
    The worker carries out the manifest's and the server's together.
    """
    await _limit(world, memory_mb=77, wall_seconds=60)
    session = await world.session()

    claimed = await world.journal.claim("wrk_1", session.id)

    assert isinstance(claimed, Claimed)
    assert claimed.start["limits"]["memory_mb"] == 77
    assert claimed.start["limits"]["open_files"] == LimitSettings().open_files
    assert claimed.wall_left == pytest.approx(60, abs=5)


async def test_a_session_that_used_too_much_ends_at_once(world: World):
    """
    No second start would help; the error names the limit and the two settings that raise it.
    """
    sid, epoch = await world.running()
    await world.journal.commit([world.put(sid, epoch, record())])
    limit = {"name": "cpu_seconds", "limit": 3600, "used": 3600.4}

    [answer] = await world.journal.commit([world.died(sid, epoch, stderr="in spin", limit=limit)])

    detail = await world.sessions.get(world.actor, sid)
    assert answer == Buried("error", 0)
    assert detail.session.state is SessionState.ERROR
    assert detail.error is not None
    assert detail.error["type"] == "LimitExceeded"
    assert detail.error["traceback"] == "in spin"
    assert detail.error["seq"] == 1
    for words in (
        "3600 s of CPU time",
        "limits: cpu_seconds",
        "NINELIVES_LIMITS__CPU_SECONDS",
        "requests.post",
    ):
        assert words in detail.error["message"]


async def test_a_locked_server_names_who_can_raise_the_limit(world: World):
    """
    The manifest is no way out there, except for a limit that it has lowered itself.
    """
    locked = LimitSettings(cpu_seconds=3600, memory_mb=100, locked=True)
    world = replace(world, limits=Limits(defaults=locked))
    await _limit(world, cpu_seconds=9999, memory_mb=50)
    sid, epoch = await world.running()
    limit = {"name": "cpu_seconds", "limit": 3600, "used": 3600.4}

    await world.journal.commit([world.died(sid, epoch, limit=limit)])

    claimed = await world.journal.claim("wrk_1", (await world.session()).id)
    detail = await world.sessions.get(world.actor, sid)
    assert isinstance(claimed, Claimed)
    assert claimed.start["limits"] | {"cpu_seconds": 3600, "memory_mb": 50} == claimed.start["limits"]
    assert claimed.start["ceilings"]["memory_mb"] == 100
    assert detail.error is not None
    assert "no manifest may raise it on this server (NINELIVES_LIMITS__LOCKED)" in detail.error["message"]
    assert "ask whoever runs it to raise NINELIVES_LIMITS__CPU_SECONDS" in detail.error["message"]


async def test_a_parked_session_is_looked_at_when_its_time_is_over(world: World):
    """
    It has no process that could be killed; its next start finds that it is too late.
    """
    await _limit(world, wall_seconds=60)
    sid, epoch = await world.running()

    [parked] = await world.journal.commit([world.park(sid, epoch)])
    wake_at = (await world.sessions.get(world.actor, sid)).session.wake_at
    await _began(world, sid, timedelta(seconds=61))
    await world.store.write(
        lambda tx: tx.connection.execute(
            sa.update(tables.sessions).where(tables.sessions.c.id == sid).values(wake_at=tx.now)
        )
    )
    answer = await world.journal.claim("wrk_1", sid)

    detail = await world.sessions.get(world.actor, sid)
    assert parked == Parked()
    assert wake_at is not None
    assert answer == NotClaimed("ended")
    assert detail.session.state is SessionState.ERROR
    assert detail.error is not None
    assert "60 s from start to end" in detail.error["message"]


async def test_what_is_left_of_its_time_is_told_to_the_next_worker(world: World):
    """
    Waits and restarts do not begin the time anew.
    """
    await _limit(world, wall_seconds=60)
    sid, epoch = await world.running()
    await _began(world, sid, timedelta(seconds=40))
    await world.journal.release(sid, epoch)

    claimed = await world.journal.claim("wrk_2", sid)

    assert isinstance(claimed, Claimed)
    assert claimed.wall_left == pytest.approx(20, abs=5)
