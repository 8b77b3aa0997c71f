"""What all answers of the API have in common: request ids, idempotency, cursors, times, problems."""

import concurrent.futures
import json
import re
import sqlite3

import pytest
from api_site import Site, Things, a_name

from ninelives_server.testing.running import until

pytestmark = [pytest.mark.system]

Z = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


# -- Idempotency-Key ------------------------------------------------------------------------------------


def create(site: Site, name, key, who="admin", **options):
    return site.ask(
        "POST", "/projects", who=who, json={"name": name}, headers={"Idempotency-Key": key}, **options
    )


def test_the_same_key_gets_the_same_answer(site: Site):
    """
    Whoever did not hear the answer asks again, and nothing is made twice.
    """
    name, key = a_name(), a_name("key")

    first, second = create(site, name, key), create(site, name, key)

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert second.headers["x-request-id"] != first.headers["x-request-id"]


def test_a_failure_is_replayed_as_the_problem_it_was(site: Site):
    """
    With its status, its document and its media type.
    """
    key = a_name("key")

    first, second = create(site, "not a name!", key), create(site, "not a name!", key)

    assert second.status_code == first.status_code == 422
    assert second.json() == first.json()
    assert second.headers["content-type"] == first.headers["content-type"] == "application/problem+json"


def test_an_empty_answer_is_replayed_empty(site: Site):
    """
    Deleting twice with one key is no 404 the second time.
    """
    project = site.deployed()
    headers = {"Idempotency-Key": a_name("key")}

    answers = [site.ask("DELETE", f"/projects/{project}", headers=headers) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [204, 204]
    assert answers[1].content == b""
    assert site.ask("GET", f"/projects/{project}").status_code == 404


def test_the_same_key_with_another_body_is_refused(site: Site):
    """
    It is a mistake of the caller, who would take one answer for the other.
    """
    key = a_name("key")
    create(site, a_name(), key)

    answer = create(site, a_name(), key)

    assert answer.status_code == 422
    assert answer.json()["code"] == "idempotency_key_reused"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_a_key_belongs_to_its_user_and_its_path(site: Site):
    """
    Another user's equal key is another key; so is the same one on another path.
    """
    name, key = a_name(), a_name("key")
    first = create(site, name, key)

    other = create(site, name, key, who="stranger")
    elsewhere = site.ask("POST", "/users", json={"name": a_name("user")}, headers={"Idempotency-Key": key})

    assert other.status_code == 201
    assert other.json()["id"] != first.json()["id"]
    assert elsewhere.status_code == 201
    assert "idempotency-replayed" not in elsewhere.headers


def test_twin_requests_at_once_run_once(site: Site):
    """
    The second waits for the first: one token is made, and both are told it.
    """
    key = a_name("key")
    body = {"name": a_name("token")}
    headers = {"Idempotency-Key": key}

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: site.ask("POST", "/tokens", json=body, headers=headers), range(8)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["token"] for answer in answers}) == 1
    assert len([t for t in site.get("/tokens")["items"] if t["name"] == body["name"]]) == 1


def test_a_kept_answer_is_for_those_who_may_still_ask(site: Site):
    """
    It may hold a secret, so a token that was revoked since gets nothing again.
    """
    mine = site.good(site.ask("POST", "/tokens", json={"name": "short"}))
    headers = {"Authorization": f"Bearer {mine['token']}", "Idempotency-Key": a_name("key")}
    body = {"name": a_name("token")}
    assert site.ask("POST", "/tokens", who=None, headers=headers, json=body).status_code == 201
    site.good(site.ask("DELETE", f"/tokens/{mine['id']}"))

    again = site.ask("POST", "/tokens", who=None, headers=headers, json=body)

    assert again.status_code == 401


