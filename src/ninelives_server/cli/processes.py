"""Child processes of `up`: in sessions of their own, started again when they die, stopped by id."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from ninelives_server import log

logger = log.get(__name__)

#: A child that lived shorter than this is started again after a growing pause. seconds
_SHORT_LIFE = 10.0


class Child:
    """One process that should run until it is told to stop."""

    def __init__(self, name: str, arguments: Sequence[str], *, log_file: Path) -> None:
        self.name = name
        self._arguments = arguments
        self._log_file = log_file
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The process id, or `None` where it does not run now."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def run(self) -> None:
        """Start it, and again whenever it dies, until `stop`."""
        pause = 0.1
        while not self._stopping:
            began = asyncio.get_running_loop().time()
            await self._start()
            code = await self._wait()
            if self._stopping:
                return
            logger.warning("child.died", name=self.name, exit_code=code, log_file=str(self._log_file))
            lived = asyncio.get_running_loop().time() - began
            pause = 0.1 if lived > _SHORT_LIFE else min(pause * 2, 5.0)
            await asyncio.sleep(pause)

    async def _start(self) -> None:
        with self._log_file.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    async def _wait(self) -> int | None:
        process = self._process
        return None if process is None else await process.wait()

    async def stop(self, grace: float) -> None:
        """Ask it to end; kill its process group when the grace is over."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), grace)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
