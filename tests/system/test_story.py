"""The main story, told by the real program."""

import json
import subprocess
import sys

import pytest

from ninelives_server.testing import running

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.xdist_group("story")]


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
    story = json.loads(done.stdout.splitlines()[-1])
    assert set(story) == {"connection", "event", "session", "crash", "org", "seconds"}
    assert story["connection"]["state"] == "ok"
    assert story["event"]["type"] == "lead"
    assert story["session"]["state"] == "completed"
    assert "routed to the account Acme" in story["session"]["prints"]
    assert story["crash"]["killed"] is True
    assert story["crash"]["resumed"] is True
    assert story["crash"]["repeated_steps"] == 0
    assert story["org"] == {"lead_updated": True, "last_modified_by": story["connection"]["user"]}
