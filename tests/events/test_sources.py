"""From a change in a Salesforce org to a session row: readers, leases, fan-out, and what people are shown."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa
from stream_world import a_lead, eventually, running

from ninelives_server.events.reader import RESUME_WITHIN
from ninelives_server.model.connections import ConnectionState
from ninelives_server.model.projects import DeploymentState
from ninelives_server.store import builds, connections, events, streams, tables, triggers

LEADS = "/data/LeadChangeEvent"


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
