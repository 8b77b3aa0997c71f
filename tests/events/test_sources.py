"""From a change in a Salesforce org to a session row: readers, leases, fan-out, and what people are shown."""

import asyncio
import base64
import contextlib
from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from event_world import World
from factories import a_person
from stream_world import FAST, StreamWorld, a_lead, eventually, running

from ninelives_server.errors import NotFound
from ninelives_server.events.reader import RESUME_WITHIN
from ninelives_server.integrations.http import Outbound
from ninelives_server.integrations.registry import Registry
from ninelives_server.model.connections import ConnectionState
from ninelives_server.model.projects import DeploymentState
from ninelives_server.store import builds, connections, events, streams, tables, triggers
from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce

LEADS = "/data/LeadChangeEvent"


@pytest.fixture
def org() -> Iterator[FakeSalesforce]:
    """A new org with Lead selected for Change Data Capture."""
    with FakeSalesforce.start(callbacks=["http://localhost:9980/x"]) as org:
        org.control.select_entities(entities=["Lead"])
        yield org


@pytest.fixture
async def here(sqlite, vault, org) -> StreamWorld:
    """A server's database and one org."""
    await sqlite.write(vault.start)
    return StreamWorld(World(sqlite, vault, Registry.load()), [org])


async def test_a_change_becomes_a_session_within_a_second(here, org):
    """
    The whole way: stream, ingest, dispatch, session row; and the status shows that it listens.
    """
    shop = await here.world.shop()
    trigger = await here.listen(shop, await here.connect(shop, org))

    async with running(here.server(), here.world.dispatcher):
        before = await here.until_state(shop, trigger, "listening")
        clock = asyncio.get_running_loop().time()
        lead = a_lead(org)
        [session] = await here.until_sessions(shop, 1)
        seconds = asyncio.get_running_loop().time() - clock
        after = await here.status(shop, trigger)

    [event] = await here.world.all_events(shop.project.id)
    data = (await here.world.events.get(shop.actor, event.id)).data
    assert seconds < 1.0, f"it took {seconds:.2f} s"
    assert (session.trigger_id, session.event_id, session.record_id) == (trigger.id, event.id, lead)
    assert (event.event_type, data["Company"]) == ("lead", "Acme")
    assert before.listening.topic == LEADS
    assert before.listening.since is not None
    assert before.listening.last_event is None
    assert after.listening.last_event is not None
    assert (after.last_error, after.listening.reason) == ("", "")


async def test_the_filter_sees_the_change(here, org):
    """
    What AutoKitteh's projects write: the entity as event type, the kind of change in the filter.
    """
    shop = await here.world.shop()
    connection = await here.connect(shop, org)
    trigger = await here.listen(shop, connection, filter='data.ChangeEventHeader.changeType == "UPDATE"')

    async with running(here.server(), here.world.dispatcher):
        await here.until_state(shop, trigger, "listening")
        lead = a_lead(org)
        org.control.update_record(entity="Lead", record_id=lead, fields={"Status": "Working - Contacted"})
        [session] = await here.until_sessions(shop, 1)

    data = (await here.world.events.get(shop.actor, session.event_id)).data
    assert data["ChangeEventHeader"]["changedFields"] == ["Status", "LastModifiedDate"]


async def test_an_entity_that_is_not_selected_is_shown_and_heals_by_itself(here, org):
    """
    The trigger says exactly what to do in Setup; once that is done it works, without a restart.
    """
    org.control.select_entities(entities=[])
    shop = await here.world.shop()
    trigger = await here.listen(shop, await here.connect(shop, org))

    async with running(here.server(), here.world.dispatcher):
        blocked = await here.until_state(shop, trigger, "refused")
        org.control.select_entities(entities=["Lead"])
        await here.until_state(shop, trigger, "listening")
        a_lead(org)
        await here.until_sessions(shop, 1)

    assert blocked.listening.reason == "Lead is not selected in Setup > Change Data Capture"
    assert blocked.last_error == "Lead is not selected in Setup > Change Data Capture"


