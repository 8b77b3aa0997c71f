"""The engine on a real Temporal: sessions start, rest, wake, and survive what happens to Temporal."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from host import Host, Server, is_over, parks, until_waiting
from temporal_client import connected
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest
from temporalio.service import RPCError, RPCStatusCode
from world import World, record

from ninelives_server.engine import workflow
from ninelives_server.engine.embedded import EmbeddedTemporal
from ninelives_server.engine.starter import looking
from ninelives_server.model.sessions import CARRIED, SessionState
from ninelives_server.store import inbox, tables

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


def hangs(released: asyncio.Event):
    async def turn(host: Host, session_id: str, epoch: int) -> dict:
        await released.wait()
        return {"outcome": "finished"}

    return turn


async def dies(host: Host, session_id: str, epoch: int) -> dict:
    raise RuntimeError("the password is hunter2")


async def test_a_new_session_runs_at_once(world: World, host: Host, temporal: EmbeddedTemporal):
    """
    The commit that makes it is all that is needed.
    """
    session = await world.session()

    await host.until(lambda: (session.id, 1) in host.began)

    assert await is_over(temporal, session.id)
    assert await world.state(session.id) is SessionState.COMPLETED


async def test_many_sessions_run(world: World, host: Host, temporal: EmbeddedTemporal):
    """
    Each exactly once.
    """
    made = [(await world.session()).id for _ in range(40)]

    await host.until(lambda: len(host.began) >= 40)

    assert sorted(host.began) == sorted((sid, 1) for sid in made)


@pytest.mark.parametrize("as_number", [True, False])
async def test_a_parked_session_goes_on_when_it_is_due(
    world: World, host: Host, temporal: EmbeddedTemporal, as_number: bool
):
    """
    Temporal's timer starts it; no sweep is needed for that. Processes write times as numbers.
    """
    host.turns = [parks(timedelta(seconds=1.5), as_number=as_number)]
    session = await world.session()

    await host.until(lambda: (session.id, 2) in host.began, patience=20)

    assert await is_over(temporal, session.id)


async def test_a_parked_session_goes_on_when_something_arrives(world: World, host: Host):
    """
    However far away its time is.
    """
    host.turns = [parks(timedelta(days=30)), parks(None)]
    session = await world.session()
    for epoch in (1, 2):
        await host.until(lambda epoch=epoch: (session.id, epoch) in host.began)
        await until_waiting(world, session.id)
        await world.store.write(
            lambda tx: inbox.put(tx, inbox.new_id(), session.id, kind="signal", name="go")
        )
        await host.until(lambda epoch=epoch: (session.id, epoch + 1) in host.began)

    assert [epoch for _, epoch in host.began] == [1, 2, 3]


async def test_a_lost_workers_session_runs_elsewhere_at_once(
    world: World, server: Server, host: Host, temporal: EmbeddedTemporal
):
    """
    Its activity is failed by id, long before any heartbeat is missed.
    """
    forever = asyncio.Event()
    host.turns = [hangs(forever)]
    session = await world.session()
    await host.until(lambda: (session.id, 1) in host.began)
    loop = asyncio.get_running_loop()

    await world.journal.release(session.id, 1)
    began = loop.time()
    await server.starter.fail_activity(session.id, host.activity_ids[0])
    await host.until(lambda: (session.id, 2) in host.began)

    assert loop.time() - began < 8
    assert await is_over(temporal, session.id)
    forever.set()


async def test_a_session_that_somebody_else_runs_is_waited_for(
    world: World, server: Server, host: Host, temporal: EmbeddedTemporal
):
    """
    The workflow stays until it is released, and goes on then.
    """
    server.starter.give = lambda _: True
    sid, epoch = await world.running("wrk_other")
    server.starter.ask(sid)
    async with asyncio.timeout(60):
        while not await rests(temporal, sid):
            await asyncio.sleep(0.05)

    server.starter.give = lambda _: False
    await world.journal.release(sid, epoch)
    await host.until(lambda: (sid, 2) in host.began)

    assert host.refused == []
    assert await is_over(temporal, sid)


async def test_a_worker_may_not_have_a_session_that_somebody_else_runs(
    world: World, server: Server, host: Host, temporal: EmbeddedTemporal
):
    """
    A workflow that asks a worker at once is told so, and stays until the session is over.
    """
    server.starter.give = lambda _: True
    sid, epoch = await world.running("wrk_other")
    await server.engine.start(sid)
    await host.until(lambda: "held" in host.refused)

    await world.journal.commit([world.done(sid, epoch)])

    assert await is_over(temporal, sid)
    assert host.began == []


async def test_a_signal_too_many_does_no_harm(world: World, server: Server, host: Host):
    """
    A parked session that nobody has anything for goes on sleeping.
    """
    host.turns = [parks(timedelta(hours=1))]
    session = await world.session()
    await host.until(lambda: (session.id, 1) in host.began)

    server.starter.wake(session.id)
    await host.until(lambda: "parked" in host.refused)

    assert await world.state(session.id) is SessionState.WAITING
    assert len(host.began) == 1


async def test_a_turn_that_fails_is_tried_again(world: World, host: Host, temporal: EmbeddedTemporal):
    """
    After 0.2 s, as often as it takes; who holds the session is the database's to say.
    """

    async def fails(host: Host, session_id: str, epoch: int) -> dict:
        await host.world.journal.release(session_id, epoch)
        raise RuntimeError("no")

    host.turns = [fails, fails, fails]
    session = await world.session()

    await host.until(lambda: (session.id, 4) in host.began, patience=30)

    assert await is_over(temporal, session.id)


async def rests(temporal: EmbeddedTemporal, session_id: str) -> list[int]:
    """Return the timers that a session's workflow has set; none where it has not been started yet. seconds"""
    client = await connected(temporal)
    try:
        history = await client.get_workflow_handle(session_id).fetch_history()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return []
    return [
        event.timer_started_event_attributes.start_to_fire_timeout.seconds
        for event in history.events
        if event.HasField("timer_started_event_attributes")
    ]


