"""What an event starts: matching triggers, filters, session rows. Idempotent, and never silent.

Runs after the commit that recorded the event, and again in a sweep for events that a crash left over. One
unit locks the event, makes the sessions (unique by event and trigger) and writes down what became of it.
Events that wait together share a unit, and what they have in common is looked up once in it; nothing is
remembered from one unit to the next, so that a change of a trigger or a deployment holds from its commit on.
"""

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple, Protocol

from ninelives_server import ids, log
from ninelives_server.errors import Invalid
from ninelives_server.events.filters import Filters
from ninelives_server.events.ingest import data_context
from ninelives_server.events.settling import DEPLOYMENT, ENTRYPOINT, wants
from ninelives_server.ids import EventId
from ninelives_server.model.events import Event
from ninelives_server.model.sessions import NewSession, Session
from ninelives_server.model.triggers import Overlap, Trigger
from ninelives_server.store import events, queues, triggers
from ninelives_server.store.core import Store, Tx
from ninelives_server.store.events import Taken, Target
from ninelives_server.vault.vault import Vault

logger = log.get(__name__)

#: Undispatched events are looked for this often. seconds
SWEEP_EVERY = 30.0
#: Events of one unit, where so many wait. With more, everybody else would wait longer for their turn.
TOGETHER = 32
#: Units that are under way at once; all but one of them only where so many wait that they are full.
AT_ONCE = 4
_SWEEP_BATCH = 1000

#: Memo of events that name what to start themselves: whether that is durable.
IS_DURABLE = "is_durable"

Outcome = Mapping[str, str]


class MakesSessions(Protocol):
    """Makes session rows."""

    def create_in(self, tx: Tx, new: NewSession) -> Session | None:
        """Make a session; `None` where there is one for this event and trigger already."""
        ...


