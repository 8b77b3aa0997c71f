"""Projects: made by hand or by a deploy, with their variables, builds, deployments and triggers.

Connections have a service of their own; what a trigger listens to and when it runs next is known to `events`.
"""

import asyncio
import builtins
from collections.abc import Sequence
from typing import Protocol

from ninelives_server import ids, log
from ninelives_server.errors import Conflict, Invalid, NinelivesError, NotFound
from ninelives_server.ids import ProjectId
from ninelives_server.integrations.registry import Registry
from ninelives_server.model.actors import Actor, Role
from ninelives_server.model.connections import ConnectionState
from ninelives_server.model.projects import (
    Build,
    Candidate,
    Deployment,
    DeploymentState,
    DeployResult,
    EnvironmentLog,
    Project,
    Variable,
)
from ninelives_server.model.triggers import Trigger
from ninelives_server.projects import activation, exports, find, trigger_limits, variables
from ninelives_server.projects.checks import FilterCheck
from ninelives_server.projects.deploys import Deploys
from ninelives_server.projects.plans import part_context
from ninelives_server.projects.problems import Finding
from ninelives_server.projects.requirements import Resolver, Tell, unheard
from ninelives_server.projects.trigger_limits import TriggerLimits
from ninelives_server.settings import RetentionSettings
from ninelives_server.store import audit, builds, connections, projects, triggers
from ninelives_server.store.core import Store, Tx
from ninelives_server.vault.vault import Vault

logger = log.get(__name__)

_DAYS = range(36501)
_CONCURRENT = range(100_001)


class Grants(Protocol):
    """Ends grants at their providers (`connections.service`)."""

    async def disconnect(self, actor: Actor, ref: str) -> object:
        """Revoke what a connection was given, and report how that went."""
        ...


