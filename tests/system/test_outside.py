"""The same path on a PostgreSQL and a Temporal of one's own."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ninelives_server.testing import running

pytestmark = [pytest.mark.system, pytest.mark.store, pytest.mark.engine, pytest.mark.timeout(300)]


@pytest.fixture
async def postgres_url(postgres):
    """An empty database of its own on a real PostgreSQL."""
    async with postgres.database(empty=True) as url:
        yield url


@pytest.fixture
def temporal(tmp_path):
    """A Temporal server that Ninelives did not start."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    arguments = [str(Path(sys.executable).with_name("temporal")), "server", "start-dev", "--headless"]
    arguments += ["--ip", "127.0.0.1", "--port", str(port), "--db-filename", str(tmp_path / "t.db")]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        running.until("Temporal to listen", lambda: listens(port))
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def listens(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_postgresql_and_an_outside_temporal_run_the_same_path(tmp_path, postgres_url, temporal):
    """
    `--database-url` and `--temporal-address` replace the embedded parts; a session runs as before, and the data
    directory holds no database.
    """
    server = running.Up(
        tmp_path / "data", arguments=("--database-url", postgres_url, "--temporal-address", temporal)
    )
    try:
        server.start(seconds=90)
        server.cli("init", "first", "--directory", str(tmp_path))
        server.cli("deploy", str(tmp_path / "first"))

        done = server.cli("session", "start", "first", "main.py:hello", "--durable", "--wait", "-o", "json")

        assert '"state": "completed"' in done.stdout
        assert not list((tmp_path / "data" / "private").glob("*.db"))
        assert server.temporal_pid() is None
    finally:
        server.stop()
