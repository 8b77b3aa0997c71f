"""Health, metrics, logs, retention, and finding sessions again."""

import asyncio
import json
import re
from types import SimpleNamespace

import pytest
from api_site import APP_SECRET, Site, Things, a_name
from fastapi import FastAPI
from fastapi.testclient import TestClient

from ninelives_server.api import health
from ninelives_server.store import core, tables
from ninelives_server.testing.running import until

pytestmark = [pytest.mark.system]


# -- health ---------------------------------------------------------------------------------------------


def test_health_and_readiness_need_no_credential(site: Site):
    """
    Whoever watches the process has none; they tell nothing else.
    """
    alive = site.ask("GET", "/healthz", who=None, api=False)
    ready = site.ask("GET", "/readyz", who=None, api=False)

    assert (alive.status_code, alive.text) == (200, "ok\n")
    assert ready.status_code == 200
    assert ready.json() == {"ready": True, "checks": {"database": True, "temporal": True}}


class _Counting:
    """Sessions whose database answers, is gone, or hangs."""

    def __init__(self, how: str) -> None:
        self._how = how

    async def counts(self):
        if self._how == "gone":
            raise OSError("connection refused to postgresql://user:password@db")
        if self._how == "hangs":
            await asyncio.Event().wait()
        return {}


@pytest.mark.parametrize(
    ("database", "temporal", "status"),
    [("fine", True, 200), ("gone", True, 503), ("hangs", True, 503), ("fine", False, 503)],
)
def test_a_server_that_cannot_work_is_not_ready(monkeypatch, database, temporal, status):
    """
    503 with what is missing: an error of the database is an answer here, and no defect. It names no address.
    """
    monkeypatch.setattr(health, "PATIENCE", 0.05)
    app = FastAPI()
    app.include_router(health.router)
    app.state.services = SimpleNamespace(
        sessions=_Counting(database), starter=SimpleNamespace(is_connected=temporal)
    )

    answer = TestClient(app).get("/readyz")

    assert answer.status_code == status
    assert answer.json()["ready"] is (status == 200)
    assert answer.json()["checks"] == {"database": database == "fine", "temporal": temporal}
    assert "password" not in answer.text


# -- metrics --------------------------------------------------------------------------------------------


def metric(site: Site, line: str) -> float:
    """Return a metric's value; 0 where it is not there yet."""
    text = site.ask("GET", "/metrics", api=False).text
    found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_metrics_need_a_token(site: Site):
    """
    Numbers of the whole server are nobody else's business; a token to read will do.
    """
    assert site.ask("GET", "/metrics", who=None, api=False).status_code == 401
    assert site.ask("GET", "/metrics", who="worker", api=False).status_code == 403
    read = site.ask("GET", "/metrics", who="reader", api=False)
    assert read.status_code == 200
    assert read.headers["content-type"].startswith("text/plain")


def test_metrics_move(site: Site, things: Things):
    """
    Requests, webhooks, sessions and connections are counted, by state where they have one.
    """
    names = [
        'ninelives_http_requests_total{method="POST",status="202"}',
        'ninelives_webhook_requests_total{status="202"}',
        'ninelives_http_request_duration_seconds_count{method="POST"}',
        'ninelives_sessions{state="created"}',
        'ninelives_connection_state{state="init_required"}',
    ]
    before = {name: metric(site, name) for name in names}

    site.good(site.http.post(things.webhook_url))
    site.deployed()

    def moved():
        return all(metric(site, name) > before[name] for name in names)

    assert until("every metric to move", moved)


def test_metrics_are_documented(site: Site):
    """
    Names and labels are on the page, so that alerts may rely on them.
    """
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs/reference/api.md").read_text()
    text = site.ask("GET", "/metrics", api=False).text
    names = set(re.findall(r"^# TYPE (\S+) (?:counter|gauge|histogram)$", text, re.MULTILINE))

    assert names
    assert [name for name in names if f"`{name}{{" not in page and not name.endswith("_created")] == []


# -- logs -----------------------------------------------------------------------------------------------


def log_lines(site: Site) -> list[str]:
    return site.up.log_file.read_text().splitlines()