class Projects:
    """The projects of an org, as far as the actor may see them."""

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        registry: Registry,
        filters: FilterCheck,
        resolver: Resolver,
        grants: Grants,
        retention: RetentionSettings | None = None,
        unreachable: str = "",
    ) -> None:
        """Put the service together.

        Args:
            store: The database.
            vault: Seals what projects keep secret.
            registry: The integrations.
            filters: Knows the language of filters.
            resolver: Finds exact packages.
            grants: Ends grants at their providers.
            retention: For new projects; 30 days of everything where it is not given.
            unreachable: Why webhooks cannot be called from outside; empty where they can.
        """
        self._filters = filters
        self._store = store
        self._vault = vault
        self._registry = registry
        self._grants = grants
        self._days = retention or RetentionSettings(sessions=30, events=30, logs=30)
        self._deploys = Deploys(
            store=store,
            vault=vault,
            registry=registry,
            filters=filters,
            resolver=resolver,
            retention=self._days,
            unreachable=unreachable,
        )

    # --- projects ---------------------------------------------------------------------------------
    async def create(self, actor: Actor, name: str) -> Project:
        """Make a project by hand: a name, no code.

        Raises:
            Invalid: The name cannot be used.
            Conflict: There is a project of this name.
        """
        actor.needs(Role.MEMBER)
        find.check_name(name)
        return await self._store.write(lambda tx: _create(tx, self._vault, actor, name, self._days))

    async def get(self, actor: Actor, ref: str) -> Project:
        """Return a project by id or name."""
        actor.needs(Role.VIEWER)
        return await self._store.read(lambda tx: find.project(tx, actor, ref))

    async def list(self, actor: Actor) -> list[Project]:
        """Return the org's projects by name."""
        actor.needs(Role.VIEWER)
        return await self._store.read(lambda tx: projects.of_org(tx, actor.org_id))

    async def delete(self, actor: Actor, ref: str) -> None:
        """Delete a project with all that belongs to it, and destroy its data key.

        What its connections were granted is revoked first; a provider that cannot be reached does not keep
        the project alive.
        """
        actor.needs(Role.MEMBER)
        project = await self.get(actor, ref)
        await self._revoke_all(actor, project.id)
        await self._store.write(lambda tx: _delete(tx, self._vault, actor, project.id))
        logger.info("project.deleted", project_id=project.id)

    async def set_retention(
        self,
        actor: Actor,
        ref: str,
        *,
        sessions: int | None = None,
        events: int | None = None,
        logs: int | None = None,
    ) -> Project:
        """Say for how many days finished sessions, events and logs are kept; `None` leaves it as it is."""
        actor.needs(Role.MEMBER)
        days = {"sessions": sessions, "events": events, "logs": logs}
        for name, count in days.items():
            if count is not None and count not in _DAYS:
                raise Invalid(
                    f"{name} are kept for 0 to 36500 days, not {count}", fields={name: "0 to 36500"}
                )

        def save(tx: Tx) -> Project:
            project = find.project(tx, actor, ref, lock=True)
            projects.set_retention(tx, project.id, **days)
            given = {name: count for name, count in days.items() if count is not None}
            audit.record(tx, actor, "project.retention_set", project.id, project_id=project.id, details=given)
            return find.project(tx, actor, project.id)

        return await self._store.write(save)

    async def deploy(
        self,
        actor: Actor,
        *,
        bundle: bytes,
        project: str | None = None,
        dry_run: bool = False,
        tell: Tell = unheard,
    ) -> DeployResult:
        """Build a directory, apply its manifest and activate it: all of it, or nothing.

        Args:
            actor: Who deploys.
            bundle: The directory as a gzipped tar.
            project: Name of the project; by default the manifest's.
            dry_run: Say what would change and change nothing.
            tell: Gets what the resolver of its requirements has said so far, while it works.

        Raises:
            Invalid: Something in the directory is wrong; each line names file, line and key.
            TooLarge: The directory is too large.
        """
        actor.needs(Role.MEMBER)
        return await self._deploys.deploy(actor, bundle=bundle, project=project, dry_run=dry_run, tell=tell)

    async def lint(
        self, actor: Actor, *, bundle: bytes, project: str | None = None
    ) -> builtins.list[Finding]:
        """Check a directory as a deploy would, by every rule; nothing is changed or installed.

        Args:
            actor: Who asks.
            bundle: The directory as a gzipped tar.
            project: Name of the project; by default the manifest's.

        Returns:
            All that is wrong or odd, by file and line.
        """
        actor.needs(Role.VIEWER)
        return await self._deploys.lint(actor, bundle=bundle, project=project)

    async def export(self, actor: Actor, ref: str) -> tuple[str, bytes]:
        """Return a project's name and its files as a zip: the code in service, a manifest of what is there.

        Secrets and grants are not part of it.
        """
        actor.needs(Role.VIEWER)

        def look(tx: Tx) -> tuple[Project, str, str | None]:
            project = find.project(tx, actor, ref)
            build = find.newest_build(tx, project.id)
            return project, self._manifest_of(tx, project, build), None if build is None else build.id

        project, text, build_id = await self._store.read(look)
        packed = None if build_id is None else await self.bundle_of(build_id)
        return project.name, await asyncio.to_thread(exports.packed, packed, text)

    def _manifest_of(self, tx: Tx, project: Project, build: Build | None) -> str:
        org = connections.of_org(tx, project.org_id)
        return exports.manifest_text(
            project,
            variables=variables.for_people(tx, self._vault, project.id),
            connections=[c for c in org if c.project_id in {None, project.id}],
            triggers=triggers.of_project(tx, project.id),
            registry=self._registry,
            limits=exports.limits_of(build),
        )

    async def candidate(
        self, actor: Actor, *, bundle: bytes, project: str | None = None, tell: Tell = unheard
    ) -> Candidate:
        """Return what a deploy of a directory would put into service, and store nothing.

        Raises:
            Invalid: Something in the directory is wrong.
        """
        actor.needs(Role.MEMBER)
        return await self._deploys.candidate(actor, bundle=bundle, project=project, tell=tell)

    # --- variables --------------------------------------------------------------------------------
    async def variables(self, actor: Actor, ref: str) -> builtins.list[Variable]:
        """Return a project's variables; secrets come without their values."""
        actor.needs(Role.VIEWER)
        return await self._store.read(
            lambda tx: variables.for_people(tx, self._vault, find.project(tx, actor, ref).id)
        )

    async def set_variable(
        self,
        actor: Actor,
        ref: str,
        name: str,
        value: str,
        *,
        is_secret: bool = False,
        description: str = "",
    ) -> None:
        """Set a variable; an empty description keeps the one that is there."""
        actor.needs(Role.MEMBER)
        variables.checked(name, value)

        def save(tx: Tx) -> None:
            project = find.project(tx, actor, ref, lock=True)
            there = {stored.name: stored for stored in projects.variables_of(tx, project.id)}.get(name)
            variables.put(
                tx,
                self._vault,
                project.id,
                name=name,
                value=value,
                is_secret=is_secret,
                description=description or (there.description if there else ""),
                created_by=actor.id,
            )
            details = {"is_secret": is_secret}
            target = f"{project.id}/{name}"
            audit.record(tx, actor, "variable.set", target, project_id=project.id, details=details)

        await self._store.write(save)

    async def delete_variable(self, actor: Actor, ref: str, name: str) -> None:
        """Delete a variable.

        Raises:
            NotFound: There is none of this name.
        """
        actor.needs(Role.MEMBER)

        def drop(tx: Tx) -> None:
            project = find.project(tx, actor, ref)
            if not projects.delete_variable(tx, project.id, name):
                raise NotFound(f"project {project.name!r} has no variable {name[:200]!r}")
            audit.record(tx, actor, "variable.deleted", f"{project.id}/{name}", project_id=project.id)

        await self._store.write(drop)

    def environment(self, tx: Tx, project_id: str) -> dict[str, str]:
        """Return a project's variables, opened, for a session that is made in this unit."""
        return dict(variables.environment(tx, self._vault, project_id))

    # --- builds and deployments -------------------------------------------------------------------
    async def builds(self, actor: Actor, ref: str) -> builtins.list[Build]:
        """Return a project's builds, newest first."""
        actor.needs(Role.VIEWER)
        return await self._store.read(lambda tx: builds.of_project(tx, find.project(tx, actor, ref).id))

    async def build(self, actor: Actor, build_id: str) -> Build:
        """Return a build."""
        actor.needs(Role.VIEWER)
        return await self._store.read(lambda tx: find.build(tx, actor, build_id))

    async def environment_logs(self, actor: Actor, build_id: str) -> Sequence[EnvironmentLog]:
        """Return what uv said on each worker that made a build's environment, the newest first."""
        actor.needs(Role.VIEWER)

        def read(tx: Tx) -> Sequence[EnvironmentLog]:
            return builds.environment_logs(tx, find.build(tx, actor, build_id).id)

        return await self._store.read(read)

    async def bundle_of(self, build_id: str) -> bytes:
        """Return the files of a build as a gzipped tar, for a worker that runs a session of it.

        Who may have it is decided by the caller.

        Raises:
            NotFound: There is no such build, or it is gone.
        """

        def look(tx: Tx) -> bytes:
            build = builds.by_id(tx, build_id)
            parts = [] if build is None else builds.bundle(tx, build.project_id, build.sha256)
            if build is None or not parts:
                raise NotFound(f"there is no build {build_id!r}")
            return b"".join(
                self._vault.open(tx, build.project_id, part_context(build.sha256, number), part)
                for number, part in enumerate(parts)
            )

        return await self._store.read(look)

    async def deployments(self, actor: Actor, ref: str) -> builtins.list[Deployment]:
        """Return a project's deployments, newest first."""
        actor.needs(Role.VIEWER)
        return await self._store.read(lambda tx: builds.deployments_of(tx, find.project(tx, actor, ref).id))

    async def activate(self, actor: Actor, deployment_id: str) -> Deployment:
        """Give new sessions to this deployment; the one before drains.

        Triggers and variables stay as they are; a trigger that calls what this build does not have says so.
        """
        actor.needs(Role.MEMBER)

        def change(tx: Tx) -> Deployment:
            deployment = find.deployment(tx, actor, deployment_id, lock=True)
            if deployment.state is not DeploymentState.ACTIVE:
                activation.again(tx, deployment)
                details = {"build_id": deployment.build_id}
                project_id = deployment.project_id
                audit.record(
                    tx, actor, "deployment.activated", deployment.id, project_id=project_id, details=details
                )
            return find.deployment(tx, actor, deployment_id)

        return await self._store.write(change)

    async def deactivate(self, actor: Actor, deployment_id: str) -> Deployment:
        """Give no new sessions to this deployment; those that it has go on."""
        actor.needs(Role.MEMBER)

        def change(tx: Tx) -> Deployment:
            deployment = find.deployment(tx, actor, deployment_id, lock=True)
            if deployment.state in {DeploymentState.ACTIVE, DeploymentState.TESTING}:
                activation.retire(tx, deployment)
                project_id = deployment.project_id
                audit.record(tx, actor, "deployment.deactivated", deployment.id, project_id=project_id)
            return find.deployment(tx, actor, deployment_id)

        return await self._store.write(change)

    async def test(self, actor: Actor, deployment_id: str) -> Deployment:
        """Let a deployment take sessions and events that name it, and no others.

        Raises:
            Conflict: It is the active one, which takes everything.
        """
        actor.needs(Role.MEMBER)

        def change(tx: Tx) -> Deployment:
            deployment = find.deployment(tx, actor, deployment_id, lock=True)
            if deployment.state is DeploymentState.ACTIVE:
                raise Conflict(
                    f"deployment {deployment.id} is active; to test it, activate another or deactivate it",
                    code="deployment_in_service",
                )
            if deployment.state is not DeploymentState.TESTING:
                builds.set_deployment_state(tx, deployment.id, DeploymentState.TESTING)
                project_id = deployment.project_id
                audit.record(tx, actor, "deployment.tested", deployment.id, project_id=project_id)
            return find.deployment(tx, actor, deployment_id)

        return await self._store.write(change)

    async def set_max_concurrent(self, actor: Actor, ref: str, limit: int) -> Project:
        """Say how many sessions of a project may be open at once; 0 is any number."""
        actor.needs(Role.MEMBER)
        if limit not in _CONCURRENT:
            message = f"max_concurrent is 0 (any number) to {_CONCURRENT[-1]}, not {limit}"
            raise Invalid(message, fields={"max_concurrent": message})

        def save(tx: Tx) -> Project:
            project = find.project(tx, actor, ref, lock=True)
            if project.max_concurrent != limit:
                projects.set_max_concurrent(tx, project.id, limit)
                details = {"max_concurrent": limit}
                audit.record(tx, actor, "project.limited", project.id, project_id=project.id, details=details)
            return find.project(tx, actor, project.id)

        return await self._store.write(save)

    async def delete_deployment(self, actor: Actor, deployment_id: str) -> None:
        """Delete a deployment that is out of service; its sessions stay.

        Raises:
            Conflict: It is in service, or has sessions that have not ended.
        """
        actor.needs(Role.MEMBER)

        def drop(tx: Tx) -> None:
            deployment = find.deployment(tx, actor, deployment_id, lock=True)
            # Its row may say inactive while a session that named it runs on.
            is_free = deployment.state is DeploymentState.INACTIVE
            if not is_free or builds.has_live_sessions(tx, deployment.id):
                raise Conflict(
                    f"deployment {deployment.id} is {deployment.state}"
                    f"{' and has sessions' if is_free else ''}; deactivate it, let its sessions end",
                    code="deployment_in_service",
                )
            builds.delete_deployment(tx, deployment.id)
            audit.record(tx, actor, "deployment.deleted", deployment.id, project_id=deployment.project_id)

        await self._store.write(drop)

    # --- triggers ---------------------------------------------------------------------------------
    async def triggers(self, actor: Actor, ref: str) -> builtins.list[Trigger]:
        """Return a project's triggers by name."""
        actor.needs(Role.VIEWER)
        return await self._store.read(lambda tx: triggers.of_project(tx, find.project(tx, actor, ref).id))

    async def trigger(self, actor: Actor, ref: str) -> Trigger:
        """Return a trigger by id or `PROJECT/NAME`."""
        actor.needs(Role.VIEWER)
        return await self._store.read(lambda tx: find.trigger(tx, actor, ref))

    async def limit_trigger(self, actor: Actor, ref: str, wanted: TriggerLimits) -> Trigger:
        """Change a trigger's limits, until the next deploy makes it what the manifest says."""
        actor.needs(Role.MEMBER)
        return await self._store.write(
            lambda tx: trigger_limits.change(tx, actor, ref, wanted, self._filters)
        )

    async def _revoke_all(self, actor: Actor, project_id: ProjectId) -> None:
        granted = await self._store.read(
            lambda tx: [
                connection.id
                for connection in connections.of_project(tx, project_id)
                if connection.account is not None and connection.state is not ConnectionState.DISCONNECTED
            ]
        )
        ends = await asyncio.gather(
            *(self._grants.disconnect(actor, connection_id) for connection_id in granted),
            return_exceptions=True,
        )
        for connection_id, end in zip(granted, ends, strict=True):
            if isinstance(end, NinelivesError):
                logger.warning("connection.not_revoked", connection_id=connection_id, reason=str(end))
            elif isinstance(end, BaseException):
                raise end


def _create(tx: Tx, vault: Vault, actor: Actor, name: str, days: RetentionSettings) -> Project:
    projects.lock_org(tx, actor.org_id)
    if projects.by_name(tx, actor.org_id, name) is not None:
        raise Conflict(
            f"there is a project {name!r} already; choose another name",
            code="name_taken",
            fields={"name": "is taken"},
        )
    project = find.made_now(tx, actor, ProjectId(ids.new("prj")), name, days)
    projects.insert(tx, project)
    vault.create_key(tx, project.id)
    audit.record(tx, actor, "project.created", project.id, project_id=project.id, details={"name": name})
    return project


def _delete(tx: Tx, vault: Vault, actor: Actor, project_id: ProjectId) -> None:
    project = find.project(tx, actor, project_id, lock=True)
    details = {"name": project.name}
    audit.record(tx, actor, "project.deleted", project.id, project_id=project.id, details=details)
    vault.destroy_key(tx, project.id)
    projects.delete(tx, project.id)
