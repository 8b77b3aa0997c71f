"""The JSON documents of the API, made from the model. They only ever grow."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ninelives_server.model import connections, events, projects, sessions, triggers
from ninelives_server.projects.problems import Severity

D = TypeVar("D")


def _with_zone(value: datetime) -> datetime:
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


#: A time in a question; one without a zone is UTC, as all times of the API are.
Moment = Annotated[datetime, AfterValidator(_with_zone)]


class Document(BaseModel):
    """Base of all documents: read from a model object's attributes."""

    model_config = ConfigDict(from_attributes=True)


class Page(BaseModel, Generic[D]):
    """One page of a list; pass `next_cursor` as `cursor` to get the next one."""

    items: list[D]
    next_cursor: str | None = None


class ProjectDoc(Document):
    """A project; `retain_…` are days, 0 is for ever; `max_concurrent` 0 is any number of open sessions."""

    id: str
    org_id: str
    name: str
    display_name: str
    retain_sessions: int
    retain_events: int
    retain_logs: int
    max_concurrent: int = 0
    created_at: datetime
    created_by: str


class VariableDoc(Document):
    """A variable; `value` is null where it is secret."""

    name: str
    value: str | None
    is_secret: bool
    is_set: bool
    description: str
    updated_at: datetime


class EntrypointDoc(Document):
    """Something that a trigger may call."""

    file: str
    name: str
    line: int
    args: list[str]


class EnvironmentLogDoc(Document):
    """What uv said when a worker made a build's environment."""

    worker: str
    at: datetime
    text: str


class BuildDoc(Document):
    """A build; `requirements` is the resolved set, `environment_logs` only where one build is asked for."""

    id: str
    project_id: str
    sha256: str
    size_bytes: int
    entrypoints: list[EntrypointDoc]
    requirements: list[str]
    environment_logs: list[EnvironmentLogDoc] = []
    created_at: datetime
    created_by: str

    @classmethod
    def of(cls, build: projects.Build, logs: Sequence[projects.EnvironmentLog]) -> "BuildDoc":
        """Make the document of one build."""
        said = many(EnvironmentLogDoc, logs)
        return cls.model_validate(build).model_copy(update={"environment_logs": said})


class DeploymentDoc(Document):
    """A build in service."""

    id: str
    project_id: str
    build_id: str
    state: projects.DeploymentState
    state_since: datetime
    created_at: datetime
    created_by: str


class PartingDoc(Document):
    """A session that the new code would not go on with."""

    session_id: str
    entrypoint: str
    outcome: str = Field(
        description="`diverged`: the code does something else; `failed`: it comes to an error"
    )
    seq: int | None = Field(description="the record at which they part")
    recorded: str | None
    called: str | None
    file: str | None
    line: int | None
    message: str


class JournalCheckDoc(Document):
    """What came of trying the journals of sessions that run on code that is not deployed."""

    total: int = Field(description="durable sessions of the project that have begun and not ended")
    checked: int
    findings: list[PartingDoc]


class DeployDoc(Document):
    """What a deploy did."""

    project_id: str
    build_id: str | None
    deployment_id: str | None
    changed: bool
    actions: list[str]
    warnings: list[str]
    check: JournalCheckDoc | None = None


class FindingDoc(Document):
    """Something that is wrong or odd in a project's files; `line` is 0 where it concerns all of a file."""

    rule: str
    severity: Severity
    file: str
    line: int
    message: str


class AccountDoc(Document):
    """Who authorised a connection, as the provider names it."""

    org_id: str
    org_name: str
    user: str
    user_id: str
    instance_url: str
    scopes: list[str]


class ConnectionDoc(Document):
    """A connection; no secret is ever part of it, `secrets_set` names those that have a value."""

    id: str
    org_id: str
    project_id: str | None
    name: str
    integration: str
    auth_mode: str
    state: connections.ConnectionState
    state_since: datetime
    reason: str
    provider_reason: str
    settings: dict[str, str]
    secrets_set: list[str]
    account: AccountDoc | None
    last_checked_at: datetime | None
    last_refreshed_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime
    created_by: str

    @classmethod
    def of(cls, connection: connections.Connection) -> "ConnectionDoc":
        """Make the document of a connection."""
        account = connection.account
        return cls(
            **{
                name: getattr(connection, name)
                for name in cls.model_fields
                if name not in {"account", "secrets_set", "settings"}
            },
            settings=dict(connection.settings),
            secrets_set=sorted(connection.secrets_set),
            account=None if account is None else AccountDoc.model_validate(account),
        )


class ListeningDoc(Document):
    """How the stream behind a trigger fares."""

    since: datetime | None
    topic: str
    last_keepalive: datetime | None
    last_event: datetime | None
    state: str
    reason: str


