"""`sessions.service`: sessions as people and programs see them."""

import asyncio
from datetime import timedelta

import pytest
from factories import a_person
from world import World, log_record, record

from ninelives_server.errors import Forbidden, Invalid, NotFound
from ninelives_server.model.actors import Role
from ninelives_server.model.sessions import SessionState
from ninelives_server.sessions.journal import NotClaimed
from ninelives_server.store import sweeps, tables

pytestmark = pytest.mark.store


async def test_a_list_goes_from_the_newest_to_the_oldest_in_pages(world: World):
    """
    A cursor continues where the page ended, whatever was made meanwhile.
    """
    made = [(await world.session()).id for _ in range(5)]

    first = await world.sessions.list(world.actor, limit=2)
    await world.session()
    second = await world.sessions.list(world.actor, limit=2, cursor=first.next_cursor)
    third = await world.sessions.list(world.actor, limit=2, cursor=second.next_cursor)

    found = [s.id for page in (first, second, third) for s in page.items]
    assert found == list(reversed(made))
    assert third.next_cursor is None


async def test_a_cursor_of_another_list_is_refused(world: World):
    """
    Not an empty page, and not an internal error.
    """
    with pytest.raises(Invalid, match="is not one of this list"):
        await world.sessions.list(world.actor, cursor="nonsense!")


async def test_sessions_are_found_by_state_trigger_time_and_record(world: World):
    """
    Each filter narrows, and they combine.
    """
    done, epoch = await world.running(trigger_id="trg_a", event_id="evt_a", record_id="00Q1")
    await world.journal.commit([world.done(done, epoch)])
    other = await world.session(trigger_id="trg_b", event_id="evt_b", record_id="00Q2")

    async def found(**filters: object) -> set[str]:
        page = await world.sessions.list(world.actor, **filters)
        return {session.id for session in page.items}

    assert await found() == {done, other.id}
    assert await found(project_ref="lead_router") == {done, other.id}
    assert await found(project_ref=world.project.id, state=SessionState.COMPLETED) == {done}
    assert await found(trigger_id="trg_b") == {other.id}
    assert await found(record_id="00Q1") == {done}
    assert await found(record_id="00Q1", state=SessionState.CREATED) == set()
    assert await found(since=other.created_at) == {other.id}
    assert await found(until=other.created_at) == {done}


async def test_somebody_of_another_org_sees_nothing(world: World):
    """
    Every read and write is scoped to the actor's org.
    """
    stranger = await a_person(world.store, org="other", name="mallory")
    sid, epoch = await world.running()
    await world.journal.commit([world.put(sid, epoch, record(0))])

    assert (await world.sessions.list(stranger)).items == []
    for ask in (
        lambda: world.sessions.get(stranger, sid),
        lambda: world.sessions.steps(stranger, sid),
        lambda: world.sessions.prints(stranger, sid),
        lambda: world.sessions.stop(stranger, sid, kill=True),
        lambda: world.sessions.list(stranger, project_ref=world.project.id),
    ):
        with pytest.raises(NotFound):
            await ask()
    assert await world.state(sid) is SessionState.RUNNING


async def test_a_viewer_may_look_and_not_stop(world: World):
    """
    Roles hold here as everywhere.
    """
    viewer = await a_person(world.store, name="vera", role=Role.VIEWER, org_id=world.actor.org_id)
    session = await world.session()

    assert (await world.sessions.get(viewer, session.id)).session.id == session.id
    with pytest.raises(Forbidden):
        await world.sessions.stop(viewer, session.id)


async def test_steps_and_prints_are_read_apart(world: World):
    """
    What user code printed comes back exactly; steps, waits and values come in the order of their commits.
    """
    sid, epoch = await world.running()
    await world.journal.commit(
        [
            world.put(sid, epoch, log_record(0, "Grüße\n  indented")),
            world.put(sid, epoch, record(0)),
            world.put(sid, epoch, log_record(1, "")),
            world.put(sid, epoch, record(0, track="value", kind="value", name="time.time")),
        ]
    )

    steps = await world.sessions.steps(world.actor, sid)
    prints = await world.sessions.prints(world.actor, sid)

    assert [(s.seq, s.kind, s.name) for s in steps] == [
        (2, "step", "requests.post"),
        (4, "value", "time.time"),
    ]
    assert [(p.seq, p.text, p.level) for p in prints] == [(1, "Grüße\n  indented", "print"), (3, "", "print")]
    assert [s.seq for s in await world.sessions.steps(world.actor, sid, after=2)] == [4]
    assert [s.seq for s in await world.sessions.steps(world.actor, sid, limit=1)] == [2]


async def test_a_session_that_has_not_started_says_why(world: World):
    """
    Without a worker nothing runs; with one it is a matter of slots.
    """
    await world.session()
    second = await world.session()

    alone = await world.sessions.get(world.actor, second.id)
    await world.worker()
    queued = await world.sessions.get(world.actor, second.id)

    assert alone.position == queued.position == 2
    assert alone.session.queue_reason == "no worker is connected; start one with `ninelives worker`"
    assert queued.session.queue_reason == "number 2 of those that wait for a free slot"
    await world.claim(second.id)
    assert (await world.sessions.get(world.actor, second.id)).position is None


