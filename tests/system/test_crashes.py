"""Processes are killed while many sessions are inside a step: nothing is lost, nothing done twice."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from ninelives_server.testing import running

PROJECT = Path(__file__).parent / "project_counter"
SESSIONS = 50
STEPS = 20
KILLS = 3
#: A kill counts only where at least this many sessions were inside a step.
INSIDE = 10

pytestmark = [pytest.mark.system, pytest.mark.timeout(900), pytest.mark.xdist_group("crashes")]


def kill_worker(up: running.Up) -> None:
    pid = running.until("a worker to kill", up.worker_pid)
    os.kill(pid, signal.SIGKILL)


def kill_server(up: running.Up) -> None:
    """SIGKILL to `up`: everything goes with it; then start it again on the same data."""
    below = running.descendants(up.pid)
    up.kill()
    running.until("all children to be gone", lambda: not [p for p in below if Path(f"/proc/{p}").exists()])
    up.start()


def kill_temporal(up: running.Up) -> None:
    pid = running.until("a Temporal to kill", up.temporal_pid)
    os.kill(pid, signal.SIGKILL)
    running.until("Temporal to be there again", lambda: up.temporal_pid() not in (None, pid))


@pytest.mark.parametrize("kill", [kill_worker, kill_server, kill_temporal])
def test_no_completed_step_runs_twice_whatever_is_killed(up, counter, kill):
    """
    50 sessions of 20 steps complete although a process is killed three times while at least ten of them are
    inside a step; a step that was committed never arrives at the counter again, and one that was in flight
    arrives at most once more per kill.
    """
    up.cli("deploy", str(PROJECT))
    warm = start(up, counter, "warm")
    assert up.ended(warm, 240)["result"] == sum(range(STEPS))
    names = [f"s{k:02d}" for k in range(SESSIONS)]
    with ThreadPoolExecutor(8) as pool:
        sessions = dict(zip(names, pool.map(lambda name: start(up, counter, name), names), strict=True))
    for _ in range(KILLS):
        kill_inside(up, counter, kill)

    ended = {name: up.ended(session, 300) for name, session in sessions.items()}

    assert {name: (e["state"], e["result"]) for name, e in ended.items()} == {
        name: ("completed", sum(range(STEPS))) for name in names
    }
    for name, session in sessions.items():
        assert_once(up, counter, name, session)


def kill_inside(up, counter, kill):
    """Kill while many sessions are inside a step, and let them get some steps further."""
    counter.gate.clear()
    try:
        caught = running.until(
            f"{INSIDE} sessions to be inside a step",
            lambda: inside if len(inside := counter.now_inside()) >= INSIDE else None,
            seconds=240,
            every=0.01,
        )
        assert len(caught) >= INSIDE
        kill(up)
    finally:
        counter.gate.set()
    enough = len(counter.arrivals) + 2 * SESSIONS
    running.until("steps to go on", lambda: len(counter.arrivals) >= enough, seconds=240)


def start(up, counter, name):
    body = {
        "entrypoint": "main.py:work",
        "inputs": {"url": counter.url, "name": name},
        "is_durable": True,
    }
    return up.call("POST", "/projects/counter/sessions", json=body)["id"]


def assert_once(up, counter, name, session):
    """Compare the counter's log with the journal of one session."""
    steps = up.call("GET", f"/sessions/{session}/steps", params={"limit": 1000})["items"]
    done = [s for s in steps if s["kind"] == "step" and s["name"].endswith(("post", "tell"))]
    assert len(done) == STEPS
    assert all(s["status"] == "ok" for s in done)
    for index, step in enumerate(done):
        times = [at for key, at in counter.arrivals if key == f"{name}/{index}"]
        assert 1 <= len(times) <= 1 + KILLS, f"{name}/{index} arrived {len(times)} times"
        late = [at for at in times if at > datetime.fromisoformat(step["ended_at"]).timestamp()]
        assert not late, f"{name}/{index} arrived again after it was completed"
    prints = up.call("GET", f"/sessions/{session}/logs")["items"]
    assert "".join(p["text"] for p in prints) == f"{name}: {sum(range(STEPS))}\n"
