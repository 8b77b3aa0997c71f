"""Our side of the benchmark: a real `ninelives up`, asked over HTTP."""

import asyncio
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import httpx2

from ninelives_server.cli.projects import bundle
from ninelives_server.testing import running


class Server:
    """A server on a data directory of its own."""

    seconds_to_ready = 0.0
    pid = 0

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
            # Not often: what we ask for, the server has to answer beside what is measured.
            time.sleep(0.5)

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
    """Start `ninelives up` and stop it again; `seconds_to_ready` says how long the start took."""
    began = time.monotonic()
    log = (data_dir.parent / "up.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "ninelives_server", "up", "--port", "0", "--data-dir", str(data_dir)],
        stdout=log,
        stderr=log,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
    )
    try:
        found = Server(data_dir, _address(data_dir, process))
        found.seconds_to_ready = time.monotonic() - began
        found.pid = process.pid
        yield found
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


class Steps(NamedTuple):
    """What one of many steps in a row takes, from the end of one to the end of the next. seconds

    Attributes:
        mean: With those that wait while SQLite copies its log into the file, one in 333.
        median: As an fsync is told.
    """

    mean: float
    median: float


def one_session(server: Server, steps: int) -> Steps:
    """Return what one of `steps` steps in a row takes."""
    session_id = server.run("main.py:steps", {"n": steps})
    server.wait(session_id)
    done = server.steps(session_id)
    assert len(done) == steps, f"{len(done)} steps of {steps}"
    ends = [_when(step["ended_at"]) for step in done]
    mean = (ends[-1] - _when(done[0]["started_at"])) / (steps - 1)
    return Steps(mean, statistics.median(end - before for before, end in itertools.pairwise(ends)))


def many_sessions(server: Server, sessions: int, steps: int) -> float:
    """Return the steps a second of many sessions at once, from the first start to the last end."""
    ids = start_many(server, "main.py:steps", sessions, {"n": steps})
    for session_id in ids:
        server.wait(session_id)
    spans = []
    for session_id in ids:
        done = server.steps(session_id)
        assert len(done) == steps, f"{len(done)} steps of {steps}"
        spans.append((_when(done[0]["started_at"]), _when(done[-1]["ended_at"])))
    return sessions * steps / (max(end for _, end in spans) - min(begin for begin, _ in spans))


def start_many(server: Server, entrypoint: str, count: int, inputs: dict[str, object]) -> list[str]:
    """Start many sessions at once; return their ids."""

    async def start() -> list[str]:
        limits = httpx2.Limits(max_connections=32)
        async with httpx2.AsyncClient(
            base_url=server.url, headers=server.headers, timeout=240, limits=limits
        ) as http:
            body = {"entrypoint": entrypoint, "inputs": inputs, "is_durable": True}
            answers = await asyncio.gather(
                *(http.post("/projects/bench/sessions", json=body) for _ in range(count))
            )
            return [answer.raise_for_status().json()["id"] for answer in answers]

    return asyncio.run(start())


def first_line(server: Server, times: int) -> float:
    """Return the median seconds from an event to the first line of user code, warm, one at a time."""
    delays = []
    for _ in range(times):
        session_id = server.run("main.py:first", {})
        ended = server.wait(session_id)
        event = server.http.get(f"/events/{ended['event_id']}").json()
        delays.append(float(ended["result"]) - _when(event["created_at"]))
    return statistics.median(delays)


def short_sessions(server: Server, count: int) -> float:
    """Return the short sessions a second, from the first one's creation to the last one's end."""
    ids = start_many(server, "main.py:short", count, {})
    ended = [server.wait(session_id) for session_id in ids]
    began = min(_when(session["created_at"]) for session in ended)
    return count / (max(_when(session["ended_at"]) for session in ended) - began)


def parked(server: Server, count: int) -> int:
    """Return how many processes and threads there are more when `count` sessions wait for an hour."""
    before = _tasks_of_sessions(server.pid)
    ids = start_many(server, "main.py:nap", count, {})
    deadline = time.monotonic() + 240
    while any(server.http.get(f"/sessions/{i}").json()["worker_id"] or
              server.http.get(f"/sessions/{i}").json()["state"] != "waiting" for i in ids):  # fmt: skip
        if time.monotonic() > deadline:
            raise TimeoutError("the sessions were not parked in time")
        time.sleep(0.5)
    more = _tasks_of_sessions(server.pid) - before
    for session_id in ids:
        server.http.post(f"/sessions/{session_id}/stop", json={"kill": True}).raise_for_status()
    return max(0, more)


def _tasks_of_sessions(pid: int) -> int:
    """Count the threads of all processes that zygotes have forked."""
    return sum(
        len(list(Path(f"/proc/{process}/task").iterdir()))
        for process in running.descendants(pid)
        if "zygote" in running.command_line(process)
    )
