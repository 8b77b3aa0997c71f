"""Databases in memory: used directly, and filled again where a step of the project has filled them."""

import json

import pytest

from ninelives_server.testing.session_harness import Journal

LOADS = """
    import contextlib
    import sqlite3

    import ninelives

    @ninelives.step
    def load(db, rows, commit=True):
        db.executemany("insert into t values (?, ?)", rows)
        if commit:
            db.commit()
        return len(rows)

    @ninelives.step
    def note(found):
        return found
"""


def test_a_database_in_memory_is_no_step(harness, program):
    """Nothing of it survives the process: the code makes it again, row by row."""
    made = program(
        LOADS
        + """
    def main(event):
        db = sqlite3.connect(":memory:")
        db.row_factory = sqlite3.Row
        db.execute("create table t (a, b)")
        loaded = load(db, [(1, "x"), (2, "y")])
        db.execute("insert into t values (?, ?)", (note(3), "z"))
        cursor = db.cursor()
        cursor.execute("select * from t order by a")
        rows = [tuple(row) for row in cursor]
        try:
            with db:
                db.execute("delete from t")
                note("deleted")
                raise ValueError
        except ValueError:
            pass
        with contextlib.closing(sqlite3.connect("file::memory:", uri=True)) as other:
            other.executescript("create table u (a); insert into u values (7);")
            rows.append(other.execute("select a from u").fetchone())
        db.create_function("twice", 1, lambda n: note(n * 2))
        return [loaded, rows, [row[0] for row in db.execute("select twice(a) from t order by a")]]
    """
    )

    whole = harness.crash_everywhere(made)

    assert whole.result == [2, [[1, "x"], [2, "y"], [3, "z"], [7]], [2, 4]]
    assert set(whole.journal.steps()) == {"main.load", "main.note"}


def test_what_a_step_has_not_committed_is_lost_with_its_process(harness, program):
    """A rollback could take it back on the first run and not on a replay, so that is said."""
    made = program(
        LOADS
        + """
    def main(event):
        db = sqlite3.connect(":memory:")
        db.execute("create table t (a, b)")
        load(db, [(1, "x")], commit=False)
        db.rollback()
        return db.execute("select count(*) from t").fetchone()[0]
    """
    )

    first = harness.run(made)
    again = harness.run(made, first.journal)

    assert first.result == 0
    assert again.error["type"] == "LiveValueLost"
    assert "main.load" in json.dumps(again.error)


CHANGES = """
    import sqlite3

    import ninelives

    shared = "file:shared?mode=memory&cache=shared"
    of_module = sqlite3.connect(":memory:")
    of_module.execute("create table t (a, b)")
    note = ninelives.step(lambda found: found, name="note")

    def made(rows=0):
        db = sqlite3.connect(":memory:")
        db.execute("create table t (a, b)")
        db.executemany("insert into t values (?, ?)", [(n, "x" * 1000) for n in range(rows)])
        db.commit()
        return db

    def count(db):
        return note(db.execute("select count(*) from t").fetchone()[0])

    def insert(db, rows=1):
        db.executemany("insert into t values (?, ?)", [(n, "x" * 1000) for n in range(rows)])
        getattr(db, "connection", db).commit()

    insert_step = ninelives.step(insert, name="insert")

    class Repository:
        def __init__(self):
            self.db = made()

        @ninelives.step
        def add(self):
            insert(self.db)

    def of_cursor():
        cursor = made().cursor()
        insert_step(cursor)
        return [count(cursor)]

    def of_object():
        repository = Repository()
        repository.add()
        repository.add()
        return [count(repository.db)]

    def of_containers():
        first, second = made(), made()
        ninelives.step(lambda box, pair: [insert(box["db"][0]), insert(pair[0])][2:])({"db": [first]}, (second,))
        return [count(first), count(second)]

    def of_a_module():
        insert(of_module)
        first = count(of_module)
        ninelives.step(lambda: insert(of_module))()
        return [first, count(of_module)]

    def copied():
        first, second = made(3), sqlite3.connect(":memory:")
        ninelives.step(lambda one, other: one.backup(other))(first, second)
        return [count(second)]

    def after_an_error():
        db = made()
        def fail():
            insert(db)
            raise ValueError
        try:
            ninelives.step(fail)()
        except ValueError:
            pass
        return [count(db)]

    def in_a_transaction():
        db = made()
        db.execute("insert into t values (1, 2)")
        found = [count(db), note(db.in_transaction)]
        db.rollback()
        return [*found, count(db)]

    def large():
        db = made(3000)
        found = [count(db)]
        db.execute("insert into t values (1, 2)")
        return [*found, count(db)]

    def grown():
        db = made()
        insert_step(db, 3000)
        return [count(db)]

    def large_before():
        db = made(3000)
        insert_step(db)
        return [count(db)]

    def with_a_secret():
        db = made()
        ninelives.step(lambda: (db.execute("insert into t values (1, 'Very-Secret-4711')"), db.commit()))()
        return [count(db)]

    def shared_by_two():
        first, second = (sqlite3.connect(shared, uri=True) for _ in range(2))
        first.execute("create table t (a, b)")
        insert_step(first)
        return [count(second)]

    def main(event):
        return globals()[event.data["name"]]()
"""


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("of_cursor", [1]),
        ("of_object", [2]),
        ("of_containers", [1, 1]),
        ("of_a_module", [1, 2]),
        ("copied", [3]),
        ("after_an_error", [1]),
        ("in_a_transaction", [1, True, 0]),
        ("large", [3000, 3001]),
    ],
)
def test_what_a_step_does_to_a_database_in_memory_is_there_again(harness, program, name, result):
    """However the step came by it; and what the code does outside of steps it does again."""
    whole = harness.crash_everywhere(program(CHANGES, data={"name": name}))

    assert whole.result == result


@pytest.mark.parametrize("name", ["grown", "large_before", "with_a_secret", "shared_by_two"])
def test_what_cannot_be_recorded_of_a_database_in_memory_is_an_error(harness, program, name):
    """Never other rows than before, whatever the process was killed after."""
    made = program(CHANGES, data={"name": name}, secrets={"PASSWORD": "Very-Secret-4711"})

    first = harness.run(made)
    for count in range(1, len(first.journal.rows)):
        journal = Journal()
        harness.run(made, journal, kill_after=count)
        again = harness.run(made, journal)

        assert again.error["type"] == "LiveValueLost"
        assert "change it outside of steps" in again.error["message"]
    assert first.error is None


def test_a_database_in_memory_that_a_library_holds_is_lost_with_its_process(harness, program):
    """To open it again would give another one, in which no table is."""
    made = program(
        """
        import sqlite3

        import ninelives
        import sqlalchemy

        @ninelives.step
        def opened():
            return sqlite3.connect(":memory:")

        def engine(event):
            found = sqlalchemy.create_engine("sqlite://")
            with found.connect() as connection:
                return connection.execute(sqlalchemy.text("select 1")).scalar()

        def own(event):
            return opened().execute("select 1").fetchone()[0]
        """
    )
    for name in ("engine", "own"):
        made.entrypoint = f"main.py:{name}"
        journal = Journal()

        assert harness.run(made).result == 1
        harness.run(made, journal, kill_after=1)
        again = harness.run(made, journal)

        assert again.error["type"] == "LiveValueLost"
