"""Finding projects and connections by what people call them, inside the actor's org only."""

from ninelives_server import ids
from ninelives_server.errors import NotFound
from ninelives_server.model.actors import Actor
from ninelives_server.model.connections import Connection
from ninelives_server.model.projects import Project
from ninelives_server.store import connections, projects
from ninelives_server.store.core import Tx


def project(tx: Tx, actor: Actor, ref: str) -> Project:
    """Return a project by id or name.

    Raises:
        NotFound: There is none in the actor's org.
    """
    look = projects.by_id if ids.is_id(ref, "prj") else projects.by_name
    found = look(tx, actor.org_id, ref)
    if found is None:
        raise NotFound(f"there is no project {ref!r}")
    return found


def connection(tx: Tx, actor: Actor, ref: str, *, lock: bool = False) -> Connection:
    """Return a connection by id or `PROJECT/NAME`.

    Raises:
        NotFound: There is none in the actor's org.
    """
    found: Connection | None = None
    if ids.is_id(ref, "con"):
        found = connections.by_id(tx, ref, lock=lock)
    elif "/" in ref:
        project_ref, _, name = ref.partition("/")
        found = connections.by_name(tx, project(tx, actor, project_ref).id, name)
    if found is None or found.org_id != actor.org_id:
        raise NotFound(f"there is no connection {ref!r}")
    return found
