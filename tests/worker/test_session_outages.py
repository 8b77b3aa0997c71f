"""Sessions of a real supervisor while their server is away, or its link."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from ninelives_server.worker.sessions import Stopped
from tests.worker.fake_server import FakeServer
from tests.worker.programs import FOREVER, until_mute


@pytest.mark.parametrize("outage", [[503, 502, 503], [0], [500, 503, 0, 0]])
async def test_an_outage_while_the_journal_is_read_is_no_death(
    bench, server: FakeServer, outage: list[int]
) -> None:
    """
    The database may be away when a session is started again: it waits, reads on where the journal broke off, and
    nothing is held against the session.
    """
    code = (
        "import os\nfor n in range(40):\n    session.step(str(n), b'v' * 1000)\n"
        "    if n == 20 and not session.past: os._exit(3)"
    )
    row = server.add("ses_1", code)
    await bench.run("ses_1")
    server.outage = outage

    outcome = await bench.run("ses_1")

    assert (outcome.name, row.state, len(row.deaths)) == ("finished", "completed", 1)
    assert [frame.head["n"] for frame in row.frames if frame.type == "record"] == list(range(40))
    assert server.outage == []
    assert len(server.journal_reads) > 1
    assert server.journal_reads == sorted(server.journal_reads)


async def test_what_was_read_before_the_journal_broke_off_is_not_asked_for_again(
    bench, server: FakeServer
) -> None:
    """A long journal comes to its end, even where no read lasts that long."""
    code = "import os\nfor n in range(40):\n    session.step(str(n), b'v' * 1000)\nif not session.past: os._exit(3)"
    row = server.add("ses_1", code)
    await bench.run("ses_1")
    server.outage = [0, 0]

    await bench.run("ses_1")

    assert row.state == "completed"
    first, second, third = server.journal_reads
    assert 0 == first < second < third < 40


async def test_an_outage_before_the_first_start_is_no_death(bench, server: FakeServer) -> None:
    """The build is fetched when the server can give it."""
    row = server.add("ses_1", "result = 1")
    server.outage = [503, 503]

    outcome = await bench.run("ses_1")

    assert (outcome.name, row.deaths) == ("finished", [])


async def test_an_outage_while_a_large_value_is_stored_is_no_death(bench, server: FakeServer) -> None:
    """The process waits for the acknowledgement of its step, as it does for any other."""
    row = server.add("ses_1", "session.step('ready')\nsession.step('big', b'x' * 3_000_000); result = 1")
    server.outage = [503, 503, 500]  # the first is for the build

    outcome = await bench.run("ses_1")

    assert (outcome.name, row.deaths, server.outage) == ("finished", [], [])


@pytest.mark.parametrize("patience", [0.4])
async def test_a_session_whose_build_cannot_be_fetched_is_given_up_with_the_link(
    bench, server: FakeServer
) -> None:
    """It runs elsewhere by then; here it must not hold a slot, and it has not died."""
    row = server.add("ses_1", "result = 1")
    server.outage = [503] * 1000
    turn = asyncio.create_task(bench.run("ses_1"))
    await server.until(lambda: row.epoch == 1)

    await server.close()

    with pytest.raises(Stopped, match="no link"):
        await turn
    assert row.deaths == []
    await server.open()


async def test_what_was_not_answered_is_sent_again_over_a_new_link(bench, server: FakeServer) -> None:
    """A link that breaks between commit and answer costs nothing: the record is there once, the session goes on."""
    row = server.add("ses_1", "session.step('a'); session.step('b'); result = 1")
    server.is_mute = False
    turn = asyncio.create_task(until_mute(server, bench, row))
    await server.until(lambda: row.journal)

    await server.cut()
    server.is_mute = False
    outcome = await turn

    assert outcome.name == "finished"
    assert row.names() == ["a", "b"]
    assert server.hellos[-1]["sessions"] == [{"sid": "ses_1", "ep": 1}]
    assert [f.head["n"] for f in row.frames if f.type == "record"] == [0, 0, 1]


async def test_a_server_that_starts_again_finds_its_sessions_running(bench, server: FakeServer) -> None:
    """Sessions outlive their server: after a restart on the same address they go on where they were."""
    code = "session.step('a')\nwhile True:\n    try:\n        open(__import__('os').environ['FLAG']); break\n    except OSError: __import__('time').sleep(0.02)\nsession.step('b')"
    flag = Path("/tmp") / f"ninelives-flag-{os.getpid()}-{time.monotonic_ns()}"
    row = server.add("ses_1", code, env={"FLAG": str(flag)})
    turn = asyncio.create_task(bench.run("ses_1"))
    await server.until(lambda: row.journal)
    await server.close()
    flag.touch()

    await server.open()
    outcome = await turn
    flag.unlink()

    assert (outcome.name, row.names(), row.epoch) == ("finished", ["a", "b"], 1)


@pytest.mark.parametrize("patience", [0.4])
async def test_a_worker_without_a_link_kills_its_sessions(bench, server: FakeServer) -> None:
    """By then they run elsewhere: going on would do things twice."""
    row = server.add("ses_1", FOREVER)
    turn = asyncio.create_task(bench.run("ses_1"))
    await server.until(lambda: row.journal)

    await server.close()

    with pytest.raises(Stopped, match="no link"):
        await turn
    await server.open()
