"""What user code gets of a value that was lost: what it had before, or an error that says so; nothing else."""

import pytest

from ninelives_server.testing.session_harness import Journal

#: Two classes that no call table knows: one that a later process finds by its name, and one that it does not.
MAKES = """
    import copy
    import json
    import pickle
    import threading

    import ninelives

    class Whole:
        def __init__(self):
            self.lock, self.number = threading.Lock(), 5

        def __add__(self, other):
            return self.number + other

        def __lt__(self, other):
            return self.number < other

        def __eq__(self, other):
            return self.number == other

        def __hash__(self):
            return self.number

        def __int__(self):
            return self.number

        def __str__(self):
            return "five"

    class Table(dict):
        def __init__(self, **items):
            super().__init__(items)
            self.lock = threading.Lock()

    def local():
        class Local:
            def __init__(self):
                self.lock, self.plain = threading.Lock(), 5
                self.table, self.empty, self.taken = Table(a=1), Table(), iter([1, 2, 3])

            def __len__(self):
                return 3

            def __getitem__(self, key):
                return key * 2

        return Local()

    made = ninelives.step(lambda: {"whole": Whole, "local": local}[KIND]())
    note = ninelives.step(lambda found: found, name="note")

    def main(event):
        x = made()
        note(1)
        {setup}
        return {expression}
"""


@pytest.mark.parametrize(
    ("kind", "expression"),
    [
        ("whole", "x + 1"),
        ("whole", "1 if x < 9 else 0"),
        ("whole", "x == 5"),
        ("whole", "int(x)"),
        ("whole", "f'{x}'"),
        ("whole", "str(x)"),
        ("whole", "{5: 1}[x]"),
        ("whole", "len(pickle.dumps(copy.copy(x).number))"),
        ("local", "len(x)"),
        ("local", "x['a']"),
        ("local", "len(x.table)"),
        ("local", "list(x.table)"),
        ("local", "[key for key in x.table]"),
        ("local", "x.table['a']"),
        ("local", "x.table == {'a': 1}"),
        ("local", "'a' in x.table"),
        ("local", "1 if x.empty else 0"),
        ("local", "next(x.taken)"),
        ("local", "sorted(x.table)"),
        ("local", "json.dumps(x.table)"),
        ("local", "isinstance(x.table, dict)"),
        ("local", "repr(x.table)"),
        ("local", "sorted(x.table.keys())"),
    ],
)
def test_what_a_lost_value_would_say_is_an_error_that_names_its_step(harness, program, kind, expression):
    """Never another answer, nor an error about what stands in its place."""
    source = MAKES.replace("{expression}", expression).replace("{setup}", "").replace("KIND", repr(kind))
    made, journal = program(source), Journal()

    first = harness.run(made)
    harness.run(made, journal, kill_after=2)
    again = harness.run(made, journal)

    assert first.error is None
    assert again.error["type"] == "LiveValueLost"
    assert "step main.<lambda> (record 1) returned a main." in again.error["message"]


@pytest.mark.parametrize("expression", ["x.plain", "x.plain + 1", "[x.plain, x.own]", "[x == x, x is x]"])
def test_what_is_known_of_a_lost_value_stays_what_it_was(harness, program, expression):
    """Plain attributes, those that the code has set itself, and that it is itself."""
    source = (
        MAKES.replace("{expression}", expression).replace("{setup}", "x.own = 7").replace("KIND", "'local'")
    )

    whole = harness.crash_everywhere(program(source))

    assert whole.state == "completed"


def test_pickling_a_file_fails_after_a_crash_as_it_did_before(harness, program, tmp_path):
    """With the same error: code may go on with it."""
    made = program(
        """
        import copy
        import pickle

        import ninelives

        def main(event):
            found = []
            for act in (copy.deepcopy, pickle.dumps):
                try:
                    act(open(event.data["path"], "w"))
                except TypeError as error:
                    found.append(str(error))
            return ninelives.step(lambda found: found)(found)
        """,
        data={"path": str(tmp_path / "file")},
    )

    whole = harness.crash_everywhere(made)

    assert whole.result == ["cannot pickle '_io.TextIOWrapper' object"] * 2


def test_a_file_that_was_closed_is_closed_after_a_crash(harness, program, tmp_path):
    """By `close`, by `with`, and by an error in it."""
    made = program(
        """
        import ninelives

        note = ninelives.step(lambda found: found)

        def main(event):
            found = []
            one = open(event.data["path"], "w")
            found.append(one.closed)
            one.close()
            found.append(note(one.closed))
            with open(event.data["path"]) as two:
                note(2)
                found.append(two.closed)
            found.append(note(two.closed))
            try:
                with open(event.data["path"]) as three:
                    note(3)
                    raise KeyError
            except KeyError:
                found.append(note(three.closed))
            return found
        """,
        data={"path": str(tmp_path / "file")},
    )

    whole = harness.crash_everywhere(made)

    assert whole.result == [False, True, False, True, True]


