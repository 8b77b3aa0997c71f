"""`sessions.commit`: what a session's process writes down, and how a session ends."""

import asyncio
import hashlib

import pytest
from world import World, log_record, record

from ninelives_server.model.sessions import SessionState
from ninelives_server.sessions.journal import NotClaimed
from ninelives_server.sessions.records import Acked, Answered, Buried, Ended, Refused
from ninelives_server.sessions.transfer import Transfer
from ninelives_server.store import journal
from ninelives_server.store.core import Store
from ninelives_server.vault.vault import Vault

pytestmark = pytest.mark.store


async def seqs(world: World, session_id: str) -> list[tuple[int, str, int]]:
    rows = await world.store.read(lambda tx: journal.of_session(tx, session_id))
    return [(row.seq, row.track, row.n) for row in rows]


# --- records --------------------------------------------------------------------------------------


async def test_records_are_numbered_in_the_order_of_their_commits(world: World):
    """
    `seq` is a session's one order, over all strands and tracks.
    """
    sid, epoch = await world.running()
    ops = [
        world.put(sid, epoch, record(0)),
        world.put(sid, epoch, log_record(0, "hello")),
        world.put(sid, epoch, record(0, strand="0.1")),
    ]

    answers = await world.journal.commit(ops)
    more = await world.journal.commit([world.put(sid, epoch, record(1))])

    assert answers == [Acked(1), Acked(2), Acked(3)]
    assert more == [Acked(4)]
    assert await seqs(world, sid) == [(1, "call", 0), (2, "log", 0), (3, "call", 0), (4, "call", 1)]


async def test_values_and_previews_are_sealed(world: World):
    """
    Neither what a step returned nor what people see of it is in the database in plain text.
    """
    sid, epoch = await world.running()
    await world.journal.commit([world.put(sid, epoch, record(0, value=b"a secret value"))])

    (row,) = await world.store.read(lambda tx: journal.of_session(tx, sid))

    assert row.sealed_value is not None
    assert b"secret" not in row.sealed_value
    assert row.sealed_preview is not None
    assert b"args" not in row.sealed_preview
    (step,) = await world.sessions.steps(world.actor, sid)
    assert step.preview == {"args": []}


async def test_times_come_back_as_they_were_written(world: World):
    """
    The hot path writes times itself: Core must read the same ones.
    """
    sid, epoch = await world.running()
    what = record(0)

    await world.journal.commit([world.put(sid, epoch, what)])

    (row,) = await world.store.read(lambda tx: journal.of_session(tx, sid))
    assert (row.started_at, row.ended_at) == (what.started_at, what.ended_at)


async def test_an_older_epoch_is_fenced_off(world: World):
    """
    A process that was given up may still write: nothing of it arrives.
    """
    sid, old = await world.running()
    await world.journal.release(sid, old)
    new = await world.claim(sid, "wrk_2")

    answers = await world.journal.commit(
        [world.put(sid, old, record(0)), world.put(sid, new, record(0, value=b"new"))]
    )

    assert answers == [Refused("fenced"), Acked(1)]
    assert len(await seqs(world, sid)) == 1


async def test_a_refused_record_does_not_fail_its_batch(world: World):
    """
    Sessions that happen to be committed together have nothing to do with each other.
    """
    good, epoch = await world.running()
    ended, other = await world.running()
    await world.journal.commit([world.done(ended, other)])

    answers = await world.journal.commit(
        [
            world.put(ended, other, record(5)),
            world.put(good, epoch, record(0)),
            world.put("ses_unknown", 1, record(0)),
        ]
    )

    assert answers == [Refused("fenced"), Acked(1), Refused("fenced")]


async def test_the_same_record_again_is_acknowledged_again(world: World):
    """
    An acknowledgement that was lost with a link is asked for again: same record, same `seq`, one row.
    """
    sid, epoch = await world.running()
    await world.journal.commit([world.put(sid, epoch, record(0)), world.put(sid, epoch, record(1))])

    again = await world.journal.commit(
        [world.put(sid, epoch, record(1)), world.put(sid, epoch, record(2)), world.put(sid, epoch, record(0))]
    )

    assert again == [Acked(2), Acked(3), Acked(1)]
    assert await seqs(world, sid) == [(1, "call", 0), (2, "call", 1), (3, "call", 2)]


