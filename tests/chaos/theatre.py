"""Everything that can be killed: server, two workers, Temporal, PostgreSQL and session processes, all real."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import databases

from ninelives_server.testing import running, story

PROJECT = Path(__file__).parent / "project"
CONNECTION = "chaos/crm"


class Database:
    """A PostgreSQL that survives being killed: unlike the tests' one, it writes its log before it answers."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="nlchaos-", dir="/tmp"))  # a socket's path is short
        self.url = f"postgresql://ninelives@/postgres?host={self.directory}"
        self._data = self.directory / "data"
        self._as = databases._unprivileged()
        self._bin = databases.binaries()
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            shutil.chown(self.directory, "postgres", "postgres")
        words = [
            "-D",
            self._data,
            "-U",
            "ninelives",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        ]
        subprocess.run(
            [*self._as, self._bin / "initdb", *words], check=True, stdout=subprocess.DEVNULL, cwd="/"
        )

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [*self._as, self._bin / "postgres", "-D", self._data, "-k", self.directory]
        for option in ("listen_addresses=", "max_connections=200", "restart_after_crash=off"):
            command += ["-c", option]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
        running.until("PostgreSQL to answer", self._answers)

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError((self.directory / "log").read_text()[-2000:])
        ask = [self._bin / "pg_isready", "-q", "-h", self.directory, "-U", "ninelives"]
        return subprocess.run(ask, check=False, cwd="/").returncode == 0

    def kill(self) -> None:
        """SIGKILL to it and all of its processes."""
        assert self._process is not None
        below = running.descendants(self._process.pid)
        self._process.kill()
        self._process.wait()
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        running.until("PostgreSQL to be gone", lambda: not story.alive(below))

    def close(self) -> None:
        """End it and remove what it wrote."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
        shutil.rmtree(self.directory, ignore_errors=True)


class Temporal:
    """A Temporal server of one's own, that Ninelives does not start."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = story.free_port()
        self.address = f"127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        program = str(Path(sys.executable).with_name("temporal"))
        words = ["server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(self._port)]
        words += ["--db-filename", str(self._directory / "temporal.db"), "--log-level", "error"]
        words += ["--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=1"]
        for queue in ("transfer", "timer"):
            words += ["--dynamic-config-value", f"history.{queue}ProcessorMaxPollRPS=5000"]
        with (self._directory / "temporal.log").open("ab") as log:
            self._process = subprocess.Popen([program, *words], stdout=log, stderr=log)
        running.until("Temporal to listen", self._listens)

    def _listens(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self._port)) == 0

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(20)


class OwnWorker:
    """A worker on "another host": it has a data directory of its own and outlives the server."""

    def __init__(self, directory: Path, up: running.Up, env: dict[str, str]) -> None:
        self._directory = directory
        self._up = up
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; it waits by itself until the server answers."""
        words = ["worker", "--server", self._up.url, "--name", "second"]
        words += ["--token-file", str(self._up.data_dir / "private" / "worker-token")]
        words += ["--data-dir", str(self._directory / "second"), "--slots", "40"]
        with (self._directory / "second.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ninelives_server", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=running.environment(self._env),
                start_new_session=True,
            )

    def is_running(self) -> bool:
        """Tell whether it has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it."""
        if self.is_running():
            assert self._process is not None
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()


class Stage:
    """The parts, started in order."""

    def __init__(self, directory: Path, org: running.Org, port: int) -> None:
        env = {"NINELIVES_CA_FILE": org.facts["ca_file"], "NINELIVES_ALLOW_INSECURE_PROVIDERS": "1"}
        env["NINELIVES_WORKER__SLOTS"] = "40"
        self.org = org
        self.database = Database()
        self.temporal = Temporal(directory)
        outside = ("--database-url", self.database.url, "--temporal-address", self.temporal.address)
        self.up = running.Up(directory / "data", env=env, arguments=outside, port=port)
        self.second = OwnWorker(directory, self.up, env)

    def start(self) -> None:
        """Start everything, deploy the project and connect it to the org."""
        self.database.start()
        self.temporal.start()
        self.up.start(seconds=120)
        self.second.start()
        self.up.cli("deploy", str(PROJECT))
        set_up = story.Stage(self.up, self.org, self.up.data_dir, lambda _text: None)
        story.connect(set_up, CONNECTION)
        story.listen(set_up, "chaos")

    def close(self) -> None:
        """Stop everything, backwards."""
        self.second.close()
        self.up.stop()
        self.temporal.close()
        self.database.close()

    # Each kill brings back what it killed, and says nothing about what becomes of the sessions.

    def kill_server(self) -> None:
        """The server and the worker that it started die; the second worker stays without a server."""
        below = running.descendants(self.up.pid)
        self.up.kill()
        running.until("the server's processes to be gone", lambda: not story.alive(below))
        self.up.start(seconds=120)

    def kill_worker(self) -> None:
        """The worker that the server started dies; the server starts another one."""
        pid = running.until("a worker to kill", self.up.worker_pid)
        os.kill(pid, signal.SIGKILL)

    def kill_second(self) -> None:
        """The worker on the other host dies and is started again."""
        self.second.kill()
        time.sleep(1)
        self.second.start()

    def kill_temporal(self) -> None:
        """Temporal is away for a moment."""
        self.temporal.kill()
        time.sleep(1)
        self.temporal.start()

    def kill_postgresql(self) -> None:
        """The database is away for a moment."""
        self.database.kill()
        time.sleep(1)
        self.database.start()

    def kill_session(self, choice: float) -> bool:
        """One session's process dies; `choice` (0 to 1) says which one. `False` where none runs now."""
        pids = self.session_pids()
        if not pids:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[int(choice * len(pids))], signal.SIGKILL)
        return True

    def session_pids(self) -> list[int]:
        """Return the session processes of both workers: the forks of their zygotes' forks."""
        workers = [pid for pid in (self.up.worker_pid(), self.second.pid) if pid]
        zygotes = [pid for worker in workers for pid in running.children(worker)]
        # The first process below a worker is the zygote's parent, outside of its namespaces.
        inner = [pid for zygote in zygotes for pid in running.children(zygote)]
        return [pid for zygote in inner for pid in running.descendants(zygote) if not running.children(pid)]


@contextlib.contextmanager
def playing(directory: Path) -> Iterator[Stage]:
    """Yield a running stage."""
    port = story.free_port()
    with running.fake_org(
        directory / "org", callback=f"http://localhost:{port}/oauth/redirect/salesforce"
    ) as org:
        stage = Stage(directory, org, port)
        try:
            stage.start()
            yield stage
        finally:
            stage.close()
