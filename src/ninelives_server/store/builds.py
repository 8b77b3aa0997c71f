"""Builds, their bundles, and deployments: the only place that reads and writes their rows.

A bundle is kept in sealed parts of at most 1 MB; sealing is left to the caller.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ninelives_server.ids import BuildId, DeploymentId, ProjectId
from ninelives_server.model.projects import Build, Deployment, DeploymentState, Entrypoint, EnvironmentLog
from ninelives_server.store.core import Tx
from ninelives_server.store.tables import blobs, builds, deployments, sessions, workers

#: So much of what uv said on a worker is kept, of so many workers. characters, workers
_LOG, _LOGS = 64_000, 5
#: All but what may be long and is seldom looked at.
_COLUMNS = [column for column in builds.c if column.name != "environment_logs"]


def _build(row: sa.Row[Any]) -> Build:
    return Build(
        id=BuildId(row.id),
        project_id=ProjectId(row.project_id),
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        entrypoints=tuple(
            Entrypoint(file=item["file"], name=item["name"], line=item["line"], args=tuple(item["args"]))
            for item in row.entrypoints
        ),
        requirements=tuple(row.requirements),
        manifest=row.manifest,
        created_at=row.created_at,
        created_by=row.created_by,
    )


def insert(tx: Tx, build: Build) -> None:
    """Add a build."""
    tx.connection.execute(
        sa.insert(builds).values(
            id=build.id,
            project_id=build.project_id,
            sha256=build.sha256,
            size_bytes=build.size_bytes,
            entrypoints=[{**asdict(item), "args": list(item.args)} for item in build.entrypoints],
            requirements=list(build.requirements),
            manifest=sa.null() if build.manifest is None else dict(build.manifest),
            environment_logs=[],
            created_at=build.created_at,
            created_by=build.created_by,
        )
    )


def by_id(tx: Tx, build_id: str) -> Build | None:
    """Return a build."""
    row = tx.connection.execute(sa.select(*_COLUMNS).where(builds.c.id == build_id)).one_or_none()
    return None if row is None else _build(row)


def by_sha256(tx: Tx, project_id: str, sha256: str) -> Build | None:
    """Return the project's build of this content."""
    row = tx.connection.execute(
        sa.select(*_COLUMNS).where(builds.c.project_id == project_id, builds.c.sha256 == sha256)
    ).one_or_none()
    return None if row is None else _build(row)


def environment_logs(tx: Tx, build_id: str) -> list[EnvironmentLog]:
    """Return what uv said on each worker that made a build's environment, the newest first."""
    query = sa.select(builds.c.environment_logs).where(builds.c.id == build_id)
    return [
        EnvironmentLog(item["worker"], datetime.fromisoformat(item["at"]), item["text"])
        for item in tx.connection.execute(query).scalar_one_or_none() or ()
    ]


def environment_log_of(tx: Tx, session_id: str) -> str:
    """Return what uv said on a session's worker since that took it; of an ended one, on any until then."""
    query = (
        sa.select(sessions.c.claimed_at, sessions.c.ended_at, sessions.c.build_id, workers.c.name)
        .outerjoin(workers, workers.c.id == sessions.c.worker_id)
        .where(sessions.c.id == session_id)
    )
    row = tx.connection.execute(query).one()
    if row.claimed_at is None:
        return ""
    return next(
        (
            log.text
            for log in environment_logs(tx, row.build_id)
            if row.claimed_at <= log.at <= (row.ended_at or tx.now) and row.name in {None, log.worker}
        ),
        "",
    )


def note_environment(tx: Tx, build_id: str, worker: str, text: str) -> None:
    """Keep what uv has said on a worker, instead of what it said there before; only the newest are kept."""
    row = builds.c.id == build_id
    tx.connection.execute(sa.select(builds.c.id).where(row).with_for_update())
    others = [log for log in environment_logs(tx, build_id) if log.worker != worker]
    kept = [EnvironmentLog(worker, tx.now, text[-_LOG:].replace("\0", "")), *others][:_LOGS]
    value = [{"worker": log.worker, "at": log.at.isoformat(), "text": log.text} for log in kept]
    tx.connection.execute(sa.update(builds).where(row).values(environment_logs=value))
    tx.notify("build", build_id)


