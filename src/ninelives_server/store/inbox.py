"""What a session has not read yet, and what of it a parked session waits for.

A topic is what items are told apart by: the id of a subscription, or `signal:` and the signal's name. An
item whose topic a parked session awaits starts it; others wait until it reads them.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from ninelives_server import ids
from ninelives_server.store import sessions, tables
from ninelives_server.store.core import Tx

#: Everything: what a parked session waits for that does not say what it waits for.
ANY = "*"

_inbox, _awaited = tables.inbox.c, tables.awaited.c
_ORDER = (_inbox.n, _inbox.created_at, _inbox.id)
_is_awaited = sa.and_(_awaited.session_id == _inbox.session_id, _awaited.topic.in_((_inbox.topic, ANY)))

# Each event passes these: they are built once, because building costs more than running.
_LAST = sa.func.coalesce(sa.func.max(_inbox.n), 0) + 1
_FIRST = sa.func.coalesce(sa.func.min(_inbox.n), 0) - 1
_INSERT, _INSERT_FIRST = (
    sa.insert(tables.inbox).values(
        n=sa.select(place).where(_inbox.session_id == sa.bindparam("of")).scalar_subquery()
    )
    for place in (_LAST, _FIRST)
)
_AWAITS = sa.select(sa.literal(1)).where(
    _awaited.session_id == sa.bindparam("of"), _awaited.topic.in_((sa.bindparam("topic"), ANY))
)


class Item(NamedTuple):
    """One unread event or signal; `sealed_payload` under the context of `context`."""

    id: str
    session_id: str
    topic: str
    kind: str
    name: str
    event_id: str | None
    sealed_payload: bytes | None
    created_at: datetime


def new_id() -> str:
    """Return an id for an item, needed before it can be sealed."""
    return ids.new("inb")


def context(item_id: str) -> str:
    """Return the context under which an item's payload is sealed."""
    return f"inbox:{item_id}:sealed_payload"


def signal_topic(name: str) -> str:
    """Return the topic of signals of this name."""
    return f"signal:{name}"


def put(
    tx: Tx,
    item_id: str,
    session_id: str,
    *,
    kind: str,
    name: str,
    topic: str | None = None,
    event_id: str | None = None,
    sealed_payload: bytes | None = None,
) -> None:
    """Add an item, and tell the session: a parked one that awaits it is started, once per park."""
    session_id = _receiver(tx, session_id)
    topic = topic or f"{kind}:{name}"
    item = Item(item_id, session_id, topic, kind, name, event_id, sealed_payload, tx.now)
    tx.connection.execute(_INSERT, {**item._asdict(), "of": session_id})
    awaits = tx.connection.execute(_AWAITS, {"of": session_id, "topic": topic}).first() is not None
    if awaits and sessions.wake(tx, session_id):
        tx.notify("work", session_id)
    else:
        # One that waits in place asks again.
        tx.notify("mail", session_id)


def _receiver(tx: Tx, session_id: str) -> str:
    """Return who gets what is meant for a session: its successor where it was restarted just now.

    On PostgreSQL that may happen between the question who is to get it and here; SQLite has one writer.
    """
    if tx.connection.dialect.name == "sqlite":
        return session_id
    while True:
        session = sessions.by_id(tx, session_id, lock=True)
        if session is None or not session.state.is_terminal:
            return session_id
        newest = sessions.newest(tx, session_id)
        if newest is None or newest.id == session_id:
            return session_id
        session_id = newest.id


def put_back(
    tx: Tx,
    item_id: str,
    session_id: str,
    *,
    kind: str,
    name: str,
    topic: str,
    event_id: str | None = None,
    sealed_payload: bytes | None = None,
) -> None:
    """Add an item before all others, and tell the session."""
    item = Item(item_id, session_id, topic, kind, name, event_id, sealed_payload, tx.now)
    tx.connection.execute(_INSERT_FIRST, {**item._asdict(), "of": session_id})
    tx.notify("mail", session_id)


def has_unread(tx: Tx, session_id: str, topics: Iterable[str] | None = None) -> bool:
    """Tell whether something on these topics (`None`: on any) waits for a session."""
    query = sa.select(sa.literal(1)).where(_inbox.session_id == session_id).limit(1)
    if topics is not None:
        query = query.where(_inbox.topic.in_(list(topics)))
    return tx.connection.execute(query).first() is not None


def unread(tx: Tx, session_id: str) -> list[Item]:
    """Return what waits for a session, in order of arrival."""
    query = sa.select(*(_inbox[name] for name in Item._fields)).where(_inbox.session_id == session_id)
    return [Item(*row) for row in tx.connection.execute(query.order_by(*_ORDER))]


def with_mail(tx: Tx, session_ids: Sequence[str]) -> list[str]:
    """Return those of the sessions for which something waits."""
    query = sa.select(_inbox.session_id).where(_inbox.session_id.in_(session_ids)).distinct()
    return list(tx.connection.execute(query).scalars())


def first(tx: Tx, session_id: str, topics: Sequence[str]) -> Item | None:
    """Return the oldest item on these topics."""
    query = (
        sa.select(*(_inbox[name] for name in Item._fields))
        .where(_inbox.session_id == session_id, _inbox.topic.in_(topics))
        .order_by(*_ORDER)
        .limit(1)
    )
    row = tx.connection.execute(query).first()
    return None if row is None else Item(*row)


def remove(tx: Tx, item_id: str) -> None:
    """Take an item out, in the transaction that records that the session has it."""
    tx.connection.execute(sa.delete(tables.inbox).where(_inbox.id == item_id))


def remove_topic(tx: Tx, session_id: str, topic: str) -> None:
    """Take out everything on one topic that a session has not read."""
    tx.connection.execute(
        sa.delete(tables.inbox).where(_inbox.session_id == session_id, _inbox.topic == topic)
    )


def await_only(tx: Tx, session_id: str, topics: Iterable[str] | None) -> None:
    """Write down what a session that parks waits for; `None` is everything."""
    tx.connection.execute(sa.delete(tables.awaited).where(_awaited.session_id == session_id))
    wanted = {ANY} if topics is None else set(topics)
    if wanted:
        rows = [{"session_id": session_id, "topic": topic} for topic in sorted(wanted)]
        tx.connection.execute(sa.insert(tables.awaited), rows)


def is_awaited(tx: Tx, session_id: str) -> bool:
    """Tell whether something that a parked session waits for is there."""
    query = sa.select(sa.literal(1)).where(_inbox.session_id == session_id, _is_awaited).limit(1)
    return tx.connection.execute(query).first() is not None


def hand_over(tx: Tx, session_id: str, successor_id: str) -> None:
    """Give what a session has not read, and its subscriptions, to its successor."""
    subscriptions = tables.subscriptions
    for table in (tables.inbox, subscriptions):
        tx.connection.execute(
            sa.update(table).where(table.c.session_id == session_id).values(session_id=successor_id)
        )
