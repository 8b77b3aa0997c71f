"""Durable waits: in place, parked, timed out, stopped."""

import dataclasses
import json
import socket
import threading
import time
from textwrap import dedent

import pytest

from ninelives_server.testing.session_harness import Journal


def test_a_short_wait_is_one_record(harness, program):
    """It is not announced: should the process die in it, it begins again."""
    made = program(
        """
        import time

        def main(event):
            before = time.monotonic()
            time.sleep(0.05)
            return time.monotonic() - before >= 0.05
        """
    )

    whole = harness.crash_everywhere(made)

    assert whole.result is True
    assert [row.head["status"] for row in whole.journal.in_order() if row.head["kind"] == "wait"] == ["fired"]


def test_a_long_wait_parks_the_session_and_ends_at_its_time(harness, program):
    """The deadline is committed before the process ends, and a later process keeps it."""
    made = program(
        """
        import ninelives

        def main(event):
            print("before")
            ninelives.sleep(3600)
            print("after")
        """
    )
    journal = Journal()

    first = harness.run(made, journal)
    again = harness.run(made, journal)
    (started,) = [row for row in journal.rows.values() if row.head["kind"] == "wait"]
    started.body = _deadline(time.time() - 1)
    ended = harness.run(made, journal)

    assert first.state == again.state == "parked"
    assert again.until == first.until
    assert abs(first.until - time.time() - 3600) < 60
    assert started.head["status"] == "started"
    assert (ended.state, ended.prints) == ("completed", "before\nafter\n")


@pytest.mark.parametrize("days", [25, 40, 3650, 1e9])
def test_a_wait_may_be_longer_than_the_system_can_poll(harness, program, days):
    """Months are what parking is for; `poll` takes 24 days at most."""
    made = program(
        f"""
        import ninelives

        def main(event):
            ninelives.sleep({days} * 86400)
        """
    )

    outcome = harness.run(made)

    assert outcome.state == "parked"
    assert abs(outcome.until - time.time() - min(days, 36500) * 86400) < 60


def test_a_time_out_that_never_comes_is_none(harness, program):
    """As in plain Python; what is recorded of it is JSON that everybody can read."""
    made = program(
        """
        import asyncio, math, threading

        async def main(event):
            async with asyncio.timeout(math.inf):
                sleeping = asyncio.create_task(asyncio.sleep(math.inf))
                await asyncio.sleep(0.01)
            sleeping.cancel()
            lock = threading.Lock()
            thread = threading.Thread(target=lambda: None)
            thread.start()
            thread.join(threading.TIMEOUT_MAX)
            return lock.acquire(timeout=threading.TIMEOUT_MAX)
        """
    )

    whole = harness.crash_everywhere(made, is_sequential=False)

    assert whole.result is True
    json.dumps([row.head["preview"] for row in whole.journal.in_order()], allow_nan=False)


def _deadline(at):
    import struct

    return struct.pack(">d", at)


def test_a_session_that_is_told_to_stay_waits_in_place(harness, program, monkeypatch):
    """`stay` says that something has arrived meanwhile; the wait goes on and ends by itself."""
    made = program(
        """
        import asyncio, time

        def main(event):
            time.sleep(6)
            return "over"
        """
    )

    outcome = harness.run(made, stay=True)

    assert (outcome.state, outcome.result) == ("completed", "over")
    assert outcome.waiting == [True, False]


def test_waits_of_tasks_run_side_by_side(harness, program):
    """`asyncio.sleep` is durable, and three of them take as long as the longest."""
    made = program(
        """
        import asyncio

        async def nap(seconds):
            await asyncio.sleep(seconds)
            print(seconds)
            return seconds

        async def main(event):
            return await asyncio.gather(nap(0.3), nap(0.1), nap(0.2))
        """
    )

    whole = harness.crash_everywhere(made)

    assert whole.result == [0.3, 0.1, 0.2]
    assert whole.prints == "0.1\n0.2\n0.3\n"


