"""What planning a deploy works on: what is wanted, what was found, and the plan that grows.

Its parts are made in `plan_variables`, `plan_connections` and `plan_triggers`, and put together in `plans`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ninelives_server.ids import BuildId, DeploymentId, ProjectId
from ninelives_server.integrations.registry import Registry
from ninelives_server.model.actors import Actor
from ninelives_server.projects.bundles import Bundle
from ninelives_server.projects.code import Code
from ninelives_server.projects.manifest import Manifest
from ninelives_server.store import audit
from ninelives_server.store.core import Tx
from ninelives_server.vault.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is deployed.

    Attributes:
        name: Of the project.
        manifest: `None` where only code is deployed, onto a project that is named.
        requirements: The resolved set; used where the build is new.
    """

    name: str
    manifest: Manifest | None
    bundle: Bundle
    code: Code
    requirements: Sequence[str]


@dataclass(slots=True)
class Plan:
    """Changes in their order, each with a sentence for people.

    Attributes:
        is_new_project: Whether the project is made by this plan.
        build_id: Of the build that is there afterwards.
        deployment_id: Of the deployment that is active afterwards; a new one is known once it is made.
    """

    project_id: ProjectId
    build_id: BuildId
    is_new_project: bool
    deployment_id: DeploymentId | None = None
    actions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    steps: list[Callable[[], None]] = field(default_factory=list)

    def add(self, sentence: str, step: Callable[[], None]) -> None:
        """Add a change."""
        self.actions.append(sentence)
        self.steps.append(step)

    def carry_out(self) -> None:
        """Do all of it, in the unit in which it was planned."""
        for step in self.steps:
            step()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One deploy under planning.

    Attributes:
        declared_before: Names of `vars` and `connections` in the manifest of the deploy before this one.
    """

    tx: Tx
    actor: Actor
    wanted: Wanted
    plan: Plan
    vault: Vault
    registry: Registry
    declared_before: Mapping[str, frozenset[str]]

    def record(self, action: str, target: str, details: Mapping[str, object] | None = None) -> None:
        """Write down a change of this project in the audit log."""
        project_id = self.plan.project_id
        audit.record(self.tx, self.actor, action, target, project_id=project_id, details=details)
