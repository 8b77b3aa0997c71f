"""What happens to sessions while Temporal is killed, hangs, forgets, or never comes."""

import asyncio
import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest
from host import Host, Server, is_over, parks, until_waiting
from world import World

from ninelives_server.engine import starter
from ninelives_server.engine.client import Engine
from ninelives_server.engine.embedded import EmbeddedTemporal
from ninelives_server.engine.starter import looking
from ninelives_server.store import inbox

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


async def test_sessions_survive_a_temporal_that_is_killed(
    world: World, server: Server, host: Host, temporal: EmbeddedTemporal
):
    """
    It is started again; what was running, parked or made meanwhile goes on.
    """
    host.turns = [parks(timedelta(seconds=4))]
    parked = await world.session()
    await host.until(lambda: (parked.id, 1) in host.began)
    first = temporal.pid
    assert first is not None

    os.kill(first, signal.SIGKILL)
    made = await world.session()
    await host.until(lambda: {(parked.id, 2), (made.id, 1)} <= set(host.began))

    assert temporal.pid not in {None, first}
    assert await is_over(temporal, parked.id)
    assert await is_over(temporal, made.id)


async def test_sessions_survive_a_temporal_that_has_forgotten_everything(world: World, tmp_path: Path):
    """
    Its database is deleted: sessions that should run are only delayed.
    """
    private = tmp_path / "private"
    private.mkdir()
    before = EmbeddedTemporal(private_dir=private, log_file=tmp_path / "log")
    parked, waiting = await world.session(), await world.session()
    async with (
        before.running(),
        Server(world, before).running(),
        Host(world).working(before) as host,
    ):
        host.turns = [parks(timedelta(seconds=6)), parks(None)]
        await host.until(lambda: len(host.began) == 2)
        for session in (parked, waiting):
            await until_waiting(world, session.id)
    for path in private.glob("temporal.db*"):
        path.unlink()
    woken = host.began[1][0]
    await world.store.write(lambda tx: inbox.put(tx, inbox.new_id(), woken, kind="signal", name="go"))
    created = await world.session()

    after = EmbeddedTemporal(private_dir=private, log_file=tmp_path / "log")
    async with (
        after.running(),
        Server(world, after).running(),
        Host(world).working(after) as host,
    ):
        await host.until(lambda: {sid for sid, _ in host.began} == {parked.id, waiting.id, created.id})


async def test_a_temporal_that_is_away_is_seen(world: World, server: Server, temporal: EmbeddedTemporal):
    """
    `/readyz` says so, and it is seen again when it is back.
    """
    assert server.starter.is_connected
    assert temporal.pid is not None
    os.kill(temporal.pid, signal.SIGSTOP)

    async with asyncio.timeout(60):
        while server.starter.is_connected:
            await asyncio.sleep(0.05)
    os.kill(temporal.pid, signal.SIGCONT)
    async with asyncio.timeout(60):
        while not server.starter.is_connected:
            await asyncio.sleep(0.05)


async def test_a_temporal_that_hangs_delays_nobody_who_does_not_need_it(
    world: World, server: Server, temporal: EmbeddedTemporal
):
    """
    Each request to it takes ten seconds to fail, and more of them wait than may be under way at once.
    """
    given: list[str] = []
    server.starter.give = lambda session_id: given.append(session_id) or True
    assert temporal.pid is not None
    os.kill(temporal.pid, signal.SIGSTOP)
    for _ in range(3):  # as sweeps do again and again
        for number in range(3 * starter._AT_ONCE):
            server.starter.ask(f"ses_{number}")
    waiting = server.starter._requests._queue.qsize()
    await asyncio.sleep(0.2)

    session = await world.session()
    async with asyncio.timeout(2):
        while session.id not in given:
            await asyncio.sleep(0.02)

    os.kill(temporal.pid, signal.SIGCONT)
    assert waiting == 3 * starter._AT_ONCE


async def test_what_was_left_runs_even_if_temporal_never_comes(world: World, monkeypatch: pytest.MonkeyPatch):
    """
    A server that starts beside a Temporal that is down gives what its predecessor left to its own workers.
    """
    monkeypatch.setattr(starter, "_FIRST", 0.2)
    left = await world.session()
    given: list[str] = []
    engine = Engine(address="127.0.0.1:1", namespace="default", look=looking(world.journal))
    alone = starter.Starter(store=world.store, engine=engine)
    alone.give = lambda session_id: given.append(session_id) or True
    tasks = [asyncio.create_task(engine.run()), asyncio.create_task(alone.run())]
    async with asyncio.timeout(60):
        while not given:
            await asyncio.sleep(0.02)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert given == [left.id]
