"""Forks: a new session with the records before a step of another one."""

import pytest
import sqlalchemy as sa
from factories import a_build, a_connection, a_deployment, a_person
from world import World, log_record, record

from ninelives.run import wire
from ninelives_server.errors import Forbidden, Invalid, KeyReused, NotFound
from ninelives_server.model.actors import Role
from ninelives_server.model.events import NewEvent
from ninelives_server.model.sessions import Session, SessionState
from ninelives_server.sessions.forks import Forks
from ninelives_server.sessions.journal import Claimed
from ninelives_server.sessions.transfer import Transfer
from ninelives_server.store import inbox, journal, sessions, tables

pytestmark = pytest.mark.store


async def _done(world: World, **fields: object) -> str:
    """Make a session with three steps, and something printed before the second one, that has ended."""
    sid, epoch = await world.running(**fields)
    puts = [
        record(0, value=b"one"),
        log_record(0, "between"),
        record(1, value=b"two"),
        record(2, value=b"three"),
    ]
    await world.journal.commit([world.put(sid, epoch, each) for each in puts])
    await world.journal.commit([world.done(sid, epoch)])
    return sid


async def test_a_fork_has_the_records_before_its_step(world: World):
    """
    Sealed anew for the new session, in the same order; the next record takes the step's own number.
    """
    source = await _done(world)

    made = (await world.sessions.fork(world.actor, source, from_step=3)).session
    claimed = await world.journal.claim("wrk_1", made.id)
    held = await world.store.read(lambda tx: sessions.by_id(tx, made.id))

    assert made.state is SessionState.CREATED
    assert isinstance(claimed, Claimed)
    assert claimed.records == 2
    assert held is not None
    transfer = Transfer(store=world.store, vault=world.vault)
    past = b"".join([piece async for piece in transfer.journal(held)])
    assert [(f.head["seq"], f.body) for f in wire.decode_all(past)] == [(1, b"one"), (2, b"between")]
    await world.journal.commit([world.put(made.id, claimed.epoch, record(1, value=b"new"))])
    steps = await world.sessions.steps(world.actor, made.id)
    assert [(step.seq, step.epoch) for step in steps] == [(1, 0), (3, 1)]
    assert [p.text for p in await world.sessions.prints(world.actor, made.id)] == ["between"]


async def test_a_fork_gets_what_was_pinned(world: World):
    """
    Inputs, variables and seed are the other session's, else its steps would not be the same; it remembers where
    it comes from, and belongs to the same event without being one of its trigger's own sessions.
    """
    source = await _done(world, event_id="evt_1", trigger_id="trg_1", memo={"trigger": "on-lead"})
    before = await world.sessions.get(world.actor, source)
    world.variables.values["CHANNEL"] = "#other"

    made = (await world.sessions.fork(world.actor, source, from_step=2)).session
    claimed = await world.journal.claim("wrk_1", made.id)

    assert isinstance(claimed, Claimed)
    assert claimed.start["session_id"] == made.id
    assert claimed.start["env"]["CHANNEL"] == "#sales"
    assert claimed.start["event"]["data"] == {"lead": "00Q"}
    assert (made.event_id, made.trigger_id) == ("evt_1", None)
    assert made.memo == {"trigger": "on-lead", "forked_from": source, "forked_before_step": "2"}
    assert (await world.sessions.get(world.actor, source)).session == before.session


async def test_a_fork_may_read_what_its_source_has_not_read(world: World):
    """
    Signals, and events of the subscriptions that it has: those that were made before its step.
    """
    connection = await a_connection(world.store, world.project, name="crm")
    source, epoch = await world.running()
    await world.journal.commit([world.call(source, epoch, "subscribe", ("0", 0), source="crm", filter="")])
    happened = NewEvent(
        project_id=world.project.id,
        connection_id=connection.id,
        source_key="1",
        event_type="lead",
        data={"n": 1},
    )
    await world.store.write(lambda tx: world.ingest.record_in(tx, [happened]))
    other, other_epoch = await world.running()
    signal = world.call(other, other_epoch, "signal", session_id=source, payload={"n": 2})
    [answer] = await world.journal.commit([signal._replace(args={**signal.args, "name": "go"})])
    assert answer.error is None

    late = (await world.sessions.fork(world.actor, source, from_step=2)).session
    early = (await world.sessions.fork(world.actor, source, from_step=1)).session

    async def unread(session_id: str) -> list[str]:
        found = await world.store.read(lambda tx: inbox.unread(tx, session_id))
        return [item.name for item in found]

    assert await unread(source) == await unread(late.id) == ["lead", "go"]
    assert await unread(early.id) == ["go"]
    claimed = await world.journal.claim("wrk_9", late.id)
    call = world.call(late.id, claimed.epoch, "next_signal", ("0", 1), names=["go"], timeout=0)
    [read] = await world.journal.commit([call])
    assert read.value["payload"] == {"n": 2}


