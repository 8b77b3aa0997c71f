"""Makes environments that the server expects sessions to need, before there is one."""

import asyncio
from collections.abc import Callable

from ninelives.run import wire
from ninelives_server import log
from ninelives_server.errors import Invalid, SetupError
from ninelives_server.worker.environments import Environments
from ninelives_server.worker.zygotes import ZygoteLost

logger = log.get(__name__)


class Ahead:
    """Does what the server's frames `expect` ask for, one after the other: sessions come first."""

    def __init__(self, environments: Environments, send: Callable[[bytes], None]) -> None:
        self._environments = environments
        self._send = send
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def receive(self, frame: wire.Frame) -> None:
        """Take a frame: a build and its packages."""
        task = asyncio.create_task(self._make(str(frame.head["build_id"]), list(frame.head["requirements"])))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Leave what is not done to the sessions that need it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _make(self, build_id: str, requirements: list[str]) -> None:
        said = ""

        def tell(text: str) -> None:
            nonlocal said
            said = text
            self._send(wire.encode({"t": "preparing", "build_id": build_id}, said.encode()))

        async with self._turn:
            if self._environments.has(requirements):
                return
            try:
                await self._environments.ensure(requirements, tell)
            except (Invalid, SetupError, ZygoteLost, OSError) as error:
                # The first session that needs it tries again, and ends with these words.
                logger.warning("environment.not_made_ahead", build_id=build_id, error=str(error))
                if not said:
                    tell(f"{error}\n")
            except Exception:  # the root of a task
                logger.exception("environment.failed_ahead", build_id=build_id)
