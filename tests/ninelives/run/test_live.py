"""Values that do not pickle, iterables that do their work in a loop, and `with` statements over them."""

from textwrap import dedent

import pytest

from ninelives_server.testing.session_harness import Journal


def test_a_handle_is_made_again_when_a_call_needs_it(harness, program, tmp_path):
    """A connection is used before and after the crash; what was recorded is not done again."""
    base = tmp_path / "db.sqlite"
    made = program(
        """
        import sqlite3

        def main(event):
            db = sqlite3.connect(event.data.path)
            db.execute("create table if not exists t (x)")
            db.execute("insert into t values (1)")
            db.commit()
            db.execute("insert into t values (2)")
            db.commit()
            found = db.execute("select x from t").fetchall()
            print(isinstance(db, sqlite3.Connection))
            return [list(row) for row in found]
        """,
        data={"path": str(base)},
    )
    whole = harness.run(made, Journal())
    base.unlink()
    journal = Journal()
    harness.run(made, journal, kill_after=4)
    again = harness.run(made, journal)

    assert whole.result == again.result == [[1], [2]]
    assert again.prints == "True\n"
    assert whole.journal.steps()[:2] == ["sqlite3.connect", "sqlite3.Connection.execute"]


def test_what_a_live_function_returned_is_made_again(harness, program):
    """`@ninelives.live` says that calling it again gives the same."""
    made = program(
        """
        import threading
        import ninelives

        class Client:
            def __init__(self, name):
                self.name = name
                self.lock = threading.Lock()

        @ninelives.live
        def connect(name):
            return Client(name)

        @ninelives.step
        def ask(client, question):
            return f"{client.name}: {question}"

        def main(event):
            client = connect("c")
            return [ask(client, "one"), ask(client, "two"), isinstance(client, Client)]
        """
    )

    assert harness.crash_everywhere(made).result == ["c: one", "c: two", True]


def test_a_value_that_is_lost_is_an_error_only_where_it_is_needed(harness, program):
    """The first run goes on; after a crash the message names the step and the way out."""
    made = program(
        """
        import threading
        import ninelives

        class Odd:
            def __init__(self):
                self.lock = threading.Lock()

        @ninelives.step
        def odd():
            return Odd()

        @ninelives.step
        def use(value):
            return type(value).__name__

        def main(event):
            value = odd()
            first = use(value)
            try:
                second = use(value)
            except ninelives.LiveValueLost as error:
                return [first, str(error)]
            return [first, second]
        """
    )
    whole, journal = harness.run(made), Journal()
    harness.run(made, journal, kill_after=2)
    again = harness.run(made, journal)
    replayed = harness.run(made, whole.journal)

    assert whole.result == replayed.result == ["Odd", "Odd"]
    assert again.result[0] == "Odd"
    assert "step main.odd (record 1) returned a main.Odd" in again.result[1]
    assert "@ninelives.live" in again.result[1]


def test_a_file_is_opened_again_where_it_stood(harness, program, tmp_path):
    """Without truncating; what was written before the crash is written once."""
    out = tmp_path / "out.txt"
    made = program(
        """
        def main(event):
            with open(event.data.path, "w") as file:
                file.write("one\\n")
                file.write("two\\n")
                print("three", file=file)
            with open(event.data.path) as file:
                head = file.readline()
                lines = [line.strip() for line in file]
            return [head, lines]
        """,
        data={"path": str(out)},
    )

    whole = harness.crash_everywhere(made)

    assert whole.result == ["one\n", ["two", "three"]]
    assert out.read_text() == "one\ntwo\nthree\n"


def test_items_of_an_iterable_are_recorded_as_they_are_taken(harness, program, tmp_path):
    """After a crash in the middle it is made again, and what was taken is skipped."""
    log = tmp_path / "log"
    files = {
        "vendor.txt": "",
    }
    package = tmp_path / "site"
    package.mkdir()
    (package / "vendored.py").write_text(
        "class Pages:\n"
        "    def __init__(self, log): self.log = log\n"
        "    def __iter__(self):\n"
        "        for n in range(4):\n"
        "            open(self.log, 'a').write(f'page {n}\\n')\n"
        "            yield {'n': n}\n"
        "def pages(log):\n"
        "    yield from Pages(log)\n"
    )
    made = program(
        """
        import sys
        sys.path.insert(0, __SITE__)
        import vendored

        def main(event):
            for page in vendored.Pages(event.data.log):
                print("a", page["n"])
            for page in vendored.pages(event.data.log):
                print("b", page["n"])
            return [page["n"] for page in vendored.Pages(event.data.log)]
        """.replace("__SITE__", repr(str(package))),
        files=files,
        data={"log": str(log)},
    )

    whole = harness.crash_everywhere(made, reset=lambda: log.unlink(missing_ok=True))

    assert whole.result == [0, 1, 2, 3]
    assert whole.prints == "a 0\na 1\na 2\na 3\nb 0\nb 1\nb 2\nb 3\n"


