"""Rows of streams: leases, fences, cursors, and who may hear what."""

import asyncio
from datetime import timedelta

import pytest
from factories import a_build, a_connection, a_deployment, a_person, a_project, a_trigger

from ninelives_server.model.connections import ConnectionState
from ninelives_server.model.projects import DeploymentState
from ninelives_server.model.triggers import TriggerType
from ninelives_server.store import builds, streams
from ninelives_server.store.streams import CursorSave, LeaseLost, StreamKey

HALF_A_MINUTE = timedelta(seconds=30)
PAST = timedelta(seconds=-1)


def a_key(org_id: str, **changes: str) -> StreamKey:
    values = {"integration": "salesforce", "account_key": "00D:005", "topic": "/data/LeadChangeEvent"}
    return StreamKey(org_id=org_id, **{**values, **changes})


@pytest.fixture
async def org_id(database, vault):
    await database.write(vault.start)
    return (await a_person(database)).org_id


@pytest.fixture
async def stream(database, org_id):
    return await database.write(lambda tx: streams.ensure(tx, a_key(org_id)))


async def leased(database, stream, owner="a", ttl=HALF_A_MINUTE):
    return await database.write(lambda tx: streams.lease(tx, stream.id, owner, ttl))


async def test_a_stream_is_made_once(database, org_id):
    """
    One row for each org, integration, account and topic.
    """
    first = await database.write(lambda tx: streams.ensure(tx, a_key(org_id)))
    again = await database.write(lambda tx: streams.ensure(tx, a_key(org_id)))
    other = await database.write(lambda tx: streams.ensure(tx, a_key(org_id, topic="/data/ChangeEvents")))

    assert first == again
    assert other.id != first.id
    assert (first.state, first.cursor, first.fence) == ("starting", None, 0)


async def test_of_many_that_want_the_lease_one_gets_it(database, stream):
    """
    Two servers must not read one stream.
    """
    got = await asyncio.gather(*(leased(database, stream, owner=f"s{i}") for i in range(8)))

    assert [s.fence for s in got if s is not None] == [1]


async def test_a_lease_that_ran_out_is_taken_and_raises_the_fence(database, stream):
    """
    A dead server's stream is read by another one.
    """
    await leased(database, stream, ttl=PAST)

    taken = await leased(database, stream, owner="b")

    assert taken is not None
    assert taken.fence == 2


async def test_a_released_lease_is_free_at_once(database, stream):
    """
    A server that stops in order hands over without a pause.
    """
    first = await leased(database, stream)

    await database.write(lambda tx: streams.release(tx, stream.id, first.fence))

    assert await leased(database, stream, owner="b") is not None


async def test_only_who_holds_a_lease_can_lengthen_it(database, stream):
    """
    After a take-over the former reader hears that it holds nothing.
    """
    await leased(database, stream, owner="a", ttl=PAST)
    newer = await leased(database, stream, owner="b")

    old = await database.write(lambda tx: streams.renew(tx, {stream.id: 1}, "a", HALF_A_MINUTE))
    new = await database.write(lambda tx: streams.renew(tx, {stream.id: newer.fence}, "b", HALF_A_MINUTE))

    assert (old, new) == (set(), {stream.id})


@pytest.mark.parametrize(
    "write",
    [
        lambda tx, s: streams.save_cursor(tx, CursorSave(stream_id=s.id, fence=1, cursor=b"x", events=1)),
        lambda tx, s: streams.set_state(tx, s.id, 1, "listening"),
        lambda tx, s: streams.add_gap(tx, s.id, 1, {"from": "", "to": "", "reason": "x"}),
        lambda tx, s: streams.forget_cursor(tx, s.id, 1),
    ],
    ids=["cursor", "state", "gap", "forget"],
)
async def test_whoever_writes_with_an_old_fence_changes_nothing(database, stream, write):
    """
    Every write of a reader is fenced.
    """
    await leased(database, stream, owner="a", ttl=PAST)
    newer = await leased(database, stream, owner="b")

    with pytest.raises(LeaseLost):
        await database.write(lambda tx: write(tx, stream))

    assert await database.read(lambda tx: streams.by_id(tx, stream.id)) == newer


async def test_listening_since_is_when_it_began_without_a_break(database, stream):
    """
    Saying `listening` again does not move it; a failure ends it.
    """
    held = await leased(database, stream)

    async def state(name):
        await database.write(lambda tx: streams.set_state(tx, stream.id, held.fence, name))
        return (await database.read(lambda tx: streams.by_id(tx, stream.id))).listening_since

    first, again, broken, later = [await state(s) for s in ("listening", "listening", "failing", "listening")]

    assert first is not None
    assert again == first
    assert broken is None
    assert later > first


