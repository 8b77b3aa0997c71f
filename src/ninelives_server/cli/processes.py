"""Child processes of `up`: in sessions of their own, started again when they die, stopped by id."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from ninelives_server import log

logger = log.get(__name__)

#: A child that lived shorter than this is started again after a growing pause. seconds
_SHORT_LIFE = 10.0


class Child:
    """One process that should run until it is told to stop."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        log_file: Path,
        told: Callable[[], Awaitable[str]],
        linked: Callable[[socket.socket], Awaitable[None]] | None = None,
    ) -> None:
        """Make one that has not started.

        Args:
            name: For the log.
            arguments: Program and arguments.
            log_file: Gets all that it prints.
            told: Returns what it reads from its standard input; it may start before that is known.
            linked: Gets one end of a pair of sockets (`SOCK_SEQPACKET`) once it was told; the number of the
                other one is its last argument.
        """
        self.name = name
        self._linked = linked
        self._told = told
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
            try:
                code = await self._live()
            except Exception:  # the root of a task: a disk that is full now may have room later
                logger.exception("child.failed", name=self.name)
            else:
                if self._stopping:
                    return
                logger.warning("child.died", name=self.name, exit_code=code, log_file=str(self._log_file))
            lived = asyncio.get_running_loop().time() - began
            pause = 0.1 if lived > _SHORT_LIFE else min(pause * 2, 5.0)
            await asyncio.sleep(pause)

    async def _live(self) -> int:
        """Start it, and return its exit status."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                process = await self._start(theirs)
            if self._stopping:  # told while it was being made
                self._process = None
                process.kill()
            return await self._ended(process, ours)

    async def _start(self, link: socket.socket) -> asyncio.subprocess.Process:
        more = () if self._linked is None else (str(link.fileno()),)
        with self._log_file.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *self._arguments,
                *more,
                pass_fds=() if self._linked is None else (link.fileno(),),
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._process = process
        return process

    async def _ended(self, process: asyncio.subprocess.Process, link: socket.socket) -> int:
        telling = asyncio.create_task(self._tell(process, link))
        try:
            return await process.wait()
        finally:
            telling.cancel()
            await asyncio.wait({telling})

    async def _tell(self, process: asyncio.subprocess.Process, link: socket.socket) -> None:
        assert process.stdin is not None
        words = await self._told()
        with contextlib.suppress(OSError):  # it died: the next one is told
            process.stdin.write(words.encode())
            await process.stdin.drain()
        process.stdin.close()
        if self._linked is not None:
            await self._linked(link)  # its own from now on

    async def stop(self, grace: float) -> None:
        """Ask it to end; kill its process group when the grace is over."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()  # it may be reading
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), grace)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
