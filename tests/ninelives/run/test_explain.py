"""`explain` says of each call what a session makes of it, and admits what the text does not tell."""

import textwrap

import pytest

from ninelives.run import explain

SOURCE = """
import json
import time
import uuid

import requests
import not_installed.inner
from httpx2 import Client
from pathlib import Path

import helpers
import ninelives

CONFIG = json.loads("{}")


@ninelives.step(retry=3)
def charge(session: requests.Session, name: str):
    session.post("http://x", json=name.upper())


class Desk:
    def open(self):
        self.greet()

    def greet(self):
        pass


def main(event):
    charge(requests.Session(), "ann")
    Desk().open()
    time.sleep(5)
    uuid.uuid4()
    time.time()
    not_installed.inner.call()
    Path("x").read_text()
    helpers.help()
    Client().get("http://x").json()
    with open("x") as file:
        file.read()
    len("x".join(event.data.get("parts")))
    ninelives.set_value("k", 1)
    sorted([], key=lambda row: row.name())
    mystery()
"""


@pytest.fixture
def calls(tmp_path):
    """What is said of the file's calls, by what is called."""
    (tmp_path / "helpers.py").write_text("raise RuntimeError('never imported')\ndef help(): ...\n")
    (tmp_path / "main.py").write_text(SOURCE)
    return {site.call: site for site in explain.explain(tmp_path / "main.py")}


@pytest.mark.parametrize(
    ("call", "kind", "why"),
    [
        ("json.loads", "direct", "module level"),
        ("session.post", "step", "reaches out"),
        ("name.upper", "direct", "only computes"),
        ("charge", "step", "marked"),
        ("requests.Session", "step", "reaches out"),
        ("Desk", "direct", "project's own"),
        ("Desk().open", "direct", "project's own"),
        ("self.greet", "direct", "project's own"),
        ("time.sleep", "sleep", "durable wait"),
        ("uuid.uuid4", "chance", "seed"),
        ("time.time", "clock", "recorded"),
        ("not_installed.inner.call", "step", "not installed here"),
        ("Path('x').read_text", "step", "reaches out"),
        ("helpers.help", "direct", "project's own"),
        ("Client().get", "step", "reaches out"),
        ("Client().get('http://x').json", "direct", "only computes"),
        ("file.read", "step", "reaches out"),
        ("len", "direct", "builtin"),
        ("'x'.join", "inspect", "I/O iterator"),
        ("event.data.get", "decided at run time", "does not say"),
        ("row.name", "decided at run time", "does not say"),
        ("mystery", "decided at run time", "does not say"),
        ("ninelives.set_value", "step", "exactly once"),
    ],
)
def test_each_call_is_explained(calls, call, kind, why):
    """The kind is the one that a session decides on, and the reason names what it rests on."""
    assert calls[call].kind == kind
    assert why in calls[call].why


def test_a_call_is_found_where_its_name_stands(calls):
    """Line and column, counted from 1, point at the name that is called."""
    site = calls["time.sleep"]

    line = SOURCE.splitlines()[site.line - 1]

    assert line[site.column - 1 :].startswith("sleep(")


def test_a_name_that_is_bound_again_is_not_believed(tmp_path):
    """What the text cannot tell is not guessed."""
    source = """
    import requests

    def main(event):
        get = requests.get
        get("x")
        get = event.get
        get("x")
        for requests in event:
            requests.get("x")
    """
    (tmp_path / "main.py").write_text(textwrap.dedent(source))

    found = [site.kind for site in explain.explain(tmp_path / "main.py")]

    assert found == ["step", "decided at run time", "decided at run time"]


CLIENTS = """
import ninelives
from ninelives import salesforce
from autokitteh import store, subscribe
from autokitteh.google import google_sheets_client
from autokitteh.notion import notion_client
from autokitteh.slack import slack_client

crm = salesforce.client("crm")
values = google_sheets_client("sheets").spreadsheets().values()
notion = notion_client("notes")


def main(event):
    crm.Lead.get("1")
    crm.query("SELECT Id FROM Lead")
    crm.bulk.Lead.insert([])
    crm.session.get("x")
    mine = salesforce.client("crm")
    mine.Account.create({})
    values.get(range="A1").execute().get("values")
    notion.pages.create()
    slack_client("chat").chat_postMessage(text="x")
    subscribe("crm")
    store.get("x")
    ninelives.store.get("x")
"""


