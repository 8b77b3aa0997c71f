"""A worker's side of a link, for tests: says frames, hears frames. No transport in between."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from world import World

from ninelives.run import wire
from ninelives_server.model.actors import Actor
from ninelives_server.sessions.link import Link
from ninelives_server.sessions.links import Links
from ninelives_server.sessions.stops import Stops

PATIENCE = 20  # seconds
#: As workers say it.
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class Scheduler:
    """Writes down what Temporal would be asked for.

    Attributes:
        woken: Sessions that should run, by whichever way.
        sought: Those that Temporal is to care for: to find a worker, or to wake when they are due.
        ended: Those that it need not care for any more.
    """

    def __init__(self) -> None:
        self.failed: list[tuple[str, str]] = []
        self.woken: list[str] = []
        self.sought: list[str] = []
        self.ended: list[str] = []
        self.asked = asyncio.Event()

    async def fail_activity(self, session_id: str, activity_id: str) -> None:
        self.failed.append((session_id, activity_id))
        self.asked.set()

    def wake(self, session_id: str) -> None:
        self.woken.append(session_id)
        self.asked.set()

    def ask(self, session_id: str) -> None:
        self.sought.append(session_id)
        self.asked.set()

    def over(self, session_id: str) -> None:
        self.ended.append(session_id)
        self.asked.set()


@dataclass
class Token:
    token: str
    instance_url: str | None = "https://acme.my.salesforce.com"
    expires_at: datetime | None = None


class Tokens:
    """Hands out tokens, or raises."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str | None]] = []
        self.error: Exception | None = None

    async def access_token(self, connection_id: str, actor: Actor, refused: str | None) -> Token:
        self.asked.append((connection_id, actor.id, refused))
        if self.error is not None:
            raise self.error
        return Token("00Dxx!fresh")


@dataclass
class FakeWorker:
    """Speaks over one link."""

    links: Links
    worker_id: str = "wrk_1"
    heard: list[wire.Frame] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.link: Link = self.links.open()

    def say(self, kind: str, body: bytes = b"", /, **head: object) -> None:
        self.link.receive(wire.encode({"t": kind, **head}, body))

    def say_all(self, *frames: tuple[Mapping[str, Any], bytes]) -> None:
        self.link.receive(b"".join(wire.encode(head, body) for head, body in frames))

    async def hear(self, *, but: str = "") -> wire.Frame:
        """Return the next frame that is not of the type `but`."""
        while True:
            while not self.heard:
                async with asyncio.timeout(PATIENCE):
                    self.heard.extend(wire.decode_all(await self.link.outgoing()))
            if (frame := self.heard.pop(0)).type != but:
                return frame

    async def hello(self, about: Mapping[str, object] | None = None, **held: int) -> wire.Frame:
        """Introduce itself, with the sessions that it still runs, and what else there is to say `about` it."""
        sessions = [{"sid": sid, "ep": epoch} for sid, epoch in held.items()]
        self.say(
            "hello",
            worker_id=self.worker_id,
            name="w",
            isolation="none",
            sessions=sessions,
            **{"slots": 4, "python": PYTHON, **(about or {})},
        )
        frame = await self.hear()
        assert frame.type == "welcome", frame
        return frame

    async def claim(self, session_id: str, activity_id: str = "turn-1") -> int:
        """Claim a session and return its epoch."""
        self.say("claim", sid=session_id, activity_id=activity_id, attempt=1)
        frame = await self.hear()
        assert frame.type == "claimed", frame
        return int(frame.head["ep"])


def a_record(sid: str, epoch: int, n: int = 0, **head: object) -> tuple[dict[str, Any], bytes]:
    """A record's frame."""
    base: dict[str, Any] = {
        "t": "record", "sid": sid, "ep": epoch, "i": n + 1, "track": "call", "strand": "0", "n": n, "kind": "step",
        "name": "requests.post", "digest": "ab" * 32, "status": "ok", "attempt": 1,
        "start": 1795435200.25, "end": 1795435200.5, "preview": {"args": []},
    }  # fmt: skip
    return {**base, **head}, b"value"


@contextlib.asynccontextmanager
async def serving(
    world: World, scheduler: Scheduler, tokens: Tokens, **limits: float
) -> AsyncIterator[Links]:
    links = Links(
        store=world.store,
        journal=world.journal,
        tokens=tokens,
        scheduler=scheduler,
        keep=world.keep,
        **{"grace": 0.2, **limits},
    )
    stops = Stops(store=world.store, journal=world.journal, links=links)
    tasks = [asyncio.create_task(links.run()), asyncio.create_task(stops.run())]
    await asyncio.sleep(0)
    try:
        yield links
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(predicate, patience: float = PATIENCE) -> None:
    """Wait for something that no event tells of."""
    async with asyncio.timeout(patience):
        while not await predicate():
            await asyncio.sleep(0.02)
