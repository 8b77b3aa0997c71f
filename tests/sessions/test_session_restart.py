"""
Restarts: a session ends and its successor starts in one transaction, and nothing that was under way is lost.
"""

import asyncio
import threading

import pytest
import sqlalchemy as sa
from factories import a_build, a_connection, a_deployment
from test_session_mail import Source
from world import World

from ninelives_server.model.projects import DeploymentState
from ninelives_server.sessions.mail import PAYLOAD_LIMIT, send
from ninelives_server.store import builds, inbox, sessions, streams, subscriptions, tables

pytestmark = pytest.mark.timeout(300)

LOOP = """
    import ninelives

    def on_lead(event):
        sub = event.data.get("sub") or ninelives.subscribe("crm")
        seen = event.data.get("seen", [])
        child = event.data.get("child") or ninelives.start("main.py:child")
        seen.append(ninelives.next_event(sub)["n"])
        if len(seen) < 3:
            ninelives.restart({"sub": sub, "seen": seen, "child": child})
        ninelives.signal(child, "go")
        return [seen, ninelives.next_signal(child).payload, ninelives.next_signal("note").payload]

    def child(event):
        ninelives.next_signal("go")
        return "done"
"""


@pytest.fixture
async def crm(world: World) -> Source:
    """The connection `crm`."""
    connection = await a_connection(world.store, world.project, name="crm", account_key="00D:005")
    return Source(world, connection_id=connection.id)


async def newest(world: World, session_id: str) -> str:
    found = await world.store.read(lambda tx: sessions.newest(tx, session_id))
    assert found is not None
    return found.id


@pytest.mark.parametrize("kill_after", [None, 2, 3, 4, 5, 6])
async def test_a_successor_has_subscriptions_mail_and_children(world: World, crm: Source, stage, kill_after):
    """
    Events that come in between, signals to the first id and the child's end reach the last of the row.
    """
    async with stage(LOOP) as running:
        running.kill_all_after = kill_after
        session = await world.session(trigger_id="trg_1", event_id="evt_1")
        await running.until_steps(session.id, 3)
        for n in (1, 2, 3):
            await crm.happens(n=n)
        await running.ended(session.id)
        await world.store.write(lambda tx: send(tx, world.vault, sessions.newest(tx, session.id), "note", 3))
        while True:
            ended = await running.ended(await newest(world, session.id))
            # Another one may have been restarted between the two questions.
            if "restarted_as" not in ended.result:
                break

    assert ended.result == [[1, 2, 3], {"completed": True, "value": "done"}, 3]
    assert ended.session.first_id == session.id
    assert ended.session.trigger_id == "trg_1"
    row = [
        s
        for s in (await world.sessions.list(world.actor, limit=50)).items
        if s.entrypoint == "main.py:on_lead"
    ]
    assert [s.state for s in row] == ["completed"] * 3
    first = await world.sessions.get(world.actor, session.id)
    assert first.result == {"restarted_as": row[1].id}
    assert await world.store.read(lambda tx: inbox.with_mail(tx, [s.id for s in row])) == []


@pytest.mark.parametrize("entrypoint", ["main.py:on_lead", "main.py:other"])
async def test_a_successor_runs_the_code_in_service(world: World, entrypoint):
    """
    A restart is the moment to take up new code; a build without the entry point is not taken.
    """
    sid, epoch = await world.running()
    await world.store.write(
        lambda tx: builds.set_deployment_state(tx, world.deployment.id, DeploymentState.DRAINING)
    )
    newer = await a_build(world.store, world.project, sha256="1" * 64, entrypoints=(entrypoint,))
    await a_deployment(world.store, newer)

    await world.journal.commit([world.done(sid, epoch, restart={"n": 1}, result=None)])

    result = (await world.sessions.get(world.actor, sid)).result
    successor = (await world.sessions.get(world.actor, result["restarted_as"])).session
    assert successor.build_id == (newer.id if entrypoint == "main.py:on_lead" else world.build.id)
    assert (successor.entrypoint, successor.is_durable, successor.state) == (
        "main.py:on_lead",
        True,
        "created",
    )


async def test_a_session_that_was_stopped_has_no_successor(world: World):
    """
    The stop wins, whatever its code does with `Stopped`.
    """
    sid, epoch = await world.running()
    await world.sessions.stop(world.actor, sid)

    await world.journal.commit([world.done(sid, epoch, restart={"n": 1}, result=None)])

    assert await world.state(sid) == "stopped"
    assert await newest(world, sid) == sid


