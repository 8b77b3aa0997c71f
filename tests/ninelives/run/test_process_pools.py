"""Pools of processes in user code: their work is not recorded, and does not keep the session from going on."""

import pytest

from ninelives_server.testing import running
from ninelives_server.testing.session_harness import Journal

POOLS = """
import concurrent.futures
import multiprocessing

import ninelives

def square(n):
    return n * n

def fill(queue):
    queue.put(7)

@ninelives.step
def note(found):
    return found

def pool(event):
    with multiprocessing.Pool(2) as processes:
        return note([processes.map(square, [1, 2, 3]), processes.apply(square, (4,))])

def executor(event):
    with concurrent.futures.ProcessPoolExecutor(2) as processes:
        return note([list(processes.map(square, [1, 2, 3])), processes.submit(square, 4).result(timeout=30)])

def queue(event):
    made = multiprocessing.Queue()
    process = multiprocessing.Process(target=fill, args=(made,))
    process.start()
    found = made.get(timeout=30)
    process.join()
    return note([found])
"""


@pytest.mark.parametrize(
    ("name", "result"), [("pool", [[1, 4, 9], 16]), ("executor", [[1, 4, 9], 16]), ("queue", [7])]
)
@pytest.mark.timeout(60)
def test_work_in_other_processes_comes_to_its_end(harness, program, name, result):
    """The threads that serve a pool are no strands: they wait for pipes, and would hold the turn for ever."""
    made = program(POOLS, entrypoint=f"main.py:{name}")
    journal = Journal()

    first = harness.run(made, journal)
    again = harness.run(made, journal)

    assert first.result == again.result == result
    assert [row.head["name"] for row in journal.in_order() if row.head["kind"] == "step"] == ["main.note"]


OTHER_SPEED = """
import concurrent.futures
import multiprocessing
import os
import queue
import threading
import time
from pathlib import Path

import ninelives

def slow(n):
    time.sleep(n)
    return n

def first_time_fast(n):
    # The first run has it done at once, a later one does not.
    if MARK.exists():
        time.sleep(1)
    return n

def first_time_late(n):
    if not MARK.exists():
        time.sleep(1)
    return n

def other_order(n):
    time.sleep(n if MARK.exists() else 0.6 - n)
    return n

MARK = Path({mark!r})

@ninelives.step
def note(found):
    MARK.touch()
    return found

@ninelives.step
def plain(found):
    return found

def result(event):
    with concurrent.futures.ProcessPoolExecutor(1) as processes:
        future = processes.submit(first_time_fast, 4)
        time.sleep(0.5)
        return note([future.result(timeout=30), note(5)])

def late_result(event):
    with concurrent.futures.ProcessPoolExecutor(1) as processes:
        future = processes.submit(first_time_late, 4)
        return note([future.result(timeout=30), note(5)])

def too_late(event):
    with concurrent.futures.ProcessPoolExecutor(1) as processes:
        future = processes.submit(slow, 1)
        try:
            found = future.result(timeout=0.1)
        except TimeoutError:
            found = "too late"
        return note([found, note(future.result(timeout=30))])

@ninelives.inhibit
def hurry():
    # No step: a later run has the work done by now, the first one has not.
    if MARK.exists():
        time.sleep(0.7)

def fast_the_next_time(event):
    with concurrent.futures.ProcessPoolExecutor(1) as processes:
        future = processes.submit(first_time_late, 4)
        hurry()
        try:
            found = future.result(timeout=0.3)
        except TimeoutError:
            found = "too late"
        return note([found, note(future.result(timeout=30)), future.exception(timeout=1)])

def event_the_next_time(event):
    is_set = threading.Event()
    with concurrent.futures.ProcessPoolExecutor(1) as processes:
        future = processes.submit(first_time_late, 4)
        future.add_done_callback(lambda future: is_set.set())
        hurry()
        return note([is_set.wait(0.3), note(is_set.wait(30))])

def queue_the_next_time(event):
    items = queue.Queue()
    with concurrent.futures.ProcessPoolExecutor(1) as processes:
        future = processes.submit(first_time_late, 4)
        future.add_done_callback(lambda future: items.put(future.result()))
        hurry()
        try:
            found = items.get(timeout=0.3)
        except queue.Empty:
            found = "empty"
        return note([found, note(items.get(timeout=30)), time.monotonic() > 0])

def pool_the_next_time(event):
    with multiprocessing.Pool(1) as processes:
        result = processes.apply_async(first_time_late, (4,))
        hurry()
        try:
            found = result.get(timeout=0.3)
        except multiprocessing.TimeoutError:
            found = "too late"
        return note([found, note(result.get(timeout=30))])

def item_the_next_time(event):
    with multiprocessing.Pool(1) as processes:
        items = processes.imap(first_time_late, [4])
        hurry()
        try:
            found = items.next(0.3)
        except multiprocessing.TimeoutError:
            found = "too late"
        return note([found, note(items.next(30))])

def strands(event):
    seen = []
    with concurrent.futures.ProcessPoolExecutor(1) as processes:
        future = processes.submit(first_time_late, 4)
        def other():
            for n in range(3):
                seen.append(plain(n))
        thread = threading.Thread(target=other)
        thread.start()
        try:
            future.result(timeout=0.4)
        except TimeoutError:
            seen.append("too late")
        thread.join()
        return note([*seen, future.result()])

def done(event):
    with concurrent.futures.ProcessPoolExecutor(1) as processes:
        future, turns = processes.submit(first_time_late, 4), 0
        while not future.done():
            time.sleep(0.2)
            turns += 1
        return note([future.result(), turns > 0, note(5)])

def order(event):
    with concurrent.futures.ProcessPoolExecutor(3) as processes:
        futures = [processes.submit(other_order, n / 10) for n in (1, 5, 3)]
        return [note(future.result()) for future in concurrent.futures.as_completed(futures, timeout=30)]

def not_all(event):
    with concurrent.futures.ProcessPoolExecutor(1) as processes:
        futures, found = [processes.submit(slow, n) for n in (0, 1)], []
        try:
            for future in concurrent.futures.as_completed(futures, timeout=0.5):
                found.append(note(future.result()))
        except TimeoutError as error:
            return note([*found, str(error)])

def first(event):
    with concurrent.futures.ProcessPoolExecutor(2) as processes:
        futures = [processes.submit(other_order, n / 10) for n in (1, 5)]
        found = concurrent.futures.wait(futures, 30, return_when="FIRST_COMPLETED")
        return note([sorted(future.result() for future in found.done), len(found.not_done)])

def unordered(event):
    with multiprocessing.Pool(3) as processes:
        return [note(n) for n in processes.imap_unordered(other_order, [0.1, 0.5, 0.3])]

def ready(event):
    with multiprocessing.Pool(1) as processes:
        result, turns = processes.apply_async(first_time_late, (4,)), 0
        while not result.ready():
            time.sleep(0.2)
            turns += 1
        return note([result.get(timeout=30), turns > 0])

def get(event):
    with multiprocessing.Pool(1) as processes:
        result = processes.apply_async(first_time_fast, (4,))
        time.sleep(0.5)
        return note([result.get(timeout=30), note(5)])
"""


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("result", [4, 5]),
        ("late_result", [4, 5]),
        ("too_late", ["too late", 1]),
        ("fast_the_next_time", ["too late", 4, None]),
        ("event_the_next_time", [False, True]),
        ("queue_the_next_time", ["empty", 4, True]),
        ("pool_the_next_time", ["too late", 4]),
        ("item_the_next_time", ["too late", 4]),
        ("strands", [0, 1, 2, "too late", 4]),
        ("done", [4, True, 5]),
        ("order", [0.5, 0.3, 0.1]),
        ("not_all", [0, "1 (of 2) futures unfinished"]),
        ("first", [[0.5], 1]),
        ("unordered", [0.1, 0.5, 0.3]),
        ("ready", [4, True]),
        ("get", [4, 5]),
    ],
)
@pytest.mark.timeout(60)
def test_processes_that_are_faster_or_slower_the_next_time(harness, program, tmp_path, name, result):
    """Their speed is nobody's to record; what the code was told of it is."""
    made = program(
        OTHER_SPEED.replace("{mark!r}", repr(str(tmp_path / "mark"))), entrypoint=f"main.py:{name}"
    )
    journal = Journal()

    first = harness.run(made, journal)
    again = harness.run(made, journal)

    assert (first.error, again.error) == (None, None)
    assert first.result == again.result == result


