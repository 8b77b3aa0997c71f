"""
Events, signals, children and restarts: real session processes on the real journal, on both databases.
"""

import asyncio

import pytest
import sqlalchemy as sa
from factories import a_connection, a_trigger
from world import World

from ninelives_server.events.filters import Filters
from ninelives_server.events.ingest import Ingest
from ninelives_server.model.events import NewEvent
from ninelives_server.sessions.mail import send
from ninelives_server.store import tables

pytestmark = pytest.mark.timeout(300)


class Nobody:
    """Dispatches nothing: what an event starts is not what these tests are about."""

    def soon(self, event_ids) -> None:
        pass


class Source:
    """Something that events come from."""

    def __init__(self, world: World, **of: object) -> None:
        self._world = world
        self._of = of
        self._count = 0
        self._ingest = Ingest(store=world.store, vault=world.vault, filters=Filters(), dispatcher=Nobody())

    async def happens(self, *, type: str = "lead", **data: object) -> str:  # noqa: A002
        self._count += 1
        new = NewEvent(
            project_id=self._world.project.id,
            source_key=f"{self._of}:{self._count}",
            event_type=type,
            data=data,
            **self._of,
        )
        return (await self._ingest.record([new]))[0][0]


@pytest.fixture
async def crm(world: World) -> Source:
    """The connection `crm`."""
    connection = await a_connection(world.store, world.project, name="crm")
    return Source(world, connection_id=connection.id)


@pytest.fixture
async def hook(world: World) -> Source:
    """The webhook trigger `hook`, without a call."""
    trigger = await a_trigger(world.store, world.project, name="hook", call="")
    return Source(world, trigger_id=trigger.id)


LISTEN = """
    import ninelives

    def on_lead(event):
        sub = ninelives.subscribe("crm", "data.n > 0")
        print("listening")
        first = ninelives.next_event(sub, full=True)
        second = ninelives.next_event([sub])
        ninelives.unsubscribe(sub)
        print(first.data.n, first.event_type, second["n"])
        return [first.data.n, second.n]
"""


async def listening(stage, session_id: str) -> None:
    await stage.until(session_id, lambda found: found.session.state == "waiting")


async def test_a_session_gets_the_events_of_its_subscription_in_order(world: World, crm: Source, stage):
    """
    Only those after it, only those that pass its filter, each once, and with its data.
    """
    async with stage(LISTEN) as running:
        await crm.happens(n=7)
        session = await world.session()
        await listening(running, session.id)
        for n in (-1, 1, 2, 3):
            await crm.happens(n=n)

        ended = await running.ended(session.id)

    assert ended.result == [1, 2]
    assert await running.prints(session.id) == "listening\n1 lead 2\n"
    assert await running.steps(session.id) == [
        ("0", "subscribe", "ok"),
        ("0", "next_event", "ok"),
        ("0", "next_event", "ok"),
        ("0", "unsubscribe", "ok"),
    ]


EVERYTHING = """
    import ninelives

    def on_lead(event):
        a, b = ninelives.subscribe("crm"), ninelives.subscribe("hook", 'event_type != "get"')
        print("listening")
        got = [ninelives.next_event([a, b])["n"] for _ in range(3)]
        got.append(ninelives.next_event(b, timeout=0.05))
        print(got)
        child = ninelives.start("main.py:child", {"parent": event.session_id, "n": 5})
        ninelives.signal(event.session_id, "note", {"to": "self"})
        note = ninelives.next_signal(["nobody", "note"])
        first = ninelives.next_signal("hello")
        ninelives.signal(child, "go")
        done = ninelives.next_signal([child])
        print(note.name, note.payload.to, first.payload, done.payload)
        return [got, ninelives.add_value("count", 1), ninelives.next_signal(child, timeout=0)]

    def child(event):
        ninelives.signal(event.data.parent, "hello", [event.data.n])
        ninelives.next_signal("go")
        return event.data.n * 2
"""


async def play_everything(world: World, running, crm: Source, hook: Source):
    """Run the program above to its end, and return its session with what it came to."""
    session = await world.session()
    await listening(running, session.id)
    await crm.happens(n=1)
    await hook.happens(type="post", n=2)
    await hook.happens(type="get", n=0)
    await crm.happens(n=3)
    return session, await running.ended(session.id)


