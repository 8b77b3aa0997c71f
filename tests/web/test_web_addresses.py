"""Links, origins and cookie paths under every kind of address."""

from pathlib import Path

import pytest
from starlette.requests import Request

from ninelives_server.settings import Settings
from ninelives_server.web import addresses
from ninelives_server.web.addresses import Addresses


def request(host: str, path: str = "/", scheme: str = "http") -> Request:
    return Request(
        {
            "type": "http",
            "method": "GET",
            "scheme": scheme,
            "path": path,
            "query_string": b"",
            "headers": [(b"host", host.encode())],
            "server": ("127.0.0.1", 9980),
        }
    )


def settings(**given: object) -> Settings:
    return Settings(data_dir=Path("/nowhere"), **given)


def test_segments_are_quoted_and_empty_queries_left_out():
    """
    A name with a slash or a space stays one segment; filters that are not set do not show in the address.
    """
    at = Addresses("")

    assert at.url("projects", "a b/c", state="error", trigger="", cursor=None) == (
        "/projects/a%20b%2Fc?state=error"
    )
    assert at.url() == "/"


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        ("acme.example", "/projects", "/nl/projects"),
        ("pages.acme.example", "/projects", "/projects"),
        ("localhost:9980", "/projects", "/projects"),
        ("localhost:9980", "/oauth/start/con_1", "/nl/projects"),
    ],
)
def test_a_path_prefix_belongs_to_the_host_that_the_browser_named(host: str, path: str, expected: str):
    """
    Two public addresses may have different paths; a link must keep the one under which it is looked at.
    """
    both = settings(public_url="https://acme.example/nl", web_url="https://pages.acme.example")

    assert addresses.of(request(host, path), both).url("projects") == expected


def test_static_files_change_their_address_with_their_content():
    """
    Browsers keep them for a year, so a new version must have a new address.
    """
    at = Addresses("/nl")

    assert at.static("ninelives.css").startswith("/nl/static/ninelives.css?v=")
    assert at.static("ninelives.css") != at.static("ninelives.js").replace(".js", ".css")


@pytest.mark.parametrize(
    ("host", "scheme", "secure"),
    [
        ("acme.example", "http", True),
        ("localhost:9980", "http", False),
        ("localhost:9980", "https", True),
    ],
)
def test_cookies_are_secure_where_the_browser_speaks_https(host: str, scheme: str, secure: bool):
    """
    Behind a TLS proxy the request itself is plain http; the public address knows better.
    """
    public = settings(public_url="https://acme.example")

    assert addresses.is_secure(request(host, "/", scheme), public) is secure


def test_forms_may_lead_to_the_callbacks_address():
    """
    Authorising leads from the pages to the callbacks' host, and `form-action` binds that redirect too.
    """
    both = settings(public_url="https://api.acme.example", web_url="https://acme.example/nl")

    assert addresses.form_targets(both) == ("https://acme.example", "https://api.acme.example")
