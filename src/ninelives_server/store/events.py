"""Events: the only place that reads and writes their rows. Their data goes in and out sealed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from ninelives_server.ids import EventId, OrgId, ProjectId
from ninelives_server.model.events import Event, NewEvent
from ninelives_server.store import driver
from ninelives_server.store.compiled import Statement
from ninelives_server.store.core import Tx
from ninelives_server.store.tables import builds, deployments, events, projects

_JSON = json.JSONEncoder(separators=(",", ":"))

#: Rows a statement names at most; both databases take more parameters than this needs.
_CHUNK = 500

_COLUMNS = [column for column in events.c if column.name != "sealed_data"]

#: Of a new event, with their types on PostgreSQL, where arrays of JSON travel as text.
_INSERTED = {
    "id": "text", "org_id": "text", "project_id": "text", "connection_id": "text", "trigger_id": "text",
    "source_key": "text", "event_type": "text", "sealed_data": "bytea", "memo": "text", "record_id": "text",
    "traceparent": "text", "dispatched_at": "timestamptz", "dispatch": "text", "created_at": "timestamptz",
    "created_by": "text",
}  # fmt: skip
_IN_JSON = frozenset({"memo", "dispatch"})
_INTO = f"INSERT INTO events ({', '.join(_INSERTED)})"
_ONCE = "ON CONFLICT (project_id, source_key) DO NOTHING"
_INSERT_SQLITE = f"{_INTO} VALUES ({driver.marks(len(_INSERTED))}) {_ONCE}"
_ARRAYS = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(_INSERTED.values(), 1))
_FIELDS = ", ".join(f"{name}::json" if name in _IN_JSON else name for name in _INSERTED)
_INSERT_POSTGRES = f"{_INTO} SELECT {_FIELDS} FROM unnest({_ARRAYS}) AS new({', '.join(_INSERTED)}) {_ONCE}"
_DISPATCHED_SQLITE = "UPDATE events SET dispatched_at = ?, dispatch = ? WHERE id = ?"
_DISPATCHED_POSTGRES = (
    "UPDATE events SET dispatched_at = new.at, dispatch = new.outcomes::json "
    "FROM unnest($1::timestamptz[], $2::text[], $3::text[]) AS new(at, outcomes, of) WHERE events.id = new.of"
)

# Each event passes these: they are built once, because building costs more than running.
_ORG = sa.select(projects.c.org_id).where(projects.c.id == sa.bindparam("id"))
_BY_ID = Statement(sa.select(*_COLUMNS).where(events.c.id == sa.bindparam("id")))
#: In the order of `Event`'s fields; times come as text from SQLite.
_TAKEN = (
    "id", "org_id", "project_id", "connection_id", "trigger_id", "source_key", "event_type", "memo",
    "record_id", "traceparent", "dispatched_at", "dispatch", "created_at", "sealed_data", "created_by",
)  # fmt: skip
_FOUND = ", ".join(f"CAST({name} AS text)" if name in _IN_JSON else name for name in _TAKEN)
_TAKE = f"SELECT {_FOUND} FROM events WHERE dispatched_at IS NULL AND id"
_DEPLOYMENTS = (
    sa.select(deployments.c.id, deployments.c.build_id, builds.c.entrypoints, projects.c.max_concurrent)
    .join(builds, builds.c.id == deployments.c.build_id)
    .join(projects, projects.c.id == deployments.c.project_id)
    .where(deployments.c.project_id == sa.bindparam("project_id"))
    .limit(1)
)
_ACTIVE = Statement(_DEPLOYMENTS.where(deployments.c.state == "active"))
_NAMED = Statement(
    _DEPLOYMENTS.where(
        deployments.c.id == sa.bindparam("id"),
        sa.or_(deployments.c.state == "active", deployments.c.state == "testing"),
    )
)
# Where a trigger starts sessions, its filter says what starts one: a session that names its own filter waits
# for something else at the same address, which the trigger's would keep out. Elsewhere both must match.
_SUBSCRIPTIONS = (
    "SELECT s.id, s.session_id, s.project_id, coalesce(s.connection_id, t.connection_id), s.trigger_id, "
    "coalesce(t.event_type, ''), "
    "CASE WHEN t.call <> '' AND s.filter <> '' THEN '' ELSE coalesce(t.filter, '') END, s.filter "
    "FROM subscriptions s LEFT JOIN triggers t ON t.id = s.trigger_id WHERE s.project_id = ? ORDER BY s.id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedEvent:
    """An event that is ready to be stored.

    Attributes:
        outcomes: What became of it, where that is known already; `None` where it waits for dispatch.
    """

    id: EventId
    new: NewEvent
    sealed_data: bytes = field(repr=False)
    outcomes: Sequence[Mapping[str, str]] | None = None


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


def _now(tx: Tx) -> Any:
    """Return the time of the unit as the driver takes it."""
    return tx.now if driver.sqlite(tx) is None else driver.sqlite_time(tx.now)


def _row(event: SealedEvent, org_id: str, now: Any) -> tuple[Any, ...]:
    """Return the values of `_INSERTED`."""
    new, outcomes = event.new, event.outcomes
    return (
        event.id,
        org_id,
        new.project_id,
        new.connection_id,
        new.trigger_id,
        new.source_key,
        new.event_type,
        event.sealed_data,
        _JSON.encode(dict(new.memo)),
        new.record_id,
        new.traceparent,
        None if outcomes is None else now,
        _JSON.encode([*map(dict, outcomes)]) if outcomes else "[]",
        now,
        new.created_by,
    )


def insert(tx: Tx, new: Sequence[SealedEvent], orgs: Mapping[str, str]) -> set[EventId]:
    """Add events and return the ids of those that are new.

    One whose source key the project has already is left out; projects that are gone from `orgs` are skipped.
    """
    now = _now(tx)
    rows = [_row(event, orgs[event.new.project_id], now) for event in new if event.new.project_id in orgs]
    if not rows:
        return set()
    added = {EventId(row[0]) for row in rows}
    if driver.update(tx, _INSERT_SQLITE, _INSERT_POSTGRES, rows) < len(rows):
        added = _there(tx, sorted(added))
    for event_id in added:
        tx.notify("event", event_id)
    return added


def _there(tx: Tx, event_ids: Sequence[EventId]) -> set[EventId]:
    """Return those of these ids that events have."""
    found: set[EventId] = set()
    for chunk in _chunks(event_ids):
        query = f"SELECT id FROM events WHERE id IN ({driver.marks(len(chunk))})"
        found.update(row[0] for row in driver.rows(tx, query, chunk))
    return found


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
    row = _BY_ID.first(tx, id=event_id)
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
    if driver.sqlite(tx) is None:
        rows = driver.rows(tx, f"{_TAKE} = ANY(?::text[]) ORDER BY id FOR UPDATE", (list(event_ids),))
    else:
        rows = driver.rows(tx, f"{_TAKE} IN ({driver.marks(len(event_ids))}) ORDER BY id", event_ids)
    return [_taken(row) for row in rows]


def _taken(row: Sequence[Any]) -> Taken:
    values = dict(zip(_TAKEN, row, strict=True))
    sealed, created_by, created_at = map(values.pop, ("sealed_data", "created_by", "created_at"))
    event = Event(
        **values
        | {
            "memo": json.loads(values["memo"]),
            "dispatch": json.loads(values["dispatch"]),
            "created_at": driver.time_of(created_at),
        }
    )
    return Taken(event=event, sealed_data=sealed, created_by=created_by)


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
    now = _now(tx)
    rows = [(now, _JSON.encode([*map(dict, found)]), event_id) for event_id, found in outcomes.items()]
    driver.update(tx, _DISPATCHED_SQLITE, _DISPATCHED_POSTGRES, rows)
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
        row = _ACTIVE.first(tx, project_id=project_id)
    else:
        row = _NAMED.first(tx, project_id=project_id, id=deployment_id)
    if row is None:
        return None
    names = tuple(f"{item['file']}:{item['name']}" for item in row.entrypoints)
    return Target(
        deployment_id=row.id, build_id=row.build_id, entrypoints=names, max_concurrent=row.max_concurrent
    )


class Subscription(NamedTuple):
    """What a session has subscribed to; the trigger's own terms where it is to a trigger.

    Attributes:
        connection_id: Of the connection itself, or of the trigger.
        trigger_filter: Empty where the subscription's own filter stands in its place.
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
    return [Subscription(*row) for row in driver.rows(tx, _SUBSCRIPTIONS, (project_id,))]
