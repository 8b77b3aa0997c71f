"""Sessions that wait for a free slot of the worker, with Temporal there and away."""

import os
import signal
from datetime import datetime
from pathlib import Path

import pytest
from counting import start

from ninelives_server.testing import running

pytestmark = [pytest.mark.system, pytest.mark.timeout(300), pytest.mark.xdist_group("room")]

PROJECT = Path(__file__).parent / "project_counter"
SLOTS = 2
#: From a free slot to the next session; a server that waited for Temporal takes a minute. seconds
SOON = 5.0


@pytest.mark.parametrize("is_away", [False, True], ids=["temporal", "no-temporal"])
def test_who_waits_for_a_slot_gets_the_next_one_in_order(tmp_path, counter, is_away):
    """
    As soon as another session has ended, by the server's clock; whoever comes later does so later.
    """
    up = running.Up(tmp_path / "data", env={"NINELIVES_WORKER__SLOTS": str(SLOTS)}).start()
    temporal = up.temporal_pid()
    try:
        up.cli("deploy", str(PROJECT))
        if is_away:
            os.kill(temporal, signal.SIGSTOP)
            running.until("it to be missed", lambda: not up._is_ready())
        counter.gate.clear()
        sessions = [start(up, counter, f"s{number}") for number in range(4 * SLOTS)]
        running.until("both slots to be in use", lambda: len(counter.now_inside()) == SLOTS)
        queued = up.call("GET", f"/sessions/{sessions[-1]}")
        counter.gate.set()
        counter.hold_seconds = 0.01
        ended = [up.ended(session) for session in sessions]
    finally:
        os.kill(temporal, signal.SIGCONT)
        up.stop()

    began = [datetime.fromisoformat(document["started_at"]) for document in ended]
    freed = sorted(datetime.fromisoformat(document["ended_at"]) for document in ended)
    late = [(at - place).total_seconds() for at, place in zip(began[SLOTS:], freed, strict=False)]
    print("seconds from a free slot to the next session:", late)
    assert [document["state"] for document in ended] == ["completed"] * len(sessions)
    assert queued["queue_position"] == 3 * SLOTS
    order = sorted(range(len(began)), key=began.__getitem__)
    # Places that are free at the same time are given at the same time.
    assert all(abs(place - number) < SLOTS for place, number in enumerate(order)), order
    assert max(late) < SOON
