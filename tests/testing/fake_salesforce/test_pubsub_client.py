"""salesforce-pubsub-api-client 5.5 against the fake org: subscribe, decode, replay, publish, errors."""

from collections.abc import Callable
from typing import Any

import pytest

from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce

LEADS = "/data/LeadChangeEvent"


@pytest.fixture
def listener(node_client: Callable[[str], Any], org: FakeSalesforce) -> Any:
    """A client that is connected with a token of the org; Leads are selected."""
    org.control.select_entities(["Lead", "Account"])
    client = node_client("pubsub.mjs")
    client.get("connect", **_access(org))
    return client


def _access(org: FakeSalesforce) -> dict[str, Any]:
    token = org.control.issue_token()
    return {
        "pubSubEndpoint": org.details.pubsub_endpoint, "accessToken": token["access_token"],
        "instanceUrl": org.details.instance_url,
    }  # fmt: skip


def _events(client: Any, count: int, topic: str = LEADS, seconds: int = 30) -> list[Any]:
    found = client.get("heard", topic=topic, kind="event", count=count, seconds=seconds)
    assert len(found) >= count, found
    # The client decodes events side by side and reports them in the order in which it is done.
    return sorted(found, key=lambda event: event["replayId"])


def _streaming(client: Any, org: FakeSalesforce, topic: str = LEADS, **how: Any) -> None:
    """Subscribe, and wait until the org has the stream: LATEST means from then on."""
    client.get("subscribe", topic=topic, **how)
    assert org.control.wait_streams(topic, seconds=30)


def test_a_new_lead_arrives_decoded(listener: Any, org: FakeSalesforce) -> None:
    """
    A record that somebody makes in the org arrives with header and fields, person name as a record.
    """
    _streaming(listener, org)

    lead = org.control.create_record("Lead", {"FirstName": "Jo", "LastName": "Doe", "Company": "Acme"})

    payload = _events(listener, 1)[0]["payload"]
    header = payload["ChangeEventHeader"]
    assert (header["entityName"], header["changeType"], header["recordIds"]) == ("Lead", "CREATE", [lead])
    assert header["changedFields"] == []
    assert payload["Company"] == "Acme"
    assert payload["Name"] == {"Salutation": None, "FirstName": "Jo", "LastName": "Doe"}
    assert header["commitUser"] == org.control.records("User")[0]["Id"]


def test_the_client_names_the_changed_fields_of_an_update(listener: Any, org: FakeSalesforce) -> None:
    """
    The bitmaps of top-level and compound fields, changed and nulled, mean what the client decodes.
    """
    lead = org.control.create_record(
        "Lead", {"LastName": "Doe", "Company": "Acme", "Phone": "1", "Street": "Main 1"}
    )
    _streaming(listener, org)

    org.control.update_record(
        "Lead", lead, {"Rating": "Hot", "Phone": None, "City": "Bonn", "FirstName": "Jo"}
    )

    payload = _events(listener, 1)[0]["payload"]
    header = payload["ChangeEventHeader"]
    assert header["changeType"] == "UPDATE"
    assert set(header["changedFields"]) == {
        "Rating", "Phone", "LastModifiedDate", "Address.City", "Name.FirstName"
    }  # fmt: skip
    assert header["nulledFields"] == ["Phone"]
    assert (payload["Rating"], payload["Company"], payload["Phone"]) == ("Hot", None, None)


def test_everything_arrives_on_the_topic_of_all_changes(listener: Any, org: FakeSalesforce) -> None:
    """
    `/data/ChangeEvents` carries every selected entity, each event with its own schema, and no other.
    """
    topic = "/data/ChangeEvents"
    _streaming(listener, org, topic)

    org.control.create_record("Lead", {"LastName": "Doe", "Company": "Acme"})
    org.control.create_record("Contact", {"LastName": "Not selected"})
    org.control.create_record("Account", {"Name": "Acme", "AnnualRevenue": 5, "NumberOfEmployees": 7})

    events = _events(listener, 2, topic)
    assert [e["payload"]["ChangeEventHeader"]["entityName"] for e in events] == ["Lead", "Account"]
    assert events[0]["schemaId"] != events[1]["schemaId"]
    assert (events[1]["payload"]["AnnualRevenue"], events[1]["payload"]["NumberOfEmployees"]) == (5, 7)


def test_replay_from_the_earliest_and_behind_an_event(
    listener: Any, node_client: Callable[[str], Any], org: FakeSalesforce
) -> None:
    """
    EARLIEST delivers what is kept; CUSTOM delivers what is behind the id, not the event of the id.
    """
    ids = [org.control.create_record("Lead", {"LastName": f"L{i}", "Company": "Acme"}) for i in range(3)]

    listener.get("subscribe", topic=LEADS, preset="EARLIEST")
    first = _events(listener, 3)
    second = node_client("pubsub.mjs")
    second.get("connect", **_access(org))
    second.get("subscribe", topic=LEADS, preset="CUSTOM", replayId=first[0]["replayId"])

    assert [e["payload"]["ChangeEventHeader"]["recordIds"][0] for e in first] == ids
    assert [e["payload"]["ChangeEventHeader"]["recordIds"][0] for e in _events(second, 2)] == ids[1:]


def test_more_events_than_were_asked_for_wait(listener: Any, org: FakeSalesforce) -> None:
    """
    A client gets as many events as it asks for; asking again adds to that.
    """
    for i in range(5):
        org.control.create_record("Lead", {"LastName": f"L{i}", "Company": "Acme"})

    listener.get("subscribe", topic=LEADS, preset="EARLIEST", count=2)
    assert len(listener.get("heard", topic=LEADS, kind="lastEvent", count=1, seconds=30)) == 1
    assert len(_events(listener, 2)) == 2
    listener.get("more", topic=LEADS, count=3)

    assert len(_events(listener, 5)) == 5


