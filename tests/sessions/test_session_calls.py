"""`sessions.calls`: what sessions ask of the database, exactly once."""

import asyncio
import json

import pytest
from factories import a_build, a_deployment, a_project
from world import AT, World, record

from ninelives_server.sessions.records import Acked, Answered, Refused
from ninelives_server.store import events, outcomes, sessions, tables, values

pytestmark = pytest.mark.store


async def ask(
    world: World, sid: str, epoch: int, name: str, at: tuple[str, int] | None = None, **args: object
):
    (answer,) = await world.journal.commit([world.call(sid, epoch, name, at, **args)])
    assert isinstance(answer, Answered), answer
    return answer.value if answer.error is None else answer.error


async def events_of(world: World, project_id: str):
    wanted = events.Wanted()
    return await world.store.read(
        lambda tx: events.of_project(tx, project_id, wanted=wanted, before=None, limit=10)
    )


async def test_values_are_set_read_and_deleted(world: World):
    """
    The store is the project's: what one session sets, another reads.
    """
    one, epoch = await world.running()
    other, other_epoch = await world.running()

    assert await ask(world, one, epoch, "store.get", key="k") is None
    assert await ask(world, one, epoch, "store.set", key="k", value={"n": [1, 2**80, None]}) is None
    assert await ask(world, other, other_epoch, "store.get", key="k") == {"n": [1, 2**80, None]}
    assert await ask(world, one, epoch, "store.list") == ["k"]
    assert await ask(world, one, epoch, "store.del", key="k") is True
    assert await ask(world, one, epoch, "store.del", key="k") is False
    assert await ask(world, one, epoch, "store.list") == []


async def test_values_are_sealed(world: World):
    """
    What a project stores is not in the database in plain text.
    """
    sid, epoch = await world.running()
    await ask(world, sid, epoch, "store.set", key="k", value="very private")

    found = await world.store.read(lambda tx: values.get(tx, world.project.id, "k"))

    assert found is not None
    assert b"private" not in found.sealed_value


async def test_a_number_is_added_to_what_is_there(world: World):
    """
    A missing value counts as nothing; the new value is the answer.
    """
    sid, epoch = await world.running()

    assert await ask(world, sid, epoch, "store.add", key="n", value=2) == 2
    assert await ask(world, sid, epoch, "store.add", key="n", value=40.5) == 42.5


async def test_check_and_set_compares_first(world: World):
    """
    A missing value compares as `None`, and 1 equals 1.0.
    """
    sid, epoch = await world.running()

    assert await ask(world, sid, epoch, "store.check_and_set", key="k", expected=None, value=1) is True
    assert await ask(world, sid, epoch, "store.check_and_set", key="k", expected=2, value=3) is False
    assert await ask(world, sid, epoch, "store.check_and_set", key="k", expected=1.0, value=3) is True
    assert await ask(world, sid, epoch, "store.get", key="k") == 3


async def test_a_call_with_a_key_happens_once(world: World):
    """
    Asked again after a crash, it is answered from its record: 5 was added once.
    """
    sid, epoch = await world.running()
    call = world.call(sid, epoch, "store.add", ("0", 0), key="n", value=5)

    first = await world.journal.commit([call])
    await world.journal.release(sid, epoch)
    again = await world.journal.commit([call._replace(epoch=await world.claim(sid))])

    assert first == again == [Answered(1, 5, None)]
    assert await ask(world, sid, 2, "store.get", key="n") == 5


async def test_another_call_at_the_same_key_is_refused(world: World):
    """
    The journal never changes its mind, here neither.
    """
    sid, epoch = await world.running()
    await world.journal.commit([world.call(sid, epoch, "store.get", ("0", 0), key="n")])

    answers = await world.journal.commit([world.call(sid, epoch, "store.list", ("0", 0))])

    assert answers == [Refused("different")]


async def test_a_failed_call_changes_nothing_and_is_recorded(world: World):
    """
    The error is part of the session's history: replay gets the same one.
    """
    sid, epoch = await world.running()
    call = world.call(sid, epoch, "store.publish", ("0", 0), key="missing")

    first = await world.journal.commit([call])

    assert await world.journal.commit([call]) == first
    (answer,) = first
    assert isinstance(answer, Answered)
    assert answer.error is not None
    assert answer.error["type"] == "KeyError"
    (step,) = await world.sessions.steps(world.actor, sid)
    assert (step.name, step.status, step.seq) == ("store.publish", "error", 1)


