"""The Salesforce client of workflow code, against the fake org, in a real session process."""

import hashlib

import pytest

from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce
from ninelives_server.testing.session_harness import CallError, Journal

TOKEN = "crm__oauth_access_token"


@pytest.fixture(scope="module")
def org():
    """A fake org in a thread of this process."""
    with FakeSalesforce.start() as running:
        yield running


class Tokens:
    """Plays the server's side of `token`."""

    def __init__(self, org):
        self.org = org
        self.asked = []
        self.given = org.control.issue_token()

    def answer(self, args):
        self.asked.append(args)
        if args["refused"] is not None:
            assert args["refused"] == hashlib.sha256(self.given["access_token"].encode()).hexdigest()
            self.given = self.org.control.issue_token()
        return {"token": self.given["access_token"], "instance_url": self.given["instance_url"]}


@pytest.fixture
def tokens(org):
    return Tokens(org)


@pytest.fixture
def salesforce(program, org, tokens):
    """Makes a program whose project has a connected connection `crm`."""

    def make(source, *, has_token=True, **options):
        known = {
            TOKEN: tokens.given["access_token"] if has_token else "",
            "crm__instance_url": tokens.given["instance_url"] if has_token else "",
        }
        return program(
            source,
            env=known,
            secrets={TOKEN: known[TOKEN]} if has_token else {},
            answers={"token": tokens.answer},
            connections=["crm"],
            ca_file=org.details.ca_file,
            **options,
        )

    return make


WORK = """
    from ninelives import salesforce

    crm = salesforce.client("crm")

    def main(event):
        made = crm.Lead.create({"LastName": "Ada", "Company": "Engines"})
        print(made["success"])
        found = crm.query("SELECT Id, LastName FROM Lead WHERE LastName = 'Ada'")
        crm.Lead.update(made["id"], {"LastName": "Byron"})
        lead = crm.Lead.get(made["id"])
        return [found["totalSize"] >= 1, lead["LastName"]]
    """


def test_calls_are_steps_and_the_client_comes_back(harness, salesforce, org):
    """The client is made at module level, talks to nobody then, and is there again after a crash."""
    made = salesforce(WORK)

    whole = harness.crash_everywhere(made)

    assert whole.result == [True, "Byron"]
    assert whole.journal.steps() == [
        "simple_salesforce.SFType.create",
        "simple_salesforce.Salesforce.query",
        "simple_salesforce.SFType.update",
        "simple_salesforce.SFType.get",
    ]


def test_an_expired_token_is_renewed_and_the_call_sent_once_more(harness, salesforce, org, tokens):
    """The refused token is named by its digest; the call that met the 401 succeeds."""
    made = salesforce(WORK)
    org.control.expire_sessions()

    outcome = harness.run(made)

    assert (outcome.state, outcome.result) == ("completed", [True, "Byron"])
    assert len(tokens.asked) == 1
    assert tokens.asked[0]["connection"] == "crm"
    assert tokens.given["access_token"] not in str([row.head for row in outcome.journal.in_order()])


def test_a_token_is_asked_for_before_the_first_use_where_there_is_none(harness, salesforce, tokens):
    """A session may have begun before the account was connected."""
    made = salesforce(WORK, has_token=False)

    assert harness.run(made).result == [True, "Byron"]
    assert tokens.asked == [{"connection": "crm", "refused": None}]


def test_a_refusal_that_a_new_token_cannot_cure_is_not_answered_with_a_new_token(
    harness, salesforce, org, tokens
):
    """Policy, not expiry: the error reaches user code, and nobody asks for a token."""
    org.control.expire_sessions(message="This session is not valid for use with the REST API")
    made = salesforce(
        """
        from ninelives import salesforce
        from simple_salesforce.exceptions import SalesforceExpiredSession

        def main(event):
            crm = salesforce.client("crm")
            try:
                crm.query("SELECT Id FROM Lead")
            except SalesforceExpiredSession as error:
                return str(error)
        """
    )

    outcome = harness.run(made)

    assert "not valid for use with the REST API" in outcome.result
    assert tokens.asked == []


def test_a_token_that_cannot_be_renewed_is_the_callers_error(harness, salesforce, org, tokens):
    """The server's words reach user code."""

    def refuse(_args):
        raise CallError("TokenRefused", "the owner must connect the account again")

    made = salesforce(WORK)
    made.answers = {"token": refuse}
    org.control.expire_sessions()

    outcome = harness.run(made)

    assert outcome.error["type"] == "TokenRefused"
    assert outcome.error["message"] == "the owner must connect the account again"


def test_renewal_works_inside_steps_and_from_several_threads(harness, salesforce, org, tokens):
    """Threads that meet the same 401 cause one renewal."""
    org.control.expire_sessions()
    made = salesforce(
        """
        import threading
        import ninelives
        from ninelives import salesforce

        crm = salesforce.client("crm")

        @ninelives.step
        def both():
            found = []
            def ask():
                found.append(crm.query("SELECT Id FROM Lead")["done"])
            threads = [threading.Thread(target=ask) for _ in range(4)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            return found

        def main(event):
            return both()
        """
    )

    assert harness.run(made).result == [True] * 4
    assert len(tokens.asked) == 1


def test_requests_say_who_calls():
    """`Sforce-Call-Options: client=ninelives` is for the org's event log; other hosts get nothing of it."""
    import requests
    from simple_salesforce import Salesforce

    from ninelives import salesforce

    client = Salesforce(instance_url="https://one.example", session_id="token")
    sent = []

    def send(request, **_options):
        sent.append(request)
        answer = requests.Response()
        answer.status_code, answer._content = 200, b"{}"
        return answer

    client.session.send = send
    salesforce.keep_fresh(client, "crm")

    client.query("SELECT Id FROM Lead")
    client.session.get("https://elsewhere.example/")

    assert sent[0].headers["Sforce-Call-Options"] == "client=ninelives"
    assert sent[0].headers["Authorization"] == "Bearer token"
    assert "Sforce-Call-Options" not in sent[1].headers


def test_an_unchanged_autokitteh_project_works_and_renews(harness, salesforce, org, tokens):
    """`from autokitteh.salesforce import salesforce_client`, the package from PyPI as it is."""
    made = salesforce(
        """
        import autokitteh
        from autokitteh.salesforce import salesforce_client

        @autokitteh.activity
        def look(client):
            return client.query("SELECT Id FROM Lead")["done"]

        def main(event):
            client = salesforce_client("crm")
            return [look(client), client.Lead.create({"LastName": "K", "Company": "C"})["success"]]
        """
    )
    org.control.expire_sessions()

    outcome = harness.run(made)

    assert outcome.result == [True, True]
    assert outcome.journal.steps() == ["main.look", "simple_salesforce.SFType.create"]
    assert len(tokens.asked) == 1


def test_an_unknown_connection_is_named(harness, program):
    """With what to do about it."""
    made = program(
        """
        from ninelives import salesforce

        def main(event):
            salesforce.client("crm")
        """
    )

    error = harness.run(made).error

    assert error["type"] == "ConnectionNotReady"
    assert "this project has no connection 'crm'" in error["message"]


def test_a_newer_instance_url_is_used(harness, salesforce, org, tokens):
    """Requests go to the newest instance; an org that was moved answers there."""
    made = salesforce(WORK)
    made.env = {**made.env, "crm__instance_url": "https://old.invalid"}
    made.env[TOKEN] = ""
    made.secrets = {}

    outcome = harness.run(made, Journal())

    assert outcome.result == [True, "Byron"]
