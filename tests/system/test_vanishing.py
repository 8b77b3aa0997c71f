"""Parts of `up` that die by themselves: it says why and ends, or begins them again; and a signal always ends it."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from ninelives_server.testing import running

pytestmark = [pytest.mark.system, pytest.mark.timeout(300), pytest.mark.xdist_group("vanishing")]

#: Runs the server, after what a test does to it; `broken()` tells whether it is time.
PROGRAM = """
import os, pathlib, sys, threading, time
from ninelives_server.__main__ import main

def broken():
    return pathlib.Path({trigger!r}).exists()

{sabotage}

sys.argv = ["ninelives", *sys.argv[1:]]
main()
"""

#: The thread that writes to SQLite meets something that nobody has thought of.
WRITER = """
from ninelives_server.store import core
next_group = core.SqliteStore._next_group

def breaking(store):
    found = next_group(store)
    if broken():
        raise LookupError("what nobody has thought of")
    return found

core.SqliteStore._next_group = breaking
"""

#: The database cannot be closed: it hangs in the kernel, as a network file system may.
STUCK = """
from ninelives_server.cli import up
from ninelives_server.store import core

async def stuck(store):
    pathlib.Path({trigger!r}).touch()
    await up.asyncio.sleep(3600)

core.SqliteStore.close = stuck
up.STOP_LIMIT = 3.0
"""


def sabotaged(directory: Path, sabotage: str) -> tuple[running.Up, Path]:
    trigger = directory / "trigger"
    text = PROGRAM.format(trigger=str(trigger), sabotage=sabotage.replace("{trigger!r}", repr(str(trigger))))
    return running.Up(directory / "data", program=("-c", text)), trigger


def test_a_server_whose_database_thread_has_died_ends_and_says_why(tmp_path):
    """
    With an exit status that has a supervisor start it again; nothing of it is left.
    """
    up, trigger = sabotaged(tmp_path, WRITER)
    try:
        up.start()
        below = running.descendants(up.pid)
        trigger.touch()

        code = up._process.wait(60)
        running.until(
            "every process to be gone", lambda: not any(map(running.command_line, below)), seconds=20
        )
    finally:
        up.kill()

    assert code == 1
    assert "what nobody has thought of" in up.tail(20_000)
    assert "database" in up.tail(20_000)


def test_a_signal_ends_a_server_that_cannot_stop_in_order(tmp_path):
    """
    After a while it ends all the same, and says so.
    """
    up, trigger = sabotaged(tmp_path, STUCK)
    try:
        up.start()
        below = running.descendants(up.pid)
        os.kill(up.pid, signal.SIGTERM)
        running.until("it to be stuck", trigger.exists)

        code = up._process.wait(30)
        running.until(
            "every process to be gone", lambda: not any(map(running.command_line, below)), seconds=20
        )
    finally:
        up.kill()

    assert code == 1
    assert "server.stop_timed_out" in up.tail()


def test_a_worker_that_could_not_be_started_is_started_later(tmp_path):
    """
    What keeps it from starting passes, such as a full disk; here it is the place of its log.
    """
    up = running.Up(tmp_path / "data").start()
    logs, worker = up.data_dir / "logs", up.worker_pid()
    try:
        logs.rename(up.data_dir / "elsewhere")
        os.kill(worker, signal.SIGKILL)
        running.until("it to be missed", lambda: "child.failed" in up.tail())
        logs.mkdir()
        running.until("another worker", lambda: up.worker_pid() not in (None, worker))
        code = up.stop()
    finally:
        up.kill()
        shutil.rmtree(up.data_dir / "elsewhere", ignore_errors=True)

    assert code == 0
