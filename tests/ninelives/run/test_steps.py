"""Sync steps: recorded once, answered from the journal from then on."""


def test_a_completed_step_is_never_executed_again(harness, program, tmp_path):
    """
    Killed after each record in turn, a program goes on where it was; each step that was committed leaves
    exactly one line in a file outside.
    """
    log = tmp_path / "log"
    made = program(
        """
        import ninelives

        @ninelives.step
        def note(path, text):
            with open(path, "a") as file:
                file.write(text + "\\n")
            return text.upper()

        def main(event):
            first = note(event.data.log, "one")
            second = note(event.data.log, first)
            print(first, second)
            return [first, second]
        """,
        data={"log": str(log)},
    )

    def reset():
        log.unlink(missing_ok=True)

    whole = harness.crash_everywhere(made, reset=reset)

    assert whole.result == ["ONE", "ONE"]
    assert whole.prints == "ONE ONE\n"
    assert log.read_text() == "one\nONE\n"


def test_unmarked_calls_that_reach_the_world_are_steps(harness, program):
    """What only computes is called as it is; the rest is recorded under its usual name."""
    made = program(
        """
        import json, os, re

        def main(event):
            text = json.dumps({"a": [1, 2]})
            found = re.findall(r"[0-9]", text)
            return [found, os.path.exists("/"), os.path.join("a", "b"), sorted({3, 1, 2})]
        """
    )

    whole = harness.crash_everywhere(made)

    assert whole.result == [["1", "2"], True, "a/b", [1, 2, 3]]
    assert whole.journal.steps() == ["os.path.exists"]


def test_calls_inside_a_step_are_no_steps(harness, program):
    """A step is recorded as a whole."""
    made = program(
        """
        import os
        import ninelives

        @ninelives.step
        def outer():
            return inner(), os.path.exists("/")

        @ninelives.step
        def inner():
            return 1

        def main(event):
            return outer()
        """
    )

    assert harness.run(made).journal.steps() == ["main.outer"]


def test_user_code_gets_the_value_as_read_back_on_the_first_run_too(harness, program):
    """A first run and a replay must not differ in identity either."""
    made = program(
        """
        import ninelives

        CACHE = []

        @ninelives.step
        def make():
            CACHE.append({"n": 1})
            return CACHE[0]

        def main(event):
            found = make()
            found["n"] = 2
            return [found, CACHE == [{"n": 1}] or CACHE == []]
        """
    )

    assert harness.crash_everywhere(made).result == [{"n": 2}, True]


def test_an_error_is_raised_where_the_call_stands_and_can_be_caught_there(harness, program):
    """Type, message, notes and cause survive the process."""
    made = program(
        """
        import ninelives

        class Refused(Exception):
            def __init__(self, *, code):
                super().__init__(f"code {code}")
                self.code = code

        @ninelives.step
        def fail(code):
            try:
                1 / 0
            except ZeroDivisionError as error:
                refused = Refused(code=code)
                refused.add_note("a note")
                raise refused from error

        def main(event):
            try:
                fail(7)
            except Refused as error:
                print(type(error.__cause__).__name__, error.__notes__)
                return [str(error), error.code]
        """
    )

    whole = harness.crash_everywhere(made)

    assert whole.result == ["code 7", 7]
    assert whole.prints == "ZeroDivisionError ['a note']\n"


def test_an_uncaught_error_ends_the_session_with_the_users_traceback(harness, program):
    """The traceback shows the user's lines only, those inside the step too, on replay as on the first run."""
    made = program(
        """
        import ninelives

        @ninelives.step
        def fail():
            raise ValueError("no such thing")

        def main(event):
            helper()

        def helper():
            fail()
        """
    )

    error = harness.crash_everywhere(made).error

    assert error["type"] == "ValueError"
    assert error["message"] == "no such thing"
    assert error["seq"] == 1
    assert error["traceback"] == (
        "Traceback (most recent call last):\n"
        '  File "main.py", line 9, in main\n    helper()\n'
        '  File "main.py", line 12, in helper\n    fail()\n'
        '  File "main.py", line 6, in fail\n    raise ValueError("no such thing")\n'
        "ValueError: no such thing"
    )