async def test_a_stream_that_was_listening_is_paused_when_its_reader_leaves(database, stream):
    """
    A page never says `listening` of a stream that nobody reads.
    """
    held = await leased(database, stream)
    await database.write(lambda tx: streams.set_state(tx, stream.id, held.fence, "listening"))

    await database.write(lambda tx: streams.release(tx, stream.id, held.fence))

    left = await database.read(lambda tx: streams.by_id(tx, stream.id))
    assert (left.state, left.listening_since) == ("paused", None)


async def test_only_the_newest_gaps_are_kept(database, stream):
    """
    A row does not grow for ever.
    """
    held = await leased(database, stream)

    for number in range(streams.GAPS_KEPT + 3):
        gap = {"from": "", "to": "", "reason": str(number)}
        await database.write(lambda tx, gap=gap: streams.add_gap(tx, stream.id, held.fence, gap))

    found = await database.read(lambda tx: streams.by_id(tx, stream.id))
    assert [gap["reason"] for gap in found.gaps] == [str(n) for n in range(3, streams.GAPS_KEPT + 3)]


async def test_streams_that_nobody_wants_rest(database, org_id, stream):
    """
    Wanted ones, ones that are read, and ones whose account is to be put right are left alone.
    """
    wanted, read, waiting = [
        await database.write(lambda tx, key=key: streams.ensure(tx, key))
        for key in (
            a_key(org_id, topic="/wanted"),
            a_key(org_id, topic="/read"),
            a_key(org_id, account_key="00D2:005"),
        )
    ]
    await leased(database, read)

    await database.write(
        lambda tx: streams.rest(tx, {a_key(org_id, topic="/wanted")}, {(org_id, "salesforce", "00D2:005")})
    )

    def states(tx):
        return [streams.by_id(tx, s.id).state for s in (stream, wanted, read, waiting)]

    assert await database.read(states) == ["idle", "starting", "starting", "starting"]


async def test_a_note_does_not_touch_a_stream_that_is_read(database, org_id, stream):
    """
    Who holds the lease knows better.
    """
    await database.write(lambda tx: streams.note(tx, a_key(org_id), "refused", "no such object"))
    noted = await database.read(lambda tx: streams.by_id(tx, stream.id))
    await leased(database, stream)
    await database.write(lambda tx: streams.note(tx, a_key(org_id), "refused", "something else"))

    after = await database.read(lambda tx: streams.by_id(tx, stream.id))
    assert (noted.state, noted.reason) == ("refused", "no such object")
    assert after.reason == "no such object"


async def a_listening_project(database, vault, actor, name, *, account_key="00D:005", **changes):
    project = await a_project(database, vault, actor, name=name)
    deployment = await a_deployment(database, await a_build(database, project))
    connection = await a_connection(
        database, project, state=ConnectionState.OK, account_key=account_key, **changes
    )
    trigger = await a_trigger(
        database, project, type=TriggerType.CONNECTION, connection_id=connection.id, event_type="lead"
    )
    return project, deployment, connection, trigger


async def test_only_deployed_projects_of_exactly_that_account_and_org_are_entitled(database, vault, org_id):
    """
    What one account's stream delivers reaches nobody else: not another account, integration or org.
    """
    ada = await a_person(database, name="ada2", org_id=org_id)
    eve = await a_person(database, org="evil", name="eve")
    mine = await a_listening_project(database, vault, ada, "mine")
    also_mine = await a_listening_project(database, vault, ada, "also_mine")
    await a_listening_project(database, vault, ada, "other_account", account_key="00D:006")
    await a_listening_project(database, vault, ada, "other_service", integration="slack")
    await a_listening_project(database, vault, eve, "other_org")
    off = await a_listening_project(database, vault, ada, "off")
    await database.write(lambda tx: builds.set_deployment_state(tx, off[1].id, DeploymentState.INACTIVE))

    found = await database.read(lambda tx: streams.wishes(tx, a_key(org_id)))

    assert [(w.project_id, w.connection_id) for w in found] == [
        (mine[0].id, mine[2].id),
        (also_mine[0].id, also_mine[2].id),
    ]


async def test_a_trigger_on_another_project_s_connection_is_entitled_to_nothing(database, vault, org_id):
    """
    A trigger that names a connection of another project, or of another org, hears nothing through it.
    """
    ada = await a_person(database, name="ada2", org_id=org_id)
    eve = await a_person(database, org="evil", name="eve")
    _, _, connection, _ = await a_listening_project(database, vault, ada, "mine")
    for actor, name in ((ada, "thief"), (eve, "spy")):
        project = await a_project(database, vault, actor, name=name)
        await a_deployment(database, await a_build(database, project))
        await a_trigger(database, project, type=TriggerType.CONNECTION, connection_id=connection.id)

    found = await database.read(streams.wishes)

    assert len(found) == 1


async def test_a_connection_that_was_never_authorised_wants_nothing(database, vault, org_id):
    """
    Without an account there is nothing to listen to.
    """
    ada = await a_person(database, name="ada2", org_id=org_id)
    await a_listening_project(database, vault, ada, "mine", account_key=None)

    assert await database.read(streams.wishes) == []
