"""Backpressure: how many sessions may be open at once, which of those that wait is next, and why it waits.

A limit counts sessions that are open: from their start to their end, those that wait for something
included. One loop a server admits what may start, under a lock on the project's row; at each notice, and
again every few seconds where something waits, because a notice may be lost. Sessions without any limit never
come here.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from ninelives_server import log
from ninelives_server.model.sessions import Session, SessionState
from ninelives_server.sessions import links
from ninelives_server.store import queues, sessions, triggers, workers
from ninelives_server.store.core import Store, Tx
from ninelives_server.store.notices import Notice
from ninelives_server.store.queues import Waiting

logger = log.get(__name__)

#: Projects in which something waits are looked at this often, whatever is announced. seconds
LOOK_EVERY = 5.0
#: Between two rounds: what arrives meanwhile is admitted together. seconds
_PAUSE = 0.02
#: Sessions that one unit admits.
_BATCH = 200


class Queues:
    """Admits sessions that wait."""

    def __init__(self, *, store: Store) -> None:
        self._store = store

    async def run(self) -> None:
        """Admit what may start, until cancelled."""
        with self._store.notices.subscribed("queue") as notice:
            while True:
                waiting = set(await self._store.read(queues.projects_waiting))
                waiting |= notice.take()
                for project_id in sorted(waiting):
                    await self.admit(project_id)
                await asyncio.sleep(_PAUSE)
                await self._serve(notice)

    async def _serve(self, notice: Notice) -> None:
        """Act on notices until it is time to look at everything."""
        deadline = asyncio.get_running_loop().time() + LOOK_EVERY
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(notice.wait(), left)
            for project_id in sorted(notice.take()):
                await self.admit(project_id)
            await asyncio.sleep(_PAUSE)

    async def admit(self, project_id: str) -> int:
        """Let as many of a project's sessions start as may, and return how many."""
        total = 0
        while admitted := await self._store.write(lambda tx: _admit(tx, project_id)):
            total += admitted
        if total:
            logger.debug("sessions.admitted", project_id=project_id, count=total)
        return total


def _admit(tx: Tx, project_id: str) -> int:
    limit = queues.lock(tx, project_id)
    if limit is None or not queues.has_waiting(tx, project_id):
        return 0
    running = queues.open_by_trigger(tx, project_id)
    room = _room(limit or None, sum(running.values()))
    found: list[Waiting] = []
    for trigger_id in queues.waiting_triggers(tx, project_id) if room else ():
        trigger = None if trigger_id is None else triggers.by_id(tx, trigger_id)
        own = _room(None if trigger is None else trigger.max_concurrent, running.get(trigger_id, 0))
        found += _next(tx, project_id, trigger_id, most=min(own, room))
    # Whatever came first goes first, across triggers.
    chosen = sorted(found, key=lambda waiting: waiting.event_id)[:room]
    queues.admit(tx, [waiting.id for waiting in chosen])
    return len(chosen)


def _room(limit: int | None, running: int) -> int:
    return _BATCH if limit is None else min(max(limit - running, 0), _BATCH)


def _next(tx: Tx, project_id: str, trigger_id: str | None, *, most: int) -> list[Waiting]:
    """Return the first sessions of a trigger whose keys are free."""
    found: list[Waiting] = []
    if most <= 0:
        return found
    busy: set[str] = set()
    has_looked, barrier = False, None
    for waiting in queues.line(tx, project_id, trigger_id, busy):
        if waiting.key is not None:
            if not has_looked:
                has_looked = True
                busy |= queues.busy_keys(tx, project_id, trigger_id)
                # An earlier event may yet turn out to be of the same key.
                barrier = queues.first_undispatched(tx, project_id)
            if barrier is not None and barrier < waiting.event_id:
                break
            if waiting.key in busy:
                continue
            busy.add(waiting.key)
        found.append(waiting)
        if len(found) == most:
            break
    return found