async def test_a_topic_that_an_unselected_entity_does_not_have_heals_too(here, org):
    """
    Whether the topic of an entity that is not selected exists is not documented: both must work.
    """
    org.control.set_behaviour(unselected_topic="not_found")
    org.control.select_entities(entities=["Account"])
    shop = await here.world.shop()
    trigger = await here.listen(shop, await here.connect(shop, org))

    async with running(here.server(), here.world.dispatcher):
        await here.until_state(shop, trigger, "refused")

        async def named():
            reason = (await here.status(shop, trigger)).last_error
            return reason if reason.startswith("Lead is not selected") else None

        await eventually(named, "the reason to be named")
        org.control.select_entities(entities=["Account", "Lead"])
        await here.until_state(shop, trigger, "listening")
        a_lead(org)
        await here.until_sessions(shop, 1)


async def test_an_event_type_that_the_org_does_not_know_is_shown(here, org):
    """
    A typing error in a manifest must not look like a quiet org.
    """
    shop = await here.world.shop()
    trigger = await here.listen(shop, await here.connect(shop, org), event_type="lad")

    async with running(here.server()):
        status = await here.until_state(shop, trigger, "refused")

    assert "no object whose name in lower case is 'lad'" in status.last_error


async def test_the_place_is_kept_while_the_server_is_down(here, org):
    """
    What happens between two runs of the server is delivered, once each, in order.
    """
    shop = await here.world.shop()
    trigger = await here.listen(shop, await here.connect(shop, org))
    async with running(here.server(), here.world.dispatcher):
        await here.until_state(shop, trigger, "listening")
        a_lead(org, "One")
        await here.until_sessions(shop, 1)
    for name in ("Two", "Three", "Four"):
        a_lead(org, name)

    async with running(here.server(), here.world.dispatcher):
        await here.until_sessions(shop, 4)

    found = await here.world.all_events(shop.project.id)
    names = [(await here.world.events.get(shop.actor, e.id)).data["Name"]["LastName"] for e in found]
    assert names == ["One", "Two", "Three", "Four"]
    assert len(await here.until_sessions(shop, 4)) == 4


async def test_a_first_activation_begins_now(here, org):
    """
    Old records do not flood a new trigger.
    """
    a_lead(org, "Old")
    shop = await here.world.shop()
    trigger = await here.listen(shop, await here.connect(shop, org))

    async with running(here.server(), here.world.dispatcher):
        await here.until_state(shop, trigger, "listening")
        a_lead(org, "New")
        await here.until_sessions(shop, 1)

    assert len(await here.world.all_events(shop.project.id)) == 1


async def test_a_project_that_was_switched_off_for_long_is_not_flooded(here, org):
    """
    Who switches a project off does not want to hear later what happened meanwhile; a short break loses nothing.
    """
    shop = await here.world.shop()
    trigger = await here.listen(shop, await here.connect(shop, org))
    async with running(here.server(), here.world.dispatcher):
        await here.until_state(shop, trigger, "listening")
        a_lead(org, "First")
        await here.until_sessions(shop, 1)
    a_lead(org, "Meanwhile")

    def rest(tx):
        old = tx.now - RESUME_WITHIN - timedelta(seconds=1)
        tx.connection.execute(sa.update(tables.streams).values(state="idle", cursor_at=old))

    await here.world.store.write(rest)

    async with running(here.server(), here.world.dispatcher):
        await here.until_state(shop, trigger, "listening")
        a_lead(org, "Later")
        await here.until_sessions(shop, 2)

    found = await here.world.all_events(shop.project.id)
    names = [(await here.world.events.get(shop.actor, e.id)).data["Name"]["LastName"] for e in found]
    assert names == ["First", "Later"]


