"""A session from its start to its reported end: entry points, results, errors, environment, calls of the
server.
"""

import pytest

from ninelives_server.testing.session_harness import CallError, Journal


@pytest.mark.parametrize("is_durable", [True, False])
def test_the_event_is_what_user_code_expects(harness, program, is_durable):
    """Attributes and items, to any depth; the bytes of an HTTP body are bytes; `session_id` where asked
    for.
    """
    made = program(
        """
        def main(event, session_id):
            data = event.data
            data.lead["seen"] = True
            return [data.lead.names[0].first, event["data"]["lead"]["seen"], data.body.bytes.decode(),
                    event.event_id, event.event_type, event.session_id, session_id]
        """,
        data={"lead": {"names": [{"first": "Ada"}]}, "body": {"bytes": "aGVsbG8="}},
        event_id="evt_1",
        event_type="post",
        is_durable=is_durable,
    )

    outcome = harness.run(made)

    assert outcome.result == ["Ada", True, "hello", "evt_1", "post", "ses_test", "ses_test"]


@pytest.mark.parametrize("given", ["hello", "ü", "aGVsbG8"])
def test_text_in_the_place_of_bytes_that_is_no_base64_stays_text(harness, program, given):
    """As somebody may type it who starts a session by hand; it was an error that named nothing."""
    made = program("def main(event):\n    return event.data.body.bytes\n", data={"body": {"bytes": given}})

    outcome = harness.run(made)

    assert (outcome.error, outcome.result) == (None, given)


@pytest.mark.parametrize("is_durable", [True, False])
@pytest.mark.parametrize(
    ("returned", "result"),
    [
        ("{'a': [1, None, 2.5]}", {"a": [1, None, 2.5]}),
        ("(1, 'x')", [1, "x"]),
        ("None", None),
        ("{1, }", {"repr": "{1}"}),
        ("b'x'", {"repr": "b'x'"}),
        ("float('nan')", {"repr": "nan"}),
    ],
)
def test_the_result_is_json_or_what_it_looks_like(harness, program, is_durable, returned, result):
    """Nothing that an entry point returns makes its session fail."""
    made = program(f"def main(event):\n    return {returned}\n", is_durable=is_durable)

    outcome = harness.run(made)

    assert (outcome.state, outcome.result) == ("completed", result)


@pytest.mark.parametrize("is_durable", [True, False])
def test_entry_points_come_in_many_shapes(harness, program, is_durable):
    """Coroutine functions, classes, callables in subdirectories, marked functions."""
    made = program(
        """
        import asyncio
        import ninelives

        async def coroutine(event):
            await asyncio.sleep(0.001)
            return "coroutine"

        class Class:
            def __init__(self, event):
                self.data = event.data

            def __repr__(self):
                return "an instance"

        @ninelives.step
        def step(event, session_id):
            return session_id

        assigned = lambda event: "assigned"
        """,
        files={
            "sub/prog.py": "from .other import x\ndef main(event):\n    return x\n",
            "sub/other.py": "x = 7\n",
        },
        is_durable=is_durable,
    )
    results = {}

    for entrypoint in (
        "main.py:coroutine",
        "main.py:Class",
        "main.py:step",
        "main.py:assigned",
        "sub/prog.py:main",
    ):
        made.entrypoint = entrypoint
        results[entrypoint.partition(":")[2]] = harness.run(made).result

    assert results == {
        "coroutine": "coroutine",
        "Class": {"repr": "an instance"},
        "step": "ses_test",
        "assigned": "assigned",
        "main": 7,
    }


@pytest.mark.parametrize("is_durable", [True, False])
def test_an_error_has_type_message_and_the_users_traceback(harness, program, is_durable):
    """Paths are those of the project; frames of libraries and of ours are left out."""
    made = program(
        """
        import json

        def main(event):
            try:
                json.loads("{")
            except ValueError as error:
                raise RuntimeError("no document") from error
        """,
        is_durable=is_durable,
    )

    error = harness.run(made).error

    assert (error["type"], error["message"]) == ("RuntimeError", "no document")
    assert error["traceback"] == (
        "Traceback (most recent call last):\n"
        '  File "main.py", line 6, in main\n    json.loads("{")\n'
        "json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes: "
        "line 1 column 2 (char 1)\n"
        "\nThe above exception was the direct cause of the following exception:\n\n"
        "Traceback (most recent call last):\n"
        '  File "main.py", line 8, in main\n    raise RuntimeError("no document") from error\n'
        "RuntimeError: no document"
    )


