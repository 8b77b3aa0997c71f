"""The workers that have a link to this server, and those that have lost theirs.

A worker that is gone for `grace` loses its sessions: each is released and its activity failed, so that
Temporal starts it elsewhere at once. One that comes back in time, or to a server that was restarted, goes
on with those sessions whose epoch still is its own.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, Protocol

from ninelives_server import log
from ninelives_server.errors import NinelivesError
from ninelives_server.model.actors import Actor
from ninelives_server.sessions.ahead import Ahead
from ninelives_server.sessions.direct import Keep
from ninelives_server.sessions.gifts import Gifts
from ninelives_server.sessions.group import Group
from ninelives_server.sessions.hello import Hello
from ninelives_server.sessions.journal import Journal
from ninelives_server.sessions.link import Link
from ninelives_server.sessions.parts import Parts, Scheduler
from ninelives_server.sessions.start import actor_of
from ninelives_server.store import connections, inbox, sessions, sweeps, workers
from ninelives_server.store.core import Store
from ninelives_server.store.workers import Worker

logger = log.get(__name__)

#: How long a worker may be without a link before its sessions are taken from it. seconds
GRACE = 3.0
#: A worker that says nothing for so long is lost: with its link, or of another server without. seconds
SILENT = 8.0
#: How long a server that has just begun waits for the workers of its former life. seconds
RETURN = 4.0
#: How often links are written down as alive. seconds
_BEAT = 2.0
#: A session is astray that a worker does not run at so many beats in a row; its reports come as often.
_ASTRAY = 3


class AccessToken(Protocol):
    """What a session needs to call its provider."""

    @property
    def token(self) -> str:
        """The access token."""
        ...

    @property
    def instance_url(self) -> str | None:
        """Where its API is."""
        ...

    @property
    def expires_at(self) -> datetime | None:
        """When it stops working; `None` where the provider does not say."""
        ...


class Tokens(Protocol):
    """Keeps connections' access tokens fresh (`connections.service`)."""

    async def access_token(self, connection_id: str, actor: Actor, refused: str | None) -> AccessToken:
        """Return a token that works; `refused` is the SHA-256, in hex, of one that did not."""
        ...


class Prepares(Protocol):
    """Refreshes what is about to run out (`connections.service`)."""

    async def prepare(self, project_id: str) -> None:
        """Refresh stale access tokens of a project's connections; failures show in their state."""
        ...


class _Lost(NamedTuple):
    """A link that is gone, and the task that takes its worker's sessions unless it comes back."""

    link: Link
    burial: asyncio.Task[None]


