"""The main story, told by the real program."""

import fcntl
import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ninelives_server.testing import running, story

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.xdist_group("story")]


@pytest.fixture(autouse=True)
def usual_port():
    """Run one demo at a time: each takes the usual port where it is free."""
    with (Path(tempfile.gettempdir()) / "ninelives-demo-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_the_demo_connects_routes_a_lead_and_survives_the_death_of_its_worker():
    """
    `ninelives demo --once` exits 0 and its last line says what the running system said: the connection is ok,
    the Lead was changed by the user who authorised, the killed worker's session resumed and repeated nothing.
    """
    done = subprocess.run(
        [sys.executable, "-m", "ninelives_server", "demo", "--once"],
        capture_output=True,
        text=True,
        timeout=500,
        env=running.environment(),
    )

    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert set(told) == {"connection", "event", "session", "crash", "org", "seconds"}
    assert told["connection"]["state"] == "ok"
    assert told["event"]["type"] == "lead"
    assert told["session"]["state"] == "completed"
    assert "routed to the account Acme" in told["session"]["prints"]
    assert told["crash"]["killed"] is True
    assert told["crash"]["resumed"] is True
    assert told["crash"]["repeated_steps"] == 0
    assert told["org"] == {"lead_updated": True, "last_modified_by": told["connection"]["user"]}


def test_a_demo_that_is_told_to_end_leaves_no_process(tmp_path):
    """
    SIGTERM ends it as Ctrl-C does, with the server and the org that it has started.
    """
    said = tmp_path / "said"
    with said.open("w") as output:
        demo = subprocess.Popen(
            [sys.executable, "-m", "ninelives_server", "demo"], stderr=output, env=running.environment()
        )
    running.until(
        "the server to be ready", lambda: "ready at" in said.read_text() or demo.poll(), seconds=180
    )
    assert "ready at" in said.read_text(), said.read_text()
    below = running.descendants(demo.pid)
    assert below

    demo.send_signal(signal.SIGTERM)

    assert demo.wait(60) == 128 + signal.SIGTERM
    running.until("every process to be gone", lambda: not story.alive(below), seconds=30)
