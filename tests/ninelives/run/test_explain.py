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
    (tmp_path / "helpers.py").write_text("raise RuntimeError('never imported')\n")
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