def test_nobodys_answers_are_not_kept(site: Site):
    """
    A stranger could fill the database, and an answer of 401 must not outlive its cause.
    """
    headers = {"Idempotency-Key": a_name("key")}

    answers = [site.ask("POST", "/projects", who=None, headers=headers, json={"name": "x"}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [401, 401]
    assert "idempotency-replayed" not in answers[1].headers


def test_what_started_before_the_server_died_is_not_started_again(site: Site, things: Things):
    """
    An answer is kept after what it tells of was committed: as if the server had died between the two.
    """
    project = site.deployed()
    headers = {"Idempotency-Key": a_name("key")}
    asked = [
        (f"/projects/{project}/sessions", {"entrypoint": "main.py:on_open", "inputs": {"n": 1}}),
        (f"/events/{things.event_id}/redispatch", {}),
        (f"/sessions/{things.session_id}/fork", {"from_step": 1}),
    ]

    answers = []
    for path, body in asked:
        for _ in range(2):
            answers.append(site.ask("POST", path, json=body, headers=headers))
            until("the answer to be kept", lambda: _forget_answers(site))
    changed = site.ask("POST", asked[0][0], json={**asked[0][1], "inputs": {"n": 2}}, headers=headers)

    assert [answer.status_code for answer in answers] == [201] * 6
    assert not any("idempotency-replayed" in answer.headers for answer in answers)
    made = [answer.json()["id"] for answer in answers]
    assert made[::2] == made[1::2]
    assert changed.status_code == 422
    assert changed.json()["code"] == "idempotency_key_reused"


def _forget_answers(site: Site) -> int:
    """Delete the answers that are kept; return how many."""
    database = sqlite3.connect(site.up.data_dir / "private" / "ninelives.db", timeout=30)
    with database:
        found = database.execute("DELETE FROM idempotency").rowcount
    database.close()
    return found


# -- request ids and problems ---------------------------------------------------------------------------


def test_every_answer_has_a_request_id(site: Site):
    """
    The caller's where it is harmless, else one of ours; a problem repeats it.
    """
    kept = site.ask("GET", "/projects", headers={"X-Request-Id": "mine-1"})
    made = site.ask("GET", "/projects")
    wrong = site.ask("GET", "/projects/nothing", headers={"X-Request-Id": "mine-2"})

    assert kept.headers["x-request-id"] == "mine-1"
    assert made.headers["x-request-id"].startswith("req_")
    assert wrong.json()["request_id"] == "mine-2"


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("GET", "/nowhere", {}, 404, "not_found"),
        ("GET", "/projects/nothing", {}, 404, "not_found"),
        ("PATCH", "/projects", {}, 405, "method_not_allowed"),
        ("POST", "/projects", {"json": {}}, 422, "invalid"),
        ("POST", "/projects", {"content": b"{nonsense"}, 422, "invalid"),
        ("POST", "/projects", {"json": {"name": "a b"}}, 422, "invalid"),
        ("GET", "/sessions?state=dancing", {}, 422, "invalid"),
        ("GET", "/sessions?limit=0", {}, 422, "invalid"),
        ("GET", "/sessions?since=yesterday", {}, 422, "invalid"),
        ("POST", "/deploys", {"content": b"no archive"}, 422, "invalid"),
    ],
)
def test_what_is_wrong_is_a_problem_document(site: Site, method, path, options, status, code):
    """
    RFC 9457, with a documented code, and the request's id.
    """
    answer = site.ask(method, path, **options)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert answer.json()["detail"]
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_a_name_that_is_taken_is_a_conflict(site: Site):
    """
    409, and it says which name.
    """
    name = a_name()
    create(site, name, a_name("key"))

    answer = site.ask("POST", "/projects", json={"name": name})

    assert answer.status_code == 409
    assert name in answer.json()["detail"]


# -- times and cursors ----------------------------------------------------------------------------------