@pytest.mark.parametrize("status", ["UNAVAILABLE", "INTERNAL", "CANCELLED"])
async def test_a_stream_that_breaks_comes_back_and_loses_nothing(here, org, status):
    """
    Dropped five times with events in between: every event arrives once.
    """
    shop = await here.world.shop()
    trigger = await here.listen(shop, await here.connect(shop, org))

    async with running(here.server(), here.world.dispatcher):
        await here.until_state(shop, trigger, "listening")
        for number in range(5):
            a_lead(org, f"L{number}")
            await here.until_sessions(shop, number + 1)
            org.control.drop_streams(status=status)
        a_lead(org, "last")
        await here.until_sessions(shop, 6)

    assert len(await here.world.all_events(shop.project.id)) == 6


async def test_a_position_that_became_useless_is_recorded_as_a_gap(here, org):
    """
    Shown with from, to and reason; the stream goes on.
    """
    shop = await here.world.shop()
    connection = await here.connect(shop, org)
    trigger = await here.listen(shop, connection)
    async with running(here.server(), here.world.dispatcher):
        await here.until_state(shop, trigger, "listening")
        a_lead(org)
        await here.until_sessions(shop, 1)
    org.control.corrupt_replay()

    async with running(here.server(), here.world.dispatcher):
        await here.until_state(shop, trigger, "listening")
        a_lead(org)
        await here.until_sessions(shop, 2)

    [stream] = await here.world.store.read(
        lambda tx: streams.of_account(tx, connection.org_id, "salesforce", connection.account_key)
    )
    [gap] = stream.gaps
    assert gap["reason"].startswith(f"Salesforce cannot resume {LEADS}")
    assert gap["from"] < gap["to"]


async def test_a_stream_that_broke_before_it_had_a_position_is_a_gap(here, org):
    """
    Until the first event or sign of life there is nothing to resume from: what is lost is said.
    """
    shop = await here.world.shop()
    connection = await here.connect(shop, org)
    trigger = await here.listen(shop, connection)

    async with running(here.server(), here.world.dispatcher):
        await here.until_state(shop, trigger, "listening")
        org.control.drop_streams()

        async def gaps():
            [stream] = await here.world.store.read(
                lambda tx: streams.of_account(tx, connection.org_id, "salesforce", connection.account_key)
            )
            return stream.gaps or None

        [gap] = await eventually(gaps, "the gap")

    assert "before there was a position" in gap["reason"]


async def test_a_revoked_token_is_renewed_without_a_break(here, org):
    """
    Expiry or revocation of a token is no event that anybody has to see.
    """
    shop = await here.world.shop()
    trigger = await here.listen(shop, await here.connect(shop, org))

    async with running(here.server(), here.world.dispatcher):
        await here.until_state(shop, trigger, "listening")
        a_lead(org)
        await here.until_sessions(shop, 1)
        org.control.revoke_grants()
        a_lead(org)
        await here.until_sessions(shop, 2)


async def test_a_connection_that_must_be_authorised_again_is_shown_and_resumes(here, org):
    """
    While nobody may read, the place is kept; after the reconnect the events of meanwhile arrive.
    """
    shop = await here.world.shop()
    connection = await here.connect(shop, org)
    trigger = await here.listen(shop, connection)
    store = here.world.store

    async def set_state(state, reason=""):
        await store.write(lambda tx: connections.set_state(tx, connection.id, state, reason=reason))

    async with running(here.server(), here.world.dispatcher):
        await here.until_state(shop, trigger, "listening")
        a_lead(org)
        await here.until_sessions(shop, 1)
        await set_state(ConnectionState.NEEDS_REAUTH, "authorise again")
        assert await asyncio.to_thread(org.control.wait_streams, count=0, seconds=30)
        status = await here.until_state(shop, trigger, "not_connected")
        a_lead(org)
        await set_state(ConnectionState.OK)
        await here.until_sessions(shop, 2)

    assert "connection 'crm' is needs_reauth: authorise again" in status.listening.reason