def test_what_a_compressed_file_had_still_to_write_is_not_lost_in_silence(harness, program, tmp_path):
    """Leaving it would have written the rest: after a crash before that nobody can."""
    made = program(
        """
        import gzip

        import ninelives

        def main(event):
            with gzip.open(event.data["path"], "wt") as file:
                file.write("one")
            return ninelives.step(lambda: gzip.open(event.data["path"], "rt").read())()
        """,
        data={"path": str(tmp_path / "file.gz")},
    )

    first = harness.run(made)
    for count in range(1, 3):
        journal = Journal()
        harness.run(made, journal, kill_after=count)
        again = harness.run(made, journal)

        assert again.error["type"] == "LiveValueLost"
        assert "gzip.open" in again.error["message"]
    assert first.result == "one"


def test_how_a_process_ended_is_said_as_it_was_or_not_at_all(harness, program):
    """A `with` that its process's death has left does not know: it says neither 0 nor `None`."""
    made = program(
        """
        import subprocess

        import ninelives

        note = ninelives.step(lambda found: found)

        def main(event):
            with subprocess.Popen(["echo", "hi"], stdout=subprocess.PIPE) as process:
                text = process.stdout.read()
            note(text.decode())
            try:
                note(process.returncode)
            except ninelives.LiveValueLost as error:
                return str(error)
            return process.returncode
        """
    )

    first = harness.run(made)
    count = next(n for n, name in enumerate(first.journal.steps(), start=1) if name.endswith(".read"))
    journal = Journal()
    harness.run(made, journal, kill_after=count)
    again = harness.run(made, journal)
    third = harness.run(made, journal)

    assert first.result == 0
    assert "step subprocess.Popen" in again.result
    assert third.result == again.result


def test_a_cursor_that_executes_something_else_need_not_fetch_again_what_it_gave(harness, program, tmp_path):
    """What it was given before may have changed since."""
    made = program(
        """
        import sqlite3

        import ninelives

        def main(event):
            db = sqlite3.connect(event.data["path"])
            db.execute("create table if not exists t (a)")
            db.execute("delete from t")
            db.execute("insert into t values (1)")
            db.commit()
            cursor = db.cursor()
            cursor.execute("select a from t")
            found = cursor.fetchall()
            db.execute("insert into t values (2)")
            db.commit()
            ninelives.step(lambda: None)()
            cursor.execute("select count(*) from t")
            return [found, cursor.fetchone()[0]]
        """,
        data={"path": str(tmp_path / "db")},
    )
    names = harness.run(made).journal.steps()
    count = max(n for n, name in enumerate(names, start=1) if name.endswith("<lambda>"))
    journal = Journal()

    harness.run(made, journal, kill_after=count)
    again = harness.run(made, journal)

    assert again.error is None
    assert again.result == [[[1]], 2]


def test_files_over_a_buffer_in_memory_are_no_steps(harness, program):
    """What is written to them is there again, because the code writes it again."""
    made = program(
        """
        import csv
        import io
        import zipfile

        import ninelives

        note = ninelives.step(lambda found: found, name="note")

        def main(event):
            buffer = io.BytesIO()
            text = io.TextIOWrapper(buffer, "utf-8", newline="")
            text.write(note("hé"))
            text.flush()
            found = [len(buffer.getvalue())]
            with zipfile.ZipFile(io.BytesIO(), "w") as archive:
                archive.writestr("a.csv", "x,y")
                note(1)
                with archive.open("a.csv") as member:
                    found.append(next(csv.reader(io.TextIOWrapper(member, "utf-8"))))
            note(2)
            with io.BufferedReader(io.BytesIO(b"abc")) as reader:
                found.append(reader.read(2).decode())
                note(3)
                found.append([line.decode() for line in reader])
            return note(found)
        """
    )

    whole = harness.crash_everywhere(made)

    assert whole.result == [3, ["x", "y"], "ab", ["c"]]
    assert set(whole.journal.steps()) == {"note"}


def test_what_a_manager_holds_is_filled_again(harness, program):
    """Its objects live in a process that is new after a crash: what the code puts into them is put again."""
    made = program(
        """
        import multiprocessing

        import ninelives

        note = ninelives.step(lambda found: found, name="note")

        def main(event):
            with multiprocessing.Manager() as manager:
                items, names, numbers = manager.Queue(), manager.dict(), manager.list()
                items.put(note(5))
                names.update(a=1)
                numbers.append(note(3))
                numbers.extend([4])
                note("filled")
                return note([items.get(), dict(names), list(numbers), names.get("a"), numbers.pop()])
        """
    )

    whole = harness.crash_everywhere(made)

    assert whole.result == [5, {"a": 1}, [3, 4], 1, 4]
