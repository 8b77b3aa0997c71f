"""The SOQL subset: what a query finds, in which order, and how mistakes are worded."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from ninelives_server.clock import SystemClock
from ninelives_server.testing.fake_salesforce.behaviour import Behaviour
from ninelives_server.testing.fake_salesforce.faults import RestError
from ninelives_server.testing.fake_salesforce.http import Call
from ninelives_server.testing.fake_salesforce.org import Org
from ninelives_server.testing.fake_salesforce.rest import query
from ninelives_server.testing.fake_salesforce.rest.request import Request
from ninelives_server.testing.fake_salesforce.soql import dates
from ninelives_server.testing.fake_salesforce.soql.syntax import DateLiteral

Find = Callable[[str], list[Any]]


@pytest.fixture(scope="module")
def org() -> Org:
    """Four accounts, three contacts and an opportunity."""
    org = Org(clock=SystemClock(), behaviour=Behaviour())
    user = org.add_user(username="a@b.c", password="p", first_name="Ada", last_name="Admin", email="a@b.c")
    account, contact = org.catalog.find("Account"), org.catalog.find("Contact")
    opportunity = org.catalog.find("Opportunity")
    assert account
    assert contact
    assert opportunity
    with org.writing(user, "") as unit:
        rows = [
            ("Acme", "Energy", 500),
            ("beta's", None, None),
            ("Acme Nord", "Banking", 20),
            ("Zeta", "Energy", 7),
        ]
        ids = [unit.insert(account, {"Name": n, "Industry": i, "NumberOfEmployees": e}) for n, i, e in rows]
        for last, parent in (("Ash", 0), ("Birch", 0), ("Cedar", None)):
            unit.insert(contact, {"LastName": last, "AccountId": None if parent is None else ids[parent]})
        unit.insert(
            opportunity, {"Name": "Deal", "StageName": "Closed Won", "CloseDate": "2026-03-04", "Amount": 10}
        )
    return org


@pytest.fixture
def run(org: Org) -> Callable[..., Any]:
    """Runs a query and returns the body of the answer."""

    def run(soql: str, **options: str) -> Any:
        call = Call(method="GET", path="/", query={"q": soql, **options})
        user = org.users()[0]["Id"]
        return query.query(Request(org=org, call=call, user_id=user, version="66.0"), {}).body

    return run


@pytest.fixture
def names(run: Callable[..., Any]) -> Find:
    """Returns the names of the accounts that a condition finds."""
    return lambda where: [r["Name"] for r in run(f"SELECT Name FROM Account WHERE {where}")["records"]]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("Name = 'ACME'", ["Acme"]),
        ("Name != 'acme'", ["beta's", "Acme Nord", "Zeta"]),
        (r"Name = 'beta\'s'", ["beta's"]),
        ("Name LIKE 'acme%'", ["Acme", "Acme Nord"]),
        ("Name LIKE '_eta%'", ["beta's", "Zeta"]),
        ("(NOT Name LIKE 'acme%')", ["beta's", "Zeta"]),
        ("Industry = null", ["beta's"]),
        ("Industry != NULL AND NumberOfEmployees > 10", ["Acme", "Acme Nord"]),
        ("NumberOfEmployees <= 20 OR Industry = null", ["beta's", "Acme Nord", "Zeta"]),
        ("NumberOfEmployees >= 20 AND (Industry = 'Energy' OR Industry = 'Banking')", ["Acme", "Acme Nord"]),
        ("NumberOfEmployees < 20", ["Zeta"]),
        ("Name IN ('acme', 'zeta')", ["Acme", "Zeta"]),
        ("Name NOT IN ('acme', 'zeta')", ["beta's", "Acme Nord"]),
        ("Owner.Name = 'Ada Admin' AND Industry = 'Banking'", ["Acme Nord"]),
        ("CreatedDate = TODAY AND Industry = 'Banking'", ["Acme Nord"]),
        ("CreatedDate > 2020-01-01T00:00:00Z AND CreatedDate < LAST_N_DAYS:0", []),
        ("Id IN (SELECT AccountId FROM Contact WHERE LastName = 'Ash')", ["Acme"]),
        ("Id NOT IN (SELECT AccountId FROM Contact)", ["beta's", "Acme Nord", "Zeta"]),
        ("IsDeleted = false AND Name = 'Zeta'", ["Zeta"]),
    ],
)
def test_conditions_find_the_rows(names: Find, where: str, found: list[str]) -> None:
    """
    Texts compare without letter case, `!=` finds nulls, relationships are followed.
    """
    assert names(where) == found


@pytest.mark.parametrize(
    ("rest", "found"),
    [
        ("ORDER BY Name", ["Acme", "Acme Nord", "beta's", "Zeta"]),
        ("ORDER BY Name DESC LIMIT 2", ["Zeta", "beta's"]),
        ("ORDER BY NumberOfEmployees", ["beta's", "Zeta", "Acme Nord", "Acme"]),
        ("ORDER BY NumberOfEmployees DESC NULLS LAST", ["Acme", "Acme Nord", "Zeta", "beta's"]),
        ("ORDER BY Industry NULLS LAST, Name DESC", ["Acme Nord", "Zeta", "Acme", "beta's"]),
        ("ORDER BY Name LIMIT 2 OFFSET 1", ["Acme Nord", "beta's"]),
    ],
)
def test_rows_come_in_the_order_that_is_asked_for(
    run: Callable[..., Any], rest: str, found: list[str]
) -> None:
    """
    Nulls come first unless the query says otherwise.
    """
    assert [r["Name"] for r in run(f"SELECT Name FROM Account {rest}")["records"]] == found


def test_related_records_are_nested_and_null_where_there_is_none(run: Callable[..., Any]) -> None:
    """
    A parent is a record of its own inside the child; names are written as Salesforce writes them.
    """
    records = run("select id, account.name, ACCOUNT.Owner.Alias from Contact order by LastName")["records"]

    assert list(records[0]) == ["attributes", "Id", "Account"]
    assert records[0]["attributes"]["url"] == f"/services/data/v66.0/sobjects/Contact/{records[0]['Id']}"
    assert records[0]["Account"]["attributes"]["type"] == "Account"
    assert (records[0]["Account"]["Name"], records[0]["Account"]["Owner"]["Alias"]) == ("Acme", "a@b.c")
    assert records[2]["Account"] is None


def test_counts_groups_and_children(run: Callable[..., Any]) -> None:
    """
    COUNT() has no records; groups have aliases or expr0; children come as a result of their own.
    """
    count = run("SELECT COUNT() FROM Account WHERE Industry = 'Energy'")
    groups = run(
        "SELECT Industry, COUNT(Id) n, MAX(NumberOfEmployees) FROM Account GROUP BY Industry ORDER BY Industry"
    )
    children = run(
        "SELECT Name, (SELECT LastName FROM Contacts ORDER BY LastName DESC) FROM Account ORDER BY Name LIMIT 2"
    )

    assert count == {"totalSize": 2, "done": True, "records": []}
    assert [(r["Industry"], r["n"], r["expr0"]) for r in groups["records"]] == [
        (None, 1, None), ("Banking", 1, 20), ("Energy", 2, 500)
    ]  # fmt: skip
    assert [c["LastName"] for c in children["records"][0]["Contacts"]["records"]] == ["Birch", "Ash"]
    assert children["records"][1]["Contacts"] is None


def test_values_have_their_json_form(run: Callable[..., Any]) -> None:
    """
    Dates, datetimes, money and what the org computes.
    """
    found = run("SELECT CloseDate, CreatedDate, Amount, Probability, IsWon, FiscalQuarter FROM Opportunity")
    record = found["records"][0]

    assert record["CloseDate"] == "2026-03-04"
    assert record["CreatedDate"].endswith(".000+0000")
    assert (record["Amount"], record["Probability"], record["IsWon"], record["FiscalQuarter"]) == (
        10.0,
        100.0,
        True,
        1,
    )
    assert "columnMetadata" in run("SELECT Id FROM Opportunity", columns="true")
    assert len(run("SELECT FIELDS(ALL) FROM Opportunity LIMIT 1")["records"][0]) > 20


@pytest.mark.parametrize(
    ("soql", "code", "text"),
    [
        ("SELECT Id, Bad FROM Account", "INVALID_FIELD", "No such column 'Bad' on entity 'Account'."),
        ("SELECT Nope.Name FROM Account", "INVALID_FIELD", "Didn't understand relationship 'Nope'"),
        ("SELECT Id FROM Nothing", "INVALID_TYPE", "sObject type 'Nothing' is not supported."),
        ("SELECT Id FROM", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
        ("SELECT Id Account", "MALFORMED_QUERY", "unexpected token: 'Account'"),
        ("SELECT Id FROM Account WHERE Name = 'a' OR Name = 'b' AND Name = 'c'", "MALFORMED_QUERY", "'AND'"),
        ("SELECT Id FROM Account WHERE AnnualRevenue = '5'", "INVALID_FIELD",
         "value of filter criterion for field 'AnnualRevenue' must be of type double and should not be enclosed"),
        ("SELECT Id FROM Account WHERE Name = 5", "INVALID_FIELD", "must be of type string and should be enclosed"),
        ("SELECT Id FROM Account WHERE CreatedDate = 2026-01-01", "INVALID_FIELD", "must be of type dateTime"),
        ("SELECT FIELDS(ALL) FROM Account", "MALFORMED_QUERY", "LIMIT of at most 200"),
        ("", "MALFORMED_QUERY", "unexpected token"),
    ],
)  # fmt: skip
def test_mistakes_are_worded_as_salesforce_does(
    run: Callable[..., Any], soql: str, code: str, text: str
) -> None:
    """
    The code says what kind of mistake, the text shows the place.
    """
    with pytest.raises(RestError) as caught:
        run(soql)

    assert caught.value.code == code
    assert text in caught.value.message


def test_the_place_of_a_mistake_is_pointed_at(run: Callable[..., Any]) -> None:
    """
    A caret stands below the column that the text names.
    """
    with pytest.raises(RestError) as caught:
        run("SELECT Id, Bad FROM Account")

    _, soql, caret, place = caught.value.message.split("\n")[:4]
    assert soql.index("Bad") == caret.index("^")
    assert place == f"ERROR at Row:1:Column:{caret.index('^') + 1}"


@pytest.mark.parametrize(
    ("literal", "first", "end"),
    [
        (DateLiteral("TODAY", None), date(2026, 3, 18), date(2026, 3, 19)),
        (DateLiteral("LAST_N_DAYS", 3), date(2026, 3, 15), date(2026, 3, 19)),
        (DateLiteral("NEXT_N_DAYS", 2), date(2026, 3, 19), date(2026, 3, 21)),
        (DateLiteral("THIS_WEEK", None), date(2026, 3, 15), date(2026, 3, 22)),
        (DateLiteral("LAST_WEEK", None), date(2026, 3, 8), date(2026, 3, 15)),
        (DateLiteral("THIS_MONTH", None), date(2026, 3, 1), date(2026, 4, 1)),
        (DateLiteral("LAST_MONTH", None), date(2026, 2, 1), date(2026, 3, 1)),
        (DateLiteral("THIS_QUARTER", None), date(2026, 1, 1), date(2026, 4, 1)),
        (DateLiteral("LAST_YEAR", None), date(2025, 1, 1), date(2026, 1, 1)),
        (DateLiteral("LAST_N_MONTHS", 2), date(2026, 1, 1), date(2026, 3, 1)),
    ],
)
def test_date_literals_are_spans_of_days(literal: DateLiteral, first: date, end: date) -> None:
    """
    Seen from Wednesday, 18 March 2026; weeks begin on Sunday.
    """
    assert dates.span(literal, date(2026, 3, 18)) == (first, end)
