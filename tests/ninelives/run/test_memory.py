"""Databases in memory: used directly, and filled again where a step of the project has filled them."""

import json

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
