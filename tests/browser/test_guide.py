"""The guide, four times: localhost, behind a TLS proxy, pages and callbacks on two hosts, from the command line.

Each time two projects are connected to two orgs with an app each; neither's app, token or event may appear in
the other.
"""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import guide
import pytest
import tls_proxy

from ninelives_server.testing import running, story

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600), pytest.mark.xdist_group("guide")]

CODE = """
def on_lead(event):
    print(event.data.ChangeEventHeader.recordIds[0])
"""
MANIFEST = """
version: v2
project:
  name: {name}
  connections:
    - {{name: crm, integration: salesforce}}
  triggers:
    - name: leads
      type: connection
      connection: crm
      event_type: lead
      call: main.py:on_lead
"""


class Place:
    """A server with its addresses, and two orgs of two other companies."""

    def __init__(self, up, pages, callbacks, orgs):
        self.up = up
        self.pages = pages
        self.callbacks = callbacks
        self.orgs = orgs


@contextlib.contextmanager
def place(tmp_path, *, pages_host=None, callback_host=None):
    """Start two orgs and a server; where hosts are given, TLS proxies stand before it."""
    with contextlib.ExitStack() as stack:
        # 127.0.0.1 is another site than localhost and than the mapped names.
        orgs = [
            stack.enter_context(
                running.fake_org(
                    tmp_path / f"org{number}",
                    callback="http://localhost:1/unused",
                    arguments=("--host-name", "127.0.0.1"),
                )
            )
            for number in range(2)
        ]
        port = story.free_port()
        bundle = tmp_path / "ca.pem"
        bundle.write_text("".join(Path(org.facts["ca_file"]).read_text() for org in orgs))
        env = {"NINELIVES_CA_FILE": str(bundle), "NINELIVES_ALLOW_INSECURE_PROVIDERS": "1"}
        pages = callbacks = f"http://localhost:{port}"
        if callback_host:
            proxy = stack.enter_context(tls_proxy.running(callback_host, target_port=port))
            callbacks = pages = env["NINELIVES_PUBLIC_URL"] = f"https://{callback_host}:{proxy.port}"
        if pages_host and pages_host != callback_host:
            proxy = stack.enter_context(tls_proxy.running(pages_host, target_port=port))
            pages = env["NINELIVES_WEB_URL"] = f"https://{pages_host}:{proxy.port}"
        up = running.Up(tmp_path / "data", env=env, port=port)
        stack.callback(up.stop)
        yield Place(up.start(), pages, callbacks, orgs)


def check_connected(place, project, org, followed):
    """The page said whom it connected, and the connection says the same."""
    assert followed.callback == f"{place.callbacks}/oauth/redirect/salesforce"
    connection = place.up.call("GET", "/connections", params={"project": project})["items"][0]
    assert connection["state"] == "ok"
    assert connection["account"]["org_id"] == org.facts["org_id"]
    assert connection["account"]["user"] == org.facts["username"]
    assert connection["settings"]["client_id"] == followed.client_id
    for seen in (org.facts["org_id"], org.facts["username"], org.facts["instance_url"]):
        assert seen in followed.outcome


def check_apart(place, tmp_path, context, followed):
    """A Lead in one org starts a session in its own project only; no fact of one org is in the other project."""
    page = context.new_page()
    for project, org in zip(("alpha", "beta"), place.orgs, strict=True):
        guide.select_for_capture(page, org, "Lead")
        directory = tmp_path / project
        directory.mkdir()
        (directory / "main.py").write_text(CODE)
        (directory / "ninelives.yaml").write_text(MANIFEST.format(name=project))
        place.up.cli("deploy", str(directory))
    page.close()
    leads = {}
    for project, org in zip(("alpha", "beta"), place.orgs, strict=True):
        running.until(f"{project} to listen", lambda p=project: listens(place, p), seconds=90)
        fields = {"LastName": project, "Company": "Acme"}
        leads[project] = org.control.create_record(entity="Lead", fields=fields)
    for project, lead in leads.items():
        session = running.until("a session", lambda lead=lead: sessions_of(place, record_id=lead))[0]
        assert place.up.ended(session["id"])["state"] == "completed"
        prints = place.up.call("GET", f"/sessions/{session['id']}/logs")["items"]
        assert "".join(p["text"] for p in prints) == f"{lead}\n"
        assert [s["record_id"] for s in sessions_of(place, project=project)] == [lead]
    answers = {project: everything(place, project) for project in leads}
    for mine, other in (("alpha", "beta"), ("beta", "alpha")):
        theirs = place.orgs[("alpha", "beta").index(other)]
        for fact in (
            theirs.facts["org_id"],
            theirs.facts["instance_url"],
            followed[other].client_id,
            leads[other],
        ):
            assert fact not in answers[mine], f"{fact} of {other} is in {mine}"
            assert fact in answers[other]