@pytest.mark.parametrize(
    "changes", [{"name": "other"}, {"digest": b"x" * 32}, {"status": "error"}, {"value": b"other"}]
)
async def test_another_record_at_the_same_key_is_refused(world: World, changes: dict[str, object]):
    """
    The journal never changes its mind about what happened.
    """
    sid, epoch = await world.running()
    await world.journal.commit([world.put(sid, epoch, record(0))])

    answers = await world.journal.commit([world.put(sid, epoch, record(0, **changes))])

    assert answers == [Refused("different")]
    assert len(await seqs(world, sid)) == 1


async def test_a_twin_in_one_batch_is_stored_once(world: World):
    """
    A worker that reconnects may send a frame twice before it hears of the first.
    """
    sid, epoch = await world.running()

    answers = await world.journal.commit([world.put(sid, epoch, record(0)), world.put(sid, epoch, record(0))])

    assert answers == [Acked(1), Acked(1)]
    assert await seqs(world, sid) == [(1, "call", 0)]


async def test_a_record_that_was_committed_is_acknowledged_after_the_end(world: World):
    """
    The link may be lost between the commit of everything and its acknowledgements.
    """
    sid, epoch = await world.running()
    first = [world.put(sid, epoch, record(0)), world.done(sid, epoch)]
    await world.journal.commit(first)

    assert await world.journal.commit(first) == [Acked(1), Ended()]
    assert await world.journal.commit([world.put(sid, epoch, record(1))]) == [Refused("fenced")]


async def test_a_step_that_started_is_finished_in_its_place_but_later(world: World):
    """
    The start of a `retry="never"` step is committed first; its end replaces it and takes the `seq` of now.
    """
    sid, epoch = await world.running()
    started = record(0, status="started", value=b"", ended_at=None)
    await world.journal.commit([world.put(sid, epoch, started)])
    await world.journal.commit([world.put(sid, epoch, record(0, strand="0.1"))])

    answers = await world.journal.commit([world.put(sid, epoch, record(0, value=b"done"))])
    again = await world.journal.commit([world.put(sid, epoch, record(0, value=b"done"))])

    assert answers == again == [Acked(3)]
    rows = await world.store.read(lambda tx: journal.of_session(tx, sid))
    assert [(row.seq, row.strand, row.status) for row in rows] == [(2, "0.1", "ok"), (3, "0", "ok")]


async def test_operations_of_a_session_keep_their_order(world: World):
    """
    Nothing commits before what was sent ahead of it: the prints are there when the session has ended.
    """
    sid, epoch = await world.running()
    other, other_epoch = await world.running()

    answers = await world.journal.commit(
        [
            world.put(sid, epoch, log_record(0, "a")),
            world.call(sid, epoch, "store.set", key="k", value=1),
            world.put(other, other_epoch, record(0)),
            world.put(sid, epoch, log_record(1, "b")),
            world.done(sid, epoch),
        ]
    )

    assert answers == [Acked(1), Answered(2, None, None), Acked(1), Acked(3), Ended()]
    assert [p.text for p in await world.sessions.prints(world.actor, sid)] == ["a", "b"]


async def test_a_full_journal_ends_its_session(database: Store, vault: Vault):
    """
    A journal without an end is an error that names the way out.
    """
    world = await World.made(database, vault, records=3)
    sid, epoch = await world.running()

    answers = await world.journal.commit([world.put(sid, epoch, record(n)) for n in range(5)])

    assert answers == [Acked(1), Acked(2), Acked(3), Refused("limit"), Refused("limit")]
    detail = await world.sessions.get(world.actor, sid)
    assert detail.session.state is SessionState.ERROR
    assert detail.error is not None
    assert "limit of 3 records (NINELIVES_JOURNAL__RECORDS)" in detail.error["message"]
    assert "ninelives.restart(data)" in detail.error["message"]
    assert detail.error["seq"] == 3


