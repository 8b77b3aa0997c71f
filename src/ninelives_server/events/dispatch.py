"""What an event starts: matching triggers, filters, session rows. Idempotent, and never silent.

Runs after the commit that recorded the event, and again in a sweep for events that a crash left over. One
unit locks the event, makes the sessions (unique by event and trigger) and writes down what became of it.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ninelives_server import ids, log
from ninelives_server.errors import Invalid
from ninelives_server.events.filters import Filters
from ninelives_server.events.ingest import ANY_TYPE, data_context
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
#: Units that are under way at once; they share commits.
AT_ONCE = 32
#: Events of one unit, where so many wait: a burst costs fewer savepoints.
TOGETHER = 16
_SWEEP_BATCH = 1000

#: Memo of events that name what to start themselves: manual starts and redispatched events.
ENTRYPOINT = "entrypoint"
IS_DURABLE = "is_durable"
DEPLOYMENT = "deployment_id"

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
        self._waiting: asyncio.Queue[EventId] = asyncio.Queue()

    def soon(self, event_ids: Sequence[EventId]) -> None:
        """Dispatch these events as soon as `run` gets to them."""
        for event_id in event_ids:
            self._waiting.put_nowait(event_id)

    async def run(self) -> None:
        """Dispatch what comes, and sweep at start and now and then, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep_for_ever())
            for _ in range(AT_ONCE):
                group.create_task(self._work())

    async def dispatch(self, event_ids: Sequence[EventId]) -> None:
        """Dispatch these events now; those that are dispatched already are left alone."""
        for start in range(0, len(event_ids), AT_ONCE):
            await asyncio.gather(*(self._one(event_id) for event_id in event_ids[start : start + AT_ONCE]))

    async def sweep(self) -> int:
        """Dispatch the events that are left over and return how many; one that fails is logged."""
        total = 0
        while True:
            left = await self._store.read(lambda tx: events.undispatched(tx, _SWEEP_BATCH))
            done = 0
            for start in range(0, len(left), AT_ONCE):
                done += sum(await asyncio.gather(*map(self._try_one, left[start : start + AT_ONCE])))
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

    async def _work(self) -> None:
        while True:
            taken = [await self._waiting.get()]
            while len(taken) < TOGETHER and not self._waiting.empty():
                taken.append(self._waiting.get_nowait())
            await self._several(taken)

    async def _several(self, event_ids: Sequence[EventId]) -> None:
        """Dispatch what has come together in one unit; each for itself where that fails."""
        if len(event_ids) == 1:
            await self._try_one(event_ids[0])
            return
        try:
            done = await self._store.write(lambda tx: [self.dispatch_in(tx, one) for one in event_ids])
        except Exception as error:  # noqa: BLE001 - one of them; which one is found, and logged, below
            logger.info("events.dispatched_apart", events=len(event_ids), error=type(error).__name__)
            await asyncio.gather(*map(self._try_one, event_ids))
            return
        for event_id, outcomes in zip(event_ids, done, strict=True):
            _log(event_id, outcomes)

    async def _try_one(self, event_id: EventId) -> bool:
        """Dispatch an event; a failure is logged, and the sweep tries again."""
        try:
            await self._one(event_id)
        except Exception:
            logger.exception("event.dispatch_failed", event_id=event_id)
            return False
        return True

    async def _one(self, event_id: EventId) -> None:
        outcomes = await self._store.write(lambda tx: self.dispatch_in(tx, event_id))
        _log(event_id, outcomes)

    def dispatch_in(self, tx: Tx, event_id: str) -> list[Outcome]:
        """Dispatch one event inside a unit of the caller's; `[]` where it is done already."""
        taken = events.take_undispatched(tx, event_id)
        if taken is None:
            return []
        event = taken.event
        data = json.loads(self._vault.open(tx, event.project_id, data_context(event.id), taken.sealed_data))
        target = events.target(tx, event.project_id, event.memo.get(DEPLOYMENT))
        outcomes: list[Outcome]
        signalled = list(event.dispatch)
        if target is None:
            outcomes = [{"outcome": "not_deployed", "error": "the project has no active deployment"}]
        else:
            outcomes = self._outcomes(_Case(tx, taken, data, target))
        outcomes = [*signalled, *outcomes]
        events.set_dispatched(tx, event.id, outcomes)
        if queues.has_waiting(tx, event.project_id):
            # Those of later events may have waited for this one, to keep the order of a key.
            tx.notify("queue", event.project_id)
        return outcomes

    def _outcomes(self, case: "_Case") -> list[Outcome]:
        event = case.taken.event
        if entrypoint := event.memo.get(ENTRYPOINT):
            return [self._start(case, entrypoint)]
        return [
            self._try(case, trigger)
            for trigger in _candidates(case.tx, event)
            if trigger.call and trigger.event_type in {*ANY_TYPE, event.event_type}
        ]

    def _try(self, case: "_Case", trigger: Trigger) -> dict[str, str]:
        tx = case.tx
        outcome = {"trigger_id": trigger.id, "trigger": trigger.name}
        try:
            passed = self._filters.matches(trigger.filter, case.data, case.taken.event.event_type)
        except Invalid as error:
            _report(tx, trigger, str(error))
            return outcome | {"outcome": "filter_failed", "error": str(error)}
        if not passed:
            return outcome | {"outcome": "filtered"}
        if trigger.call not in case.target.entrypoints:
            error_text = f"{trigger.call} is not in the deployed build; deploy code that has it"
            _report(tx, trigger, error_text)
            return outcome | {"outcome": "no_entrypoint", "error": error_text}
        try:
            key = self._filters.key(trigger.key, case.data, case.taken.event.event_type)
        except Invalid as error:
            _report(tx, trigger, str(error))
            return outcome | {"outcome": "key_failed", "error": str(error)}
        _report(tx, trigger, "")
        if reason := _overlaps(tx, trigger):
            return outcome | {"outcome": "skipped", "error": reason}
        return outcome | self._start(case, trigger.call, trigger, key)

    def _start(
        self, case: "_Case", entrypoint: str, trigger: Trigger | None = None, key: str | None = None
    ) -> dict[str, str]:
        new = _new_session(case, entrypoint, trigger, key)
        if self._sessions.create_in(case.tx, new) is None:
            return {"outcome": "duplicate"}
        return {"outcome": "session", "session_id": new.id}


class _Case(NamedTuple):
    """One event under dispatch."""

    tx: Tx
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


def _log(event_id: str, outcomes: Sequence[Outcome]) -> None:
    if outcomes:
        logger.info("event.dispatched", event_id=event_id, outcomes=[o["outcome"] for o in outcomes])


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


def _candidates(tx: Tx, event: Event) -> Sequence[Trigger]:
    """Return the triggers that an event concerns: never one of another project, hence never another org's."""
    if event.trigger_id is not None:
        trigger = triggers.by_id(tx, event.trigger_id)
        return [trigger] if trigger is not None and trigger.project_id == event.project_id else []
    if event.connection_id is not None:
        return triggers.matching(tx, event.project_id, event.connection_id)
    return []


def _report(tx: Tx, trigger: Trigger, text: str) -> None:
    if trigger.last_error != text:
        triggers.set_error(tx, trigger.id, text)
