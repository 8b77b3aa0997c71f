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


class Overlap(StrEnum):
    """What an event does while earlier sessions of its trigger have not ended."""

    ALLOW = "allow"
    SKIP = "skip"
    QUEUE_ONE = "queue one"


class CatchUp(StrEnum):
    """Which times of a schedule that nobody could run are made up for."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """Connection event, webhook or schedule -> entry point.

    Attributes:
        event_type: Exact and case-sensitive; empty or `*` is any.
        filter: CEL over `data` and `event_type`; empty is true.
        call: `file.py:function`; empty where it only feeds subscriptions.
        slug: The unguessable part of a webhook's address.
        options: What only some triggers have: `max_concurrent`, `key`, `overlap`, `catch_up`, `auth`.
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

    @property
    def overlap(self) -> Overlap:
        """What happens while earlier sessions have not ended."""
        return Overlap(str(self.options.get("overlap", Overlap.ALLOW)))

    @property
    def catch_up(self) -> CatchUp:
        """What happens with times of its schedule that were missed."""
        return CatchUp(str(self.options.get("catch_up", CatchUp.LAST)))

    @property
    def max_concurrent(self) -> int | None:
        """Sessions of it that may be open at once; `None` is any number."""
        given = self.options.get("max_concurrent")
        limit = given if isinstance(given, int) else None
        return 1 if self.overlap is Overlap.QUEUE_ONE else limit

    @property
    def key(self) -> str:
        """CEL expression; sessions of equal value run one after the other. Empty is none."""
        return str(self.options.get("key", ""))

    @property
    def auth(self) -> Mapping[str, str] | None:
        """How its webhook tells whether a request may come in, in the manifest's terms; no secret."""
        given = self.options.get("auth")
        return {str(k): str(v) for k, v in given.items()} if isinstance(given, Mapping) else None