async def test_a_project_out_of_service_is_not_listened_for(here, org):
    """
    No stream is open for a project that is not deployed; a new deployment opens it at once.
    """
    shop = await here.world.shop()
    trigger = await here.listen(shop, await here.connect(shop, org))
    store = here.world.store

    async def set_state(state):
        await store.write(lambda tx: builds.set_deployment_state(tx, shop.deployment.id, state))

    async with running(here.server(), here.world.dispatcher):
        await here.until_state(shop, trigger, "listening")
        await set_state(DeploymentState.INACTIVE)
        assert await asyncio.to_thread(org.control.wait_streams, count=0, seconds=30)
        status = await here.status(shop, trigger)
        await set_state(DeploymentState.ACTIVE)
        await here.until_state(shop, trigger, "listening")

    assert (status.listening.state, status.listening.reason) == (
        "idle",
        "the project has no active deployment",
    )


async def test_a_deleted_trigger_closes_its_stream(here, org):
    """
    The event delivery allocation of the org is not used for nobody.
    """
    shop = await here.world.shop()
    trigger = await here.listen(shop, await here.connect(shop, org))

    async with running(here.server()):
        await here.until_state(shop, trigger, "listening")
        await here.world.store.write(lambda tx: triggers.delete(tx, trigger.id))

        assert await asyncio.to_thread(org.control.wait_streams, count=0, seconds=30)


async def test_two_projects_with_one_account_share_one_stream(here, org):
    """
    Salesforce counts deliveries per subscriber: one reader, and each project has its own event.
    """
    one = await here.world.shop()
    two = await here.world.shop(actor=one.actor, name="second")
    triggers_ = [await here.listen(shop, await here.connect(shop, org)) for shop in (one, two)]

    async with running(here.server(), here.world.dispatcher):
        for shop, trigger in zip((one, two), triggers_, strict=True):
            await here.until_state(shop, trigger, "listening")
        open_streams = org.control.streams()
        a_lead(org)
        await here.until_sessions(one, 1)
        await here.until_sessions(two, 1)

    assert [stream["topic"] for stream in open_streams] == [LEADS]


async def test_one_entity_and_all_entities_make_one_event_of_a_change(here, org):
    """
    Two topics carry the same change: one event, and one session for each of the two triggers.
    """
    shop = await here.world.shop()
    connection = await here.connect(shop, org)
    leads = await here.listen(shop, connection, name="leads")
    everything = await here.listen(shop, connection, name="everything", event_type="*")

    async with running(here.server(), here.world.dispatcher):
        await here.until_state(shop, leads, "listening")
        await here.until_state(shop, everything, "listening")
        a_lead(org)
        await here.until_sessions(shop, 2)
        assert await asyncio.to_thread(org.control.wait_streams, count=2, seconds=30)
        await eventually(lambda: _delivered(org, 2), "both topics to deliver")

    found = await here.world.all_sessions(shop.actor.org_id)
    assert len(await here.world.all_events(shop.project.id)) == 1
    assert {session.trigger_id for session in found} == {leads.id, everything.id}
    assert len(found) == 2


async def _delivered(org, count):
    return True if sum(s["delivered"] for s in org.control.streams()) >= count else None


@pytest.fixture
def other_org(org) -> Iterator[FakeSalesforce]:
    """A second org of another customer."""
    with FakeSalesforce.start(callbacks=["http://localhost:9980/x"]) as other:
        other.control.select_entities(entities=["Lead"])
        yield other


