"""jsforce 3.10 against the fake org: web server flow, refresh, records, queries."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce
from ninelives_server.testing.fake_salesforce.visitor import Visitor

CALLBACK = "http://localhost:9980/oauth/redirect/salesforce"


@pytest.fixture
def jsforce(node_client: Callable[[str], Any], org: FakeSalesforce) -> Any:
    """A jsforce client that is configured for the org's app."""
    client = node_client("jsforce.mjs")
    found = client.get("configure", **_oauth(org, org.details.login_url))
    assert found["verifierLength"] == 171
    return client


def _oauth(org: FakeSalesforce, login_url: str) -> dict[str, Any]:
    return {
        "loginUrl": login_url, "clientId": org.details.client_id, "redirectUri": CALLBACK,
        "clientSecret": org.details.client_secret, "useVerifier": True,
    }  # fmt: skip


def _code(client: Any, visitor: Visitor, scope: str = "api refresh_token id") -> str:
    url = client.get("authorizeUrl", scope=scope, state="s1")
    callback = visitor.authorize(url)
    query = parse_qs(urlsplit(callback).query)
    assert callback.startswith(CALLBACK)
    assert query["state"] == ["s1"]
    return query["code"][0]


def test_jsforce_connects_with_code_and_verifier(jsforce: Any, visitor: Visitor, org: FakeSalesforce) -> None:
    """
    The web server flow with PKCE works with the 171 characters and without the method parameter that
    jsforce uses, and the tokens work.
    """
    tokens = jsforce.get("login", code=_code(jsforce, visitor))

    assert tokens["instanceUrl"] == org.details.instance_url
    assert tokens["refreshToken"].startswith("5Aep861")
    assert tokens["user"]["organizationId"] == org.details.org_id
    assert jsforce.get("identity")["username"] == org.details.username


def test_jsforce_connects_over_plain_http(
    node_client: Callable[[str], Any], visitor: Visitor, org: FakeSalesforce
) -> None:
    """
    A client that was directed at the plain port stays there: the org names that port as its instance.
    """
    client = node_client("jsforce.mjs")
    client.get("configure", **_oauth(org, str(org.http_url)))

    tokens = client.get("login", code=_code(client, visitor))

    assert tokens["instanceUrl"] == org.http_url
    assert client.get("query", soql="SELECT Id FROM Lead")["totalSize"] == 0


def test_a_code_works_once(jsforce: Any, visitor: Visitor) -> None:
    """
    A code that was traded is refused in the words that Salesforce uses for old ones.
    """
    code = _code(jsforce, visitor)
    jsforce.get("requestToken", code=code)

    error = jsforce.error("requestToken", code=code)

    assert (error["name"], error["message"]) == ("invalid_grant", "expired authorization code")


def test_another_verifier_is_refused(
    jsforce: Any, node_client: Callable[[str], Any], visitor: Visitor, org: FakeSalesforce
) -> None:
    """
    Whoever has the code and not the verifier gets nothing.
    """
    code = _code(jsforce, visitor)
    thief = node_client("jsforce.mjs")
    thief.get("configure", **_oauth(org, org.details.login_url))

    error = thief.error("requestToken", code=code)

    assert error["message"] == "invalid code verifier"
    assert org.control.tokens()["access_tokens"] == 0


def test_an_expired_session_is_refreshed_and_the_call_repeated(
    jsforce: Any, visitor: Visitor, org: FakeSalesforce
) -> None:
    """
    401 INVALID_SESSION_ID has the shape that makes jsforce refresh and try again.
    """
    jsforce.get("login", code=_code(jsforce, visitor))
    org.control.expire_sessions()

    found = jsforce.get("query", soql="SELECT Id FROM Account")

    assert found["done"] is True
    assert jsforce.get("refreshed") == 1


