"""Checks before a deploy: the journals of sessions that run are tried on code that is not deployed.

A worker does it, with the code and the journals sent over its link; nothing is stored, no session is touched.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ninelives.run import semantics
from ninelives_server import ids, log
from ninelives_server.errors import Conflict
from ninelives_server.model.actors import Actor, Role
from ninelives_server.model.projects import Candidate
from ninelives_server.model.sessions import Session
from ninelives_server.sessions.link import Link
from ninelives_server.sessions.links import Links
from ninelives_server.sessions.start import Starts
from ninelives_server.sessions.transfer import Transfer
from ninelives_server.store import sessions
from ninelives_server.store.core import Store, Tx

logger = log.get(__name__)

#: Sessions that one check looks at; the oldest first.
MOST = 500
#: Replays at once.
_AT_ONCE = 4
_PIECE = 1024 * 1024  # bytes of a frame
#: For the first replay, which may have to make an environment, and for each. seconds
_PATIENCE = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A session that the new code would not go on with.

    Attributes:
        outcome: `diverged`: the code does something else; `failed`: it comes to an error.
        seq: The record at which they part; `None` where the code came to none.
        recorded: What the journal has there; `called`: what the code does instead.
        file: Where in the new code, with `line`; `None` where it is not in the project's code.
    """

    session_id: str
    entrypoint: str
    outcome: str
    seq: int | None
    recorded: str | None
    called: str | None
    file: str | None
    line: int | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of a check.

    Attributes:
        total: Durable sessions of the project that have begun and not ended.
        checked: How many of them were looked at.
    """

    total: int
    checked: int
    findings: tuple[Finding, ...]


class Checks:
    """Has workers check code."""

    def __init__(self, *, store: Store, starts: Starts, links: Links, transfer: Transfer) -> None:
        self._store = store
        self._starts = starts
        self._links = links
        self._transfer = transfer

    async def run(self, actor: Actor, candidate: Candidate) -> Report:
        """Try the journals of a project's sessions on code that may be deployed next.

        Raises:
            Conflict: No worker is connected to this server, or it is lost meanwhile.
        """
        actor.needs(Role.MEMBER)
        project_id = candidate.project_id
        if project_id is None:
            return Report(total=0, checked=0, findings=())
        total, found = await self._store.read(
            lambda tx: sessions.in_flight(tx, actor.org_id, project_id, limit=MOST)
        )
        if not found:
            return Report(total=total, checked=0, findings=())
        link = self._links.any()
        if link is None:
            raise Conflict("no worker is connected to this server; a check runs the new code in one")
        findings = await self._all(link, candidate, found)
        return Report(total=total, checked=len(found), findings=tuple(findings))

    async def _all(self, link: Link, candidate: Candidate, found: list[Session]) -> list[Finding]:
        job = ids.new("chk")
        link.send("check", id=job, build_sha256=candidate.sha256, requirements=list(candidate.requirements))
        for at in range(0, len(candidate.bundle), _PIECE):
            link.send("check_build", candidate.bundle[at : at + _PIECE], id=job)
        places = asyncio.Semaphore(_AT_ONCE)

        async def one(session: Session) -> Finding | None:
            async with places:
                return _finding(session, await self._ask(link, job, session))

        try:
            answers = await asyncio.gather(*map(one, found))
        finally:
            link.send("check_over", id=job)
        return [answer for answer in answers if answer is not None]

    async def _ask(self, link: Link, job: str, session: Session) -> Mapping[str, Any]:
        """Have one session's journal tried; return the worker's verdict."""
        start = await self._store.write(partial(self._start, session=session))
        if start["semantics"] not in link.carried:
            carried = semantics.words(link.carried)
            message = (
                f"its journal is of semantics version {start['semantics']}; the worker carries {carried}"
            )
            return {"outcome": "failed", "message": message}
        if link.python and start["python"] != link.python:
            message = f"its records were made by Python {start['python']}; the worker has {link.python}"
            return {"outcome": "failed", "message": message}
        answer = link.expect_check(job, session.id)
        link.send("check_session", id=job, sid=session.id, start=start)
        async for piece in self._transfer.journal(session):
            for at in range(0, len(piece), _PIECE):
                link.send("check_past", piece[at : at + _PIECE], id=job, sid=session.id)
        link.send("check_run", id=job, sid=session.id)
        try:
            async with asyncio.timeout(_PATIENCE):
                return await answer
        except (TimeoutError, ConnectionError):
            raise Conflict("the worker that checked the code was lost, or too slow; try again") from None

    def _start(self, tx: Tx, session: Session) -> dict[str, Any]:
        pinned = sessions.pinned(tx, session.id)
        return {**self._starts.frame(tx, session, pinned, records=0), "check": True}


def _finding(session: Session, said: Mapping[str, Any]) -> Finding | None:
    if said.get("outcome") == "ok":
        return None
    line, seq = said.get("line"), said.get("seq")
    return Finding(
        session_id=session.id,
        entrypoint=session.entrypoint,
        outcome=str(said.get("outcome")),
        seq=seq if isinstance(seq, int) else None,
        recorded=_text(said.get("recorded")),
        called=_text(said.get("called")),
        file=_text(said.get("file")),
        line=line if isinstance(line, int) else None,
        message=str(said.get("message") or "")[:2000],
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)[:300]
