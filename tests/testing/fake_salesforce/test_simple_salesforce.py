"""simple-salesforce 1.12 against the fake org: records, queries, exceptions, limits."""

from typing import Any

import pytest
import requests
from simple_salesforce import Salesforce, exceptions

from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce


@pytest.fixture
def session(org: FakeSalesforce) -> requests.Session:
    """A requests session that trusts the org."""
    session = requests.Session()
    session.trust_env = False
    session.verify = org.details.ca_file
    return session


@pytest.fixture
def crm(org: FakeSalesforce, session: requests.Session) -> Salesforce:
    """A client with a token of the org's first user."""
    token = org.control.issue_token()
    return Salesforce(
        instance_url=token["instance_url"], session_id=token["access_token"], session=session, version="66.0"
    )


def test_records_are_made_read_changed_and_deleted(crm: Any) -> None:
    """
    The life of a record, in the shapes that the client expects.
    """
    made = crm.Contact.create({"LastName": "Smith", "Email": "smith@example.com", "MailingCity": "Bonn"})
    assert crm.Contact.update(made["id"], {"FirstName": "Jo", "Birthdate": "1990-02-03"}) == 204
    found = crm.Contact.get(made["id"])
    assert crm.Contact.delete(made["id"]) == 204

    assert (found["Name"], found["Birthdate"]) == ("Jo Smith", "1990-02-03")
    assert found["MailingAddress"]["city"] == "Bonn"
    assert found["CreatedDate"].endswith(".000+0000")
    assert found["OwnerId"] == found["CreatedById"]
    with pytest.raises(exceptions.SalesforceResourceNotFound, match="ENTITY_IS_DELETED"):
        crm.Contact.get(made["id"])


def test_ids_of_15_and_18_characters_name_the_same_record(crm: Any) -> None:
    """
    The API returns 18 characters and takes both; a changed letter case is an error.
    """
    record_id = crm.Account.create({"Name": "Acme"})["id"]

    assert len(record_id) == 18
    assert crm.Account.get(record_id[:15])["Id"] == record_id
    with pytest.raises(exceptions.SalesforceMalformedRequest, match="MALFORMED_ID"):
        crm.Account.get(record_id.swapcase())


def test_query_all_reads_every_page(crm: Any, org: FakeSalesforce) -> None:
    """
    `query_all` follows the locators; related fields come as nested records.
    """
    org.control.set_behaviour(query_batch_size=200)
    acme = crm.Account.create({"Name": "Acme"})["id"]
    for i in range(450):
        org.control.create_record("Contact", {"LastName": f"C{i:03d}", "AccountId": acme})

    found = crm.query_all(
        "SELECT LastName, Account.Name, Account.Owner.Name FROM Contact ORDER BY LastName DESC"
    )

    assert (found["totalSize"], found["done"], len(found["records"])) == (450, True, 450)
    assert found["records"][0]["LastName"] == "C449"
    assert found["records"][0]["Account"]["Owner"]["Name"] == "Ada Admin"


