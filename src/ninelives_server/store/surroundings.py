"""What a session finds around it: the names that its project has for things, read when it starts."""

import sqlalchemy as sa

from ninelives_server.store import tables
from ninelives_server.store.compiled import Statement
from ninelives_server.store.core import Tx

# Made once, as what `store.sessions` asks at each start.
_id: sa.BindParameter[str] = sa.bindparam("the_id")
_SECRETS = Statement(
    sa.select(tables.variables.c.name).where(
        tables.variables.c.project_id == _id, tables.variables.c.is_secret
    )
)
_CONNECTIONS = Statement(
    sa.select(tables.connections.c.name)
    .where(tables.connections.c.project_id == _id)
    .order_by(tables.connections.c.name)
)
_SLUGS = Statement(
    sa.select(tables.triggers.c.name, tables.triggers.c.slug).where(
        tables.triggers.c.project_id == _id, tables.triggers.c.slug.is_not(None)
    )
)


def secret_names(tx: Tx, project_id: str) -> frozenset[str]:
    """Return the names of a project's variables whose values are masked."""
    return frozenset(_SECRETS.scalars(tx, the_id=project_id))


def connection_names(tx: Tx, project_id: str) -> list[str]:
    """Return the names of the connections that a project's sessions may use."""
    return _CONNECTIONS.scalars(tx, the_id=project_id)


def webhook_slugs(tx: Tx, project_id: str) -> dict[str, str]:
    """Return the slug of each webhook trigger of a project, by the trigger's name."""
    return {row.name: row.slug for row in _SLUGS.all(tx, the_id=project_id)}
