"""Events: the only place that reads and writes their rows. Their data goes in and out sealed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ninelives_server.ids import EventId, OrgId, ProjectId
from ninelives_server.model.events import Event, NewEvent
from ninelives_server.store.core import Tx
from ninelives_server.store.tables import builds, deployments, events, projects, subscriptions, triggers

#: Rows a statement names at most; both databases take more parameters than this needs.
_CHUNK = 500

_COLUMNS = [column for column in events.c if column.name != "sealed_data"]

# Each event passes these: they are built once, because building costs more than running.
_INSERT = {
    name: dialect.insert(events)
    .on_conflict_do_nothing(index_elements=["project_id", "source_key"])
    .returning(events.c.id)
    for name, dialect in (("postgresql", postgresql), ("sqlite", sqlite))
}
_ORG = sa.select(projects.c.org_id).where(projects.c.id == sa.bindparam("id"))
_BY_ID = sa.select(*_COLUMNS).where(events.c.id == sa.bindparam("id"))
_TAKE = (
    sa.select(events)
    .where(events.c.id.in_(sa.bindparam("ids", expanding=True)), events.c.dispatched_at.is_(None))
    .order_by(events.c.id)
    .with_for_update()
)
_DISPATCHED = (
    events.update()
    .where(events.c.id == sa.bindparam("of"))
    .values(dispatched_at=sa.bindparam("at"), dispatch=sa.bindparam("outcomes"))
)
_DEPLOYMENTS = (
    sa.select(deployments.c.id, deployments.c.build_id, builds.c.entrypoints, projects.c.max_concurrent)
    .join(builds, builds.c.id == deployments.c.build_id)
    .join(projects, projects.c.id == deployments.c.project_id)
    .where(deployments.c.project_id == sa.bindparam("project_id"))
    .limit(1)
)
_ACTIVE = _DEPLOYMENTS.where(deployments.c.state == "active")
_NAMED = _DEPLOYMENTS.where(
    deployments.c.id == sa.bindparam("id"), deployments.c.state.in_(("active", "testing"))
)
_SUBSCRIPTIONS = (
    sa.select(
        subscriptions.c.id,
        subscriptions.c.session_id,
        subscriptions.c.project_id,
        sa.func.coalesce(subscriptions.c.connection_id, triggers.c.connection_id).label("connection_id"),
        subscriptions.c.trigger_id,
        sa.func.coalesce(triggers.c.event_type, "").label("event_type"),
        sa.func.coalesce(triggers.c.filter, "").label("trigger_filter"),
        subscriptions.c.filter,
    )
    .outerjoin(triggers, triggers.c.id == subscriptions.c.trigger_id)
    .where(subscriptions.c.project_id == sa.bindparam("project_id"))
    .order_by(subscriptions.c.id)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedEvent:
    """An event that is ready to be stored."""

    id: EventId
    new: NewEvent
    sealed_data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a list of events is narrowed to; `None` is any."""

    event_type: str | None = None
    trigger_id: str | None = None
    connection_id: str | None = None
    record_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def _event(row: sa.Row[Any]) -> Event:
    return Event(
        id=EventId(row.id),
        org_id=OrgId(row.org_id),
        project_id=ProjectId(row.project_id),
        connection_id=row.connection_id,
        trigger_id=row.trigger_id,
        source_key=row.source_key,
        event_type=row.event_type,
        memo=dict(row.memo),
        record_id=row.record_id,
        traceparent=row.traceparent,
        dispatched_at=row.dispatched_at,
        dispatch=list(row.dispatch),
        created_at=row.created_at,
    )


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]


def orgs_of(tx: Tx, project_ids: set[str]) -> dict[str, OrgId]:
    """Return the org of each project that exists."""
    found = {
        project_id: tx.connection.execute(_ORG, {"id": project_id}).scalar_one_or_none()
        for project_id in project_ids
    }
    return {project_id: OrgId(org_id) for project_id, org_id in found.items() if org_id is not None}


def _values(tx: Tx, event: SealedEvent, org_id: str) -> dict[str, Any]:
    new = event.new
    return {
        "id": event.id,
        "org_id": org_id,
        "project_id": new.project_id,
        "connection_id": new.connection_id,
        "trigger_id": new.trigger_id,
        "source_key": new.source_key,
        "event_type": new.event_type,
        "sealed_data": event.sealed_data,
        "memo": dict(new.memo),
        "record_id": new.record_id,
        "traceparent": new.traceparent,
        "dispatched_at": None,
        "dispatch": [],
        "created_at": tx.now,
        "created_by": new.created_by,
    }


def insert(tx: Tx, new: Sequence[SealedEvent], orgs: Mapping[str, str]) -> set[EventId]:
    """Add events and return the ids of those that are new.

    One whose source key the project has already is left out; projects that are gone from `orgs` are skipped.
    """
    values = [_values(tx, event, orgs[event.new.project_id]) for event in new if event.new.project_id in orgs]
    statement = _INSERT[tx.connection.dialect.name]
    added: set[EventId] = set()
    for chunk in _chunks(values):
        added.update(EventId(found) for found in tx.connection.execute(statement, chunk).scalars())
    for event_id in added:
        tx.notify("event", event_id)
    return added


