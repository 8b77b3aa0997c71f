"""Several projects, accounts and orgs: which streams they share, and what never crosses."""

import asyncio
import base64
import contextlib
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from event_world import World
from factories import a_person
from stream_world import FAST, StreamWorld, a_lead, eventually, running

from ninelives_server.errors import NotFound
from ninelives_server.integrations.http import Outbound
from ninelives_server.integrations.registry import Registry
from ninelives_server.store import tables
from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce

LEADS = "/data/LeadChangeEvent"


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
