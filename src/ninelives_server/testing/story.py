"""The main story: connect an org with one's own app, let a Lead start a session, kill the worker, go on.

Every number that it reports is read back from the running server and from the org's own request log.
"""

import contextlib
import json
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ninelives_server.testing import running
from ninelives_server.testing.person import Person, authorise

EXAMPLE = Path(__file__).parent / "examples" / "lead_router"
PROJECT = "lead_router"
CONNECTION = f"{PROJECT}/crm"
#: What the lead router changes; its answer is held back while the worker is killed.
UPDATE_PATH = "/services/data/*/sobjects/Lead/*"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stage:
    """What the story is played on: an empty server and a new org."""

    up: running.Up
    org: running.Org
    directory: Path
    say: Say


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _port() -> int:
    """Return the usual port where it is free, as people will look for it there."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", 9980))
        except OSError:
            return free_port()
        return 9980


@contextlib.contextmanager
def stage(directory: Path, *, say: Say) -> Iterator[Stage]:
    """Start a fake org and a server that trusts it; stop both at the end."""
    port = _port()
    callback = f"http://localhost:{port}/oauth/redirect/salesforce"
    say("starting a fake Salesforce org")
    with running.fake_org(directory / "org", callback=callback) as org:
        env = {"NINELIVES_CA_FILE": org.facts["ca_file"], "NINELIVES_ALLOW_INSECURE_PROVIDERS": "1"}
        up = running.Up(directory / "data", env=env, port=port)
        say("starting the server, Temporal and a worker")
        try:
            up.start()
            say(f"ready at {up.url}")
            yield Stage(up, org, directory, say)
        finally:
            up.stop()


def tell(on: Stage) -> dict[str, Any]:
    """Play the story and return what the running system says of it."""
    deploy(on)
    connection = connect(on)
    listen(on)
    held = on.org.control.hold(method="PATCH", path=UPDATE_PATH)
    lead_id = create_lead(on)
    session = _session_of(on, lead_id)
    on.say(f"event -> session {session['id']}")
    killed = kill_in_flight(on, held, session["id"])
    document = on.up.ended(session["id"])
    on.say(f"session {document['state']}: {document['result']}")
    return _summary(on, connection, lead_id, document, killed=killed)


def deploy(on: Stage) -> None:
    """Deploy the example, as `ninelives deploy` does; its first environment may take a while to install."""
    on.say("deploying examples/lead_router")
    on.up.cli("deploy", str(EXAMPLE))


def connect(on: Stage, connection: str = CONNECTION) -> Any:
    """Give a connection the owner's own app and authorise it through the provider's pages."""
    facts = on.org.facts
    on.say("selecting Lead under Setup > Change Data Capture in the org")
    on.org.control.select_entities(entities=["Lead"])
    on.say("connecting it with an app of its own, through the OAuth pages")
    settings = {
        "client_id": facts["client_id"],
        "environment": facts["login_url"],
        "pubsub_endpoint": facts["pubsub_endpoint"],
    }
    arguments = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    arguments += ["--set", "client_secret=-"]
    on.up.cli("connection", "edit", connection, *arguments, stdin=facts["client_secret"])
    start = json.loads(on.up.cli("connection", "init", connection, "--no-wait", "-o", "json").stdout)
    with Person(on.org.trust()) as person:
        page = authorise(person, start, facts["username"], facts["password"])
    shown = json.loads(on.up.cli("connection", "show", connection, "-o", "json").stdout)
    if shown["state"] != "ok":
        raise RuntimeError(f"connecting ended in {shown['state']}: {page.text[:600]}")
    account = shown["account"]
    on.say(f"connected: {account['user']} at {account['instance_url']}")
    return shown


def listen(on: Stage, project: str = PROJECT) -> None:
    """Wait until the trigger of the project's connection listens."""

    def look() -> bool:
        triggers = on.up.call("GET", f"/projects/{project}/triggers")["items"]
        states = [trigger["listening"] for trigger in triggers if trigger["listening"]]
        return any(state["since"] and state["state"] == "listening" for state in states)

    running.until("the trigger to listen", look, seconds=90)
    on.say("the trigger listens")


def create_lead(on: Stage) -> str:
    """Create an account and a Lead as somebody else in the org does."""
    colleague = f"colleague@{on.org.facts['org_id'].lower()}.test"
    on.org.control.add_user(username=colleague, password="not-needed-here", last_name="Colleague")
    on.org.control.create_record(entity="Account", fields={"Name": "Acme"}, username=colleague)
    on.say("a colleague creates a Lead in the org")
    fields = {"FirstName": "Ada", "LastName": "Lovelace", "Company": "Acme"}
    return str(on.org.control.create_record(entity="Lead", fields=fields, username=colleague))


