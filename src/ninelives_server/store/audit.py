"""The audit log: one row for each change and each use of a credential, in the unit that makes it.

Rows outlive what they name: they hold ids, not references.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from ninelives_server import ids
from ninelives_server.model.actors import Actor
from ninelives_server.store.compiled import Statement
from ninelives_server.store.core import Tx
from ninelives_server.store.tables import audit


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Who did what to which thing.

    Attributes:
        action: `noun.verb_past`, such as `variable.set`.
        target: Id of the thing; a variable's is `PROJECT_ID/NAME`.
        details: What helps to understand it; never a secret.
    """

    id: str
    at: datetime
    org_id: str | None
    project_id: str | None
    actor: str
    action: str
    target: str
    details: Mapping[str, object]


_RECORD = Statement(sa.insert(audit).values({c.name: sa.bindparam(c.name, type_=c.type) for c in audit.c}))


def record(
    tx: Tx,
    actor: Actor,
    action: str,
    target: str,
    *,
    project_id: str | None = None,
    details: Mapping[str, object] | None = None,
) -> None:
    """Write down that `actor` did `action` to `target`, if and only if this unit is committed."""
    _RECORD.run(
        tx,
        id=ids.new("aud"),
        at=tx.now,
        org_id=actor.org_id,
        project_id=project_id,
        actor=actor.id,
        action=action,
        target=target[:80],
        details=dict(details or {}),
    )


def of_org(
    tx: Tx, org_id: str, *, project_id: str | None = None, before: str | None = None, limit: int = 50
) -> list[AuditEntry]:
    """Return the newest entries of an org that are older than the entry `before`."""
    query = sa.select(audit).where(audit.c.org_id == org_id).order_by(audit.c.id.desc()).limit(limit)
    if project_id is not None:
        query = query.where(audit.c.project_id == project_id)
    if before is not None:
        query = query.where(audit.c.id < before)
    return [AuditEntry(**row) for row in tx.connection.execute(query).mappings()]


def delete_older(tx: Tx, than: datetime, *, limit: int = 500) -> int:
    """Delete at most `limit` entries that are older; return how many there were."""
    old = sa.select(audit.c.id).where(audit.c.at < than).limit(limit)
    return tx.connection.execute(sa.delete(audit).where(audit.c.id.in_(old.scalar_subquery()))).rowcount
