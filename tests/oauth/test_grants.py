"""The conversations of OAuth as dialogues: what is sent, and what an answer leads to."""

import base64
from urllib.parse import parse_qs, urlsplit

import pytest

from ninelives_server.oauth import grants, pkce
from ninelives_server.oauth.grants import Client
from ninelives_server.oauth.messages import Answer, Flow, Request
from ninelives_server.oauth.outcomes import Kind, Refusal
from ninelives_server.oauth.tokens import TokenSet

URL = "https://login.example/token"
CLIENT = Client(client_id="key", client_secret="s3cret")
OLD = TokenSet(
    access_token="old", refresh_token="r1", scopes=("api",), extra={"instance_url": "https://a.example"}
)


def play(flow: Flow, answer: Answer) -> tuple[Request, object]:
    """Take the one request of a flow, answer it, and return both ends."""
    request = next(flow)
    with pytest.raises(StopIteration) as end:
        flow.send(answer)
    return request, end.value.value


def json_answer(status: int, text: str) -> Answer:
    """An answer with a JSON body."""
    return Answer(status=status, body=text.encode())


def test_the_code_is_exchanged_with_verifier_and_the_same_callback():
    """RFC 6749, 4.1.3 and RFC 7636, 4.5; never a scope."""
    flow = grants.exchange(URL, CLIENT, code="c==", verifier="v", redirect_uri="http://localhost/cb")

    request, found = play(flow, json_answer(200, '{"access_token": "a", "refresh_token": "r"}'))

    assert request.method == "POST"
    assert request.url == URL
    assert request.form == {
        "grant_type": "authorization_code",
        "code": "c==",
        "redirect_uri": "http://localhost/cb",
        "code_verifier": "v",
        "client_id": "key",
        "client_secret": "s3cret",
    }
    assert isinstance(found, TokenSet)
    assert (found.access_token, found.refresh_token) == ("a", "r")


def test_a_refresh_sends_no_scope():
    """Salesforce answers `scope parameter not supported`, and the standard has no need of it."""
    request, _ = play(grants.refresh(URL, CLIENT, OLD), json_answer(200, '{"access_token": "new"}'))

    assert request.form == {
        "grant_type": "refresh_token",
        "refresh_token": "r1",
        "client_id": "key",
        "client_secret": "s3cret",
    }


def test_a_refresh_keeps_what_the_answer_leaves_out():
    """No rotation: the refresh token stays; so do scopes and the API's address."""
    _, found = play(grants.refresh(URL, CLIENT, OLD), json_answer(200, '{"access_token": "new"}'))

    assert isinstance(found, TokenSet)
    assert found.access_token == "new"
    assert found.refresh_token == "r1"
    assert found.scopes == ("api",)
    assert found.extra == {"instance_url": "https://a.example"}


def test_a_rotated_refresh_token_replaces_the_old_one():
    """The old one is dead from now on."""
    answer = json_answer(
        200,
        '{"access_token": "new", "refresh_token": "r2", "instance_url": "https://b.example", "scope": "b a"}',
    )

    _, found = play(grants.refresh(URL, CLIENT, OLD, keep=("instance_url",)), answer)

    assert isinstance(found, TokenSet)
    assert found.refresh_token == "r2"
    assert found.extra["instance_url"] == "https://b.example"
    assert found.scopes == ("a", "b")


def test_without_a_refresh_token_nothing_is_asked():
    """The user has to authorise again; no request can change that."""
    flow = grants.refresh(URL, CLIENT, TokenSet(access_token="a"))

    with pytest.raises(StopIteration) as end:
        next(flow)

    assert end.value.value.kind is Kind.NEEDS_REAUTH


def test_basic_authentication_encodes_before_joining():
    """RFC 6749, 2.3.1: a colon in the id must not shift the secret."""
    client = Client(client_id="a:b", client_secret="c d", method="basic")

    request, _ = play(grants.refresh(URL, client, OLD), json_answer(200, '{"access_token": "x"}'))

    assert request.form is not None
    assert "client_secret" not in request.form
    assert base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")) == b"a%3Ab:c%20d"


