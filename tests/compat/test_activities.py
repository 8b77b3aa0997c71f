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
def test_5_what_is_registered_is_no_activity(harness, program, is_durable):
    """A function, and one method; its class still is one. Chance is computed here, and needs no record."""
    made = program(
        """
        from random import randint, randrange
        from urllib.request import Request
        import autokitteh

        autokitteh.register_no_activity([randint, Request.get_method])

        def main(event):
            assert 1 <= randint(1, 10) <= 10
            assert 1 <= randrange(1, 10) < 10
            print(Request("http://x.example").get_method())
        """,
        is_durable=is_durable,
    )

    outcome = harness.run(made)

    assert outcome.prints == "GET\n"
    assert outcome.journal.steps() == (["urllib.request.Request"] if is_durable else [])


def test_6_a_registered_class_covers_constructor_and_methods(harness, program):
    """No call is recorded."""
    made = program(
        """
        from urllib.request import Request
        from autokitteh import register_no_activity

        register_no_activity([Request])

        def main(event):
            request = Request("http://x.example")
            request.add_header("A", "b")
            print(request.get_method(), request.get_header("A"))
        """
    )

    outcome = harness.run(made)

    assert outcome.prints == "GET b\n"
    assert outcome.journal.steps() == []


@EACH_MODE
def test_7_a_uuid_keeps_type_and_equality(harness, program, is_durable):
    """Into an activity and out of it."""
    made = program(
        """
        import uuid
        from autokitteh import activity

        @activity
        def same(value):
            assert isinstance(value, uuid.UUID)
            return value

        def main(event):
            value = uuid.uuid4()
            got = same(value)
            print(type(got).__name__, got == value)
        """,
        is_durable=is_durable,
    )

    assert harness.run(made).prints == "UUID True\n"


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
def test_15_a_module_prints_once_and_its_globals_are_used(harness, program, is_durable):
    """Before what the handler prints; a replay does not print it again."""
    made = program(
        """
        from autokitteh import activity

        print("loading")
        GREETING = "hello".upper()

        @activity
        def act():
            return GREETING

        def main(event):
            print(act())
        """,
        is_durable=is_durable,
    )

    outcome = harness.crash_everywhere(made) if is_durable else harness.run(made)

    assert outcome.prints == "loading\nHELLO\n"


@EACH_MODE
@pytest.mark.parametrize("has_init", [True, False])
def test_16_18_packages_are_imported_with_and_without_init(harness, program, is_durable, has_init):
    """Absolute and relative imports, from the top and late; activities in them are recorded in each case."""
    files = {
        "foo/bar.py": """
            from autokitteh import activity
            from . import qux

            @activity
            def act(n):
                return qux.twice(n)

            def baz(n):
                return act(n)
            """,
        "foo/qux.py": "def twice(n):\n    return n * 2\n",
        **(
            {"foo/__init__.py": "import platform\n\ndef here():\n    return platform.node() != ''\n"}
            if has_init
            else {}
        ),
    }
    late = "import foo; print(foo.here())" if has_init else "import foo.qux; print(foo.qux.twice(1) == 2)"
    made = program(
        f"""
        from foo.bar import baz

        def main(event):
            print(baz(2))
            {late}
        """,
        files=files,
        is_durable=is_durable,
    )

    outcome = harness.run(made)

    assert outcome.prints == "4\nTrue\n"
    steps = ["foo.bar.act", *(["platform.node"] if has_init else [])]
    assert outcome.journal.steps() == (steps if is_durable else [])


def test_19_under_inhibit_no_activity_is_started(harness, program):
    """Nested calls neither; the same activity is one outside of it."""
    made = program(
        """
        from autokitteh import activity, inhibit_activities

        @activity
        def bar():
            return 1

        @inhibit_activities
        def quiet():
            return bar() + deeper()

        def deeper():
            return bar()

        def main(event):
            print(bar(), quiet(), bar(), quiet(), bar())
        """
    )

    outcome = harness.run(made)

    assert outcome.prints == "1 2 1 2 1\n"
    assert outcome.journal.steps() == ["main.bar"] * 3


def test_20_a_bound_method_of_a_builtin_class_returns_its_text(harness, program):
    """It only computes, so it is no step here."""
    made = program(
        """
        from datetime import datetime

        def main(event):
            print(datetime(2026, 1, 2, 3, 4).isoformat())
        """
    )

    outcome = harness.run(made)

    assert outcome.prints == "2026-01-02T03:04:00\n"
    assert outcome.journal.steps() == []


@EACH_MODE
def test_21_a_lock_works_in_both_modes(harness, program, is_durable):
    """The original fails in its durable one."""
    made = program(
        """
        from threading import Lock

        def main(event):
            lock = Lock()
            with lock:
                print("locked")
        """,
        is_durable=is_durable,
    )

    assert harness.run(made).prints == "locked\n"


@EACH_MODE
def test_22_a_sibling_module_is_imported(harness, program, is_durable):
    """By its plain name."""
    made = program(
        "import other\n\ndef main(event):\n    print(other.there())\n",
        files={"other.py": "def there():\n    return 'there'\n"},
        is_durable=is_durable,
    )

    assert harness.run(made).prints == "there\n"


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


