"""The zygotes that are warm: one for each environment and way of starting.

Of too many that are idle, the one that was not used for the longest time ends first.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

from ninelives_server import log
from ninelives_server.worker.environments import Environment
from ninelives_server.worker.zygotes import Zygote

logger = log.get(__name__)

#: Zygotes that are kept though no session runs in them.
_KEPT = 8


class Kind(NamedTuple):
    """What makes zygotes differ.

    Attributes:
        hashseed: `PYTHONHASHSEED`, pinned with each session.
        is_bare: Imports nothing ahead: for sessions whose variables such an import would have looked for.
    """

    environment: Environment
    hashseed: str
    is_bare: bool


class Zygotes:
    """Starts zygotes when they are needed, and again when they died."""

    def __init__(self, start: Callable[[Kind], Awaitable[Zygote]]) -> None:
        self._start = start
        self._warm: OrderedDict[Kind, Zygote] = OrderedDict()
        self._locks: dict[Kind, asyncio.Lock] = {}

    async def get(
        self, environment: Environment, hashseed: str, build: Path, variables: AbstractSet[str]
    ) -> Zygote:
        """Return a zygote that a session of `build` with these variables may be forked from.

        Raises:
            SetupError: It cannot be started.
        """
        shared = await self._get(Kind(environment, hashseed, is_bare=False))
        missed = await shared.preload(build)
        if not missed & variables:
            return shared
        bare = await self._get(Kind(environment, hashseed, is_bare=True))
        await bare.preload(build, imports=False)
        return bare

    async def _get(self, kind: Kind) -> Zygote:
        async with self._locks.setdefault(kind, asyncio.Lock()):
            zygote = self._warm.get(kind)
            if zygote is None or not zygote.is_alive:
                zygote = await self._start(kind)
                logger.info("zygote.started", pid=zygote.pid, environment=kind.environment.digest)
                self._warm[kind] = zygote
        self._warm.move_to_end(kind)
        await self._give_up(kind)
        return zygote

    async def _give_up(self, needed: Kind) -> None:
        idle = [kind for kind, zygote in self._warm.items() if not zygote.session_count and kind != needed]
        for kind in idle[: max(0, len(self._warm) - _KEPT)]:
            await self._warm.pop(kind).close()

    async def close(self) -> None:
        """End all of them, and all sessions that still run."""
        while self._warm:
            _, zygote = self._warm.popitem()
            with contextlib.suppress(OSError):
                await zygote.close()