async def test_nothing_crosses_between_two_orgs(sqlite, vault, org, other_org, tmp_path):
    """
    Two customers on one server, the same names everywhere: each sees the events of its own org only.
    """
    await sqlite.write(vault.start)
    here = StreamWorld(World(sqlite, vault, Registry.load()), [org, other_org])
    both = tmp_path / "ca.pem"
    both.write_bytes(org.ca_file.read_bytes() + b"\n" + other_org.ca_file.read_bytes())
    ours = await here.world.shop()
    theirs = await here.world.shop(org="globex", user="gus")
    same_customer = await here.world.shop(actor=ours.actor, name="second")
    watched = [
        (ours, org, await here.listen(ours, await here.connect(ours, org))),
        (theirs, other_org, await here.listen(theirs, await here.connect(theirs, other_org))),
        (
            same_customer,
            other_org,
            await here.listen(same_customer, await here.connect(same_customer, other_org)),
        ),
    ]
    http = Outbound(ca_file=both, insecure_hosts=frozenset({"localhost"}))

    async with running(here.server(http=http, ca_file=both), here.world.dispatcher):
        for shop, _, trigger in watched:
            await here.until_state(shop, trigger, "listening")
        a_lead(org, "Ours")
        a_lead(other_org, "Theirs")
        for shop, _, _ in watched:
            await here.until_sessions(shop, 1)

    for shop, source, _ in watched:
        [event] = await here.world.all_events(shop.project.id)
        data = (await here.world.events.get(shop.actor, event.id)).data
        assert data["Name"]["LastName"] == ("Ours" if source is org else "Theirs")
        assert len(await here.world.all_sessions(shop.actor.org_id, project_id=shop.project.id)) == 1


async def test_a_connection_that_moves_to_another_account_hears_nothing_of_the_old_one(here, org):
    """
    Who is entitled is asked in the unit that stores the event, not when the stream was opened.
    """
    shop = await here.world.shop()
    connection = await here.connect(shop, org)
    trigger = await here.listen(shop, connection)
    slow = here.server(FAST)

    async with running(slow, here.world.dispatcher):
        await here.until_state(shop, trigger, "listening")
        # Behind the back of reconciling: no notice is told.

        await here.world.store.write(
            lambda tx: tx.connection.execute(sa.update(tables.connections).values(account_key="00Dother:005"))
        )
        a_lead(org)
        await eventually(lambda: _delivered_or_closed(org), "the event to be read")

    assert await here.world.all_events(shop.project.id) == []


async def _delivered_or_closed(org):
    found = org.control.streams()
    return True if not found or found[0]["delivered"] else None


async def test_of_two_servers_one_reads_and_the_other_takes_over(here, org):
    """
    One stream at a time; when its server is gone, the other one goes on from the stored place.
    """
    shop = await here.world.shop()
    trigger = await here.listen(shop, await here.connect(shop, org))
    first, second = here.server(), here.server()
    one = asyncio.create_task(first.run())
    try:
        await here.until_state(shop, trigger, "listening")
        async with running(second, here.world.dispatcher):
            a_lead(org)
            await here.until_sessions(shop, 1)
            assert len(org.control.streams()) == 1
            one.cancel()
            await asyncio.gather(one, return_exceptions=True)
            a_lead(org)
            await here.until_sessions(shop, 2)
    finally:
        one.cancel()
        await asyncio.gather(one, return_exceptions=True)

    assert len(await here.world.all_events(shop.project.id)) == 2


async def test_a_reader_whose_lease_was_taken_stores_nothing_more(here, org):
    """
    A server that was asleep too long finds its fence old: the other one's events are the only ones.
    """
    shop = await here.world.shop()
    connection = await here.connect(shop, org)
    trigger = await here.listen(shop, connection)

    async with running(here.server(), here.world.dispatcher):
        await here.until_state(shop, trigger, "listening")
        [stream] = await here.world.store.read(
            lambda tx: streams.of_account(tx, connection.org_id, "salesforce", connection.account_key)
        )

        def steal(tx):
            tx.connection.execute(
                sa.update(tables.streams).values(
                    fence=tables.streams.c.fence + 1,
                    lease_owner="thief",
                    lease_until=tx.now + timedelta(seconds=2),
                )
            )

        await here.world.store.write(steal)
        a_lead(org)
        await eventually(lambda: _gone_or_new(here, stream), "the reader to notice")
        await here.until_state(shop, trigger, "listening")
        a_lead(org, "Later")
        await here.until_sessions(shop, 1)

    found = await here.world.store.read(lambda tx: streams.by_id(tx, stream.id))
    assert found.fence >= stream.fence + 2


