"""Gives sessions to this server's workers: at once where one has room, else as soon as one has, in order.

See docs/decisions/0006-sessions-are-given-to-workers.md.
"""

import asyncio
from collections.abc import Collection, Mapping
from functools import partial

from ninelives_server import log
from ninelives_server.sessions import needs
from ninelives_server.sessions.crowd import Crowd
from ninelives_server.sessions.journal import Journal
from ninelives_server.sessions.link import Link
from ninelives_server.sessions.needs import Kind, Needs
from ninelives_server.sessions.parts import Scheduler
from ninelives_server.store import sweeps
from ninelives_server.store.core import Store
from ninelives_server.store.workers import Worker

logger = log.get(__name__)

#: So many at the front are looked up, whether they still should run.
_FRONT = 500


class Gifts:
    """Who gets what.

    Attributes:
        crowd: Sessions that wait for room.
        is_closing: This server stops, and gives nothing any more.
    """

    def __init__(
        self, *, store: Store, journal: Journal, scheduler: Scheduler, links: Mapping[str, Link]
    ) -> None:
        self.crowd = Crowd()
        self.is_closing = False
        self._store = store
        self._journal = journal
        self._scheduler = scheduler
        self._links = links
        self._others: Collection[Worker] = ()
        self._told: dict[str, str] = {}
        self._changed = asyncio.Event()

    def give(self, session_id: str) -> bool:
        """Have a worker run a session, now or when it is its turn; `False` where Temporal has to look, too.

        So while it waits, and there are workers here that take nothing unasked. Those of other servers get it
        from these, which hear of it as well; Temporal reaches them later, see `look_around`.
        """
        if self.is_closing:
            return False
        self.crowd.add(session_id)
        self._serve()
        if session_id not in self.crowd or not any(link.asks for link in self._links.values()):
            return True
        self.crowd.seek(session_id)
        return False

    def _serve(self) -> None:
        """Give to workers that have room those that wait for it."""
        while not self.is_closing and (
            found := self.crowd.take(lambda wanted: self._roomiest(wanted) is not None)
        ):
            session_id, wanted = found
            link = self._roomiest(wanted)
            assert link is not None
            link.give(session_id)

    def _roomiest(self, wanted: Needs) -> Link | None:
        """Return the link of the worker with the most room among those that can run such a session."""
        able = [link for link in self._links.values() if link.room > 0 and wanted.are_met_by(link.kind)]
        return max(able, key=lambda link: link.room, default=None)

    def changed(self) -> None:
        """Note that a worker has come or gone."""
        self._changed.set()
        self.crowd.stir()

    async def run(self) -> None:
        """Serve those that wait, and tell people why where nobody can, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._serve_for_ever())
            group.create_task(self._tell_for_ever())

    async def _serve_for_ever(self) -> None:
        while True:
            await self.crowd.stirred.wait()
            self.crowd.stirred.clear()
            self._serve()
            if self.crowd.choosy():
                self._changed.set()

    async def look_around(self, others: Collection[Worker]) -> None:
        """Take note of the workers that take nothing from us, and of who waits no more.

        For those that still wait Temporal is asked, which reaches these `others`: their servers may not know
        of a session that a sweep of ours has found.
        """
        self._others = list(others)
        self._changed.set()
        front = self.crowd.first(_FRONT)
        if front:
            open_ = await self._store.read(partial(sweeps.unheld, session_ids=list(front)))
            for session_id, offers in front.items():
                if session_id not in open_:
                    self.crowd.forget_if(session_id, offers)
        if others:
            for session_id in self.crowd.unsought():
                self.crowd.seek(session_id)
                self._scheduler.ask(session_id)

    async def _tell_for_ever(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._tell()
            except Exception:  # the root of a task: at the next change it is tried again
                logger.exception("gifts.reasons_not_told")

    async def _tell(self) -> None:
        """Write down why those wait that no connected worker can run, where that has changed."""
        kinds = {link.kind for link in self._links.values()}
        # One whose row says nothing of it has, most probably, a release that we know.
        rules = frozenset[int]().union(*(kind.carried for kind in kinds))
        kinds |= {Kind(other.python, frozenset(other.semantics) or rules) for other in self._others}
        reasons = {sid: needs.reason(wanted, kinds) for sid, wanted in self.crowd.choosy().items()}
        news = {sid: said for sid, said in reasons.items() if self._told.get(sid) != said}
        if news:
            await self._journal.explain(news)
        self._told = reasons
