"""Activities as AutoKitteh's own tests assert them (tests/sessions/python), durable and not.

The numbers are those of docs/guides/coming-from-autokitteh.md.
"""

import pytest

EACH_MODE = pytest.mark.parametrize("is_durable", [True, False], ids=["durable", "nondurable"])


@EACH_MODE
def test_1_activities_are_activities_wherever_they_are_defined(harness, program, is_durable):
    """Before their use and after it."""
    made = program(
        """
        from autokitteh import activity

        @activity
        def foo(n):
            print(f"foo {n}")

        def main(event):
            assert event.data == {}
            foo(1)
            bar()

        def bar():
            late(2)

        @activity
        def late(n):
            print(f"late {n}")
        """,
        is_durable=is_durable,
    )

    outcome = harness.run(made)

    assert outcome.prints == "foo 1\nlate 2\n"
    assert outcome.journal.steps() == (["main.foo", "main.late"] if is_durable else [])


@EACH_MODE
def test_2_large_integers_survive(harness, program, is_durable):
    """128 bits, as argument, as result and printed."""
    made = program(
        """
        from autokitteh import activity

        BIG = 2**127 + 1

        @activity
        def act(n):
            assert n == BIG
            return n

        def main(event):
            got = act(BIG)
            print(got, got == BIG)
        """,
        is_durable=is_durable,
    )

    assert harness.run(made).prints == "170141183460469231731687303715884105729 True\n"


@EACH_MODE
def test_4_an_error_of_an_activity_is_caught_by_its_type(harness, program, is_durable):
    """With its message."""
    made = program(
        """
        from autokitteh import activity

        @activity
        def act():
            return 1 / 0

        def main(event):
            try:
                act()
            except ZeroDivisionError as error:
                print("caught", error)
        """,
        is_durable=is_durable,
    )

    assert harness.run(made).prints == "caught division by zero\n"


@EACH_MODE
def test_8_an_async_handler_awaits_an_async_activity(harness, program, is_durable):
    """Which awaits another coroutine in turn."""
    made = program(
        """
        from autokitteh import activity

        async def deeper(n):
            return n * 2

        @activity
        async def act(n):
            return await deeper(n)

        async def main(event):
            out = await act(4)
            print(f"out={out}")
            return out
        """,
        is_durable=is_durable,
    )

    outcome = harness.run(made)

    assert (outcome.prints, outcome.result) == ("out=8\n", 8)
    assert outcome.journal.steps() == (["main.act"] if is_durable else [])


@EACH_MODE
def test_9_an_async_activity_may_be_the_entry_point(harness, program, is_durable):
    """A coroutine that is kept in a variable is awaited later."""
    made = program(
        """
        from autokitteh import activity

        async def work():
            print("working")
            return 3

        @activity
        async def main(event):
            later = work()
            print("start")
            return await later
        """,
        is_durable=is_durable,
    )

    outcome = harness.run(made)

    assert (outcome.prints, outcome.result) == ("start\nworking\n", 3)
    assert outcome.journal.steps() == (["main.main"] if is_durable else [])


@EACH_MODE
def test_12_instances_of_user_classes_are_called(harness, program, is_durable):
    """With `__call__`; what they call is decided as anywhere else."""
    made = program(
        """
        from autokitteh import activity

        @activity
        def act(n):
            return n + 1

        class Adder:
            def __call__(self, n):
                return act(n)

        def main(event):
            print(Adder()(1), [Adder()][0](2))
        """,
        is_durable=is_durable,
    )

    outcome = harness.run(made)

    assert outcome.prints == "2 3\n"
    assert outcome.journal.steps() == (["main.act"] * 2 if is_durable else [])


@EACH_MODE
def test_23_30_an_activity_in_an_activity_runs_in_it_and_prints_keep_their_order(
    harness, program, is_durable
):
    """One record for both."""
    made = program(
        """
        from autokitteh import activity

        @activity
        def inner():
            print("INNER")

        @activity
        def act():
            print("ACT")
            inner()

        def main(event):
            print("START")
            act()
            print("END")
        """,
        is_durable=is_durable,
    )

    outcome = harness.run(made)

    assert outcome.prints == "START\nACT\nINNER\nEND\n"
    assert outcome.journal.steps() == (["main.act"] if is_durable else [])


def test_39_72_entry_points_that_are_activities(harness, program):
    """One step, sync and async; it prints as anything else."""
    made = program(
        """
        from autokitteh import activity

        @activity
        def main(event):
            print("in main")
            return {"ok": True}
        """
    )

    outcome = harness.crash_everywhere(made)

    assert outcome.result == {"ok": True}
    assert outcome.journal.steps() == ["main.main"]


def test_56_sleep_inside_an_activity_is_real(harness, program):
    """And one that user code makes is durable, by either name."""
    made = program(
        """
        import time
        from time import sleep
        from autokitteh import activity

        @activity
        def act():
            time.sleep(0.01)
            sleep(0.01)

        def main(event):
            act()
            time.sleep(0.01)
            sleep(0.01)
        """
    )

    assert harness.run(made).journal.steps() == ["main.act", "time.sleep", "time.sleep"]


def test_58_what_runs_as_an_activity(harness, program):
    """Foreign functions; not the module's own, nor another module's of the project, nor what only computes."""
    made = program(
        """
        import platform, re
        import helper
        from autokitteh import AttrDict

        platform.node()  # while loading

        def own():
            return 1

        def main(event):
            own(); helper.help(); re.compile("x").match("x")
            AttrDict({"a": 1}).get("a")
            event.data.keys()
            platform.node()
        """,
        files={"helper.py": "def help():\n    return 2\n"},
    )

    assert harness.run(made).journal.steps() == ["platform.node"]


def test_60_names_of_functions_instances_and_methods(harness, program):
    """What the steps are called."""
    made = program(
        """
        from autokitteh import activity
        from fractions import Fraction
        import platform
        from http.cookies import SimpleCookie
        from zipfile import Path

        class Thing:
            @activity
            def method(self):
                return 1

            @staticmethod
            @activity
            def static():
                return 2

            @classmethod
            @activity
            def cls(cls):
                return 3

        def main(event):
            platform.node()
            thing = Thing()
            return [thing.method(), Thing.static(), thing.cls()]
        """
    )

    outcome = harness.run(made)

    assert outcome.result == [1, 2, 3]
    assert outcome.journal.steps() == [
        "platform.node",
        "main.Thing.method",
        "main.Thing.static",
        "main.Thing.cls",
    ]


def test_62_63_only_calls_inside_functions_are_steps_in_any_order(harness, program):
    """The same function is called directly at the top and is a step in a function before and after it."""
    made = program(
        """
        import platform

        NODE = platform.node()

        def main(event):
            platform.node()
            return after()

        CLASS = type("X", (), {"node": platform.node()})

        def after():
            return bool(platform.node())
        """
    )

    assert harness.run(made).journal.steps() == ["platform.node", "platform.node"]


def test_71_a_callable_instance_can_be_an_activity(harness, program):
    """It is named after its class."""
    made = program(
        """
        from autokitteh import activity

        class Act:
            @activity
            def __call__(self, n):
                return n + 1

        def main(event):
            return Act()(1)
        """
    )

    outcome = harness.crash_everywhere(made)

    assert outcome.result == 2
    [step] = outcome.journal.steps()
    assert "Act" in step