async def test_what_a_wait_cannot_do_is_said(world: World, crm: Source):
    """
    Each with the value and the way out; nothing is changed.
    """
    sid, epoch = await world.running()

    async def told(what: str, /, **args: object) -> dict[str, str]:
        call = world.call(sid, epoch, what)._replace(args=args, key=None)
        (answer,) = await world.journal.commit([call])
        return answer.error

    ended = await world.running()
    await world.journal.commit([world.done(*ended)])
    assert (await told("subscribe", source="meow"))["type"] == "NoSuchSource"
    assert "the project has crm" in (await told("subscribe", source="meow"))["message"]
    assert "1:6" in (await told("subscribe", source="crm", filter="data.("))["message"]
    assert (await told("next_event", ids=["sub_x"]))["message"].startswith("this session has no subscription")
    assert "is no id that subscribe returned" in (await told("unsubscribe", id="x"))["message"]
    assert (await told("signal", session_id=ended[0], name="x"))["type"] == "SessionEnded"
    assert "to signal" in (await told("signal", session_id="ses_none", name="x"))["message"]
    assert "1 to 200" in (await told("signal", session_id=sid, name=""))["message"]
    large = await told("signal", session_id=sid, name="x", payload="x" * (PAYLOAD_LIMIT - 1))
    assert f"{PAYLOAD_LIMIT} are allowed" in large["message"]
    assert not await world.store.read(lambda tx: inbox.has_unread(tx, sid))


async def test_another_org_s_sessions_take_no_signals(world: World):
    """
    They are not there, as for whoever guesses an id.
    """
    other = await World.made(world.store, world.vault, name="theirs")
    target = await other.session()
    sid, epoch = await world.running()

    call = world.call(sid, epoch, "signal", None)._replace(args={"session_id": target.id, "name": "x"})
    (answer,) = await world.journal.commit([call])

    assert answer.error["message"] == f"there is no session '{target.id}' to signal"
    assert not await world.store.read(lambda tx: inbox.has_unread(tx, target.id))


async def test_a_subscription_wants_its_connection_s_stream_while_the_session_lives(
    world: World, crm: Source
):
    """
    A connection without any trigger is listened to, all of it; with the session's end that is over.
    """
    sid, epoch = await world.running()
    await world.journal.commit([world.call(sid, epoch, "subscribe", source="crm", filter="")])

    (wish,) = await world.store.read(streams.wishes)
    await world.journal.commit([world.done(sid, epoch)])

    assert (wish.trigger_id, wish.event_type, wish.project_id) == (None, "", world.project.id)
    assert await world.store.read(streams.wishes) == []
    assert await world.store.read(lambda tx: subscriptions.known(tx, sid, ["x"])) == set()


async def test_fifty_writers_at_once_lose_nothing(world: World):
    """
    Sessions of one project add to one number and compare-and-set another, all together.
    """
    sids = [await world.running() for _ in range(50)]

    async def write(sid: str, epoch: int) -> int:
        won = 0
        for n in range(4):
            add = world.call(sid, epoch, "store.add", ("0", 2 * n), key="sum", value=1)
            (added,) = await world.journal.commit([add])
            assert added.error is None
            take = world.call(
                sid, epoch, "store.check_and_set", ("0", 2 * n + 1), key=f"lock{n}", expected=None, value=sid
            )
            (taken,) = await world.journal.commit([take])
            won += taken.value
        return won

    wins = await asyncio.gather(*(write(*session) for session in sids))

    (total,) = await world.journal.commit([world.call(*sids[0], "store.get", ("0", 99), key="sum")])
    assert total.value == 200
    assert sum(wins) == 4


async def test_ten_thousand_waiting_sessions_are_rows(world: World, crm: Source):
    """
    Nothing runs for them; an event wakes exactly those that await it, each once.
    """
    count = 10_000 if world.store.__class__.__name__ == "SqliteStore" else 2_000
    template, epoch = await world.running()
    await world.journal.commit([world.call(template, epoch, "subscribe", source="crm", filter="data.n == 0")])
    await world.journal.commit([world.park(template, epoch)])

    def copy(tx):
        row = dict(
            tx.connection.execute(sa.select(tables.sessions).where(tables.sessions.c.id == template))
            .mappings()
            .one()
        )
        mine = dict(tx.connection.execute(sa.select(tables.subscriptions)).mappings().one())
        ids = [f"ses_{n:026d}" for n in range(count)]
        tx.connection.execute(
            sa.insert(tables.sessions), [{**row, "id": sid, "event_id": None} for sid in ids]
        )
        tx.connection.execute(
            sa.insert(tables.awaited), [{"session_id": sid, "topic": mine["id"]} for sid in ids]
        )
        tx.connection.execute(
            sa.insert(tables.subscriptions),
            [{**mine, "session_id": sid, "filter": f"data.n == {n % 100}"} for n, sid in enumerate(ids)],
        )
        return ids

    ids = await world.store.write(copy)
    threads = threading.active_count()
    with world.store.notices.subscribed("work") as notice:
        await crm.happens(n=7)
        while len(notice.ids) < count // 100:
            await notice.wait()
            notice.clear()
        woken = notice.take()

    assert woken == {sid for n, sid in enumerate(ids) if n % 100 == 7}
    assert threading.active_count() <= threads + 1
    assert (await world.sessions.counts())["waiting"] == count + 1
