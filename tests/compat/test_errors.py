"""Errors as AutoKitteh's own tests assert them: caught, uncaught, exotic."""

import pytest

EACH_MODE = pytest.mark.parametrize("is_durable", [True, False], ids=["durable", "nondurable"])

#: An exception of the kind that `openai` has: it pickles, and does not unpickle.
RATE_LIMIT = """
class RateLimitError(Exception):
    def __init__(self, message, *, response, body):
        super().__init__(message)
        self.response = response
        self.body = body
"""


@EACH_MODE
def test_3_14_an_uncaught_error_ends_the_handler(harness, program, is_durable):
    """Of an activity and of the handler; nothing after it is printed."""
    made = program(
        """
        from autokitteh import activity

        class Custom(Exception):
            pass

        @activity
        def act():
            raise Custom("no luck")

        def main(event):
            print("before")
            act()
            print("after")
        """,
        is_durable=is_durable,
    )

    outcome = harness.run(made)

    assert (outcome.state, outcome.prints) == ("error", "before\n")
    assert (outcome.error["type"], outcome.error["message"]) == ("Custom", "no luck")


@EACH_MODE
@pytest.mark.parametrize("place", ["in an activity", "in the handler"])
def test_13_an_error_that_does_not_unpickle_is_caught_by_its_class(harness, program, is_durable, place):
    """With what it carries."""
    call = "ask()" if place == "in an activity" else "raise made()"
    made = program(
        f"""
        import errors
        from autokitteh import activity

        def made():
            return errors.RateLimitError("slow down", response=lambda: 1, body={{"code": 429}})

        @activity
        def ask():
            raise made()

        def main(event):
            try:
                {call}
            except errors.RateLimitError as error:
                print("caught", error, error.body)
        """,
        files={"errors.py": RATE_LIMIT},
        is_durable=is_durable,
    )

    outcome = harness.crash_everywhere(made) if is_durable else harness.run(made)

    assert outcome.prints == "caught slow down {'code': 429}\n"


@EACH_MODE
def test_17_a_failed_import_says_where_packages_are_added(harness, program, is_durable):
    """Its traceback ends as Python's does, at the user's line."""
    made = program("import no_such_package\n\ndef main(event):\n    pass\n", is_durable=is_durable)

    error = harness.run(made).error

    assert error["type"] == "ModuleNotFoundError"
    assert error["repr"].startswith("ModuleNotFoundError(\"No module named 'no_such_package'\")")
    assert "add it to requirements.txt and deploy again" in error["message"]
    assert error["traceback"].startswith(
        'Traceback (most recent call last):\n  File "main.py", line 1, in <module>\n    import no_such_package\n'
        "ModuleNotFoundError: No module named 'no_such_package'"
    )


@EACH_MODE
def test_28_42_what_pickle_cannot_do_fails_no_session(harness, program, is_durable):
    """A result that does not pickle, and one that recurses for ever when it is unpickled."""
    made = program(
        """
        from autokitteh import activity

        class Raises:
            def __reduce__(self):
                raise AttributeError("no")

        class Recurses:
            def __getattr__(self, name):
                return getattr(self.inner, name)

        @activity
        def act(cls):
            return cls()

        def main(event):
            print(type(act(Raises)).__name__, type(act(Recurses)).__name__)
        """,
        is_durable=is_durable,
    )

    outcome = harness.run(made)

    assert (outcome.state, outcome.prints) == ("completed", "Raises Recurses\n"), outcome.error


@EACH_MODE
def test_31_an_uncaught_error_shows_its_values_and_the_users_lines(harness, program, is_durable):
    """AutoKitteh prints `error: <repr>`, a blank line and the traceback; both are there."""
    made = program(
        """
        from autokitteh import activity

        class X(Exception):
            def __init__(self, a, b):
                super().__init__(a, b)

        @activity
        def act():
            raise X(1, 2)

        def main(event):
            act()
        """,
        is_durable=is_durable,
    )

    error = harness.run(made).error

    assert error["repr"] == "X(1, 2)"
    assert [line.strip() for line in error["traceback"].splitlines()] == [
        "Traceback (most recent call last):",
        'File "main.py", line 13, in main',
        "act()",
        'File "main.py", line 10, in act',
        "raise X(1, 2)",
        "main.X: (1, 2)",
    ]


@EACH_MODE
def test_32_an_uncaught_error_that_does_not_pickle_is_shown_as_it_was_made(harness, program, is_durable):
    """The original pads its arguments; here nothing is added."""
    made = program(
        """
        from autokitteh import activity

        class X(Exception):
            def __init__(self, a, b):
                super().__init__(a)
                self.b = b
                self.rest = (n for n in [])

        @activity
        def act():
            raise X(1, None)

        def main(event):
            act()
        """,
        is_durable=is_durable,
    )

    error = harness.run(made).error

    assert (error["type"], error["repr"]) == ("X", "X(1)")


