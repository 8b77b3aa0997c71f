"""Projects in the style of AutoKitteh's public examples, unmodified, on a real server against stub services.

Each durable one is run twice: as it is, and with its worker killed while a service holds the answer that the
session waits for. Both come to the same, and no completed request is sent again.
"""

import hashlib
import hmac
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from services import Services

from ninelives_server.testing import running

PROJECTS = Path(__file__).parent / "projects"

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.xdist_group("compat_projects")]


@dataclass
class Stage:
    """A server, the services, and what is deployed already."""

    up: running.Up
    services: Services
    deployed: set[str] = field(default_factory=set)

    def deploy(self, name: str, *, variables: dict[str, str], keys: dict[str, tuple[str, ...]]) -> None:
        """Deploy a project as it is, set its variables, and set its connections up."""
        if name in self.deployed:
            return
        self.up.cli("deploy", str(PROJECTS / name))
        for variable, value in variables.items():
            self.up.cli("var", "set", name, variable, "-", stdin=value)
        for connection, pairs in keys.items():
            arguments = [part for pair in pairs for part in ("--set", pair)]
            self.up.cli("connection", "edit", f"{name}/{connection}", *arguments, stdin="key-0123456789")
        self.deployed.add(name)

    def hook(self, name: str, trigger: str) -> str:
        """Return a trigger's address on this machine."""
        found = self.up.call("GET", f"/projects/{name}/triggers")["items"]
        return next(t["webhook_url"] for t in found if t["name"] == trigger)

    def post(self, name: str, trigger: str, **options: Any) -> str:
        """Call a webhook, and return the id of the session that it starts."""
        answer = httpx2.post(self.hook(name, trigger), timeout=60, trust_env=False, **options)
        assert answer.status_code == 202, answer.text
        event_id = answer.json()["event_id"]
        assert answer.headers["AutoKitteh-Event-ID"] == event_id

        def look() -> str | None:
            # Not the newest session: that may be a child of the one that the event started.
            return next((s["id"] for s in self.sessions(name) if s["event_id"] == event_id), None)

        return running.until("a session to start", look)

    def start(self, name: str, entrypoint: str) -> str:
        """Start a session by hand."""
        done = self.up.cli("session", "start", name, entrypoint, "--durable", "-o", "json")
        return str(json.loads(done.stdout)["id"])

    def sessions(self, name: str) -> list[Any]:
        """Return a project's sessions."""
        found: list[Any] = self.up.call("GET", "/sessions", params={"project": name})["items"]
        return found

    def prints(self, session_id: str) -> str:
        """Return what a session printed."""
        return self.up.cli("session", "logs", session_id).stdout

    def kill_worker(self) -> None:
        """Kill the worker, and every session with it."""
        pid = running.until("a worker to kill", self.up.worker_pid)
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One server and its services, for all projects."""
    services = Services()
    up = running.Up(tmp_path_factory.mktemp("compat") / "data")
    try:
        yield Stage(up.start(), services)
    finally:
        up.stop()
        services.close()


def github_push() -> dict[str, Any]:
    """Return a signed delivery, as GitHub sends it."""
    body = json.dumps(
        {
            "commits": [
                {"id": "0123456789ab", "message": "Fix it\n\nReally"},
                {"id": "fe9876543210", "message": "Ü"},
            ]
        }
    ).encode()
    signature = "sha256=" + hmac.new(b"hush-hush", body, hashlib.sha256).hexdigest()
    headers = {"X-GitHub-Event": "push", "X-Hub-Signature-256": signature, "Content-Type": "application/json"}
    return {"content": body, "headers": headers}


def ticket(stage: Stage) -> str:
    """Send a signed slash command, and answer it once the session listens."""
    form = {"command": "/ticket", "text": "high Fix the #printer #now", "channel_id": "C1"}
    body = urlencode(form).encode()
    signature = hmac.new(b"hush-hush", body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Sig": signature}
    session_id = stage.post("ticket_desk", "slash_command", content=body, headers=headers)
    running.until("a ticket", lambda: stage.services.paths("POST /tickets"))
    number = stage.services.bodies("chat.postMessage")[0]["text"].partition(":")[0].removeprefix("#")
    url = stage.hook("ticket_desk", "replies")
    for by in ({"nobody": 1}, {"by": "ada"}):
        httpx2.post(f"{url}/{number}", json=by, trust_env=False, timeout=60).raise_for_status()
    return session_id


@dataclass(frozen=True)
class Example:
    """How a project is set up and started, where it is killed, and what it comes to.

    Attributes:
        variables: Values; `URL` stands for the services' address.
        hold: The request at which the worker is killed, and which of those that match.
        once: Requests that arrive once in each run although it was killed later, with their number.
    """

    name: str
    begin: Callable[[Stage], str]
    prints: str
    result: Any
    hold: tuple[str, int]
    once: dict[str, int]
    variables: dict[str, str] = field(default_factory=dict)
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)


def hook(name: str, trigger: str, **options: Any) -> Callable[[Stage], str]:
    """Start by a webhook."""
    return lambda stage: stage.post(name, trigger, **options)


ANY = object()

EXAMPLES = [
    Example(
        "slack_greeter",
        hook("slack_greeter", "newcomer", json={"name": "Ada"}),
        "greeting Ada\nnot created: name_taken\ndone\n",
        ANY,
        ("POST /slack/reactions.add", 1),
        {"chat.postMessage": 1, "conversations.create": 1},
        {"SLACK_URL": "URL/slack/"},
        {"chat": ("private_bot_token=-",)},
    ),
    Example(
        "issue_triage",
        lambda stage: stage.start("issue_triage", "triage.py:on_schedule"),
        "GitHub Enterprise base URL: URL/api/v3\nacme: acme/router\nlabelled #1 Issue 1\nlabelled #3 Issue 3\n",
        [1, 3],
        ("POST .*/issues/3/labels", 1),
        {"POST .*/issues/1/labels": 1},
        {},
        {"github_conn": ("pat=-", "enterprise_url=URL")},
    ),
    Example(
        "jira_from_form",
        hook("jira_from_form", "form", data={"title": "T", "description": "D", "email": "ada@acme.example"}),
        "created URL/browse/OPS-N\ncommented\n",
        None,
        ("POST .*/comment", 1),
        {"POST /rest/api/2/issue[?]": 1},
        {},
        {"jira_connection": ("Token=-", "BaseURL=URL", "Email=ada@acme.example")},
    ),
    Example(
        "data_pipeline",
        hook(
            "data_pipeline", "s3_notification", json={"Records": [{"s3": {"object": {"key": "track.gpx"}}}]}
        ),
        "inserted 2 points of track.gpx\n",
        None,
        ("POST /files/inserted", 1),
        {"GET /files/track.gpx": 1},
        {"FILES_URL": "URL/files"},
    ),
    Example(
        "text_classifier",
        hook("text_classifier", "mails", json={"texts": ["I buy", "forbidden", "help"]}),
        "I buy -> sales (11 tokens)\nrefused: 400\nhelp -> support (11 tokens)\n",
        ["sales", None, "support"],
        ("POST /openai/chat/completions", 3),
        {"POST /openai/chat/completions": 4},
        {"OPENAI_BASE_URL": "URL/openai"},
        {"chatgpt_conn": ("apiKey=-",)},
    ),
    Example(
        "site_monitor",
        lambda stage: stage.start("site_monitor", "monitor.py:on_tick"),
        ANY,
        ANY,
        ("GET /health", 2),
        {},
        {"SITE_URL": "URL"},
    ),
    Example(
        "async_weather",
        hook("async_weather", "ask", json={"cities": ["Rome", "Oslo!", "Bergen"]}),
        "warmest: Bergen\n",
        {"Rome": 4, "Oslo!": 5, "Bergen": 6},
        ("GET /weather/Bergen", 1),
        {},
        {"WEATHER_URL": "URL"},
    ),
    Example(
        "hook_receiver",
        lambda stage: stage.post("hook_receiver", "github_hook", **github_push()),
        "0123456 Fix it\nfe98765 Ü\n",
        2,
        ("POST /commits", 2),
        {"POST /commits": 3},
        {"SECRET": "hush-hush", "FORWARD_URL": "URL"},
    ),
    Example(
        "onboarding",
        hook("onboarding", "hired", json={"name": "Ada"}),
        ANY,
        ANY,
        ("POST /accounts", 2),
        {},
        {"HR_URL": "URL"},
    ),
    Example(
        "task_fanout",
        hook("task_fanout", "batch", json=["a", "b", "ccc"]),
        "progress b\n3 done\n",
        [1, 1, 3],
        ("POST /work/ccc", 1),
        {"POST /work/a": 1},
        {"WORK_URL": "URL"},
    ),
    Example(
        "ticket_desk",
        ticket,
        "loaded 1\nattempt 0: 503\n[False, True] ['21', 'None']\npost ada bytes\nslack: name_taken\n",
        {"tags": ["printer", "now"], "id": 77},
        ("POST /tickets", 2),
        {"chat.postMessage": 1, "POST /tickets": 3},
        {"SLACK_URL": "URL/slack/", "API_URL": "URL", "SIGNING_SECRET": "hush-hush"},
        {"slack_conn": ("private_bot_token=-",)},
    ),
]
DURABLE = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)


def ready(stage: Stage, example: Example) -> None:
    """Deploy it."""
    url = stage.services.url
    variables = {name: value.replace("URL", url) for name, value in example.variables.items()}
    keys = {n: tuple(p.replace("=URL", f"={url}") for p in pairs) for n, pairs in example.keys.items()}
    stage.deploy(example.name, variables=variables, keys=keys)


def check(stage: Stage, example: Example, session_id: str) -> None:
    """Compare what a session came to."""
    ended = stage.up.ended(session_id)
    assert ended["state"] == "completed", ended["error"]
    assert ended["is_durable"]
    if example.result is not ANY:
        assert ended["result"] == example.result
    if example.prints is not ANY:
        prints = stage.prints(session_id).replace(stage.services.url, "URL")
        assert re.sub(r"OPS-\d+", "OPS-N", prints) == example.prints


@DURABLE
def test_a_project_runs_as_it_is(stage: Stage, example: Example):
    """
    Deployed unchanged; only its variables and keys are set.
    """
    ready(stage, example)
    stage.services.begin()

    session_id = example.begin(stage)

    check(stage, example, session_id)


@DURABLE
def test_a_project_that_is_killed_comes_to_the_same(stage: Stage, example: Example):
    """
    The worker dies while a request is in flight: that one is sent again, those before it are not.
    """
    ready(stage, example)
    stage.services.begin()
    with stage.services.holding(*example.hold):
        session_id = example.begin(stage)
        assert stage.services.held.wait(60)
        stage.kill_worker()

    check(stage, example, session_id)

    for pattern, count in example.once.items():
        assert len(stage.services.paths(pattern)) == count, stage.services.paths(".")


def test_a_synchronous_webhook_is_answered_by_its_session(stage: Stage):
    """
    Status, body, headers; not durable, as `version: v2` has it.
    """
    stage.deploy("quote_api", variables={}, keys={})
    url = stage.hook("quote_api", "quote")

    good = httpx2.get(f"{url}?item=book", trust_env=False, timeout=60)
    missing = httpx2.get(f"{url}?item=car", trust_env=False, timeout=60)
    wrong = httpx2.post(url, trust_env=False, timeout=60)

    assert (good.status_code, good.json(), good.headers["X-Quote"]) == (
        200,
        {"item": "book", "price": 12.5},
        "yes",
    )
    assert good.headers["Content-Type"].startswith("application/json")
    assert (missing.status_code, missing.json()) == (404, {"error": "no car"})
    assert (wrong.status_code, wrong.text) == (405, "only GET")
    assert not any(s["is_durable"] for s in stage.sessions("quote_api"))


def test_an_answer_comes_in_as_many_outcomes_as_it_needs(stage: Stage):
    """
    Status and headers are the first one's; the handler stands in a package, and is not durable under v1.
    """
    ready(stage, next(example for example in EXAMPLES if example.name == "ticket_desk"))
    stage.up.cli("store", "set", "ticket_desk", "ticket:9", '{"title": "Ü"}')
    url = stage.hook("ticket_desk", "status")

    every = httpx2.get(url, trust_env=False, timeout=60)
    one = httpx2.get(f"{url}/9", trust_env=False, timeout=60)
    missing = httpx2.get(f"{url}/10", trust_env=False, timeout=60)

    assert every.text.startswith("id,title\n")
    assert every.text.endswith("9,Ü\n")
    assert every.headers["Content-Type"] == "text/csv"
    assert (one.json(), one.headers["X-Ticket"]) == ({"title": "Ü"}, "9")
    assert (missing.status_code, missing.json()) == (404, {"error": "no 10"})


def test_sessions_of_a_project_share_its_store(stage: Stage):
    """
    Sums, the dictionary, keys; what is published is served without a login.
    """
    stage.deploy("vote_counter", variables={}, keys={})
    url = stage.hook("vote_counter", "vote")

    totals = [
        httpx2.post(f"{url}/{who}", trust_env=False, timeout=60).json() for who in ("ada", "bob", "ada")
    ]
    report = httpx2.get(url, trust_env=False, timeout=60).json()
    public = httpx2.get(f"{totals[0]['public']}/last", trust_env=False, timeout=60)

    assert [(t["who"], t["total"]) for t in totals] == [("ada", 1), ("bob", 1), ("ada", 2)]
    assert report == {"votes": {"votes-ada": 2, "votes-bob": 1}, "voters": 3}
    assert public.json() == "ada"


def test_an_approval_is_waited_for_across_a_crash(stage: Stage):
    """
    `subscribe` and `next_event` on a trigger without `call`; the worker dies while the session waits.
    """
    services = stage.services
    stage.deploy(
        "approval_flow",
        variables={"SLACK_URL": f"{services.url}/slack/"},
        keys={"slack_conn": ("private_bot_token=-",)},
    )
    services.arrivals.clear()
    session_id = stage.post("approval_flow", "request", json={"what": "I go"})
    running.until("the question", lambda: services.paths("chat.postMessage"))
    running.until("the wait", lambda: stage.up.call("GET", f"/sessions/{session_id}")["state"] == "waiting")
    stage.kill_worker()
    httpx2.put(stage.hook("approval_flow", "approvals"), json={"verdict": "no"}, trust_env=False)
    answer = {"verdict": "yes", "by": "bob"}
    httpx2.post(stage.hook("approval_flow", "approvals"), json=answer, trust_env=False)

    ended = stage.up.ended(session_id)

    assert (ended["state"], ended["result"]) == ("completed", "yes"), ended["error"]
    assert stage.prints(session_id) == "asked about I go\nbob says yes\n"
    assert len(services.paths("chat.postMessage")) == 2


def talk(stage: Stage, function: str, *options: str) -> str:
    """Start a function of the project that does what AutoKitteh's own tests do."""
    stage.deploy("second_project", variables={}, keys={})
    stage.deploy("conversations", variables={}, keys={})
    done = stage.up.cli("session", "start", "conversations", f"talk.py:{function}", *options, "-o", "json")
    return str(json.loads(done.stdout)["id"])


