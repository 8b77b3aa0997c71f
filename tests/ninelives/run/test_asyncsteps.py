"""Steps of coroutines: side by side, handed out one after the other, abandoned, of libraries of every style."""

import pytest


@pytest.fixture
def vendor(tmp_path):
    """A library outside of the project: its calls are steps of their own accord."""
    directory = tmp_path / "site"
    directory.mkdir()
    (directory / "vendor.py").write_text(
        '''
import asyncio

async def fetch(n):
    await asyncio.sleep(0.02 * (3 - n))
    return n * 10

def late(n):
    """A plain function that returns a coroutine."""
    return fetch(n)

class Answer:
    """What an HTTP client returns: awaitable, and a context."""
    def __init__(self, n):
        self.n = n
    def __await__(self):
        return fetch(self.n).__await__()
    async def __aenter__(self):
        await asyncio.sleep(0)
        return self.n
    async def __aexit__(self, *error):
        return False

def get(n):
    return Answer(n)

class Page:
    """A workbook, say: its methods change it."""
    def __init__(self):
        self.rows = []
    def add(self, row):
        self.rows.append(row)
        return self
    def size(self):
        return len(self.rows)

async def numbers(n):
    for i in range(n):
        yield i
'''
    )
    return f"import sys\nsys.path.insert(0, {str(directory)!r})\nimport vendor\n"


def run_everywhere(harness, program, vendor, source):
    return harness.crash_everywhere(program(vendor + source), is_sequential=False)


def test_foreign_coroutines_run_side_by_side(harness, program, vendor):
    """Gathered, in tasks and groups: each call takes its key when it is made."""
    source = """
import asyncio

async def main(event):
    first = await asyncio.gather(*[vendor.fetch(n) for n in range(3)])
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(vendor.fetch(n)) for n in range(3)]
    pending = asyncio.create_task(vendor.fetch(2))
    done, _ = await asyncio.wait([pending])
    return [first, [task.result() for task in tasks], done.pop().result(), await vendor.late(1)]
"""

    whole = run_everywhere(harness, program, vendor, source)

    assert whole.result == [[0, 10, 20], [0, 10, 20], 20, 10]
    assert set(whole.journal.steps()) == {"vendor.fetch", "vendor.late"}


def test_objects_to_be_awaited_or_entered_are_steps_when_they_are(harness, program, vendor):
    """As some HTTP clients have them."""
    source = """
async def main(event):
    async with vendor.get(2) as entered:
        found = await vendor.get(1)
    return [entered, found]
"""

    whole = run_everywhere(harness, program, vendor, source)

    assert whole.result == [2, 10]
    assert whole.journal.steps() == ["vendor.get", "vendor.get"]


def test_asynchronous_iterables_are_recorded_item_by_item(harness, program, vendor):
    """In `async for` and in comprehensions."""
    source = """
async def main(event):
    out = []
    async for n in vendor.numbers(3):
        out.append(n)
    return out + [n async for n in vendor.numbers(2)]
"""

    assert run_everywhere(harness, program, vendor, source).result == [0, 1, 2, 0, 1]


def test_a_cancelled_step_is_abandoned_and_not_executed_again(harness, program, vendor):
    """The first of two that is done cancels the other."""
    source = """
import asyncio

async def main(event):
    tasks = [asyncio.create_task(vendor.fetch(-100)), asyncio.create_task(vendor.fetch(2))]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    try:
        await tasks[0]
    except asyncio.CancelledError:
        print("cancelled")
    return [task.result() for task in done]
"""

    whole = run_everywhere(harness, program, vendor, source)

    assert (whole.result, whole.prints) == ([20], "cancelled\n")
    statuses = sorted(row.head["status"] for row in whole.journal.in_order() if row.head["track"] == "call")
    assert statuses == ["abandoned", "ok"]


def test_errors_of_coroutines_are_raised_where_they_are_awaited(harness, program, vendor):
    """By class and message; a group collects them."""
    source = """
import asyncio
import ninelives

@ninelives.step
async def fail(n):
    raise ValueError(f"no {n}")

async def main(event):
    found = await asyncio.gather(fail(1), vendor.fetch(2), return_exceptions=True)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail(2))
    except* ValueError as errors:
        found.append(str(errors.exceptions[0]))
    return [str(item) for item in found]
"""

    assert run_everywhere(harness, program, vendor, source).result == ["no 1", "20", "no 2"]


def test_sync_steps_and_threads_inside_a_loop_keep_their_order(harness, program, vendor):
    """`to_thread` and executors are strands below the task."""
    source = """
import asyncio, os
from concurrent.futures import ThreadPoolExecutor

async def one(n):
    exists = await asyncio.to_thread(os.path.exists, "/")
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as pool:
        also = await loop.run_in_executor(pool, os.path.isdir, "/")
    return [n, exists, also, os.path.isfile("/")]

async def main(event):
    return await asyncio.gather(one(1), one(2))
"""

    whole = run_everywhere(harness, program, vendor, source)

    assert whole.result == [[1, True, True, False], [2, True, True, False]]
    assert sorted(set(whole.journal.steps())) == ["os.path.exists", "os.path.isdir", "os.path.isfile"]


def test_queues_and_events_between_tasks_need_no_records(harness, program, vendor):
    """They are objects of this process, and the order of tasks is the same again."""
    source = """
import asyncio

async def produce(box):
    for n in range(3):
        await box.put(await vendor.fetch(n))
    await box.put(None)

async def main(event):
    box, out = asyncio.Queue(1), []
    task = asyncio.create_task(produce(box))
    while (item := await box.get()) is not None:
        out.append(item)
    await task
    return out
"""

    whole = run_everywhere(harness, program, vendor, source)

    assert whole.result == [0, 10, 20]
    assert whole.journal.steps() == ["vendor.fetch"] * 3


def test_what_a_library_object_keeps_is_there_after_a_replay(harness, program, vendor):
    """A method that changed its receiver is not called again, but the change is made again."""
    source = """
def main(event):
    page = vendor.Page()
    same = page.add(1)
    same.add(2)
    return [page.size(), page.rows, same is page]
"""

    whole = harness.crash_everywhere(program(vendor + source))

    assert whole.result == [2, [1, 2], True]
    assert whole.journal.steps() == ["vendor.Page", "vendor.Page.add", "vendor.Page.add", "vendor.Page.size"]