def test_rotation_returns_a_new_refresh_token_and_reuse_ends_the_grant(
    jsforce: Any, visitor: Visitor, org: FakeSalesforce
) -> None:
    """
    With rotation, the answer to a refresh holds a new token; presenting the old one kills both.
    """
    first = jsforce.get("login", code=_code(jsforce, visitor))["refreshToken"]
    second = jsforce.get("refreshToken", token=first)["refresh_token"]
    assert second != first

    reuse = jsforce.error("refreshToken", token=first)
    after = jsforce.error("refreshToken", token=second)

    assert reuse["message"] == after["message"] == "expired access/refresh token"
    assert org.control.tokens()["access_tokens_live"] == 0


def test_without_rotation_the_answer_has_no_refresh_token(
    jsforce: Any, visitor: Visitor, org: FakeSalesforce
) -> None:
    """
    An app without rotation keeps its refresh token, and the answer does not repeat it.
    """
    org.control.edit_app(org.details.client_id, rotate_refresh_tokens=False)
    token = jsforce.get("login", code=_code(jsforce, visitor))["refreshToken"]

    answers = [jsforce.get("refreshToken", token=token) for _ in range(2)]

    assert all("refresh_token" not in answer for answer in answers)
    assert all("expires_in" not in answer for answer in answers)


def test_logout_revokes_the_grant(jsforce: Any, visitor: Visitor, org: FakeSalesforce) -> None:
    """
    Jsforce's logout posts the refresh token to revoke, in chunks; nothing works afterwards.
    """
    tokens = jsforce.get("login", code=_code(jsforce, visitor))

    jsforce.get("logout")

    assert org.control.tokens()["grants_live"] == 0
    assert jsforce.error("refreshToken", token=tokens["refreshToken"])["name"] == "invalid_grant"


def test_records_are_made_changed_and_deleted(jsforce: Any, visitor: Visitor) -> None:
    """
    The shapes of create, retrieve, update, delete and their errors are those that jsforce reads.
    """
    jsforce.get("login", code=_code(jsforce, visitor))

    made = jsforce.get("create", type="Lead", fields={"LastName": "Doe", "Company": "Acme"})
    jsforce.get("update", type="Lead", fields={"Id": made["id"], "Rating": "Hot"})
    found = jsforce.get("retrieve", type="Lead", id=made["id"])
    jsforce.get("destroy", type="Lead", id=made["id"])
    gone = jsforce.error("destroy", type="Lead", id=made["id"])
    missing = jsforce.error("create", type="Lead", fields={"LastName": "Doe"})

    assert made["success"] is True
    assert (found["Rating"], found["Name"]) == ("Hot", "Doe")
    assert gone["errorCode"] == "ENTITY_IS_DELETED"
    assert missing["errorCode"] == "REQUIRED_FIELD_MISSING"


def test_many_records_at_once_and_every_page(jsforce: Any, visitor: Visitor, org: FakeSalesforce) -> None:
    """
    An array goes through the collections resource; a long query is read page by page.
    """
    org.control.set_behaviour(query_batch_size=200)
    jsforce.get("login", code=_code(jsforce, visitor))
    for start in range(0, 450, 150):
        rows = [{"Name": f"Account {start + i:03d}"} for i in range(150)]
        results = jsforce.get("create", type="Account", fields=rows)
        assert all(r["success"] for r in results)

    page = jsforce.get("query", soql="SELECT Id, Name FROM Account ORDER BY Name")
    ids = jsforce.get("queryEvery", soql="SELECT Id FROM Account")

    assert (page["totalSize"], page["done"], len(page["records"])) == (450, False, 200)
    second = jsforce.get("queryMore", url=page["nextRecordsUrl"])
    third = jsforce.get("queryMore", url=second["nextRecordsUrl"])
    assert third["done"] is True
    assert [r["Name"] for r in third["records"]] == [f"Account {i:03d}" for i in range(400, 450)]
    assert len(set(ids)) == 450


