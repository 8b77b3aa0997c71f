"""Which topic a trigger needs, and whether Salesforce would send anything on it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from pubsub_reading import DeskTokens, reading_of

from ninelives_server.errors import Invalid, Transient
from ninelives_server.providers.salesforce.events import SalesforceSource, event_topic
from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce


@pytest.fixture
def org() -> Iterator[FakeSalesforce]:
    """A new org: no entity is selected."""
    with FakeSalesforce.start(callbacks=["http://localhost:9980/x"]) as org:
        yield org


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        ("Lead", "/data/LeadChangeEvent"),
        ("Visit__c", "/data/Visit__ChangeEvent"),
        ("Low_Ink__e", "/event/Low_Ink__e"),
    ],
)
def test_topics_are_named_as_salesforce_names_them(name, topic):
    """
    Custom objects lose their `__c`, platform events have a channel of their own.
    """
    assert event_topic(name) == topic


@pytest.mark.parametrize("event_type", ["lead", "", "*", "visit__c", "low_ink__e"])
async def test_the_hint_is_the_topic_but_for_its_case(org, event_type):
    """
    Whoever cannot ask the org still finds the stream of a trigger.
    """
    org.control.add_object(name="Visit__c", label="Visit")
    org.control.add_event(name="Low_Ink__e", label="Low Ink")
    source = SalesforceSource()

    topic = await source.topic_for(reading_of(org), event_type)

    assert source.topic_hint(event_type).lower() == topic.lower()


@pytest.mark.parametrize(
    ("event_type", "topic"),
    [
        ("lead", "/data/LeadChangeEvent"),
        ("opportunity", "/data/OpportunityChangeEvent"),
        ("", "/data/ChangeEvents"),
        ("*", "/data/ChangeEvents"),
    ],
)
async def test_a_trigger_for_one_entity_reads_that_entity_s_own_topic(org, event_type, topic):
    """
    There a missing permission is an error, and not silence.
    """
    assert await SalesforceSource().topic_for(reading_of(org), event_type) == topic


async def test_a_custom_object_s_name_is_found_in_its_own_case(org):
    """
    Event types are in lower case, topics are not.
    """
    org.control.add_object(name="SiteVisit__c", label="Site Visit")

    assert (
        await SalesforceSource().topic_for(reading_of(org), "sitevisit__c") == "/data/SiteVisit__ChangeEvent"
    )


@pytest.mark.parametrize(("event_type", "words"), [("lad", "'lad'"), ("Lead", "write 'lead'")])
async def test_an_entity_that_is_not_there_is_named(org, event_type, words):
    """
    A typing error in a trigger is the owner's to put right.
    """
    with pytest.raises(Invalid, match="this Salesforce org has no object") as caught:
        await SalesforceSource().topic_for(reading_of(org), event_type)

    assert words in str(caught.value)


async def test_the_org_is_asked_once_for_its_objects(org):
    """
    Topics are looked up at each change of a trigger: that must cost no API calls.
    """
    source, reading = SalesforceSource(), reading_of(org)

    for event_type in ("lead", "account", "lead", "contact"):
        await source.topic_for(reading, event_type)

    assert len(org.control.requests(path="/services/data/*/sobjects")) == 1


async def test_an_org_that_does_not_answer_is_no_reason_to_blame_the_trigger(org):
    """
    A 503 says nothing about the event type.
    """
    org.control.fail(method="GET", path="/services/data/*/sobjects", status=503, body="maintenance")

    with pytest.raises(Transient):
        await SalesforceSource().topic_for(reading_of(org), "lead")


async def test_an_entity_that_is_not_selected_is_said_so_until_it_is(org):
    """
    The commonest reason for silence, in the words of Salesforce's Setup.
    """
    source, reading = SalesforceSource(), reading_of(org)

    before = [await source.blocked(reading, event_type) for event_type in ("lead", "", "account")]
    org.control.select_entities(entities=["Lead"])
    after = [await source.blocked(reading, event_type) for event_type in ("lead", "*", "account")]

    assert before == [
        "Lead is not selected in Setup > Change Data Capture",
        "No entity is selected in Setup > Change Data Capture",
        "Account is not selected in Setup > Change Data Capture",
    ]
    assert after == ["", "", "Account is not selected in Setup > Change Data Capture"]


async def test_platform_events_need_no_selection(org):
    """
    They are delivered as soon as somebody publishes them.
    """
    org.control.add_event(name="Low_Ink__e", label="Low Ink")

    assert await SalesforceSource().blocked(reading_of(org), "low_ink__e") == ""


@pytest.mark.parametrize("status", [400, 403])
async def test_a_user_who_may_not_see_the_setup_is_not_held_up(org, status):
    """
    Reading the selection needs a permission that reading events does not.
    """
    body = [{"message": "no access", "errorCode": "INVALID_TYPE"}]
    org.control.fail(method="GET", path="/services/data/*/tooling/query", status=status, body=body)

    assert await SalesforceSource().blocked(reading_of(org), "lead") == ""


async def test_a_refused_token_is_replaced_once(org):
    """
    A 401 of the REST API is cured by a new token.
    """
    tokens = DeskTokens(org)
    await tokens(None)
    org.state.ledger.end_token(org.state.ledger.tokens[tokens.current])

    assert "Lead is not selected" in await SalesforceSource().blocked(reading_of(org, tokens), "lead")
    assert len(tokens.refused) == 1