@EACH_MODE
def test_35_an_api_error_keeps_its_response(harness, program, is_durable):
    """Built, raised and caught in the handler, as with `SlackApiError`; its methods are no steps."""
    made = program(
        """
        class ApiError(Exception):
            def __init__(self, message, response):
                super().__init__(f"{message}\\nThe server responded with: {response}")
                self.response = response

        def main(event):
            try:
                raise ApiError("failed", {"ok": False, "error": "bad"})
            except ApiError as error:
                error.add_note("seen")
                print(error.response["error"], str(error).splitlines()[0])
        """,
        is_durable=is_durable,
    )

    outcome = harness.run(made)

    assert outcome.prints == "bad failed\n"
    assert outcome.journal.steps() == []


@EACH_MODE
def test_41_an_uncaught_error_that_does_not_unpickle_keeps_its_message(harness, program, is_durable):
    """The original loses it and shows `RateLimitError()`."""
    made = program(
        """
        import errors
        from autokitteh import activity

        @activity
        def ask():
            raise errors.RateLimitError("slow down", response=lambda: 1, body=None)

        def main(event):
            ask()
        """,
        files={"errors.py": RATE_LIMIT},
        is_durable=is_durable,
    )

    error = harness.run(made).error

    assert (error["type"], error["message"]) == ("RateLimitError", "slow down")
    assert error["repr"].startswith("RateLimitError(")
    assert error["traceback"].splitlines()[-1].startswith("errors.RateLimitError")


@EACH_MODE
def test_57_to_call_what_cannot_be_called_is_a_type_error(harness, program, is_durable):
    """As in Python; the original raises a `ValueError` of its own."""
    made = program("def main(event):\n    return 5()\n", is_durable=is_durable)

    error = harness.run(made).error

    assert (error["type"], error["message"]) == ("TypeError", "'int' object is not callable")


@EACH_MODE
def test_68_70_a_traceback_has_the_message_and_all_names_in_order(harness, program, is_durable):
    """Also where frames hold what cannot be pickled."""
    made = program(
        """
        import threading
        from autokitteh import activity

        def first():
            lock = threading.Lock()
            second(lock)

        def second(lock):
            raise ValueError("deep")

        @activity
        def act():
            first()

        def main(event):
            act()
        """,
        is_durable=is_durable,
    )

    trace = harness.run(made).error["traceback"]

    names = [line.rpartition(" in ")[2] for line in trace.splitlines() if line.startswith('  File "main.py"')]
    assert names == ["main", "act", "first", "second"]
    assert trace.endswith("ValueError: deep")


@pytest.mark.parametrize(
    "init",
    [
        "def __init__(self, a, b=2): super().__init__(a); self.b = b",
        "def __init__(self, a, *, b=2): super().__init__(a); self.b = b",
        "def __init__(self, a, *, b): super().__init__(a); self.b = b",
    ],
)
def test_69_74_errors_with_more_arguments_stay_of_their_class(harness, program, init):
    """Positional and keyword-only; what does not pickle in them is lost, not they."""
    made = program(
        f"""
        from autokitteh import activity

        class Odd(Exception):
            {init}

        class Odder(Odd):
            pass

        @activity
        def act():
            raise Odder("x", b=3)

        def main(event):
            try:
                act()
            except Odder as error:
                return [type(error).__name__, error.b, error.args, isinstance(error, Odd)]
        """
    )

    assert harness.crash_everywhere(made).result == ["Odder", 3, ["x"], True]


def test_73_an_error_that_refuses_new_arguments_hangs_nothing(harness, program):
    """As `msgraph`'s `ODataError`, raised in an async activity."""
    made = program(
        """
        from autokitteh import activity

        class ODataError(Exception):
            @property
            def args(self):
                return ()

            @args.setter
            def args(self, value):
                raise TypeError("no")

        @activity
        async def act():
            raise ODataError()

        async def main(event):
            try:
                await act()
            except ODataError as error:
                print("caught", type(error).__name__)
        """
    )

    assert harness.run(made).prints == "caught ODataError\n"


@EACH_MODE
def test_sys_exit_ends_the_session_with_its_code(harness, program, is_durable):
    """0 is a good end, anything else an error; the original fails about pickling."""
    made = program(
        """
        import sys

        def main(event):
            sys.exit(event.data.code)
        """,
        is_durable=is_durable,
        data={"code": 3},
    )

    bad = harness.run(made)
    made.data = {"code": 0}
    good = harness.run(made)

    assert (bad.state, bad.error["message"]) == ("error", "the program called sys.exit(3)")
    assert good.state == "completed"


@EACH_MODE
def test_50_51_prints_are_kept_as_they_were_printed(harness, program, is_durable):
    """Several lines, other ends, another file; not twice, as in the original."""
    made = program(
        """
        import io

        def main(event):
            print("one\\ntwo")
            print("a", "b", sep="-", end="!\\n")
            kept = io.StringIO()
            print("elsewhere", file=kept)
            print(repr(kept.getvalue()))
        """,
        is_durable=is_durable,
    )

    assert harness.run(made).prints == "one\ntwo\na-b!\n'elsewhere\\n'\n"