def test_deleted_records_show_in_query_all_rows_only(crm: Any) -> None:
    """
    `queryAll` sees the recycle bin, `query` does not.
    """
    lead = crm.Lead.create({"LastName": "Doe", "Company": "Acme"})["id"]
    crm.Lead.delete(lead)

    assert crm.query("SELECT Id FROM Lead")["totalSize"] == 0
    found = crm.query_all("SELECT Id, IsDeleted FROM Lead", include_deleted=True)["records"]
    assert [(r["Id"], r["IsDeleted"]) for r in found] == [(lead, True)]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "REQUIRED_FIELD_MISSING"),
        ({"Name": "x" * 256}, "STRING_TOO_LONG"),
        ({"Name": "A", "Nothing": 1}, "INVALID_FIELD"),
        ({"Name": "A", "CreatedDate": "2026-01-01T00:00:00Z"}, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ({"Name": "A", "CleanStatus": "Wrong"}, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
        ({"Name": "A", "ParentId": "nonsense"}, "MALFORMED_ID"),
        ({"Name": "A", "ParentId": "001000000000001AAA"}, "INVALID_CROSS_REFERENCE_KEY"),
        ({"Name": "A", "AnnualRevenue": "much"}, "JSON_PARSER_ERROR"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_code(crm: Any, fields: dict[str, Any], code: str) -> None:
    """
    Each refusal is a 400 with an array of errors.
    """
    with pytest.raises(exceptions.SalesforceMalformedRequest) as caught:
        crm.Account.create(fields)

    assert caught.value.content[0]["errorCode"] == code
    assert crm.query("SELECT Id FROM Account")["totalSize"] == 0


def test_an_ambiguous_external_id_lists_the_records(crm: Any, org: FakeSalesforce) -> None:
    """
    More than one match is status 300 with the records' paths.
    """
    org.control.add_field("Account", "Key__c", external_id=True)
    for _ in range(2):
        crm.Account.create({"Name": "Acme", "Key__c": "K"})

    with pytest.raises(exceptions.SalesforceMoreThanOneRecord) as caught:
        crm.Account.get_by_custom_id("Key__c", "K")

    assert len(caught.value.content) == 2
    assert crm.Account.upsert("Key__c/New", {"Name": "New"}) == 201


def test_an_expired_session_raises_the_clients_own_exception(crm: Any, org: FakeSalesforce) -> None:
    """
    401 comes with INVALID_SESSION_ID in an array.
    """
    org.control.expire_sessions()

    with pytest.raises(exceptions.SalesforceExpiredSession) as caught:
        crm.query("SELECT Id FROM Lead")

    assert caught.value.content == [
        {"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}
    ]


def test_a_used_up_allocation_refuses_security(crm: Any, org: FakeSalesforce) -> None:
    """
    403 REQUEST_LIMIT_EXCEEDED, and the limits header counts calls.
    """
    crm.limits()
    assert crm.api_usage["api-usage"].used == 1
    org.control.set_behaviour(daily_api_requests=1, enforce_api_limit=True)

    with pytest.raises(exceptions.SalesforceRefusedRequest, match="REQUEST_LIMIT_EXCEEDED"):
        crm.limits()


def test_client_credentials_work_once_a_user_is_set(org: FakeSalesforce, session: requests.Session) -> None:
    """
    The client sends HTTP Basic; without a run-as user the grant is refused.
    """
    app, domain = org.details.client_id, org.details.login_url.removeprefix("https://")
    data = {"grant_type": "client_credentials"}
    basic = (app, org.details.client_secret)
    url = f"https://{domain}/services/oauth2/token"

    refused = session.post(url, data=data, auth=basic)
    org.control.edit_app(app, client_credentials_user=org.details.username)
    granted = session.post(url, data=data, auth=basic)

    assert refused.json()["error_description"] == "no client credentials user enabled"
    assert granted.status_code == 200
    assert "refresh_token" not in granted.json()


def test_changes_are_signed_with_the_users_name(crm: Any, org: FakeSalesforce) -> None:
    """
    Whoever's token makes the change is its author; somebody else's change carries theirs.
    """
    org.control.add_user("second@example.com", "secret", "Sam", "Second")
    lead = org.control.create_record(
        "Lead", {"LastName": "Doe", "Company": "Acme"}, username="second@example.com"
    )

    crm.Lead.update(lead, {"Status": "Working - Contacted"})

    soql = f"SELECT CreatedBy.Name, LastModifiedBy.Name, Owner.Name FROM Lead WHERE Id = '{lead}'"
    found = crm.query(soql)["records"][0]
    names = [found[n]["Name"] for n in ("CreatedBy", "LastModifiedBy", "Owner")]
    assert names == ["Sam Second", "Ada Admin", "Sam Second"]


def test_the_client_option_lands_in_the_change_origin(crm: Any, org: FakeSalesforce) -> None:
    """
    `Sforce-Call-Options: client=…` is how a program recognises its own changes.
    """
    org.control.select_entities(["Lead"])

    crm.Lead.create(
        {"LastName": "Doe", "Company": "Acme"}, headers={"Sforce-Call-Options": "client=ninelives"}
    )

    header = org.control.events()[0]["event"]["ChangeEventHeader"]
    assert header["changeOrigin"] == "com/salesforce/api/rest/66.0;client=ninelives"
