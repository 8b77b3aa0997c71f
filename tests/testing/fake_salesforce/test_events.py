"""Change events: schemas, bitmaps as documented, and what a transaction puts on the bus."""

import json
from datetime import timedelta
from typing import Any

import pytest

from ninelives_server.clock import SystemClock
from ninelives_server.testing.fake_salesforce.behaviour import Behaviour
from ninelives_server.testing.fake_salesforce.events import avro, bitmaps
from ninelives_server.testing.fake_salesforce.events.log import EventLog
from ninelives_server.testing.fake_salesforce.faults import RestError
from ninelives_server.testing.fake_salesforce.org import Org
from ninelives_server.testing.fake_salesforce.records import Row
from ninelives_server.testing.fake_salesforce.schema.fields import SObject, text


@pytest.fixture
def org() -> Org:
    """An org with one user, Leads and Accounts selected."""
    org = Org(clock=SystemClock(), behaviour=Behaviour())
    org.add_user(username="a@b.c", password="p", first_name="Ada", last_name="Admin", email="a@b.c")
    org.select_entities(["Lead", "Account"])
    return org


def _object(org: Org, name: str) -> SObject:
    found = org.catalog.find(name)
    assert found
    return found


def _events(org: Org) -> list[Any]:
    found = []
    for event in org.bus.log.all():
        schema = org.bus.schema(event.schema_id)
        assert schema
        found.append(schema.decode(event.payload))
    return found


def _make(org: Org, name: str, fields: Row) -> str:
    with org.writing(org.users()[0]["Id"], "test") as unit:
        return unit.insert(_object(org, name), fields)


@pytest.mark.parametrize(
    ("entity", "fields", "expected"),
    [
        ("Account", {"Industry", "LastModifiedDate"}, ["0x400800"]),
        ("Account", {"Description", "LastModifiedDate"}, ["0x410000"]),
        ("Account", {"BillingStreet", "LastModifiedDate"}, ["0x400000", "4-0x01"]),
        ("Lead", {"Status", "IsConverted", "ConvertedDate", "ConvertedAccountId", "ConvertedContactId",
                  "ConvertedOpportunityId", "LastModifiedDate"}, ["0x08F81000"]),
        ("Lead", set(), []),
    ],
)  # fmt: skip
def test_bitmaps_are_those_of_the_documented_samples(
    org: Org, entity: str, fields: set[str], expected: list[str]
) -> None:
    """
    The samples of the change data capture guide fix order of fields, hex form and nested bitmaps.
    """
    assert bitmaps.encode(avro.layout(_object(org, entity)), fields) == expected


def test_a_schema_has_the_form_that_orgs_return(org: Org) -> None:
    """
    Namespace, unions with null, docs, records for compound fields, each record type defined once.
    """
    schema = json.loads(avro.change_event(_object(org, "Account")).json)
    fields = {f["name"]: f for f in schema["fields"]}

    assert (schema["name"], schema["namespace"]) == ("AccountChangeEvent", "com.sforce.eventbus")
    header = fields["ChangeEventHeader"]["type"]["fields"]
    assert [f["name"] for f in header][-3:] == ["nulledFields", "diffFields", "changedFields"]
    assert fields["NumberOfEmployees"]["type"] == ["null", "int"]
    assert fields["AnnualRevenue"] == {
        "name": "AnnualRevenue", "type": ["null", "double"], "doc": "Data:Currency", "default": None
    }  # fmt: skip
    assert fields["Name"]["type"][:2] == ["null", "string"]
    assert fields["BillingAddress"]["type"][1]["name"] == "Address"
    assert fields["ShippingAddress"]["type"] == ["null", "Address"]
    assert not {"Id", "IsDeleted", "SystemModstamp", "BillingStreet"} & set(fields)


def test_a_schema_id_changes_with_the_fields(org: Org) -> None:
    """
    Ids have 22 characters; a new field makes a new one, and the old one is still known.
    """
    lead = _object(org, "Lead")
    before = org.bus.schema_of(lead).schema_id
    lead.add(text("Score__c", "Score"))
    after = org.bus.schema_of(lead).schema_id

    assert len(before) == 22
    assert after != before
    assert org.bus.schema(before)


