"""The built wheel, installed in an empty environment outside the clone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ninelives_server.testing import running, story

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.xdist_group("wheel")]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An environment that has the wheel with its extra `server`, and nothing of the clone."""
    place = tmp_path_factory.mktemp("wheel")
    uv = str(Path(sys.executable).with_name("uv"))
    run = lambda *words: subprocess.run(words, check=True, cwd=place, timeout=400, capture_output=True)  # noqa: E731
    run(uv, "build", "--wheel", "-o", str(place / "dist"), str(ROOT))
    wheel = next((place / "dist").glob("*.whl"))
    run(uv, "venv", "-q", "--python", sys.executable, str(place / "env"))
    python = str(place / "env" / "bin" / "python")
    run(
        uv,
        "pip",
        "install",
        "-q",
        "--compile-bytecode",
        "--python",
        python,
        "-c",
        str(ROOT / "constraints.txt"),
        f"{wheel}[server]",
    )
    return place / "env" / "bin"


def test_the_wheel_runs_a_server_the_pages_and_a_session(installed, tmp_path, monkeypatch):
    """
    `up`, `init first && deploy first`, the pages and one session work from the wheel alone.
    """
    monkeypatch.setattr(sys, "executable", str(installed / "python"))
    server = running.Up(tmp_path / "data", env={"PATH": f"{installed}:{os.environ['PATH']}"})

    def ninelives(*words):
        done = subprocess.run(
            [str(installed / "ninelives"), *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            env=running.environment({"NINELIVES_DATA_DIR": str(tmp_path / "data")}),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        server.start()
        assert str(ROOT) not in running.command_line(server.pid)
        ninelives("init", "first")
        ninelives("deploy", "first")
        session = json.loads(
            ninelives("session", "start", "first", "main.py:hello", "--durable", "--wait", "-o", "json")
        )
        assert session["state"] == "completed"
        pages(server, ninelives("login", "--web").strip())
    finally:
        server.stop()


def test_the_wheel_connects_through_the_oauth_pages(installed, tmp_path, monkeypatch):
    """
    The fake org, the provider and every page between the two are in the wheel.
    """
    monkeypatch.setattr(sys, "executable", str(installed / "python"))
    with story.stage(tmp_path, say=lambda _text: None) as stage:
        stage.up.cli("project", "create", "crm_only")
        app = ("--set", f"client_id={stage.org.facts['client_id']}", "--set", "client_secret=-")
        secret = stage.org.facts["client_secret"]
        stage.up.cli("connection", "create", "crm_only", "crm", "salesforce", *app, stdin=secret)

        connection = story.connect(stage, "crm_only/crm")

        assert connection["state"] == "ok"
        assert connection["account"]["org_id"] == stage.org.facts["org_id"]
        assert str(ROOT) not in running.command_line(stage.org.process.pid)


def pages(server, link):
    """Templates and static files are in the wheel."""
    from ninelives_server.testing.person import Person

    with Person() as person:
        person.open(link)
        assert person.submit().status == 200
        for path in (
            "/projects/first",
            "/projects/first/connections/new",
            "/sessions",
            "/settings",
            "/audit",
        ):
            assert person.open(f"{server.url}{path}").status == 200, path
        css = [link for link in person.page.html.split('"') if "/static/" in link and ".css" in link]
        assert person.open(server.url + css[0]).status == 200
