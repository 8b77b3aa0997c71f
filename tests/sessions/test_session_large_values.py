"""
Large values: what one session hands to the store, to others and to its successor, killed where it may be.
"""

import hashlib
import json

import pytest
from world import World, record

from ninelives import arguments
from ninelives_server.model.sessions import SessionState
from ninelives_server.sessions.records import Acked, Answered, Ended
from ninelives_server.store import sessions
from ninelives_server.store.core import Tx

pytestmark = pytest.mark.timeout(300)

SIZE = 2_000_000
PROGRAM = f"""
    import hashlib
    import ninelives

    VALUE = {{"text": "ä" * {SIZE // 2}, "n": 1}}

    def short(value):
        return hashlib.sha256(value["text"].encode()).hexdigest(), value["n"]

    def on_lead(event):
        ninelives.set_value("big", VALUE)
        assert not ninelives.check_and_set_value("big", None, VALUE)
        ninelives.set_value("big", {{**VALUE, "n": 2}})
        ninelives.publish_value("big")
        child = ninelives.start("main.py:child", {{"first": VALUE}})
        ninelives.signal(child, "more", {{**VALUE, "n": 3}})
        told = ninelives.next_signal(child).payload
        if not event.data.get("again"):
            ninelives.restart({{"again": told}})
        return [*short(ninelives.get_value("big")), *short(event.data["again"]["value"]), *short(told["value"])]

    def child(event):
        more = ninelives.next_signal("more").payload
        return {{"text": event.data["first"]["text"], "n": more["n"] + 1}}
"""
DIGEST = hashlib.sha256(("ä" * (SIZE // 2)).encode()).hexdigest()


@pytest.mark.parametrize("kill_after", [None, 2, 5])
async def test_large_values_arrive_whole_whatever_crashes(world: World, stage, kill_after):
    """
    The store, a child's inputs and result, a signal's payload and a successor's data: 2 MB each, once.
    """
    async with stage(PROGRAM) as running:
        running.kill_all_after = kill_after
        session = await world.session(data={})
        await running.ended(session.id)
        last = await world.store.read(lambda tx: sessions.newest(tx, session.id))
        ended = await running.ended(last.id)

    assert ended.error is None
    assert ended.result == [DIGEST, 2, DIGEST, 4, DIGEST, 4]
    assert len((await world.sessions.list(world.actor, limit=50)).items) == 4


async def test_a_body_that_is_nothing_is_told_and_stops_nobody(world: World):
    """
    Project code can write anything into its socket; other sessions' records of the same commit are kept.
    """
    session_id, epoch = await world.running()
    bodies = {
        b"[1]": "TypeError: store.set: the values are no object",
        b"{": "TypeError: store.set: the values are no JSON",
        b'{"key": "other"}': "TypeError: store.set: the values are no object",
        b"[" * 100_000: "TypeError: store.set: the values are no JSON",
        b'{"value":' + b"[" * 91 + b"]" * 91 + b"}": "TypeError: store.set takes values that are nested 90",
        b"1" * (arguments.LARGEST + 1): f"ValueError: store.set was given {arguments.LARGEST + 1} bytes",
    }
    calls = [
        world.call(session_id, epoch, "store.set", ("0", n), key="k")._replace(body=body)
        for n, body in enumerate(bodies)
    ]
    other_id, other_epoch = await world.running()

    *answers, kept = await world.journal.commit([*calls, world.put(other_id, other_epoch, record())])

    said = [
        f"{a.error['type']}: {a.error['message']}" for a in answers if isinstance(a, Answered) and a.error
    ]
    assert [text.startswith(begin) for text, begin in zip(said, bodies.values(), strict=True)] == [True] * 6
    assert kept == Acked(1)


async def test_a_successor_of_nothing_is_an_error_of_its_session(world: World):
    """
    Nobody starts a session with data that is none.
    """
    session_id, epoch = await world.running()

    (answer,) = await world.journal.commit(
        [world.done(session_id, epoch, restart={}, result=json.dumps({"data": [1]}).encode())]
    )

    assert answer == Ended()
    found = await world.sessions.get(world.actor, session_id)
    assert found.session.state is SessionState.ERROR
    assert found.error["message"] == "restart: the data of a successor is no object"


async def test_a_session_keeps_the_limit_that_it_was_made_with(world: World):
    """
    One that a former release made has none pinned: code that caught the refusal of a value meets it again.
    """
    session = await world.session()

    new = await world.journal.claim("wrk_1", session.id)
    await world.store.write(lambda tx: without_limit(world, tx, session.id))
    await world.journal.commit([world.died(session.id, new.epoch)])
    old = await world.journal.claim("wrk_1", session.id)

    assert new.start["call_limit"] == arguments.LARGEST
    assert old.start["call_limit"] == 500_000


def without_limit(world: World, tx: Tx, session_id: str) -> None:
    context = f"sessions:{session_id}:sealed_start"
    row = sessions.pinned(tx, session_id)
    pinned = json.loads(world.vault.open(tx, world.project.id, context, row.sealed_start))
    del pinned["call_limit"]
    sealed = world.vault.seal(tx, world.project.id, context, json.dumps(pinned).encode())
    sessions.set_start(tx, session_id, sealed, row.semantics)