@pytest.mark.parametrize("is_durable", [True, False])
def test_what_cannot_be_loaded_says_why(harness, program, is_durable):
    """A missing package names the cure; a syntax error names its line; a missing entry point what is
    there.
    """
    made = program(
        "import no_such_package\n",
        files={
            "broken.py": "def main(event):\n    x = = 1\n",
            "names.py": "def one(e): ...\ndef two(e): ...\n",
        },
        is_durable=is_durable,
    )
    errors = []

    for entrypoint in ("main.py:main", "broken.py:main", "names.py:three", "nowhere.py:main", "main.main"):
        made.entrypoint = entrypoint
        errors.append(harness.run(made).error)

    assert errors[0]["type"] == "ModuleNotFoundError"
    assert "if no_such_package is a package from PyPI, add it to requirements.txt" in errors[0]["message"]
    assert errors[1]["type"] == "SyntaxError"
    assert 'File "broken.py", line 2' in errors[1]["traceback"]
    assert errors[2]["message"] == "names.py has no three to call; it has one, two"
    assert errors[3]["message"] == "entry point nowhere.py:main: the build has no file nowhere.py"
    assert errors[4]["message"] == "an entry point is file.py:name, not 'main.main'"


@pytest.mark.parametrize("is_durable", [True, False])
@pytest.mark.parametrize(("code", "state"), [("None", "completed"), ("0", "completed"), ("3", "error")])
def test_sys_exit_ends_the_session(harness, program, is_durable, code, state):
    """Without a code, or with 0, it has completed."""
    made = program(f"import sys\ndef main(event):\n    sys.exit({code})\n", is_durable=is_durable)

    outcome = harness.run(made)

    assert outcome.state == state
    if state == "error":
        assert outcome.error["message"] == "the program called sys.exit(3)"


def test_the_environment_is_the_sessions_own(harness, program, monkeypatch):
    """Variables of the start frame, a time zone, certificates; nothing of the process around it."""
    made = program(
        """
        import os, time

        def main(event):
            return [sorted(os.environ), time.tzname[0], os.getenv("NAME"), os.environ["SSL_CERT_FILE"]]
        """,
        env={"NAME": "value"},
        ca_file="/ca.pem",
    )

    names, zone, value, ca_file = harness.run(made).result

    assert set(names) <= {
        "NAME", "PATH", "PYTHONHASHSEED", "TZ", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "HOME", "LANG", "LC_ALL",
        "TMPDIR",
    }  # fmt: skip
    assert (zone, value, ca_file) == ("UTC", "value", "/ca.pem")


def test_calls_that_the_server_answers_are_recorded_with_it(harness, program):
    """Each is made once, whatever crashes; a replay reads the server's own record."""
    store = {}

    def add(args):
        store[args["key"]] = store.get(args["key"], 0) + args["value"]
        return store[args["key"]]

    def fail(_args):
        raise CallError("ValueError", "no such key")

    made = program(
        """
        import ninelives

        def main(event):
            total = [ninelives.add_value("n", 1), ninelives.add_value("n", 1)]
            ninelives.http_outcome(201, json={"total": total})
            try:
                ninelives.publish_value("x")
            except ValueError as error:
                print(error)
            return total
        """,
        answers={"store.add": add, "outcome": lambda args: None, "store.publish": fail},
    )

    whole = harness.crash_everywhere(made, reset=store.clear)

    assert whole.result == [1, 2]
    assert whole.prints == "no such key\n"
    assert whole.journal.steps() == ["store.add", "store.add", "outcome", "store.publish"]


