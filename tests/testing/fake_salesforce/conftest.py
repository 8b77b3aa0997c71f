"""A fake org for each test, and the third-party clients that judge it."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from testing.fake_salesforce.oauth_client import OAuthClient

from ninelives_server.testing.fake_salesforce.handle import FakeSalesforce
from ninelives_server.testing.fake_salesforce.visitor import Visitor

CLIENTS = Path(__file__).parent / "clients"
CALLBACK = "http://localhost:9980/oauth/redirect/salesforce"


@pytest.fixture
def org() -> Iterator[FakeSalesforce]:
    """A new org, in a thread of this process."""
    with FakeSalesforce.start(callbacks=[CALLBACK], http_port=0) as org:
        yield org


@pytest.fixture
def visitor(org: FakeSalesforce) -> Iterator[Visitor]:
    """The org's first user at its pages."""
    found = org.details
    with Visitor(username=found.username, password=found.password, ca_file=found.ca_file) as visitor:
        yield visitor


def _node() -> str:
    beside = Path(sys.executable).with_name("node")
    found = str(beside) if beside.exists() else shutil.which("node")
    if not found:
        pytest.fail("Node 20 is needed for the third-party clients; `make setup` installs it")
    return found


@pytest.fixture(scope="session")
def node() -> str:
    """Node, with the clients of `clients/package.json` installed."""
    found = _node()
    if not (CLIENTS / "node_modules").exists():
        _install(found)
    return found


def _install(node: str) -> None:
    with (Path(tempfile.gettempdir()) / "ninelives-test-clients.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test process may be at it
        if (CLIENTS / "node_modules").exists():
            return
        npm = Path(node).with_name("npm")
        command = [str(npm) if npm.exists() else "npm", "install", "--no-package-lock", "--ignore-scripts"]
        command += ["--no-audit", "--no-fund"]
        subprocess.run(command, cwd=CLIENTS, check=True, timeout=150, capture_output=True)


class NodeClient:
    """A script in `clients/` that takes one command after the other."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Return `{"result"}` or `{"error"}`."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the client ended with {self._process.poll()} at {command}"
        found: dict[str, Any] = json.loads(line)
        return found

    def get(self, command: str, **arguments: Any) -> Any:
        """Return the result; an error fails the test."""
        answer = self.ask(command, **arguments)
        assert "error" not in answer, answer
        return answer["result"]

    def error(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Return the error; a result fails the test."""
        answer = self.ask(command, **arguments)
        assert "error" in answer, answer
        found: dict[str, Any] = answer["error"]
        return found


@pytest.fixture
def node_client(node: str, org: FakeSalesforce) -> Iterator[Callable[[str], NodeClient]]:
    """Starts a client script that trusts the org's certificate authority."""
    with ExitStack() as stack:

        def start(script: str) -> NodeClient:
            environment = {**os.environ, "NODE_EXTRA_CA_CERTS": org.details.ca_file, "NODE_NO_WARNINGS": "1"}
            process = subprocess.Popen(
                [node, str(CLIENTS / script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                env=environment,
            )  # fmt: skip
            stack.callback(_end, process)
            return NodeClient(process)

        yield start


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()


@pytest.fixture
def oauth(org: FakeSalesforce) -> Iterator[OAuthClient]:
    """A plain OAuth client of the org's app."""
    client = OAuthClient(org)
    yield client
    client.http.close()
