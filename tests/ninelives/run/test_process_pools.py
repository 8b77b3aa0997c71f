"""Pools of processes in user code: their work is not recorded, and does not keep the session from going on."""

import pytest

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
