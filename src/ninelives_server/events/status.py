"""How a trigger fares, for people: read from the rows that readers and dispatch write."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ninelives_server.integrations.registry import Registry
from ninelives_server.model.connections import Connection, ConnectionState
from ninelives_server.model.events import Stream
from ninelives_server.model.triggers import Trigger
from ninelives_server.store import connections, events, streams
from ninelives_server.store.core import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """How the stream behind a trigger fares.

    Attributes:
        since: When it began to listen without a break; `None` while it does not.
        state: `starting`, `listening`, `failing` (tried again by itself), `refused` (somebody has to act),
            `paused`, `idle` (nobody wants it), `not_connected`.
        reason: What is wrong, as a sentence; empty where nothing is.
    """

    since: datetime | None
    topic: str
    last_keepalive: datetime | None
    last_event: datetime | None
    state: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerStatus:
    """How a trigger fares.

    Attributes:
        next_at: When its schedule is due.
        last_error: Of its filter, its entry point or its stream; empty where all is well.
    """

    webhook_url: str | None
    next_at: datetime | None
    last_error: str
    listening: Listening | None


def listening_of(tx: Tx, registry: Registry, trigger: Trigger) -> Listening | None:
    """Return how a trigger's stream fares; `None` for triggers that have none."""
    if trigger.connection_id is None:
        return None
    connection = connections.by_id(tx, trigger.connection_id)
    if connection is None:
        return None
    source = registry.source(connection.integration)
    if source is None:
        return None
    hint = source.topic_hint(trigger.event_type)
    obstacle = _obstacle(tx, trigger, connection)
    if connection.account_key is None:
        return _silent(hint, obstacle)
    found = streams.of_account(tx, connection.org_id, connection.integration, connection.account_key)
    stream = _best([s for s in found if s.topic.lower() == hint.lower()])
    if stream is None:
        return _silent(hint, obstacle or ("starting", ""))
    state, reason = obstacle or (stream.state, stream.reason)
    return Listening(
        since=None if obstacle else stream.listening_since,
        topic=stream.topic,
        last_keepalive=stream.last_keepalive_at,
        last_event=stream.last_event_at,
        state=state,
        reason=reason,
    )


def _obstacle(tx: Tx, trigger: Trigger, connection: Connection) -> tuple[str, str] | None:
    """Return the state and reason that come from outside the stream."""
    if connection.state not in {ConnectionState.OK, ConnectionState.DEGRADED} or not connection.account_key:
        way_out = connection.reason or f"run `ninelives connection init {connection.id}`"
        return "not_connected", f"connection {connection.name!r} is {connection.state}: {way_out}"
    if events.target(tx, trigger.project_id) is None:
        return "idle", "the project has no active deployment"
    return None


def _best(found: Sequence[Stream]) -> Stream | None:
    """Prefer the stream that was read over the trace of an attempt to find its topic."""
    return max(found, key=lambda stream: (stream.state != "idle", stream.fence), default=None)


def _silent(topic: str, why: tuple[str, str] | None) -> Listening:
    state, reason = why or ("starting", "")
    return Listening(
        since=None, topic=topic, last_keepalive=None, last_event=None, state=state, reason=reason
    )
