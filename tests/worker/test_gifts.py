"""Sessions that a worker is given over its link, and the room that they take."""

import asyncio
import importlib.metadata
from dataclasses import replace
from types import SimpleNamespace

import pytest

from ninelives_server.worker.activity import Slots
from ninelives_server.worker.sessions import Full
from tests.worker.fake_server import FakeServer

PATIENCE = 20  # seconds


async def until(predicate) -> None:
    async with asyncio.timeout(PATIENCE):
        while not predicate():
            await asyncio.sleep(0.01)


async def test_a_given_session_runs_to_its_end(bench, server: FakeServer) -> None:
    """Nobody asked for it, and the server hears its end from the process itself."""
    row = server.add("ses_1", "session.step('one', b'1'); result = {'ok': True}")
    await until(lambda: server.hellos)

    await server.give("ses_1")
    await server.until(lambda: row.state == "completed")
    await until(lambda: not bench.supervisor.session_ids)

    assert server.hellos[0]["takes"] is True
    assert server.hellos[0]["release"] == importlib.metadata.version("ninelives")
    assert (row.names(), row.result) == (["one"], b'{"ok": true}')
    assert bench.supervisor.room == 20


async def test_a_given_session_that_dies_is_reported(bench, server: FakeServer) -> None:
    """The server decides what becomes of it; here it is forgotten."""
    row = server.add("ses_1", "import os; os._exit(3)")
    await until(lambda: server.hellos)

    await server.give("ses_1")
    await server.until(lambda: row.deaths)
    await until(lambda: not bench.supervisor.session_ids)

    assert row.deaths[0]["exit_code"] == 3


async def test_a_given_session_that_is_killed_is_forgotten(bench, server: FakeServer) -> None:
    """No death is reported: whoever has it killed knows."""
    row = server.add("ses_1", "session.step('one'); import time; time.sleep(600)")
    await until(lambda: server.hellos)
    await server.give("ses_1")
    await server.until(lambda: row.names() == ["one"])

    await server.tell("ses_1", "kill", why="fenced")
    await until(lambda: not bench.supervisor.session_ids)

    assert row.deaths == []