class TriggerDoc(Document):
    """A trigger."""

    id: str
    project_id: str
    name: str
    type: triggers.TriggerType
    connection_id: str | None
    event_type: str
    filter: str
    call: str
    schedule: str
    timezone: str
    is_durable: bool
    is_sync: bool
    webhook_url: str | None = None
    next_at: datetime | None = None
    last_error: str = ""
    last_error_at: datetime | None = None
    max_concurrent: int | None = None
    key: str = ""
    overlap: triggers.Overlap = triggers.Overlap.ALLOW
    catch_up: triggers.CatchUp = triggers.CatchUp.LAST
    auth: dict[str, str] | None = Field(default=None, description="as in the manifest; never a secret")
    listening: ListeningDoc | None = None
    created_at: datetime
    created_by: str

    @classmethod
    def of(cls, trigger: triggers.Trigger, status: Any) -> "TriggerDoc":
        """Make the document of a trigger and its status (`events.service.TriggerStatus`)."""
        own = {
            name: getattr(trigger, name)
            for name in cls.model_fields
            if name not in {"webhook_url", "next_at", "listening", "last_error"}
        }
        listening = status.listening
        return cls(
            **own,
            webhook_url=status.webhook_url,
            next_at=status.next_at,
            last_error=status.last_error,
            listening=None if listening is None else ListeningDoc.model_validate(listening),
        )


class EventDoc(Document):
    """An event; `data` only where one event is asked for."""

    id: str
    project_id: str
    connection_id: str | None
    trigger_id: str | None
    event_type: str
    memo: dict[str, str]
    record_id: str | None
    traceparent: str | None
    dispatched_at: datetime | None
    dispatch: list[dict[str, Any]]
    created_at: datetime
    data: dict[str, Any] | None = None

    @classmethod
    def of(cls, event: events.Event, data: Any = None) -> "EventDoc":
        """Make the document of an event."""
        own = {n: getattr(event, n) for n in cls.model_fields if n not in {"data", "memo", "dispatch"}}
        return cls(**own, memo=dict(event.memo), dispatch=[dict(item) for item in event.dispatch], data=data)


class SessionDoc(Document):
    """A session; `result` and `error` only where one session is asked for."""

    id: str
    org_id: str
    project_id: str
    deployment_id: str | None
    build_id: str
    event_id: str | None
    trigger_id: str | None
    parent_id: str | None
    record_id: str | None
    entrypoint: str
    is_durable: bool
    state: sessions.SessionState
    state_since: datetime
    queue_reason: str
    queue_position: int | None = None
    environment_log: str = Field(
        default="",
        description="what uv said when the environment was made for this session; empty where it was there",
    )
    memo: dict[str, str]
    traceparent: str | None
    epoch: int
    worker_id: str | None
    wake_at: datetime | None
    created_at: datetime
    created_by: str
    started_at: datetime | None
    ended_at: datetime | None
    stop_reason: str | None = Field(
        default=None, description="why it was asked to stop; empty where nobody said, null where nobody asked"
    )
    result: Any = None
    error: dict[str, Any] | None = Field(default=None, description="{type, message, traceback, seq} or null")

    @classmethod
    def of(
        cls,
        session: sessions.Session,
        *,
        result: Any = None,
        error: dict[str, Any] | None = None,
        environment_log: str = "",
    ) -> "SessionDoc":
        """Make the document of a session."""
        more = {"result", "error", "memo", "environment_log", "stop_reason"}
        own = {n: getattr(session, n) for n in cls.model_fields if n not in more}
        asked = session.stop_requested
        return cls(
            **own,
            memo=dict(session.memo),
            stop_reason=None if asked is None else str(asked.get("reason") or ""),
            result=result,
            error=error,
            environment_log=environment_log,
        )


class WorkerDoc(Document):
    """A worker that is there now."""

    id: str
    name: str
    slots: int = Field(description="sessions that it runs at most")
    used: int = Field(description="sessions that it runs now")
    python: str
    isolation: str = Field(description="`mount_namespace`, `landlock` or `none`")
    release: str = Field(description="the version of its Ninelives; empty where it did not say")
    connected_at: datetime
    seen_at: datetime


class StepDoc(Document):
    """One record of a journal."""

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
    preview: Any


class PrintDoc(Document):
    """Something that user code printed or logged."""

    seq: int
    at: datetime
    text: str
    level: str


class StoreKeyDoc(Document):
    """A key of a project's store; `url` is where everybody may read its value, if it is published."""

    key: str
    is_published: bool
    url: str | None
    updated_at: datetime


class StoreValueDoc(StoreKeyDoc):
    """A key with its value."""

    value: Any = Field(repr=False)


def many(kind: type[D], things: Sequence[Any]) -> list[D]:
    """Make documents of things that need no more than their attributes."""
    return [kind.model_validate(thing) for thing in things]  # type: ignore[attr-defined]