def test_a_quiet_stream_is_kept_alive(listener: Any, org: FakeSalesforce) -> None:
    """
    Without events an empty answer comes within the keepalive interval.
    """
    org.control.set_behaviour(keepalive_seconds=0.2)
    _streaming(listener, org)

    found = listener.get("heard", topic=LEADS, kind="grpcKeepAlive", count=2, seconds=30)

    assert len(found) >= 2


def test_a_bad_token_ends_the_stream_with_the_documented_error(
    node_client: Callable[[str], Any], org: FakeSalesforce
) -> None:
    """
    UNAUTHENTICATED comes with the error code in a trailer.
    """
    client = node_client("pubsub.mjs")
    client.get("connect", **{**_access(org), "accessToken": f"{org.details.org_id[:15]}!wrong"})

    client.get("subscribe", topic=LEADS)

    error = client.get("heard", topic=LEADS, kind="error", count=1, seconds=30)[0]
    assert error["code"] == 16
    assert error["metadata"]["error-code"] == "sfdc.platform.eventbus.grpc.service.auth.error"
    assert "An authentication exception occurred" in error["message"]


@pytest.mark.parametrize(
    ("topic", "how", "code", "error_code"),
    [
        ("/data/NothingChangeEvent", {}, 5, "topic.not.found"),
        ("/data/leadchangeevent", {}, 5, "topic.not.found"),
        (LEADS, {"preset": "CUSTOM", "replayId": 1}, 3, "subscription.fetch.replayid.corrupted"),
    ],
)
def test_what_cannot_be_subscribed_is_refused(
    listener: Any, topic: str, how: dict[str, Any], code: int, error_code: str
) -> None:
    """
    Topics are case-sensitive, and a replay id outside the window is corrupted.
    """
    listener.get("subscribe", topic=topic, **how)

    error = listener.get("heard", topic=topic, kind="error", count=1, seconds=30)[0]
    assert error["code"] == code
    assert error["metadata"]["error-code"] == f"sfdc.platform.eventbus.grpc.{error_code}"


def test_streams_end_on_order_and_replay_ids_become_unknown(listener: Any, org: FakeSalesforce) -> None:
    """
    A dropped stream ends with UNAVAILABLE; after a reset of the log no stored replay id works.
    """
    org.control.create_record("Lead", {"LastName": "Doe", "Company": "Acme"})
    listener.get("subscribe", topic=LEADS, preset="EARLIEST")
    replay = _events(listener, 1)[0]["replayId"]

    assert org.control.drop_streams() == 1
    dropped = listener.get("heard", topic=LEADS, kind="error", count=1, seconds=30)
    listener.get("heard", topic=LEADS, kind="end", count=1, seconds=30)
    org.control.corrupt_replay()
    listener.get("subscribe", topic=LEADS, preset="CUSTOM", replayId=replay)
    errors = listener.get("heard", topic=LEADS, kind="error", count=2, seconds=30)

    assert dropped[0]["code"] == 14
    assert errors[1]["metadata"]["error-code"].endswith("replayid.corrupted")


def test_gaps_and_a_changed_schema_arrive_in_mid_stream(listener: Any, org: FakeSalesforce) -> None:
    """
    A gap event has a header only; after a field was added, events come in a new schema.
    """
    _streaming(listener, org)

    org.control.publish_gap("Lead", "GAP_OVERFLOW", ["000000000000000AAA"])
    org.control.add_field("Lead", "Score__c", "double")
    org.control.create_record("Lead", {"LastName": "Doe", "Company": "Acme", "Score__c": 4.5})

    gap, lead = _events(listener, 2)
    assert gap["payload"]["ChangeEventHeader"]["changeType"] == "GAP_OVERFLOW"
    assert gap["payload"]["Company"] is None
    assert lead["payload"]["Score__c"] == 4.5
    assert lead["schemaId"] != gap["schemaId"]


def test_a_revoked_token_ends_its_streams(listener: Any, org: FakeSalesforce) -> None:
    """
    Revoking the grant ends the open stream with the authentication error; a timeout does not.
    """
    _streaming(listener, org)
    org.control.create_record("Lead", {"LastName": "Doe", "Company": "Acme"})
    assert _events(listener, 1)  # the client knows the schema now
    org.control.expire_sessions()
    org.control.create_record("Lead", {"LastName": "Roe", "Company": "Acme"})
    assert _events(listener, 2)

    org.control.revoke_grants()

    error = listener.get("heard", topic=LEADS, kind="error", count=1, seconds=30)[0]
    assert error["code"] == 16


def test_a_platform_event_is_published_and_received(listener: Any, org: FakeSalesforce) -> None:
    """
    Publish takes what the client encodes with the schema of the topic, and subscribers get it.
    """
    topic = "/event/Order__e"
    org.control.add_event("Order__e", "Order", [{"name": "Number__c"}])
    _streaming(listener, org, topic)
    user = org.control.records("User")[0]["Id"]

    result = listener.get(
        "publish", topic=topic, key="k1",
        payload={"CreatedDate": 1700000000000, "CreatedById": user, "Number__c": {"string": "A-1"}},
    )  # fmt: skip

    event = _events(listener, 1, topic)[0]
    assert result["correlationKey"] == "k1"
    assert event["replayId"] == result["replayId"]
    assert event["payload"]["Number__c"] == "A-1"