async def test_a_journal_of_too_many_bytes_ends_its_session(database: Store, vault: Vault):
    """
    Few large values fill a disk as well as many small ones; the error names the limit that was reached.
    """
    world = await World.made(database, vault, size_mb=1)
    sid, epoch = await world.running()
    big = b"x" * 200_000

    answers = [
        (await world.journal.commit([world.put(sid, epoch, record(n, value=big))]))[0] for n in range(7)
    ]

    assert answers == [*(Acked(n) for n in range(1, 7)), Refused("limit")]
    detail = await world.sessions.get(world.actor, sid)
    assert detail.session.state is SessionState.ERROR
    assert detail.error is not None
    assert detail.error["type"] == "JournalFull"
    assert "limit of 1 MB (NINELIVES_JOURNAL__SIZE_MB)" in detail.error["message"]
    assert "ninelives.restart(data)" in detail.error["message"]


async def test_the_record_that_crosses_the_limit_is_kept(database: Store, vault: Vault):
    """
    Its step has run: it is seen, and a session that has nothing more to do completes.
    """
    world = await World.made(database, vault, size_mb=1)
    big = b"x" * 1_200_000
    sid, epoch = await world.running()

    answers = await world.journal.commit(
        [world.put(sid, epoch, record(0, value=big)), world.done(sid, epoch, result=b'"done"')]
    )

    detail = await world.sessions.get(world.actor, sid)
    steps = await world.sessions.steps(world.actor, sid)
    assert answers == [Acked(1), Ended()]
    assert (detail.session.state, detail.error) == (SessionState.COMPLETED, None)
    assert [step.seq for step in steps] == [1]


async def test_values_that_travelled_ahead_count_for_the_size_of_a_journal(database: Store, vault: Vault):
    """
    They are stored in rows of their own; the journal holds them all the same, whether one comes alone or not.
    """
    world = await World.made(database, vault, size_mb=1)
    sid, epoch = await world.running()
    transfer = Transfer(store=world.store, vault=vault)
    big = b"x" * 600_000
    name = hashlib.sha256(big).hexdigest()
    await transfer.put_blob(await transfer.held(sid, epoch), name, big)
    blobbed = record(0, value=None, blob=name)

    first = await world.journal.commit([world.put(sid, epoch, blobbed)])
    again = await world.journal.commit([world.put(sid, epoch, blobbed)])
    second = await world.journal.commit([world.put(sid, epoch, blobbed._replace(n=1))])
    third = await world.journal.commit([world.call(sid, epoch, "store.get", at=("0", 2), key="k")])

    assert [first, again, second] == [[Acked(1)], [Acked(1)], [Acked(2)]]
    assert third == [Refused("limit")]
    assert (await world.sessions.get(world.actor, sid)).session.state is SessionState.ERROR


async def test_a_journal_without_limits_takes_everything(database: Store, vault: Vault):
    """
    0 is no limit, as everywhere.
    """
    world = await World.made(database, vault, records=0, size_mb=0)
    sid, epoch = await world.running()

    answers = await world.journal.commit([world.put(sid, epoch, record(n)) for n in range(5)])

    assert answers == [Acked(n) for n in range(1, 6)]
    assert not (await world.sessions.get(world.actor, sid)).is_nearly_full


async def test_batches_of_many_sessions_at_once_mix_well(world: World):
    """
    Two servers commit at the same time: no deadlock, no lost `seq`.
    """
    held = [await world.running() for _ in range(6)]

    async def commit(part: int) -> None:
        for n in range(10):
            order = held if part % 2 else list(reversed(held))
            await world.journal.commit(
                [world.put(sid, epoch, record(n, strand=f"0.{part}")) for sid, epoch in order]
            )

    await asyncio.gather(*(commit(part) for part in range(4)))

    for sid, _ in held:
        assert [seq for seq, _, _ in await seqs(world, sid)] == list(range(1, 41))


# --- ends -----------------------------------------------------------------------------------------