def result_of(stage: Stage, session_id: str) -> Any:
    """Return what a session came to."""
    ended = stage.up.ended(session_id)
    assert ended["state"] == "completed", ended["error"]
    return ended["result"]


def test_11_24_errors_of_subscriptions_have_the_original_texts(stage: Stage):
    """
    Programs compare them.
    """
    assert result_of(stage, talk(stage, "bad_subscribe", "--durable")) == (
        'subscribe: rpc error: code = Internal desc = subscribe(meow, woof) -> source "meow" not found'
    )
    assert "next_event inside activity" in result_of(stage, talk(stage, "event_in_activity", "--durable"))


def test_27_children_signal_their_end(stage: Stage):
    """
    Each once; a failed one says that it did not complete; a time-out gives `None`.
    """
    assert result_of(stage, talk(stage, "parent", "--durable")) == [
        True,
        [True, {"completed": True, "value": 2}],
        [True, False],
        None,
    ]


def test_29_parent_and_child_play_ping_pong(stage: Stage):
    """
    Signals both ways, then the child's end, by its id in the list of names.
    """
    session_id = talk(stage, "ping", "--durable")

    assert result_of(stage, session_id) == [True, {"completed": True, "value": "done"}]
    assert stage.prints(session_id) == "pong 0\npong 10\npong 20\n"


