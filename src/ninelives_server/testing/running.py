"""A real `ninelives up` and a real `fake-salesforce` as child processes, for demos and tests.

Everything is asked over HTTP and `/proc`, as a person would; nothing here reaches into the server.
"""

import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from ninelives_server.settings import address_of
from ninelives_server.testing.fake_salesforce.control.client import ControlClient

T = TypeVar("T")
TERMINAL = {"completed", "error", "stopped"}


class TimedOut(TimeoutError):
    """Something did not happen in time; the message says what, and what was seen last."""


def until(what: str, look: Callable[[], T | None], *, seconds: float = 60.0, every: float = 0.05) -> T:
    """Look again and again until there is something to see.

    Raises:
        TimedOut: It did not come in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise TimedOut(f"{what} did not happen within {seconds:.0f} s; last seen: {seen!r}")
        time.sleep(every)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a small environment for a child: what programs need, and `extra`."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "PIP_FIND_LINKS", "PIP_CERT", "SSL_CERT_FILE", "UV_CACHE_DIR")
    base = {name: os.environ[name] for name in kept if name in os.environ}
    return {**base, **(extra or {})}


@dataclass
class Up:
    """A server of its own on a data directory, started and stopped as often as wanted.

    Attributes:
        program: What Python runs, before the command `up`; a test may have it break something first.
    """

    data_dir: Path
    env: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    port: int = 0
    program: tuple[str, ...] = ("-m", "ninelives_server")
    _process: subprocess.Popen[bytes] | None = None

    @property
    def log_file(self) -> Path:
        """Where the server's own output goes, all starts after each other."""
        return self.data_dir.parent / f"{self.data_dir.name}.log"

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        """Its address on this machine."""
        return f"http://localhost:{self.port}"

    @property
    def token(self) -> str:
        """The admin token."""
        return (self.data_dir / "private" / "admin-token").read_text(encoding="utf-8").strip()

    def start(self, seconds: float = 150.0) -> "Up":
        """Start it and wait until it is ready."""
        arguments = [sys.executable, *self.program, "up", "--data-dir", str(self.data_dir)]
        arguments += ["--port", str(self.port), *self.arguments]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(self.env)
            )
        until("the server to be ready", self._is_ready, seconds=seconds)
        return self

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the server ended with {self._process.returncode}:\n{self.tail()}")
        url = address_of(self.data_dir)
        if url is None:
            return False
        self.port = int(url.rpartition(":")[2])
        try:
            return httpx2.get(f"{self.url}/readyz", trust_env=False).is_success
        except httpx2.HTTPError:
            return False

    def tail(self, size: int = 4000) -> str:
        """Return the end of the server's output."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")[-size:]

    def stop(self, seconds: float = 40.0) -> int:
        """Ask it to end, and wait; return its exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(seconds)
        finally:
            self.kill()

    def kill(self) -> None:
        """End it with SIGKILL; its children go with it."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(20)

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Call the API as the admin and return the answer's JSON."""
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        answer = httpx2.request(
            method, f"{self.url}/api/v1{path}", headers=headers, timeout=60, trust_env=False, **options
        )
        if not answer.is_success:
            raise RuntimeError(f"{method} {path} answered {answer.status_code}: {answer.text}")
        return answer.json() if answer.content else None

    def cli(self, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `ninelives …` against this server."""
        done = subprocess.run(
            [sys.executable, "-m", "ninelives_server", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=environment({**self.env, "NINELIVES_DATA_DIR": str(self.data_dir)}),
        )
        if check and done.returncode:
            raise RuntimeError(f"ninelives {' '.join(arguments)} exited {done.returncode}: {done.stderr}")
        return done

    def ended(self, session_id: str, seconds: float = 120.0) -> Any:
        """Wait for the end of a session and return its document."""

        def look() -> Any:
            document = self.call("GET", f"/sessions/{session_id}")
            return document if document["state"] in TERMINAL else None

        return until(f"the end of session {session_id}", look, seconds=seconds)

    def child(self, *words: str) -> int | None:
        """Return the process id of the child, or child's child, whose command line has all these words."""
        for pid in descendants(self.pid):
            line = command_line(pid)
            if all(word in line for word in words):
                return pid
        return None

    def worker_pid(self) -> int | None:
        """Return the worker's process id."""
        return self.child("ninelives_server", "worker", "--server")

    def temporal_pid(self) -> int | None:
        """Return the embedded Temporal's process id."""
        return self.child("temporal", "start-dev")


def command_line(pid: int) -> str:
    """Return a process's command line, empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def children(pid: int) -> list[int]:
    """Return the ids of a process's own children."""
    found = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return sorted(child for child in found if _parent(child) == pid)


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes below one."""
    below = children(pid)
    return below + [deep for child in below for deep in descendants(child)]


@dataclass
class Org:
    """A fake Salesforce org in a process of its own.

    Attributes:
        facts: The first line that it printed (see the reference page).
    """

    process: subprocess.Popen[str]
    facts: Mapping[str, str]
    control: ControlClient

    def trust(self) -> ssl.SSLContext:
        """Return an SSL context that trusts the org's own authority."""
        return ssl.create_default_context(cafile=self.facts["ca_file"])


@contextlib.contextmanager
def fake_org(directory: Path, *, callback: str, arguments: tuple[str, ...] = ()) -> Iterator[Org]:
    """Run `ninelives fake-salesforce` with a ready app that has this callback."""
    command = [sys.executable, "-m", "ninelives_server", "fake-salesforce", "--dir", str(directory)]
    command += ["--callback", callback, *arguments]
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "stderr.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment(),
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the fake org ended: {(directory / 'stderr.log').read_text()[-2000:]}")
        facts = json.loads(line)
        with ControlClient(facts["control_url"], Path(facts["ca_file"])) as control:
            yield Org(process, facts, control)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(15)
        if process.stdout is not None:
            process.stdout.close()