def ids_of(tx: Tx, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], EventId]:
    """Return the ids of the events with these pairs of project and source key."""
    found: dict[tuple[str, str], EventId] = {}
    pair = sa.tuple_(events.c.project_id, events.c.source_key)
    for chunk in _chunks(keys):
        query = sa.select(events.c.id, events.c.project_id, events.c.source_key).where(pair.in_(chunk))
        for row in tx.connection.execute(query):
            found[row.project_id, row.source_key] = EventId(row.id)
    return found


def by_id(tx: Tx, event_id: str) -> Event | None:
    """Return an event without its data."""
    row = tx.connection.execute(_BY_ID, {"id": event_id}).one_or_none()
    return None if row is None else _event(row)


def sealed_data(tx: Tx, event_id: str) -> bytes | None:
    """Return an event's data as the vault sealed it."""
    found: bytes | None = tx.connection.execute(
        sa.select(events.c.sealed_data).where(events.c.id == event_id)
    ).scalar_one_or_none()
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """An event that is being dispatched."""

    event: Event
    sealed_data: bytes = field(repr=False)
    created_by: str


def take_undispatched(tx: Tx, event_ids: Sequence[str]) -> list[Taken]:
    """Return those of these events that wait for dispatch, oldest first; lock them until the unit ends."""
    rows = tx.connection.execute(_TAKE, {"ids": event_ids})
    return [Taken(event=_event(row), sealed_data=row.sealed_data, created_by=row.created_by) for row in rows]


def undispatched(tx: Tx, limit: int) -> list[EventId]:
    """Return the oldest events that wait for dispatch."""
    query = sa.select(events.c.id).where(events.c.dispatched_at.is_(None)).order_by(events.c.id).limit(limit)
    return [EventId(found) for found in tx.connection.execute(query).scalars()]


def set_outcomes(tx: Tx, event_id: str, outcomes: Sequence[Mapping[str, str]]) -> None:
    """Write down what has become of an event so far; it is not dispatched yet."""
    statement = events.update().where(events.c.id == event_id)
    tx.connection.execute(statement.values(dispatch=[dict(outcome) for outcome in outcomes]))


def set_dispatched(tx: Tx, outcomes: Mapping[EventId, Sequence[Mapping[str, str]]]) -> None:
    """Write down what became of events, by their ids."""
    if not outcomes:
        return
    tx.connection.execute(
        _DISPATCHED,
        [
            {"of": event_id, "at": tx.now, "outcomes": [*map(dict, found)]}
            for event_id, found in outcomes.items()
        ],
    )
    for event_id in outcomes:
        tx.notify("event", event_id)


def of_project(tx: Tx, project_id: str, *, wanted: Wanted, before: str | None, limit: int) -> list[Event]:
    """Return a project's events, newest first, from before the event with the id `before`."""
    query = sa.select(*_COLUMNS).where(events.c.project_id == project_id)
    for name in ("event_type", "trigger_id", "connection_id", "record_id"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(events.c[name] == value)
    if wanted.since is not None:
        query = query.where(events.c.created_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(events.c.created_at < wanted.until)
    if before is not None:
        query = query.where(events.c.id < before)
    return [_event(row) for row in tx.connection.execute(query.order_by(events.c.id.desc()).limit(limit))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the sessions of an event go.

    Attributes:
        entrypoints: What the build lets others call, as `file.py:name`.
        max_concurrent: Sessions of the project that may be open at once; 0 is any number.
    """

    deployment_id: str
    build_id: str
    entrypoints: tuple[str, ...]
    max_concurrent: int


def target(tx: Tx, project_id: str, deployment_id: str | None = None) -> Target | None:
    """Return a project's active deployment, or the active or testing one that is asked for."""
    if deployment_id is None:
        row = tx.connection.execute(_ACTIVE, {"project_id": project_id}).one_or_none()
    else:
        row = tx.connection.execute(_NAMED, {"project_id": project_id, "id": deployment_id}).one_or_none()
    if row is None:
        return None
    names = tuple(f"{item['file']}:{item['name']}" for item in row.entrypoints)
    return Target(
        deployment_id=row.id, build_id=row.build_id, entrypoints=names, max_concurrent=row.max_concurrent
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What a session has subscribed to; the trigger's own terms where it is to a trigger.

    Attributes:
        connection_id: Of the connection itself, or of the trigger.
    """

    id: str
    session_id: str
    project_id: str
    connection_id: str | None
    trigger_id: str | None
    event_type: str
    trigger_filter: str
    filter: str


def subscriptions_of(tx: Tx, project_id: str) -> list[Subscription]:
    """Return the subscriptions of a project's sessions, oldest first."""
    rows = tx.connection.execute(_SUBSCRIPTIONS, {"project_id": project_id}).mappings()
    return [Subscription(**row) for row in rows]
