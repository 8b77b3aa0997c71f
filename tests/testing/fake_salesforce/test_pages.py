"""The Setup pages: an app is made, its key and secret are read, entities are selected."""

import re
from html import unescape

import httpx2
import pytest
from testing.fake_salesforce.oauth_client import CALLBACK, OAuthClient

from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce
from ninelives_server.testing.fake_salesforce.pages import admin, login
from ninelives_server.testing.fake_salesforce.visitor import Visitor

FORM = {
    "name": "My App", "contact_email": "me@example.com", "distribution": "Local", "enable_oauth": "1",
    "callbacks": f"{CALLBACK}\r\nhttps://app.example.com/oauth/redirect/salesforce",
    "scopes": ["api", "refresh_token"], "require_secret_web": "1", "require_secret_refresh": "1",
    "require_pkce": "1", "rotate_refresh_tokens": "1",
}  # fmt: skip


@pytest.fixture
def setup(org: FakeSalesforce, visitor: Visitor) -> httpx2.Client:
    """The first user's browser, logged in to Setup."""
    client = visitor.client
    client.base_url = httpx2.URL(org.details.login_url)
    form = {"username": org.details.username, "password": org.details.password}
    assert client.post("/login", data=form).status_code == 303
    return client


def test_setup_asks_for_a_login(oauth: OAuthClient) -> None:
    """
    Nothing of Setup is shown to a stranger, whatever the page.
    """
    for path in (login.HOME, f"{admin.MANAGER}/home", f"{admin.MANAGER}/new", admin.CAPTURE):
        assert "/login?startURL=" in oauth.http.get(path).headers["location"]


def test_quick_find_finds_the_pages(setup: httpx2.Client) -> None:
    """
    The words that the guide says to enter lead to the pages.
    """
    apps = setup.get(login.HOME, params={"q": "external client"}).text
    capture = setup.get(login.HOME, params={"q": "Change Data"}).text

    assert f'<li><a href="{admin.MANAGER}/home">External Client App Manager</a></li>' in apps
    assert f'<li><a href="{admin.CAPTURE}">Change Data Capture</a></li>' in capture


def test_a_new_app_is_as_strict_as_salesforce_makes_it(setup: httpx2.Client) -> None:
    """
    The four security boxes are ticked before anybody touches them.
    """
    page = setup.get(f"{admin.MANAGER}/new").text

    for name in ("require_secret_web", "require_secret_refresh", "require_pkce", "rotate_refresh_tokens"):
        assert re.search(rf'<input type="checkbox" id="{name}" name="{name}" value="1" checked>', page)


def test_an_app_is_made_and_shows_key_and_secret(setup: httpx2.Client, org: FakeSalesforce) -> None:
    """
    The form makes an app; its settings lead to the page with key and secret, which connect.
    """
    made = setup.post(f"{admin.MANAGER}/new", data=FORM)
    settings = setup.get(made.headers["location"]).text
    link = re.search(r'<a href="([^"]+)">Consumer Key and Secret</a>', settings)
    assert link
    consumer = setup.get(link.group(1)).text

    app = next(a for a in org.control.apps() if a["name"] == "My App")
    assert f'id="consumer_key" name="consumer_key" value="{app["client_id"]}"' in consumer
    assert f'id="consumer_secret" name="consumer_secret" value="{app["client_secret"]}"' in consumer
    assert app["callbacks"] == (CALLBACK, "https://app.example.com/oauth/redirect/salesforce")
    assert (app["scopes"], app["require_pkce"]) == (("api", "refresh_token"), True)
    assert "My App" in setup.get(f"{admin.MANAGER}/home").text


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"callbacks": "http://127.0.0.1:9980/oauth/redirect/salesforce"}, "use a secure (https) URL"),
        ({"callbacks": "http://192.168.1.5:9980/x"}, "use a secure (https) URL"),
        ({"callbacks": "http://ninelives.example.com/x"}, "use a secure (https) URL"),
        ({"callbacks": "not a url"}, "not a valid URL"),
        ({"callbacks": ""}, "Callback URL: you must enter a value"),
        ({"scopes": []}, "OAuth Scopes: select at least one"),
        ({"name": " "}, "External Client App Name: you must enter a value"),
    ],
)
def test_what_salesforce_refuses_is_refused_and_the_form_kept(
    setup: httpx2.Client, org: FakeSalesforce, changes: dict[str, str], error: str
) -> None:
    """
    Plain http is for `http://localhost` only; the page says so and keeps what was entered.
    """
    response = setup.post(f"{admin.MANAGER}/new", data={**FORM, **changes})

    assert response.status_code == 400
    assert error in unescape(response.text)
    assert 'value="me@example.com"' in response.text
    assert len(org.control.apps()) == 1


def test_an_app_is_edited(setup: httpx2.Client, org: FakeSalesforce) -> None:
    """
    A box that is unticked is off afterwards; a bad callback changes nothing.
    """
    app = org.control.apps()[0]
    form = {k: v for k, v in FORM.items() if k != "rotate_refresh_tokens"}

    setup.post(f"{admin.MANAGER}/{app['app_id']}/edit", data=form)
    refused = setup.post(
        f"{admin.MANAGER}/{app['app_id']}/edit", data={**FORM, "callbacks": "http://10.0.0.1/"}
    )

    after = org.control.apps()[0]
    assert refused.status_code == 400
    assert (after["name"], after["rotate_refresh_tokens"]) == ("My App", False)
    assert after["client_id"] == app["client_id"]
    assert len(after["callbacks"]) == 2


def test_entities_are_selected_when_they_are_saved(setup: httpx2.Client, org: FakeSalesforce) -> None:
    """
    Moving an entity to the other list is a draft; Save makes it count.
    """
    draft = setup.post(admin.CAPTURE, data={"available": ["Lead", "Account"], "action": "add"})
    before = org.control.select_entities(sorted(org.state.bus.selected))
    saved = setup.post(admin.CAPTURE, data={"chosen": ["Lead", "Account"], "action": "save"})
    removed = setup.post(
        admin.CAPTURE, data={"chosen": ["Account", "Lead"], "selected": "Lead", "action": "remove"}
    )

    assert '<input type="hidden" name="chosen" value="Lead">' in draft.text
    assert "Your changes are not saved yet" in draft.text
    assert before == []
    assert saved.status_code == 303
    assert "Your changes are saved" in setup.get(saved.headers["location"]).text
    assert org.state.bus.selected == {"Account", "Lead"}
    assert '<input type="hidden" name="chosen" value="Lead">' not in removed.text