async def test_a_fork_at_the_end_has_everything(world: World):
    """
    The last step to fork from is the one that never was.
    """
    source = await _done(world)

    made = (await world.sessions.fork(world.actor, source, from_step=5)).session

    claimed = await world.journal.claim("wrk_1", made.id)
    assert isinstance(claimed, Claimed)
    assert claimed.records == 4
    sizes = [await world.store.read(lambda tx, sid=sid: journal.size(tx, sid)) for sid in (source, made.id)]
    assert sizes[0] == sizes[1]
    assert sizes[0][1] > 0


@pytest.mark.parametrize("step", [0, 6])
async def test_a_step_that_there_is_not_is_refused(world: World, step: int):
    """
    The message says which there are.
    """
    source = await _done(world)

    with pytest.raises(Invalid, match="records 1 to 4; it can be forked from 1 to 5"):
        await world.sessions.fork(world.actor, source, from_step=step)


async def test_a_fork_of_a_session_that_is_not_durable_begins_at_the_beginning(world: World):
    """
    It has no journal to go on from.
    """
    source = (await world.session(is_durable=False)).id
    epoch = await world.claim(source)
    await world.journal.commit([world.put(source, epoch, log_record(0, "x"))])

    made = await world.sessions.fork(world.actor, source, from_step=1)
    with pytest.raises(Invalid, match="not durable"):
        await world.sessions.fork(world.actor, source, from_step=2)

    assert made.session.is_durable is False


async def test_a_fork_runs_on_the_build_that_is_asked_for(world: World):
    """
    The same, the newest, or one by its id; with the deployment that it belongs to.
    """
    source = await _done(world)
    newer = await a_build(world.store, world.project, sha256="22" * 32, entrypoints=("main.py:on_lead",))
    deployment = await a_deployment(world.store, newer)

    async def fork(build: str) -> Session:
        return (await world.sessions.fork(world.actor, source, from_step=1, build=build)).session

    same, newest, named = [await fork(build) for build in ("same", "newest", str(world.build.id))]

    assert [same.build_id, newest.build_id, named.build_id] == [world.build.id, newer.id, world.build.id]
    assert [same.deployment_id, newest.deployment_id] == [world.deployment.id, deployment.id]


async def test_a_build_without_the_entry_point_is_refused(world: World):
    """
    Before anything is made; so is a build of somebody else.
    """
    source = await _done(world)
    other = await a_build(world.store, world.project, sha256="33" * 32, entrypoints=("main.py:other",))

    with pytest.raises(Invalid, match=r"has no main.py:on_lead; it has main.py:other"):
        await world.sessions.fork(world.actor, source, from_step=1, build=str(other.id))
    with pytest.raises(NotFound, match="no build bld_x"):
        await world.sessions.fork(world.actor, source, from_step=1, build="bld_x")


async def test_somebody_else_cannot_fork(world: World):
    """
    Another org does not see the session; a viewer may look only.
    """
    source = await _done(world)
    stranger = await a_person(world.store, org="elsewhere", name="Eve")
    viewer = await a_person(world.store, org_id=world.actor.org_id, name="Vic", role=Role.VIEWER)

    with pytest.raises(NotFound):
        await world.sessions.fork(stranger, source, from_step=1)
    with pytest.raises(Forbidden):
        await world.sessions.fork(viewer, source, from_step=1)


async def test_a_fork_is_written_down(world: World):
    """
    Who, of which session, from where, on which build.
    """
    source = await _done(world)

    made = (await world.sessions.fork(world.actor, source, from_step=2)).session

    query = sa.select(tables.audit).where(tables.audit.c.action == "session.forked")
    [row] = await world.store.read(lambda tx: tx.connection.execute(query).all())
    assert (row.actor, row.target, row.project_id) == (world.actor.id, made.id, world.project.id)
    assert row.details == {
        "from": source,
        "from_step": 2,
        "build_id": str(world.build.id),
    }


async def test_a_long_journal_is_copied_in_pieces(world: World, monkeypatch: pytest.MonkeyPatch):
    """
    Each record once, none beyond the step.
    """
    sid, epoch = await world.running()
    await world.journal.commit([world.put(sid, epoch, record(n)) for n in range(25)])
    monkeypatch.setattr("ninelives_server.sessions.forks._CHUNK", 4)

    made = (await world.sessions.fork(world.actor, sid, from_step=19)).session

    rows = await world.store.read(lambda tx: journal.of_session(tx, made.id))
    assert [row.seq for row in rows] == list(range(1, 19))
    assert isinstance(world.sessions._forks, Forks)


async def test_who_asks_again_with_a_key_gets_the_same_fork(world: World):
    """
    Nothing is forked twice because an answer was lost; the key of another step is refused.
    """
    source = await _done(world)

    first, again, other = [
        (await world.sessions.fork(world.actor, source, from_step=2, key=key)).session
        for key in ("a" * 64, "a" * 64, "b" * 64)
    ]

    assert again.id == first.id
    assert other.id != first.id
    with pytest.raises(KeyReused, match="use a new key"):
        await world.sessions.fork(world.actor, source, from_step=1, key="a" * 64)
    with pytest.raises(KeyReused, match="use a new key"):
        await world.sessions.fork(world.actor, source, from_step=2, build="bld_other", key="a" * 64)
    assert await world.store.read(lambda tx: tx.connection.scalar(_COUNT)) == 3


_COUNT = sa.select(sa.func.count()).select_from(tables.sessions)