async def test_a_call_that_nobody_knows_is_told_to_user_code(world: World):
    """
    A newer SDK may ask for what this server cannot do yet.
    """
    sid, epoch = await world.running()

    error = await ask(world, sid, epoch, "store.dance")

    assert error["type"] == "NotImplementedError"


async def test_missing_arguments_and_bad_keys_are_told(world: World):
    """
    Errors name what is wrong with the call.
    """
    sid, epoch = await world.running()

    missing = await ask(world, sid, epoch, "store.set", key="k")
    empty = await ask(world, sid, epoch, "store.get", key="")
    large = await ask(world, sid, epoch, "store.set", key="k", value="x" * (8 << 20))

    assert missing == {"type": "TypeError", "message": "store.set: the argument 'value' is missing"}
    assert empty["type"] == "ValueError"
    assert "the store takes 8388608" in large["message"]


async def test_a_fenced_process_calls_nothing(world: World):
    """
    An older epoch changes no value.
    """
    sid, old = await world.running()
    await world.journal.release(sid, old)
    new = await world.claim(sid)

    answers = await world.journal.commit([world.call(sid, old, "store.set", None, key="k", value=1)])

    assert answers == [Refused("fenced")]
    assert await ask(world, sid, new, "store.get", key="k") is None


async def test_a_child_is_started_once(world: World):
    """
    Its id comes from the parent's key, and it inherits build and durability.
    """
    sid, epoch = await world.running()
    call = world.call(sid, epoch, "start", ("0", 3), loc="main.py:child", data={"n": 1}, memo={"a": "b"})

    with world.store.notices.subscribed("start") as notice:
        first = await world.journal.commit([call])
        await world.journal.commit([call])
        (answer,) = first
        assert isinstance(answer, Answered)
        async with asyncio.timeout(20):  # PostgreSQL tells when it comes to it, of the parent's start, too
            while answer.value not in notice.ids:
                await asyncio.sleep(0.01)
        started = notice.take()

    assert answer.error is None
    child = (await world.sessions.get(world.actor, answer.value)).session
    assert started - {sid} == {child.id}
    assert (child.parent_id, child.build_id, child.is_durable) == (sid, world.build.id, True)
    assert (child.entrypoint, dict(child.memo), child.created_by) == ("main.py:child", {"a": "b"}, sid)
    [event] = await events_of(world, world.project.id)
    assert (child.event_id, event.memo["parent_id"], event.created_at) == (event.id, sid, child.created_at)


async def test_a_name_with_a_nul_is_refused_and_stops_nobody(world: World):
    """
    Whatever a process sends: what the database refuses would fail the unit of all that came together.
    """
    sid, epoch = await world.running()

    errors = [
        await ask(world, sid, epoch, "store.set", ("0", 1), key="a\0", value=1),
        await ask(world, sid, epoch, "start", ("0", 2), loc="main.py:\0"),
        await ask(world, sid, epoch, "outcome", ("0", 3), value=1, event_id="evt_\0"),
        await ask(world, sid, epoch, "unsubscribe", ("0", 4), id="sub_\0"),
    ]

    assert [error["type"] for error in errors] == ["ValueError"] * 4
    assert all("has a NUL character" in error["message"] for error in errors)


async def test_a_child_has_no_event_to_answer(world: World):
    """
    Nobody waits for the event that it is: an outcome names the event of someone who does.
    """
    sid, epoch = await world.running()
    child = await ask(world, sid, epoch, "start", loc="main.py:child")
    await world.journal.claim("wrk_2", child)

    error = await ask(world, child, 1, "outcome", value={"status_code": 200})

    assert error["message"] == "there is no event to answer; pass event_id="
    wrong = await ask(world, child, 1, "outcome", ("0", 2), value=1, event_id="evt_nope")
    assert wrong["message"] == "the project has no event 'evt_nope' to answer"


async def test_a_child_of_another_project_runs_its_active_deployment(world: World):
    """
    Projects of one org may start each other's sessions; those of other orgs are not there.
    """
    other = await a_project(world.store, world.vault, world.actor, name="other")
    build = await a_build(world.store, other, entrypoints=("main.py:hello",))
    await a_deployment(world.store, build)
    foreign = await World.made(world.store, world.vault, name="foreign")
    sid, epoch = await world.running()

    made = await ask(world, sid, epoch, "start", ("0", 0), loc="main.py:hello", project="other")
    refused = await ask(world, sid, epoch, "start", loc="main.py:on_lead", project=foreign.project.id)

    assert (await world.sessions.get(world.actor, made)).session.project_id == other.id
    assert [event.event_type for event in await events_of(world, other.id)] == ["child"]
    assert await events_of(world, world.project.id) == []
    assert refused["message"] == f"there is no project '{foreign.project.id}' with an active deployment"