def test_a_session_whose_tasks_all_wait_long_is_parked_until_the_first(harness, program):
    """Parking takes the nearest deadline of all strands."""
    made = program(
        """
        import asyncio

        async def main(event):
            await asyncio.gather(asyncio.sleep(7200), asyncio.sleep(3600))
        """
    )

    outcome = harness.run(made)

    assert outcome.state == "parked"
    assert abs(outcome.until - time.time() - 3600) < 60


def test_a_timeout_fires_at_the_same_place_again(harness, program):
    """Asyncio's timers are waits with a record; a step that was cut off is recorded as abandoned."""
    made = program(
        """
        import asyncio
        import ninelives

        @ninelives.step
        async def forever():
            await asyncio.sleep(3600)

        async def main(event):
            try:
                async with asyncio.timeout(0.05):
                    await forever()
            except TimeoutError:
                print("timed out")
            return await asyncio.wait_for(quick(), 30)

        @ninelives.step
        async def quick():
            return 1
        """
    )

    whole = harness.crash_everywhere(made)

    assert whole.prints == "timed out\n"
    assert whole.result == 1
    statuses = {(row.head["name"], row.head["status"]) for row in whole.journal.in_order()}
    assert ("asyncio.timer", "fired") in statuses
    assert ("main.forever", "abandoned") in statuses


def test_a_negative_wait_is_refused_as_python_does(harness, program):
    """The message is the one of `time.sleep`."""
    made = program(
        """
        import time

        def main(event):
            try:
                time.sleep(-1)
            except ValueError as error:
                return str(error)
        """
    )

    assert harness.run(made).result == "sleep length must be non-negative"


def stop_after(count):
    """Return what asks a session to stop once it has committed so many records."""

    def on_row(process, _row):
        if process.own_rows == count:
            process.send(t="stop", reason="enough")

    return on_row


def stop_a_while_after(count):
    """Return the same, half a second later: by then the program waits."""

    def on_row(process, _row):
        if process.own_rows == count:
            threading.Timer(0.5, process.send, kwargs={"t": "stop", "reason": "enough"}).start()

    return on_row


def test_a_stop_ends_a_wait_and_cleaning_up_is_recorded(harness, program):
    """`Stopped` is raised where strand 0 waits; steps in `finally` are journaled; a replay is the same."""
    made = program(
        """
        import time
        import ninelives

        @ninelives.step
        def clean_up():
            return "clean"

        def main(event):
            try:
                print("waiting")
                time.sleep(4)
            except Exception:
                print("never: it is no Exception")
            finally:
                print(clean_up())
        """
    )
    journal = Journal()

    outcome = harness.run(made, journal, on_row=stop_after(1))
    replayed = harness.run(made, journal)

    assert outcome.state == replayed.state == "stopped"
    assert outcome.prints == "waiting\nclean\n"
    assert "ninelives.Stopped" in journal.steps()


def test_a_stop_is_raised_at_the_next_call_of_busy_code(harness, program):
    """Code that is not waiting gets it where it calls something next."""
    made = program(
        """
        import ninelives

        @ninelives.step
        def work(n):
            return n

        def main(event):
            done = 0
            try:
                while True:
                    done = work(done + 1)
            except ninelives.Stopped:
                print("stopped")
                return done
        """
    )
    journal = Journal()

    outcome = harness.run(made, journal, on_row=stop_after(5))
    replayed = harness.run(made, journal)

    assert outcome.result == replayed.result
    assert outcome.result >= 5
    assert outcome.prints == "stopped\n"