async def test_an_error_of_ours_gives_the_session_back(
    bench, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs elsewhere, instead of being held by a worker that does not run it."""

    async def broken(_running: object) -> None:
        raise RuntimeError("a defect")

    row = server.add("ses_1", "result = 1")
    await until(lambda: server.hellos)
    monkeypatch.setattr(bench.supervisor, "_start", broken)

    await server.give("ses_1")
    await server.until(lambda: row.deaths)

    assert row.deaths[0]["reason"] == "shutdown"
    assert bench.supervisor.session_ids == []


async def test_a_given_session_replaces_its_former_process(bench, server: FakeServer) -> None:
    """Where the server gives out what we still run, the old process is gone before the new one begins."""
    code = (
        "session.step('one')\nimport time\ntime.sleep(0 if session.past else 600)\nresult = len(session.past)"
    )
    row = server.add("ses_1", code)
    await until(lambda: server.hellos)
    await server.give("ses_1")
    await server.until(lambda: row.names() == ["one"])

    await server.give("ses_1")
    await server.until(lambda: row.state == "completed")

    assert (row.epoch, row.result) == (2, b"1")


async def test_a_link_that_meets_a_defect_is_opened_again(bench, server: FakeServer, capsys) -> None:
    """Here a frame that lacks what it must have; without a link the worker would be of no use to anybody."""
    row = server.add("ses_1", "result = 1")
    await until(lambda: server.hellos)
    server.rows["ses_1"].holder = server.hellos[0]["worker_id"]
    await server.tell("ses_1", "claimed", is_given=True)
    await until(lambda: len(server.hellos) == 2)

    await server.give("ses_1")
    await server.until(lambda: row.state == "completed")

    assert "task.failed" in capsys.readouterr().out


async def test_a_worker_that_stops_takes_nothing_more(bench, server: FakeServer) -> None:
    """It says so when it begins to stop; what is given to it all the same goes back at once."""
    row = server.add("ses_1", "result = 1")
    await until(lambda: server.hellos)
    await bench.supervisor.stop()
    await until(lambda: server.stopping)

    await server.give("ses_1")
    await server.until(lambda: row.deaths)

    assert row.deaths[0]["reason"] == "shutdown"
    assert bench.supervisor.hello()["takes"] is False


async def test_what_a_worker_that_stops_has_not_begun_it_declines(bench, server: FakeServer) -> None:
    """Nothing of it has run, so that it may run elsewhere even if it is not durable."""
    server.takes_back = True
    code = "session.step('one'); import time; time.sleep(600)"
    late, begun = server.add("ses_1", "result = 1"), server.add("ses_2", code)
    await until(lambda: server.hellos)
    await server.give("ses_2")
    await server.until(lambda: begun.names() == ["one"])
    await bench.supervisor.stop()

    await server.give("ses_1")
    await server.until(lambda: late.holder is None)

    assert [frame.type for frame in late.frames] == ["declined"]
    assert [death["reason"] for death in begun.deaths] == ["shutdown"]


async def test_a_session_whose_environment_is_still_being_made_is_declined_too(
    bench, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once: its packages may take minutes to come."""
    server.takes_back = True
    is_making = asyncio.Event()

    async def slow(_claim: object) -> None:
        is_making.set()
        await asyncio.sleep(600)

    monkeypatch.setattr(bench.supervisor, "_environment", slow)
    row = server.add("ses_1", "result = 1")
    await until(lambda: server.hellos)
    await server.give("ses_1")
    await asyncio.wait_for(is_making.wait(), PATIENCE)

    await bench.supervisor.stop()
    await server.until(lambda: row.holder is None)

    assert [frame.type for frame in row.frames] == ["declined"]


async def test_code_that_must_not_run_twice_begins_when_the_server_knows(bench, server: FakeServer) -> None:
    """Its process is there and waits; over a new link the worker says so again."""
    server.must_begin, server.answers_begin = True, False
    row = server.add("ses_1", "session.step('one', b'1'); result = 1")
    await until(lambda: server.hellos)
    await server.give("ses_1")
    await server.until(lambda: row.frames)
    await asyncio.sleep(0.5)
    before = [frame.type for frame in row.frames]

    server.answers_begin = True
    await server.cut()
    await server.until(lambda: row.state == "completed")

    assert server.hellos[0]["begins"] is True
    assert before == ["begin"]
    assert [frame.type for frame in row.frames] == ["begin", "begin", "record", "done"]


async def test_a_session_whose_code_waits_for_its_begin_is_declined(bench, server: FakeServer) -> None:
    """Its worker stops before it has the answer: the process is killed, and nothing of it has run."""
    server.must_begin, server.answers_begin, server.takes_back = True, False, True
    row = server.add("ses_1", "session.step('one', b'1'); result = 1")
    await until(lambda: server.hellos)
    await server.give("ses_1")
    await server.until(lambda: row.frames)

    await bench.supervisor.stop()
    await server.until(lambda: row.holder is None)

    assert [frame.type for frame in row.frames] == ["begin", "declined"]
    assert row.deaths == []
    assert bench.supervisor.session_ids == []


async def test_stopping_ends_given_sessions_too(bench, server: FakeServer) -> None:
    """Their steps in hand come to their end, and the server is told."""
    code = "session.step('one')\nimport time\nfor n in range(1000):\n    time.sleep(0.05)\n    session.step(str(n))"
    row = server.add("ses_1", code)
    await until(lambda: server.hellos)
    await server.give("ses_1")
    await server.until(lambda: len(row.names()) > 1)

    await bench.supervisor.stop()

    assert row.deaths[0]["reason"] == "shutdown"
    assert bench.supervisor.session_ids == []


async def test_where_there_is_no_room_an_activity_is_given_back(bench, server: FakeServer) -> None:
    """Temporal offers it again, here or elsewhere, and the session was not claimed."""
    bench.supervisor._identity = replace(bench.supervisor._identity, slots=1)
    row = server.add("ses_1", "session.step('one'); import time; time.sleep(600)")
    other = server.add("ses_2", "result = 1")
    await until(lambda: server.hellos)
    await server.give("ses_1")
    await server.until(lambda: row.names() == ["one"])

    with pytest.raises(Full, match="no room"):
        await bench.run("ses_2")

    assert other.epoch == 0
    await server.tell("ses_1", "kill", why="fenced")
    await until(lambda: bench.supervisor.room == 1)


async def test_an_activity_whose_place_was_given_away_is_given_back(bench, server: FakeServer) -> None:
    """The server gave it while the claim was on its way."""
    server.add("ses_1", "result = 1")
    server.is_full = True
    await until(lambda: server.hellos)

    with pytest.raises(Full, match="given"):
        await bench.run("ses_1")

    assert bench.supervisor.room == 20


class Host:
    """Somebody with places."""

    def __init__(self, not_given: int) -> None:
        self.not_given = not_given
        self.on_room = lambda: None


async def test_temporal_is_asked_for_no_more_than_there_is_room_for():
    """A permit takes its place from before the question until its session has left."""
    host = Host(2)
    slots = Slots(host)
    context = SimpleNamespace(slot_info=None)

    first = await slots.reserve_slot(None)
    second = slots.try_reserve_slot(None)
    none = slots.try_reserve_slot(None)
    third = asyncio.create_task(slots.reserve_slot(None))
    await asyncio.sleep(0.05)
    slots.mark_slot_used(context)
    await asyncio.sleep(0.05)
    is_waiting = not third.done()
    host.not_given = 1  # the server gives one
    slots.release_slot(context)
    await asyncio.sleep(0.05)
    is_waiting_still = not third.done()
    host.not_given = 2  # that one has left
    host.on_room()
    await asyncio.wait_for(third, PATIENCE)

    assert first is not None
    assert second is not None
    assert none is None
    assert (is_waiting, is_waiting_still) == (True, True)
    assert slots.try_reserve_slot(None) is None
