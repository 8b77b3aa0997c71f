"""What people paste as their environment, and what becomes of it."""

import pytest

from ninelives_server.errors import Invalid
from ninelives_server.providers.salesforce import environment

NONE: frozenset[str] = frozenset()
LOCAL = frozenset({"localhost", "127.0.0.1"})


@pytest.mark.parametrize(
    ("entered", "stored"),
    [
        ("", "production"),
        ("production", "production"),
        (" Production ", "production"),
        ("sandbox", "sandbox"),
        ("login.salesforce.com", "production"),
        ("https://login.salesforce.com/", "production"),
        ("https://test.salesforce.com/?locale=de", "sandbox"),
        ("acme.my.salesforce.com", "https://acme.my.salesforce.com"),
        ("https://ACME.my.salesforce.com/", "https://acme.my.salesforce.com"),
        ("http://acme.my.salesforce.com", "https://acme.my.salesforce.com"),
        ("https://acme.my.salesforce.com./lightning/page/home", "https://acme.my.salesforce.com"),
        ("https://acme.lightning.force.com/lightning/o/Lead/list", "https://acme.my.salesforce.com"),
        (
            "https://acme.my.salesforce-setup.com/lightning/setup/SetupOneHome/home",
            "https://acme.my.salesforce.com",
        ),
        ("https://acme--dev.sandbox.lightning.force.com/x", "https://acme--dev.sandbox.my.salesforce.com"),
        (
            "https://acme--dev.sandbox.my.salesforce-setup.com",
            "https://acme--dev.sandbox.my.salesforce.com",
        ),
        (
            "https://orgfarm-1-dev-ed.develop.lightning.force.com",
            "https://orgfarm-1-dev-ed.develop.my.salesforce.com",
        ),
        ("https://acme.file.force.com", "https://acme.my.salesforce.com"),
        ("https://portal.my.site.com/customers", "https://portal.my.site.com"),
        ("https://acme.my.sfcrmproducts.cn", "https://acme.my.sfcrmproducts.cn"),
    ],
)
def test_what_people_paste_becomes_a_login_address(entered: str, stored: str):
    """Addresses of the user interface are corrected: the API does not answer there."""
    assert environment.normalise(entered, NONE) == stored


@pytest.mark.parametrize(
    "entered",
    [
        "https://evil.example",
        "https://salesforce.com.evil.example",
        "https://evilsalesforce.com",
        "https://acme.lightning.force.com.evil.example",
        "https://acme.my.salesforce.com@evil.example",
        "https://user:pw@acme.my.salesforce.com",
        "https://localhost:8443",
        "http://127.0.0.1",
        "ftp://acme.my.salesforce.com:x",
        "my org",
        "https://",
        "acme",
    ],
)
def test_nothing_else_is_called(entered: str):
    """The server would send the client secret there."""
    with pytest.raises(Invalid, match="My Domain") as caught:
        environment.normalise(entered, NONE)

    assert "environment" in caught.value.fields
    assert "pw" not in str(caught.value)


def test_a_fake_org_is_allowed_where_the_server_allows_it():
    """Scheme and port are kept for hosts in NINELIVES_INSECURE_HOSTS."""
    assert environment.normalise("https://localhost:8443/", LOCAL) == "https://localhost:8443"
    assert environment.normalise("http://127.0.0.1:8080", LOCAL) == "http://127.0.0.1:8080"


def test_each_environment_has_its_login_host():
    """Tokens are asked for where the users log in."""
    assert environment.login_url({}) == "https://login.salesforce.com"
    assert environment.login_url({"environment": "sandbox"}) == "https://test.salesforce.com"
    assert (
        environment.login_url({"environment": "https://a.my.salesforce.com"}) == "https://a.my.salesforce.com"
    )


@pytest.mark.parametrize(
    ("entered", "stored"),
    [
        ("", ""),
        ("api.pubsub.salesforce.com:7443", ""),
        ("api.deu.pubsub.salesforce.com:443", "api.deu.pubsub.salesforce.com:443"),
        ("api.deu.pubsub.salesforce.com", "api.deu.pubsub.salesforce.com:7443"),
        ("https://api.deu.pubsub.salesforce.com:7443/", "api.deu.pubsub.salesforce.com:7443"),
    ],
)
def test_the_pubsub_endpoint_is_salesforces(entered: str, stored: str):
    """Empty is the global one."""
    assert environment.normalise_pubsub(entered, NONE) == stored


@pytest.mark.parametrize(
    "entered", ["evil.example:7443", "localhost:7443", "x:y:z", "api.pubsub.salesforce.com:x"]
)
def test_another_pubsub_endpoint_is_refused(entered: str):
    """Access tokens are sent there."""
    with pytest.raises(Invalid):
        environment.normalise_pubsub(entered, NONE)


def test_a_fake_pubsub_endpoint_is_allowed_where_the_server_allows_it():
    """As its login host is."""
    assert environment.normalise_pubsub("localhost:7444", LOCAL) == "localhost:7444"
