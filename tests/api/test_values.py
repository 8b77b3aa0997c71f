"""The store over HTTP: what people read and write, and what everybody may read."""

import httpx2
import pytest
from api_site import Site, a_name

pytestmark = [pytest.mark.system]


@pytest.fixture
def project(site: Site) -> str:
    """A project of its own."""
    return site.good(site.ask("POST", "/projects", json={"name": a_name()}))["id"]


def test_values_are_what_json_can_hold(site: Site, project: str):
    """
    Set, read, listed in order, deleted; a key may hold slashes and any letters.
    """
    for key, value in (("b/x y", {"n": [1, None]}), ("a", "text"), ("ä?#", 0)):
        answer = site.ask("PUT", f"/projects/{project}/store/{quoted(key)}", json={"value": value})
        assert answer.status_code == 204
        assert site.get(f"/projects/{project}/store/{quoted(key)}")["value"] == value

    assert [item["key"] for item in site.get(f"/projects/{project}/store")["items"]] == ["a", "b/x y", "ä?#"]
    assert site.ask("DELETE", f"/projects/{project}/store/a").status_code == 204
    assert site.ask("GET", f"/projects/{project}/store/a").status_code == 404
    assert site.ask("DELETE", f"/projects/{project}/store/a").status_code == 404


@pytest.mark.parametrize("key", ["a key/ä?#", "plain"])
def test_the_address_of_a_published_value_is_one(site: Site, project: str, key: str):
    """
    Whatever its key: what is shown can be opened as it is.
    """
    assert site.ask("PUT", f"/projects/{project}/store/{quoted(key)}", json={"value": 7}).is_success

    url = site.good(site.ask("PUT", f"/projects/{project}/published-values/{quoted(key)}", json={}))["url"]

    assert url.isascii()
    assert " " not in url
    assert httpx2.get(f"{site.up.url}/{url.split('/', 3)[3]}", trust_env=False).json() == 7


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"value": {"a": "x\\ud800"}}', "half of a surrogate pair"),
        ('{"value": [NaN]}', "NaN and Infinity are no JSON"),
    ],
)
def test_what_no_other_reader_takes_is_refused(site: Site, project: str, text: str, says: str):
    """
    Python's JSON takes both; stored, they would break every page and answer that shows them.
    """
    headers = {"Content-Type": "application/json"}

    answer = site.ask("PUT", f"/projects/{project}/store/a", content=text, headers=headers)

    assert answer.status_code == 422
    assert says in answer.json()["detail"]
    assert site.ask("GET", f"/projects/{project}/store/a").status_code == 404


def quoted(key: str) -> str:
    from urllib.parse import quote

    return quote(key)


def test_a_published_value_is_for_everybody_until_it_is_taken_back(site: Site, project: str):
    """
    Its address is told; what is not published looks like what is not there.
    """
    site.ask("PUT", f"/projects/{project}/store/page/1", json={"value": {"a": 1}})
    before = site.ask("GET", f"/store/{project}/page/1", who=None, api=False)

    url = site.good(site.ask("PUT", f"/projects/{project}/published-values/page/1", json={}))["url"]
    shown = site.http.get(url)

    assert (shown.status_code, shown.json()) == (200, {"a": 1})
    taken = site.ask("PUT", f"/projects/{project}/published-values/page/1", json={"is_published": False})
    assert site.good(taken)["url"] is None
    after = site.ask("GET", f"/store/{project}/page/1", who=None, api=False)
    missing = site.ask("GET", f"/store/{project}/nothing", who=None, api=False)
    assert {before.status_code, after.status_code, missing.status_code} == {404}
    assert after.json()["title"] == missing.json()["title"]


def test_what_is_too_large_is_refused(site: Site, project: str):
    """
    The limit and the value's size are named.
    """
    answer = site.ask("PUT", f"/projects/{project}/store/k", json={"value": "x" * 8 * 1024 * 1024})
    long_key = site.ask("PUT", f"/projects/{project}/store/{'k' * 501}", json={"value": 1})

    assert answer.status_code == 422
    assert "8388608" in answer.text
    assert long_key.status_code == 422
