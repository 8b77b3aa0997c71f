"""The REST API where the clients of the other files do not go: versions, collections, trees, replication."""

import gzip
import json
from typing import Any

import httpx2
import pytest
from testing.fake_salesforce.oauth_client import OAuthClient

from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce

V = "/services/data/v66.0"


@pytest.fixture
def api(oauth: OAuthClient, org: FakeSalesforce) -> httpx2.Client:
    """An HTTP client with a token of the org's first user."""
    oauth.http.headers["Authorization"] = f"Bearer {org.control.issue_token()['access_token']}"
    return oauth.http


def _codes(response: httpx2.Response) -> tuple[int, str]:
    return response.status_code, response.json()[0]["errorCode"]


def test_versions_need_no_session_and_do_not_count(oauth: OAuthClient, api: httpx2.Client) -> None:
    """
    The list is public, oldest first; unknown versions are not found, retired ones are gone.
    """
    headers = {"Authorization": ""}
    for path in ("/services/data", "/services/data/"):
        found = oauth.http.get(path, headers=headers)
        assert [v["version"] for v in found.json()][-2:] == ["66.0", "67.0"]
        assert "sforce-limit-info" not in found.headers

    assert _codes(oauth.http.get(f"{V}/limits", headers=headers)) == (401, "INVALID_AUTH_HEADER")
    assert _codes(api.get("/services/data/v99.0/limits")) == (404, "NOT_FOUND")
    assert _codes(api.get("/services/data/v21.0/limits")) == (410, "UNSUPPORTED_API_VERSION")
    for version in range(60, 68):
        assert api.get(f"/services/data/v{version}.0/sobjects/Lead/describe").status_code == 200
    assert api.get(V).json()["query"] == f"{V}/query"


def test_a_wrong_method_names_the_right_ones(api: httpx2.Client) -> None:
    """
    405 comes with Allow; POST with _HttpMethod stands for another method.
    """
    made = api.post(f"{V}/sobjects/Account", json={"Name": "Acme"})
    wrong = api.put(f"{V}/sobjects/Account", json={})
    patched = api.post(f"{made.headers['location']}?_HttpMethod=PATCH", json={"Phone": "1"})

    assert _codes(wrong) == (405, "METHOD_NOT_ALLOWED")
    assert wrong.headers["allow"] == "GET,POST"
    assert patched.status_code == 204
    assert api.get(made.headers["location"], params={"fields": "Phone"}).json()["Phone"] == "1"
    assert _codes(api.get(f"{V}/nothing")) == (404, "NOT_FOUND")


def test_bodies_may_be_compressed_and_must_be_json(api: httpx2.Client) -> None:
    """
    Gzip is understood; what does not parse is JSON_PARSER_ERROR.
    """
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    body = gzip.compress(json.dumps({"Name": "Acme"}).encode())

    assert api.post(f"{V}/sobjects/Account", content=body, headers=headers).status_code == 201
    bad = api.post(f"{V}/sobjects/Account", content=b"{", headers={"Content-Type": "application/json"})
    assert _codes(bad) == (400, "JSON_PARSER_ERROR")


def test_collections_change_delete_and_retrieve(api: httpx2.Client) -> None:
    """
    Up to 200 records in one call, each with its result in the order of the request.
    """
    records = [{"attributes": {"type": "Account"}, "Name": f"A{i}"} for i in range(3)]
    ids = [r["id"] for r in api.post(f"{V}/composite/sobjects", json={"records": records}).json()]
    changes = [{"attributes": {"type": "Account"}, "id": i, "Phone": "1"} for i in ids[:2]]
    changed = api.patch(f"{V}/composite/sobjects", json={"records": [*changes, {"Name": "?"}]}).json()
    found = api.get(f"{V}/composite/sobjects/Account", params={"ids": ",".join(ids), "fields": "Name,Phone"})
    deleted = api.delete(f"{V}/composite/sobjects", params={"ids": ",".join([*ids[:1], "bad"])}).json()
    rest = api.post(f"{V}/composite/sobjects/Account", json={"ids": ids, "fields": ["Name"]}).json()

    assert [r["success"] for r in changed] == [True, True, False]
    assert [r["Phone"] for r in found.json()] == ["1", "1", None]
    assert [r["success"] for r in deleted] == [True, False]
    assert [r and r["Name"] for r in rest] == [None, "A1", "A2"]
    too_many = api.post(f"{V}/composite/sobjects", json={"records": [{}] * 201})
    assert _codes(too_many) == (400, "EXCEEDED_ID_LIMIT")


