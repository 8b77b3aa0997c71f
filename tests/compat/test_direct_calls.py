"""What is no activity, as AutoKitteh's own tests assert it (tests/sessions/python), durable and not.

The numbers are those of docs/guides/coming-from-autokitteh.md.
"""

import pytest

EACH_MODE = pytest.mark.parametrize("is_durable", [True, False], ids=["durable", "nondurable"])


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
