"""`sessions.transfer`: journals for replay, and large values."""

import hashlib

import pytest
from world import World, record

from ninelives.run import wire
from ninelives_server.errors import Conflict, Invalid, NotFound, TooLarge
from ninelives_server.model.sessions import Session
from ninelives_server.sessions import transfer as module
from ninelives_server.sessions.transfer import Transfer

pytestmark = pytest.mark.store


@pytest.fixture
def transfer(world: World) -> Transfer:
    return Transfer(store=world.store, vault=world.vault)


async def held(world: World, transfer: Transfer) -> tuple[Session, int]:
    sid, epoch = await world.running()
    return await transfer.held(sid, epoch), epoch


async def test_a_journal_comes_back_as_it_was_sent(
    world: World, transfer: Transfer, monkeypatch: pytest.MonkeyPatch
):
    """
    In the order of the commits, in pieces, with the values in the frames: small and large ones alike.
    """
    monkeypatch.setattr(module, "_CHUNK", 2)
    session, epoch = await held(world, transfer)
    large = b"L" * 3_000_000
    name = hashlib.sha256(large).hexdigest()
    await transfer.put_blob(session, name, large)
    sent = [
        record(0, value=b"a"),
        record(1, value=None, blob=name),
        record(0, strand="0.1", value=b""),
        record(2),
    ]
    await world.journal.commit([world.put(session.id, epoch, what) for what in sent])

    data = b"".join([piece async for piece in transfer.journal(session)])
    frames = list(wire.decode_all(data))

    assert [(f.type, f.head["seq"], f.head["strand"], f.head["n"]) for f in frames] == [
        ("past", 1, "0", 0),
        ("past", 2, "0", 1),
        ("past", 3, "0.1", 0),
        ("past", 4, "0", 2),
    ]
    assert [f.body for f in frames] == [b"a", large, b"", b"value"]
    assert frames[0].head["digest"] == sent[0].digest.hex()
    assert frames[0].head["start"] == sent[0].started_at.timestamp()


async def test_only_the_attempt_that_runs_gets_anything(world: World, transfer: Transfer):
    """
    A journal for an epoch that is over would be replayed by a process that may write nothing.
    """
    sid, epoch = await world.running()

    with pytest.raises(Conflict):
        await transfer.held(sid, epoch + 1)
    with pytest.raises(NotFound):
        await transfer.held("ses_unknown", 1)
    await world.journal.release(sid, epoch)
    with pytest.raises(Conflict):
        await transfer.held(sid, epoch)


async def test_a_blob_is_named_by_what_it_holds(world: World, transfer: Transfer):
    """
    Anything else would let one record show the value of another.
    """
    session, _ = await held(world, transfer)
    name = hashlib.sha256(b"data").hexdigest()

    with pytest.raises(Invalid):
        await transfer.put_blob(session, name, b"other data")
    await transfer.put_blob(session, name, b"data")
    await transfer.put_blob(session, name, b"data")

    assert await transfer.get_blob(session, name) == b"data"
    with pytest.raises(NotFound):
        await transfer.get_blob(session, "0" * 64)


async def test_a_blob_is_of_its_project(world: World, transfer: Transfer):
    """
    The same bytes in another project are another blob.
    """
    session, _ = await held(world, transfer)
    foreign = await World.made(world.store, world.vault, name="foreign")
    other, _ = await held(foreign, transfer)
    name = hashlib.sha256(b"data").hexdigest()

    await transfer.put_blob(session, name, b"data")

    with pytest.raises(NotFound):
        await transfer.get_blob(other, name)


async def test_a_value_over_the_limit_is_refused(
    world: World, transfer: Transfer, monkeypatch: pytest.MonkeyPatch
):
    """
    The session process says so first, with the step's name; here it is only the second line.
    """
    monkeypatch.setattr(wire, "VALUE_LIMIT", 10)
    session, _ = await held(world, transfer)

    with pytest.raises(TooLarge):
        await transfer.put_blob(session, "0" * 64, b"x" * 11)
