"""`step(retry=…, timeout=…)` on coroutine functions, and on functions whose result is awaited or entered."""

import pytest

from ninelives_server.testing.session_harness import Journal

MARKED = """
import asyncio

import ninelives

tried = []

@ninelives.step(retry=2)
async def third_time(n):
    tried.append(n)
    await asyncio.sleep(0)
    if len(tried) % 3:
        raise ConnectionError(f"try {len(tried)}")
    return n

@ninelives.step(retry=ninelives.Retry(times=5, on=(TimeoutError,)))
async def wrong_error():
    tried.append("wrong")
    raise KeyError("not tried again")

@ninelives.step(timeout=0.05)
async def slow():
    await asyncio.sleep(30)

@ninelives.step(retry=1, timeout=0.05)
async def slow_once():
    tried.append("slow")
    await asyncio.sleep(30 if tried.count("slow") == 1 else 0)
    return "fast"

async def main(event):
    found = [await third_time(7), len(tried)]
    for call in (wrong_error, slow):
        try:
            await call()
        except (KeyError, TimeoutError) as error:
            found.append(type(error).__name__)
    return [*found, await slow_once(), tried.count("wrong"), tried.count("slow")]
"""


def test_retries_and_time_outs_of_coroutine_functions(harness, program):
    """As often as the mark says, on the errors that it names; an attempt that takes too long is one."""
    made = program(MARKED)
    journal = Journal()

    whole = harness.run(made, journal)
    again = harness.run(made, journal)

    assert whole.result == [7, 3, "KeyError", "TimeoutError", "fast", 1, 2]
    assert [row.head["attempt"] for row in journal.in_order()] == [3, 1, 1, 2]
    assert again.result == [7, 0, "KeyError", "TimeoutError", "fast", 0, 0]


NEVER = """
import asyncio
import os
import signal

import ninelives

@ninelives.step(retry="never")
async def pay(path):
    with open(path, "a") as file:
        file.write("paid")
    await asyncio.sleep(0)
    if event_dies:
        os.kill(os.getpid(), signal.SIGKILL)
    return "receipt"

event_dies = False

async def main(event):
    global event_dies
    event_dies = event.data.dies and not os.path.exists(event.data.path)
    try:
        return await pay(event.data.path)
    except ninelives.StepInterrupted as error:
        return str(error)
"""


@pytest.mark.parametrize("dies", [False, True])
def test_a_coroutine_that_must_not_run_twice_is_not(harness, program, tmp_path, dies):
    """Its start is committed; after a crash in the middle user code decides, and decides the same again."""
    paid = tmp_path / "paid"
    made = program(NEVER, data={"path": str(paid), "dies": dies})
    journal = Journal()
    first = harness.run(made, journal)

    last = harness.run(made, journal)
    again = harness.run(made, journal)

    assert paid.read_text() == "paid"
    assert first.state == ("killed" if dies else "completed")
    assert last.result == again.result
    assert ("step main.pay had started when its process died" in last.result) is dies


ENTERED = """
import ninelives

made = []

class Lease:
    def __init__(self, n):
        self.n = n

    def __await__(self):
        yield from ()
        return self._begin("awaited")

    async def __aenter__(self):
        return self._begin("entered")

    async def __aexit__(self, *error):
        made.append("left")

    def _begin(self, how):
        if self.n < 2:
            raise ConnectionError(self.n)
        return f"{how} {self.n}"

@ninelives.step(retry=3)
def lease():
    made.append("made")
    return Lease(len(made))

async def main(event):
    async with lease() as got:
        pass
    made.clear()
    return [got, await lease()]
"""


def test_a_further_attempt_enters_what_it_has_made(harness, program):
    """As the first one does: what a call returned is entered by `async with` and awaited by `await`."""
    assert harness.run(program(ENTERED)).result == ["entered 2", "awaited 2"]


OTHER_LOOP = """
import asyncio

import ninelives

@ninelives.step
async def work():
    return 1

class Loop(asyncio.SelectorEventLoop):
    pass

def main(event):
    loop = Loop()
    try:
        return loop.run_until_complete(work())
    finally:
        loop.close()
"""


def test_another_event_loop_is_refused_by_name(harness, program):
    """Its tasks cannot be told apart; the error names what can be used."""
    error = harness.run(program(OTHER_LOOP)).error

    assert error["type"] == "NotSupported"
    assert "use asyncio.run" in error["message"]
