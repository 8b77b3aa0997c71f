"""`store.journal`: the rows of the hot path, on both databases."""

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "sessions"))

from world import World  # noqa: E402

from ninelives_server.store import journal, tables  # noqa: E402
from ninelives_server.store.core import Store, Tx  # noqa: E402
from ninelives_server.store.journal import Key, Row  # noqa: E402
from ninelives_server.vault.vault import Vault  # noqa: E402

pytestmark = pytest.mark.store

AT = datetime(2026, 11, 23, 12, 0, 0, 5, tzinfo=UTC)


@pytest.fixture
async def world(database: Store, vault: Vault) -> World:
    return await World.made(database, vault)


def a_row(session_id: str, n: int, seq: int, **fields: object) -> Row:
    row = Row(
        session_id,
        "0",
        "call",
        n,
        seq,
        "step",
        "requests.post",
        b"d" * 32,
        "ok",
        1,
        1,
        AT,
        None,
        b"v",
        None,
        b"p",
    )
    return row._replace(**fields)


async def test_rows_come_back_as_they_went_in(world: World):
    """
    Every column, with and without what may be missing, in the order of `seq`.
    """
    sid, _ = await world.running()
    rows = [
        a_row(sid, 1, 2, sealed_value=None, blob_sha256="a" * 64, sealed_preview=None, strand="0.1.2"),
        a_row(sid, 0, 1, ended_at=AT + timedelta(microseconds=1), digest=b""),
    ]

    assert await world.store.write(lambda tx: journal.insert(tx, rows))

    assert await world.store.read(lambda tx: journal.of_session(tx, sid)) == list(reversed(rows))


async def test_one_row_is_inserted_like_many(world: World):
    """
    The driver has another call for one row.
    """
    sid, _ = await world.running()

    assert await world.store.write(lambda tx: journal.insert(tx, [a_row(sid, 0, 1)]))
    assert not await world.store.write(lambda tx: journal.insert(tx, [a_row(sid, 0, 2)]))
    assert await world.store.write(lambda tx: journal.insert(tx, []))
    assert await world.store.read(lambda tx: journal.count(tx, sid)) == 1


async def test_times_of_other_zones_are_stored_in_utc(world: World):
    """
    The hot path writes text in SQLite: it must be what Core reads.
    """
    sid, _ = await world.running()
    there = AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    whole = datetime(2026, 1, 1, tzinfo=UTC)

    await world.store.write(
        lambda tx: journal.insert(
            tx, [a_row(sid, 0, 1, started_at=there), a_row(sid, 1, 2, started_at=whole)]
        )
    )

    rows = await world.store.read(lambda tx: journal.of_session(tx, sid))
    assert [(row.started_at, row.started_at.tzinfo) for row in rows] == [(AT, UTC), (whole, UTC)]


async def test_rows_that_were_there_are_told_of_and_taken_back(world: World):
    """
    Of a batch with one old row the new ones can be undone without touching the old one.
    """
    sid, _ = await world.running()
    await world.store.write(lambda tx: journal.insert(tx, [a_row(sid, 0, 1)]))

    def again(tx: Tx) -> bool:
        all_new = journal.insert(tx, [a_row(sid, 0, 2), a_row(sid, 1, 3)])
        journal.take_back(tx, {sid: 2})
        return all_new

    assert not await world.store.write(again)
    assert [r.seq for r in await world.store.read(lambda tx: journal.of_session(tx, sid))] == [1]


async def test_records_are_found_by_key(world: World):
    """
    Exactly those that were asked for, however the parts of their keys combine.
    """
    sid, _ = await world.running()
    rows = [
        a_row(sid, 0, 1),
        a_row(sid, 1, 2),
        a_row(sid, 0, 3, strand="0.1"),
        a_row(sid, 0, 4, track="log", kind="log"),
    ]
    await world.store.write(lambda tx: journal.insert(tx, rows))

    found = await world.store.read(
        lambda tx: journal.by_keys(tx, sid, [Key("call", "0", 1), Key("call", "0.1", 0), Key("call", "9", 9)])
    )

    assert {key: row.seq for key, row in found.items()} == {Key("call", "0", 1): 2, Key("call", "0.1", 0): 3}


async def test_a_record_is_replaced_in_place(world: World):
    """
    Its key stays, everything else is new.
    """
    sid, _ = await world.running()
    await world.store.write(
        lambda tx: journal.insert(tx, [a_row(sid, 0, 1, status="started", sealed_value=None)])
    )

    await world.store.write(lambda tx: journal.replace(tx, a_row(sid, 0, 7, sealed_value=b"end")))

    (row,) = await world.store.read(lambda tx: journal.of_session(tx, sid))
    assert (row.seq, row.status, row.sealed_value) == (7, "ok", b"end")


async def test_heads_are_advanced(world: World):
    """
    Each session on its own; a new record ends a row of deaths.
    """
    (one, _), (two, _) = await world.running(), await world.running()
    await world.store.write(
        lambda tx: tx.connection.execute(tables.sessions.update().values(crashes=3)) and None
    )

    def advance(tx: Tx, **changes: tuple[int, int]) -> None:
        found = journal.heads(tx, changes)
        journal.advance(
            tx,
            [
                found[sid]._replace(next_seq=seq, journal_bytes=size, crashes=0)
                for sid, (seq, size) in changes.items()
            ],
        )

    await world.store.write(lambda tx: advance(tx, **{one: (5, 100)}))
    heads = await world.store.write(lambda tx: journal.heads(tx, [two, one, "ses_none", one]))

    assert {sid: (h.next_seq, h.crashes) for sid, h in heads.items()} == {one: (5, 0), two: (1, 3)}
    await world.store.write(lambda tx: advance(tx, **{one: (6, 1 << 40), two: (9, 7)}))
    heads = await world.store.write(lambda tx: journal.heads(tx, [two, one]))
    assert {sid: (h.next_seq, h.journal_bytes) for sid, h in heads.items()} == {
        one: (6, 1 << 40),
        two: (9, 7),
    }
    assert await world.store.read(lambda tx: journal.size(tx, two)) == (8, 7)
    assert await world.store.write(lambda tx: journal.heads(tx, [])) == {}