def test_an_iterable_that_gives_other_items_is_noticed(harness, program, tmp_path):
    """A different item among those recorded raises `IteratorChanged`."""
    state = tmp_path / "state"
    state.write_text("1")
    package = tmp_path / "site"
    package.mkdir()
    (package / "shifty.py").write_text(
        "def items(path):\n"
        "    base = int(open(path).read())\n"
        "    for n in range(3):\n"
        "        yield base + n\n"
    )
    made = program(
        f"""
        import sys
        sys.path.insert(0, {str(package)!r})
        import shifty
        import ninelives

        def main(event):
            try:
                return [n for n in shifty.items(event.data.path)]
            except ninelives.IteratorChanged as error:
                return str(error)
        """,
        data={"path": str(state)},
    )
    journal = Journal()
    harness.run(made, journal, kill_after=2)
    state.write_text("5")

    outcome = harness.run(made, journal)

    assert "item 0 of builtins.generator is not the one" in outcome.result or "item 0 of" in outcome.result


def test_entering_and_leaving_a_live_value_are_steps(harness, program):
    """What `with` gives is recorded; leaving is done once."""
    made = program(
        """
        import os, tempfile

        def main(event):
            with tempfile.TemporaryDirectory() as directory:
                print(os.path.isdir(directory))
            return os.path.isdir(directory)
        """
    )
    whole = harness.run(made)

    replayed = harness.run(made, whole.journal.copy())

    assert whole.result is replayed.result is False
    assert replayed.prints == "True\n"
    assert whole.journal.steps() == [
        "tempfile.TemporaryDirectory",
        "tempfile.TemporaryDirectory.__enter__",
        "os.path.isdir",
        "tempfile.TemporaryDirectory.__exit__",
        "os.path.isdir",
    ]


def test_objects_of_this_process_are_no_steps(harness, program):
    """Locks, queues, buffers and csv writers over them come back because the code runs again."""
    made = program(
        """
        import csv, io, queue, threading

        def main(event):
            lock, box, text = threading.Lock(), queue.Queue(), io.StringIO()
            with lock:
                box.put(1)
            writer = csv.writer(text)
            writer.writerow([1, 2])
            return [box.get(), text.getvalue()]
        """
    )

    outcome = harness.run(made)

    assert outcome.result == [1, "1,2\r\n"]
    assert outcome.journal.steps() == []


def test_an_object_with_a_secret_in_it_is_not_recorded_by_value(harness, program):
    """Its pickle would keep the secret; plain data that user code returns is its own affair."""
    made = program(
        """
        import os
        import ninelives

        class Client:
            def __init__(self, token):
                self.token = token

        @ninelives.step
        def client():
            return Client(os.environ["TOKEN"])

        def main(event):
            client()
        """,
        secrets={"TOKEN": "s3cr3t-value"},
    )

    (row,) = harness.run(made).journal.in_order()

    assert row.head["status"] == "live"
    assert b"s3cr3t" not in row.body


def test_a_temporary_directory_is_there_whatever_else_is_live(zygote, program):
    """It is no value that could be copied: the copy's end would remove it."""
    made = program(
        """
        import os, pathlib, tempfile
        import requests

        def main(event):
            session = requests.Session()
            with tempfile.TemporaryDirectory() as directory:
                pathlib.Path(directory, "a.txt").write_text("x")
                found = os.listdir(directory)
            other = tempfile.TemporaryDirectory()
            there = os.path.isdir(other.name)
            other.cleanup()
            return [found, os.path.exists(directory), there, os.path.exists(other.name), session.trust_env]
        """
    )

    whole = zygote.crash_everywhere(made)

    assert whole.result == [["a.txt"], False, True, False, True]


def test_a_temporary_file_is_replayed_by_the_names_of_its_methods(harness, program):
    """They are those of the file within it; after a crash it is gone, and the error says so."""
    made = program(
        """
        import tempfile

        def main(event):
            with tempfile.NamedTemporaryFile("w+") as file:
                file.write("one\\ntwo\\n")
                file.flush()
                file.seek(0)
                return [file.readlines(), bool(file.name)]
        """
    )
    whole = harness.run(made)

    replayed = harness.run(made, whole.journal.copy())

    assert whole.result == replayed.result == [["one\n", "two\n"], True]