def test_one_event_per_record_and_transaction(org: Org) -> None:
    """
    Making and changing a record in one transaction is one CREATE; all events share key and number.
    """
    lead, account = _object(org, "Lead"), _object(org, "Account")
    with org.writing(org.users()[0]["Id"], "test") as unit:
        lead_id = unit.insert(lead, {"LastName": "Doe", "Company": "Acme"})
        unit.insert(_object(org, "Contact"), {"LastName": "Not selected"})
        unit.insert(account, {"Name": "Acme"})
        unit.update(lead, lead_id, {"Rating": "Hot"})

    first, second = _events(org)
    assert (first["ChangeEventHeader"]["changeType"], first["Rating"]) == ("CREATE", "Hot")
    numbers = [e["ChangeEventHeader"]["sequenceNumber"] for e in (first, second)]
    assert numbers == [1, 3]
    assert first["ChangeEventHeader"]["transactionKey"] == second["ChangeEventHeader"]["transactionKey"]
    assert first["ChangeEventHeader"]["changeOrigin"] == "test"


def test_an_update_carries_only_what_changed(org: Org) -> None:
    """
    Unchanged fields are null; a field that was emptied is named in nulledFields; same author, no author.
    """
    record = _make(org, "Lead", {"LastName": "Doe", "Company": "Acme", "Phone": "1", "City": "Bonn"})
    lead = _object(org, "Lead")
    with org.writing(org.users()[0]["Id"], "test") as unit:
        unit.update(lead, record, {"Phone": None, "City": None, "Company": "Acme"})

    event = _events(org)[1]
    header = event["ChangeEventHeader"]
    layout = avro.layout(lead)
    assert header["changedFields"] == bitmaps.encode(layout, {"Phone", "City", "LastModifiedDate"})
    assert header["nulledFields"] == bitmaps.encode(layout, {"Phone", "City"})
    assert (event["Company"], event["Phone"], event["Address"], event["LastModifiedById"]) == (None,) * 4
    assert event["LastModifiedDate"] is not None


def test_delete_and_undelete(org: Org) -> None:
    """
    DELETE has no fields, UNDELETE has all of them, and neither has bitmaps.
    """
    record = _make(org, "Account", {"Name": "Acme", "Phone": "1"})
    account = _object(org, "Account")
    for change in ("delete", "undelete"):
        with org.writing(org.users()[0]["Id"], "test") as unit:
            getattr(unit, change)(account, record)

    _, deleted, back = _events(org)
    assert [e["ChangeEventHeader"]["changeType"] for e in (deleted, back)] == ["DELETE", "UNDELETE"]
    assert (deleted["Name"], back["Name"], back["Phone"]) == (None, "Acme", "1")
    assert deleted["ChangeEventHeader"]["changedFields"] == []


def test_a_transaction_that_fails_leaves_nothing(org: Org) -> None:
    """
    Records and events of a refused transaction are gone, earlier ones are as before.
    """
    record = _make(org, "Account", {"Name": "Acme"})
    account = _object(org, "Account")

    with (
        pytest.raises(RestError, match="REQUIRED_FIELD_MISSING"),
        org.writing(org.users()[0]["Id"], "test") as unit,
    ):
        unit.update(account, record, {"Name": "Changed"})
        unit.insert(account, {"Name": "Second"})
        unit.insert(account, {})

    assert [row["Name"] for row in org.records.rows(account)] == ["Acme"]
    assert len(org.bus.log.all()) == 1


def test_replay_ids_are_known_inside_the_window_only() -> None:
    """
    Ids ascend; what is too old is dropped and its ids are unknown, and so is everything after a reset.
    """
    log, now = EventLog(), SystemClock().now()
    topic = frozenset({"/data/LeadChangeEvent"})
    days = (5, 4, 1)
    old, older, young = (
        log.append(topics=topic, schema_id="s", payload=b"", at=now - timedelta(days=d)) for d in days
    )

    log.forget(timedelta(days=3), now)

    assert old.replay < older.replay < young.replay
    assert [log.knows(e.replay) for e in (old, older, young)] == [False, True, True]
    assert log.read("/data/LeadChangeEvent", log.earliest(), 10) == [young]
    log.reset()
    assert not log.knows(young.replay)


def test_only_known_entities_are_selected(org: Org) -> None:
    """
    Names of objects and of change events are taken, anything else is refused.
    """
    org.select_entities(["LeadChangeEvent"])

    assert org.bus.selected == {"Lead"}
    with pytest.raises(ValueError, match="no object 'Organization'"):
        org.select_entities(["Organization"])