def test_every_log_line_is_json_and_a_requests_lines_carry_its_id(site: Site):
    """
    `NINELIVES_LOG_FORMAT=json`: a collector reads lines, and finds by id what one request did.
    """
    request_id = a_name("request")
    project = site.good(
        site.ask("POST", "/projects", json={"name": a_name()}, headers={"X-Request-Id": request_id})
    )
    site.good(site.ask("DELETE", f"/projects/{project['id']}", headers={"X-Request-Id": request_id}))

    lines = [json.loads(line) for line in log_lines(site)]

    mine = [line for line in lines if line.get("request_id") == request_id]
    assert {line["event"] for line in mine} >= {"request.answered", "project.deleted"}
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_no_query_and_no_secret_is_logged(site: Site, things: Things):
    """
    Login links and OAuth answers carry secrets in their queries, a webhook's path is one; even at level debug.
    """
    marker = a_name("marker")
    for path in (
        "/login",
        "/oauth/redirect/salesforce",
        f"/oauth/start/{things.connection_id}",
        "/api/v1/projects",
    ):
        for method in ("GET", "POST"):
            query = {"token": marker, "code": marker, "state": marker, "ticket": marker}
            site.http.request(method, f"{site.up.url}{path}", params=query, headers={"Cookie": f"x={marker}"})
    site.good(site.http.post(things.webhook_url, params={"key": marker}))
    link = site.good(site.ask("POST", "/login-links", json={}))["url"]

    log = "\n".join(log_lines(site))

    assert "request.answered" in log
    assert marker not in log
    assert things.webhook_url.rpartition("/")[2] not in log
    assert link.rpartition("=")[2] not in log
    assert APP_SECRET not in log
    assert not [who for who, token in site.tokens.items() if token in log]
    assert site.up.token not in log


# -- retention ------------------------------------------------------------------------------------------


def test_a_projects_retention_can_be_set(site: Site):
    """
    In days for sessions, events and logs; 30 at first, 0 for ever, and what is left out stays.
    """
    project = site.good(site.ask("POST", "/projects", json={"name": a_name()}))
    path = f"/projects/{project['id']}/retention"

    changed = site.good(site.ask("PUT", path, json={"sessions": 7, "events": 0}))
    bad = site.ask("PUT", path, json={"logs": -1})

    assert [project[f"retain_{name}"] for name in ("sessions", "events", "logs")] == [30, 30, 30]
    assert [changed[f"retain_{name}"] for name in ("sessions", "events", "logs")] == [7, 0, 30]
    assert bad.status_code == 422
    assert site.get(f"/projects/{project['id']}")["retain_sessions"] == 7


# -- sessions found again ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found_by(site: Site):
    """A project with a session of a webhook, one started by hand, one that was stopped, one with a record id."""
    mine = site.things()
    start = {"entrypoint": "main.py:on_open"}
    by_hand = [
        site.good(site.ask("POST", f"/projects/{mine.project}/sessions", json=start))["id"] for _ in range(3)
    ]
    site.good(site.ask("POST", f"/sessions/{by_hand[1]}/stop", json={"kill": True, "reason": "enough"}))

    async def name_record() -> None:
        statement = tables.sessions.update().where(tables.sessions.c.id == by_hand[2])
        async with core.opened(None, site.up.data_dir / "private" / "ninelives.db") as store:
            await store.write(lambda tx: tx.connection.execute(statement.values(record_id="00Q5f000001abcd")))

    asyncio.run(name_record())
    return SimpleNamespace(things=mine, manual=by_hand[0], stopped=by_hand[1], record=by_hand[2])


def ids(site: Site, found_by, **query):
    page = site.get("/sessions", params={"project": found_by.things.project, **query})
    return {item["id"] for item in page["items"]}


def test_a_session_says_why_it_was_stopped(site: Site, found_by):
    """
    The reason that somebody gave; `null` where nobody asked.
    """
    assert site.get(f"/sessions/{found_by.stopped}")["stop_reason"] == "enough"
    assert site.get(f"/sessions/{found_by.manual}")["stop_reason"] is None


def test_sessions_are_found_by_state(site: Site, found_by):
    """
    The stopped one, and those that wait for a worker.
    """
    assert ids(site, found_by, state="stopped") == {found_by.stopped}
    assert ids(site, found_by, state="created") == {
        found_by.manual,
        found_by.record,
        found_by.things.session_id,
    }
    assert ids(site, found_by, state="completed") == set()


def test_sessions_are_found_by_trigger_and_by_record(site: Site, found_by):
    """
    What a webhook started, and what happened because of one record of a service.
    """
    assert ids(site, found_by, trigger_id=found_by.things.trigger_id) == {found_by.things.session_id}
    assert ids(site, found_by, record_id="00Q5f000001abcd") == {found_by.record}
    assert ids(site, found_by, record_id="00Q5f000001abcd", state="stopped") == set()


def test_sessions_are_found_by_time(site: Site, found_by):
    """
    From `since` on, before `until`; any zone is understood.
    """
    at = site.get(f"/sessions/{found_by.stopped}")["created_at"]

    since, until_then = ids(site, found_by, since=at), ids(site, found_by, until=at)

    assert {found_by.stopped, found_by.record} <= since
    assert found_by.things.session_id not in since
    assert found_by.things.session_id in until_then
    assert found_by.record not in until_then
    assert ids(site, found_by, since="2999-01-01T00:00:00Z") == set()


def test_a_session_has_a_memo(site: Site, found_by):
    """
    What people recognise it by travels from the event to the session.
    """
    assert "memo" in site.get(f"/sessions/{found_by.manual}")
    assert site.get(f"/sessions/{found_by.things.session_id}")["memo"]