def _session_of(on: Stage, lead_id: str) -> Any:
    def look() -> Any:
        found = on.up.call("GET", "/sessions", params={"record_id": lead_id})["items"]
        return found[0] if found else None

    return running.until("the session of the Lead", look)


def kill_in_flight(on: Stage, held: str, session_id: str) -> bool:
    """Kill the worker while the org holds the answer to the update; say whether that is what happened."""
    on.say("waiting until the update is in flight (the first run installs simple-salesforce)")

    def arrived() -> Any:
        session = on.up.call("GET", f"/sessions/{session_id}")
        if session["state"] in running.TERMINAL:
            raise RuntimeError(f"the session ended before its update: {session['state']} {session['error']}")
        return on.org.control.hold_state(rule_id=held, wait_arrived=1, seconds=2)["arrived"]

    running.until("the update to reach the org", arrived, seconds=240)
    worker = on.up.worker_pid()
    if worker is None:
        raise RuntimeError("the worker is gone before it could be killed")
    below = running.descendants(worker)
    os.kill(worker, signal.SIGKILL)
    running.until("the worker and its sessions to be dead", lambda: not alive([worker, *below]))
    state = on.org.control.hold_state(rule_id=held, wait_gone=1, seconds=10)
    on.org.control.release(rule_id=held)
    on.say(f"killed the worker (pid {worker}) in the middle of the update; the server starts another one")
    return bool(state["gone"])


def alive(pids: list[int]) -> list[int]:
    """Return which of these still run; a zombie does not."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            found += [pid] if stat[0] != "Z" else []
    return found


def repeats(requests: list[dict[str, Any]]) -> list[str]:
    """Return the requests of sessions that arrived more often than they may.

    A request whose answer was held when the worker died was in flight, not completed: it may come once more.
    """
    mine = [r for r in requests if r["client"] == "ninelives"]
    in_flight = {_key(r) for r in mine if r["held"]}
    counts = Counter(_key(r) for r in mine)
    return [key for key, count in counts.items() if count > (2 if key in in_flight else 1)]


def _key(request: dict[str, Any]) -> str:
    query = json.dumps(request["query"], sort_keys=True)
    return f"{request['method']} {request['path']} {query} {request['body_sha256']}"


def _summary(on: Stage, connection: Any, lead_id: str, session: Any, *, killed: bool) -> dict[str, Any]:
    up, org = on.up, on.org
    event = up.call("GET", f"/events/{session['event_id']}")
    steps = [s for s in up.call("GET", f"/sessions/{session['id']}/steps")["items"] if s["kind"] == "step"]
    prints = up.call("GET", f"/sessions/{session['id']}/logs")["items"]
    repeated = repeats(org.control.requests())
    lead = org.control.record(entity="Lead", record_id=lead_id)
    users = {user["Id"]: user["Username"] for user in org.control.records(entity="User")}
    account = connection["account"]
    return {
        "connection": {
            "state": connection["state"],
            "org_id": account["org_id"],
            "user": account["user"],
            "instance_url": account["instance_url"],
        },
        "event": {"id": event["id"], "type": event["event_type"]},
        "session": {
            "id": session["id"],
            "state": session["state"],
            "steps": [step["name"] for step in steps],
            "prints": "".join(item["text"] for item in prints),
        },
        "crash": {
            "killed": killed,
            "resumed": session["state"] == "completed" and session["epoch"] > 1,
            "in_flight_step": steps[-1]["name"] if steps else None,
            "repeated_steps": len(repeated),
        },
        "org": {
            "lead_updated": lead["Rating"] == "Hot",
            "last_modified_by": users.get(lead["LastModifiedById"], lead["LastModifiedById"]),
        },
    }


def by_hand(on: Stage) -> str:
    """Tell how to do the same by hand, while everything still runs."""
    link = on.up.cli("login", "--web").stdout.strip()
    facts = on.org.facts
    return f"""
  The UI is open at {on.up.url}; log in with (10 minutes, once):
    {link}
  The fake org is at {facts["login_url"]} (its certificate is its own)
    user {facts["username"]}, password {facts["password"]}

  The same by hand, with your own Salesforce org:
    1. ninelives up
    2. ninelives deploy examples/lead_router
    3. in Salesforce, make an External Client App with the callback that the connection's page shows
       (docs/integrations/salesforce/private-oauth.md)
    4. ninelives connection edit {CONNECTION} --set client_id=… --set client_secret=-
    5. ninelives connection init {CONNECTION}
    6. Setup > Change Data Capture: select Lead; then create a Lead

  Commands for this server: export NINELIVES_DATA_DIR={on.up.data_dir}
  Ctrl-C ends it and removes {on.directory}
"""
