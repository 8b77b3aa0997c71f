"""Two servers on one PostgreSQL and one Temporal, each with a worker of its own: who gets what waits for room."""

import asyncio
import importlib.metadata
import os
import shutil
import signal
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest
from counting import start
from temporalio.client import Client

from ninelives_server.testing import running

sys.path.insert(0, str(Path(__file__).parent.parent / "chaos"))

from theatre import Database, Temporal  # noqa: E402

pytestmark = [
    pytest.mark.system,
    pytest.mark.store,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("two-servers"),
]

PROJECT = Path(__file__).parent / "project_counter"
SLOTS = 2
#: From a free slot to the next session; a server that waited for Temporal takes a minute. seconds
SOON = 5.0


@pytest.fixture
def outside(tmp_path: Path):
    """What the servers share."""
    database, temporal = Database(), Temporal(tmp_path)
    database.start()
    temporal.start()
    try:
        yield database, temporal
    finally:
        temporal.close()
        database.close()


@pytest.fixture
def servers(tmp_path: Path, outside):
    """Two of them, with the same keys and tokens."""
    database, temporal = outside
    arguments = ("--database-url", database.url, "--temporal-address", temporal.address)
    made: list[running.Up] = []
    try:
        for name in ("one", "two"):
            if made:
                (tmp_path / name).mkdir()
                shutil.copytree(made[0].data_dir / "private", tmp_path / name / "private")
            env = {"NINELIVES_WORKER__SLOTS": str(SLOTS)}
            made.append(running.Up(tmp_path / name, env=env, arguments=arguments))
            made[-1].start()
        yield made
    finally:
        for up in made:
            up.stop()


def open_workflows(temporal: Temporal) -> int:
    """Return how many sessions Temporal still cares for."""

    async def count() -> int:
        client = await Client.connect(temporal.address)
        return (await client.count_workflows('ExecutionStatus="Running"')).count

    return asyncio.run(count())


@pytest.mark.parametrize("is_away", [False, True], ids=["temporal", "no-temporal"])
def test_both_take_what_waits_and_one_takes_over_from_the_other(servers, outside, counter, is_away):
    """
    With Temporal, which has nothing left to do in the end, and without: each server gives to its own worker whatever waits, the older ones first, and
    each session runs once; when one server dies with its worker, the other one takes what it held and what waited.
    """
    one, two = servers
    _, temporal = outside
    one.cli("deploy", str(PROJECT))
    running.until("both workers", lambda: len(one.call("GET", "/workers")["items"]) == 2)
    releases = [worker["release"] for worker in one.call("GET", "/workers")["items"]]
    if is_away:
        os.kill(temporal._process.pid, signal.SIGSTOP)
    try:
        counter.gate.clear()
        first = [start(one, counter, f"a{number}") for number in range(4 * SLOTS)]
        running.until("all slots to be in use", lambda: len(counter.now_inside()) == 2 * SLOTS)
        counter.hold_seconds = 0.01
        counter.gate.set()
        ended = [two.ended(session) for session in first]

        counter.gate.clear()
        second = [start(one, counter, f"b{number}") for number in range(4 * SLOTS)]
        running.until("all slots to be in use again", lambda: len(counter.now_inside()) == 2 * SLOTS)
        one.kill()
        counter.gate.set()
        killed_at = datetime.now().astimezone()
        taken_over = [two.ended(session) for session in second]
    finally:
        os.kill(temporal._process.pid, signal.SIGCONT)

    # Where it waits for a session that another server gave away, it looks again after a while.
    running.until("Temporal to have nothing left to do", lambda: open_workflows(temporal) == 0)
    took = max(datetime.fromisoformat(document["ended_at"]) for document in taken_over) - killed_at
    print(f"all that the killed server held or had in line had ended {took.total_seconds():.1f} s after it")
    assert [document["state"] for document in ended + taken_over] == ["completed"] * 8 * SLOTS
    began = [datetime.fromisoformat(document["started_at"]) for document in ended]
    freed = sorted(datetime.fromisoformat(document["ended_at"]) for document in ended)
    late = [
        (at - place).total_seconds() for at, place in zip(sorted(began)[2 * SLOTS :], freed, strict=False)
    ]
    assert max(late) < SOON, late
    arrived = Counter(key for key, _ in counter.arrivals if key.startswith("a"))
    assert set(arrived.values()) == {1}
    assert releases == [importlib.metadata.version("ninelives")] * 2
