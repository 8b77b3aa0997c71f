"""Sessions and their journals; names that the server's engine and the workers share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from ninelives.run import semantics
from ninelives_server.ids import BuildId, DeploymentId, OrgId, ProjectId, SessionId

#: Version of the call table, the key and digest rules and the record format that new sessions begin with.
SEMANTICS = semantics.CURRENT
#: The versions whose sessions this release can go on with: those of the last 12 months.
CARRIED = semantics.CARRIED

#: Temporal task queues: workflows run in the server, the activity in workers.
WORKFLOW_QUEUE = "ninelives-workflows"
SESSION_QUEUE = "ninelives-sessions"
WORKFLOW_NAME = "SessionWorkflow"
ACTIVITY_NAME = "run_session"
WAKE_SIGNAL = "wake"
#: The name in the credential of an embedded Temporal's door, which asks for name and password (RFC 7617).
TEMPORAL_USER = "ninelives"


class SessionState(StrEnum):
    """`created`: waits for a slot; `waiting`: all its strands wait, parked or not."""

    CREATED = "created"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    ERROR = "error"
    STOPPED = "stopped"

    @property
    def is_terminal(self) -> bool:
        """Whether the session has ended, for good."""
        return self in {SessionState.COMPLETED, SessionState.ERROR, SessionState.STOPPED}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """What is needed to make a session row.

    Attributes:
        event_meta: `{event_id, event_type}` as user code sees them; both `None` for manual starts.
        data: `event.data`.
        is_queued: Whether it starts only when the limits of its trigger or project let it.
        queue_key: Digest of its key's value: of each, one at a time.
        first_id: The first of a row of restarts, where this is a successor.
    """

    id: str
    org_id: str
    project_id: str
    deployment_id: str | None
    build_id: str
    entrypoint: str
    is_durable: bool
    data: Mapping[str, object] = field(repr=False)
    event_meta: Mapping[str, str | None] = field(default_factory=dict)
    event_id: str | None = None
    trigger_id: str | None = None
    parent_id: str | None = None
    first_id: str | None = None
    record_id: str | None = None
    memo: Mapping[str, str] = field(default_factory=dict)
    traceparent: str | None = None
    created_by: str = "system"
    is_queued: bool = False
    queue_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One run of an entry point.

    Attributes:
        epoch: Of the latest attempt to run it; older ones are fenced off.
        worker_id: Who holds the epoch; `None` where no process runs.
        wake_at: When a parked session is due; `None` where only its inbox wakes it.
        admitted_at: When the limits let it start; `None` while it queues.
        queue_reason: Why its code does not run yet, for people.
        queue_position: Its place in its line, from 1; `None` where it does not queue, or was not asked for.
        first_id: Of the session that began a row of restarts; `None` for that one itself.
    """

    id: SessionId
    org_id: OrgId
    project_id: ProjectId
    deployment_id: DeploymentId | None
    build_id: BuildId
    event_id: str | None
    trigger_id: str | None
    parent_id: str | None
    first_id: str | None
    record_id: str | None
    entrypoint: str
    is_durable: bool
    state: SessionState
    state_since: datetime
    queue_reason: str
    memo: Mapping[str, str]
    traceparent: str | None
    epoch: int
    worker_id: str | None
    wake_at: datetime | None
    crashes: int
    stop_requested: Mapping[str, object] | None
    created_at: datetime
    created_by: str
    started_at: datetime | None
    ended_at: datetime | None
    admitted_at: datetime | None
    queue_position: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One record of a journal, as people see it.

    Attributes:
        preview: Bounded JSON: `{"args": …, "result": …}` or `{"error": …}`; secrets masked.
    """

    seq: int
    strand: str
    n: int
    kind: str
    name: str
    status: str
    attempt: int
    epoch: int
    started_at: datetime
    ended_at: datetime | None
    preview: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Print:
    """Something that user code printed or logged.

    Attributes:
        text: Exactly as printed.
        level: `print`, or a level of `logging`.
    """

    seq: int
    at: datetime
    text: str
    level: str
