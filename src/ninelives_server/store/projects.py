"""Projects and their variables: the only place that reads and writes their rows.

Values go in and out sealed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ninelives_server.ids import OrgId, ProjectId
from ninelives_server.model.projects import Project
from ninelives_server.store.core import Tx
from ninelives_server.store.tables import orgs, projects, sessions, variables


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVariable:
    """A variable as it is stored.

    Attributes:
        is_secret: Whether its value is write-only for people.
    """

    name: str
    sealed_value: bytes = field(repr=False)
    is_secret: bool
    description: str
    updated_at: datetime


def _project(row: sa.RowMapping) -> Project:
    values = dict(row)
    return Project(id=ProjectId(values.pop("id")), org_id=OrgId(values.pop("org_id")), **values)


def _one(tx: Tx, *where: sa.ColumnElement[bool], lock: bool = False) -> Project | None:
    query = sa.select(projects).where(*where)
    row = (
        tx.connection.execute(query.with_for_update(key_share=True) if lock else query)
        .mappings()
        .one_or_none()
    )
    return None if row is None else _project(row)


def lock_org(tx: Tx, org_id: str) -> None:
    """Let nobody else make or rename projects of an org before this unit ends."""
    tx.connection.execute(sa.select(orgs.c.id).where(orgs.c.id == org_id).with_for_update(key_share=True))


def insert(tx: Tx, project: Project) -> None:
    """Add a project; its name must be free in its org."""
    values = {column.name: getattr(project, column.name) for column in projects.c}
    tx.connection.execute(sa.insert(projects).values(values))
    tx.notify("project", project.id)


def by_id(tx: Tx, org_id: str, project_id: str, *, lock: bool = False) -> Project | None:
    """Return a project of an org; with `lock`, nobody else changes it before this unit ends."""
    return _one(tx, projects.c.id == project_id, projects.c.org_id == org_id, lock=lock)


def by_name(tx: Tx, org_id: str, name: str, *, lock: bool = False) -> Project | None:
    """Return the project of this name in an org."""
    return _one(tx, projects.c.name == name, projects.c.org_id == org_id, lock=lock)


def of_org(tx: Tx, org_id: str) -> list[Project]:
    """Return an org's projects by name."""
    query = sa.select(projects).where(projects.c.org_id == org_id).order_by(projects.c.name)
    return [_project(row) for row in tx.connection.execute(query).mappings()]


def set_display_name(tx: Tx, project_id: str, display_name: str) -> None:
    """Save the name for people."""
    _update(tx, project_id, {"display_name": display_name})


def set_retention(
    tx: Tx,
    project_id: str,
    *,
    sessions: int | None = None,
    events: int | None = None,
    logs: int | None = None,
) -> None:
    """Save for how many days things are kept; `None` leaves it as it is."""
    days = {"retain_sessions": sessions, "retain_events": events, "retain_logs": logs}
    _update(tx, project_id, {name: value for name, value in days.items() if value is not None})


def set_max_concurrent(tx: Tx, project_id: str, limit: int) -> None:
    """Save how many sessions may be open at once; 0 is any number."""
    _update(tx, project_id, {"max_concurrent": limit})
    tx.notify("queue", project_id)


def _update(tx: Tx, project_id: str, values: dict[str, Any]) -> None:
    if values:
        tx.connection.execute(sa.update(projects).where(projects.c.id == project_id).values(values))
        tx.notify("project", project_id)


def delete(tx: Tx, project_id: str) -> None:
    """Delete a project and every row that belongs to it, but not what the audit log says of it."""
    # Sessions refer to builds without a cascade, so they go first.
    tx.connection.execute(sa.delete(sessions).where(sessions.c.project_id == project_id))
    tx.connection.execute(sa.delete(projects).where(projects.c.id == project_id))
    tx.notify("project", project_id)


def live_sessions(tx: Tx, project_id: str) -> int:
    """Return how many sessions of a project have not ended."""
    query = sa.select(sa.func.count()).where(
        sessions.c.project_id == project_id, sessions.c.state.in_(("created", "running", "waiting"))
    )
    return int(tx.connection.execute(query).scalar_one())


def variables_of(tx: Tx, project_id: str) -> Sequence[StoredVariable]:
    """Return a project's variables by name."""
    c = variables.c
    query = (
        sa.select(c.name, c.sealed_value, c.is_secret, c.description, c.updated_at)
        .where(c.project_id == project_id)
        .order_by(c.name)
    )
    return [StoredVariable(**row) for row in tx.connection.execute(query).mappings()]


def put_variable(tx: Tx, project_id: str, variable: StoredVariable, *, created_by: str) -> None:
    """Save a variable, in the place of the one of this name."""
    c = variables.c
    values = {
        "sealed_value": variable.sealed_value,
        "is_secret": variable.is_secret,
        "description": variable.description,
        "updated_at": tx.now,
    }
    changed = tx.connection.execute(
        sa.update(variables).where(c.project_id == project_id, c.name == variable.name).values(values)
    )
    if changed.rowcount == 0:
        tx.connection.execute(
            sa.insert(variables).values(
                project_id=project_id,
                name=variable.name,
                created_at=tx.now,
                created_by=created_by,
                **values,
            )
        )
    tx.notify("project", project_id)


def delete_variable(tx: Tx, project_id: str, name: str) -> bool:
    """Delete a variable; say whether there was one."""
    gone = tx.connection.execute(
        sa.delete(variables).where(variables.c.project_id == project_id, variables.c.name == name)
    )
    tx.notify("project", project_id)
    return gone.rowcount == 1
