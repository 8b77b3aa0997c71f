"""Short units of work on SQLite: done where they are asked for, unless that would keep the event loop waiting."""

import asyncio
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from ninelives_server.errors import DatabaseAway
from ninelives_server.store import access
from ninelives_server.store.core import SqliteStore, Store, Tx
from ninelives_server.store.tables import orgs


def thread(_tx: Tx) -> str:
    return threading.current_thread().name


HERE = threading.main_thread().name


def names(tx: Tx) -> list[str]:
    return list(tx.connection.execute(orgs.select().order_by(orgs.c.name)).columns("name").scalars())


async def test_a_short_unit_is_done_in_the_loops_thread_and_others_are_not(sqlite: Store):
    assert await sqlite.write(thread, is_short=True) == HERE
    assert await sqlite.write(thread) == "store-writer"


async def test_a_short_unit_is_a_unit_like_any_other(database: Store):
    """Whole or not at all; changes are told before its caller goes on."""

    def fails(tx: Tx) -> None:
        access.insert_org(tx, "nothing")
        tx.notify("project", "failed")
        raise LookupError("on purpose")

    def works(tx: Tx) -> str:
        tx.notify("project", "done")
        return access.insert_org(tx, "acme")

    with database.notices.subscribed("project") as told:
        with pytest.raises(LookupError, match="on purpose"):
            await database.write(fails, is_short=True)
        made = await database.write(works, is_short=True)
        await asyncio.wait_for(told.wait(), 30)
        assert told.take() == {"done"}

    assert made.startswith("org_")
    assert await database.read(names) == ["acme"]


async def test_a_short_unit_does_not_overtake_the_others(sqlite: Store):
    """Also not those that the thread has not begun."""
    go_on, order = threading.Event(), []

    def slow(_tx: Tx) -> None:
        go_on.wait(10)
        order.append("slow")

    waiting = [asyncio.create_task(sqlite.write(slow))]
    await asyncio.sleep(0)
    waiting.append(asyncio.create_task(sqlite.write(lambda _tx: order.append("other"))))
    await asyncio.sleep(0)
    waiting.append(asyncio.create_task(sqlite.write(lambda _tx: order.append("short"), is_short=True)))
    await asyncio.sleep(0.1)  # the loop is free all the while
    before = list(order)
    go_on.set()
    await asyncio.gather(*waiting)

    assert (before, order) == ([], ["slow", "other", "short"])
    # It was not the disk that was slow.
    assert HERE in [await sqlite.write(thread, is_short=True) for _ in range(100)]


class SlowDisk:
    """A connection whose commits take their time: all of them, or those of one thread.

    Attributes:
        commits: How many were slow.
    """

    def __init__(self, lite: sqlite3.Connection, only: str | None = None) -> None:
        self._lite = lite
        self._only = only
        self.commits = 0

    def commit(self) -> None:
        if self._only in {None, threading.current_thread().name}:
            self.commits += 1
            time.sleep(0.1)
        self._lite.commit()

    def __getattr__(self, name: str) -> object:
        return getattr(self._lite, name)


async def test_a_slow_disk_is_left_to_the_thread_until_it_is_fast_again(
    sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patched:
        patched.setattr(sqlite, "_lite", SlowDisk(sqlite._lite))
        slow = [await sqlite.write(thread, is_short=True) for _ in range(3)]
    after = [await sqlite.write(thread, is_short=True) for _ in range(300)]

    assert slow == [HERE, "store-writer", "store-writer"]
    assert after[0] == "store-writer"
    assert HERE in after


async def test_the_thread_that_writes_says_nothing_of_the_disk(
    sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch
):
    """It waits for the interpreter's lock as well, the longer the more the loop has to do."""
    disk = SlowDisk(sqlite._lite, only="store-writer")
    monkeypatch.setattr(sqlite, "_lite", disk)
    for _ in range(3):
        await sqlite.write(thread)

    assert await sqlite.write(thread, is_short=True) == HERE
    assert disk.commits == 3


async def test_a_short_unit_that_fails_leaves_nothing_behind(sqlite: Store):
    """Its caller is told, nobody is told of a change, and the next one is done."""

    def fails(tx: Tx) -> None:
        access.insert_org(tx, "half")
        tx.notify("org", "half")
        raise ValueError("on purpose") from KeyError("why")

    with sqlite.notices.subscribed("org") as notice:
        with pytest.raises(ValueError, match="on purpose") as raised:
            await sqlite.write(fails, is_short=True)
        assert isinstance(raised.value.__cause__, KeyError)
        assert notice.take() == set()
        await sqlite.write(lambda tx: access.insert_org(tx, "acme"), is_short=True)

    assert await sqlite.read(names) == ["acme"]


async def test_a_full_disk_is_said_of_a_short_unit_too(sqlite: SqliteStore):
    """In the words that callers know as a reason to try again."""
    pages = sqlite._lite.execute("PRAGMA page_count").fetchone()[0]
    sqlite._lite.execute(f"PRAGMA max_page_count={pages}")

    with pytest.raises(DatabaseAway, match="full"):
        await sqlite.write(lambda tx: [access.insert_org(tx, f"org{n}") for n in range(500)], is_short=True)
    sqlite._lite.execute("PRAGMA max_page_count=1000000")

    assert await sqlite.write(thread, is_short=True) == HERE
    assert await sqlite.read(names) == []


async def test_while_another_process_writes_the_loop_goes_on(sqlite: Store, tmp_path: Path):
    """Such as a restore: the unit is done once the other one is."""
    other = sqlite3.connect(tmp_path / "ninelives.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    unit = asyncio.create_task(sqlite.write(lambda tx: access.insert_org(tx, "acme"), is_short=True))
    await asyncio.sleep(0.2)
    seconds, is_done = time.monotonic() - began, unit.done()
    other.execute("ROLLBACK")
    other.close()
    await asyncio.wait_for(unit, 30)

    assert not is_done
    assert seconds < 5  # SQLite itself would have waited for half a minute
    assert await sqlite.read(names) == ["acme"]


async def test_nobody_writes_for_a_thread_that_has_died(sqlite: SqliteStore, monkeypatch: pytest.MonkeyPatch):
    """The server ends, and has to: what it has accepted is not settled."""

    def dies(_group: object) -> None:
        raise SystemError("on purpose")

    monkeypatch.setattr(sqlite, "_begin_and_commit", dies)
    with pytest.raises(DatabaseAway):
        await sqlite.write(thread)
    await asyncio.wait_for(sqlite.failed(), 10)

    with pytest.raises(DatabaseAway, match="has died"):
        await sqlite.write(thread, is_short=True)