def times_in(value, path=""):
    """Yield path and text of every member whose name ends like a time's; names in a memo are the project's own."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from () if name == "memo" else times_in(item, f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from times_in(item, path)
    elif isinstance(value, str) and (path.endswith(("_at", ".at", "since", "until"))):
        yield path, value


def test_every_time_is_utc_with_z(site: Site, things: Things):
    """
    On every document that can be read.
    """
    found = []
    for method, path in site.operations():
        if method == "GET" and not path.endswith(("/watch", "/doctor", "/export")):
            query = {"project": things.project} if path.endswith("/events") else {}
            answer = site.ask("GET", things.path(path), params=query)
            found += [(path + where, text) for where, text in times_in(site.good(answer))]

    assert len(found) > 30
    assert [(where, text) for where, text in found if not Z.fullmatch(text)] == []


@pytest.mark.parametrize("text", ["2026-01-01", "2026-01-01T00:00:00", "2026-01-01T02:00:00+02:00"])
def test_a_time_in_a_question_is_understood_with_any_zone(site: Site, text):
    """
    One without a zone is UTC, as everything else is; none is an error of ours.
    """
    answer = site.ask("GET", "/sessions", params={"since": text})

    assert answer.status_code == 200, answer.text


def all_pages(site, path, **query):
    pages, cursor = [], None
    while True:
        page = site.get(path, params={**query, **({"cursor": cursor} if cursor else {})})
        pages.append(page["items"])
        cursor = page["next_cursor"]
        if not cursor:
            return pages


def test_pages_follow_each_other_without_gap_or_repetition(site: Site):
    """
    Newest first, also while new things arrive between two pages: a cursor names a place, not a number.
    """
    project = site.deployed()
    start = {"entrypoint": "main.py:on_open"}
    ids = [site.good(site.ask("POST", f"/projects/{project}/sessions", json=start))["id"] for _ in range(5)]

    first = site.get("/sessions", params={"project": project, "limit": 2})
    site.good(site.ask("POST", f"/projects/{project}/sessions", json=start))
    second = site.get("/sessions", params={"project": project, "limit": 2, "cursor": first["next_cursor"]})
    again = site.get("/sessions", params={"project": project, "limit": 2, "cursor": first["next_cursor"]})

    seen = [item["id"] for page in (first, second) for item in page["items"]]
    assert seen == ids[::-1][:4]
    assert again["items"] == second["items"]


@pytest.mark.parametrize("path", ["/sessions", "/events", "/audit"])
def test_cursors_are_opaque_and_lead_to_the_end(site: Site, things: Things, path):
    """
    They show no id that a program could take apart, and what is none is refused.
    """
    project = site.deployed()
    for _ in range(3):
        site.good(site.ask("POST", f"/projects/{project}/sessions", json={"entrypoint": "main.py:on_open"}))
    query = {"project": project, "limit": 1}

    pages = all_pages(site, path, **query)
    everything = site.get(path, params={"project": project, "limit": 500})["items"]
    cursor = site.get(path, params=query)["next_cursor"]

    assert [item["id"] for page in pages for item in page] == [item["id"] for item in everything]
    assert len(everything) >= 3
    assert everything[0]["id"] not in cursor
    assert site.ask("GET", path, params={**query, "cursor": "nonsense"}).status_code == 422


def test_the_document_that_is_served_is_the_one_that_is_committed(site: Site):
    """
    Paths and schemas of `/openapi.json` are those of docs/reference/openapi.json.
    """
    from pathlib import Path

    committed = json.loads((Path(__file__).parents[2] / "docs/reference/openapi.json").read_text())
    served = site.http.get(f"{site.up.url}/openapi.json").json()

    assert served["paths"].keys() == committed["paths"].keys()
    assert served["components"]["schemas"].keys() == committed["components"]["schemas"].keys()


def bodies_of(document):
    """Yield method, path and JSON schema of each request body that the API takes."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema", {})
            for part in [schema, *schema.get("anyOf", [])]:
                if name := part.get("$ref", "").rpartition("/")[2]:
                    yield method.upper(), path, document["components"]["schemas"][name]


def test_no_request_takes_fields_that_it_does_not_know(site: Site):
    """
    A misspelt field would silently mean its default.
    """
    found = list(bodies_of(site.look("/openapi.json").json()))

    assert len(found) > 12
    assert [
        (method, path) for method, path, schema in found if schema["additionalProperties"] is not False
    ] == []


def test_an_unknown_field_is_named(site: Site, things: Things):
    """
    With the way to find the right one; nothing is started.
    """
    wrong = {"entrypoint": "main.py:on_open", "input": {"x": 1}, "is_durable": True}

    answer = site.ask("POST", f"/projects/{things.project}/sessions", json=wrong)

    assert answer.status_code == 422
    assert answer.json()["fields"] == {
        "input": "there is no such field here; see /openapi.json for those that there are"
    }
    assert "input" in answer.json()["detail"]