async def test_whatever_crashes_each_delivery_happens_once(world: World, crm: Source, hook: Source, stage):
    """
    Parent and child are killed after each of their commits in turn; every run comes to the same.
    """
    async with stage(EVERYTHING) as running:
        session, whole = await play_everything(world, running, crm, hook)
        prints, steps = await running.prints(session.id), await running.steps(session.id)
        assert whole.result == [[1, 3, 2, None] if whole.result[0][1] == 3 else [1, 2, 3, None], 1, None]
        commits = max(running.commits.values())
        runs = 1
        for count in range(1, commits + 1):
            running.kill_all_after = count
            session, ended = await play_everything(world, running, crm, hook)
            runs += 1
            assert sorted(ended.result[0][:3]) == [1, 2, 3], (count, ended, await running.steps(session.id))
            assert ended.result[1:] == [runs, None], (count, ended)
            again, names = await running.prints(session.id), await running.steps(session.id)
            assert len(again.splitlines()) == len(prints.splitlines()), (count, again)
            assert sorted(names) == sorted(steps), count
        assert running.kills > commits

    everybody = (await world.sessions.list(world.actor, limit=500)).items
    assert len(everybody) == 2 * runs
    assert {found.state for found in everybody} == {"completed"}


async def test_a_parked_session_has_no_process_and_goes_on_with_its_event(world: World, crm: Source, stage):
    """
    A wait of unknown length is made in place for a while; then only rows are left, until the event comes.
    """
    async with stage(LISTEN) as running:
        running.park_after = 0.1
        session = await world.session()
        await running.parked(session.id)
        await crm.happens(n=1)
        await running.until(session.id, lambda found: running.processes[session.id] == 2)
        await running.parked(session.id)
        await crm.happens(n=2)
        ended = await running.ended(session.id)

    assert ended.result == [1, 2]
    assert await running.prints(session.id) == "listening\n1 lead 2\n"


async def test_mail_that_nobody_waits_for_leaves_a_parked_session_alone(
    world: World, crm: Source, hook: Source, stage
):
    """
    What is not awaited stays in the inbox, and does not keep a process alive.
    """
    program = """
        import ninelives

        def on_lead(event):
            a, b = ninelives.subscribe("crm"), ninelives.subscribe("hook")
            return [ninelives.next_event(a).n, ninelives.next_event(b).n, ninelives.next_signal("x").payload]
    """
    async with stage(program) as running:
        running.park_after = 0.1
        session = await world.session()
        await running.parked(session.id)
        before = running.processes[session.id]
        await hook.happens(n=2)
        await world.store.write(lambda tx: send(tx, world.vault, session, "x", None))
        running.wake(session.id)
        found = await running.parked(session.id)
        assert running.processes[session.id] == before, found
        await crm.happens(n=1)
        ended = await running.ended(session.id)

    assert ended.result == [1, 2, None]
    assert running.processes[session.id] == before + 1


async def test_time_is_over_in_place_and_parked(world: World, crm: Source, stage):
    """
    `None` comes at the deadline, which a later process keeps; zero looks and returns at once.
    """
    program = """
        import time
        from datetime import timedelta
        import ninelives

        def on_lead(event):
            sub = ninelives.subscribe("crm")
            found = [ninelives.next_event(sub, timeout=0), ninelives.next_signal("x", timeout=0)]
            before = time.time()
            found.append(ninelives.next_event(sub, timeout=timedelta(seconds=0.1)))
            found.append(ninelives.next_signal("x", timeout=1.5))
            return found, time.time() - before >= 1.5
    """
    async with stage(program) as running:
        running.park_after = 0.5
        session = await world.session()
        ended = await running.ended(session.id)

    assert ended.result == [[None] * 4, True]
    assert running.processes[session.id] == 2
    steps = await running.steps(session.id)
    assert [status for _, name, status in steps if name.startswith("next")] == ["fired"] * 4


async def test_a_stop_ends_a_parked_wait_at_its_place(world: World, crm: Source, stage):
    """
    The session is started for it, `Stopped` is raised where it waits, and cleaning up is recorded.
    """
    program = """
        import ninelives

        def on_lead(event):
            sub = ninelives.subscribe("crm")
            try:
                ninelives.next_event(sub)
            except ninelives.Stopped:
                print("stopped")
                ninelives.set_value("state", "cleaned")
                raise
    """
    async with stage(program) as running:
        running.park_after = 0.1
        session = await world.session()
        await running.parked(session.id)
        await world.sessions.stop(world.actor, session.id)
        ended = await running.ended(session.id)

    assert ended.session.state == "stopped"
    assert await running.prints(session.id) == "stopped\n"
    assert sorted((name, status) for _, name, status in await running.steps(session.id)) == [
        ("next_event", "cancelled"),
        ("ninelives.Stopped", "fired"),
        ("store.set", "ok"),
        ("subscribe", "ok"),
    ]


