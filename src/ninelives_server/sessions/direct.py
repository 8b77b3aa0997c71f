"""Sessions of the worker that `up` has started: their processes speak to the server itself.

That worker starts a process and gives it its journal, then hands us the process's socket; from `go` on nobody
stands between the two. The worker still kills it, reports its death and waits for our word that all it said
has its answer. See docs/decisions/0009-sessions-speak-to-the-server-themselves.md.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from ninelives.run import wire
from ninelives_server.clock import Clock
from ninelives_server.errors import DatabaseAway
from ninelives_server.sessions import frames
from ninelives_server.sessions.records import Op
from ninelives_server.worker.session_socket import ANSWERS, FINAL, GO, SessionSocket

_AWAY = 0.5  # seconds between tries to store something in a database that is away

#: Stores a large value of a session: its id, epoch and value; returns the value's name.
Keep = Callable[[str, int, bytes], Awaitable[str]]


class Take(Protocol):
    """Gets what a process asks for."""

    def __call__(self, ops: Sequence[Op], *, at_once: bool) -> None:
        """Have it done, in order; `at_once`: the answers may come before this returns."""
        ...


class Send(Protocol):
    """Sends a frame to the worker."""

    def __call__(self, kind: str, body: bytes = b"", /, **head: object) -> None:
        """Send it, together with whatever else is ready."""
        ...


class Direct(SessionSocket):
    """One process: its frames become operations."""

    def __init__(
        self,
        session_id: str,
        epoch: int,
        *,
        take: Take,
        keep: Keep,
        gone: Callable[["Direct"], None],
        is_orphan: Callable[[], bool],
        clock: Clock,
    ) -> None:
        super().__init__(self._store)
        self.key = session_id, epoch
        self._take = take
        # What is read together is committed together.
        self._said: list[Op] | None = None
        self._keep = keep
        self._gone = gone
        self._has_left = False
        self._is_orphan = is_orphan
        self._clock = clock
        self.closed.add_done_callback(lambda _: self._leave())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the session run."""
        super().connection_made(transport)
        self.write(GO)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the process, unless its worker was killed: it is about to be, too.

        What a step comes to in its last milliseconds may be worth nothing without it: an open response.
        """
        if self._is_orphan():
            self.close()
            return
        said = self._said = []
        try:
            super().data_received(data)
        finally:
            self._said = None
            if said:
                self._take(said, at_once=True)

    def _forward(self, head: dict[str, Any], header: bytes, body: bytes) -> bytes:
        head["sid"], head["ep"] = self.key
        op = frames.of_frame(wire.Frame(head, body), self._clock.now())
        if self._said is None:
            self._take([op], at_once=False)  # its number is not noted yet
        else:
            self._said.append(op)
        return body or header

    async def _store(self, value: bytes) -> str:
        while True:
            try:
                return await self._keep(*self.key, value)
            except DatabaseAway:  # user code must not learn of it
                await asyncio.sleep(_AWAY)

    def say(self, kind: str, body: bytes, head: Mapping[str, Any]) -> None:
        """Send a frame to the process."""
        number = head.get("i")
        if kind in ANSWERS and isinstance(number, int) and not self._answer(kind, number):
            return
        if not self._is_held_back(kind):
            self.write(wire.encode({"t": kind, **head}, body))
        self._leave()

    def _leave(self) -> None:
        """Tell, once, that it is gone and everything that it said has its answer."""
        if self.closed.done() and not self.owes and not self._has_left:
            self._has_left = True
            self._gone(self)


class Directs:
    """The processes of one worker's sessions that speak to us.

    Attributes:
        is_stopping: The worker stops: what its sessions do comes to an end, and nothing new begins.
        is_closed: The worker is gone.
    """

    def __init__(
        self,
        *,
        holds: Callable[[str, int], bool],
        take: Take,
        send: Send,
        keep: Keep,
        is_dead: Callable[[], bool],
        clock: Clock,
    ) -> None:
        """Begin without any.

        Args:
            holds: Tells whether the worker runs a session under an epoch.
            take: Gets what they ask for.
            send: Sends frames to the worker.
            keep: Stores large values.
            is_dead: Tells whether the worker was killed.
            clock: For what has no time of its own.
        """
        self._holds = holds
        self._take = take
        self._send = send
        self._keep = keep
        self._is_dead = is_dead
        self._clock = clock
        self._all: dict[tuple[str, int], Direct] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.is_stopping = False
        self.is_closed = False

    async def adopt(self, session_id: str, epoch: int, sock: socket.socket) -> None:
        """Speak with a process, unless its session is not the worker's any more."""
        key = session_id, epoch
        if self.is_closed or key in self._all or not self._holds(*key):
            sock.close()
            self._send("gone", sid=session_id, ep=epoch, why="")
            return
        direct = self._all[key] = Direct(
            *key,
            take=self._take,
            keep=self._keep,
            gone=self._lose,
            is_orphan=self._is_dead,
            clock=self._clock,
        )
        sock.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: direct, sock)
        if self.is_closed:  # meanwhile
            direct.close()
        elif self.is_stopping:
            self._stop(direct)

    def _lose(self, direct: Direct) -> None:
        session_id, epoch = direct.key
        self._all.pop(direct.key, None)
        direct.close()
        self._send("gone", sid=session_id, ep=epoch, why=direct.broken)

    def say(self, session_id: str, epoch: int, kind: str, body: bytes, head: Mapping[str, Any]) -> bool:
        """Send a frame to a process; `False` where none is here that speaks for the session."""
        direct = self._all.get((session_id, epoch))
        if direct is None:
            return False
        direct.say(kind, body, head)
        if kind in FINAL and direct.final.done():
            _, until = direct.final.result()
            self._send(kind, sid=session_id, ep=epoch, until=until)
        return True

    def stop(self) -> None:
        """Keep results from all processes, and tell the worker of each when it stands still."""
        self.is_stopping = True
        for direct in self._all.values():
            self._stop(direct)

    def _stop(self, direct: Direct) -> None:
        direct.holds_back = True
        task = asyncio.create_task(self._tell_still(direct))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell_still(self, direct: Direct) -> None:
        await direct.stood_still()
        session_id, epoch = direct.key
        self._send("still", sid=session_id, ep=epoch)

    def close(self) -> None:
        """Hang up on all: they end."""
        self.is_closed = True
        for task in self._tasks:
            task.cancel()
        for direct in self._all.values():
            direct.close()
        self._all.clear()
