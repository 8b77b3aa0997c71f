"""What a session may use: whoever takes too much hurts only itself, and its error says what it was."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import ninelives
from ninelives.run.confine import Mode
from ninelives_server.worker.cgroups import Groups
from tests.worker.conftest import Bench
from tests.worker.fake_server import FakeServer, Row
from tests.worker.test_runtime import _START

#: Goes on while its neighbour misbehaves: does what can be hindered, again and again.
_HEALTHY = (
    "import subprocess, time, ninelives\n"
    "@ninelives.step\n"
    "def work(k):\n"
    "    time.sleep(0.2)\n"
    "    subprocess.run(['/bin/true'], check=True)\n"
    "    return len(bytearray(8_000_000)) and k\n"
    "def main(event):\n"
    "    return sum(work(k) for k in range(10))\n"
)


@pytest.fixture
def has_groups() -> bool:
    """Whether control groups are used where there are some."""
    return True


@pytest.fixture
async def real(tmp_path: Path, server: FakeServer, mode: Mode, has_groups: bool) -> AsyncIterator[Bench]:
    """A worker with the package as it is installed."""
    bench = Bench(tmp_path / "data", server, Path(ninelives.__file__).parent, mode, 30.0)
    bench.groups = Groups.found() if has_groups else None
    try:
        async with bench.open():
            yield bench
    finally:
        if bench.groups is not None:
            bench.groups.close()


async def _beside_a_healthy_one(bench: Bench, server: FakeServer, code: str, **allowed: int) -> Row:
    """Run a session beside one that has nothing to do with it, which must come to its end."""
    bad = server.add("ses_bad", code, **{**_START, "limits": allowed})
    good = server.add("ses_good", _HEALTHY, **_START)

    await asyncio.gather(bench.run("ses_bad"), bench.run("ses_good"))

    assert (good.state, good.result) == ("completed", b"45")
    return bad


def _error(row: Row) -> dict[str, Any]:
    """Return the error with which a session's own process ended it."""
    [done] = [frame for frame in row.frames if frame.type == "done"]
    found: dict[str, Any] = done.head["error"]
    return found


@pytest.mark.parametrize("mode", ["mount_namespace", "landlock"])
async def test_an_endless_loop_ends_at_its_cpu_limit(real: Bench, server: FakeServer) -> None:
    """The session is killed, and the report says where it was."""
    code = "def spin():\n    while True:\n        pass\ndef main(event):\n    spin()\n"

    row = await _beside_a_healthy_one(real, server, code, cpu_seconds=1)

    [death] = row.deaths
    assert (death["limit"]["name"], death["limit"]["limit"], death["signal"]) == ("cpu_seconds", 1, 9)
    assert ' in spin\n  File "main.py", line 5 in main\n' in death["stderr"]
    assert "/ninelives/run/" not in death["stderr"]


async def test_what_its_children_use_counts_too(real: Bench, server: FakeServer) -> None:
    """Handing the work to other processes, one after the other, evades nothing."""
    code = (
        "import subprocess, sys\n"
        "def main(event):\n"
        "    while True:\n"
        "        subprocess.run(['/bin/sh', '-c', 'i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done'])\n"
    )

    row = await _beside_a_healthy_one(real, server, code, cpu_seconds=2)

    assert [death["limit"]["name"] for death in row.deaths] == ["cpu_seconds"]


@pytest.mark.parametrize(
    ("code", "limit"),
    [
        ("import re\ndef main(event):\n    re.match('(a+)+$', 'a' * 60 + 'b')\n", "cpu_seconds"),
        (
            "import ctypes\ndef main(event):\n    ctypes.PyDLL(None).sleep(600)\n    return 'rested'\n",
            "wall_seconds",
        ),
    ],
    ids=["a regular expression", "a sleep in C that holds the interpreter"],
)
async def test_a_blocked_c_call_ends_at_a_limit(
    real: Bench, server: FakeServer, code: str, limit: str
) -> None:
    """No line of Python runs any more in such a process; it is watched from outside.

    The signal that has it say where it stands interrupts the call: that must not make it a good end.
    """
    server.wall_left = 1.5 if limit == "wall_seconds" else None

    row = await _beside_a_healthy_one(real, server, code, **{limit: 1})

    [death] = row.deaths
    assert (death["limit"]["name"], death["signal"]) == (limit, 9)
    assert "in main" in death["stderr"]


@pytest.mark.parametrize("has_groups", [True, False], ids=["control group", "user namespace"])
async def test_a_fork_bomb_ends_at_its_limit_of_processes(
    real: Bench, server: FakeServer, has_groups: bool
) -> None:
    """The kernel refuses more processes to this session, to nobody else."""
    if has_groups and real.groups is None:
        pytest.skip("this system lets us make no control group for processes")
    code = "import os\ndef main(event):\n    while True:\n        os.fork()\n"

    row = await _beside_a_healthy_one(real, server, code, processes=30)

    error = _error(row)
    assert error["type"] == "BlockingIOError"
    assert "its limit of 30 processes and threads" in error["message"]
    assert "NINELIVES_LIMITS__PROCESSES" in error["message"]