def listens(place, project):
    trigger = place.up.call("GET", f"/projects/{project}/triggers")["items"][0]
    return trigger["listening"] and trigger["listening"]["state"] == "listening"


def sessions_of(place, **query):
    return place.up.call("GET", "/sessions", params=query)["items"]


def everything(place, project):
    """All that the API tells of one project, as one text."""
    events = place.up.call("GET", "/events", params={"project": project})
    parts = [
        place.up.call("GET", "/connections", params={"project": project}),
        place.up.call("GET", f"/projects/{project}/triggers"),
        place.up.call("GET", "/sessions", params={"project": project}),
        events,
        *(place.up.call("GET", f"/events/{event['id']}") for event in events["items"]),
    ]
    return json.dumps(parts)


@pytest.mark.parametrize(
    ("pages_host", "callback_host"),
    [
        (None, None),
        ("flows.example.test", "flows.example.test"),
        ("acme.example.test", "acme-api.example.test"),
    ],
    ids=["localhost", "behind a TLS proxy", "pages and callbacks on two hosts"],
)
def test_the_guide_leads_to_a_connection_and_a_session(tmp_path, pages_host, callback_host):
    """
    Following the guide on the org's own Setup pages connects two projects to two orgs, and a Lead in each
    starts a session in the right one only.
    """
    names = tuple({name for name in (pages_host, callback_host) if name})
    with (
        place(tmp_path, pages_host=pages_host, callback_host=callback_host) as here,
        guide.chromium(*names) as browser,
    ):
        context = guide.context_of(browser)
        page = context.new_page()
        guide.log_in(page, here.up)
        followed = {}
        for project, org in zip(("alpha", "beta"), here.orgs, strict=True):
            guide.new_project(page, here.pages, project)
            followed[project] = guide.connect(context, page, org, here.pages, project)
            check_connected(here, project, org, followed[project])

        check_apart(here, tmp_path, context, followed)


def test_the_guide_from_the_command_line(tmp_path):
    """
    `connection create` and `connection init` do the same without a login in the browser: the page asks for the
    short code, and the command ends when the connection is ok.
    """
    with place(tmp_path) as here, guide.chromium() as browser:
        context = guide.context_of(browser)
        followed = {}
        for project, org in zip(("alpha", "beta"), here.orgs, strict=True):
            here.up.cli("project", "create", project)
            page = context.new_page()
            callback = f"{here.callbacks}/oauth/redirect/salesforce"
            client_id, client_secret = guide.make_app(page, org, project, callback)
            settings = ["--set", f"client_id={client_id}", "--set", f"environment={org.facts['login_url']}"]
            settings += [
                "--set",
                f"pubsub_endpoint={org.facts['pubsub_endpoint']}",
                "--set",
                "client_secret=-",
            ]
            here.up.cli("connection", "create", project, "crm", "salesforce", *settings, stdin=client_secret)
            with waiting_init(here.up, f"{project}/crm") as (command, url, code):
                page.goto(url)
                page.get_by_label("Short code").fill(code)
                with context.expect_page() as opened:
                    page.get_by_role("button", name="Continue to Salesforce").click()
                outcome = guide.grant(opened.value, org)
                assert command.wait(60) == 0
                assert json.loads(command.stdout.read())["state"] == "ok"
            followed[project] = guide.Followed(callback, client_id, client_secret, outcome)
            check_connected(here, project, org, followed[project])

        check_apart(here, tmp_path, context, followed)


@contextlib.contextmanager
def waiting_init(up, connection):
    """Run `connection init`, and yield it with the address and the short code that it prints for a person."""
    command = subprocess.Popen(
        [sys.executable, "-m", "ninelives_server", "connection", "init", connection, "-o", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=running.environment({**up.env, "NINELIVES_DATA_DIR": str(up.data_dir)}),
    )
    try:
        url = code = ""
        while not (url and code):
            line = command.stderr.readline()
            assert line, "the command ended before it printed an address"
            if "http" in line:
                url = line.strip()
            if "code:" in line:
                code = line.rpartition(":")[2].strip()
        yield command, url, code
    finally:
        command.kill()
        command.wait()
        command.stdout.close()
        command.stderr.close()
