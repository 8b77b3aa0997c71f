"""Waits for events and signals, seen from the session's process."""

import threading

from ninelives_server.testing.session_harness import Journal, NothingYet


class Inbox:
    """Answers waits: with nothing, until something is put in."""

    def __init__(self):
        self.items = []
        self.asked = 0
        self.returned = []

    def look(self, args):
        self.asked += 1
        if not self.items:
            raise NothingYet
        return self.items.pop(0)

    @property
    def answers(self):
        return {"next_signal": self.look, "next_event": self.look, "give_back": self.returned.append}


def signal(name="go", payload=None):
    return {"name": name, "payload": payload}


WAIT = """
    import ninelives

    def main(event):
        print("waiting")
        got = ninelives.next_signal(["go", "on"])
        print(got.name)
        return got.payload
"""


def test_mail_wakes_a_wait_in_place(harness, program):
    """The session asks again when it is told, and says that all its strands wait meanwhile."""
    inbox = Inbox()
    made = program(WAIT, answers=inbox.answers)

    def tell(process, row):
        if row.head["status"] == "started":
            inbox.items.append(signal(payload=[1]))
            threading.Timer(0.3, process.send, kwargs={"t": "mail"}).start()

    outcome = harness.run(made, on_row=tell)

    assert (outcome.result, inbox.asked) == ([1], 2)
    assert outcome.waiting == [True, False]


def test_a_long_wait_parks_with_what_it_awaits(harness, program):
    """It has no deadline, and a later process asks for the same wait again."""
    inbox = Inbox()
    made = program(WAIT, answers=inbox.answers, park_after=0.1)
    journal = Journal()

    first = harness.run(made, journal)
    inbox.items.append(signal("on", "later"))
    again = harness.run(made, journal)
    replayed = harness.run(made, journal)

    assert (first.state, first.until, first.awaits) == ("parked", None, ["signal:go", "signal:on"])
    assert (again.state, again.result, again.prints) == ("completed", "later", "waiting\non\n")
    assert replayed.result == "later"
    assert inbox.asked == 2


def test_one_that_is_told_to_stay_looks_at_once(harness, program):
    """What arrived while it was about to park is not left lying."""
    inbox = Inbox()
    made = program(WAIT, answers=inbox.answers, park_after=0.1)

    def put_in(process, row):
        if row.head["status"] == "started":
            threading.Timer(0.05, inbox.items.append, [signal()]).start()

    outcome = harness.run(made, on_row=put_in, stay=True)

    assert outcome.state == "completed"


def test_a_stop_is_raised_at_the_wait_on_each_replay(harness, program):
    """Whether or not an answer would be there by then; cleaning up is recorded behind it."""
    inbox = Inbox()
    made = program(
        """
        import ninelives

        def main(event):
            try:
                ninelives.next_event("sub_1")
            except ninelives.Stopped:
                ninelives.next_signal("after", timeout=0)
                print("stopped")
                raise
        """,
        answers={**inbox.answers, "next_signal": lambda args: None},
    )
    journal = Journal()

    def stop(process, row):
        if row.head["status"] == "started":
            threading.Timer(0.2, process.send, kwargs={"t": "stop", "reason": "enough"}).start()

    outcome = harness.run(made, journal, on_row=stop)
    inbox.items.append({"data": {}})
    replayed = harness.run(made, journal)

    assert outcome.state == replayed.state == "stopped"
    assert outcome.prints == "stopped\n"
    assert journal.steps().count("next_event") == 1
    for count in range(1, len(journal.rows)):
        cut = Journal()
        for row in journal.in_order()[:count]:
            cut.rows[row.key], cut.next_seq = row, row.seq + 1
        is_stopped = any(row.head["name"] == "ninelives.Stopped" for row in cut.rows.values())
        assert not is_stopped or harness.run(made, cut).prints == "stopped\n"


def test_a_wait_that_was_cancelled_gives_back_what_it_got(harness, program):
    """The answer was on its way when the task was cancelled: nothing is lost."""
    inbox = Inbox()
    made = program(
        """
        import asyncio
        import ninelives

        async def main(event):
            try:
                await asyncio.wait_for(ninelives.next_event_async("sub_1"), 0.2)
            except TimeoutError:
                print("timed out")
            await asyncio.sleep(0.3)
            return (await ninelives.next_event_async("sub_1"))["n"]
        """,
        answers=inbox.answers,
    )
    journal = Journal()

    outcome = harness.run(made, journal, on_row=lambda process, row: _late(inbox, process, row))
    replayed = harness.run(made, journal)

    assert outcome.result == replayed.result == 1
    assert outcome.prints == "timed out\n"


def _late(inbox, process, row):
    if row.head["name"] == "next_event" and row.head["n"] == 0 and row.head["status"] == "started":
        return
    if row.head["name"] == "asyncio.sleep":
        inbox.items.append({"data": {"n": 1}, "event_id": "evt_1", "event_type": "x"})


def test_a_restart_ends_the_session_with_the_data_of_its_successor(harness, program):
    """`finally` blocks are run, and a plain `except` does not stop it."""
    made = program(
        """
        import ninelives

        def main(event):
            try:
                try:
                    ninelives.restart({"round": event.data.get("round", 0) + 1})
                except Exception:
                    print("never")
            finally:
                print("bye")
        """
    )

    outcome = harness.crash_everywhere(made)

    assert (outcome.state, outcome.restart, outcome.prints) == ("completed", {"round": 1}, "bye\n")


def test_a_restart_takes_json_only(harness, program):
    """What cannot be handed over is said where it is asked for."""
    made = program(
        """
        import ninelives

        def main(event):
            try:
                ninelives.restart({"what": object()})
            except TypeError as error:
                return str(error)
        """
    )

    assert harness.run(made).result.startswith("restart takes values that JSON can hold")
