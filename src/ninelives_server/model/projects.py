"""Projects, variables, builds and deployments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from ninelives_server.ids import BuildId, DeploymentId, OrgId, ProjectId


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Manifest, code, variables, connections and triggers under one name.

    Attributes:
        retain_sessions: Days that finished sessions are kept; 0 is for ever. So for events and logs.
        max_concurrent: Sessions that may be open at once, those that wait included; 0 is any number.
    """

    id: ProjectId
    org_id: OrgId
    name: str
    display_name: str
    retain_sessions: int
    retain_events: int
    retain_logs: int
    max_concurrent: int
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A name and value that sessions find in their environment.

    Attributes:
        value: `None` for a secret read for people: secrets are write-only.
        is_set: Whether there is a value that is not empty.
    """

    project_id: ProjectId
    name: str
    value: str | None = field(repr=False)
    is_secret: bool
    is_set: bool
    description: str
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint:
    """A top-level function or class of a build that a trigger may call.

    Attributes:
        file: Path inside the build, with `/`.
        args: Names of its positional parameters.
    """

    file: str
    name: str
    line: int
    args: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """An immutable code bundle.

    Attributes:
        sha256: Of its content, in hex: the same files give the same build; and of the libraries that this
            server adds, where an earlier release had built them without.
        requirements: The resolved set, pinned, one requirement a line; empty for none.
        manifest: The manifest as read, for people; `None` where the project has none.
    """

    id: BuildId
    project_id: ProjectId
    sha256: str
    size_bytes: int
    entrypoints: tuple[Entrypoint, ...]
    requirements: tuple[str, ...]
    manifest: Mapping[str, object] | None
    created_at: datetime
    created_by: str


class EnvironmentLog(NamedTuple):
    """What uv said when a worker made a build's environment.

    Attributes:
        worker: Its name.
        at: When it said the last of it.
        text: The newest 64,000 characters, without credentials.
    """

    worker: str
    at: datetime
    text: str


class DeploymentState(StrEnum):
    """`active`: gets new sessions; `draining`: finishes those it has."""

    INACTIVE = "inactive"
    ACTIVE = "active"
    DRAINING = "draining"
    TESTING = "testing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A build in service."""

    id: DeploymentId
    project_id: ProjectId
    build_id: BuildId
    state: DeploymentState
    state_since: datetime
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Code that may be deployed next; nothing of it is stored.

    Attributes:
        project_id: `None` where a deploy would make the project.
        bundle: As builds are kept, a `.tar.gz`.
    """

    project_id: ProjectId | None
    sha256: str
    bundle: bytes = field(repr=False)
    requirements: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployResult:
    """What `deploy` did.

    Attributes:
        changed: Whether anything is different from before.
        actions: One sentence for each change, in order, for people.
        warnings: What the deployer should know.
    """

    project_id: ProjectId
    build_id: BuildId | None
    deployment_id: DeploymentId | None
    changed: bool
    actions: Sequence[str]
    warnings: Sequence[str] = ()
