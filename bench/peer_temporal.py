"""The peer Temporal: a workflow whose steps are bare activities, on the same binary and tuning as ours.

`python peer_temporal.py STEPS SESSIONS DIR STEPS_EACH SHORT` prints `{"step_seconds": …,
"steps_per_second": …, "short_per_second": …}`, the last of SHORT workflows with one activity each.
"""

import asyncio
import json
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker


@activity.defn
async def noop(i: int) -> int:
    return i


@workflow.defn(sandboxed=False)
class Steps:
    """Runs `n` activities, one after the other."""

    @workflow.run
    async def run(self, n: int) -> None:
        for i in range(n):
            await workflow.execute_activity(noop, i, start_to_close_timeout=timedelta(seconds=60))


async def connected(port: int) -> Client:
    for _ in range(300):
        try:
            return await Client.connect(f"127.0.0.1:{port}")
        except RuntimeError:
            await asyncio.sleep(0.1)
    raise TimeoutError("Temporal did not start")


async def timed(port: int, steps: int, sessions: int, per: int, short: int) -> dict[str, float]:
    client = await connected(port)
    async with Worker(
        client,
        task_queue="bench",
        workflows=[Steps],
        activities=[noop],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_activities=max(sessions, 2),
    ):
        await client.execute_workflow(Steps.run, 5, id="warm", task_queue="bench")
        began = time.perf_counter()
        await client.execute_workflow(Steps.run, steps, id="one", task_queue="bench")
        one = (time.perf_counter() - began) / steps
        began = time.perf_counter()
        await asyncio.gather(
            *(
                client.execute_workflow(Steps.run, per, id=f"many-{k}", task_queue="bench")
                for k in range(sessions)
            )
        )
        rate = sessions * per / (time.perf_counter() - began)
        began = time.perf_counter()
        await asyncio.gather(
            *(
                client.execute_workflow(Steps.run, 1, id=f"short-{k}", task_queue="bench")
                for k in range(short)
            )
        )
        quick = short / (time.perf_counter() - began)
        return {"step_seconds": one, "steps_per_second": rate, "short_per_second": quick}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def measure(steps: int, sessions: int, directory: Path, per: int, short: int) -> dict[str, float]:
    port = free_port()
    arguments = [str(Path(sys.executable).with_name("temporal")), "server", "start-dev", "--headless"]
    arguments += ["--ip", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    arguments += ["--db-filename", str(directory / "temporal.db"), "--sqlite-pragma", "journal_mode=wal"]
    arguments += ["--sqlite-pragma", "synchronous=1"]
    for queue in ("transfer", "timer"):
        arguments += ["--dynamic-config-value", f"history.{queue}ProcessorMaxPollRPS=5000"]
    server = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return asyncio.run(timed(port, steps, sessions, per, short))
    finally:
        server.terminate()
        server.wait(20)


if __name__ == "__main__":
    steps, sessions, per, short = (int(sys.argv[k]) for k in (1, 2, 4, 5))
    print(json.dumps(measure(steps, sessions, Path(sys.argv[3]), per, short)))
