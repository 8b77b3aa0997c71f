"""No secret is anywhere but in the vault: files, logs, Temporal's database, pages, answers, sessions' memory."""

import json
from pathlib import Path

import leaks
import pytest

from ninelives_server.testing import running, story
from ninelives_server.testing.person import Person, authorise

PROJECT = Path(__file__).parent / "project_waiting"
CONNECTION = "waiting/crm"

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.xdist_group("secrets")]


@pytest.fixture
def stage(tmp_path):
    """A server, a fake org that it trusts, and a person's browser."""
    port = story.free_port()
    callback = f"http://localhost:{port}/oauth/redirect/salesforce"
    with running.fake_org(tmp_path / "org", callback=callback) as org:
        env = {
            "NINELIVES_CA_FILE": org.facts["ca_file"],
            "NINELIVES_ALLOW_INSECURE_PROVIDERS": "1",
            "NINELIVES_LOG_LEVEL": "debug",
        }
        up = running.Up(tmp_path / "data", env=env, port=port)
        try:
            yield up.start(), org
        finally:
            up.stop()


def secrets_of(org):
    """Collect what arrived at the org in clear and must never be seen outside the vault."""
    arrived = org.control.secrets()
    found = {"client secret": org.facts["client_secret"]}
    for name in ("code", "code_verifier", "refresh_token"):
        found.update({f"{name} {number}": value for number, value in enumerate(arrived[name])})
    return found


def test_no_secret_is_found_anywhere_and_a_planted_one_is(stage, tmp_path):
    """
    After connecting, refreshing twice and running a session that uses the connection, a search of everything
    that the run left finds no client secret, code, verifier or refresh token (the live one included) in any
    encoding; the same search finds a copy of each that is planted, so it can fail.
    """
    up, org = stage
    answers = []
    with Person(org.trust()) as person:
        person.open(up.cli("login", "--web").stdout.strip())
        person.submit()
        up.cli("deploy", str(PROJECT))
        settings = {
            "client_id": org.facts["client_id"],
            "environment": org.facts["login_url"],
            "pubsub_endpoint": org.facts["pubsub_endpoint"],
        }
        pairs = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        edit = ["connection", "edit", CONNECTION, *pairs, "--set", "client_secret=-", "-o", "json"]
        answers.append(up.cli(*edit, stdin=org.facts["client_secret"]).stdout)
        start = json.loads(up.cli("connection", "init", CONNECTION, "--no-wait", "-o", "json").stdout)
        authorise(person, start, org.facts["username"], org.facts["password"])
        for _ in range(2):
            answers.append(up.cli("connection", "refresh", CONNECTION, "-o", "json").stdout)
        session = up.call(
            "POST", "/projects/waiting/sessions", json={"entrypoint": "main.py:look", "is_durable": True}
        )
        running.until("the session to wait", lambda: prints(up, session["id"]), seconds=240)
        places = [*leaks.files(up.data_dir), (str(up.log_file), up.log_file.read_bytes())]
        in_memory = [place for pid in running.descendants(up.worker_pid()) for place in leaks.memory(pid)]
        places += in_memory
        # Pages of the provider hold what the person typed there; ours must not.
        visited = [*crawl(person, up, session["id"]), *person.seen]
        places += [(f"page {p.url}", p.html.encode()) for p in visited if p.url.startswith(up.url)]
        for path in api_paths(up, session["id"]):
            answers.append(json.dumps(up.call("GET", path)))
    places += [(f"answer {number}", text.encode()) for number, text in enumerate(answers)]
    token = org.control.secrets()["access_token"][-1]  # the session's, which has asked the org last
    up.cli("connection", "refresh", CONNECTION)  # tells the org's log which refresh token was live until now

    secrets = secrets_of(org)

    assert {name.split()[0] for name in secrets} == {"client", "code", "code_verifier", "refresh_token"}
    assert sum(name.startswith("refresh_token") for name in secrets) == 3
    assert not any(value.startswith("sha256:") for value in secrets.values())
    assert leaks.search(secrets, places) == []
    # What a session may have is found in its memory: it was really read.
    assert leaks.search({"an access token": token}, in_memory) != []
    for name, value in secrets.items():
        for form, text in leaks.forms(value).items():
            planted = leaks.search({name: value}, [("planted", b"before" + text + b"after")])
            assert any(f"({form})" in line for line in planted), f"a planted {name} as {form} was not found"
    for name, value in secrets.items():
        (up.data_dir / "planted").write_bytes(leaks.forms(value)["base64 at 1"])
        assert f"{name} (base64 at 1) in {up.data_dir}/planted" in leaks.search(
            secrets, leaks.files(up.data_dir)
        )
    (up.data_dir / "planted").write_text(secrets["client secret"])
    assert leaks.search(secrets, leaks.files(up.data_dir)) == [
        f"client secret ({form}) in {up.data_dir}/planted"
        for form in ("raw", "percent", "percent lower", "json")
        if leaks.forms(secrets["client secret"])[form] == secrets["client secret"].encode()
    ]


def prints(up, session_id):
    return up.call("GET", f"/sessions/{session_id}/logs")["items"]


def api_paths(up, session_id):
    """Everything that the API tells about this project."""
    connection = up.call("GET", "/connections", params={"project": "waiting"})["items"][0]["id"]
    yield from (
        "/projects",
        "/connections",
        f"/connections/{connection}",
        f"/connections/{connection}/doctor",
    )
    yield from (f"/sessions/{session_id}", f"/sessions/{session_id}/steps", f"/sessions/{session_id}/logs")
    yield from ("/events?project=waiting", "/sessions?project=waiting", "/projects/waiting/triggers")
    yield from (
        "/projects/waiting/variables",
        "/projects/waiting/builds",
        "/audit",
        "/tokens",
        "/integrations",
    )


def crawl(person, up, session_id):
    """Open every page that the pages link to, once."""
    queue, seen = [f"{up.url}/", f"{up.url}/sessions/{session_id}"], set()
    while queue and len(seen) < 80:
        url = queue.pop()
        if url in seen or not url.startswith(up.url):
            continue
        seen.add(url)
        page = person.open(url)
        yield page
        queue += [link for link in page.links if "/logout" not in link and "/static/" not in link]