async def test_a_session_that_lost_its_worker_says_why_it_does_not_go_on(world: World):
    """
    It is `running`, and nowhere; after a crash it waits for a moment anyhow, which is no matter of slots.
    """
    sid, epoch = await world.running()
    await world.journal.release(sid, epoch)

    alone = (await world.sessions.get(world.actor, sid)).session
    await world.worker()
    waiting = (await world.sessions.get(world.actor, sid)).session
    [listed] = (await world.sessions.list(world.actor)).items
    await world.journal.commit([world.died(sid, await world.claim(sid))])
    crashed = (await world.sessions.get(world.actor, sid)).session

    assert alone.queue_reason == "no worker is connected; start one with `ninelives worker`"
    assert waiting.queue_reason == listed.queue_reason == "waits for a free slot of a worker"
    assert (crashed.crashes, crashed.queue_reason) == (1, "")


async def test_stopping_what_has_not_started_ends_it(world: World):
    """
    There is nothing to clean up: no process is started for it.
    """
    session = await world.session()

    await world.sessions.stop(world.actor, session.id, reason="not needed")

    detail = await world.sessions.get(world.actor, session.id)
    assert detail.session.state is SessionState.STOPPED
    assert detail.session.stop_requested is not None
    assert detail.session.stop_requested["reason"] == "not needed"
    assert await world.journal.claim("wrk_1", session.id) == NotClaimed("ended")


async def test_killing_a_parked_session_ends_it(world: World):
    """
    It has no process, and is not started to be killed.
    """
    sid, epoch = await world.running()
    await world.journal.commit([world.park(sid, epoch)])

    await world.sessions.stop(world.actor, sid, kill=True)

    assert await world.state(sid) is SessionState.STOPPED


async def test_stopping_what_has_ended_changes_nothing(world: World):
    """
    A second click is no error.
    """
    sid, epoch = await world.running()
    await world.journal.commit([world.done(sid, epoch)])

    await world.sessions.stop(world.actor, sid)

    detail = await world.sessions.get(world.actor, sid)
    assert (detail.session.state, detail.session.stop_requested) == (SessionState.COMPLETED, None)


async def test_a_stop_is_written_down(world: World):
    """
    Who stopped what is in the audit log, in the same transaction.
    """
    session = await world.session()

    await world.sessions.stop(world.actor, session.id, kill=True)

    rows = await world.store.read(
        lambda tx: tx.connection.execute(
            tables.audit.select().where(tables.audit.c.target == session.id)
        ).all()
    )
    (entry,) = rows
    assert (entry.actor, entry.action, entry.project_id) == (
        world.actor.id,
        "session.stop_requested",
        world.project.id,
    )


async def test_an_endless_grace_is_refused(world: World):
    """
    The error names the field and the limits.
    """
    session = await world.session()

    with pytest.raises(Invalid, match="from 0 to 3600 s") as caught:
        await world.sessions.stop(world.actor, session.id, grace=100_000)

    assert "grace" in caught.value.fields


async def test_all_states_are_counted(world: World):
    """
    Metrics show a zero where there is nothing.
    """
    await world.session()
    await world.running()

    counts = await world.sessions.counts()

    assert counts[SessionState.CREATED] == counts[SessionState.RUNNING] == 1
    assert counts[SessionState.STOPPED] == 0
    assert set(counts) == set(SessionState)


async def test_a_new_session_is_announced(world: World):
    """
    The starter and the pages hear of it when it is committed, not before.
    """
    new = world.a_new()
    with (
        world.store.notices.subscribed("start") as start,
        world.store.notices.subscribed("session", new.id) as page,
    ):
        await world.store.write(lambda tx: world.sessions.create_in(tx, new))
        await asyncio.wait_for(start.wait(), 20)
        await asyncio.wait_for(page.wait(), 20)

        assert start.take() == {new.id}


# --- what should run ------------------------------------------------------------------------------


async def test_the_sweep_finds_what_nobody_runs(world: World):
    """
    Created, released, due, with mail, to be stopped: all of them, and nobody else.
    """
    clock = world.journal.clock
    created = await world.session()
    await world.running()
    released, epoch = await world.running()
    await world.journal.release(released, epoch)
    due, epoch = await world.running()
    soon = clock.now() + timedelta(seconds=1)  # one that is due already would stay
    await world.journal.commit([world.park(due, epoch, soon)])
    asleep, epoch = await world.running()
    await world.journal.commit([world.park(asleep, epoch, soon + timedelta(hours=1))])
    stopping, epoch = await world.running()
    await world.journal.commit([world.park(stopping, epoch)])
    await world.sessions.stop(world.actor, stopping)
    ended, epoch = await world.running()
    await world.journal.commit([world.done(ended, epoch)])
    await asyncio.sleep(max(0.0, (soon - clock.now()).total_seconds()) + 0.1)

    async def found(quiet: timedelta) -> set[str]:
        return set(await world.store.read(lambda tx: sweeps.should_run(tx, quiet=quiet, limit=100)))

    assert await found(timedelta()) == {created.id, released, due, stopping}
    # The others were asked for a moment ago; the parked one's timer is Temporal's, and it is due.
    assert await found(timedelta(minutes=1)) == {due}
    assert await world.store.read(sweeps.next_wake) is not None
