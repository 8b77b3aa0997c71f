"""Events: things that happened, each stored once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ninelives_server.ids import EventId, OrgId, ProjectId

#: Levels of lists and objects in each other, in JSON from outside: what is nested more deeply could be
#: stored, and broke whoever reads it later.
DEEPEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event that has not been stored yet.

    Attributes:
        source_key: Unique within the project: the same key again is the same event.
        data: JSON-able; what `event.data` shows to user code.
        memo: Small facts that are no secret, for people and searches.
        record_id: The provider's id of the record that it is about.
    """

    project_id: str
    connection_id: str | None = None
    trigger_id: str | None = None
    source_key: str
    event_type: str
    data: Mapping[str, object] = field(repr=False)
    memo: Mapping[str, str] = field(default_factory=dict)
    record_id: str | None = None
    traceparent: str | None = None
    created_by: str = "system"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A stored event, without its data (which is sealed; see `events.service`).

    Attributes:
        dispatch: What became of it: `{trigger_id, outcome, session_id | error}` for each trigger
            that was looked at.
    """

    id: EventId
    org_id: OrgId
    project_id: ProjectId
    connection_id: str | None
    trigger_id: str | None
    source_key: str
    event_type: str
    memo: Mapping[str, str]
    record_id: str | None
    traceparent: str | None
    dispatched_at: datetime | None
    dispatch: Sequence[Mapping[str, str]]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A reader of one topic for one account, and how it fares."""

    id: str
    org_id: OrgId
    integration: str
    account_key: str
    topic: str
    cursor: bytes | None
    cursor_at: datetime | None
    state: str
    reason: str
    listening_since: datetime | None
    last_keepalive_at: datetime | None
    last_event_at: datetime | None
    gaps: Sequence[Mapping[str, str]]
    fence: int
