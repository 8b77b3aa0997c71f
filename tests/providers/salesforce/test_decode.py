"""From a Pub/Sub message to event data, against the samples of Salesforce's documentation."""

import io
import json
import time

import fastavro
import pytest

from ninelives_server.errors import ProviderError
from ninelives_server.providers.salesforce import decode

_STRINGS = {"type": "array", "items": "string"}
_HEADER = {
    "type": "record",
    "name": "ChangeEventHeader",
    "fields": [
        {"name": "entityName", "type": "string"},
        {"name": "recordIds", "type": _STRINGS},
        {
            "name": "changeType",
            "type": {
                "type": "enum",
                "name": "ChangeType",
                # The order is not documented: it must not matter.
                "symbols": [
                    "GAP_OVERFLOW",
                    "CREATE",
                    "UPDATE",
                    "DELETE",
                    "UNDELETE",
                    "GAP_UPDATE",
                    "SNAPSHOT",
                ],
            },
        },
        {"name": "changeOrigin", "type": "string"},
        {"name": "transactionKey", "type": "string"},
        {"name": "sequenceNumber", "type": "int"},
        {"name": "commitTimestamp", "type": "long"},
        {"name": "commitNumber", "type": "long"},
        {"name": "commitUser", "type": "string"},
        {"name": "nulledFields", "type": _STRINGS},
        {"name": "diffFields", "type": _STRINGS},
        {"name": "changedFields", "type": _STRINGS},
    ],
}
_ADDRESS = {
    "type": "record",
    "name": "Address",
    "fields": [
        {"name": name, "type": ["null", kind], "default": None}
        for name, kind in [
            ("Street", "string"),
            ("City", "string"),
            ("PostalCode", "string"),
            ("Latitude", "double"),
        ]
    ],
}
_PERSON_NAME = {
    "type": "record",
    "name": "Switchable_PersonName",
    "fields": [
        {"name": name, "type": ["null", "string"], "default": None}
        for name in ("Salutation", "FirstName", "LastName")
    ],
}


def a_schema(name: str, places: dict[int, tuple[str, object]], size: int) -> decode.Schema:
    """Make a schema that has the named fields at the places that the documentation gives them."""
    fields = [{"name": "ChangeEventHeader", "type": _HEADER}]
    for place in range(1, size):
        field, kind = places.get(place, (f"Filler{place}", "string"))
        options = kind if isinstance(kind, list) else [kind]
        fields.append({"name": field, "type": ["null", *options], "default": None})
    document = {"type": "record", "name": name, "namespace": "com.sforce.eventbus", "fields": fields}
    return decode.parse(json.dumps(document))


ACCOUNT = a_schema(
    "AccountChangeEvent",
    {
        1: ("Name", ["string", _PERSON_NAME]),
        4: ("BillingAddress", _ADDRESS),
        5: ("ShippingAddress", "Address"),  # Avro defines a record once and names it from then on
        11: ("Industry", "string"),
        12: ("AnnualRevenue", "double"),
        16: ("Description", "string"),
        22: ("LastModifiedDate", "long"),
    },
    24,
)
LEAD = a_schema(
    "LeadChangeEvent",
    {
        12: ("Status", "string"),
        19: ("IsConverted", "boolean"),
        20: ("ConvertedDate", "long"),
        21: ("ConvertedAccountId", "string"),
        22: ("ConvertedContactId", "string"),
        23: ("ConvertedOpportunityId", "string"),
        27: ("LastModifiedDate", "long"),
    },
    40,
)


def a_header(change_type: str = "UPDATE", **changes) -> dict:
    return {
        "entityName": "Account",
        "recordIds": ["0015500000NyZ6MAAV"],
        "changeType": change_type,
        "changeOrigin": "com/salesforce/api/rest/67.0;client=ninelives",
        "transactionKey": "0001ade9-3f74-0b99-dbc4-42e73424b774",
        "sequenceNumber": 1,
        "commitTimestamp": 1_700_000_000_000,
        "commitNumber": 11_693_500_000_000,
        "commitUser": "00555000001ABCDAA4",
        "nulledFields": [],
        "diffFields": [],
        "changedFields": [],
        **changes,
    }


def a_payload(schema: decode.Schema, header: dict, **fields) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema.avro, {"ChangeEventHeader": header, **fields})
    return out.getvalue()