def placed(tx: Tx, found: Sequence[Session]) -> list[Session]:
    """Return sessions with place and reason for those that have not started yet, or run nowhere now."""
    reasons: dict[str, tuple[int | None, str]] = {}
    lines: dict[tuple[str, str | None], list[Session]] = {}
    no_worker = None
    for session in found:
        if session.state is not SessionState.CREATED and not _is_nowhere(session):
            continue
        if session.admitted_at is None:
            lines.setdefault((session.project_id, session.trigger_id), []).append(session)
        else:
            no_worker = _no_worker(tx) if no_worker is None else no_worker
            # After a crash it waits for a moment first.
            slot = "" if session.crashes else "waits for a free slot of a worker"
            reasons[session.id] = None, no_worker or session.queue_reason or slot
    for (project_id, trigger_id), waiting in lines.items():
        reasons.update(_of_line(tx, project_id, trigger_id, waiting))
    return [
        replace(session, queue_position=reasons[session.id][0], queue_reason=reasons[session.id][1])
        if session.id in reasons
        else session
        for session in found
    ]


def _is_nowhere(session: Session) -> bool:
    """Tell whether a session that has begun should run and has no worker: it was lost, or stopped."""
    return session.state is SessionState.RUNNING and session.worker_id is None


def place(tx: Tx, session: Session) -> Session:
    """Return a session with its place and why it waits, where it has not started yet."""
    if session.state is SessionState.CREATED and session.admitted_at is not None:
        position = sessions.ahead(tx, session) + 1
        reason = (
            "about to start" if position == 1 else f"number {position} of those that wait for a free slot"
        )
        why = _no_worker(tx) or session.queue_reason or reason
        return replace(session, queue_position=position, queue_reason=why)
    return placed(tx, [session])[0]


def _no_worker(tx: Tx) -> str:
    if workers.listing(tx, seen_within=timedelta(seconds=links.SILENT)):
        return ""
    return "no worker is connected; start one with `ninelives worker`"


def _of_line(
    tx: Tx, project_id: str, trigger_id: str | None, waiting: Iterable[Session]
) -> Mapping[str, tuple[int | None, str]]:
    """Return place and reason of sessions of one trigger; each place is counted on from the one before."""
    in_order = sorted(waiting, key=lambda session: session.event_id or "")
    keys = queues.keys_of(tx, [session.id for session in in_order])
    first = in_order[0].event_id or ""
    before = _before_of_keys(tx, project_id, trigger_id, first, set(keys.values()))
    shared = _shared_reason(tx, project_id, trigger_id)
    found: dict[str, tuple[int | None, str]] = {}
    last: dict[str | None, str] = dict.fromkeys([None], "") | dict.fromkeys(keys.values(), first)
    count = 0
    for session in in_order:
        event_id, key = session.event_id or "", keys.get(session.id)
        count += queues.count_between(tx, project_id, trigger_id, after=last[None], until=event_id) + 1
        last[None] = event_id
        reason = shared
        if key is not None:
            if last[key] < event_id:
                before[key] += queues.count_between(
                    tx, project_id, trigger_id, after=last[key], until=event_id, key=key
                )
            reason = _key_reason(before[key]) or shared
            before[key] += 1
            last[key] = event_id
        found[session.id] = count, reason or "about to start"
    return found


def _before_of_keys(
    tx: Tx, project_id: str, trigger_id: str | None, until: str, keys: Collection[str]
) -> dict[str, int]:
    """Return how many sessions of each key come before those from `until` on, running ones included."""
    if not keys:
        return {}
    busy = queues.busy_keys(tx, project_id, trigger_id)
    waiting = queues.counts_of_keys(tx, project_id, trigger_id, until=until, keys=keys)
    return {key: waiting.get(key, 0) + (key in busy) for key in keys}


def _key_reason(before: int) -> str:
    if not before:
        return ""
    return f"its key is in use: {before} {'session comes' if before == 1 else 'sessions come'} before it"


def _shared_reason(tx: Tx, project_id: str, trigger_id: str | None) -> str:
    running = queues.open_by_trigger(tx, project_id)
    trigger = None if trigger_id is None else triggers.by_id(tx, trigger_id)
    own = None if trigger is None else trigger.max_concurrent
    if trigger is not None and own is not None and running.get(trigger_id, 0) >= own:
        return f"trigger {trigger.name} runs at most {own} at once"
    limit = queues.limit_of(tx, project_id)
    if limit and sum(running.values()) >= limit:
        return f"the project runs at most {limit} sessions at once"
    return ""
