"""Streams: who reads which topic, how far they are, and how they fare.

A lease says which server reads. It is taken and renewed by the database's clock, and each taking raises the
fence: whoever writes with an older fence changes nothing and is told so.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa

from ninelives_server import ids
from ninelives_server.errors import Conflict
from ninelives_server.ids import OrgId
from ninelives_server.model.events import Stream
from ninelives_server.store import driver
from ninelives_server.store.core import Tx
from ninelives_server.store.tables import (
    connections,
    deployments,
    projects,
    streams,
    subscriptions,
    triggers,
)

#: Gaps that are kept with a stream; older ones go.
GAPS_KEPT = 50

_PLAIN = (
    "id",
    "integration",
    "account_key",
    "topic",
    "cursor",
    "cursor_at",
    "state",
    "reason",
    "listening_since",
    "last_keepalive_at",
    "last_event_at",
    "fence",
)


class LeaseLost(Conflict):
    """Another server reads this stream now; nothing of the unit is kept."""

    code = "lease_lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamKey:
    """What makes a stream: one reader each."""

    org_id: str
    integration: str
    account_key: str
    topic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CursorSave:
    """How far a reader has come, saved with the events that the cursor covers.

    Attributes:
        fence: Of the reader's lease.
        events: How many events the stream delivered up to here; none means a keepalive.
    """

    stream_id: str
    fence: int
    cursor: bytes
    events: int


def _stream(row: sa.Row[Any]) -> Stream:
    return Stream(
        org_id=OrgId(row.org_id), gaps=list(row.gaps), **{name: getattr(row, name) for name in _PLAIN}
    )


def _is(key: StreamKey) -> sa.ColumnElement[bool]:
    return sa.and_(
        streams.c.org_id == key.org_id,
        streams.c.integration == key.integration,
        streams.c.account_key == key.account_key,
        streams.c.topic == key.topic,
    )


def ensure(tx: Tx, key: StreamKey) -> Stream:
    """Return the stream with this key; make it where there is none."""
    row = tx.connection.execute(sa.select(streams).where(_is(key))).one_or_none()
    if row is not None:
        return _stream(row)
    tx.connection.execute(
        streams.insert().values(
            id=ids.new("str"),
            org_id=key.org_id,
            integration=key.integration,
            account_key=key.account_key,
            topic=key.topic,
            state="starting",
            reason="",
            gaps=[],
            fence=0,
            created_at=tx.now,
        )
    )
    return _stream(tx.connection.execute(sa.select(streams).where(_is(key))).one())


def of_account(tx: Tx, org_id: str, integration: str, account_key: str) -> list[Stream]:
    """Return the streams of one account inside one org."""
    query = sa.select(streams).where(
        streams.c.org_id == org_id,
        streams.c.integration == integration,
        streams.c.account_key == account_key,
    )
    return [_stream(row) for row in tx.connection.execute(query.order_by(streams.c.topic))]


def by_id(tx: Tx, stream_id: str) -> Stream | None:
    """Return a stream."""
    row = tx.connection.execute(sa.select(streams).where(streams.c.id == stream_id)).one_or_none()
    return None if row is None else _stream(row)


def lease(tx: Tx, stream_id: str, owner: str, ttl: timedelta) -> Stream | None:
    """Take the lease of a stream and return it with its new fence; `None` where another holds it."""
    taken = tx.connection.execute(
        streams.update()
        .where(streams.c.id == stream_id, _is_free(tx))
        .values(lease_owner=owner, lease_until=tx.now + ttl, fence=streams.c.fence + 1)
    )
    return by_id(tx, stream_id) if taken.rowcount else None


def renew(tx: Tx, held: Mapping[str, int], owner: str, ttl: timedelta) -> set[str]:
    """Lengthen leases, given as stream id and fence; return the ids of those that are still held."""
    kept = set()
    for stream_id, fence in held.items():
        done = tx.connection.execute(
            streams.update()
            .where(streams.c.id == stream_id, streams.c.fence == fence, streams.c.lease_owner == owner)
            .values(lease_until=tx.now + ttl)
        )
        if done.rowcount:
            kept.add(stream_id)
    return kept


def release(tx: Tx, stream_id: str, fence: int) -> None:
    """Give a lease back, so that another server need not wait until it ends."""
    was_listening = streams.c.state == "listening"
    tx.connection.execute(
        streams.update()
        .where(streams.c.id == stream_id, streams.c.fence == fence)
        .values(
            lease_owner=None,
            lease_until=None,
            state=sa.case((was_listening, "paused"), else_=streams.c.state),
            listening_since=None,
        )
    )
    tx.notify("stream", stream_id)


def _fenced(tx: Tx, stream_id: str, fence: int, values: Mapping[str, Any]) -> None:
    done = tx.connection.execute(
        streams.update().where(streams.c.id == stream_id, streams.c.fence == fence).values(**values)
    )
    if not done.rowcount:
        raise _lost(stream_id)


def _lost(stream_id: str) -> LeaseLost:
    return LeaseLost(f"stream {stream_id} is read by another server now")


# Each batch passes these.
_SAVE_SQLITE = "UPDATE streams SET cursor = ?, cursor_at = ?, {} = ? WHERE id = ? AND fence = ?"
_SAVE_POSTGRES = (
    "UPDATE streams SET cursor = new.cursor, cursor_at = new.at, {} = new.seen FROM unnest($1::bytea[], "
    "$2::timestamptz[], $3::timestamptz[], $4::text[], $5::int[]) AS new(cursor, at, seen, of, fence) "
    "WHERE streams.id = new.of AND streams.fence = new.fence"
)


def save_cursor(tx: Tx, save: CursorSave) -> None:
    """Save how far the reader is; it also says that the stream is alive.

    Raises:
        LeaseLost: The fence is not the newest.
    """
    seen = "last_event_at" if save.events else "last_keepalive_at"
    now = tx.now if driver.sqlite(tx) is None else driver.sqlite_time(tx.now)
    values = (save.cursor, now, now, save.stream_id, save.fence)
    if not driver.update(tx, _SAVE_SQLITE.format(seen), _SAVE_POSTGRES.format(seen), [values]):
        raise _lost(save.stream_id)
    tx.notify("stream", save.stream_id)


def set_state(tx: Tx, stream_id: str, fence: int, state: str, reason: str = "") -> None:
    """Write down how the stream fares; `listening_since` is when it began to listen without a break.

    Raises:
        LeaseLost: The fence is not the newest.
    """
    since: Any = None
    if state == "listening":
        since = sa.case(
            (streams.c.state == "listening", sa.func.coalesce(streams.c.listening_since, tx.now)),
            else_=sa.literal(tx.now, streams.c.listening_since.type),
        )
    _fenced(tx, stream_id, fence, {"state": state, "reason": reason, "listening_since": since})
    tx.notify("stream", stream_id)


def add_gap(tx: Tx, stream_id: str, fence: int, gap: Mapping[str, str]) -> None:
    """Record that events are missing: `{from, to, reason}`.

    Raises:
        LeaseLost: The fence is not the newest.
    """
    stream = by_id(tx, stream_id)
    kept = [*(stream.gaps if stream else ()), dict(gap)][-GAPS_KEPT:]
    _fenced(tx, stream_id, fence, {"gaps": kept})
    tx.notify("stream", stream_id)


def forget_cursor(tx: Tx, stream_id: str, fence: int) -> None:
    """Forget how far the reader was: it begins with what happens from now on.

    Raises:
        LeaseLost: The fence is not the newest.
    """
    _fenced(tx, stream_id, fence, {"cursor": None, "cursor_at": None})


def note(tx: Tx, key: StreamKey, state: str, reason: str) -> None:
    """Write down why a stream that nobody reads is not read."""
    stream = ensure(tx, key)
    if (stream.state, stream.reason) == (state, reason):
        return
    tx.connection.execute(
        streams.update()
        .where(streams.c.id == stream.id, _is_free(tx))
        .values(state=state, reason=reason, listening_since=None)
    )
    tx.notify("stream", stream.id)


def rest(tx: Tx, wanted: Collection[StreamKey], waiting: Collection[tuple[str, str, str]]) -> None:
    """Mark streams as idle that nobody reads, that are not wanted, and whose account is not waited for.

    `waiting` has the org, integration and account key of connections that somebody has to put right.
    """
    for row in tx.connection.execute(sa.select(streams).where(streams.c.state != "idle", _is_free(tx))).all():
        account = (row.org_id, row.integration, row.account_key)
        if account in waiting or StreamKey(**_key(row)) in wanted:
            continue
        tx.connection.execute(
            streams.update()
            .where(streams.c.id == row.id, _is_free(tx))
            .values(state="idle", reason="", listening_since=None)
        )
        tx.notify("stream", row.id)


def _is_free(tx: Tx) -> sa.ColumnElement[bool]:
    return sa.or_(streams.c.lease_until.is_(None), streams.c.lease_until < tx.now)


def _key(row: sa.Row[Any]) -> dict[str, str]:
    return {name: getattr(row, name) for name in ("org_id", "integration", "account_key", "topic")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A trigger of a deployed project that wants the events of an account.

    Attributes:
        trigger_id: `None` where it is a session that has subscribed to all that the connection sends.
    """

    org_id: str
    project_id: str
    trigger_id: str | None
    connection_id: str
    connection_state: str
    integration: str
    account_key: str
    event_type: str


