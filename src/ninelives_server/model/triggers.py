"""Triggers: what starts sessions."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ninelives_server.ids import ConnectionId, ProjectId, TriggerId


class TriggerType(StrEnum):
    """Where its events come from."""

    CONNECTION = "connection"
    WEBHOOK = "webhook"
    SCHEDULE = "schedule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """Connection event, webhook or schedule -> entry point.

    Attributes:
        event_type: Exact and case-sensitive; empty or `*` is any.
        filter: CEL over `data` and `event_type`; empty is true.
        call: `file.py:function`; empty where it only feeds subscriptions.
        slug: The unguessable part of a webhook's address.
        last_error: Of its filter, its entry point or its source; empty where all is well.
    """

    id: TriggerId
    project_id: ProjectId
    name: str
    type: TriggerType
    connection_id: ConnectionId | None
    event_type: str
    filter: str
    call: str
    schedule: str
    timezone: str
    slug: str | None
    is_durable: bool
    is_sync: bool
    options: Mapping[str, object]
    last_error: str
    last_error_at: datetime | None
    created_at: datetime
    created_by: str
