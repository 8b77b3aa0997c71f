"""The Salesforce integration: form, addresses, and the conversations where Salesforce is peculiar."""

import base64
import json
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from ninelives_server.errors import Invalid
from ninelives_server.integrations.contract import App
from ninelives_server.oauth.messages import Answer, Request
from ninelives_server.oauth.outcomes import Kind, Refusal
from ninelives_server.oauth.tokens import TokenSet
from ninelives_server.providers.salesforce.integration import Salesforce, integration

APP = App(
    settings={
        "client_id": "3MVG9key",
        "environment": "https://acme.my.salesforce.com",
        "scopes": "api refresh_token",
    },
    secrets={"client_secret": "s3cret"},
)
GOOD = {
    "access_token": "00D5g00000ABCDE!AQ",
    "refresh_token": "5Aep861x",
    "signature": "c2ln",
    "scope": "refresh_token api",
    "instance_url": "https://acme.my.salesforce.com",
    "id": "https://login.salesforce.com/id/00D5g00000ABCDEEA5/0055g00000FGHIJAA5",
    "token_type": "Bearer",
    "issued_at": "1712693965000",
}
OLD = TokenSet(
    access_token="old",
    refresh_token="5Aep861old",
    scopes=("api", "refresh_token"),
    extra={"instance_url": "https://acme.my.salesforce.com", "id": GOOD["id"]},
)


def played(flow, *answers: Answer) -> tuple[list[Request], object]:
    """Answer one request after the other; return the requests and the end."""
    requests = [next(flow)]
    for answer in answers:
        try:
            requests.append(flow.send(answer))
        except StopIteration as end:
            return requests, end.value
    raise AssertionError(f"it goes on with {requests[-1]}")


def said(document: dict[str, object], status: int = 200) -> Answer:
    """An answer with this document."""
    return Answer(status=status, body=json.dumps(document).encode())


def test_the_form_is_as_people_expect_it():
    """Client ID and Client Secret, labelled so, are all that is required; Environment is preset."""
    fields = integration.auth_modes[0].fields

    assert [f.label for f in fields[:3]] == ["Client ID", "Client Secret", "Environment"]
    assert [f.name for f in fields if f.required] == ["client_id", "client_secret"]
    client_id, secret, environment = fields[:3]
    assert "Consumer Key: External Client App Manager > Settings > OAuth Settings" in client_id.help
    assert "App Manager > View > Manage Consumer Details" in client_id.help
    assert "Consumer Secret" in secret.help
    assert secret.is_secret
    assert [c.label for c in environment.choices] == ["Production or Developer Edition", "Sandbox"]
    assert environment.default == "production"
    assert environment.other_label == "My Domain URL"
    assert all(f.is_advanced for f in fields[3:])
    assert [f.name for f in fields[3:]] == ["scopes", "pubsub_endpoint"]


def test_there_is_no_app_but_the_owners():
    """No default app, whatever the settings."""
    assert [mode.name for mode in integration.auth_modes] == ["oauth_private"]


@pytest.mark.parametrize(
    ("environment", "host"),
    [
        ("production", "login.salesforce.com"),
        ("sandbox", "test.salesforce.com"),
        ("https://acme.my.salesforce.com", "acme.my.salesforce.com"),
    ],
)
def test_consent_and_tokens_are_asked_for_at_the_chosen_host(environment: str, host: str):
    """A sandbox that is sent to production fails for reasons that nobody understands."""
    app = App(settings={**APP.settings, "environment": environment}, secrets=APP.secrets)

    url = integration.authorize_url(app, redirect_uri="http://localhost/cb", state="s", challenge="c")
    refreshing = next(integration.refresh(app, OLD))
    exchanging = next(integration.exchange(app, code="c", verifier="v", redirect_uri="http://localhost/cb"))

    assert urlsplit(url).netloc == host
    assert urlsplit(url).path == "/services/oauth2/authorize"
    assert refreshing.url == exchanging.url == f"https://{host}/services/oauth2/token"
    assert integration.login_host(app.settings) == host


def test_the_login_is_always_asked_for():
    """Else the org that the browser happens to be logged in to would be connected."""
    url = integration.authorize_url(APP, redirect_uri="http://localhost/cb", state="s", challenge="c")

    query = parse_qs(urlsplit(url).query)
    assert query["prompt"] == ["login"]
    assert query["scope"] == ["api refresh_token"]


def test_a_code_becomes_tokens():
    """What the answer has beside tokens is kept only where it is needed."""
    _, found = played(integration.exchange(APP, code="c", verifier="v", redirect_uri="x"), said(GOOD))

    assert isinstance(found, TokenSet)
    assert found.refresh_token == "5Aep861x"
    assert found.expires_at is None
    assert dict(found.extra) == {"instance_url": GOOD["instance_url"], "id": GOOD["id"]}


