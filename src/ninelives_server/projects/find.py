"""Things by reference, as far as the actor's org goes: what belongs to another org does not exist."""

import re

from ninelives_server import ids
from ninelives_server.errors import Invalid, NotFound
from ninelives_server.ids import ProjectId
from ninelives_server.model.actors import Actor
from ninelives_server.model.projects import Build, Deployment, Project
from ninelives_server.model.triggers import Trigger
from ninelives_server.projects.problems import nearest
from ninelives_server.settings import RetentionSettings
from ninelives_server.store import builds, projects, triggers
from ninelives_server.store.core import Tx

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")


def project(tx: Tx, actor: Actor, ref: str, *, lock: bool = False) -> Project:
    """Return a project by id or name; with `lock`, nobody else changes it before this unit ends.

    Raises:
        NotFound: The actor's org has none.
    """
    look = projects.by_id if ids.is_id(ref, "prj") else projects.by_name
    found = look(tx, actor.org_id, ref, lock=lock)
    if found is None:
        known = () if ids.is_id(ref, "prj") else [other.name for other in projects.of_org(tx, actor.org_id)]
        raise NotFound(f"there is no project {ref[:100]!r}{nearest(ref, known)}")
    return found


def check_name(name: str) -> None:
    """Refuse what is no name for a project.

    Raises:
        Invalid: It has other characters, or looks like an id.
    """
    if not _NAME.fullmatch(name) or ids.is_id(name, "prj"):
        raise Invalid(
            f"a project's name has 1 to 100 letters, digits, _ and -; {name[:50]!r} is none",
            fields={"name": "1 to 100 letters, digits, _ and -"},
        )


def made_now(tx: Tx, actor: Actor, project_id: ProjectId, name: str, days: RetentionSettings) -> Project:
    """Return a project as it is when it is made."""
    return Project(
        id=project_id,
        org_id=actor.org_id,
        name=name,
        display_name="",
        retain_sessions=days.sessions,
        retain_events=days.events,
        retain_logs=days.logs,
        max_concurrent=0,
        created_at=tx.now,
        created_by=actor.id,
    )


def name_of(tx: Tx, actor: Actor, ref: str) -> str:
    """Return the name of a project that may not exist yet; an id must be one of the org's.

    Raises:
        NotFound: It is an id, and the actor's org has no such project.
        Invalid: It is no name for a project.
    """
    if ids.is_id(ref, "prj"):
        return project(tx, actor, ref).name
    check_name(ref)
    return ref


def build(tx: Tx, actor: Actor, build_id: str) -> Build:
    """Return a build.

    Raises:
        NotFound: The actor's org has none.
    """
    found = builds.by_id(tx, build_id)
    if found is None or projects.by_id(tx, actor.org_id, found.project_id) is None:
        raise NotFound(f"there is no build {build_id[:100]!r}")
    return found


def newest_build(tx: Tx, project_id: str) -> Build | None:
    """Return the build in service, else the newest one; `None` where nothing was deployed yet."""
    active = builds.active(tx, project_id)
    if active is not None:
        return builds.by_id(tx, active.build_id)
    found = builds.of_project(tx, project_id)
    return found[0] if found else None


def deployment(tx: Tx, actor: Actor, deployment_id: str, *, lock: bool = False) -> Deployment:
    """Return a deployment; with `lock`, nobody else changes its project before this unit ends.

    Raises:
        NotFound: The actor's org has none.
    """
    found = builds.deployment_by_id(tx, deployment_id)
    if found is None or projects.by_id(tx, actor.org_id, found.project_id, lock=lock) is None:
        raise NotFound(f"there is no deployment {deployment_id[:100]!r}")
    # Once the lock is held, what was read before it may be out of date.
    again = builds.deployment_by_id(tx, deployment_id) if lock else found
    if again is None:
        raise NotFound(f"there is no deployment {deployment_id[:100]!r}")
    return again


def trigger(tx: Tx, actor: Actor, ref: str) -> Trigger:
    """Return a trigger by id or `PROJECT/NAME`.

    Raises:
        NotFound: The actor's org has none.
    """
    project_ref, slash, name = ref.rpartition("/")
    found = (
        triggers.by_name(tx, project(tx, actor, project_ref).id, name) if slash else triggers.by_id(tx, ref)
    )
    if found is None or projects.by_id(tx, actor.org_id, found.project_id) is None:
        raise NotFound(f"there is no trigger {ref[:200]!r}")
    return found