def test_calls_inside_steps_and_plain_sessions_are_simply_made(harness, program):
    """They have no key: the step around them is the record."""
    asked = []

    def get(args):
        asked.append(args)
        return 5

    source = """
        import ninelives

        @ninelives.step
        def read():
            return ninelives.get_value("n")

        def main(event):
            return read()
        """
    made = program(source, answers={"store.get": get})
    durable = harness.run(made)
    made.is_durable = False

    plain = harness.run(made)

    assert durable.result == plain.result == 5
    assert durable.journal.steps() == ["main.read"]
    assert asked == [{"key": "n"}, {"key": "n"}]


def test_values_that_json_cannot_hold_are_refused_before_they_are_sent(harness, program):
    """With the reason."""
    made = program(
        """
        import ninelives

        def main(event):
            ninelives.set_value("x", {1, 2})
        """
    )

    error = harness.run(made).error

    assert error["type"] == "TypeError"
    assert "store.set takes values that JSON can hold" in error["message"]


def test_a_plain_session_runs_plain_python(harness, program):
    """Not durable: nothing is rewritten, marks only retry."""
    made = program(
        """
        import builtins, os, time, random
        import ninelives

        TRIES = []

        @ninelives.step(retry=ninelives.Retry(times=2, first=0.01))
        def flaky():
            TRIES.append(1)
            if len(TRIES) < 2:
                raise OSError
            return len(TRIES)

        def main(event):
            ninelives.sleep(0.01)
            return [flaky(), hasattr(builtins, "__ninelives_call__"), os.path.exists("/")]
        """,
        is_durable=False,
    )

    outcome = harness.run(made)

    assert outcome.result == [2, False, True]
    assert outcome.journal.rows == {}


def test_a_program_that_is_killed_again_and_again_gets_through(harness, program):
    """Ten crashes in one session, one after each record."""
    made = program(
        """
        import ninelives

        @ninelives.step
        def work(n):
            return n + 1

        def main(event):
            n = 0
            for _ in range(10):
                n = work(n)
            return n
        """
    )
    journal = Journal()

    for _ in range(9):
        assert harness.run(made, journal, kill_after=1).state == "killed"
    outcome = harness.run(made, journal)

    assert outcome.result == 10
    assert len(journal.rows) == 10


def test_a_child_process_of_user_code_has_no_part_in_the_session(harness, program):
    """It may compute and print to its own output; what it sends would break the conversation."""
    made = program(
        """
        import multiprocessing, os
        import ninelives

        def child(box):
            print("lost")
            try:
                ninelives.get_value("x")
            except ninelives.NotInSession as error:
                box.put(str(error))

        @ninelives.step
        def work():
            context = multiprocessing.get_context("fork")
            box = context.Queue()
            process = context.Process(target=child, args=(box,))
            process.start()
            found = box.get()
            process.join()
            return found

        def main(event):
            return work()
        """
    )

    outcome = harness.run(made)

    assert outcome.result.startswith("a child process of a session cannot speak for it")
    assert outcome.prints == ""


def test_a_file_that_an_earlier_process_wrote_is_missed_with_a_reason(harness, program):
    """A session's working directory is new for each of its processes."""
    made = program(
        """
        from pathlib import Path

        def main(event):
            path = Path("notes.txt")
            path.write_text("x")
            return path.read_text()
        """
    )
    journal = Journal()
    harness.run(made, journal, kill_after=1)
    (made.directory / "notes.txt").unlink()

    error = harness.run(made, journal).error

    assert error["type"] == "FileNotFoundError"
    assert "a session's working directory does not survive its process" in error["message"]


def test_a_value_that_no_record_takes_is_an_error_that_names_the_step(harness, program):
    """User code can catch it."""
    made = program(
        """
        import ninelives

        @ninelives.step
        def export_rows():
            return bytes(33 * 1024 * 1024)

        def main(event):
            try:
                export_rows()
            except ValueError as error:
                return str(error)
        """
    )

    assert harness.run(made).result.startswith("step main.export_rows returned 346")