@pytest.mark.parametrize(
    "answer",
    [
        json_answer(200, "<html>maintenance</html>"),
        json_answer(200, "[]"),
        json_answer(200, '{"access_token": ""}'),
        json_answer(200, '{"access_token": 7}'),
        json_answer(503, '{"access_token": "a"}'),
        json_answer(302, ""),
        Answer(status=0, failure="login.example did not answer within 20 s"),
    ],
)
def test_what_grants_nothing_is_transient(answer: Answer):
    """An answer that no token endpoint gives says nothing about the grant."""
    _, found = play(grants.refresh(URL, CLIENT, OLD), answer)

    assert isinstance(found, Refusal)
    assert found.kind is Kind.TRANSIENT


def test_revoking_what_is_not_known_is_done():
    """RFC 7009, 2.2: an invalid token is no error, it is gone."""
    ok = play(grants.revoke(URL, "t"), Answer(status=200))
    unknown = play(grants.revoke(URL, "t"), json_answer(400, '{"error": "invalid_token"}'))
    broken = play(grants.revoke(URL, "t"), json_answer(500, "oops"))

    assert ok[1] is None
    assert ok[0].form == {"token": "t"}
    assert unknown[1] is None
    assert isinstance(broken[1], Refusal)


def test_introspection_tells_a_dead_token():
    """RFC 7662: the only way to learn how long an opaque token lives."""
    _, dead = play(grants.introspect(URL, CLIENT, "t"), json_answer(200, '{"active": false}'))
    _, wrong = play(grants.introspect(URL, CLIENT, "t"), json_answer(401, '{"error": "invalid_client"}'))

    assert dead == {"active": False}
    assert isinstance(wrong, Refusal)
    assert wrong.kind is Kind.REFUSED


def test_userinfo_hands_back_an_answer_that_it_cannot_read():
    """Salesforce answers 403 and plain text; the provider knows what that means."""
    answer = Answer(status=403, body=b"Bad_OAuth_Token")

    request, found = play(grants.userinfo("https://a.example/userinfo", "tok"), answer)

    assert request.headers["Authorization"] == "Bearer tok"
    assert found is answer


def test_the_authorize_address_has_each_parameter_once_and_encoded():
    """Whatever is in the values, it stays one value."""
    url = grants.authorization_url(
        "https://login.example/authorize",
        client_id="a&b=c",
        redirect_uri="https://x.example/cb?y=1",
        state="s t",
        challenge="ch",
        extra={"scope": "api refresh_token", "prompt": "login", "empty": ""},
    )

    assert parse_qs(urlsplit(url).query) == {
        "response_type": ["code"],
        "client_id": ["a&b=c"],
        "redirect_uri": ["https://x.example/cb?y=1"],
        "state": ["s t"],
        "code_challenge": ["ch"],
        "code_challenge_method": ["S256"],
        "scope": ["api refresh_token"],
        "prompt": ["login"],
    }


def test_requests_and_clients_have_no_revealing_repr():
    """A traceback or a log line must not show them."""
    request, _ = play(grants.refresh(URL, CLIENT, OLD), json_answer(200, '{"access_token": "new"}'))

    shown = repr((request, CLIENT, OLD, Answer(status=200, body=b'{"access_token": "new"}')))
    for secret in ("s3cret", "r1", '"new"', "old"):
        assert secret not in shown


def test_each_proof_is_new_and_fits_its_challenge():
    """RFC 7636, 4.2: challenge = BASE64URL(SHA256(verifier)) without padding; appendix B's example."""
    import hashlib

    one, two = pkce.new_proof(), pkce.new_proof()

    assert one.verifier != two.verifier
    assert 43 <= len(one.verifier) <= 128
    digest = hashlib.sha256(one.verifier.encode()).digest()
    assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == one.challenge
    assert one.verifier not in repr(one)
