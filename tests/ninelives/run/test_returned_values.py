"""What libraries return: rows, cursors, answers, archives, objects that hold their client; with a crash anywhere."""

import pytest

from ninelives_server.testing.session_harness import Journal

TRANSACTION = """
import sqlite3

import ninelives

def main(event):
    db = sqlite3.connect(event.data.path)
    db.execute("create table if not exists t (x)")
    db.execute("insert into t values (1)")
    try:
        db.commit()
    except ninelives.LiveValueLost as error:
        return str(error)
    return db.execute("select count(*) from t").fetchone()[0]
"""


def test_a_transaction_that_was_lost_with_its_process_is_an_error_that_says_so(harness, program, tmp_path):
    """The database has rolled back; to go on would lose the change without a word."""
    made = program(TRANSACTION, data={"path": str(tmp_path / "db")})
    whole = harness.run(made)
    (tmp_path / "db").unlink()
    journal = Journal()
    harness.run(made, journal, kill_after=3)

    lost = harness.run(made, journal)

    assert whole.result == 1
    assert "was in a transaction when its process ended" in lost.result
    assert "@ninelives.step" in lost.result


def test_a_connection_between_transactions_is_made_again(harness, program, tmp_path):
    """What was committed is there."""
    made = program(TRANSACTION, data={"path": str(tmp_path / "db")})
    journal = Journal()
    harness.run(made, journal, kill_after=4)

    assert harness.run(made, journal).result == 1


ROWS = """
import sqlite3

import ninelives

def main(event):
    db = sqlite3.connect(event.data.path)
    cursor = db.cursor()
    cursor.execute("select x from t order by x")
    first = cursor.fetchone()
    try:
        rest = cursor.fetchall()
    except ninelives.IteratorChanged as error:
        return str(error)
    return [first, rest]
"""


@pytest.fixture
def base(tmp_path):
    """A database with a table `t` of three rows."""
    import sqlite3

    db = sqlite3.connect(tmp_path / "db")
    db.executescript("create table t (x); insert into t values (1), (2), (3);")
    yield db
    db.close()


def test_a_cursor_that_only_asked_stands_where_it_stood(harness, program, tmp_path, base):
    """The query is asked again, and the rows that were fetched are passed over."""
    made = program(ROWS, data={"path": str(tmp_path / "db")})

    assert harness.crash_everywhere(made).result == [[1], [[2], [3]]]


def test_rows_that_have_changed_since_are_noticed(harness, program, tmp_path, base):
    """Other rows than those that were recorded are an error, not a mixture."""
    made = program(ROWS, data={"path": str(tmp_path / "db")})
    journal = Journal()
    harness.run(made, journal, kill_after=4)
    base.execute("delete from t where x = 1")
    base.commit()

    assert "not those that were fetched before the process died" in harness.run(made, journal).result


def test_what_an_insert_returned_is_not_inserted_again(harness, program, tmp_path, base):
    """Its cursor knows the row's id after a crash; the row is there once."""
    made = program(
        """
        import sqlite3

        def main(event):
            db = sqlite3.connect(event.data.path, isolation_level=None)
            cursor = db.execute("insert into t values (9)")
            db.execute("select 1").fetchone()
            return [cursor.lastrowid, cursor.rowcount]
        """,
        data={"path": str(tmp_path / "db")},
    )
    journal = Journal()
    harness.run(made, journal, kill_after=3)

    outcome = harness.run(made, journal)

    assert outcome.result == [4, 1]
    assert base.execute("select count(*) from t where x = 9").fetchone() == (1,)


def test_attributes_of_a_lost_value_are_those_that_steps_left(harness, program):
    """Reading and setting them makes nothing again."""
    made = program(
        """
        import os
        import subprocess
        import ninelives

        def main(event):
            child = subprocess.Popen(["true"])
            child.wait()
            child.note = "mine"
            os.getpid()
            return [child.returncode, child.args, child.note, isinstance(child, subprocess.Popen)]
        """
    )
    whole, journal = harness.run(made), Journal()
    harness.run(made, journal, kill_after=2)

    again = harness.run(made, journal)

    assert whole.result == again.result == [0, ["true"], "mine", True]


def test_an_answer_that_is_streamed_is_live_and_can_be_read(zygote, program, outside):
    """A copy of it would have no stream."""
    made = program(
        """
        import httpx2
        import requests

        def main(event):
            with httpx2.stream("GET", event.data.url + "/orders?page=3") as answer:
                one = b"".join(answer.iter_bytes())
            with requests.get(event.data.url + "/orders?page=3", stream=True) as answer:
                two = b"".join(answer.iter_content(7))
            return [one == two, len(one) > 10]
        """,
        data={"url": outside.url},
    )

    outcome = zygote.run(made)

    assert outcome.result == [True, True]
    assert zygote.run(made, outcome.journal.copy()).result == [True, True]


def test_the_body_of_a_refusal_can_be_read_after_a_crash(zygote, program, outside):
    """`urllib`'s error is an answer too."""
    made = program(
        """
        import json
        import urllib.error
        import urllib.request

        def main(event):
            try:
                urllib.request.urlopen(event.data.url + "/fail/418")
            except urllib.error.HTTPError as error:
                return [error.code, json.loads(error.read()), error.headers["Content-Type"]]
        """,
        data={"url": outside.url},
    )

    assert zygote.crash_everywhere(made).result == [418, {"message": "refused"}, "application/json"]


def test_sets_of_tasks_and_futures_have_the_same_order_again(harness, program):
    """Their hashes are the session's, not addresses."""
    made = program(
        """
        import asyncio
        import concurrent.futures
        import ninelives

        @ninelives.step
        def tick(n):
            return n

        async def one(n):
            await asyncio.sleep(0)
            return tick(n)

        async def run():
            done, _ = await asyncio.wait([asyncio.create_task(one(n)) for n in range(9)])
            found = [task.result() for task in done]
            return found + [await task for task in asyncio.as_completed([one(n) for n in range(9)])]

        def main(event):
            with concurrent.futures.ThreadPoolExecutor(3) as pool:
                futures = {pool.submit(tick, n) for n in range(9)}
            # Other addresses in each process:
            junk = [bytearray(__import__("os").getpid() % 9000) for _ in range(100)]
            return [[future.result() for future in futures], asyncio.run(run()), len(junk)]
        """
    )

    outcome = harness.run(made)

    assert harness.run(made, outcome.journal.copy()).result == outcome.result