def of_project(tx: Tx, project_id: str) -> list[Build]:
    """Return a project's builds, newest first."""
    query = sa.select(*_COLUMNS).where(builds.c.project_id == project_id).order_by(builds.c.id.desc())
    return [_build(row) for row in tx.connection.execute(query)]


def put_bundle(tx: Tx, project_id: str, sha256: str, sealed_parts: Sequence[bytes]) -> None:
    """Save the sealed parts of a bundle."""
    tx.connection.execute(
        sa.insert(blobs),
        [
            {
                "sha256": sha256,
                "project_id": project_id,
                "part": number,
                "sealed_data": part,
                "created_at": tx.now,
            }
            for number, part in enumerate(sealed_parts)
        ],
    )


def bundle(tx: Tx, project_id: str, sha256: str) -> list[bytes]:
    """Return the sealed parts of a bundle, in order."""
    query = (
        sa.select(blobs.c.sealed_data)
        .where(blobs.c.project_id == project_id, blobs.c.sha256 == sha256)
        .order_by(blobs.c.part)
    )
    return [bytes(part) for part in tx.connection.execute(query).scalars()]


def _deployments() -> sa.Select[Any]:
    """Select deployments; one whose last session has ended does not drain any more, whatever its row says."""
    c = deployments.c
    has_live = sa.exists().where(sessions.c.deployment_id == c.id, sessions.c.ended_at.is_(None))
    drained = sa.and_(c.state == str(DeploymentState.DRAINING), ~has_live)
    state = sa.case((drained, str(DeploymentState.INACTIVE)), else_=c.state).label("state")
    return sa.select(c.id, c.project_id, c.build_id, state, c.state_since, c.created_at, c.created_by)


def _deployment(row: sa.Row[Any]) -> Deployment:
    return Deployment(
        id=DeploymentId(row.id),
        project_id=ProjectId(row.project_id),
        build_id=BuildId(row.build_id),
        state=DeploymentState(row.state),
        state_since=row.state_since,
        created_at=row.created_at,
        created_by=row.created_by,
    )


def insert_deployment(tx: Tx, deployment: Deployment) -> None:
    """Add a deployment."""
    values = {column.name: getattr(deployment, column.name) for column in deployments.c}
    tx.connection.execute(sa.insert(deployments).values({**values, "state": str(deployment.state)}))
    tx.notify("deployment", deployment.id)


def deployment_by_id(tx: Tx, deployment_id: str) -> Deployment | None:
    """Return a deployment."""
    row = tx.connection.execute(_deployments().where(deployments.c.id == deployment_id)).one_or_none()
    return None if row is None else _deployment(row)


def deployments_of(tx: Tx, project_id: str) -> list[Deployment]:
    """Return a project's deployments, newest first."""
    query = _deployments().where(deployments.c.project_id == project_id).order_by(deployments.c.id.desc())
    return [_deployment(row) for row in tx.connection.execute(query)]


def active(tx: Tx, project_id: str) -> Deployment | None:
    """Return the deployment that gets a project's new sessions."""
    query = _deployments().where(
        deployments.c.project_id == project_id, deployments.c.state == str(DeploymentState.ACTIVE)
    )
    row = tx.connection.execute(query.limit(1)).one_or_none()
    return None if row is None else _deployment(row)


def set_deployment_state(tx: Tx, deployment_id: str, state: DeploymentState) -> None:
    """Set the state of a deployment and since when it has it."""
    tx.connection.execute(
        sa.update(deployments)
        .where(deployments.c.id == deployment_id)
        .values(state=str(state), state_since=tx.now)
    )
    tx.notify("deployment", deployment_id)


def has_live_sessions(tx: Tx, deployment_id: str) -> bool:
    """Say whether a deployment has sessions that have not ended."""
    query = sa.select(
        sa.exists().where(sessions.c.deployment_id == deployment_id, sessions.c.ended_at.is_(None))
    )
    return bool(tx.connection.execute(query).scalar_one())


def delete_deployment(tx: Tx, deployment_id: str) -> None:
    """Delete a deployment; its sessions stay, without one."""
    tx.connection.execute(
        sa.update(sessions).where(sessions.c.deployment_id == deployment_id).values(deployment_id=None)
    )
    tx.connection.execute(sa.delete(deployments).where(deployments.c.id == deployment_id))
    tx.notify("deployment", deployment_id)