def test_arguments_that_a_step_changes_are_changed_by_a_replay_too(harness, program):
    """Containers and objects of the project's classes among the arguments, in place and with their
    identity.
    """
    made = program(
        """
        import random
        import ninelives

        class Cart:
            def __init__(self):
                self.items = []

            @ninelives.step
            def fill(self, more):
                self.items.extend(more)
                self.total = len(self.items)

        @ninelives.step
        def rearrange(rows, index):
            rows.reverse()
            index["rows"] = rows
            return rows

        def main(event):
            cart = Cart()
            items = cart.items
            cart.fill(["a", "b"])
            rows, index = [1, 2, 3], {}
            found = rearrange(rows, index)
            print(items is cart.items, found is rows, index["rows"] is rows)
            return [items, cart.total, rows, index]
        """
    )

    whole = harness.crash_everywhere(made)

    assert whole.prints == "True True True\n"
    assert whole.result == [["a", "b"], 2, [3, 2, 1], {"rows": [3, 2, 1]}]


def test_code_that_does_something_else_than_before_ends_with_both_sides_shown(harness, program):
    """A different name or other arguments at a key is a divergence, never a wrong result."""
    made = program(
        """
        import ninelives

        @ninelives.step
        def one(x):
            return x

        @ninelives.step
        def two(x):
            return x

        def main(event):
            one(1)
            one(2)
            return "done"
        """
    )
    whole = harness.run(made)
    path = made.directory / "main.py"
    source = path.read_text()

    path.write_text(source.replace("one(2)", "two(2)"))
    renamed = harness.run(made, whole.journal.copy())
    path.write_text(source.replace("one(2)", "one(3)"))
    changed = harness.run(made, whole.journal.copy())

    assert whole.result == "done"
    assert (renamed.state, renamed.error["type"]) == ("error", "Divergence")
    assert "the journal has main.one, the code now calls main.two" in renamed.error["message"]
    assert (changed.state, changed.error["type"]) == ("error", "Divergence")
    assert "main.one was called with other arguments than now ([3]);" in changed.error["message"]


def test_a_step_that_may_not_be_repeated_is_reported_as_interrupted(harness, program):
    """`retry="never"`: its start is committed; after a crash in the middle user code decides."""
    made = program(
        """
        import os, signal
        import ninelives

        @ninelives.step(retry="never")
        def pay(amount, die):
            if die:
                os.kill(os.getpid(), signal.SIGKILL)
            return amount

        def main(event):
            print(pay(1, False))
            try:
                pay(2, True)
            except ninelives.StepInterrupted as error:
                return str(error)
        """
    )
    from ninelives_server.testing.session_harness import Journal

    journal = Journal()

    first = harness.run(made, journal)
    again = harness.run(made, journal)
    replayed = harness.run(made, journal)

    assert first.state == "killed"
    assert journal.steps() == ["main.pay", "main.pay"]
    assert "main.pay had started when its process died" in again.result
    assert replayed.result == again.result


def test_a_failing_step_is_tried_again_as_its_mark_says(harness, program):
    """The record has the number of the attempt that counted; other errors are not tried again."""
    made = program(
        """
        import ninelives

        TRIES = []

        @ninelives.step(retry=ninelives.Retry(times=3, first=0.01, on=(OSError,)))
        def flaky():
            TRIES.append(1)
            if len(TRIES) < 3:
                raise OSError("not yet")
            return len(TRIES)

        @ninelives.step(retry=ninelives.Retry(times=3, first=0.01, on=(OSError,)))
        def wrong():
            raise ValueError("wrong")

        def main(event):
            found = flaky()
            try:
                wrong()
            except ValueError:
                return found
        """
    )

    whole = harness.run(made)

    assert whole.result == 3
    assert [row.head["attempt"] for row in whole.journal.in_order()] == [3, 1]


