"""Reading the fake org's Pub/Sub API: events, keepalives, tokens, positions, and what errors mean."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from pubsub_reading import DeskTokens, reading_of

from ninelives_server.errors import Invalid, NeedsAdmin, NeedsReauth, Transient
from ninelives_server.integrations.streams import Batch
from ninelives_server.providers.salesforce import pubsub
from ninelives_server.providers.salesforce.events import ALL_CHANGES, SalesforceSource
from ninelives_server.providers.salesforce.pubsub import CursorRefused, TokenRefused
from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce

LEADS = "/data/LeadChangeEvent"


@pytest.fixture
def org() -> Iterator[FakeSalesforce]:
    """A new org in a thread of this process, with Lead and Account selected."""
    with FakeSalesforce.start(callbacks=["http://localhost:9980/x"]) as org:
        org.control.select_entities(entities=["Lead", "Account"])
        yield org


def a_lead(org: FakeSalesforce, name: str = "Byron", **fields) -> str:
    return org.control.create_record(entity="Lead", fields={"LastName": name, "Company": "Acme", **fields})


@asynccontextmanager
async def listening(source, reading, topic=LEADS, cursor=None):
    """Open a stream and yield its batches, behind the one that says it stands."""
    async with aclosing(source.listen(reading, topic, cursor)) as batches:
        opened = await anext_of(batches)
        assert (opened.events, opened.cursor) == ((), None)
        yield batches


async def anext_of(batches) -> Batch:
    return await asyncio.wait_for(anext(batches), 30)


async def events_of(batches, count: int):
    found = []
    while len(found) < count:
        found += (await anext_of(batches)).events
    return found


async def test_a_change_arrives_decoded(org):
    """
    The event has the entity's name in lower case, the record's id, and field names instead of bitmaps.
    """
    async with listening(SalesforceSource(), reading_of(org)) as batches:
        lead = a_lead(org)
        org.control.update_record(entity="Lead", record_id=lead, fields={"Status": "Working - Contacted"})
        created, updated = await events_of(batches, 2)

    assert (created.event_type, created.record_id) == ("lead", lead)
    assert created.data["Company"] == "Acme"
    assert created.data["Name"]["LastName"] == "Byron"
    assert created.data["ChangeEventHeader"]["changeType"] == "CREATE"
    header = updated.data["ChangeEventHeader"]
    assert header["changedFields"] == ["Status", "LastModifiedDate"]
    assert updated.data["Status"] == "Working - Contacted"
    assert set(updated.data) == {"ChangeEventHeader", "Status", "LastModifiedDate"}


async def test_a_server_that_holds_its_headers_back_is_accepted_after_a_while(org, monkeypatch):
    """
    Whether Salesforce sends headers before the first message is not documented: both must work.
    """
    monkeypatch.setattr(pubsub, "_ACCEPTED_AFTER", 1.0)
    org.control.set_behaviour(early_headers=False)

    async with listening(SalesforceSource(), reading_of(org)) as batches:
        assert await asyncio.to_thread(org.control.wait_streams, topic=LEADS, seconds=30)
        a_lead(org)
        await events_of(batches, 1)


async def test_a_stream_resumes_behind_its_cursor(org):
    """
    Nothing between two readings is lost, and nothing comes twice.
    """
    source, reading = SalesforceSource(), reading_of(org)
    async with listening(source, reading) as batches:
        a_lead(org, "One")
        batch = await anext_of(batches)
    a_lead(org, "Two")
    a_lead(org, "Three")

    async with listening(source, reading, cursor=batch.cursor) as batches:
        found = await events_of(batches, 2)

    assert [event.data["Name"]["LastName"] for event in found] == ["Two", "Three"]


async def test_without_a_cursor_reading_begins_now(org):
    """
    A first activation does not flood anybody with what happened before.
    """
    a_lead(org, "Before")

    async with listening(SalesforceSource(), reading_of(org)) as batches:
        a_lead(org, "After")
        [event] = await events_of(batches, 1)

    assert event.data["Name"]["LastName"] == "After"


async def test_more_than_a_hundred_events_flow(org):
    """
    At most 100 are outstanding; more are asked for as they are dealt with.
    """
    async with listening(SalesforceSource(), reading_of(org)) as batches:
        [stream] = org.control.streams()
        assert stream["outstanding"] == pubsub.MOST_OUTSTANDING
        for number in range(250):
            a_lead(org, f"L{number}")
        found = await events_of(batches, 250)

    assert [event.data["Name"]["LastName"] for event in found] == [f"L{n}" for n in range(250)]


async def test_nothing_more_is_asked_for_while_a_batch_is_not_dealt_with(org):
    """
    A database that is slow holds back the stream; nothing piles up.
    """
    async with listening(SalesforceSource(), reading_of(org)) as batches:
        for number in range(150):
            a_lead(org, f"L{number}")
        first = await anext_of(batches)
        await asyncio.to_thread(
            org.state.bus.log.wait, lambda: org.state.streams.all()[0].delivered >= 100, 20
        )
        await asyncio.to_thread(org.state.bus.log.wait, lambda: False, 0.3)
        [stream] = org.control.streams()
        assert stream["delivered"] == 100
        rest = await events_of(batches, 150 - len(first.events))

    assert len(first.events) + len(rest) == 150


async def test_a_quiet_stream_gives_signs_of_life_with_a_newer_cursor(org):
    """
    Its position is stored, so that a quiet topic does not fall out of the retention window.
    """
    org.control.set_behaviour(keepalive_seconds=0.2)

    async with listening(SalesforceSource(), reading_of(org)) as batches:
        batch = await anext_of(batches)

    assert batch.is_keepalive
    assert batch.events == ()
    assert len(batch.cursor) == 8


async def test_a_silent_stream_is_given_up(org):
    """
    A stream can die without an error: the watchdog ends it, so that the reader comes back.
    """
    source = SalesforceSource(longest_silence=0.5)

    async with listening(source, reading_of(org)) as batches:
        with pytest.raises(Transient, match=r"no sign of life from Salesforce .* 0.5 s"):
            await anext_of(batches)


async def test_a_token_that_was_revoked_is_replaced_and_nothing_is_lost(org):
    """
    The stream goes on from the last position with a new token, and asks for one new token only.
    """
    tokens = DeskTokens(org)
    async with listening(SalesforceSource(), reading_of(org, tokens)) as batches:
        a_lead(org, "One")
        [first] = await events_of(batches, 1)
        old = tokens.current
        org.state.ledger.end_token(org.state.ledger.tokens[old])
        a_lead(org, "Two")
        found = await events_of(batches, 1)

    assert [event.data["Name"]["LastName"] for event in (first, *found)] == ["One", "Two"]
    assert tokens.refused == [old]


async def test_an_old_token_is_replaced_before_the_first_event(org):
    """
    A token may be dead before the stream is opened.
    """
    tokens = DeskTokens(org)
    await tokens(None)
    org.state.ledger.end_token(org.state.ledger.tokens[tokens.current])

    async with listening(SalesforceSource(), reading_of(org, tokens)) as batches:
        a_lead(org)
        await events_of(batches, 1)

    assert len(tokens.refused) == 1


async def test_a_token_that_is_refused_again_is_not_replaced_in_a_loop(org):
    """
    Where a new token is refused too, something else is wrong: no storm of refreshes.
    """
    tokens = DeskTokens(org)
    reading = reading_of(org, tokens)
    original = tokens.__call__

    async def wrong_tenant(refused):
        return replace(await original(refused), org_id="00D000000000000AAA")

    reading = replace(reading, token=wrong_tenant)

    with pytest.raises(Transient, match="does not accept the access token"):
        async with listening(SalesforceSource(), reading):
            pass

    assert len(tokens.refused) == 1


async def test_a_user_who_must_authorise_again_ends_the_stream(org):
    """
    What only a person can put right is not retried here.
    """

    async def gone(refused):
        raise NeedsReauth("authorise again")

    with pytest.raises(NeedsReauth):
        async with listening(SalesforceSource(), replace(reading_of(org), token=gone)):
            pass


@pytest.mark.parametrize("cursor", [b"", b"nonsense", (2**60).to_bytes(8, "big"), b"\0" * 8])
async def test_a_position_that_is_of_no_use_is_reported_as_a_gap(org, cursor):
    """
    Too old, or the org has moved: reading goes on from now, and the gap is told, never a silent loop.
    """
    source, reading = SalesforceSource(), reading_of(org)

    async with aclosing(source.listen(reading, LEADS, cursor)) as batches:
        opened = await anext_of(batches)
        a_lead(org, "After")
        [event] = await events_of(batches, 1)

    assert opened.gap.startswith(f"Salesforce cannot resume {LEADS} from the stored position")
    assert opened.cursor is None
    assert event.data["Name"]["LastName"] == "After"


async def test_a_position_that_becomes_useless_in_between_is_a_gap(org):
    """
    An org that is moved to another instance starts its positions anew.
    """
    async with listening(SalesforceSource(), reading_of(org)) as batches:
        a_lead(org)
        cursor = (await anext_of(batches)).cursor
    org.control.corrupt_replay()

    async with aclosing(SalesforceSource().listen(reading_of(org), LEADS, cursor)) as batches:
        assert (await anext_of(batches)).gap


async def test_a_topic_that_is_not_there_needs_somebody(org):
    """
    Salesforce says never to retry this one.
    """
    with pytest.raises(NeedsAdmin, match="this Salesforce org has no topic /data/NopeChangeEvent"):
        async with listening(SalesforceSource(), reading_of(org), topic="/data/NopeChangeEvent"):
            pass


async def test_a_stream_that_breaks_is_transient(org):
    """
    Deploys and idle proxies drop streams; the reader comes back from its last cursor.
    """
    async with listening(SalesforceSource(), reading_of(org)) as batches:
        org.control.drop_streams()
        with pytest.raises(Transient, match="broke: Connection reset"):
            await anext_of(batches)


async def test_a_schema_that_changes_in_the_middle_is_asked_for(org):
    """
    Adding a field changes the schema's id between two events of one stream.
    """
    async with listening(SalesforceSource(), reading_of(org)) as batches:
        a_lead(org, "One")
        await events_of(batches, 1)
        org.control.add_field(entity="Lead", name="Score__c", field_type="double")
        a_lead(org, "Two", Score__c=7.5)
        [event] = await events_of(batches, 1)

    assert event.data["Score__c"] == 7.5


async def test_gap_events_keep_their_header(org):
    """
    They say that something changed without saying what.
    """
    async with listening(SalesforceSource(), reading_of(org)) as batches:
        org.control.publish_gap(entity="Lead", change_type="GAP_UPDATE", record_ids=["00Q000000000001AAA"])
        [event] = await events_of(batches, 1)

    assert list(event.data) == ["ChangeEventHeader"]
    assert event.data["ChangeEventHeader"]["changeType"] == "GAP_UPDATE"
    assert event.record_id == "00Q000000000001AAA"


async def test_all_changes_come_on_one_topic_and_are_the_same_events(org):
    """
    A change has one source key, on whatever topic it comes.
    """
    source, reading = SalesforceSource(), reading_of(org)
    async with (
        listening(source, reading, topic=ALL_CHANGES) as everything,
        listening(source, reading) as leads,
    ):
        a_lead(org)
        org.control.create_record(entity="Account", fields={"Name": "Acme"})
        [lead, account] = await events_of(everything, 2)
        [same_lead] = await events_of(leads, 1)

    assert (lead.event_type, account.event_type) == ("lead", "account")
    assert lead.source_key == same_lead.source_key != account.source_key


@pytest.mark.parametrize("endpoint", ["evil.example:443", "localhost:1"])
async def test_no_token_goes_to_a_host_that_is_not_salesforce_s(org, endpoint):
    """
    The endpoint is a user's word: it is checked before anything is sent there.
    """
    reading = replace(reading_of(org), settings={"pubsub_endpoint": endpoint}, insecure_hosts=frozenset())

    with pytest.raises(Invalid, match="does not belong to this service"):
        async with listening(SalesforceSource(), reading):
            pass


async def test_a_server_that_is_not_trusted_gets_no_token(org):
    """
    Without the org's certificate authority the connection is not made.
    """
    with pytest.raises(Transient):
        async with listening(SalesforceSource(), replace(reading_of(org), ca_file=None)):
            pass


_CODE = grpc.StatusCode
_P = "sfdc.platform.eventbus.grpc."


@pytest.mark.parametrize(
    ("status", "error_code", "kind"),
    [
        (_CODE.UNAUTHENTICATED, "service.auth.error", TokenRefused),
        (_CODE.UNAUTHENTICATED, "", TokenRefused),
        (_CODE.UNAUTHENTICATED, "service.auth.headers.invalid", TokenRefused),
        (_CODE.INVALID_ARGUMENT, "subscription.fetch.replayid.corrupted", CursorRefused),
        (_CODE.INVALID_ARGUMENT, "subscription.fetch.replayid.validation.failed", CursorRefused),
        (_CODE.INVALID_ARGUMENT, "subscription.fetch.replay.repeated", Transient),
        (_CODE.NOT_FOUND, "topic.not.found", NeedsAdmin),
        (_CODE.NOT_FOUND, "", NeedsAdmin),
        (_CODE.PERMISSION_DENIED, "topic.meta.permission", NeedsAdmin),
        (_CODE.PERMISSION_DENIED, "schema.meta.permission", NeedsAdmin),
        (_CODE.UNKNOWN, "subscription.topic.cannot.subscribe", NeedsAdmin),
        (_CODE.PERMISSION_DENIED, "", NeedsAdmin),
        (_CODE.RESOURCE_EXHAUSTED, "subscription.limit.exceeded", Transient),
        (_CODE.UNAVAILABLE, "", Transient),
        (_CODE.INTERNAL, "subscription.internal.error", Transient),
        (_CODE.UNAVAILABLE, "topic.api.unavailable", Transient),
    ],
)
def test_what_an_error_means(status, error_code, kind):
    """
    The trailer decides; the status only where there is no trailer.
    """
    found = pubsub.meaning(status, "words of Salesforce", error_code, LEADS)

    assert type(found) is kind
    assert "secret" not in str(found)


def test_the_used_up_allocation_is_named():
    """
    People must see that it is a limit of their org, not a defect.
    """
    found = pubsub.meaning(
        _CODE.RESOURCE_EXHAUSTED, "You have exceeded", "subscription.limit.exceeded", LEADS
    )

    assert "event delivery allocation for 24 hours is used up" in str(found)