def test_one_bad_record_of_a_collection_does_not_stop_the_others(jsforce: Any, visitor: Visitor) -> None:
    """
    Each record of a collection succeeds or fails for itself, unless all or none are asked for.
    """
    jsforce.get("login", code=_code(jsforce, visitor))

    results = jsforce.get("create", type="Account", fields=[{"Name": "Acme"}, {"Phone": "1"}])

    assert [r["success"] for r in results] == [True, False]
    assert results[1]["errors"][0]["statusCode"] == "REQUIRED_FIELD_MISSING"
    assert jsforce.get("query", soql="SELECT COUNT() FROM Account")["totalSize"] == 1


def test_find_describe_and_upsert(jsforce: Any, visitor: Visitor, org: FakeSalesforce) -> None:
    """
    What jsforce builds from conditions parses, describe has what it reads, and upsert finds by external id.
    """
    org.control.add_field("Account", "Key__c", external_id=True, unique=True)
    jsforce.get("login", code=_code(jsforce, visitor))

    first = jsforce.get("upsert", type="Account", fields={"Name": "Acme", "Key__c": "A1"}, key="Key__c")
    again = jsforce.get("upsert", type="Account", fields={"Name": "Acme 2", "Key__c": "A1"}, key="Key__c")
    found = jsforce.get(
        "find", type="Account", fields=["Id", "Name", "Owner.Name"],
        conditions={"Name": {"$like": "Acme%"}, "$or": [{"Key__c": "A1"}, {"Phone": None}]},
    )  # fmt: skip
    described = jsforce.get("describe", type="Account")

    assert again["id"] == first["id"]
    assert [r["Name"] for r in found] == ["Acme 2"]
    assert found[0]["Owner"]["Name"] == "Ada Admin"
    key = next(f for f in described["fields"] if f["name"] == "Key__c")
    assert (key["externalId"], key["custom"], key["type"]) == (True, True, "string")
    assert "Lead" in [s["name"] for s in jsforce.get("describeGlobal")["sobjects"]]


def test_composite_requests_refer_to_each_other(jsforce: Any, visitor: Visitor) -> None:
    """
    A later part uses the id of an earlier one; a part that depends on a failed one is not carried out.
    """
    jsforce.get("login", code=_code(jsforce, visitor))
    base = "/services/data/v66.0/sobjects"
    body = {
        "compositeRequest": [
            {"method": "POST", "url": f"{base}/Account", "referenceId": "acc", "body": {"Name": "Acme"}},
            {"method": "POST", "url": f"{base}/Contact", "referenceId": "con",
             "body": {"LastName": "Doe", "AccountId": "@{acc.id}"}},
            {"method": "GET", "url": f"{base}/Account/@{{acc.id}}?fields=Name", "referenceId": "read"},
            {"method": "POST", "url": f"{base}/Contact", "referenceId": "bad", "body": {}},
            {"method": "GET", "url": f"{base}/Contact/@{{bad.id}}", "referenceId": "dependent"},
        ]
    }  # fmt: skip

    parts = {p["referenceId"]: p for p in jsforce.get("composite", body=body)["compositeResponse"]}

    assert parts["con"]["httpStatusCode"] == 201
    assert parts["read"]["body"]["Name"] == "Acme"
    assert parts["bad"]["body"][0]["errorCode"] == "REQUIRED_FIELD_MISSING"
    assert parts["dependent"]["body"][0]["errorCode"] == "PROCESSING_HALTED"


def test_a_tooling_query_names_the_selected_entities(
    jsforce: Any, visitor: Visitor, org: FakeSalesforce
) -> None:
    """
    A client can learn whether an entity is selected for Change Data Capture; a new org has none.
    """
    jsforce.get("login", code=_code(jsforce, visitor))
    soql = "SELECT SelectedEntity FROM PlatformEventChannelMember WHERE EventChannel = 'ChangeEvents'"
    before = jsforce.get("tooling", soql=soql)

    org.control.select_entities(["Lead"])
    after = jsforce.get("tooling", soql=soql)

    assert before["totalSize"] == 0
    assert [r["SelectedEntity"] for r in after["records"]] == ["LeadChangeEvent"]
