"""Commands that follow a session while its server is killed and started again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ninelives_server.testing import running

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.xdist_group("control")]

LINES = 30
CODE = f"""
import ninelives

def main(event):
    for number in range({LINES}):
        print("line", number)
        ninelives.sleep(0.5)
    raise ValueError("on purpose")
"""


class Command:
    """One that runs beside the test, its output in files."""

    def __init__(self, up: running.Up, place: Path, *arguments: str) -> None:
        self._out, self._err = place.with_suffix(".out"), place.with_suffix(".err")
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ninelives_server", *arguments],
                stdout=out,
                stderr=err,
                env=running.environment({"NINELIVES_DATA_DIR": str(up.data_dir)}),
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()


def test_who_follows_a_session_stays_with_it_when_the_server_is_killed(tmp_path: Path):
    """
    Each line once, no document twice, the break said on stderr, and the exit code that of the session's end.
    """
    up = running.Up(tmp_path / "data").start()
    commands: dict[str, Command] = {}
    try:
        place = tmp_path / "lines"
        place.mkdir()
        (place / "ninelives.yaml").write_text("project:\n  name: lines\n")
        (place / "main.py").write_text(CODE)
        up.cli("deploy", str(place))
        start = ("session", "start", "lines", "main.py:main", "--durable", "--wait", "-o", "json")
        commands["wait"] = Command(up, tmp_path / "wait", *start)
        session = running.until("the session", lambda: up.call("GET", "/sessions")["items"])[0]["id"]
        for name, words in {
            "text": ("session", "logs", session, "--follow"),
            "json": ("session", "logs", session, "--follow", "-o", "json"),
            "watch": ("session", "watch", session, "-o", "json"),
        }.items():
            commands[name] = Command(up, tmp_path / name, *words)
            running.until(f"output of {name}", lambda name=name: commands[name].out)

        up.kill()
        up.start()
        codes = {name: command.process.wait(200) for name, command in commands.items()}
    finally:
        for command in commands.values():
            command.process.kill()
        up.stop()

    every = [f"line {number}" for number in range(LINES)]
    assert commands["text"].out.splitlines() == every
    found = [json.loads(line) for line in commands["json"].out.splitlines()]
    assert "".join(item["text"] for item in found).splitlines() == every
    documents = [json.loads(line) for line in commands["watch"].out.splitlines()]
    assert all(one != other for one, other in zip(documents, documents[1:], strict=False))
    assert documents[-1]["state"] == "error"
    assert json.loads(commands["wait"].out)["error"]["type"] == "ValueError"
    assert codes == {"wait": 1, "text": 0, "json": 0, "watch": 0}
    for command in commands.values():
        assert command.err.count("trying again for 60 s") == 1, command.err
        assert command.err.count("connected again") == 1, command.err