PARKS = """
import concurrent.futures
import os
import threading
import time

import ninelives
import ninelives.run.waits

# A quarter of an hour, else: so long such work is not given up.
ninelives.run.waits._UNIQUE_KEPT = 0.1

def slow(n):
    with open({pids!r}, "a") as pids:
        print(os.getpid(), file=pids)
    time.sleep(n)
    return n

@ninelives.step
def note(found):
    return found

@ninelives.inhibit
def hurry(seconds):
    # No step: the last run has the work done by now.
    time.sleep(seconds)

def main(event):
    is_here = threading.Lock()
    is_here.acquire()
    with concurrent.futures.ProcessPoolExecutor(1) as processes:
        future = processes.submit(slow, {seconds})
        future.add_done_callback(lambda future: is_here.release())
        hurry(0.7 if {seconds} == 0 else 0)
        return note([is_here.acquire(timeout=60), note(5)])
"""


@pytest.mark.timeout(60)
def test_a_time_out_that_a_park_has_recorded_keeps_its_key(harness, program, tmp_path):
    """It has a record then, and has it in each later process, though its time never came."""
    pids = tmp_path / "pids"
    source = PARKS.replace("{pids!r}", repr(str(pids)))
    slow = program(source.replace("{seconds}", "1"), park_after=0.1)
    journal = Journal()

    parked = harness.run(slow, journal)
    first = harness.run(slow, journal, stay=True)
    fast = program(source.replace("{seconds}", "0"), park_after=0.1)
    again = harness.run(fast, journal, stay=True)

    assert parked.state == "parked"
    assert (first.error, again.error) == (None, None)
    assert first.result == again.result == [True, 5]
    left = [pid for pid in pids.read_text().split() if running.command_line(int(pid))]
    assert left == [], "the harness leaves processes of a session behind"
