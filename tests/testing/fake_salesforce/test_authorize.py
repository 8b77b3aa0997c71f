"""The authorize endpoint: what is shown to the user, and what is redirected."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from testing.fake_salesforce.oauth_client import CALLBACK, OAuthClient

from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce
from ninelives_server.testing.fake_salesforce.visitor import PageRefused, Visitor


def _query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_a_user_is_asked_with_pages_and_never_sent_straight_back(
    oauth: OAuthClient, org: FakeSalesforce
) -> None:
    """
    The login form stands on a page of its own, then the consent form with its two buttons; also the
    second time.
    """
    first = oauth.http.get(oauth.authorize_url(), follow_redirects=True)
    form = {"username": org.details.username, "password": org.details.password}
    action = re.search(r'action="([^"]+)"', first.text)
    assert action
    second = oauth.http.post(action.group(1), data=form, follow_redirects=True)
    again = oauth.http.get(oauth.authorize_url(), follow_redirects=True)

    assert 'name="username"' in first.text
    assert 'name="password"' in first.text
    for page in (second, again):
        assert page.status_code == 200
        assert 'name="decision" value="allow"' in page.text
        assert 'name="decision" value="deny"' in page.text


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({"client_id": "nobody"}, "error=invalid_client_id&error_description=client%20identifier%20invalid"),
        ({"redirect_uri": f"{CALLBACK}/"},
         "error=redirect_uri_mismatch&error_description=redirect_uri%20must%20match%20configuration"),
        ({"redirect_uri": CALLBACK.replace("localhost", "127.0.0.1")},
         "error=redirect_uri_mismatch&error_description=redirect_uri%20must%20match%20configuration"),
        ({"code_challenge": None, "code_challenge_method": None},
         "error=invalid_request&error_description=missing%20required%20code%20challenge"),
    ],
)  # fmt: skip
def test_errors_before_the_app_is_trusted_stay_on_the_orgs_page(
    oauth: OAuthClient, changes: dict[str, str | None], body: str
) -> None:
    """
    A wrong app, callback or missing challenge is shown as bare text and never redirected.
    """
    response = oauth.http.get(oauth.authorize_url(**changes))

    assert response.status_code == 400
    assert response.text == body
    assert "location" not in response.headers


def test_a_missing_challenge_has_no_content_type(oauth: OAuthClient) -> None:
    """
    That answer makes browsers save a file called "authorize".
    """
    response = oauth.http.get(oauth.authorize_url(code_challenge=None))

    assert "content-type" not in response.headers


def test_a_denial_is_redirected(oauth: OAuthClient, visitor: Visitor) -> None:
    """
    Deny goes to the callback, with the state.
    """
    url = visitor.authorize(oauth.authorize_url(), decision="deny")

    assert url.endswith("?error=access_denied&error_description=end-user+denied+authorization&state=s1")


def test_a_blocked_app_and_a_scope_it_has_not_are_redirected(
    oauth: OAuthClient, visitor: Visitor, org: FakeSalesforce
) -> None:
    """
    Policy and scope errors reach the callback, because app and callback are known by then.
    """
    scope = _query(visitor.authorize(oauth.authorize_url(scope="api full")))
    kind = _query(visitor.authorize(oauth.authorize_url(response_type="device")))
    org.control.edit_app(org.details.client_id, blocked=True)
    blocked = _query(visitor.authorize(oauth.authorize_url()))

    assert (scope["error"], scope["state"]) == ("invalid_scope", "s1")
    assert kind["error"] == "unsupported_response_type"
    assert blocked["error"] == "OAUTH_APP_BLOCKED"


def test_a_wrong_password_shows_the_form_again(oauth: OAuthClient, org: FakeSalesforce) -> None:
    """
    Nobody gets past the login page with a wrong password.
    """
    with (
        Visitor(username=org.details.username, password="wrong", ca_file=org.details.ca_file) as stranger,
        pytest.raises(PageRefused, match="check your username and password"),
    ):
        stranger.authorize(oauth.authorize_url())


def test_the_login_page_leads_to_no_other_site(oauth: OAuthClient, org: FakeSalesforce) -> None:
    """
    `startURL` takes paths of the org only.
    """
    form = {"username": org.details.username, "password": org.details.password}

    for start in ("https://evil.test/", "//evil.test/", "/\\evil.test"):
        response = oauth.http.post("/login", params={"startURL": start}, data=form)
        assert response.headers["location"].startswith(f"{org.details.login_url}/lightning/")


def test_an_approval_is_remembered_where_the_switch_says_so(
    oauth: OAuthClient, visitor: Visitor, org: FakeSalesforce
) -> None:
    """
    Without `ask_every_time` a user who approved goes straight back, unless the app asks for consent.
    """
    org.control.set_behaviour(ask_every_time=False)
    oauth.connect(visitor)

    straight = visitor.client.get(oauth.authorize_url(), follow_redirects=False)
    consent = visitor.client.get(straight.headers["location"])
    asked = visitor.client.get(oauth.authorize_url(prompt="consent"), follow_redirects=True)

    assert consent.headers["location"].startswith(f"{CALLBACK}?code=")
    assert 'id="consent_form"' in asked.text