def test_a_grant_without_refresh_token_is_given_back():
    """Saved as healthy it would die within hours; kept it would count among the five approvals."""
    answer = said({k: v for k, v in GOOD.items() if k != "refresh_token"})

    requests, found = played(
        integration.exchange(APP, code="c", verifier="v", redirect_uri="x"), answer, Answer(status=200)
    )

    assert isinstance(found, Refusal)
    assert found.error == "no_refresh_token"
    assert requests[1].url == "https://acme.my.salesforce.com/services/oauth2/revoke"
    assert requests[1].form == {"token": GOOD["access_token"]}


def test_a_refresh_is_merged_with_what_we_have():
    """Salesforce answers without a refresh token where it does not rotate."""
    answer = said({k: v for k, v in GOOD.items() if k != "refresh_token"})

    _, found = played(integration.refresh(APP, OLD), answer)

    assert isinstance(found, TokenSet)
    assert found.refresh_token == "5Aep861old"


def test_an_answer_without_the_apis_address_keeps_the_old_one():
    """Replacing instead of merging leaves others with `Invalid URL` once a day."""
    _, found = played(integration.refresh(APP, OLD), said({"access_token": "new"}))

    assert isinstance(found, TokenSet)
    assert found.extra["instance_url"] == "https://acme.my.salesforce.com"


def test_tokens_that_are_jwts_say_when_they_expire():
    """Opaque ones do not; for those a 401 is the only sign."""
    payload = base64.urlsafe_b64encode(json.dumps({"exp": 1_800_000_000}).encode()).decode().rstrip("=")
    jwt = {**GOOD, "access_token": f"eyJ.{payload}.sig", "token_format": "jwt"}

    _, found = played(integration.refresh(APP, OLD), said(jwt))
    _, broken = played(integration.refresh(APP, OLD), said({**GOOD, "access_token": "a.b.c"}))

    assert isinstance(found, TokenSet)
    assert found.expires_at == datetime.fromtimestamp(1_800_000_000, UTC)
    assert isinstance(broken, TokenSet)
    assert broken.expires_at is None


def test_refusals_are_read_in_salesforces_words():
    """`ip restricted` is no dead grant, although it says invalid_grant."""
    answer = said({"error": "invalid_grant", "error_description": "ip restricted"}, 400)

    _, found = played(integration.refresh(APP, OLD), answer)

    assert isinstance(found, Refusal)
    assert found.kind is Kind.NEEDS_ADMIN


def test_the_grant_is_revoked_at_the_instance():
    """At the login host a sandbox's or a moved org's token is not known."""
    requests, found = played(integration.revoke(APP, OLD), Answer(status=200))

    assert found is None
    assert requests[0].url == "https://acme.my.salesforce.com/services/oauth2/revoke"
    assert requests[0].form == {"token": "5Aep861old"}


@pytest.mark.parametrize(
    ("words", "helps"),
    [
        ("", True),
        ("INVALID_SESSION_ID: Session expired or invalid", True),
        ("This session is not valid for use with the REST API", False),
        ("Connected app is not attached to Agent", False),
    ],
)
def test_two_policies_look_like_an_expiry(words: str, helps: bool):
    """Refreshing for ever is what others do there."""
    assert integration.refresh_helps(words) is helps


def test_settings_are_tidied():
    """Whatever people paste around values."""
    found = integration.normalise(
        "oauth_private", {"client_id": " 3MVG9 ", "scopes": "api,refresh_token  api"}, frozenset()
    )

    assert found["client_id"] == "3MVG9"
    assert found["scopes"] == "api refresh_token"
    assert found["environment"] == "production"


@pytest.mark.parametrize("settings", [{"scopes": "api full"}, {"client_id": "3MVG9 x"}])
def test_what_cannot_work_is_refused(settings: dict[str, str]):
    """`full` does not include a refresh token; a key has no blanks."""
    with pytest.raises(Invalid):
        integration.normalise("oauth_private", settings, frozenset())


def test_a_callback_that_is_not_registered_is_shown():
    """The exact address to copy is part of the steps."""
    refusal = Refusal(kind=Kind.REFUSED, error="redirect_uri_mismatch", description="x", status=400)

    found = Salesforce().diagnose(refusal, redirect_uri="http://localhost:9980/oauth/redirect/salesforce")

    assert "http://localhost:9980/oauth/redirect/salesforce" in found.next_steps[0]
