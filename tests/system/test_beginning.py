"""Processes are killed before a session that is not durable has begun: nothing of it has run, so it runs then."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_workers import start_worker

from ninelives_server.testing import running
from tests.cli.slow_index import Index, slow_index

pytestmark = [pytest.mark.system, pytest.mark.timeout(300), pytest.mark.xdist_group("beginning")]

PROJECT = Path(__file__).parent / "project_slow_start"


@pytest.fixture
def index() -> Iterator[Index]:
    """Has what the project needs, and hands it out when a test says so."""
    with slow_index() as index:
        yield index


def start_preparing(up: running.Up, url: str) -> str:
    """Start a session that is not durable, and return its id when a worker makes its environment."""
    body = {"entrypoint": "main.py:once", "inputs": {"url": url}, "is_durable": False}
    session: str = up.call("POST", "/projects/slow_start/sessions", json=body)["id"]
    running.until(
        "its environment to be in the making",
        lambda: "environment" in up.call("GET", f"/sessions/{session}")["queue_reason"],
    )
    return session


@pytest.mark.parametrize("lost", ["worker", "everything", "stopped"])
def test_what_was_given_and_has_not_begun_runs_once(tmp_path, counter, index, lost):
    """
    Whether its worker is killed alone, or the server with it, or the worker is asked to stop, which it does in its
    time; the row says `created` until somebody has it again.
    """
    uv = {"UV_DEFAULT_INDEX": index.url, "UV_HTTP_RETRIES": "0", "UV_NO_CACHE": "1"}
    up = running.Up(tmp_path / "data", env=uv, arguments=("--no-worker",)).start()
    workers = []
    try:
        token = up.cli("token", "create", "hosts", "--scope", "worker").stdout.strip()
        index.open.set()
        up.cli("deploy", str(PROJECT))  # while there is no worker that would make the environment now
        index.open.clear()
        workers.append(start_worker(up.url, tmp_path / "one", "one", token, uv))
        session = start_preparing(up, counter.url)
        before = up.call("GET", f"/sessions/{session}")

        if lost == "everything":
            up.kill()
        os.kill(workers[0].pid, signal.SIGTERM if lost == "stopped" else signal.SIGKILL)
        code = workers[0].wait(15)
        if lost == "everything":
            up.start()
        running.until(
            "it to be nobody's", lambda: up.call("GET", f"/sessions/{session}")["worker_id"] is None
        )
        between = up.call("GET", f"/sessions/{session}")
        index.open.set()
        workers.append(start_worker(up.url, tmp_path / "two", "two", token, uv))
        ended = up.ended(session)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
        up.stop()

    assert (ended["state"], ended["result"]) == ("completed", "done"), ended["error"]
    assert [key for key, _ in counter.arrivals] == ["once/0"]
    assert code == (0 if lost == "stopped" else -signal.SIGKILL)
    assert (before["state"], before["started_at"]) == ("running", None)
    assert (between["state"], between["started_at"]) == ("created", None)
    assert ended["started_at"] is not None


def test_a_worker_makes_what_a_deployment_needs_before_a_session_comes(tmp_path, counter, index):
    """
    So whoever waits for the first answer need not wait for packages; what uv said is with the build.
    """
    uv = {"UV_DEFAULT_INDEX": index.url, "UV_HTTP_RETRIES": "0", "UV_NO_CACHE": "1"}
    up = running.Up(tmp_path / "data", env=uv).start()
    try:
        running.until("a worker", lambda: up.call("GET", "/workers")["items"])
        index.open.set()
        up.cli("deploy", str(PROJECT))
        [build] = up.call("GET", "/projects/slow_start/builds")["items"]
        running.until("the environment", lambda: list((up.data_dir / "environments").glob("*/.complete")))
        shown = up.cli("build", "show", build["id"]).stdout
        body = {"entrypoint": "main.py:once", "inputs": {"url": counter.url}, "is_durable": False}
        ended = up.ended(up.call("POST", "/projects/slow_start/sessions", json=body)["id"])
        own = up.call("GET", f"/sessions/{ended['id']}")["environment_log"]
    finally:
        up.stop()

    assert "slowly==1.0" in shown
    assert (ended["state"], ended["result"]) == ("completed", "done"), ended["error"]
    assert not own