@pytest.mark.parametrize(
    ("function", "options"),
    [("events", ["--durable"]), ("events", []), ("events_in_activity", ["--durable"])],
)
def test_43_events_are_taken_in_order(stage: Stage, function: str, options: list[str]):
    """
    Durable, not durable and inside an activity; of several, the subscription that is named first comes first.
    """
    session_id = talk(stage, function, *options)
    running.until("subscriptions", lambda: "ready" in stage.prints(session_id))
    for trigger, value in (("two", 3), ("one", 1), ("one", 2)):
        httpx2.post(stage.hook("conversations", trigger), json=value, trust_env=False).raise_for_status()
    httpx2.post(stage.hook("conversations", "go"), trust_env=False).raise_for_status()
    httpx2.put(stage.hook("conversations", "two"), json="x", trust_env=False).raise_for_status()

    assert result_of(stage, session_id) == [[1, 2, 3], "put", True, True, None]


def test_45_subscribe_works_under_asyncio_run(stage: Stage):
    """
    With a filter.
    """
    session_id = talk(stage, "aio", "--durable")
    running.until("the subscription", lambda: "ready" in stage.prints(session_id))
    httpx2.post(stage.hook("conversations", "one"), json=4, trust_env=False)
    httpx2.put(stage.hook("conversations", "one"), json=5, trust_env=False)

    assert result_of(stage, session_id) == "PUT"


def test_46_47_a_session_starts_one_of_another_project(stage: Stage):
    """
    Which uses that project's build, is as durable as its parent, and signals its end.
    """
    assert result_of(stage, talk(stage, "other_project", "--durable")) == 2

    child = result_of(stage, talk(stage, "other_project_nondurable"))

    assert result_of(stage, child) == 2
    assert stage.prints(child) == "2\n"
    assert not stage.up.call("GET", f"/sessions/{child}")["is_durable"]
