"""What people may do with events: look at them, dispatch them again, start a session by hand.

Also tells how a trigger fares. What happens to an event is decided in `events.ingest` and `events.dispatch`.
"""

import base64
import binascii
import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ninelives import arguments
from ninelives_server import ids
from ninelives_server.errors import Conflict, Invalid, KeyReused, NotFound, TooLarge
from ninelives_server.events.dispatch import IS_DURABLE, Dispatcher
from ninelives_server.events.ingest import Ingest, Recorded, data_context, encode
from ninelives_server.events.settling import DEPLOYMENT, ENTRYPOINT
from ninelives_server.events.status import TriggerStatus, listening_of
from ninelives_server.integrations.registry import Registry
from ninelives_server.model import schedules
from ninelives_server.model.actors import Actor, Role
from ninelives_server.model.events import Event, NewEvent
from ninelives_server.model.projects import Project
from ninelives_server.model.schedules import BadSchedule
from ninelives_server.model.sessions import Session
from ninelives_server.model.triggers import Trigger, TriggerType
from ninelives_server.store import audit, builds, events, projects, sessions
from ninelives_server.store.core import Store, Tx
from ninelives_server.store.events import Target, Wanted
from ninelives_server.vault.vault import Vault

#: Event type of sessions that somebody starts by hand, as lists of events show it.
MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Some events, newest first; `next_cursor` is where the next page begins."""

    items: Sequence[Event]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDetail:
    """An event with its data."""

    event: Event
    data: Mapping[str, Any] = field(repr=False)


class Events:
    """Events, as their project's members see them."""

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        ingest: Ingest,
        dispatcher: Dispatcher,
        registry: Registry,
        base_url: str,
    ) -> None:
        self._store = store
        self._vault = vault
        self._ingest = ingest
        self._dispatcher = dispatcher
        self._registry = registry
        self._base_url = base_url

    async def list(
        self,
        actor: Actor,
        project_ref: str,
        *,
        event_type: str | None = None,
        trigger_id: str | None = None,
        connection_id: str | None = None,
        record_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> EventPage:
        """Return a project's events, newest first.

        Raises:
            NotFound: There is no such project in the actor's org.
            Invalid: The cursor is none of this list.
        """
        wanted = Wanted(
            event_type=event_type,
            trigger_id=trigger_id,
            connection_id=connection_id,
            record_id=record_id,
            since=since,
            until=until,
        )
        before = None if cursor is None else _place_of(cursor)

        def read(tx: Tx) -> Sequence[Event]:
            project = _project(tx, actor, project_ref)
            return events.of_project(tx, project.id, wanted=wanted, before=before, limit=limit + 1)

        found = await self._store.read(read)
        items = found[:limit]
        return EventPage(items=items, next_cursor=_cursor(items[-1].id) if len(found) > limit else None)

    async def get(self, actor: Actor, event_id: str) -> EventDetail:
        """Return an event with its data.

        Raises:
            NotFound: There is none with this id in the actor's org.
        """

        def read(tx: Tx) -> EventDetail:
            event = _event(tx, actor, event_id)
            return EventDetail(event=event, data=self._data(tx, event))

        return await self._store.read(read)

    async def redispatch(
        self, actor: Actor, event_id: str, deployment_id: str | None = None, *, key: str | None = None
    ) -> Event:
        """Dispatch a copy of a stored event, to the active deployment or to the one that is named.

        Returns:
            The copy, dispatched: what became of it is in `dispatch`. The same `key` gets the same copy.

        Raises:
            NotFound: There is no such event, or no such deployment of its project.
            KeyReused: The key came before and asked for something else.
            Conflict: The project has no active deployment, or the named one is neither active nor testing.
        """
        actor.needs(Role.MEMBER)

        def write(tx: Tx) -> Event:
            event = _event(tx, actor, event_id)
            source_key = f"redispatch:{key or ids.new_slug()}"
            if not _is_there(tx, event.project_id, source_key):
                _target(tx, event.project_id, deployment_id)
            memo = {**event.memo, "redispatch_of": event.id}
            if deployment_id is not None:
                memo[DEPLOYMENT] = deployment_id
            copy = NewEvent(
                project_id=event.project_id,
                connection_id=event.connection_id,
                trigger_id=event.trigger_id,
                source_key=source_key,
                event_type=event.event_type,
                data=self._data(tx, event),
                memo=memo,
                record_id=event.record_id,
                traceparent=event.traceparent,
                created_by=actor.id,
            )
            recorded = self._now(tx, actor, copy)
            copy_id = recorded.event_id
            if recorded.is_new:
                audit.record(
                    tx,
                    actor,
                    "event.redispatched",
                    event.id,
                    project_id=event.project_id,
                    details={"as": copy_id},
                )
            return _event(tx, actor, copy_id)

        return await self._store.write(write)

    async def start_session(
        self,
        actor: Actor,
        project_ref: str,
        entrypoint: str,
        data: Mapping[str, object],
        *,
        is_durable: bool = False,
        deployment_id: str | None = None,
        key: str | None = None,
    ) -> Session:
        """Start a session without an event from outside, of the active deployment or of the named one.

        The same `key` gets the same session, as long as its event is kept: it is the event's source key, so
        that a server which died before it had answered does not start another one when it is asked again.

        Raises:
            KeyReused: The key came before and asked for something else.
            NotFound: There is no such project in the actor's org, or no such deployment of it.
            Conflict: It has no active deployment, or the named one is neither active nor testing.
            Invalid: The deployed build has no such entry point, or the data is no JSON.
            TooLarge: The data is over the limit.
        """
        actor.needs(Role.MEMBER)
        size = len(encode(data))
        if size > arguments.LARGEST:
            raise TooLarge(
                f"the inputs have {size} bytes as JSON; {arguments.LARGEST} bytes as JSON are allowed"
            )

        def write(tx: Tx) -> Session:
            project = _project(tx, actor, project_ref)
            source_key = f"manual:{key or ids.new_slug()}"
            if not _is_there(tx, project.id, source_key):
                _check_entrypoint(_target(tx, project.id, deployment_id), entrypoint)
            named = {} if deployment_id is None else {DEPLOYMENT: deployment_id}
            recorded = self._now(
                tx,
                actor,
                NewEvent(
                    project_id=project.id,
                    source_key=source_key,
                    event_type=MANUAL,
                    data=data,
                    memo={ENTRYPOINT: entrypoint, IS_DURABLE: "true" if is_durable else "false", **named},
                    created_by=actor.id,
                ),
            )
            session_id = _event(tx, actor, recorded.event_id).dispatch[0]["session_id"]
            if recorded.is_new:
                details = {"session_id": session_id, "entrypoint": entrypoint}
                audit.record(tx, actor, "session.started", session_id, project_id=project.id, details=details)
            session = sessions.by_id(tx, session_id)
            if session is None:
                raise Conflict(
                    f"this Idempotency-Key started session {session_id}, which is no longer kept; "
                    "use a new key"
                )
            return session

        return await self._store.write(write)

    async def trigger_status(self, actor: Actor, trigger: Trigger) -> TriggerStatus:
        """Return how a trigger fares: its address, what is wrong, how its stream does."""

        def read(tx: Tx) -> TriggerStatus:
            if projects.by_id(tx, actor.org_id, trigger.project_id) is None:
                raise NotFound(f"there is no trigger {trigger.id!r}")
            listening = listening_of(tx, self._registry, trigger)
            is_bad = listening is not None and listening.state in {"refused", "failing"}
            return TriggerStatus(
                webhook_url=None if trigger.slug is None else f"{self._base_url}/webhooks/{trigger.slug}",
                next_at=_next_at(tx, trigger),
                last_error=trigger.last_error or (listening.reason if listening and is_bad else ""),
                listening=listening,
            )

        return await self._store.read(read)

    def _data(self, tx: Tx, event: Event) -> dict[str, Any]:
        sealed = events.sealed_data(tx, event.id)
        assert sealed is not None
        data: dict[str, Any] = json.loads(
            self._vault.open(tx, event.project_id, data_context(event.id), sealed)
        )
        return data

    def _now(self, tx: Tx, actor: Actor, new: NewEvent) -> Recorded:
        """Record and dispatch in one unit: whoever asked sees at once what came of it.

        Raises:
            KeyReused: The event is there already, and is another one.
        """
        [recorded] = self._ingest.record_in(tx, [new])
        if not recorded.is_new:
            there = _event(tx, actor, recorded.event_id)
            if there.memo != new.memo or self._data(tx, there) != json.loads(encode(new.data)):
                raise KeyReused
        if recorded.waits:
            self._dispatcher.dispatch_in(tx, [recorded.event_id])
        return recorded


def _next_at(tx: Tx, trigger: Trigger) -> datetime | None:
    """Return when a trigger's schedule is due; `None` while nothing is deployed, or where it is over."""
    if trigger.type is not TriggerType.SCHEDULE or events.target(tx, trigger.project_id) is None:
        return None
    try:
        return schedules.next_after(schedules.parse(trigger.schedule, trigger.timezone), tx.now)
    except BadSchedule:
        return None


def _project(tx: Tx, actor: Actor, ref: str) -> Project:
    project = projects.by_id(tx, actor.org_id, ref) or projects.by_name(tx, actor.org_id, ref)
    if project is None:
        raise NotFound(f"there is no project {ref!r}")
    return project


def _event(tx: Tx, actor: Actor, event_id: str) -> Event:
    event = events.by_id(tx, event_id)
    if event is None or event.org_id != actor.org_id:
        raise NotFound(f"there is no event {event_id!r}")
    return event


def _is_there(tx: Tx, project_id: str, source_key: str) -> bool:
    """Tell whether a request came before: what it needs need not be there any more to hear the answer."""
    return bool(events.ids_of(tx, [(project_id, source_key)]))


def _target(tx: Tx, project_id: str, deployment_id: str | None) -> Target:
    target = events.target(tx, project_id, deployment_id)
    if target is not None:
        return target
    if deployment_id is not None:
        found = builds.deployment_by_id(tx, deployment_id)
        if found is None or found.project_id != project_id:
            raise NotFound(f"the project has no deployment {deployment_id!r}")
        way_out = f"run `ninelives deployment test {deployment_id}` first"
        raise Conflict(f"deployment {deployment_id} is {found.state}; {way_out}")
    raise Conflict("the project has no active deployment; run `ninelives deploy`, or activate one")


def _check_entrypoint(target: Target, entrypoint: str) -> None:
    if entrypoint in target.entrypoints:
        return
    near = difflib.get_close_matches(entrypoint, target.entrypoints, n=3, cutoff=0.4)
    known = ", ".join(near or sorted(target.entrypoints)[:5]) or "none"
    message = f"{entrypoint!r} is not in the deployed build, as FILE.py:FUNC; it has {known}"
    raise Invalid(message, fields={"entrypoint": message})


def _cursor(event_id: str) -> str:
    return base64.urlsafe_b64encode(event_id.encode()).decode().rstrip("=")


def _place_of(cursor: str) -> str:
    try:
        event_id = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (ValueError, binascii.Error):
        event_id = ""
    if not ids.is_id(event_id, "evt"):
        raise Invalid(f"the cursor {cursor[:40]!r} is not one of this list; leave it out")
    return event_id
