"""The worker as a process of its own, against a real Temporal: from its start to its end."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporal_client import connected
from temporalio import workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from ninelives_server.engine import embedded
from ninelives_server.errors import SetupError
from ninelives_server.model.sessions import ACTIVITY_NAME, SESSION_QUEUE
from ninelives_server.worker import main
from tests.worker.conftest import stand_in
from tests.worker.fake_server import TOKEN, FakeServer

pytestmark = pytest.mark.engine

_PROGRAM = """
import sys
from pathlib import Path
from ninelives_server.worker import main, sdk
sdk._PACKAGE = Path(sys.argv[3])
sdk.install.__defaults__ = (sdk._PACKAGE,)
raise SystemExit(main.run(server_url=sys.argv[1], token=lambda: sys.argv[4], data_dir=Path(sys.argv[2]), name="test", slots=4))
"""


@workflow.defn
class Turns:
    """Has a session run until it has ended."""

    @workflow.run
    async def run(self, session_id: str) -> dict[str, Any]:
        return await workflow.execute_activity(
            ACTIVITY_NAME,
            session_id,
            task_queue=SESSION_QUEUE,
            result_type=dict[str, Any],
            start_to_close_timeout=timedelta(hours=1),
            heartbeat_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=200), backoff_coefficient=1.0),
        )


class World:
    """A Temporal, a server and any number of worker processes."""

    def __init__(self, directory: Path, server: FakeServer, temporal: Client | None) -> None:
        self.server = server
        self.temporal = temporal
        self._directory = directory
        self._package = stand_in(directory)
        self._workers: list[subprocess.Popen[bytes]] = []

    def work(self, token: str = TOKEN, data_dir: Path | None = None) -> "subprocess.Popen[bytes]":
        number = len(self._workers)
        data_dir = data_dir or self._directory / f"data-{number}"
        (data_dir / "private").mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", _PROGRAM, self.server.url, str(data_dir), str(self._package), token]
        log = (self._directory / f"worker-{number}.log").open("wb")
        self._workers.append(subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True))
        return self._workers[-1]

    async def start(self, sid: str) -> Any:
        assert self.temporal is not None
        return await self.temporal.start_workflow(Turns.run, sid, id=sid, task_queue="tests")

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()
            worker.wait()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    temporal = embedded.EmbeddedTemporal(private_dir=tmp_path, log_file=tmp_path / "temporal.log")
    async with temporal.running():
        client = await connected(temporal)
        async with FakeServer(temporal.address, temporal.secret) as server:
            runner = UnsandboxedWorkflowRunner()
            async with Worker(client, task_queue="tests", workflows=[Turns], workflow_runner=runner):
                world = World(tmp_path, server, client)
                try:
                    yield world
                finally:
                    world.close()


async def _gone(marker: bytes) -> bool:
    """Wait until no process of this machine has the marker in its command line."""
    for _ in range(200):
        found = 0
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                found += marker in path.read_bytes()
        if not found:
            return True
        await asyncio.sleep(0.05)
    return False


#: Is in the step until somebody ends it; `{marker}` is in the command line of a child.
_BUSY = "import subprocess, time\nsubprocess.Popen(['/bin/sleep', '{marker}'])\nsession.step('ready')\ntime.sleep(600)"


async def test_a_worker_runs_what_temporal_hands_out(world: World) -> None:
    """From the activity to the session's end, and the outcome back."""
    row = world.server.add("ses_1", "session.step('a'); result = 7")
    world.work()

    outcome = await (await world.start("ses_1")).result()

    assert outcome == {"outcome": "finished"}
    assert row.result == b"7"
    assert world.server.hellos[0]["slots"] == 4


async def test_a_parked_session_says_until_when(world: World) -> None:
    """The workflow sets the timer; the process is gone."""
    world.server.add("ses_1", "session.ask('park', until='2031-01-01T00:00:00Z')")
    world.work()

    outcome = await (await world.start("ses_1")).result()

    assert outcome == {"outcome": "parked", "until": "2031-01-01T00:00:00Z"}


async def test_a_session_that_died_is_tried_again_when_the_server_says(world: World) -> None:
    """Nothing of the death but a class name reaches Temporal's history."""
    code = "session.step('a')\nif not session.past:\n    raise RuntimeError('do not tell Temporal')"
    row = world.server.add("ses_1", code)
    world.work()

    handle = await world.start("ses_1")
    outcome = await handle.result()

    history = (await handle.fetch_history()).to_json()
    assert (outcome, row.epoch, row.names()) == ({"outcome": "finished"}, 2, ["a"])
    assert "do not tell" not in history


async def test_sigterm_leaves_no_process_behind(world: World) -> None:
    """The worker ends by itself, in time, with all that its sessions started; the server is told why."""
    row = world.server.add(
        "ses_1", "session.send('waiting', is_waiting=True)\n" + _BUSY.format(marker="4242.125")
    )
    worker = world.work()
    await world.start("ses_1")
    await world.server.until(lambda: row.journal)

    worker.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(worker.wait, 20)

    assert code == 0
    assert await _gone(b"4242.125")
    assert [death["reason"] for death in row.deaths] == ["shutdown"]
    assert len(world.server.farewells) == 1


