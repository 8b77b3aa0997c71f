"""How processes of sessions end: by themselves, by a stop, with their worker."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from ninelives_server.worker.sessions import Stopped
from tests.worker.fake_server import FakeServer
from tests.worker.programs import FOREVER, sleepers


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import os; os._exit(3)", (None, 3)),
        ("import os; os.kill(os.getpid(), 9)", (9, None)),
        ("import os; os.abort()", (6, None)),
        ("import ctypes; ctypes.string_at(0)", (11, None)),
        ("raise SystemExit(4)", (None, 4)),
    ],
)
async def test_a_process_that_dies_is_reported(bench, server: FakeServer, code: str, expected: tuple) -> None:
    """The server learns how it died, and says when it is to be tried again."""
    row = server.add("ses_1", f"session.step('a')\n{code}")

    outcome = await bench.run("ses_1")

    assert (outcome.name, outcome.delay) == ("died", 0.25)
    assert [(death["signal"], death["exit_code"]) for death in row.deaths] == [expected]
    assert row.names() == ["a"]


async def test_the_last_lines_of_a_dead_process_are_told_without_secrets(bench, server: FakeServer) -> None:
    """What it wrote explains its death; secrets that it was given are not in it."""
    code = "import os, sys\nprint('x' * 50_000)\nprint('token is sesame-42', file=sys.stderr, flush=True)\nos.abort()"
    row = server.add("ses_1", code, secrets=["sesame-42"])

    await bench.run("ses_1")

    told = row.deaths[0]["stderr"]
    assert told.endswith("token is ***\n")
    assert len(told) <= 8192 + 100


async def test_killing_the_zygote_ends_its_sessions_and_a_new_one_takes_over(
    bench, server: FakeServer
) -> None:
    """A zygote takes its sessions with it; the next session gets another zygote."""
    row = server.add("ses_1", FOREVER)
    turn = asyncio.create_task(bench.run("ses_1"))
    await server.until(lambda: row.journal)
    [zygote] = bench.zygotes._warm.values()

    os.kill(zygote.pid, signal.SIGKILL)
    outcome = await turn

    assert outcome.name == "died"
    assert row.deaths[0]["signal"] == 9
    server.add("ses_2", "result = 2")
    assert (await bench.run("ses_2")).name == "finished"


async def test_an_environment_that_does_not_start_is_told_in_its_own_words(bench, server: FakeServer) -> None:
    """A package may break every interpreter of its environment; its author must see how."""
    server.add("ses_1", "pass")
    await bench.run("ses_1")
    [packages] = (bench.data_dir / "environments").glob("*/lib/python*/site-packages")
    (packages / "broken.pth").write_text(
        "import sys; print('this package is broken', flush=True); sys.exit(3)\n"
    )
    row = server.add("ses_2", "pass", hashseed="1")

    outcome = await bench.run("ses_2")

    assert outcome.name == "died"
    assert "this package is broken" in row.deaths[0]["reason"]


async def test_a_fenced_session_is_killed_with_all_that_it_started(
    bench, server: FakeServer, tmp_path: Path
) -> None:
    """After `kill` no process of the session is left, not even one that left its group and its parents."""
    code = (
        "import os, subprocess, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.execv('/bin/sleep', ['sleep', '4242.25'])\n"
        "    os._exit(0)\n"
        "subprocess.Popen(['/bin/sleep', '4242.25'])\n" + FOREVER
    )
    row = server.add("ses_1", code)
    turn = asyncio.create_task(bench.run("ses_1"))
    await server.until(lambda: row.journal)
    before = await sleepers(2)

    await server.tell("ses_1", "kill", why="fenced")

    with pytest.raises(Stopped, match="fenced"):
        await turn
    assert before == 2
    assert await sleepers(0) == 0
    assert row.deaths == []


async def test_a_stop_reaches_the_process(bench, server: FakeServer) -> None:
    """`stop` is forwarded; what to do about it is the session's business."""
    row = server.add(
        "ses_1",
        "session.step('ready')\nframe = session.receive()\nresult = [frame.type, frame.head['reason']]",
    )
    turn = asyncio.create_task(bench.run("ses_1"))
    await server.until(lambda: row.journal)

    await server.tell("ses_1", "stop", reason="by hand")
    await turn

    assert row.result == b'["stop", "by hand"]'


async def test_a_stop_that_comes_with_the_claim_waits_until_the_process_listens(
    bench, server: FakeServer
) -> None:
    """A session is parked and asked to stop: its process must first have its journal."""
    code = "session.step('a')\nif not session.past: raise SystemExit(1)\nresult = session.receive().type"
    row = server.add("ses_1", code)
    await bench.run("ses_1")
    row.stop = True

    outcome = await bench.run("ses_1")

    assert (outcome.name, row.result) == ("finished", b'"stop"')


async def test_stopping_a_worker_lets_the_step_in_hand_end(bench, server: FakeServer) -> None:
    """Its record is committed; nothing after it is begun, and the server learns why the process is gone."""
    row = server.add(
        "ses_1",
        "import time\nsession.step('a')\nsession.send('waiting', is_waiting=False)\ntime.sleep(1.0)\nsession.step('in hand')\nsession.step('next')\ntime.sleep(600)",
    )
    turn = asyncio.create_task(bench.run("ses_1"))
    await server.until(lambda: len(row.frames) == 2)

    await bench.supervisor.stop()

    with pytest.raises(Stopped):
        await turn
    assert row.names() == ["a", "in hand"]
    assert [death["reason"] for death in row.deaths] == ["shutdown"]


async def test_stopping_a_worker_does_not_wait_for_waits(bench, server: FakeServer) -> None:
    """A session whose strands all wait has no step in hand."""
    row = server.add("ses_1", "session.send('waiting', is_waiting=True)\n" + FOREVER)
    turn = asyncio.create_task(bench.run("ses_1"))
    await server.until(lambda: row.journal)
    before = time.monotonic()

    await bench.supervisor.stop()

    with pytest.raises(Stopped):
        await turn
    assert time.monotonic() - before < 5


async def test_a_step_that_does_not_end_is_killed_after_the_grace(bench, server: FakeServer) -> None:
    """A worker stops in bounded time."""
    row = server.add("ses_1", FOREVER)
    turn = asyncio.create_task(bench.run("ses_1"))
    await server.until(lambda: row.journal)

    await bench.supervisor.stop(grace=0.3)

    with pytest.raises(Stopped):
        await turn


async def test_a_stopping_worker_takes_no_session(bench, server: FakeServer) -> None:
    """What Temporal hands out meanwhile goes elsewhere."""
    server.add("ses_1", "pass")
    await bench.supervisor.stop()

    with pytest.raises(Stopped):
        await bench.run("ses_1")


async def test_a_cancelled_turn_kills_its_process(bench, server: FakeServer) -> None:
    """Temporal's cancellation, or its word that the turn was given up, leaves no process."""
    row = server.add("ses_1", FOREVER)
    turn = asyncio.create_task(bench.run("ses_1"))
    await server.until(lambda: row.journal)

    turn.cancel()

    with pytest.raises(asyncio.CancelledError):
        await turn
    assert bench.supervisor.session_ids == []