async def test_a_session_that_no_worker_may_have_is_asked_for_less_and_less(
    world: World, server: Server, host: Host, temporal: EmbeddedTemporal
):
    """
    One that waits for a newer release, for days perhaps, costs next to nothing; it goes on when one comes.
    """
    sid, epoch = await world.running("wrk_other")
    await world.journal.commit([world.put(sid, epoch, record(0))])
    await _needs(world, sid, max(CARRIED) + 1)
    await world.journal.release(sid, epoch)
    server.starter.wake(sid)

    async with asyncio.timeout(60):
        while len(found := await rests(temporal, sid)) < 2:
            await asyncio.sleep(0.1)
    await _needs(world, sid, max(CARRIED))
    server.starter.wake(sid)

    # Signals cut the first rests short, or off.
    assert found[1] == 2 * found[0]
    assert set(host.refused) <= {"semantics", "held"}
    assert await is_over(temporal, sid)


async def test_a_session_that_somebody_else_runs_is_looked_at_less_and_less(
    world: World, server: Server, temporal: EmbeddedTemporal
):
    """
    Nobody need tell Temporal that it is over, as where the server that knew has died.
    """
    server.starter.give = lambda _: True
    sid, epoch = await world.running("wrk_other")

    async with asyncio.timeout(60):
        for number in range(3):
            server.starter.ask(sid)
            while len(found := await rests(temporal, sid)) <= number:
                await asyncio.sleep(0.1)
    await world.journal.commit([world.done(sid, epoch)])

    assert found[1:3] == [2 * found[0], 4 * found[0]]
    assert await is_over(temporal, sid)


async def _needs(world: World, session_id: str, version: int) -> None:
    row = tables.sessions
    query = sa.update(row).where(row.c.id == session_id).values(semantics=version)
    await world.store.write(lambda tx: tx.connection.execute(query) and None)


async def test_a_long_history_begins_anew(
    world: World, host: Host, temporal: EmbeddedTemporal, monkeypatch: pytest.MonkeyPatch
):
    """
    After so many turns the workflow continues as new; its turns are numbered on.
    """
    monkeypatch.setattr(workflow, "TURNS", 2)
    host.turns = [parks(timedelta(seconds=1)) for _ in range(4)]
    session = await world.session()

    await host.until(lambda: (session.id, 5) in host.began)

    assert await is_over(temporal, session.id)
    assert host.activity_ids == [f"turn-{n}" for n in range(1, 6)]
    client = await connected(temporal)
    runs = [found async for found in client.list_workflows(f'WorkflowId="{session.id}"')]
    assert len(runs) == 3


