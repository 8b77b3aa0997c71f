"""Processes that user code starts itself: what it is told of them is recorded, what they do is not."""

import pytest

from ninelives_server.testing.session_harness import Harness, Journal

OTHER_SPEED = """
import multiprocessing
import queue
import time
from pathlib import Path

import ninelives

MARK = Path({mark!r})

@ninelives.step
def note(found):
    MARK.touch()
    return found

@ninelives.inhibit
def hurry():
    # No step: a later run has the work done by now, the first one has not.
    if MARK.exists():
        time.sleep(0.7)

def first_time_late(*to):
    if not MARK.exists():
        time.sleep(1)
    for one in to:
        getattr(one, "put", getattr(one, "send", getattr(one, "set", None)))(*([7] if not hasattr(one, "set") else []))

def started(*to):
    process = multiprocessing.Process(target=first_time_late, args=to)
    process.start()
    hurry()
    return process

def alive(event):
    process, turns = started(), 0
    while process.is_alive():
        time.sleep(0.1)
        turns += 1
    return note([turns > 0, process.exitcode, note(5)])

def exitcode(event):
    process = started()
    found = process.exitcode
    process.join()
    return note([found, process.exitcode])

def join(event):
    process = started()
    process.join(0.3)
    found = process.is_alive()
    note(5)
    process.join(30)
    return note([found, process.is_alive()])

def get(event):
    items, found = multiprocessing.Queue(), []
    process = started(items)
    for seconds in (0.3, 30):
        try:
            found.append(note(items.get(timeout=seconds)))
        except queue.Empty:
            found.append("empty")
    process.join()
    return note([*found, items.empty()])

def nowait(event):
    items, turns = multiprocessing.Queue(), 0
    process = started(items)
    while True:
        try:
            found = items.get_nowait()
        except queue.Empty:
            time.sleep(0.2)
            turns += 1
        else:
            break
    process.join()
    return note([turns > 0, found, note(5)])

def simple(event):
    items = multiprocessing.SimpleQueue()
    process = started(items)
    found = [items.empty(), note(items.get()), items.empty()]
    process.join()
    return note(found)

def poll(event):
    ours, theirs = multiprocessing.Pipe()
    process = started(theirs)
    found = [ours.poll(), ours.poll(0.2), ours.poll(30), note(ours.recv())]
    process.join()
    return note(found)

def event(event):
    is_set = multiprocessing.Event()
    process = started(is_set)
    found = [is_set.is_set(), is_set.wait(0.2), note(is_set.wait(30)), is_set.wait()]
    process.join()
    return note(found)
"""


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("alive", [True, 0, 5]),
        ("exitcode", [None, 0]),
        ("join", [True, False]),
        ("get", ["empty", 7, True]),
        ("nowait", [True, 7, 5]),
        ("simple", [True, 7, True]),
        ("poll", [False, False, True, 7]),
        ("event", [False, False, True, True]),
    ],
)
@pytest.mark.timeout(60)
def test_a_process_that_is_faster_the_next_time(harness, program, tmp_path, name, result):
    """The code is told what it was told before."""
    made = program(
        OTHER_SPEED.replace("{mark!r}", repr(str(tmp_path / "mark"))), entrypoint=f"main.py:{name}"
    )
    journal = Journal()

    first = harness.run(made, journal)
    again = harness.run(made, journal)

    assert (first.error, again.error) == (None, None)
    assert first.result == again.result == result


@pytest.mark.timeout(120)
def test_a_queue_that_several_processes_fill(harness, program):
    """Their order is nobody's: it stays what it was, and each item comes once, wherever the session was killed."""
    made = program(
        """
        import multiprocessing, os, time

        import ninelives

        @ninelives.step
        def note(found):
            return found

        def fill(items, n):
            time.sleep(os.getpid() * 7919 % 10 / 50)
            items.put(str(n))
            items.put("x" * 100_000)  # more than a pipe holds: nobody ends before it is taken

        def main(event):
            items, found = multiprocessing.Queue(), []
            processes = [multiprocessing.Process(target=fill, args=(items, n)) for n in range(3)]
            for process in processes:
                process.start()
            for _ in range(6):
                found.append(note(items.get()[:5]))
            for process in processes:
                process.join()
            return [sorted(found), [process.exitcode for process in processes], items.empty()]
        """
    )

    whole = harness.crash_everywhere(made)

    assert whole.result == [["0", "1", "2", "xxxxx", "xxxxx", "xxxxx"], [0, 0, 0], True]


def test_locks_of_processes_are_used_directly(harness, program):
    """They are objects of this process: to take one is no step."""
    made = program(
        """
        import multiprocessing

        import ninelives

        @ninelives.step
        def note(found):
            return found

        def add(number):
            with number.get_lock():
                number.value += 1

        def main(event):
            lock, places, number = multiprocessing.Lock(), multiprocessing.Semaphore(1), multiprocessing.Value("i", 1)
            with lock, places:
                note("held")
                process = multiprocessing.Process(target=add, args=(number,))
                process.start()
                process.join()
            return [lock.acquire(timeout=1), note(number.value)]
        """
    )

    whole = harness.crash_everywhere(made)

    assert whole.result == [True, 2]
    assert [row.head["name"] for row in whole.journal.in_order()] == ["main.note", "main.note"]


def test_what_processes_leave_in_a_temporary_directory_is_the_sessions_own(program, tmp_path):
    """Also where a library has asked for the directory before there was a session; a killed one leaves nothing."""
    (tmp_path / "asks_early.py").write_text("import tempfile\ntempfile.gettempdir()\n")
    harness = Harness(path=[str(tmp_path)], preload=["asks_early"])
    made = program(
        """
        import multiprocessing
        import multiprocessing.util
        import tempfile

        def main(event):
            with multiprocessing.Manager() as manager:
                manager.list([1])
                return [tempfile.gettempdir(), multiprocessing.util.get_temp_dir()]
        """
    )
    try:
        found = harness.run(made)
        own = tmp_path / "own"
        own.mkdir()
        made.env = {"TMPDIR": str(own)}
        of_its_own = harness.run(made)
    finally:
        harness.close()

    assert found.result[0] == str(harness.temporary)
    assert found.result[1].startswith(str(harness.temporary))
    assert not harness.temporary.exists()
    assert of_its_own.result[0] == str(own)


def test_a_manager_listens_though_the_directory_of_the_session_is_deep(harness, program, tmp_path):
    """The name of a socket has 107 bytes at most."""
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    made = program(
        """
        import multiprocessing

        def main(event):
            with multiprocessing.Manager() as manager:
                found = manager.list([1])
                found.append(2)
                return list(found)
        """,
        env={"TMPDIR": str(deep)},
    )

    found = harness.run(made)

    assert found.error is None
    assert found.result == [1, 2]
