"""Projects and their variables: the only place that reads and writes their rows.

Values go in and out sealed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ninelives_server.ids import OrgId, ProjectId
from ninelives_server.model.projects import Project
from ninelives_server.store.compiled import Statement
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


_org_id: sa.BindParameter[str] = sa.bindparam("the_org_id")
_BY_ID = sa.select(projects).where(projects.c.id == sa.bindparam("the_id"), projects.c.org_id == _org_id)
_BY_NAME = sa.select(projects).where(
    projects.c.name == sa.bindparam("the_name"), projects.c.org_id == _org_id
)
_FOUND_BY_ID, _LOCKED_BY_ID = Statement(_BY_ID), Statement(_BY_ID.with_for_update(key_share=True))
_FOUND_BY_NAME, _LOCKED_BY_NAME = Statement(_BY_NAME), Statement(_BY_NAME.with_for_update(key_share=True))
_VARIABLES = Statement(
    sa.select(*(variables.c[column.name] for column in fields(StoredVariable)))
    .where(variables.c.project_id == sa.bindparam("the_id"))
    .order_by(variables.c.name)
)


def _project(row: Any) -> Project:
    values = row._asdict()
    return Project(id=ProjectId(values.pop("id")), org_id=OrgId(values.pop("org_id")), **values)


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
    row = (_LOCKED_BY_ID if lock else _FOUND_BY_ID).first(tx, the_id=project_id, the_org_id=org_id)
    return None if row is None else _project(row)


def by_name(tx: Tx, org_id: str, name: str, *, lock: bool = False) -> Project | None:
    """Return the project of this name in an org."""
    row = (_LOCKED_BY_NAME if lock else _FOUND_BY_NAME).first(tx, the_name=name, the_org_id=org_id)
    return None if row is None else _project(row)


def of_org(tx: Tx, org_id: str) -> list[Project]:
    """Return an org's projects by name."""
    query = sa.select(projects).where(projects.c.org_id == org_id).order_by(projects.c.name)
    return [_project(row) for row in tx.connection.execute(query)]


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
    return [StoredVariable(**row._asdict()) for row in _VARIABLES.all(tx, the_id=project_id)]


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