async def test_a_killed_worker_takes_everything_with_it_and_another_one_goes_on(world: World) -> None:
    """After SIGKILL no zygote, session or child of one is left; the session ends on the other worker."""
    code = _BUSY.format(marker="4242.375").replace(
        "session.step('ready')",
        "session.step('ready')\nif session.past: raise SystemExit(session.done('second'))",
    )
    row = world.server.add("ses_1", code)
    worker = world.work()
    handle = await world.start("ses_1")
    await world.server.until(lambda: row.journal)

    worker.kill()
    left = not await _gone(b"4242.375")
    await world.temporal.get_async_activity_handle(workflow_id="ses_1", run_id=None, activity_id="1").fail(
        ApplicationError("WorkerLost", type="WorkerLost")
    )
    world.work()
    outcome = await handle.result()

    assert not left
    assert (outcome, row.result, row.epoch) == ({"outcome": "finished"}, b'"second"', 2)


async def test_a_worker_whose_token_is_refused_says_so(world: World) -> None:
    """It does not wait for a server that will never have it."""
    worker = world.work(token="nl_wrong")

    code = await asyncio.to_thread(worker.wait, 30)

    assert code != 0


async def test_a_worker_ends_in_time_though_nothing_answers(world: World) -> None:
    """SIGTERM while the server is away: there is nobody to wait for."""
    await world.server.close()
    worker = world.work()
    await asyncio.sleep(1.5)  # it is asking for its configuration by now, or about to

    worker.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(worker.wait, 20)
    await world.server.open()

    assert code in {0, -signal.SIGTERM}  # the latter if it had not come to its first line yet


async def test_a_worker_that_cannot_reach_an_embedded_temporal_says_so_and_ends(tmp_path: Path) -> None:
    """It is on another machine than the server; waiting would not help."""
    async with FakeServer("127.0.0.1:1") as server:
        server.config["temporal_secret"] = "of another machine"
        world = World(tmp_path, server, None)  # type: ignore[arg-type]
        try:
            worker = world.work()
            code = await asyncio.to_thread(worker.wait, 60)
        finally:
            world.close()

    said = (tmp_path / "worker-0.log").read_text()
    assert code != 0
    assert "the server's Temporal is embedded, at 127.0.0.1:1 on its own machine" in said
    assert "--temporal-address" in said


async def test_a_worker_that_has_not_reached_temporal_yet_runs_what_it_is_given_and_drains(
    tmp_path: Path,
) -> None:
    """The server needs no Temporal to give sessions away; SIGTERM is answered as at any other time."""
    async with FakeServer("127.0.0.1:1") as server:
        world = World(tmp_path, server, None)
        row = server.add(
            "ses_1", "session.send('waiting', is_waiting=True)\n" + _BUSY.format(marker="4242.75")
        )
        try:
            worker = world.work()
            await server.until(lambda: server.hellos)
            await server.give("ses_1")
            await server.until(lambda: row.journal)

            worker.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(worker.wait, 20)
        finally:
            world.close()

    assert code == 0
    assert await _gone(b"4242.75")
    assert [death["reason"] for death in row.deaths] == ["shutdown"]
    assert len(server.farewells) == 1


async def test_a_second_worker_on_the_same_directory_says_so(world: World, tmp_path: Path) -> None:
    """It would clear away the working directories of the first one's sessions."""
    world.server.add("ses_1", "result = 1")
    world.work()
    await (await world.start("ses_1")).result()

    second = world.work(data_dir=tmp_path / "data-0")
    code = await asyncio.to_thread(second.wait, 30)

    assert code != 0
    assert "another worker uses the directory" in (tmp_path / "worker-1.log").read_text()


async def test_two_workers_share_the_sessions(world: World) -> None:
    """Each runs as many as it has slots; none gets what another runs."""
    code = _BUSY.format(marker="4242.625") + "\n"
    rows = [world.server.add(f"ses_{k}", code) for k in range(8)]
    workers = [world.work(), world.work()]
    for row in rows:
        await world.start(row.sid)

    await world.server.until(lambda: all(row.journal for row in rows))

    held = [row.holder for row in rows]
    assert sorted(held.count(holder) for holder in set(held)) == [4, 4]
    assert len(workers) == 2


async def test_a_draining_worker_hands_its_sessions_to_the_other(world: World) -> None:
    """After SIGTERM it takes no new one, ends, and what it ran goes on elsewhere."""
    code = _BUSY.format(marker="4242.875").replace(
        "session.step('ready')",
        "session.step('ready')\nif session.past: raise SystemExit(session.done('second'))",
    )
    rows = [world.server.add(f"ses_{k}", code) for k in range(3)]
    first = world.work()
    handles = [await world.start(row.sid) for row in rows]
    await world.server.until(lambda: all(row.journal for row in rows))
    former = {row.holder for row in rows}
    world.work()

    first.send_signal(signal.SIGTERM)
    status = await asyncio.to_thread(first.wait, 40)
    outcomes = [await handle.result() for handle in handles]

    assert status == 0
    assert outcomes == [{"outcome": "finished"}] * 3
    assert all(row.result == b'"second"' for row in rows)
    assert len(former) == 1


@pytest.mark.parametrize("who", ["worker", "server"])
async def test_a_worker_refuses_to_run_where_isolation_is_required_and_impossible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    """NINELIVES_WORKER__REQUIRE_ISOLATION, of the worker or of its server; the kernel is played, the rest is real."""
    monkeypatch.setattr("ninelives_server.worker.isolation.probe", lambda: "none")
    async with FakeServer("127.0.0.1:1") as server:
        server.config["isolation_required"] = who == "server"
        options = main.Options(
            server_url=server.url,
            token=lambda: TOKEN,
            data_dir=tmp_path,
            name="test",
            require_isolation=who == "worker",
        )

        with pytest.raises(SetupError, match="project code could read this server's keys"):
            await main._Life(options).main()