@pytest.mark.parametrize(
    ("call", "kind", "name"),
    [
        ("crm.Lead.get", "step", "simple_salesforce.api.SFType.get"),
        ("crm.query", "step", "simple_salesforce.api.Salesforce.query"),
        ("crm.bulk.Lead.insert", "step", "simple_salesforce.bulk.SFBulkType.insert"),
        ("crm.session.get", "decided at run time", ""),
        ("salesforce.client", "direct", "client"),
        ("mine.Account.create", "step", "simple_salesforce.api.SFType.create"),
        ("values.get", "step", "googleapiclient.discovery.Resource.get"),
        ("values.get(range='A1').execute", "step", "googleapiclient.http.HttpRequest.execute"),
        ("values.get(range='A1').execute().get", "decided at run time", ""),
        ("notion.pages.create", "step", "notion_client.client.Client.pages.create"),
        ("slack_client('chat').chat_postMessage", "step", "slack_sdk.web.client.WebClient.chat_postMessage"),
        ("subscribe", "step", "subscribe"),
        ("store.get", "step", "store.get"),
        ("ninelives.store.get", "step", "store.get"),
    ],
)
def test_what_clients_do_is_known(tmp_path, call, kind, name):
    """Also where a client makes its attributes when they are read, and where its library is not installed."""
    (tmp_path / "main.py").write_text(CLIENTS)

    site = {site.call: site for site in explain.explain(tmp_path / "main.py")}[call]

    assert (site.kind, site.name) == (kind, name)


FILES = {
    "main.py": """
    import desk
    import sqlite3
    from parts import rows
    from parts.rows import fetch, plain, shared

    LATER = None

    class Table:
        def __init__(self, path):
            self.path = path
            self.conn = sqlite3.connect(path)

        def count(self):
            return self.conn.execute("SELECT count(*) FROM t").fetchone()[0]

        def close(self):
            self.conn.close()

    class Named(Table):
        def title(self):
            return self.path.upper()

    def main(event):
        desk.conn.execute("CREATE TABLE t (x)")
        table = Named(desk.PATH)
        table.count()
        table.title()
        fetch()
        rows.fetch()
        plain()
        shared.append(1)
        table.close()
    """,
    "desk.py": """
    import os, sqlite3, tempfile

    PATH = os.path.join(os.environ["WHERE"], "x.db")
    conn = sqlite3.connect(PATH)
    """,
    "parts/__init__.py": "",
    "parts/rows.py": """
    import ninelives
    from . import inner

    shared = []

    @ninelives.step
    def fetch():
        return inner.double(2)

    def plain():
        return inner.double(3)
    """,
    "parts/inner.py": "def double(x):\n    return 2 * x\n",
}


def test_what_is_said_is_what_a_session_does(harness, program, tmp_path):
    """
    Names are followed into the project's other modules and into what objects of its classes hold: the calls
    that are said to be steps are those that a session records, and no others.
    """
    project = program(FILES["main.py"], files=FILES, env={"WHERE": str(tmp_path)})
    sites = explain.explain(project.directory / "main.py")

    outcome = harness.run(project)

    assert outcome.state == "completed", outcome.error
    assert outcome.journal.steps() == [
        "sqlite3.Connection.execute",
        "sqlite3.connect",
        "sqlite3.Connection.execute",
        "sqlite3.Cursor.fetchone",
        "parts.rows.fetch",
        "parts.rows.fetch",
        "sqlite3.Connection.close",
    ]
    said = [site.call for site in sites if site.kind == "step"]
    assert said == [
        "sqlite3.connect",
        "self.conn.execute",
        "self.conn.execute('SELECT count(*) FROM t').fetchone",
        "self.conn.close",
        "desk.conn.execute",
        "fetch",
        "rows.fetch",
    ]
