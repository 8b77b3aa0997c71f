"""Our side of the benchmark: a real `ninelives up`, asked over HTTP."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import httpx2

from ninelives_server.cli.projects import bundle


class Server:
    """A server on a data directory of its own."""

    def __init__(self, data_dir: Path, url: str) -> None:
        token = (data_dir / "private" / "admin-token").read_text().strip()
        self.url = f"{url}/api/v1"
        self.headers = {"Authorization": f"Bearer {token}"}
        self.http = httpx2.Client(base_url=self.url, headers=self.headers, timeout=120)

    def deploy(self, directory: Path) -> None:
        self.http.post("/deploys", content=bundle(directory)).raise_for_status()

    def run(self, entrypoint: str, inputs: dict[str, object]) -> str:
        body = {"entrypoint": entrypoint, "inputs": inputs, "is_durable": True}
        answer = self.http.post("/projects/bench/sessions", json=body)
        answer.raise_for_status()
        return answer.json()["id"]

    def wait(self, session_id: str, seconds: float = 240) -> dict:
        deadline = time.monotonic() + seconds
        while True:
            session = self.http.get(f"/sessions/{session_id}").json()
            if session["state"] in {"completed", "error", "stopped"}:
                if session["state"] != "completed":
                    raise RuntimeError(
                        f"session {session_id} ended in {session['state']}: {session['error']}"
                    )
                return session
            if time.monotonic() > deadline:
                raise TimeoutError(f"session {session_id} is still {session['state']}")
            time.sleep(0.05)

    def steps(self, session_id: str) -> list[dict]:
        items, after = [], 0
        while True:
            page = self.http.get(
                f"/sessions/{session_id}/steps", params={"after": after, "limit": 1000}
            ).json()
            items += [item for item in page["items"] if item["kind"] == "step"]
            if not page["next_cursor"]:
                return items
            after = page["next_cursor"]


@contextmanager
def server(data_dir: Path) -> Iterator[Server]:
    """Start `ninelives up` and stop it again."""
    log = (data_dir.parent / "up.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "ninelives_server", "up", "--port", "0", "--data-dir", str(data_dir)],
        stdout=log,
        stderr=log,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
    )
    try:
        yield Server(data_dir, _address(data_dir, process))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        log.close()


def _address(data_dir: Path, process: subprocess.Popen) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError("the server ended: " + (data_dir.parent / "up.log").read_text()[-2000:])
        try:
            url = json.loads((data_dir / "server.json").read_text())["url"]
            if httpx2.get(f"{url}/readyz").is_success:
                return url
        except (OSError, ValueError, httpx2.HTTPError):
            pass
        time.sleep(0.05)
    raise TimeoutError("the server was not ready in a minute")


def _when(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def one_session(server: Server, steps: int) -> float:
    """Return the seconds that one of `steps` steps in a row takes, from first start to last end."""
    session_id = server.run("main.py:steps", {"n": steps})
    server.wait(session_id)
    done = server.steps(session_id)
    assert len(done) == steps, f"{len(done)} steps of {steps}"
    return (_when(done[-1]["ended_at"]) - _when(done[0]["started_at"])) / (steps - 1)


def many_sessions(server: Server, sessions: int, steps: int) -> float:
    """Return the steps a second of many sessions at once, from the first start to the last end."""

    async def start() -> list[str]:
        async with httpx2.AsyncClient(base_url=server.url, headers=server.headers, timeout=120) as http:
            body = {"entrypoint": "main.py:steps", "inputs": {"n": steps}, "is_durable": True}
            answers = await asyncio.gather(
                *(http.post("/projects/bench/sessions", json=body) for _ in range(sessions))
            )
            return [answer.json()["id"] for answer in answers]

    ids = asyncio.run(start())
    for session_id in ids:
        server.wait(session_id)
    spans = []
    for session_id in ids:
        done = server.steps(session_id)
        assert len(done) == steps, f"{len(done)} steps of {steps}"
        spans.append((_when(done[0]["started_at"]), _when(done[-1]["ended_at"])))
    return sessions * steps / (max(end for _, end in spans) - min(begin for begin, _ in spans))