def test_all_or_none_undoes_the_good_ones(api: httpx2.Client, org: FakeSalesforce) -> None:
    """
    One refused record rolls back its peers, which say so; no event is left of them.
    """
    org.control.select_entities(["Account"])
    records = [{"attributes": {"type": "Account"}, "Name": "A"}, {"attributes": {"type": "Account"}}]
    collection = api.post(f"{V}/composite/sobjects", json={"allOrNone": True, "records": records}).json()
    parts = [
        {"method": "POST", "url": f"{V}/sobjects/Account", "referenceId": "a", "body": {"Name": "A"}},
        {"method": "POST", "url": f"{V}/sobjects/Account", "referenceId": "b", "body": {}},
    ]
    composite = api.post(f"{V}/composite", json={"allOrNone": True, "compositeRequest": parts}).json()

    codes = [r["errors"][0]["statusCode"] for r in collection]
    assert codes == ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING"]
    assert [p["body"][0]["errorCode"] for p in composite["compositeResponse"]] == [
        "PROCESSING_HALTED", "REQUIRED_FIELD_MISSING"
    ]  # fmt: skip
    assert org.control.records("Account") == []
    assert org.control.events() == []


def test_a_tree_makes_children_with_their_parent(api: httpx2.Client) -> None:
    """
    All of a tree or nothing of it.
    """
    child = {"attributes": {"type": "Contact", "referenceId": "c1"}, "LastName": "Doe"}
    tree = {
        "attributes": {"type": "Account", "referenceId": "a1"},
        "Name": "Acme",
        "Contacts": {"records": [child]},
    }

    good = api.post(f"{V}/composite/tree/Account", json={"records": [tree]})
    del child["LastName"]
    bad = api.post(f"{V}/composite/tree/Account", json={"records": [tree]})

    assert good.status_code == 201
    assert [r["referenceId"] for r in good.json()["results"]] == ["a1", "c1"]
    contact = api.get(f"{V}/sobjects/Contact/{good.json()['results'][1]['id']}").json()
    assert contact["AccountId"] == good.json()["results"][0]["id"]
    assert (bad.status_code, bad.json()["hasErrors"]) == (400, True)
    assert api.get(f"{V}/query", params={"q": "SELECT COUNT() FROM Account"}).json()["totalSize"] == 1


def test_a_batch_runs_parts_that_know_nothing_of_each_other(api: httpx2.Client) -> None:
    """
    One part's failure does not stop the next.
    """
    parts = [
        {"method": "GET", "url": "v66.0/sobjects/Account/001000000000001AAA"},
        {"method": "POST", "url": "v66.0/sobjects/Account", "richInput": {"Name": "Acme"}},
    ]

    found = api.post(f"{V}/composite/batch", json={"batchRequests": parts}).json()

    assert found["hasErrors"] is True
    assert [r["statusCode"] for r in found["results"]] == [404, 201]


def test_what_changed_in_a_span_of_time_is_listed(api: httpx2.Client, org: FakeSalesforce) -> None:
    """
    A reader that lost events asks what was changed and deleted meanwhile.
    """
    kept = org.control.create_record("Lead", {"LastName": "Kept", "Company": "Acme"})
    gone = org.control.create_record("Lead", {"LastName": "Gone", "Company": "Acme"})
    org.control.delete_record("Lead", gone)
    span = {"start": "2020-01-01T00:00:00+00:00", "end": "2099-01-01T00:00:00+00:00"}

    updated = api.get(f"{V}/sobjects/Lead/updated/", params=span).json()
    deleted = api.get(f"{V}/sobjects/Lead/deleted/", params=span).json()
    short = api.get(f"{V}/sobjects/Lead/updated/", params={**span, "end": span["start"]})

    assert updated["ids"] == [kept]
    assert [d["id"] for d in deleted["deletedRecords"]] == [gone]
    assert _codes(short) == (400, "INVALID_REPLICATION_DATE")


def test_a_locator_belongs_to_its_user_and_dies_after_two_days(
    api: httpx2.Client, org: FakeSalesforce
) -> None:
    """
    Nobody else reads on, and nobody reads on after two days.
    """
    for i in range(250):
        org.control.create_record("Account", {"Name": f"A{i}"})
    headers = {"Sforce-Query-Options": "batchSize=10"}
    page = api.get(f"{V}/query", params={"q": "SELECT Id FROM Account"}, headers=headers).json()
    org.control.add_user("second@example.com", "secret")
    other = org.control.issue_token(username="second@example.com")["access_token"]

    stolen = api.get(page["nextRecordsUrl"], headers={"Authorization": f"Bearer {other}"})
    mine = api.get(page["nextRecordsUrl"])
    org.control.set_behaviour(session_timeout_seconds=1_000_000)
    org.control.advance_clock(2 * 86400 + 1)
    old = api.get(page["nextRecordsUrl"])

    assert page["nextRecordsUrl"].endswith("-200")
    assert _codes(stolen) == _codes(old) == (400, "INVALID_QUERY_LOCATOR")
    assert (mine.json()["done"], len(mine.json()["records"])) == (True, 50)