async def test_ends_of_children_are_signals_that_are_read_once(world: World, stage):
    """
    A child that fails says so; where several are awaited the first to end comes first.
    """
    program = """
        import ninelives

        def on_lead(event):
            slow, bad = ninelives.start("main.py:child", {"slow": 1}), ninelives.start("main.py:child")
            first = ninelives.next_signal([slow, bad])
            again = ninelives.next_signal(bad, timeout=0)
            ninelives.signal(slow, "go", {"with": 7})
            second = ninelives.next_signal([slow, bad])
            return [first.name == bad, first.payload, again, second.name == slow, second.payload]

        def child(event):
            if "slow" in event.data:
                return ninelives.next_signal("go").payload["with"]
            1 / 0
    """
    async with stage(program) as running:
        session = await world.session()
        ended = await running.ended(session.id)

    assert ended.result == [True, {"completed": False}, None, True, {"completed": True, "value": 7}]


async def test_sessions_that_are_not_durable_wait_too(world: World, crm: Source, stage):
    """
    In place, in the main thread, in others and in coroutines; the session is shown as waiting.
    """
    program = """
        import asyncio, threading
        import ninelives

        def on_lead(event):
            sub = ninelives.subscribe("crm")
            found = [ninelives.next_event(sub).n]
            thread = threading.Thread(target=lambda: found.append(ninelives.next_event(sub).n))
            thread.start(); thread.join()
            ninelives.signal(event.session_id, "note", 4)
            found.append(asyncio.run(wait(sub)))
            return found + [ninelives.next_signal("note").payload, ninelives.next_event(sub, timeout=0.1)]

        async def wait(sub):
            return (await ninelives.next_event_async(sub, full=True)).data.n
    """
    async with stage(program) as running:
        session = await world.session(is_durable=False)
        for n in (1, 2, 3):
            await listening(running, session.id)
            await crm.happens(n=n)
        ended = await running.ended(session.id)

    assert ended.result == [1, 2, 3, 4, None]
    assert await running.steps(session.id) == []


async def test_steps_threads_and_tasks_wait_side_by_side(world: World, crm: Source, hook: Source, stage):
    """
    Inside a step a wait is made in place and is part of the step; strands wait each for itself.
    """
    program = """
        import asyncio, threading
        import ninelives

        @ninelives.step
        def in_step(sub):
            return ninelives.next_event(sub).n

        def on_lead(event):
            a, b = ninelives.subscribe("crm"), ninelives.subscribe("hook")
            found = [in_step(a)]
            thread = threading.Thread(target=lambda: found.append(ninelives.next_event(b).n))
            thread.start()
            found.append(ninelives.next_event(a).n)
            ninelives.signal(event.session_id, "on")
            thread.join()
            return sorted(found) + asyncio.run(both(a, b))

        async def both(a, b):
            ninelives.signal(ninelives.host.running().session_id, "async")
            return await asyncio.gather(ninelives.next_event_async(a), ninelives.next_event_async(b))
    """
    async with stage(program) as running:
        session = await world.session()
        await running.until_steps(session.id, 2)
        await crm.happens(n=1)
        await running.until_steps(session.id, 5)
        await crm.happens(n=2)
        await hook.happens(n=3)
        await running.until_steps(session.id, 8)
        await hook.happens(n=5)
        await crm.happens(n=4)
        ended = await running.ended(session.id)

    assert ended.result == [1, 2, 3, {"n": 4}, {"n": 5}]


async def test_a_fork_has_subscriptions_of_its_own(world: World, crm: Source, stage):
    """
    Made anew under the same id: the next event comes to both sessions, and each takes its own. What had come
    before the step is a record, and is not fetched again; what was ended before it is not made.
    """
    async with stage(LISTEN) as running:
        session = await world.session()
        await listening(running, session.id)
        await crm.happens(n=1)
        async with asyncio.timeout(20):
            while not (at := await _after(world, session.id, "next_event")):
                await asyncio.sleep(0.05)
        fork = (await world.sessions.fork(world.actor, session.id, from_step=at)).session
        await listening(running, fork.id)
        await crm.happens(n=2)
        ended = [await running.ended(each) for each in (session.id, fork.id)]
        at = await _after(world, session.id, "unsubscribe")
        late = (await world.sessions.fork(world.actor, session.id, from_step=at)).session
        query = sa.select(tables.subscriptions.c.id).where(tables.subscriptions.c.session_id == late.id)
        left = await world.store.read(lambda tx: tx.connection.execute(query).all())

    assert [each.result for each in ended] == [[1, 2], [1, 2]]
    assert left == []


async def _after(world: World, session_id: str, name: str) -> int:
    """Return the place behind the first finished step of this name; 0 where there is none yet."""
    steps = await world.sessions.steps(world.actor, session_id)
    return next((s.seq + 1 for s in steps if s.name == name and s.status == "ok"), 0)
