"""Things that tests need around the one that they are about. Each takes keywords and fills in the rest."""

from collections.abc import Mapping, Sequence

from ninelives_server import ids
from ninelives_server.model.actors import Actor, ActorKind, Role
from ninelives_server.model.connections import Account, Connection, ConnectionState
from ninelives_server.model.projects import Build, Deployment, DeploymentState, Entrypoint, Project
from ninelives_server.model.triggers import Trigger, TriggerType
from ninelives_server.store import access, builds, connections, projects, triggers
from ninelives_server.store.core import Store, Tx
from ninelives_server.vault.vault import Vault


async def a_person(
    store: Store, *, org: str = "acme", name: str = "ada", role: Role = Role.ADMIN, org_id: str | None = None
) -> Actor:
    """Make a user, with an org of their own unless one is given, and return them as an actor."""

    def make(tx: Tx) -> Actor:
        of = org_id or access.insert_org(tx, org)
        user = access.insert_user(tx, name)
        access.insert_member(tx, of, user.id, role)
        return Actor(kind=ActorKind.USER, id=user.id, org_id=of, role=role, user_name=name)

    return await store.write(make)


async def a_project(store: Store, vault: Vault, actor: Actor, *, name: str = "lead_router") -> Project:
    """Make a project, with its data key."""

    def make(tx: Tx) -> Project:
        project = Project(
            id=ids.ProjectId(ids.new("prj")),
            org_id=actor.org_id,
            name=name,
            display_name="",
            retain_sessions=30,
            retain_events=30,
            retain_logs=30,
            max_concurrent=0,
            created_at=tx.now,
            created_by=actor.id,
        )
        projects.insert(tx, project)
        vault.create_key(tx, project.id)
        return project

    return await store.write(make)


async def a_build(
    store: Store,
    project: Project,
    *,
    sha256: str = "0" * 64,
    entrypoints: Sequence[str] = ("main.py:on_lead",),
    requirements: Sequence[str] = (),
    manifest: Mapping[str, object] | None = None,
) -> Build:
    """Make a build (without a bundle) that has these entry points."""

    def make(tx: Tx) -> Build:
        build = Build(
            id=ids.BuildId(ids.new("bld")),
            project_id=project.id,
            sha256=sha256,
            size_bytes=1,
            entrypoints=tuple(
                Entrypoint(file=text.partition(":")[0], name=text.partition(":")[2], line=1, args=("event",))
                for text in entrypoints
            ),
            requirements=tuple(requirements),
            manifest=manifest,
            created_at=tx.now,
            created_by="system",
        )
        builds.insert(tx, build)
        return build

    return await store.write(make)


async def a_deployment(
    store: Store, build: Build, *, state: DeploymentState = DeploymentState.ACTIVE
) -> Deployment:
    """Put a build in service."""

    def make(tx: Tx) -> Deployment:
        deployment = Deployment(
            id=ids.DeploymentId(ids.new("dep")),
            project_id=build.project_id,
            build_id=build.id,
            state=state,
            state_since=tx.now,
            created_at=tx.now,
            created_by="system",
        )
        builds.insert_deployment(tx, deployment)
        return deployment

    return await store.write(make)


async def a_connection(
    store: Store,
    project: Project,
    *,
    name: str = "crm",
    integration: str = "salesforce",
    auth_mode: str = "oauth_private",
    state: ConnectionState = ConnectionState.INIT_REQUIRED,
    settings: Mapping[str, str] | None = None,
    account: Account | None = None,
    account_key: str | None = None,
) -> Connection:
    """Make a connection, without secrets."""

    def make(tx: Tx) -> Connection:
        connection = Connection(
            id=ids.ConnectionId(ids.new("con")),
            org_id=project.org_id,
            project_id=project.id,
            name=name,
            integration=integration,
            auth_mode=auth_mode,
            state=state,
            state_since=tx.now,
            reason="",
            provider_reason="",
            settings=settings or {},
            secrets_set=frozenset(),
            account=account,
            account_key=account_key,
            generation=0,
            last_checked_at=None,
            last_refreshed_at=None,
            last_used_at=None,
            created_at=tx.now,
            created_by="system",
        )
        connections.insert(tx, connection)
        return connection

    return await store.write(make)


async def a_trigger(
    store: Store,
    project: Project,
    *,
    name: str = "on_lead",
    type: TriggerType = TriggerType.WEBHOOK,  # noqa: A002 - the column's name
    connection_id: str | None = None,
    event_type: str = "",
    filter: str = "",  # noqa: A002 - the column's name
    call: str = "main.py:on_lead",
    schedule: str = "",
    options: Mapping[str, object] | None = None,
    is_durable: bool = True,
    is_sync: bool = False,
) -> Trigger:
    """Make a trigger; a webhook gets a slug."""

    def make(tx: Tx) -> Trigger:
        trigger = Trigger(
            id=ids.TriggerId(ids.new("trg")),
            project_id=project.id,
            name=name,
            type=type,
            connection_id=None if connection_id is None else ids.ConnectionId(connection_id),
            event_type=event_type,
            filter=filter,
            call=call,
            schedule=schedule,
            timezone="UTC",
            slug=ids.new_slug() if type is TriggerType.WEBHOOK else None,
            is_durable=is_durable,
            is_sync=is_sync,
            options=options or {},
            last_error="",
            last_error_at=None,
            created_at=tx.now,
            created_by="system",
        )
        triggers.insert(tx, trigger)
        return trigger

    return await store.write(make)