def test_entities_are_selected_through_the_tooling_api(api: httpx2.Client, org: FakeSalesforce) -> None:
    """
    A channel member is made and deleted as the documentation of Change Data Capture shows.
    """
    path = f"{V}/tooling/sobjects/PlatformEventChannelMember"
    body = {
        "FullName": "ChangeEvents_LeadChangeEvent",
        "Metadata": {"eventChannel": "ChangeEvents", "selectedEntity": "LeadChangeEvent"},
    }

    made = api.post(path, json=body)
    again = api.post(path, json=body)
    read = api.get(f"{path}/{made.json()['id']}").json()
    selected = sorted(org.state.bus.selected)
    deleted = api.delete(f"{path}/{made.json()['id']}")

    assert made.status_code == 201
    assert _codes(again) == (400, "DUPLICATE_VALUE")
    assert read["Metadata"]["selectedEntity"] == "LeadChangeEvent"
    assert (selected, deleted.status_code, org.state.bus.selected) == (["Lead"], 204, set())


def test_schemas_search_and_platform_events(api: httpx2.Client, org: FakeSalesforce) -> None:
    """
    A platform event is published by REST with success and a message; its schema has the id of the bus.
    """
    org.control.add_event("Order__e", "Order", [{"name": "Number__c"}, {"name": "At__c", "type": "datetime"}])
    org.control.create_record("Account", {"Name": "Acme Nord"})

    made = api.post(f"{V}/sobjects/Order__e", json={"Number__c": "A-1", "At__c": "2026-01-02T03:04:05Z"})
    schema = api.get(f"{V}/sobjects/Order__e/eventSchema").json()
    same = api.get(f"{V}/event/eventSchema/{schema['uuid']}").json()
    found = api.get(f"{V}/search", params={"q": "FIND {acme}"}).json()["searchRecords"]

    event = org.control.events()[0]
    assert made.status_code == 201
    assert made.json()["errors"][0] == {
        "statusCode": "OPERATION_ENQUEUED", "message": event["id"], "fields": []
    }  # fmt: skip
    assert (event["schema_id"], event["event"]["Number__c"]) == (schema["uuid"], "A-1")
    assert same["name"] == "Order__e"
    assert [r["attributes"]["type"] for r in found] == ["Account"]


def test_references_by_external_id_and_typed_values(api: httpx2.Client, org: FakeSalesforce) -> None:
    """
    A parent may be named by its external id; numbers, booleans and dates come back as such.
    """
    org.control.add_field("Account", "Key__c", external_id=True)
    org.control.create_record("Account", {"Name": "Acme", "Key__c": "K1"})
    fields: dict[str, Any] = {
        "Name": "Deal", "StageName": "Prospecting", "CloseDate": "2026-05-06", "Amount": 12.5,
        "Account": {"Key__c": "K1"}, "IsPrivate": True,
    }  # fmt: skip

    made = api.post(f"{V}/sobjects/Opportunity", json=fields)
    found = api.get(made.headers["location"]).json()
    unknown = api.post(f"{V}/sobjects/Opportunity", json={**fields, "Account": {"Key__c": "no"}})

    assert found["AccountId"] == org.control.records("Account")[0]["Id"]
    assert (found["Amount"], found["IsPrivate"], found["CloseDate"]) == (12.5, True, "2026-05-06")
    assert (found["Probability"], found["ExpectedRevenue"]) == (10.0, 1.25)
    assert _codes(unknown) == (400, "INVALID_FIELD")


def test_a_client_that_is_mapped_to_salesforces_names_gets_them(
    oauth: OAuthClient, org: FakeSalesforce
) -> None:
    """
    Behind a proxy that maps `login.salesforce.com` here, the instance is a My Domain name.
    """
    org.control.edit_app(org.details.client_id, client_credentials_user=org.details.username)
    fields = {
        "grant_type": "client_credentials", "client_id": org.details.client_id,
        "client_secret": org.details.client_secret,
    }  # fmt: skip
    domain = f"{org.state.my_domain}.my.salesforce.com"

    answer = oauth.http.post("/services/oauth2/token", data=fields, headers={"Host": domain}).json()
    refused = oauth.http.post("/services/oauth2/token", data=fields, headers={"Host": "login.salesforce.com"})

    assert answer["instance_url"] == f"https://{domain}"
    assert refused.json()["error_description"] == "request not supported on this domain"
