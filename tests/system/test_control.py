"""Stopping, forking and checking real sessions on a real server."""

import json
import zipfile
from pathlib import Path

import pytest
from test_workers import start_worker

from ninelives_server.testing import running

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.xdist_group("control")]

MANIFEST = "project:\n  name: orders\n  limits: {memory_mb: 512}\n"
CODE = """
import ninelives
from pathlib import Path

@ninelives.step
def charge(k):
    return 100 * k

def main(event):
    total = charge(1)
    total += charge(2)
    try:
        ninelives.sleep(3600)
    finally:
        print('cleaned up after', charge(3))
    return total
"""


def deploy(up: running.Up, place: Path, code: str = CODE, *options: str):
    place.mkdir(exist_ok=True)
    (place / "ninelives.yaml").write_text(MANIFEST)
    (place / "main.py").write_text(code)
    return up.cli("deploy", str(place), *options, check=False)


def parked(up: running.Up) -> str:
    """Start a session and wait until no process of it runs."""
    body = {"entrypoint": "main.py:main", "is_durable": True}
    session = up.call("POST", "/projects/orders/sessions", json=body)["id"]

    def look():
        document = up.call("GET", f"/sessions/{session}")
        return document["state"] == "waiting" and document["worker_id"] is None

    running.until("the session to be parked", look)
    return session


def test_sessions_are_checked_forked_and_stopped(up, tmp_path):
    """
    One story: a session waits for an hour; new code is checked against it, it is forked, and stopped.
    """
    place = tmp_path / "orders"
    assert deploy(up, place).returncode == 0
    session = parked(up)
    steps = up.call("GET", f"/sessions/{session}/steps")["items"]
    before = up.call("GET", f"/sessions/{session}")

    # The same code, and code that differs only in what has not happened yet, is good.
    later = deploy(up, place, CODE.replace("charge(3)", "charge(4)"), "--check")
    assert (later.returncode, later.stdout) == (
        0,
        "1 of 1 sessions would go on as they are; nothing was changed\n",
    ), later.stderr

    # Code that does something else is not; the place is named, and the exit code says so.
    other = CODE.replace("total += charge(2)", "total += charge(5)")
    diverged = deploy(up, place, other, "--check", "-o", "json")
    [finding] = json.loads(diverged.stdout)["check"]["findings"]
    assert diverged.returncode == 1
    assert (finding["session_id"], finding["outcome"]) == (session, "diverged")
    assert (finding["seq"], finding["recorded"], finding["called"]) == (
        steps[1]["seq"],
        "main.charge",
        "main.charge",
    )
    assert (finding["file"], finding["line"]) == ("main.py", 11)
    assert "main.py:11" in deploy(up, place, other, "--check").stdout
    assert len(up.call("GET", "/projects/orders/builds")["items"]) == 1
    assert up.call("GET", f"/sessions/{session}") == before

    # What the new code would do at import without a network cannot reach anything.
    calling = f"import urllib.request\nurllib.request.urlopen('{up.url}/healthz')\n" + CODE
    cut_off = json.loads(deploy(up, place, calling, "--check", "-o", "json").stdout)["check"]["findings"]
    assert [f["outcome"] for f in cut_off] == ["failed"]

    # A fork does not repeat what it took over, and runs on the new build.
    assert deploy(up, place, CODE.replace("3600", "0.1").replace("charge(3)", "charge(7)")).returncode == 0
    at = str(steps[1]["seq"] + 1)
    made = json.loads(
        up.cli("session", "fork", session, "--from-step", at, "--build", "newest", "-o", "json").stdout
    )
    ended = up.ended(made["id"])
    forked = up.call("GET", f"/sessions/{made['id']}/steps")["items"]
    assert (ended["state"], ended["result"]) == ("completed", 300)
    assert ended["memo"]["forked_from"] == session
    assert [(s["name"], s["epoch"] > 0) for s in forked if s["kind"] == "step"] == [
        ("main.charge", False),
        ("main.charge", False),
        ("main.charge", True),
    ]
    assert up.cli("session", "logs", made["id"]).stdout == "cleaned up after 700\n"

    # The parked session is started for its stop; its clean-up is journaled.
    up.cli("session", "stop", session, "--reason", "enough")
    stopped = up.ended(session)
    kinds = [(s["kind"], s["name"]) for s in up.call("GET", f"/sessions/{session}/steps")["items"]]
    assert stopped["state"] == "stopped"
    assert ("wait", "ninelives.Stopped") in kinds
    assert kinds[-1] == ("step", "main.charge")
    assert up.cli("session", "logs", session).stdout == "cleaned up after 300\n"
    watched = up.cli("session", "watch", session, "-o", "json").stdout.splitlines()
    assert [json.loads(line)["state"] for line in watched] == ["stopped"]


WHEEL_INFO = {
    "METADATA": "Metadata-Version: 2.1\nName: lower\nVersion: 1.0\n",
    "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "RECORD": "",
}


def test_a_session_is_followed_while_its_environment_is_made_and_while_it_prints(tmp_path):
    """
    The words of uv come while the session waits for them, its prints as it prints; both can be read afterwards.
    """
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "lower-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("lower.py", "VALUE = 1")
        for name, text in WHEEL_INFO.items():
            wheel.writestr(f"lower-1.0.dist-info/{name}", text)
    uv = {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(wheels)}
    server = running.Up(tmp_path / "data", env=uv, arguments=("--no-worker",))
    worker = None
    place = tmp_path / "orders"
    place.mkdir()
    (place / "requirements.txt").write_text("lower\n")
    try:
        server.start()
        code = "import lower\ndef main(event):\n    print('one')\n    print('two', lower.VALUE)\n"
        deployed = json.loads(deploy(server, place, code, "-o", "json").stdout)
        # Only now: one that is there makes what a deployment needs before a session does.
        token = server.cli("token", "create", "hosts", "--scope", "worker").stdout.strip()
        worker = start_worker(server.url, tmp_path / "one", "one", token, uv)
        start = ("session", "start", "orders", "main.py:main", "--wait", "-o", "json")
        started = server.cli(*start)
        build = json.loads(server.cli("build", "show", deployed["build_id"], "-o", "json").stdout)
        session = json.loads(started.stdout)["id"]
        followed = server.cli("session", "logs", session, "--follow")
        lines = server.cli("session", "logs", session, "--follow", "-o", "json").stdout.splitlines()
    finally:
        if worker is not None:
            worker.kill()
            worker.wait()
        server.stop()

    assert "  uv:  + lower==1.0" in started.stderr
    [log] = build["environment_logs"]
    assert " + lower==1.0" in log["text"].splitlines()
    assert followed.stdout == "one\ntwo 1\n"
    assert "".join(json.loads(line)["text"] for line in lines) == followed.stdout


def test_a_session_that_takes_too_much_says_so(up, tmp_path):
    """
    The manifest's limit holds; the session's error names it and the two ways to raise it.
    """
    code = "def main(event):\n    bytearray(2_000_000_000)\n"
    assert deploy(up, tmp_path / "orders", code).returncode == 0

    document = json.loads(
        up.cli("session", "start", "orders", "main.py:main", "--wait", "-o", "json", check=False).stdout
    )
    [worker] = json.loads(up.cli("worker", "list", "-o", "json").stdout)["items"]

    assert document["state"] == "error"
    assert document["error"]["type"] == "MemoryError"
    assert "memory limit of 512 MB" in document["error"]["message"]
    assert "NINELIVES_LIMITS__MEMORY_MB" in document["error"]["message"]
    assert worker["used"] == 0
    assert worker["slots"] >= 1