@EACH_MODE
def test_25_26_open_works_in_a_handler_and_at_the_top_of_a_module(harness, program, is_durable):
    """A handler that a module calls itself, with `{}`, is simply called."""
    made = program(
        """
        def main(event):
            with open("data.txt") as file:
                print(file.read().strip())

        main({})
        """,
        files={"data.txt": "content\n"},
        is_durable=is_durable,
    )

    assert harness.run(made).prints == "content\ncontent\n"


@EACH_MODE
def test_34_36_print_and_sleep(harness, program, is_durable):
    """`sleep` imported by its name is a durable wait, no activity."""
    made = program(
        """
        from time import sleep

        def main(event):
            print("before")
            sleep(0.1)
            print("after")
        """,
        is_durable=is_durable,
    )

    outcome = harness.run(made)

    assert outcome.prints == "before\nafter\n"
    assert outcome.journal.steps() == (["time.sleep"] if is_durable else [])


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


@EACH_MODE
def test_40_a_namedtuple_of_the_module_is_no_activity(harness, program, is_durable):
    """Neither its making at the top, nor its use."""
    made = program(
        """
        from collections import namedtuple

        Point = namedtuple("Point", "x y")
        origin = Point(0, 0)

        def main(event):
            print(origin, Point(1, 2))
        """,
        is_durable=is_durable,
    )

    outcome = harness.run(made)

    assert outcome.prints == "Point(x=0, y=0) Point(x=1, y=2)\n"
    assert outcome.journal.steps() == []


def test_45_asyncio_run_in_a_handler_is_no_activity(harness, program):
    """What it runs is."""
    made = program(
        """
        import asyncio
        from autokitteh import activity

        @activity
        async def act():
            return 5

        async def work():
            return await act()

        def main(event):
            print(asyncio.run(work()))
        """
    )

    outcome = harness.crash_everywhere(made)

    assert outcome.prints == "5\n"
    assert outcome.journal.steps() == ["main.act"]


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


def test_59_the_logging_of_a_helper_is_a_log_line(harness, program):
    """And `uuid4` is computed: where the original starts activities, records of other kinds do."""
    made = program(
        """
        import json
        from uuid import uuid4
        import helper

        def main(event):
            helper.note("hello")
            print(len(str(uuid4())), json.dumps({"a": 1}))
        """,
        files={
            "helper.py": """
            import logging
            logging.basicConfig(level=logging.INFO, format="%(message)s")

            def note(text):
                logging.info(text)
            """
        },
    )

    outcome = harness.crash_everywhere(made)

    assert outcome.prints == 'hello\n36 {"a": 1}\n'
    assert outcome.journal.steps() == []


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


def test_64_what_only_computes(harness, program):
    """Encoders, parsing of times, methods of lists and matches are direct; a clock is a recorded value."""
    made = program(
        """
        import re
        from base64 import b64decode
        from datetime import datetime

        def main(event):
            found = []
            found.append(b64decode("aGk=").decode())
            found.append(datetime.strptime("2026", "%Y").year)
            found.append(re.match("(h)", "hi").group(1))
            now = datetime.now()
            return [found, now == now]
        """
    )

    outcome = harness.crash_everywhere(made)

    assert outcome.result == [["hi", 2026, "h"], True]
    assert outcome.journal.steps() == []


def test_65_register_no_activity_knows_all_kinds_of_methods(harness, program):
    """Functions, methods, static and class methods; through a class, on an instance and on the class."""
    made = program(
        """
        import autokitteh
        import lib

        autokitteh.register_no_activity([lib.func, lib.One.method, lib.One.static, lib.One.cls, lib.Two])

        def main(event):
            one, two = lib.One(), lib.Two()
            lib.func(); one.method(); lib.One.static(); one.cls(); two.method(); lib.Two.static(); lib.Two.cls()
            one.other()
        """,
    )
    outside = made.directory.parent / "outside"
    outside.mkdir()
    (outside / "lib.py").write_text(
        "def func(): pass\n"
        "class One:\n"
        "    def method(self): pass\n"
        "    def other(self): pass\n"
        "    @staticmethod\n    def static(): pass\n"
        "    @classmethod\n    def cls(cls): pass\n"
        "class Two(One):\n"
        "    def method(self): pass\n"
        "    @staticmethod\n    def static(): pass\n"
        "    @classmethod\n    def cls(cls): pass\n"
    )
    source = (made.directory / "main.py").read_text()
    (made.directory / "main.py").write_text(f"import sys\nsys.path.append({str(outside)!r})\n" + source)

    assert harness.run(made).journal.steps() == ["lib.One", "lib.One.other"]


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


@EACH_MODE
def test_79_names_of_channels_are_made_as_the_original_makes_them(harness, program, is_durable):
    """The helper is code of the SDK: it runs directly, and its module needs no token to be imported."""
    made = program(
        """
        import sys, types

        # Only the function is tried here; the library that its module imports is not among the tests' own.
        for name in ("slack_sdk", "slack_sdk.web", "slack_sdk.web.client"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules["slack_sdk.web.client"].WebClient = object

        from autokitteh.slack import normalize_channel_name

        def main(event):
            names = ["", "  TEST Name ", "it's \\"x\\"", "a__b--c", "-ab-", "x" * 60]
            return [normalize_channel_name(name) for name in names]
        """,
        is_durable=is_durable,
    )

    outcome = harness.run(made)

    assert outcome.result == ["", "test-name", "its-x", "a-b-c", "ab", "x" * 50], outcome.error
    assert outcome.journal.steps() == []