class Links:
    """All links of this server."""

    def __init__(
        self,
        *,
        store: Store,
        journal: Journal,
        tokens: Tokens,
        scheduler: Scheduler,
        keep: Keep,
        prepares: Prepares | None = None,
        grace: float = GRACE,
        silent: float = SILENT,
        beat: float = _BEAT,
    ) -> None:
        self._store = store
        self._journal = journal
        self._tokens = tokens
        self._scheduler = scheduler
        self._prepares = prepares
        self._grace = grace
        self._silent = silent
        self._beat = beat
        self._astray: dict[tuple[str, int], int] = {}
        self._group = Group(journal)
        self._links: dict[str, Link] = {}
        self._lost: dict[str, _Lost] = {}
        self._gifts = Gifts(store=store, journal=journal, scheduler=scheduler, links=self._links)
        self._ahead = Ahead(store=store, links=self._links)
        self._parts = Parts(
            journal,
            self._group,
            self._token,
            scheduler,
            journal.clock,
            self._prepare,
            self._gifts.crowd,
            keep,
        )
        self._is_closing = False

    def open(self) -> Link:
        """Begin a conversation with a worker; end it with `lost`."""
        return Link(self._parts, self._greet, self._leave)

    def holder(self, session_id: str) -> Link | None:
        """Return the link of the worker that runs a session."""
        return next((link for link in self._links.values() if session_id in link.held), None)

    def any(self) -> Link | None:
        """Return the link of a worker that is there."""
        return next((link for link in self._links.values() if not link.is_closed), None)

    def give(self, session_id: str) -> bool:
        """Have the worker with the most room run a session, as soon as one has some.

        `False` where Temporal has to look for one, too.
        """
        return self._gifts.give(session_id)

    async def workers(self) -> list[Worker]:
        """Return the workers that are there now, on whichever server."""
        within = timedelta(seconds=self._silent)
        return await self._store.read(lambda tx: workers.listing(tx, seen_within=within))

    async def run(self) -> None:
        """Commit what arrives and watch over workers, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._group.run())
                group.create_task(self._gifts.run())
                group.create_task(self._ahead.run())
                group.create_task(self._tell_of_mail())
                group.create_task(self._watch())
        finally:
            for lost in self._lost.values():
                lost.burial.cancel()
            self._lost.clear()  # where this is run again, they are found by their silence

    def close(self) -> None:
        """Hang up on every worker: this server is stopping, and they try the next one or wait."""
        self._is_closing = self._gifts.is_closing = True
        for link in self._links.values():
            link.close()

    async def lost(self, link: Link) -> None:
        """Say that a link's transport is gone; its worker has a little time to come back."""
        await link.end()
        worker_id = link.worker_id
        if not worker_id or self._links.get(worker_id) is not link:
            return
        del self._links[worker_id]
        if self._is_closing:
            return  # we left, not the worker: it goes on with its sessions at the next server
        self._gifts.changed()
        logger.info("worker.link_lost", worker_id=worker_id, sessions=len(link.held))
        self._lost[worker_id] = _Lost(link, asyncio.create_task(self._bury(worker_id, link)))

    async def _tell_of_mail(self) -> None:
        """Tell sessions that wait in place of their mail; a notice that is lost costs them a little time."""
        with self._store.notices.subscribed("mail") as notice:
            while True:
                await notice.wait()
                for session_id in notice.take():
                    if (link := self.holder(session_id)) is not None:
                        link.mail(session_id)

    # --- coming -----------------------------------------------------------------------------------

    async def _greet(self, link: Link, hello: Hello) -> None:
        """Take a worker in; an older link of the same one ends."""
        link.worker_id = worker_id = hello.worker_id
        link.carried = hello.semantics
        link.python = hello.python
        link.slots = hello.slots
        link.begins = hello.begins
        older = self._links.get(worker_id)
        if older is not None:
            older.close()
        elif (lost := self._lost.pop(worker_id, None)) is not None:
            lost.burial.cancel()
            older = lost.link
        self._links[worker_id] = link
        await self._store.write(
            lambda tx: workers.connected(
                tx,
                worker_id,
                name=hello.name,
                slots=hello.slots,
                python=hello.python,
                isolation=hello.isolation,
                release=hello.release,
                semantics=hello.semantics,
            )
        )
        link.send("welcome", worker_id=worker_id)
        logger.info("worker.connected", worker_id=worker_id, name=hello.name, sessions=len(hello.sessions))
        await self._reconcile(link, hello, older)
        link.takes, link.asks = hello.takes, not hello.takes
        self._gifts.changed()

    async def _reconcile(self, link: Link, hello: Hello, older: Link | None) -> None:
        """Agree on what the worker runs: fence off what it must not, release what it has lost."""
        for session_id, epoch in hello.sessions.items():
            if await self._journal.adopt(hello.worker_id, session_id, epoch):
                known = older.held.get(session_id) if older else None
                link.adopt(session_id, epoch, known.activity_id if known else None)
            else:
                link.kill(session_id, epoch, "fenced")
        if link.held:
            # What came while there was no link was told to nobody.
            unread = await self._store.read(lambda tx: inbox.with_mail(tx, list(link.held)))
            for session_id in unread:
                link.mail(session_id)
        held = await self._store.read(lambda tx: sweeps.held_by(tx, hello.worker_id))
        for session_id, epoch in held:
            if not link.has(session_id) and hello.sessions.get(session_id) != epoch:
                known = older.held.get(session_id) if older else None
                await self._release(session_id, epoch, known.activity_id if known else None)

    # --- going ------------------------------------------------------------------------------------

    async def _leave(self, link: Link) -> None:
        """Let a worker go that has said that it stops: it is not lost, and nobody needs to look for it."""
        if self._links.get(link.worker_id) is not link:
            return
        del self._links[link.worker_id]
        self._gifts.changed()
        taken = await self._take_all(link.worker_id, link)
        logger.info("worker.left", worker_id=link.worker_id, sessions=taken)
        link.close()

    async def _bury(self, worker_id: str, link: Link) -> None:
        """Take a worker's sessions from it, once it has been gone for long enough."""
        await asyncio.sleep(self._grace)
        try:
            taken = await self._take_all(worker_id, link)
            logger.warning("worker.lost", worker_id=worker_id, sessions=taken)
        except Exception:  # the root of a task: it is silent from now on, and `_watch` tries again
            logger.exception("worker.not_buried", worker_id=worker_id)
        self._lost.pop(worker_id, None)

    async def _take_all(self, worker_id: str, link: Link | None = None) -> int:
        """Take from a worker what it holds, so that it runs elsewhere; return how many sessions."""
        held = await self._store.read(lambda tx: sweeps.held_by(tx, worker_id))
        for session_id, epoch in held:
            known = link.held.get(session_id) if link else None
            await self._release(session_id, epoch, known.activity_id if known else None)
        await self._store.write(lambda tx: workers.gone(tx, worker_id))
        return len(held)

    async def _release(self, session_id: str, epoch: int, activity_id: str | None) -> None:
        if await self._journal.release(session_id, epoch) and activity_id is not None:
            await self._scheduler.fail_activity(session_id, activity_id)

    async def _watch(self) -> None:
        """Write down who is alive, and bury who has been silent; other servers' workers, too."""
        loop, quiet = asyncio.get_running_loop(), min(self._silent, RETURN)
        # Workers of this server's previous life get the time to come back.
        quiet_until = loop.time() + quiet
        pause = 0.0
        while True:
            due = loop.time() + pause
            await asyncio.sleep(pause)
            pause = self._beat
            try:
                # Where we come late ourselves, what workers have said may not be read yet.
                if loop.time() < due + self._beat:
                    await self._hang_up_on_silent(loop.time() - self._silent)
                if self._links:
                    alive = sorted(self._links)
                    await self._store.write(partial(workers.seen, worker_ids=alive))
                    await self._find_astray(alive)
                await self._look_around()
                if loop.time() >= quiet_until:
                    await self._bury_silent()
            except Exception:  # the root of a task: the next beat tries again
                logger.exception("links.watch_failed")
                # While the database was away no server could write down whom it sees.
                quiet_until = loop.time() + quiet

    async def _look_around(self) -> None:
        """Note which workers take nothing from us: other servers', and those that only ask."""
        others = [
            worker
            for worker in await self.workers()
            if worker.id not in self._lost and ((link := self._links.get(worker.id)) is None or link.asks)
        ]
        await self._gifts.look_around(others)

    async def _hang_up_on_silent(self, since: float) -> None:
        """Take workers for lost that say nothing though their link is open: they hang, or were cut off."""
        for link in [link for link in self._links.values() if link.heard_at < since]:
            logger.warning("worker.silent", worker_id=link.worker_id, after_s=self._silent)
            link.close()
            await self.lost(link)

    async def _find_astray(self, worker_ids: list[str]) -> None:
        """Take sessions back that a worker holds by its row only.

        So they are left where a claim was committed and the database died before it said so, where Temporal
        cancelled a turn, and where the server had a process killed. What is seen once may be under way; after
        some time the worker is told to kill what it may run of it, then somebody else gets the session.
        """
        seen: dict[tuple[str, int], int] = {}
        for worker_id in worker_ids:
            held = await self._store.read(partial(sweeps.held_by, worker_id=worker_id))
            link = self._links.get(worker_id)
            if link is None:
                continue
            for session_id, epoch in held:
                if not link.runs(session_id, epoch):
                    times = self._astray.get((session_id, epoch), 0) + 1
                    seen[session_id, epoch] = times
                    await self._take_astray(link, session_id, epoch, times)
        self._astray = seen

    async def _take_astray(self, link: Link, session_id: str, epoch: int, times: int) -> None:
        if times == _ASTRAY:
            logger.warning("session.astray", session_id=session_id, worker_id=link.worker_id, epoch=epoch)
            link.kill(session_id, epoch, "astray")
        elif times > _ASTRAY:
            await self._release(session_id, epoch, None)

    async def _bury_silent(self) -> None:
        since = timedelta(seconds=self._silent)
        for worker_id in await self._store.read(lambda tx: workers.silent(tx, since=since)):
            if worker_id not in self._links and worker_id not in self._lost:
                taken = await self._take_all(worker_id)
                logger.warning("worker.lost", worker_id=worker_id, sessions=taken)
        for session_id, epoch in await self._store.read(sweeps.orphans):
            logger.warning("session.orphaned", session_id=session_id, epoch=epoch)
            await self._release(session_id, epoch, None)

    # --- tokens -----------------------------------------------------------------------------------

    async def _prepare(self, session_id: str) -> None:
        """Code that never refreshes by itself must find tokens that still live for a while."""
        if self._prepares is None:
            return
        session = await self._store.read(lambda tx: sessions.by_id(tx, session_id))
        if session is not None:
            await self._prepares.prepare(session.project_id)

    async def _token(self, session_id: str, args: Mapping[str, Any]) -> tuple[Any, Mapping[str, str] | None]:
        """Answer a session that needs a fresh access token of one of its project's connections."""
        name = str(args.get("connection") or "")
        session = await self._store.read(lambda tx: sessions.by_id(tx, session_id))
        if session is None:
            return None, {"type": "NotFound", "message": f"there is no session {session_id}"}
        project_id = session.project_id
        connection = await self._store.read(lambda tx: connections.by_name(tx, project_id, name))
        if connection is None:
            return None, {"type": "NotFound", "message": f"this project has no connection {name!r}"}
        refused = args.get("refused")
        try:
            found = await self._tokens.access_token(
                connection.id, actor_of(session), str(refused) if refused else None
            )
        except NinelivesError as error:
            return None, {"type": type(error).__name__, "message": str(error)}
        expires_at = None if found.expires_at is None else found.expires_at.isoformat()
        return {"token": found.token, "instance_url": found.instance_url, "expires_at": expires_at}, None
