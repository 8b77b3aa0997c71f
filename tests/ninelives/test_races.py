"""Programs whose strands race: killed at random, they come to the same, and no completed step runs twice."""

import random
from collections import Counter
from pathlib import Path

import pytest

from ninelives_server.testing.session_harness import Journal, Outcome

PROGRAM = """
import asyncio
import concurrent.futures
import queue
import random
import threading
import time
import uuid

import ninelives


@ninelives.step
def work(path, name):
    time.sleep(int(time.time() * 1e6) % 7 / 2000)  # inside a step clocks are real: any order may come out
    with open(path, "a") as file:
        file.write(name + "\\n")
    return name


@ninelives.step
async def work_async(path, name):
    await asyncio.sleep(int(time.time() * 1e6) % 7 / 2000)
    return work(path, name)


def threads(event, seen):
    lock = threading.Lock()

    def run(n):
        for k in range(3):
            found = work(event.data.path, f"thread {n} {k}")
            with lock:
                seen.append(found)
            if random.random() < 0.3:
                time.sleep(0.001)

    strands = [threading.Thread(target=run, args=(n,)) for n in range(3)]
    for strand in strands:
        strand.start()
    for strand in strands:
        strand.join()


def pool(event, seen):
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        futures = [executor.submit(work, event.data.path, f"pool {n}") for n in range(5)]
        for future in concurrent.futures.as_completed(futures):
            seen.append(future.result())


async def tasks(event, seen):
    async def run(n):
        for k in range(2):
            seen.append(await work_async(event.data.path, f"task {n} {k}"))
        seen.append(await asyncio.to_thread(work, event.data.path, f"to thread {n}"))

    async with asyncio.TaskGroup() as group:
        for n in range(3):
            group.create_task(run(n))


def queued(event, seen):
    box = queue.Queue()

    def produce(n):
        for k in range(2):
            box.put(work(event.data.path, f"queue {n} {k}"))

    strands = [threading.Thread(target=produce, args=(n,)) for n in range(2)]
    for strand in strands:
        strand.start()
    for _ in range(4):
        seen.append(box.get())


def main(event):
    seen = []
    for part in event.data.parts:
        found = globals()[part](event, seen)
        if asyncio.iscoroutine(found):
            asyncio.run(found)
    seen.append(str(uuid.uuid4()))
    for name in seen:
        print(name)
    return seen
"""


def completed(journal: Journal) -> set[str]:
    """Return what the steps that are committed have done."""
    rows = [row for row in journal.in_order() if row.head["kind"] == "step" and row.head["status"] == "ok"]
    return {row.head["preview"]["args"][1] for row in rows if "work" in row.head["name"]}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("part", ["threads", "pool", "tasks", "queued"])
def test_a_race_ends_as_it_began_however_often_it_is_killed(harness, program, tmp_path, part, seed):
    """
    What was committed before a kill stays: the same order of results on every later run, each completed step
    done once, each step done at least once.
    """
    chance = random.Random(f"{part} {seed}")
    log = tmp_path / "log"
    made = program(PROGRAM, data={"path": str(log), "parts": [part]})
    journal = Journal()
    done: Counter[str] = Counter()
    outcome = Outcome("killed")
    while outcome.state in {"killed", "parked"}:
        before, done_before = completed(journal), Counter(lines(log))
        outcome = harness.run(made, journal, kill_after=chance.randint(1, 6))
        done = Counter(lines(log))
        assert {name for name in before if done[name] > done_before[name]} == set()

    again = harness.run(made, journal)

    assert outcome.state == "completed", outcome.error
    assert again.result == outcome.result
    assert again.prints == outcome.prints == "".join(f"{name}\n" for name in outcome.result)
    assert set(done) == set(outcome.result[:-1])


def lines(log: Path) -> list[str]:
    """Return what steps have done, in order."""
    return log.read_text().splitlines() if log.exists() else []