async def _gone_or_new(here, stream):
    found = await here.world.store.read(lambda tx: streams.by_id(tx, stream.id))
    return True if found.fence > stream.fence + 1 else None


async def test_a_server_that_stops_gives_its_leases_back(here, org):
    """
    A restart must not wait for a lease to run out.
    """
    shop = await here.world.shop()
    connection = await here.connect(shop, org)
    trigger = await here.listen(shop, connection)

    async with running(here.server()):
        await here.until_state(shop, trigger, "listening")

    def lease_owner(tx):
        return tx.connection.execute(sa.select(tables.streams.c.lease_owner, tables.streams.c.state)).one()

    assert await here.world.store.read(lease_owner) == (None, "paused")
    assert await asyncio.to_thread(org.control.wait_streams, count=0, seconds=30)


async def test_reconciling_asks_the_org_nothing_while_all_is_well(here, org):
    """
    API calls are a daily allocation: a stream that works costs none.
    """
    shop = await here.world.shop()
    trigger = await here.listen(shop, await here.connect(shop, org))
    server = here.server()

    async with running(server):
        await here.until_state(shop, trigger, "listening")
        await eventually(lambda: _asked(org), "the first check")
        before = len(org.control.requests()), here.tokens.asked
        for _ in range(5):
            await server.reconcile()

        assert (len(org.control.requests()), here.tokens.asked) == before


async def _asked(org):
    return org.control.requests(path="*tooling*") or None


async def test_keepalives_are_stored(here, org):
    """
    The age of the last sign of life is shown, and its position is the one to resume from.
    """
    org.control.set_behaviour(keepalive_seconds=0.2)
    shop = await here.world.shop()
    trigger = await here.listen(shop, await here.connect(shop, org))

    async with running(here.server()):

        async def alive():
            return (await here.status(shop, trigger)).listening.last_keepalive

        assert await eventually(alive, "a keepalive") is not None


async def test_no_token_is_ever_stored_with_streams_and_events(here, org, tmp_path):
    """
    The database holds no access token, in no encoding, after reading streams.
    """
    shop = await here.world.shop()
    trigger = await here.listen(shop, await here.connect(shop, org))
    async with running(here.server(), here.world.dispatcher):
        await here.until_state(shop, trigger, "listening")
        a_lead(org)
        await here.until_sessions(shop, 1)
        org.control.drop_streams()
        a_lead(org)
        await here.until_sessions(shop, 2)
    secrets = [value["access_token"] for value in here.tokens._issued.values()]

    found = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())

    assert b"LeadChangeEvent" in found
    for secret in secrets:
        for form in (secret.encode(), base64.b64encode(secret.encode()), secret.encode().hex().encode()):
            assert form not in found


async def test_a_burst_goes_in_without_loss(here, org):
    """
    More events than may be outstanding, faster than they are dispatched.
    """
    shop = await here.world.shop()
    trigger = await here.listen(shop, await here.connect(shop, org))

    async with running(here.server(), here.world.dispatcher):
        await here.until_state(shop, trigger, "listening")
        for number in range(350):
            a_lead(org, f"L{number}")
        await here.until_sessions(shop, 350)

    keys = await here.world.store.read(
        lambda tx: [
            e.source_key
            for e in events.of_project(tx, shop.project.id, wanted=events.Wanted(), before=None, limit=999)
        ]
    )
    assert len(keys) == len(set(keys)) == 350


async def test_another_person_of_the_org_without_connection_sees_no_stream(here, org):
    """
    The status of a trigger is for its own org.
    """
    shop = await here.world.shop()
    trigger = await here.listen(shop, await here.connect(shop, org))
    stranger = await a_person(here.world.store, org="evil", name="eve")

    with contextlib.suppress(NotFound):
        await here.world.events.trigger_status(stranger, trigger)
        pytest.fail("a stranger was shown a trigger")
