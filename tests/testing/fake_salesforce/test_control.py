"""The side door: the log of requests, held and replaced answers, sessions that end."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from testing.fake_salesforce.oauth_client import OAuthClient

from ninelives_server.testing.fake_salesforce.control.client import ControlClient, ControlFailed
from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce

LEADS = "/services/data/v66.0/sobjects/Lead"


@pytest.fixture
def api(oauth: OAuthClient, org: FakeSalesforce) -> httpx2.Client:
    """An HTTP client with a token of the org's first user."""
    oauth.http.headers["Authorization"] = f"Bearer {org.control.issue_token()['access_token']}"
    return oauth.http


def _lead(org: FakeSalesforce) -> str:
    return str(org.control.create_record("Lead", {"LastName": "Doe", "Company": "Acme"}))


def test_the_log_shows_what_arrived_and_no_secret(
    api: httpx2.Client, oauth: OAuthClient, org: FakeSalesforce
) -> None:
    """
    Method, path, body, user and status are there; secrets are digests, equal for equal values.
    """
    api.post(LEADS, json={"LastName": "Doe", "Company": "Acme"})
    oauth.refresh("secret-token")
    oauth.refresh("secret-token")

    lead = org.control.requests(method="POST", path="/services/data/*")[0]
    tokens = org.control.requests(path="/services/oauth2/token")
    assert (lead["status"], lead["body"]["Company"], lead["user"]) == (201, "Acme", org.details.username)
    assert len(tokens) == 2
    assert tokens[0]["body"]["refresh_token"] == tokens[1]["body"]["refresh_token"]
    assert "secret-token" not in str(tokens)
    assert org.details.client_secret not in str(org.control.requests())


def test_a_held_answer_waits_while_the_change_is_done_and_others_are_served(
    api: httpx2.Client, org: FakeSalesforce
) -> None:
    """
    The change is made, its answer waits, everybody else is answered; after the release it comes.
    """
    lead = _lead(org)
    hold = org.control.hold("PATCH", f"{LEADS}/*")

    with ThreadPoolExecutor() as pool:
        answer: Future[Any] = pool.submit(api.patch, f"{LEADS}/{lead}", json={"Rating": "Hot"}, timeout=60)
        state = org.control.hold_state(hold, wait_arrived=1, seconds=30)
        changed = org.control.record("Lead", lead)
        other = api.get(f"{LEADS}/{lead}")
        done_before = answer.done()
        org.control.release(hold)

        assert answer.result(30).status_code == 204
    assert len(state["arrived"]) == 1
    assert changed
    assert changed["Rating"] == "Hot"
    assert other.status_code == 200
    assert not done_before
    assert org.control.requests(method="PATCH")[0]["held"] is True


def test_a_client_that_does_not_wait_is_noticed(api: httpx2.Client, org: FakeSalesforce) -> None:
    """
    When the client of a held answer hangs up, the hold says so: what it asked for is done all the same.
    """
    lead = _lead(org)
    hold = org.control.hold("PATCH", f"{LEADS}/*")

    with pytest.raises(httpx2.ReadTimeout):
        api.patch(f"{LEADS}/{lead}", json={"Rating": "Hot"}, timeout=0.5)

    state = org.control.hold_state(hold, wait_gone=1, seconds=30)
    org.control.release(hold)
    assert state["gone"] == 1
    assert len(org.control.requests(method="PATCH")) == 1


def test_a_failure_replaces_the_answer_or_only_loses_it(api: httpx2.Client, org: FakeSalesforce) -> None:
    """
    The next answers can be errors; with `applied` the change is made and its answer is lost.
    """
    body = [{"message": "Server too busy", "errorCode": "SERVER_UNAVAILABLE"}]
    org.control.fail("POST", LEADS, 503, body, headers={"Retry-After": "1"})
    org.control.fail("POST", LEADS, 502, "<html>Bad gateway</html>", applied=True)
    lead = {"LastName": "Doe", "Company": "Acme"}

    answers = [api.post(LEADS, json=lead) for _ in range(3)]

    assert [a.status_code for a in answers] == [503, 502, 201]
    assert answers[0].json() == body
    assert answers[0].headers["retry-after"] == "1"
    assert answers[1].headers["content-type"].startswith("text/html")
    assert len(org.control.records("Lead")) == 2


def test_sessions_end_with_the_text_that_is_asked_for(api: httpx2.Client, org: FakeSalesforce) -> None:
    """
    A policy refuses a session in other words than a timeout.
    """
    text = "This session is not valid for use with the REST API"

    assert org.control.expire_sessions(message=text) == 1

    answer = api.get(LEADS)
    assert answer.status_code == 401
    assert answer.json() == [{"message": text, "errorCode": "INVALID_SESSION_ID"}]


def test_counts_of_tokens(oauth: OAuthClient, org: FakeSalesforce) -> None:
    """
    A test can count token requests and see what became of each grant.
    """
    token = org.control.issue_token()["refresh_token"]
    second = oauth.refresh(token).json()["refresh_token"]
    oauth.refresh(token)

    found = org.control.tokens()

    assert (found["token_requests"], found["grants_live"]) == (2, 0)
    assert found["grants"][0]["rotations"] == 1
    assert "replaced" in found["grants"][0]["ended"]
    assert second not in str(found)


def test_the_http_form_has_the_same_methods(org: FakeSalesforce) -> None:
    """
    What the desk does in the process, a client does over HTTP; mistakes are explained.
    """
    with ControlClient(org.details.control_url, org.ca_file) as control:
        lead = control.create_record(entity="Lead", fields={"LastName": "Doe", "Company": "Acme"})
        control.select_entities(entities=["Lead"])
        arrived: list[bool] = []
        waiter = threading.Thread(
            target=lambda: arrived.append(control.wait_request(path="/services/oauth2/*", seconds=30))
        )
        waiter.start()
        OAuthClient(org).refresh("nothing")
        waiter.join(30)

        assert control.record(entity="Lead", record_id=lead)["Company"] == "Acme"
        assert arrived == [True]
        with pytest.raises(ControlFailed, match="no object 'Nothing'"):
            control.create_record(entity="Nothing", fields={})
        with pytest.raises(ControlFailed, match="no switch 'nothing'"):
            control.set_behaviour(nothing=1)
        with pytest.raises(ControlFailed, match="REQUIRED_FIELD_MISSING"):
            control.create_record(entity="Lead", fields={})


def test_a_page_of_another_site_cannot_use_the_side_door(oauth: OAuthClient, org: FakeSalesforce) -> None:
    """
    A browser names the origin of a script's request, and a form cannot send JSON.
    """
    script = oauth.http.post("/__control__/tokens", json={}, headers={"Origin": "https://evil.test"})
    form = oauth.http.post("/__control__/revoke_grants", data={"username": "x"})

    assert script.status_code == 403
    assert form.status_code == 400
    assert oauth.http.get("/__control__/requests", params={"method": "GET"}).json() == []
    assert org.control.requests(path="/__control__/*") == []