@pytest.mark.parametrize(
    ("schema", "bitmaps", "expected"),
    [
        (ACCOUNT, ["0x400800"], ["Industry", "LastModifiedDate"]),
        (ACCOUNT, ["0x410000"], ["Description", "LastModifiedDate"]),
        (ACCOUNT, ["0x400000", "4-0x01"], ["LastModifiedDate", "BillingAddress.Street"]),
        (ACCOUNT, ["5-0x06"], ["ShippingAddress.City", "ShippingAddress.PostalCode"]),
        (ACCOUNT, ["1-0x05"], ["Name.Salutation", "Name.LastName"]),
        (
            LEAD,
            ["0x08F81000"],
            [
                "Status",
                "IsConverted",
                "ConvertedDate",
                "ConvertedAccountId",
                "ConvertedContactId",
                "ConvertedOpportunityId",
                "LastModifiedDate",
            ],
        ),
        (LEAD, ["0x08f81000"], decode.names(LEAD, ["0x08F81000"])),
        (ACCOUNT, [], []),
        (ACCOUNT, ["0x00"], []),
        (ACCOUNT, ["0x80000000"], ["#31"]),
        (ACCOUNT, ["9-0x01"], ["Filler9.#0"]),
    ],
    ids=[*"abcdefghijk"],
)
def test_bitmaps_become_names(schema, bitmaps, expected):
    """
    The documented samples: bit i is field i of the schema, the header being field 0; `P-0x…` are the parts of P.
    """
    assert decode.names(schema, bitmaps) == expected


def test_an_update_has_only_what_changed():
    """
    In the message unchanged and cleared fields look alike; in the event a cleared one is None, an unchanged one
    is not there.
    """
    header = a_header(changedFields=["0x410800", "4-0x03"], nulledFields=["0x010000", "4-0x02"])
    payload = a_payload(
        ACCOUNT,
        header,
        Industry="Energy",
        LastModifiedDate=1_700_000_000_000,
        BillingAddress={"Street": "1 Main St", "City": None, "PostalCode": None, "Latitude": None},
    )

    data = decode.decode(ACCOUNT, payload)

    shown = data.pop("ChangeEventHeader")
    assert data == {
        "Industry": "Energy",
        "Description": None,
        "LastModifiedDate": 1_700_000_000_000,
        "BillingAddress": {"Street": "1 Main St", "City": None},
    }
    assert shown["changedFields"] == [
        "Industry",
        "Description",
        "LastModifiedDate",
        "BillingAddress.Street",
        "BillingAddress.City",
    ]
    assert shown["nulledFields"] == ["Description", "BillingAddress.City"]
    assert shown["changeType"] == "UPDATE"
    assert shown["recordIds"] == ["0015500000NyZ6MAAV"]


def test_a_compound_field_that_was_cleared_is_none():
    """
    Salesforce may set the parent's bit, the parts' bits, or both.
    """
    parent = a_payload(
        ACCOUNT, a_header(changedFields=["0x400010"], nulledFields=["0x10"]), LastModifiedDate=1
    )
    parts = a_payload(ACCOUNT, a_header(changedFields=["0x400000", "4-0x0F"]), LastModifiedDate=1)

    assert decode.decode(ACCOUNT, parent)["BillingAddress"] is None
    assert decode.decode(ACCOUNT, parts)["BillingAddress"] is None


def test_a_long_text_s_difference_is_kept_and_named():
    """
    Texts over 1,000 characters may come as a unified diff, named in `diffFields`.
    """
    payload = a_payload(
        ACCOUNT,
        a_header(changedFields=["0x400000"], diffFields=["0x010000"]),
        Description="--- \n+++ ab",
        LastModifiedDate=1,
    )

    data = decode.decode(ACCOUNT, payload)

    assert data["ChangeEventHeader"]["diffFields"] == ["Description"]
    assert data["Description"].startswith("---")


@pytest.mark.parametrize("change_type", ["CREATE", "UNDELETE"])
def test_a_whole_record_keeps_every_field(change_type):
    """
    A created record's empty fields are known to be empty: a filter may ask for them.
    """
    payload = a_payload(ACCOUNT, a_header(change_type), Name="Acme", Industry=None)

    data = decode.decode(ACCOUNT, payload)

    assert data["Name"] == "Acme"
    assert data["Industry"] is None
    assert set(data) == set(ACCOUNT.fields)


