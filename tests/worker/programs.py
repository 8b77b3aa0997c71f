"""What sessions of these tests do, and ways to look at them from outside."""

import asyncio
import contextlib
from pathlib import Path

from tests.worker.fake_server import FakeServer

#: Ends only from outside.
FOREVER = "import time\nsession.step('ready')\ntime.sleep(600)"


async def until_mute(server: FakeServer, bench, row):
    turn = asyncio.create_task(bench.run(row.sid))
    await server.until(lambda: row.epoch == 1)
    await asyncio.sleep(0)
    server.is_mute = True
    return await turn


async def sleepers(expected: int, seconds: bytes = b"4242.25") -> int:
    """Count the processes that tests have started to sleep; wait a while for the expected number."""
    for _ in range(100):
        found = 0
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                found += seconds in path.read_bytes()
        if found == expected:
            break
        await asyncio.sleep(0.05)
    return found