async def test_the_newest_record_tells_where_a_journal_stands(world: World):
    """
    Steps write nothing else. What is older than that, or is not there any more, the session tells.
    """
    (one, _), (two, _) = await world.running(), await world.running()

    def stands(tx: Tx) -> dict[str, tuple[int, int]]:
        heads = journal.heads(tx, [one, two])
        assert {sid: journal.size(tx, sid) for sid in heads} == {
            sid: (head.next_seq - 1, head.journal_bytes) for sid, head in heads.items()
        }
        return {sid: (head.next_seq, head.journal_bytes) for sid, head in heads.items()}

    async def then(work: Callable[[Tx], object]) -> dict[str, tuple[int, int]]:
        await world.store.write(lambda tx: work(tx) and None)
        return await world.store.write(stands)

    rows = [a_row(one, n, n + 1, journal_bytes=10 * n) for n in range(3)]
    assert await then(lambda tx: journal.insert(tx, rows)) == {one: (4, 20), two: (1, 0)}
    # A step that had only started has its end behind what came meanwhile.
    assert (await then(lambda tx: journal.replace(tx, a_row(one, 0, 4, journal_bytes=25))))[one] == (5, 25)
    # Records of an earlier release, or a copy's, say nothing: the session does.
    assert (await then(lambda tx: journal.insert(tx, [a_row(two, 0, 1)])))[two] == (2, 0)
    head = (await world.store.write(lambda tx: journal.heads(tx, [two])))[two]
    assert (await then(lambda tx: journal.advance(tx, [head._replace(journal_bytes=7)])))[two] == (2, 7)
    assert (await then(lambda tx: journal.take_back(tx, {two: 1})))[two] == (2, 7)


async def test_a_record_whose_place_is_taken_is_not_taken_for_one_that_is_there(world: World):
    """To acknowledge it would lose it."""
    sid, _ = await world.running()
    await world.store.write(lambda tx: journal.add(tx, a_row(sid, 0, 1)))

    with pytest.raises(RuntimeError, match="has another record 1 already"):
        await world.store.write(lambda tx: journal.add(tx, a_row(sid, 1, 1)))


async def test_two_commits_of_one_session_come_one_after_the_other(world: World):
    """
    The head is locked: no two transactions see the same next `seq`.
    """
    sid, _ = await world.running()

    def take(tx: Tx) -> int:
        head = journal.heads(tx, [sid])[sid]
        journal.advance(tx, [head._replace(next_seq=head.next_seq + 1)])
        return head.next_seq

    taken = await asyncio.gather(*(world.store.write(take) for _ in range(20)))

    assert sorted(taken) == list(range(1, 21))


async def test_a_savepoint_undoes_its_block_only(world: World):
    """
    Rows and notices of the block are gone, those before it stay.
    """
    sid, _ = await world.running()

    def work(tx: Tx) -> None:
        journal.insert(tx, [a_row(sid, 0, 1)])
        tx.notify("event", "before")
        with pytest.raises(ZeroDivisionError), journal.savepoint(tx):
            journal.insert(tx, [a_row(sid, 1, 2)])
            tx.notify("event", "inside")
            raise ZeroDivisionError

    with world.store.notices.subscribed("event") as notice:
        await world.store.write(work)
        await asyncio.wait_for(notice.wait(), 20)

        assert notice.take() == {"before"}
    assert await world.store.read(lambda tx: journal.count(tx, sid)) == 1


async def test_the_last_step_is_no_print(world: World):
    """
    It is what an obituary names.
    """
    sid, _ = await world.running()
    assert await world.store.read(lambda tx: journal.last(tx, sid)) is None
    await world.store.write(
        lambda tx: journal.insert(tx, [a_row(sid, 0, 1), a_row(sid, 0, 2, track="log", kind="log")])
    )

    last = await world.store.read(lambda tx: journal.last(tx, sid))

    assert last is not None
    assert last.seq == 1


async def test_functions_with_many_short_steps_are_named(world: World):
    """
    Steps of a millisecond or more do not count, nor do waits, nor those that are not over.
    """
    sid, _ = await world.running()
    short, long = AT + timedelta(microseconds=900), AT + timedelta(milliseconds=1)
    rows = [a_row(sid, n, n + 1, name="vendor.parse", ended_at=short) for n in range(4)]
    rows += [a_row(sid, n, n + 1, name="vendor.parse", ended_at=long) for n in range(4, 9)]
    rows += [a_row(sid, n, n + 1, name="time.sleep", kind="wait", ended_at=short) for n in range(9, 19)]
    rows += [a_row(sid, n, n + 1, name="requests.get", ended_at=None) for n in range(19, 29)]

    await world.store.write(lambda tx: journal.insert(tx, rows))
    found = await world.store.read(lambda tx: journal.short_steps(tx, sid, 3))
    none = await world.store.read(lambda tx: journal.short_steps(tx, sid, 4))

    assert found == [("vendor.parse", 4)]
    assert none == []
