"""`ninelives up`: what it starts, what it refuses, and that it ends whole."""

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from ninelives_server.testing import running

pytestmark = [pytest.mark.system, pytest.mark.timeout(300), pytest.mark.xdist_group("up")]


def failing_up(*arguments, env=None):
    """Run `up` where it must not start; return what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "ninelives_server", "up", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=running.environment(env),
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def gone(pids):
    return not [pid for pid in pids if running.command_line(pid)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_in_order_and_leaves_no_process(up, number):
    """
    Server, Temporal, worker, zygotes: after Ctrl-C or SIGTERM nothing is left, and the exit code is 0.
    """
    below = running.descendants(up.pid)
    assert up.worker_pid() in below
    assert up.temporal_pid() in below

    os.kill(up.pid, number)

    assert up._process.wait(40) == 0
    running.until("every process to be gone", lambda: gone(below), seconds=20)


def test_everything_dies_with_a_killed_server(up):
    """
    SIGKILL leaves no orphan: each child asks the kernel to die with its parent.
    """
    below = running.descendants(up.pid)

    up.kill()

    running.until("every process to be gone", lambda: gone(below), seconds=20)


def test_it_answers_on_loopback_only_and_keeps_its_secrets_to_itself(up):
    """
    The private directory and the admin token are for this user only, and the address is localhost.
    """
    private = up.data_dir / "private"

    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    for name in ("admin-token", "keys", "worker-token"):
        assert stat.S_IMODE((private / name).stat().st_mode) == 0o600, name
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    mine = [line[1] for line in listening if line[3] == "0A" and line[1].endswith(f":{up.port:04X}")]
    assert mine == [f"0100007F:{up.port:04X}"]
    running.until("a login link", lambda: f"http://localhost:{up.port}/login?token=" in up.tail())


def test_a_dead_worker_and_a_dead_temporal_are_started_again(up):
    """
    `up` looks after its children.
    """
    worker, temporal = up.worker_pid(), up.temporal_pid()
    os.kill(worker, signal.SIGKILL)
    os.kill(temporal, signal.SIGKILL)

    running.until("another worker", lambda: up.worker_pid() not in (None, worker))
    running.until("another Temporal", lambda: up.temporal_pid() not in (None, temporal))

    running.until("readiness", lambda: httpx2.get(f"{up.url}/readyz").is_success, seconds=60)


def test_a_taken_port_is_named_with_the_way_out(tmp_path):
    """
    Whoever meets it reads the address and the option.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        said = failing_up("--port", str(port), "--data-dir", str(tmp_path / "data"))

    assert f"127.0.0.1:{port}" in said
    assert "--port" in said


def test_a_second_server_on_the_same_directory_hears_where_the_first_one_is(up):
    """
    SQLite is for one server process.
    """
    said = failing_up("--port", "0", "--data-dir", str(up.data_dir))

    assert up.url in said
    assert httpx2.get(f"{up.url}/healthz").is_success


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path):
    """
    A file where the directory should be stands for every disk that cannot be written.
    """
    (tmp_path / "file").write_text("in the way")

    said = failing_up("--port", "0", "--data-dir", str(tmp_path / "file" / "data"))

    assert str(tmp_path / "file" / "data") in said
    assert "--data-dir" in said


def test_a_lost_temporal_is_named_and_nothing_else_is_lost(tmp_path):
    """
    With an outside Temporal that does not answer, the server says so where it is asked whether it is ready.
    """
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        server = running.Up(tmp_path / "data", arguments=("--temporal-address", address, "--no-worker"))
        try:
            with pytest.raises((running.TimedOut, RuntimeError)):
                server.start(seconds=15)
            assert address in server.tail()
            assert f"Temporal at {address} (namespace default) does not answer" in server.tail()
            checked = server.cli("doctor", check=False)
            assert checked.returncode == 1
            assert "temporal cannot be reached" in checked.stdout
        finally:
            server.stop()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NINELIVES_PORT", "99999"),
        ("NINELIVES_PUBLIC_URL", "ftp://x"),
        ("NINELIVES_LOG_FORMAT", "xml"),
        ("NINELIVES_DATABASE_URL", "mysql://ada:s3cret@db/x"),
        ("NINELIVES_DATABASE_URL", "s3cret"),
        ("NINELIVES_TEMPORAL_ADDRESS", "temporal.example.com"),
    ],
)
def test_a_setting_that_is_wrong_is_named(tmp_path, name, value):
    """
    Bad settings change nothing: no directory is made.
    """
    said = failing_up("--data-dir", str(tmp_path / "data"), env={name: value})

    assert name in said
    assert "s3cret" not in said
    assert not (tmp_path / "data").exists()


def test_a_database_that_does_not_answer_is_named_without_its_password(tmp_path):
    """
    Where it was looked for and why it cannot be used; what stands between `:` and `@` stays out of it.
    """
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"postgresql://ada:s3cret@127.0.0.1:{nobody.getsockname()[1]}/ninelives"
        said = failing_up("--data-dir", str(tmp_path / "data"), "--port", "0", "--database-url", url)

    assert "postgresql://ada:***@127.0.0.1" in said
    assert "s3cret" not in said


def test_an_address_that_no_oauth_service_takes_is_said_at_the_start(tmp_path):
    """
    Plain http under another name than localhost: the server runs, and says what will not work and the ways out.
    """
    arguments = ("--public-url", "http://192.0.2.7:9980", "--no-worker")
    server = running.Up(tmp_path / "data", arguments=arguments)
    try:
        server.start()
        running.until("the greeting", lambda: "Ctrl-C stops it" in server.tail())
        said = server.tail()
        checked = server.cli("doctor", check=False)
    finally:
        server.stop()

    assert "Warning: http://192.0.2.7:9980 is a plain http address" in said
    assert "ssh -L" in said
    assert checked.returncode == 1
    assert "http://192.0.2.7:9980" in checked.stdout


def test_nothing_is_lost_by_stopping_and_starting(up):
    """
    The next start has the same projects, tokens and keys, and continues the sessions that were waiting.
    """
    directory = up.data_dir.parent / "first"
    up.cli("init", "first", "--directory", str(directory.parent))
    (directory / "main.py").write_text(
        (directory / "main.py").read_text()
        + "\n\ndef slow(event):\n    import time\n    print('before')\n    time.sleep(3)\n    print('after')\n    return 'ended'\n"
    )
    up.cli("deploy", str(directory))
    session = up.call(
        "POST", "/projects/first/sessions", json={"entrypoint": "main.py:slow", "is_durable": True}
    )["id"]
    running.until("the first print", lambda: up.call("GET", f"/sessions/{session}/logs")["items"])

    assert up.stop() == 0
    up.start()

    assert up.ended(session)["result"] == "ended"
    prints = up.call("GET", f"/sessions/{session}/logs")["items"]
    assert "".join(p["text"] for p in prints) == "before\nafter\n"