class Dispatcher:
    """Starts what events start."""

    def __init__(self, *, store: Store, vault: Vault, filters: Filters, sessions: MakesSessions) -> None:
        self._store = store
        self._vault = vault
        self._filters = filters
        self._sessions = sessions
        self._waiting: deque[EventId] = deque()
        # Set while at least one event waits, and while a full unit of them does.
        self._some, self._many = asyncio.Event(), asyncio.Event()

    def soon(self, event_ids: Sequence[EventId]) -> None:
        """Dispatch these events as soon as `run` gets to them."""
        self._waiting.extend(event_ids)
        self._tell()

    def _tell(self) -> None:
        for event, least in ((self._some, 1), (self._many, TOGETHER)):
            if len(self._waiting) >= least:
                event.set()
            else:
                event.clear()

    async def run(self) -> None:
        """Dispatch what comes, and sweep at start and now and then, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep_for_ever())
            for number in range(AT_ONCE):
                group.create_task(self._work(self._many if number else self._some))

    async def dispatch(self, event_ids: Sequence[EventId]) -> None:
        """Dispatch these events now; those that are dispatched already are left alone."""
        for start in range(0, len(event_ids), TOGETHER):
            await self._unit(event_ids[start : start + TOGETHER])

    async def sweep(self) -> int:
        """Dispatch the events that are left over and return how many; one that fails is logged."""
        total = 0
        while True:
            left = await self._store.read(lambda tx: events.undispatched(tx, _SWEEP_BATCH))
            done = 0
            for start in range(0, len(left), TOGETHER):
                done += await self._several(left[start : start + TOGETHER])
            total += done
            if len(left) < _SWEEP_BATCH or not done:
                return total

    async def _sweep_for_ever(self) -> None:
        while True:
            try:
                await self.sweep()
            except Exception:  # the root of a task: the next sweep tries again
                logger.exception("events.sweep_failed")
            await asyncio.sleep(SWEEP_EVERY)

    async def _work(self, enough: asyncio.Event) -> None:
        while True:
            await enough.wait()
            if not enough.is_set():  # another one was faster
                continue
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), TOGETHER))]
            self._tell()
            await self._several(taken)

    async def _several(self, event_ids: Sequence[EventId]) -> int:
        """Dispatch events in one unit, each for itself where that fails; return how many did not fail."""
        try:
            await self._unit(event_ids)
        except Exception as error:
            if len(event_ids) == 1:
                # The sweep tries again.
                logger.exception("event.dispatch_failed", event_id=event_ids[0])
                return 0
            logger.info("events.dispatched_apart", events=len(event_ids), error=type(error).__name__)
            return sum([await self._several([event_id]) for event_id in event_ids])
        return len(event_ids)

    async def _unit(self, event_ids: Sequence[EventId]) -> None:
        done = await self._store.write(lambda tx: self.dispatch_in(tx, event_ids))
        for event_id, outcomes in done.items():
            kinds = [outcome["outcome"] for outcome in outcomes]
            if set(kinds) != {"filtered"}:  # of most events nothing is wanted; each keeps what became of it
                logger.info("event.dispatched", event_id=event_id, outcomes=kinds)

    def dispatch_in(self, tx: Tx, event_ids: Sequence[EventId]) -> dict[EventId, list[Outcome]]:
        """Dispatch events inside a unit of the caller's, oldest first.

        Returns:
            What became of each; those that are dispatched already are left out.
        """
        shared = _Shared(tx)
        waiting = events.take_undispatched(tx, event_ids)
        done = {taken.event.id: [*taken.event.dispatch, *self._of_one(shared, taken)] for taken in waiting}
        events.set_dispatched(tx, done)
        for project_id in {taken.event.project_id for taken in waiting}:
            if queues.has_waiting(tx, project_id):
                # Those of later events may have waited for these, to keep the order of a key.
                tx.notify("queue", project_id)
        return done

    def _of_one(self, shared: "_Shared", taken: Taken) -> list[Outcome]:
        event = taken.event
        target = shared.target(event.project_id, event.memo.get(DEPLOYMENT))
        if target is None:
            return [{"outcome": "not_deployed", "error": "the project has no active deployment"}]
        plain = self._vault.open(shared.tx, event.project_id, data_context(event.id), taken.sealed_data)
        return self._outcomes(_Case(shared, taken, json.loads(plain), target))

    def _outcomes(self, case: "_Case") -> list[Outcome]:
        event = case.taken.event
        if entrypoint := event.memo.get(ENTRYPOINT):
            return [self._start(case, entrypoint)]
        return [
            self._try(case, trigger)
            for trigger in case.shared.candidates(event)
            if wants(trigger, event.event_type)
        ]

    def _try(self, case: "_Case", trigger: Trigger) -> dict[str, str]:
        shared = case.shared
        outcome = {"trigger_id": trigger.id, "trigger": trigger.name}
        try:
            passed = self._filters.matches(trigger.filter, case.data, case.taken.event.event_type)
        except Invalid as error:
            shared.report(trigger, str(error))
            return outcome | {"outcome": "filter_failed", "error": str(error)}
        if not passed:
            return outcome | {"outcome": "filtered"}
        if trigger.call not in case.target.entrypoints:
            error_text = f"{trigger.call} is not in the deployed build; deploy code that has it"
            shared.report(trigger, error_text)
            return outcome | {"outcome": "no_entrypoint", "error": error_text}
        try:
            key = self._filters.key(trigger.key, case.data, case.taken.event.event_type)
        except Invalid as error:
            shared.report(trigger, str(error))
            return outcome | {"outcome": "key_failed", "error": str(error)}
        shared.report(trigger, "")
        if reason := _overlaps(shared.tx, trigger):
            return outcome | {"outcome": "skipped", "error": reason}
        return outcome | self._start(case, trigger.call, trigger, key)

    def _start(
        self, case: "_Case", entrypoint: str, trigger: Trigger | None = None, key: str | None = None
    ) -> dict[str, str]:
        new = _new_session(case, entrypoint, trigger, key)
        if self._sessions.create_in(case.shared.tx, new) is None:
            return {"outcome": "duplicate"}
        return {"outcome": "session", "session_id": new.id}


class _Shared:
    """What the events of one unit have in common, looked up once."""

    def __init__(self, tx: Tx) -> None:
        self.tx = tx
        self.target = cache(partial(events.target, tx))
        self._trigger = cache(partial(triggers.by_id, tx))
        self._matching = cache(partial(triggers.matching, tx))
        self._errors: dict[str, str] = {}

    def candidates(self, event: Event) -> Sequence[Trigger]:
        """Return the triggers that an event concerns: never another project's, hence never another org's."""
        if event.trigger_id is not None:
            trigger = self._trigger(event.trigger_id)
            return [trigger] if trigger is not None and trigger.project_id == event.project_id else []
        if event.connection_id is not None:
            return self._matching(event.project_id, event.connection_id)
        return []

    def report(self, trigger: Trigger, text: str) -> None:
        """Say what is wrong with a trigger, or with an empty text that all is well."""
        if self._errors.get(trigger.id, trigger.last_error) != text:
            triggers.set_error(self.tx, trigger.id, text)
            self._errors[trigger.id] = text


class _Case(NamedTuple):
    """One event under dispatch."""

    shared: _Shared
    taken: Taken
    data: dict[str, Any]
    target: Target


def _overlaps(tx: Tx, trigger: Trigger) -> str:
    """Return why a trigger starts nothing because of the sessions that it has; else empty."""
    if trigger.overlap is Overlap.ALLOW:
        return ""
    # Two events at once must not both find nothing.
    triggers.lock(tx, trigger.id)
    found = queues.open_of_trigger(tx, trigger.project_id, trigger.id, limit=2)
    if found and trigger.overlap is Overlap.SKIP:
        return f"session {found[0]} of this trigger has not ended (overlap: skip)"
    if len(found) > 1:
        return f"session {found[-1]} of this trigger waits already (overlap: queue one)"
    return ""


def _key_digest(trigger: Trigger, key: str | None) -> str | None:
    """Return what stands for a key in the queue: its value may be anybody's name."""
    if key is None:
        return None
    return hashlib.sha256(f"{trigger.id}\0{key}".encode()).hexdigest()


def _new_session(case: _Case, entrypoint: str, trigger: Trigger | None, key: str | None) -> NewSession:
    event = case.taken.event
    is_limited = case.target.max_concurrent > 0 or key is not None
    return NewSession(
        id=ids.new("ses"),
        org_id=event.org_id,
        project_id=event.project_id,
        deployment_id=case.target.deployment_id,
        build_id=case.target.build_id,
        entrypoint=entrypoint,
        is_durable=event.memo.get(IS_DURABLE) == "true" if trigger is None else trigger.is_durable,
        data=case.data,
        # Sessions that somebody starts by hand see no event, as in AutoKitteh.
        event_meta={
            "event_id": None if trigger is None else event.id,
            "event_type": None if trigger is None else event.event_type,
        },
        event_id=event.id,
        trigger_id=None if trigger is None else trigger.id,
        record_id=event.record_id,
        memo=_memo(event, trigger),
        traceparent=event.traceparent,
        created_by=case.taken.created_by,
        is_queued=is_limited or (trigger is not None and trigger.max_concurrent is not None),
        queue_key=None if trigger is None else _key_digest(trigger, key),
    )


def _memo(event: Event, trigger: Trigger | None) -> dict[str, str]:
    memo = {"event_type": event.event_type}
    if trigger is not None:
        memo["trigger"] = trigger.name
    if "redispatch_of" in event.memo:
        memo["redispatch_of"] = event.memo["redispatch_of"]
    return memo