async def test_done_is_done_once(world: World):
    """
    The first end counts, also when the second one says something else.
    """
    sid, epoch = await world.running()

    first = await world.journal.commit([world.done(sid, epoch, result=b'{"n":1}')])
    second = await world.journal.commit([world.done(sid, epoch, result=b'{"n":2}')])

    assert first == second == [Ended()]
    detail = await world.sessions.get(world.actor, sid)
    assert (detail.session.state, detail.result, detail.error) == (SessionState.COMPLETED, {"n": 1}, None)
    assert detail.session.ended_at is not None
    assert await world.journal.claim("wrk_2", sid) == NotClaimed("ended")


async def test_an_error_is_kept_with_its_traceback(world: World):
    """
    People read what user code raised.
    """
    sid, epoch = await world.running()
    error = {"type": "ZeroDivisionError", "message": "division by zero", "traceback": "…", "seq": 3}

    await world.journal.commit([world.done(sid, epoch, state=SessionState.ERROR, error=error, result=None)])

    detail = await world.sessions.get(world.actor, sid)
    assert (detail.session.state, detail.error, detail.result) == (SessionState.ERROR, error, None)


async def test_a_process_that_dies_again_and_again_ends_its_session(world: World):
    """
    After 1, 5 and 30 s it is tried again; the fifth death in a row is the last, and says what killed it where.
    """
    sid, epoch = await world.running()
    await world.journal.commit([world.put(sid, epoch, record(0))])

    delays = []
    for _ in range(4):
        (buried,) = await world.journal.commit([world.died(sid, epoch)])
        assert isinstance(buried, Buried)
        delays.append((buried.outcome, buried.delay))
        epoch = await world.claim(sid)
    last = await world.journal.commit([world.died(sid, epoch, stderr="Segmentation fault")])

    assert delays == [("retry", 1.0), ("retry", 5.0), ("retry", 30.0), ("retry", 30.0)]
    assert last == [Buried("error", 0)]
    detail = await world.sessions.get(world.actor, sid)
    assert detail.session.state is SessionState.ERROR
    assert detail.error is not None
    assert "5 times in a row after step 1 (requests.post): killed by signal 9" in detail.error["message"]
    assert detail.error["traceback"] == "Segmentation fault"


async def test_a_new_record_ends_a_row_of_deaths(world: World):
    """
    A session that gets on, however slowly, is not in a loop.
    """
    sid, epoch = await world.running()
    for n in range(7):
        await world.journal.commit([world.put(sid, epoch, record(n))])
        assert await world.journal.commit([world.died(sid, epoch)]) == [Buried("retry", 1.0)]
        epoch = await world.claim(sid)

    assert (await world.sessions.get(world.actor, sid)).session.crashes == 1


async def test_a_shutdown_is_no_crash(world: World):
    """
    A worker that is stopped in order kills its processes; their sessions go on at its next start.
    """
    sid, epoch = await world.running()
    plain, plain_epoch = await world.running(is_durable=False)

    answers = await world.journal.commit(
        [world.died(sid, epoch, reason="shutdown"), world.died(plain, plain_epoch, reason="shutdown")]
    )

    assert answers == [Buried("retry", 0), Buried("error", 0)]
    assert (await world.sessions.get(world.actor, sid)).session.crashes == 0
    detail = await world.sessions.get(world.actor, plain)
    assert detail.error is not None
    assert "interrupted by shutdown" in detail.error["message"]


async def test_a_broken_call_leaves_the_rest_of_its_batch_alone(world: World):
    """
    A call that the server refuses is undone by itself and told to user code.
    """
    sid, epoch = await world.running()

    answers = await world.journal.commit(
        [
            world.put(sid, epoch, record(1)),
            world.call(sid, epoch, "store.add", key="k", value="text"),
            world.put(sid, epoch, record(2)),
        ]
    )

    assert answers[0] == Acked(1)
    assert answers[1] == Answered(
        2, None, {"type": "TypeError", "message": "only numbers can be added; 'k' meets a str"}
    )
    assert answers[2] == Acked(3)