def wishes(tx: Tx, key: StreamKey | None = None) -> list[Wish]:
    """Return what projects want to hear, of all accounts or of exactly that of a stream.

    A trigger and its connection are of the same org, and of the same project where the connection has one.
    """
    values = {} if key is None else {"of": key.org_id, "kind": key.integration, "account": key.account_key}
    return [
        Wish(**row)
        for query in _wishes(of_account=key is not None)
        for row in tx.connection.execute(query, values).mappings()
    ]


@cache
def _wishes(*, of_account: bool) -> list[sa.Select[Any]]:
    """Return what `wishes` asks, for each batch of a stream: to build it takes longer than to run it."""
    return [_of_account(query) if of_account else query for query in (_by_triggers(), _by_subscriptions())]


def _by_triggers() -> sa.Select[Any]:
    return (
        sa.select(
            connections.c.org_id,
            triggers.c.project_id,
            triggers.c.id.label("trigger_id"),
            triggers.c.connection_id,
            connections.c.state.label("connection_state"),
            connections.c.integration,
            connections.c.account_key,
            triggers.c.event_type,
        )
        .join(connections, connections.c.id == triggers.c.connection_id)
        .join(projects, projects.c.id == triggers.c.project_id)
        .where(
            triggers.c.type == "connection",
            projects.c.org_id == connections.c.org_id,
            sa.or_(connections.c.project_id.is_(None), connections.c.project_id == triggers.c.project_id),
            connections.c.account_key.is_not(None),
            sa.exists().where(
                deployments.c.project_id == triggers.c.project_id, deployments.c.state == "active"
            ),
        )
        .order_by(triggers.c.id)
    )


def _by_subscriptions() -> sa.Select[Any]:
    """Select the connections that open sessions have subscribed to, each once for a project."""
    return (
        sa.select(
            connections.c.org_id,
            subscriptions.c.project_id,
            sa.null().label("trigger_id"),
            subscriptions.c.connection_id,
            connections.c.state.label("connection_state"),
            connections.c.integration,
            connections.c.account_key,
            sa.literal("").label("event_type"),
        )
        .distinct()
        .join(connections, connections.c.id == subscriptions.c.connection_id)
        .where(connections.c.account_key.is_not(None))
        .order_by(subscriptions.c.connection_id, subscriptions.c.project_id)
    )


def _of_account(query: sa.Select[Any]) -> sa.Select[Any]:
    return query.where(
        connections.c.org_id == sa.bindparam("of"),
        connections.c.integration == sa.bindparam("kind"),
        connections.c.account_key == sa.bindparam("account"),
    )