@pytest.mark.parametrize("change_type", ["DELETE", "GAP_UPDATE", "GAP_OVERFLOW"])
def test_what_says_nothing_of_fields_has_the_header_only(change_type):
    """
    The empty fields of a deletion or a gap mean nothing and must not look like cleared ones.
    """
    payload = a_payload(ACCOUNT, a_header(change_type))

    assert list(decode.decode(ACCOUNT, payload)) == ["ChangeEventHeader"]


def test_a_person_account_s_name_is_a_record_or_a_text():
    """
    A switchable field has both types.
    """
    name = {"Salutation": None, "FirstName": "Ada", "LastName": "Byron"}

    assert decode.decode(ACCOUNT, a_payload(ACCOUNT, a_header("CREATE"), Name=name))["Name"] == name
    assert decode.decode(ACCOUNT, a_payload(ACCOUNT, a_header("CREATE"), Name="Acme"))["Name"] == "Acme"


def test_an_event_is_named_by_its_entity_and_its_place_in_the_transaction():
    """
    A trigger names the entity in lower case; the same change is the same event on every topic and at each
    delivery, whatever id the message has.
    """
    payload = a_payload(ACCOUNT, a_header("CREATE"), Name="Acme")

    one = decode.received(ACCOUNT, "uuid-1", payload)
    other_topic = decode.received(ACCOUNT, "uuid-2", payload)
    next_change = decode.received(
        ACCOUNT, "uuid-3", a_payload(ACCOUNT, a_header("CREATE", sequenceNumber=2), Name="Acme")
    )

    assert (one.event_type, one.record_id) == ("account", "0015500000NyZ6MAAV")
    assert one.memo["event_uuid"] == "uuid-1"
    assert one.memo["change_type"] == "CREATE"
    assert one.source_key == other_topic.source_key != next_change.source_key
    assert len(one.source_key) < 250


def test_a_platform_event_is_named_by_itself():
    """
    It has no header; its id is what tells it from others.
    """
    document = {
        "type": "record",
        "name": "Low_Ink__e",
        "fields": [
            {"name": "CreatedDate", "type": "long"},
            {"name": "Printer__c", "type": ["null", "string"], "default": None},
        ],
    }
    schema = decode.parse(json.dumps(document))
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema.avro, {"CreatedDate": 5, "Printer__c": "p"})

    found = decode.received(schema, "uuid-1", out.getvalue())

    assert (found.event_type, found.source_key, found.record_id) == ("low_ink__e", "uuid-1", None)
    assert found.data == {"CreatedDate": 5, "Printer__c": "p"}


@pytest.mark.parametrize("payload", [b"", b"\xff" * 40, b"\x02"])
def test_bytes_that_do_not_fit_are_a_provider_s_error(payload):
    """
    One broken message must not look like a defect of ours.
    """
    with pytest.raises(ProviderError, match="AccountChangeEvent"):
        decode.received(ACCOUNT, "uuid", payload)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"type": "record", "name": "X"}', '{"type": "nope"}'])
def test_a_schema_that_is_none_is_a_provider_s_error(text):
    """
    The same for schemas.
    """
    with pytest.raises(ProviderError, match="schema"):
        decode.parse(text)


def test_schemas_are_kept_by_id_and_the_oldest_go():
    """
    A stream that lives for months sees many versions of a schema; memory stays flat.
    """
    schemas = decode.Schemas()
    text = json.dumps({"type": "record", "name": "X", "fields": []})

    for number in range(decode._SCHEMAS_KEPT + 10):
        schemas.add(str(number), text)

    assert schemas.find("0") is None
    assert schemas.find(str(decode._SCHEMAS_KEPT + 9)) is not None


def test_decoding_is_fast_enough():
    """
    5,000 events a second are to be decoded and stored; decoding alone must leave most of the time to storing.
    """
    payload = a_payload(
        ACCOUNT,
        a_header(changedFields=["0x410800", "4-0x03"]),
        Industry="Energy",
        Description="x" * 200,
        LastModifiedDate=1,
        BillingAddress={"Street": "1 Main St", "City": "Z", "PostalCode": None, "Latitude": None},
    )

    best = min(_seconds_for(1000, payload) for _ in range(5))

    assert best < 0.2, f"1,000 events took {best:.3f} s"


def _seconds_for(count: int, payload: bytes) -> float:
    start = time.perf_counter()
    for _ in range(count):
        decode.received(ACCOUNT, "uuid", payload)
    return time.perf_counter() - start