async def test_threads_count_as_processes(real: Bench, server: FakeServer) -> None:
    """What cannot start another thread says why, and which setting would let it."""
    code = (
        "import threading, time\n"
        "def main(event):\n"
        "    for _ in range(100):\n"
        "        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    )
    row = server.add("ses_1", code, **{**_START, "is_durable": False, "limits": {"processes": 20}})

    await real.run("ses_1")

    assert "limits: processes)" in _error(row)["message"]


_MANY_THREADS = (
    "import threading, time\n"
    "def main(event):\n"
    "    for _ in range(100):\n"
    "        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
)
_A_POOL = (
    "import time\n"
    "from concurrent.futures import ThreadPoolExecutor\n"
    "def main(event):\n"
    "    with ThreadPoolExecutor(100) as pool:\n"
    "        list(pool.map(lambda _: time.sleep(1), range(100)))\n"
)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (_MANY_THREADS, "reached its memory limit of 128 MB; raise it in the manifest"),
        (
            _A_POOL,
            "its limit of 256 processes and threads or its memory limit of 128 MB (a thread's stack takes ",
        ),
    ],
    ids=["there", "ended meanwhile"],
)
async def test_threads_that_memory_has_no_room_for_say_so(
    real: Bench, server: FakeServer, code: str, said: str
) -> None:
    """Python only says that it cannot start a thread; their stacks count as memory, used or not."""
    limits = {"processes": 256, "memory_mb": 128}
    row = server.add("ses_1", code, **{**_START, "is_durable": False, "limits": limits})

    await real.run("ses_1")

    assert said in _error(row)["message"]
    assert "NINELIVES_LIMITS__MEMORY_MB" in _error(row)["message"]


@pytest.mark.parametrize(
    "code",
    [
        "def main(event):\n    bytearray(2_000_000_000)\n",
        "def main(event):\n    found = []\n    while True:\n        found.append(bytearray(1_000_000))\n",
    ],
    ids=["at once", "bit by bit"],
)
async def test_an_allocation_of_two_gigabytes_is_refused(real: Bench, server: FakeServer, code: str) -> None:
    """The session gets a MemoryError where it asks; what it catches is its own business."""
    row = await _beside_a_healthy_one(real, server, code, memory_mb=200)

    error = _error(row)
    assert (error["type"], error["message"].partition(";")[0]) == (
        "MemoryError",
        "the session has reached its memory limit of 200 MB",
    )
    assert "in main" in error["traceback"]


async def test_memory_of_many_processes_counts_together(real: Bench, server: FakeServer) -> None:
    """Each stays below the limit of one process; all of them together do not."""
    code = (
        "import os, time\n"
        "def main(event):\n"
        "    for _ in range(4):\n"
        "        if os.fork() == 0:\n"
        "            held = b'x' * 90_000_000\n"
        "            time.sleep(60)\n"
        "            os._exit(0)\n"
        "    time.sleep(60)\n"
    )
    plain = {**_START, "is_durable": False, "limits": {"memory_mb": 100}}
    row = server.add("ses_1", code, **plain)

    await real.run("ses_1")

    [death] = row.deaths
    assert death["limit"]["name"] == "memory_mb"
    assert death["limit"]["used"] > 164


async def test_too_many_open_files_are_refused(real: Bench, server: FakeServer) -> None:
    """The error names the limit, wherever in a library it came from."""
    code = "def main(event):\n    return [open('main.py') for _ in range(100)]\n"
    row = await _beside_a_healthy_one(real, server, code, open_files=64)

    error = _error(row)
    assert error["type"] == "OSError"
    assert "its limit of 64 open files" in error["message"]
    assert "NINELIVES_LIMITS__OPEN_FILES" in error["message"]


async def test_a_session_within_its_limits_runs_to_its_end(real: Bench, server: FakeServer) -> None:
    """Limits are nothing that an ordinary session meets."""
    allowed = {"memory_mb": 1024, "cpu_seconds": 3600, "open_files": 4096, "processes": 256, "output_mb": 10}
    row = server.add("ses_1", _HEALTHY, **{**_START, "limits": allowed})

    outcome = await real.run("ses_1")

    assert (outcome.name, json.loads(row.result or b"")) == ("finished", 45), row.deaths


async def test_a_session_lets_the_server_finish_first(real: Bench, server: FakeServer) -> None:
    """A batch job by sched(7), its children too: it gets its share, but interrupts nobody to get it at once."""
    code = (
        "import os, subprocess, sys, ninelives\n"
        "@ninelives.step\n"
        "def policies():\n"
        "    ask = [sys.executable, '-c', 'import os; print(os.sched_getscheduler(0))']\n"
        "    child = subprocess.run(ask, check=True, capture_output=True, text=True).stdout\n"
        "    return [os.sched_getscheduler(0), int(child)]\n"
        "def main(event):\n"
        "    return policies()\n"
    )
    row = server.add("ses_1", code, **_START)

    await real.run("ses_1")

    assert json.loads(row.result or b"") == [os.SCHED_BATCH, os.SCHED_BATCH], row.deaths
