"""Whose tokens these are, from whatever Salesforce is willing to tell."""

from collections.abc import Mapping

import pytest

from ninelives_server.integrations.contract import Identity
from ninelives_server.model.connections import ConnectionState
from ninelives_server.oauth.messages import Answer
from ninelives_server.oauth.outcomes import Refusal
from ninelives_server.oauth.tokens import TokenSet
from ninelives_server.providers.salesforce import identity, ids

ORG, USER = "00D5g00000ABCDEEA5", "0055g00000FGHIJAA5"
INSTANCE = "https://acme.my.salesforce.com"


def tokens(url: str = f"https://login.salesforce.com/id/{ORG}/{USER}") -> TokenSet:
    """Tokens as an authorization gives them."""
    return TokenSet(
        access_token="00D!x",
        refresh_token="5Aep",
        scopes=("api",),
        extra={"instance_url": INSTANCE, "id": url},
    )


def answered(found: TokenSet, answers: Mapping[str, Answer]) -> object:
    """Play the conversation; answers by a part of the address."""
    flow = identity.identify(found)
    request = next(flow)
    while True:
        assert request.url.startswith(INSTANCE)
        assert request.headers["Authorization"] == "Bearer 00D!x"
        answer = next(a for part, a in answers.items() if part in request.url)
        try:
            request = flow.send(answer)
        except StopIteration as end:
            return end.value


INFO = Answer(
    status=200,
    body=f'{{"user_id":"{USER}","organization_id":"{ORG}","preferred_username":"ada@acme.test"}}'.encode(),
)
NAMED = Answer(status=200, body=b'{"totalSize":1,"done":true,"records":[{"Id":"x","Name":"Acme Ltd"}]}')


def test_org_user_and_names_are_found():
    """The account key is org and user: what a stream delivers depends on both."""
    found = answered(tokens(), {"userinfo": INFO, "query": NAMED})

    assert isinstance(found, Identity)
    assert found.account.user == "ada@acme.test"
    assert found.account.org_name == "Acme Ltd"
    assert found.account.instance_url == INSTANCE
    assert found.account_key == f"{ORG}:{USER}"
    assert found.trouble is None


def test_ids_of_15_characters_become_18():
    """The Pub/Sub API wants the tenant id with 18."""
    found = answered(
        tokens(f"https://login.salesforce.com/id/{ORG[:15]}/{USER[:15]}"), {"userinfo": INFO, "query": NAMED}
    )

    assert isinstance(found, Identity)
    assert found.account.org_id == ids.long(ORG[:15])
    assert len(found.account_key) == 37


def test_without_names_the_ids_are_enough():
    """A user who may not read Organization, and a userinfo that hiccups, keep nobody from connecting."""
    unreadable = Answer(status=400, body=b'[{"errorCode":"INVALID_TYPE","message":"no such type"}]')
    found = answered(tokens(), {"userinfo": Answer(status=503, body=b"busy"), "query": unreadable})

    assert isinstance(found, Identity)
    assert found.account.user == USER
    assert found.account.org_name == ""


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (401, b'[{"errorCode":"INVALID_SESSION_ID","message":"This session is not valid for use with the REST API"}]',
         ConnectionState.NEEDS_ADMIN),
        (403, b'[{"errorCode":"API_CURRENTLY_DISABLED","message":"API is disabled for this User"}]',
         ConnectionState.NEEDS_ADMIN),
    ],
)  # fmt: skip
def test_an_api_that_refuses_the_new_token_is_trouble(status: int, body: bytes, state: ConnectionState):
    """The grant is good and of no use yet: that has to be said at once."""
    found = answered(tokens(), {"userinfo": INFO, "query": Answer(status=status, body=body)})

    assert isinstance(found, Identity)
    assert found.trouble is not None
    assert found.trouble.state is state


def test_without_any_id_it_is_refused():
    """A connection to nobody must not be saved."""
    denied = Answer(status=403, body=b"Bad_OAuth_Token")

    found = answered(tokens("https://login.salesforce.com/nothing"), {"userinfo": denied, "query": NAMED})

    assert isinstance(found, Refusal)
    assert found.error == "Bad_OAuth_Token"


def test_userinfo_names_the_ids_where_the_token_answer_does_not():
    """Either source will do."""
    found = answered(tokens(""), {"userinfo": INFO, "query": NAMED})

    assert isinstance(found, Identity)
    assert found.account.org_id == ORG


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("001D000000IqhSL", "001D000000IqhSLIAZ"),
        ("00D5g00000ABCDE", "00D5g00000ABCDEEA5"),
        ("000000000000000", "000000000000000AAA"),
        ("001D000000IqhSLIAZ", "001D000000IqhSLIAZ"),
        ("not an id", "not an id"),
    ],
)
def test_the_checksum_of_ids(short: str, full: str):
    """The documented example of the Object Reference among them."""
    assert ids.long(short) == full


@pytest.mark.parametrize(
    "url", ["", "https://x/id/00D", "https://x/id/001x/005x", "https://x/id/a/b/c", "no url"]
)
def test_what_is_no_identity_address_names_nobody(url: str):
    """Nothing is guessed."""
    assert ids.from_identity(url) is None