def test_a_step_that_takes_too_long_fails(harness, program):
    """The caller gets `TimeoutError`, which is recorded like any other error."""
    made = program(
        """
        import time
        import ninelives

        @ninelives.step(timeout=0.05)
        def slow():
            time.sleep(5)

        def main(event):
            try:
                slow()
            except TimeoutError as error:
                return str(error)
        """
    )

    assert harness.crash_everywhere(made).result == "step main.slow took longer than 0.05 s"


def test_a_record_shows_bounded_and_masked_arguments(harness, program):
    """A secret of the session appears in no preview, result, print or error."""
    made = program(
        """
        import os
        import ninelives

        @ninelives.step
        def call(token, data):
            return {"echo": token, "size": len(data)}

        def main(event):
            secret = os.environ["TOKEN"]
            found = call(f"Bearer {secret}", "x" * 10_000)
            print("got", found)
            raise ValueError(f"bad {secret}")
        """,
        secrets={"TOKEN": "s3cr3t-value"},
    )

    whole = harness.run(made)

    step, printed = whole.journal.in_order()
    assert step.head["preview"]["args"][0] == "Bearer [TOKEN]"
    assert step.head["preview"]["result"] == {"echo": "Bearer [TOKEN]", "size": 10_000}
    assert len(str(step.head["preview"])) < 1000
    assert printed.body == b"got {'echo': 'Bearer [TOKEN]', 'size': 10000}\n"
    assert whole.error["message"] == "bad [TOKEN]"
    assert "s3cr3t" not in whole.error["traceback"]


def test_a_newer_token_is_the_same_argument(harness, program):
    """A digest counts a secret as its variable, so an access token may change between two processes."""
    made = program(
        """
        import os
        import ninelives

        @ninelives.step
        def call(headers):
            return 1

        def main(event):
            return call({"Authorization": "Bearer " + os.environ["TOKEN"]})
        """,
        secrets={"TOKEN": "first-token"},
    )
    whole = harness.run(made)
    made.secrets = {"TOKEN": "second-token"}

    replayed = harness.run(made, whole.journal)

    assert (replayed.state, replayed.result) == ("completed", 1)


def test_a_group_of_exceptions_keeps_what_its_members_are(harness, program):
    """Also those that do not pickle, with their causes and notes; `except*` finds them on a replay too."""
    made = program(
        """
        import ninelives

        class Refused(Exception):
            def __init__(self, text, *, code):
                super().__init__(text)
                self.code = code

        @ninelives.step
        def several():
            odd = ValueError("odd")
            odd.add_note("a note")
            odd.__cause__ = KeyError("k")
            inner = ExceptionGroup("inner", [Refused("no", code=7)])
            raise ExceptionGroup("both", [odd, inner])

        def main(event):
            found = []
            try:
                several()
            except* ValueError as group:
                [error] = group.exceptions
                found += [str(error), error.__notes__, repr(error.__cause__)]
            except* Refused as group:
                [[error]] = [inner.exceptions for inner in group.exceptions]
                found += [str(error), error.code]
            return found
        """
    )

    whole = harness.crash_everywhere(made)

    assert whole.result == ["odd", ["a note"], "KeyError('k')", "no", 7]


def test_a_class_may_have_its_own_way_to_attributes(harness, program):
    """Deciding upon a call does not ask the receiver for its attributes, which would be such a call again."""
    made = program(
        """
        import ninelives

        @ninelives.step
        def tick(n):
            return n

        class Watched:
            def __init__(self):
                self.n = 1

            def __getattribute__(self, name):
                return super().__getattribute__(name)

            def __setattr__(self, name, value):
                super().__setattr__(name, value + 1)

            def go(self):
                return tick(self.n)

        def main(event):
            return Watched().go()
        """
    )

    assert harness.crash_everywhere(made).result == 2