async def test_the_history_holds_nothing_but_ids(
    world: World, host: Host, temporal: EmbeddedTemporal, tmp_path: Path
):
    """
    No input, no value, no word of an error; the search finds the session's id, so that it can fail.
    """

    async def works(host: Host, session_id: str, epoch: int) -> dict:
        await host.world.journal.commit([host.world.put(session_id, epoch, record(0, value=b"the-value"))])
        return await parks(timedelta(seconds=0.5))(host, session_id, epoch)

    host.turns = [works]
    session = await world.session(data={"secret": "the-input"})
    await host.until(lambda: (session.id, 2) in host.began)
    await is_over(temporal, session.id)

    client = await connected(temporal)
    request = GetWorkflowExecutionHistoryRequest(namespace="default")
    request.execution.workflow_id = session.id
    history = await client.workflow_service.get_workflow_execution_history(request)
    text = history.SerializeToString()
    files = b"".join(path.read_bytes() for path in tmp_path.glob("temporal.db*"))

    for where in (text, files):
        assert session.id.encode() in where
        for word in (b"the-input", b"the-value", b"#sales", b"access"):
            assert word not in where or (where is files and word == b"access")


async def test_the_words_of_an_error_of_ours_stay_here(world: World, temporal: EmbeddedTemporal):
    """
    What the server's own activity fails with is not in the history.
    """

    class Broken:
        calls = 0

        async def look(self, session_id: str):
            self.calls += 1
            if self.calls < 2:
                raise RuntimeError("the password is hunter2")
            return await world.journal.look(session_id)

    sid, epoch = await world.running("wrk_other")
    server = Server(world, temporal)
    broken = Broken()
    server.engine._look = looking(broken)
    async with server.running(), Host(world).working(temporal) as host:
        await server.engine.start(sid)
        await host.until(lambda: "held" in host.refused)
        async with asyncio.timeout(60):
            while broken.calls < 2:
                await asyncio.sleep(0.05)
        client = await connected(temporal)
        history = await client.get_workflow_handle(sid).fetch_history()
        text = json.dumps(history.to_json_dict())

    assert '"held"' in text or "aGVsZ" in text  # what it said in the end is there, so that this can fail
    assert "hunter2" not in text


async def test_a_session_that_a_worker_takes_never_comes_to_temporal(world: World, server: Server):
    """
    Neither when it is made nor when it should run again.
    """
    given: list[str] = []

    def give(session_id: str) -> bool:
        given.append(session_id)
        return True

    server.starter.give = give
    session = await world.session()
    server.starter.wake(session.id)
    async with asyncio.timeout(60):
        while len(given) < 2:
            await asyncio.sleep(0.02)

    assert set(given) == {session.id}
    assert not await server.engine.is_running(session.id)


async def test_temporal_finds_a_worker_where_it_is_asked_to(world: World, server: Server, host: Host):
    """
    Whoever asks so has tried already: nobody here is offered the session again.
    """
    given: list[str] = []
    server.starter.give = lambda session_id: bool(given.append(session_id)) or True
    sid = (await world.session()).id

    server.starter.ask(sid)
    await host.until(lambda: (sid, 1) in host.began)

    assert set(given) == {sid}  # when it was made, and by a sweep perhaps: they swallowed it


async def test_temporal_keeps_the_time_of_a_session_that_it_never_saw_before(
    world: World, server: Server, host: Host, temporal: EmbeddedTemporal
):
    """
    A worker had it without Temporal. No turn is wasted to find out that it is not due.
    """
    server.starter.give = lambda _: True
    sid, epoch = await world.running("wrk_other")
    at = world.journal.clock.now() + timedelta(seconds=3)
    await world.journal.commit([world.park(sid, epoch, at)])

    server.starter.ask(sid)
    await host.until(lambda: (sid, 2) in host.began)

    assert host.refused == []
    assert world.journal.clock.now() >= at - timedelta(seconds=1)
    assert await is_over(temporal, sid)


async def test_temporal_forgets_a_session_that_ended_elsewhere(
    world: World, server: Server, host: Host, temporal: EmbeddedTemporal
):
    """
    Its timer would have kept the workflow for a month. Of a session that it does not know it learns nothing.
    """
    server.starter.give = lambda _: True
    sid, epoch = await world.running("wrk_other")
    await world.journal.commit([world.park(sid, epoch, world.journal.clock.now() + timedelta(days=30))])
    server.starter.ask(sid)
    async with asyncio.timeout(60):
        while not await rests(temporal, sid):  # it has looked, and will not ask for a worker
            await asyncio.sleep(0.05)
    await world.store.write(lambda tx: inbox.put(tx, inbox.new_id(), sid, kind="signal", name="go"))
    await world.journal.commit([world.done(sid, await world.claim(sid, "wrk_other"))])
    never_seen, other = await world.running("wrk_other")
    await world.journal.commit([world.done(never_seen, other)])

    server.starter.over(sid)
    server.starter.over(never_seen)

    assert await is_over(temporal, sid)
    assert host.refused == []
    assert not await server.engine.is_running(never_seen)