async def test_a_child_that_is_not_in_the_build_is_refused(world: World):
    """
    The error names what there is.
    """
    sid, epoch = await world.running()

    error = await ask(world, sid, epoch, "start", loc="main.py:nothing")

    assert "main.py:child, main.py:on_lead" in error["message"]


async def test_an_outcome_answers_the_event_that_started_the_session(world: World):
    """
    Whoever waits for the event is told, in order.
    """
    event_id = await an_event(world, "evt_00000000000000000000000001")
    sid, epoch = await world.running(event_id=event_id)

    with world.store.notices.subscribed("event", event_id) as notice:
        await ask(world, sid, epoch, "outcome", ("0", 0), value={"status_code": 200})
        await ask(world, sid, epoch, "outcome", ("0", 1), value={"more": True})
        assert notice.is_set()

    assert await outcomes_of(world, event_id) == [{"status_code": 200}, {"more": True}]
    assert await world.store.read(lambda tx: outcomes.of_event(tx, event_id, skip=2)) == []


@pytest.mark.parametrize("is_durable", [True, False])
async def test_a_header_that_http_cannot_carry_is_an_error_of_the_call(world: World, stage, is_durable):
    """
    Code is told where it stands; what it answers then is all that is sent. Any other outcome may hold anything.
    """
    source = r"""
        import ninelives

        def on_lead(event):
            try:
                ninelives.http_outcome(200, "x", headers={"Location": "/a\nX: y"})
            except ValueError as error:
                ninelives.http_outcome(500, str(error), headers={"X-Name": "Zoë"})
            ninelives.outcome({"headers": {"any thing": "\n"}})
        """
    event_id = await an_event(world, "evt_00000000000000000000000003")
    async with stage(source) as running:
        session = await world.session(event_id=event_id, is_durable=is_durable)
        ended = await running.ended(session.id)

    assert ended.error is None
    told = [outcome["body"] for outcome in await outcomes_of(world, event_id) if "body" in outcome]
    assert told == [
        r"http_outcome: the header 'Location' cannot have the value '/a\nX: y': '\n' is a control character"
    ]


async def outcomes_of(world: World, event_id: str):
    """Return what an event came to, opened."""
    found = await world.store.read(lambda tx: outcomes.of_event(tx, event_id))
    context = outcomes.context
    opens = [
        lambda tx, o=o: world.vault.open(tx, world.project.id, context(o.id), o.sealed_value) for o in found
    ]
    return [json.loads(await world.store.read(opened)) for opened in opens]


async def test_an_outcome_of_a_foreign_event_is_refused(world: World):
    """
    A session answers events of its own project only.
    """
    foreign = await World.made(world.store, world.vault, name="foreign")
    event_id = await an_event(foreign, "evt_00000000000000000000000002")
    sid, epoch = await world.running()

    error = await ask(world, sid, epoch, "outcome", event_id=event_id, value=1)

    assert error["type"] == "ValueError"


async def test_calls_and_records_share_one_order(world: World):
    """
    A call takes its `seq` like any record.
    """
    sid, epoch = await world.running()

    answers = await world.journal.commit(
        [
            world.put(sid, epoch, record(0)),
            world.call(sid, epoch, "store.get", ("0", 1), key="k"),
            world.call(sid, epoch, "store.get", None, key="k"),
            world.put(sid, epoch, record(2)),
        ]
    )

    assert answers == [Acked(1), Answered(2, None, None), Answered(None, None, None), Acked(3)]


async def an_event(world: World, event_id: str) -> str:
    row = {
        "id": event_id,
        "org_id": world.project.org_id,
        "project_id": world.project.id,
        "source_key": event_id,
        "event_type": "post",
        "sealed_data": b"",
        "memo": {},
        "dispatch": [],
        "created_at": AT,
        "created_by": "system",
    }
    await world.store.write(lambda tx: tx.connection.execute(tables.events.insert(), row) and None)
    return event_id


async def test_the_entry_points_of_a_build_are_known(world: World):
    """
    `start` and its errors read them from the build.
    """
    found = await world.store.read(lambda tx: sessions.entrypoints(tx, world.build.id))

    assert found == ["main.py:on_lead", "main.py:child"]
