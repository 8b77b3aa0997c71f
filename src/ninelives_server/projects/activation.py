"""Which deployment gets a project's new sessions. Running sessions are never touched: the old one drains."""

from ninelives_server import ids
from ninelives_server.ids import BuildId, DeploymentId, ProjectId
from ninelives_server.model.projects import Deployment, DeploymentState
from ninelives_server.store import builds, triggers
from ninelives_server.store.core import Tx


def new(tx: Tx, project_id: ProjectId, build_id: BuildId, created_by: str) -> Deployment:
    """Put a build in service; the deployment before it drains."""
    deployment = Deployment(
        id=DeploymentId(ids.new("dep")),
        project_id=project_id,
        build_id=build_id,
        state=DeploymentState.ACTIVE,
        state_since=tx.now,
        created_at=tx.now,
        created_by=created_by,
    )
    retire_active(tx, project_id)
    builds.insert_deployment(tx, deployment)
    note_missing_calls(tx, project_id, build_id)
    return deployment


def again(tx: Tx, deployment: Deployment) -> None:
    """Put a deployment in service again; triggers and variables stay as they are."""
    retire_active(tx, deployment.project_id)
    builds.set_deployment_state(tx, deployment.id, DeploymentState.ACTIVE)
    note_missing_calls(tx, deployment.project_id, deployment.build_id)


def retire_active(tx: Tx, project_id: str) -> None:
    """Let the active deployment finish the sessions that it has."""
    active = builds.active(tx, project_id)
    if active is not None:
        retire(tx, active)


def retire(tx: Tx, deployment: Deployment) -> None:
    """Let a deployment finish the sessions that it has."""
    live = builds.has_live_sessions(tx, deployment.id)
    state = DeploymentState.DRAINING if live else DeploymentState.INACTIVE
    builds.set_deployment_state(tx, deployment.id, state)


def missing_calls(tx: Tx, project_id: str, build_id: str) -> dict[str, str]:
    """Return what is wrong, by id of each trigger that calls what a build does not have."""
    build = builds.by_id(tx, build_id)
    assert build is not None
    there = {f"{entrypoint.file}:{entrypoint.name}" for entrypoint in build.entrypoints}
    return {
        trigger.id: f"{trigger.call} is not in the deployed build; deploy code that has it"
        for trigger in triggers.of_project(tx, project_id)
        if trigger.call and trigger.call not in there
    }


def note_missing_calls(tx: Tx, project_id: str, build_id: str) -> None:
    """Say on each trigger whether the build has what it calls; what was said of another build is gone."""
    missing = missing_calls(tx, project_id, build_id)
    for trigger in triggers.of_project(tx, project_id):
        triggers.set_error(tx, trigger.id, missing.get(trigger.id, ""))
