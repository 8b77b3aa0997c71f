"""Stops: asked for over the link, and carried out by killing once the grace is over.

What was asked for is in the session's row; here it is delivered. A parked session is started for it. Whatever
its process does with `Stopped`, after the grace the process is killed and the session is `stopped`.
"""

import asyncio
from collections.abc import Mapping
from functools import partial

from ninelives_server import log
from ninelives_server.model.sessions import Session
from ninelives_server.sessions.journal import Journal
from ninelives_server.sessions.links import Links
from ninelives_server.store import sessions
from ninelives_server.store.core import Store
from ninelives_server.store.notices import Notice

logger = log.get(__name__)

#: How long user code has where nobody says otherwise. seconds
GRACE = 10.0
#: What a session without a process gets on top, to be started for its stop. seconds
_TO_START = 15.0
#: What it gets on top once a worker has it, until its code can hear. seconds
_TO_BEGIN = 3.0
#: Between two times that a process is asked. seconds
_AGAIN = 0.25
#: Stops that another server took down with it are found this often. seconds
_SWEEP = 30.0


def asked(by: str, *, reason: str, kill: bool, grace: float) -> dict[str, object]:
    """Return what is written down with a session that is asked to stop."""
    return {"by": by, "reason": reason, "kill": kill, "grace": grace}


def _grace(request: Mapping[str, object]) -> float:
    grace = request.get("grace")
    if request.get("kill"):
        return 0.0
    return float(grace) if isinstance(grace, int | float) else GRACE


class Stops:
    """Delivers stops to the workers of this server."""

    def __init__(self, *, store: Store, journal: Journal, links: Links) -> None:
        self._store = store
        self._journal = journal
        self._links = links
        self._ends: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Deliver what is asked for, until cancelled."""
        with self._store.notices.subscribed("stop") as notice:
            try:
                while True:
                    await self._sweep()
                    await self._listen(notice)
            finally:
                for task in self._ends.values():
                    task.cancel()

    async def _listen(self, notice: Notice) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + _SWEEP
        while (left := until - loop.time()) > 0:
            try:
                await asyncio.wait_for(notice.wait(), left)
            except TimeoutError:
                return
            for session_id in notice.take():
                session = await self._store.read(partial(sessions.by_id, session_id=session_id))
                self._deliver(session)

    async def _sweep(self) -> None:
        try:
            found = await self._store.read(sessions.stopping)
        except Exception:  # the root of a task: the next sweep tries again
            logger.exception("stops.sweep_failed")
            return
        for session in found:
            if session.id not in self._ends:
                self._deliver(session)

    def _deliver(self, session: Session | None) -> None:
        if session is None or session.stop_requested is None:
            return
        request = session.stop_requested
        link = self._links.holder(session.id)
        if session.state.is_terminal:
            if link is not None:
                link.kill(session.id, session.epoch, "stopped")
            return
        grace = _grace(request)
        to_start = _TO_START if session.worker_id is None and grace > 0 else 0.0
        if (task := self._ends.pop(session.id, None)) is not None:
            task.cancel()
        task = asyncio.create_task(self._end(session.id, str(request.get("reason", "")), grace, to_start))
        self._ends[session.id] = task
        task.add_done_callback(lambda done: self._forget(session.id, done))

    def _forget(self, session_id: str, task: asyncio.Task[None]) -> None:
        if self._ends.get(session_id) is task:
            del self._ends[session_id]

    async def _end(self, session_id: str, reason: str, grace: float, to_start: float) -> None:
        try:
            await self._ask(session_id, reason, grace, to_start)
            ended = await self._journal.end_stopped(session_id)
        except Exception:  # the root of a task: the next sweep tries again
            logger.exception("session.stop_failed", session_id=session_id)
            return
        link = self._links.holder(session_id)
        if link is not None:
            link.kill(session_id, link.held[session_id].epoch, "stopped")
        if ended:
            logger.info("session.killed", session_id=session_id)

    async def _ask(self, session_id: str, reason: str, grace: float, to_start: float) -> None:
        """Ask, and ask again: its process may not have begun, and a worker may come back meanwhile.

        The grace of a session that has to be started for its stop begins when a worker has it.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + grace + to_start
        while (left := until - loop.time()) > 0:
            link = self._links.holder(session_id)
            if link is not None:
                if to_start:
                    until, to_start = min(until, loop.time() + grace + _TO_BEGIN), 0.0
                link.send_to_session(session_id, link.held[session_id].epoch, "stop", reason=reason)
            await asyncio.sleep(min(left, _AGAIN))