def test_cleaning_up_after_a_stop_in_busy_code_is_not_done_again(harness, program, tmp_path):
    """
    The call that gave way to the stop takes no key: the steps of `finally` stand where a replay looks for them.
    """
    made = program(
        f"""
        import ninelives

        @ninelives.step
        def work(n):
            return n

        @ninelives.step
        def clean_up():
            with open({str(tmp_path / "cleaned")!r}, "a") as file:
                file.write("x")
            return "clean"

        def main(event):
            done = 0
            try:
                while True:
                    done = work(done + 1)
            finally:
                print(clean_up())
        """
    )
    journal = Journal()

    outcome = harness.run(made, journal, on_row=stop_after(5))
    steps = journal.steps()
    replayed = harness.run(made, journal)

    assert outcome.state == replayed.state == "stopped"
    assert (tmp_path / "cleaned").read_text() == "x"
    assert journal.steps() == steps


def test_a_stop_cancels_what_an_async_main_waits_for(harness, program):
    """The task of strand 0 is cancelled, `finally` blocks run, and the session is stopped."""
    made = program(
        """
        import asyncio

        async def main(event):
            try:
                print("go")
                await asyncio.gather(asyncio.sleep(4), asyncio.sleep(4))
            finally:
                print("bye")
        """
    )
    journal = Journal()

    outcome = harness.run(made, journal, on_row=stop_a_while_after(1))
    replayed = harness.run(made, journal)

    assert outcome.state == replayed.state == "stopped"
    assert outcome.prints == "go\nbye\n"


def test_a_stop_ends_the_wait_for_a_thread(harness, program):
    """`join`, locks and queues are waits of strand 0 too; the other strand goes down with the process."""
    made = program(
        """
        import threading, time
        import ninelives

        def main(event):
            thread = threading.Thread(target=time.sleep, args=(4,))
            thread.start()
            print("joining")
            try:
                thread.join()
            except ninelives.Stopped:
                print("stopped")
                raise
        """
    )
    journal = Journal()

    outcome = harness.run(made, journal, on_row=stop_after(1))
    replayed = harness.run(made, journal)

    assert outcome.state == replayed.state == "stopped"
    assert outcome.prints == "joining\nstopped\n"


def test_a_session_that_is_not_durable_is_stopped_too(harness, program):
    """`Stopped` interrupts what its main thread does."""
    made = program(
        """
        import time
        import ninelives

        def main(event):
            try:
                print("waiting")
                time.sleep(30)
            except ninelives.Stopped:
                print("stopped")
                raise
        """,
        is_durable=False,
    )

    outcome = harness.run(made, on_row=stop_after(1))

    assert (outcome.state, outcome.prints) == ("stopped", "waiting\nstopped\n")


SLOW = """
    import asyncio, contextlib

    @contextlib.asynccontextmanager
    async def connected(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield reader
        finally:
            async with asyncio.timeout(300):
                writer.write(b"bye\\n")
                await writer.drain()
                await reader.readline()
            writer.close()
"""


def test_a_session_that_waits_for_an_answer_with_a_long_time_out_is_not_parked(harness, program, tmp_path):
    """The answer would be lost with the process; as when a context is left that a step has entered."""
    made = program(
        """
        import asyncio, contextlib, sys
        sys.path.insert(0, LIBRARY)
        import ninelives, slowlib

        class Client:
            def __init__(self):
                self.stack = contextlib.AsyncExitStack()

            @ninelives.step
            async def connect(self, port):
                self.reader = await self.stack.enter_async_context(slowlib.connected(port))

        async def go(port):
            client = Client()
            await client.connect(port)
            await client.stack.aclose()
            return "closed"

        def main(event):
            return asyncio.run(go(event.data.port))
        """.replace("LIBRARY", repr(str(tmp_path / "library"))),
    )
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "slowlib.py").write_text(dedent(SLOW))

    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as line, line.makefile("rwb") as file:
                file.readline()
                time.sleep(0.5)
                file.write(b"bye\n")

        answering = threading.Thread(target=answer)
        answering.start()
        outcome = harness.run(dataclasses.replace(made, data={"port": server.getsockname()[1]}))
        answering.join()

    assert (outcome.state, outcome.result) == ("completed", "closed")
