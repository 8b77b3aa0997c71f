"""The audit log, for people: who changed or used what, newest first."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from ninelives_server import ids
from ninelives_server.errors import Invalid, NotFound
from ninelives_server.model.actors import Actor, Role
from ninelives_server.store import audit, projects
from ninelives_server.store.audit import AuditEntry
from ninelives_server.store.core import Store, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """One page of the log.

    Attributes:
        next_cursor: Opaque; `None` where there is no more.
    """

    items: Sequence[AuditEntry]
    next_cursor: str | None


class Audit:
    """Reads the audit log of the actor's org; `store.audit` writes it, in each unit that changes a thing."""

    def __init__(self, *, store: Store) -> None:
        self._store = store

    async def list(
        self, actor: Actor, *, project_ref: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> AuditPage:
        """Return a page of the log, newest first.

        Raises:
            NotFound: There is no such project; a deleted one is known by its id.
            Invalid: The cursor is not one of ours.
        """
        actor.needs(Role.VIEWER)
        before = None if cursor is None else _decoded(cursor)

        def look(tx: Tx) -> Sequence[AuditEntry]:
            project_id = None if project_ref is None else _project_id(tx, actor.org_id, project_ref)
            return audit.of_org(tx, actor.org_id, project_id=project_id, before=before, limit=limit + 1)

        found = await self._store.read(look)
        items = found[:limit]
        more = len(found) > limit
        return AuditPage(items=items, next_cursor=_encoded(items[-1].id) if more and items else None)


def _project_id(tx: Tx, org_id: str, ref: str) -> str:
    if ids.is_id(ref, "prj"):
        return ref
    project = projects.by_name(tx, org_id, ref)
    if project is None:
        raise NotFound(f"there is no project {ref!r}")
    return project.id


def _encoded(entry_id: str) -> str:
    return base64.urlsafe_b64encode(entry_id.encode()).decode().rstrip("=")


def _decoded(cursor: str) -> str:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except ValueError:  # not ASCII, not base64, not UTF-8
        text = ""
    if not ids.is_id(text, "aud"):
        raise Invalid(
            "this cursor is not one of this list; pass `next_cursor` as it was given", code="bad_cursor"
        )
    return text