def test_what_ended_with_its_process_need_not_be_left(harness, program):
    """A child process, an answer that was read: their end was the crash."""
    made = program(
        """
        import subprocess

        def main(event):
            with subprocess.Popen(["echo", "one"], stdout=subprocess.PIPE, text=True) as process:
                first = process.communicate()[0]
            return first
        """
    )
    whole, journal = harness.run(made), Journal()
    killed = harness.run(made, journal, kill_after=3)

    again = harness.run(made, journal)

    assert (killed.state, again.result, whole.result) == ("killed", "one\n", "one\n")
    assert again.journal.steps() == whole.journal.steps()


def test_closing_a_live_value_is_a_step(zygote, program, tmp_path):
    """It is done once, and nothing is made again to be closed."""
    made = program(
        """
        import contextlib, sqlite3

        def main(event):
            with contextlib.closing(sqlite3.connect(event.data.path)) as database:
                return database.execute("select 1").fetchone()
        """,
        data={"path": str(tmp_path / "a.db")},
    )

    whole = zygote.crash_everywhere(made)

    assert whole.result == [1]
    assert whole.journal.steps()[-1] == "sqlite3.Connection.close"


LOCKS = """
    import contextlib

    LOG = []

    @contextlib.contextmanager
    def locked(path):
        with open(path, "a") as file:
            file.write("entered\\n")
        yield "key"
        with open(path, "a") as file:
            file.write("left\\n")
"""


def test_a_context_of_a_generator_is_entered_once(zygote, program, tmp_path):
    """Before that it is made again, for it has done nothing; after a crash in it, leaving it is an error."""
    made = program(
        """
        import sys
        sys.path.insert(0, LIBRARY)
        import lockslib

        def main(event):
            lock = lockslib.locked(event.data.path)
            with lock as key:
                print(key)
            return key
        """.replace("LIBRARY", repr(str(tmp_path / "library"))),
        data={"path": str(tmp_path / "log.txt")},
    )
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "lockslib.py").write_text(dedent(LOCKS))

    whole = zygote.run(made)
    made_again, in_it = Journal(), Journal()
    zygote.run(made, made_again, kill_after=1)
    zygote.run(made, in_it, kill_after=2)
    lost = zygote.run(made, in_it)

    assert zygote.run(made, made_again).result == whole.result == "key"
    assert lost.error["type"] == "LiveValueLost"
    assert "the context locked was entered by a process that has died" in lost.error["message"]
    assert (tmp_path / "log.txt").read_text() == "entered\nleft\nentered\nentered\nleft\n"


FUNCTIONS = """
import threading

import ninelives

class Caller:
    def __init__(self):
        self.lock = threading.Lock()

    def __call__(self, n):
        return note(n)

@ninelives.step
def note(n):
    return n

@ninelives.live
def made_again(kind):
    return (lambda n: note(n)) if kind == "lambda" else Caller()

@ninelives.step
def lost(kind):
    return (lambda n: note(n)) if kind == "lambda" else Caller()

def main(event):
    call = made_again(event.data.kind)
    print(call(1), call(2))
    return note(3)

def loses(event):
    call = lost(event.data.kind)
    print(call(1))
    return note(2)
"""


@pytest.mark.parametrize("kind", ["lambda", "object"])
def test_the_steps_in_a_function_that_was_lost_are_those_of_the_first_run(harness, program, kind):
    """The project's own function is called, made again if that can be, and not recorded as a step of its own."""
    made = program(FUNCTIONS, data={"kind": kind})

    assert harness.crash_everywhere(made).result == 3


@pytest.mark.parametrize("kind", ["lambda", "object"])
def test_a_function_of_the_project_that_cannot_be_made_again_is_lost(harness, program, kind):
    """The error says so; it is no divergence."""
    made = program(FUNCTIONS, data={"kind": kind}, entrypoint="main.py:loses")
    journal = Journal()
    harness.run(made, journal)

    again = harness.run(made, journal)

    assert again.error["type"] == "LiveValueLost"
    assert "step main.lost" in again.error["message"]


def test_what_a_class_looks_up_in_a_part_is_replayed(harness, program):
    """The pipe that `os.popen` wraps is read through `__getattr__`: what was read is recorded, and nothing is lost."""
    made = program(
        """
        import os

        def main(event):
            with os.popen("echo one; echo two; exit 3") as pipe:
                print(pipe.readline().strip())
                return pipe.read()
        """
    )
    journal = Journal()
    whole = harness.run(made, journal)
    count = len(journal.rows)

    again = harness.run(made, journal)

    assert (again.state, again.result, again.prints) == ("completed", "two\n", "one\n")
    assert (whole.result, len(journal.rows)) == ("two\n", count)
