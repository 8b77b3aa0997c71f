"""A short chaos run; `make chaos` plays the long one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ninelives_server.testing import running

pytestmark = [
    pytest.mark.system,
    pytest.mark.store,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("chaos"),
]


def test_nothing_is_lost_or_done_twice_while_everything_is_killed():
    """
    Server, workers, Temporal, PostgreSQL and session processes are killed at random, each of them at least once,
    while sessions of every kind run: all reach their right end, no completed step runs twice, no event is lost or
    doubled, and the store counts each call once.
    """
    program = str(Path(__file__).with_name("run.py"))
    done = subprocess.run(
        [sys.executable, program, "--minutes", "1.2", "--sessions", "24"],
        capture_output=True,
        text=True,
        timeout=800,
        env=running.environment(),
    )

    assert done.stdout, done.stderr[-4000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["wrong"] == [], done.stderr[-4000:] + done.stdout
    assert done.returncode == 0
    assert set(report["kills"]) == {"session", "worker", "second", "server", "temporal", "postgresql"}
