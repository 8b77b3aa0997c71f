"""Keep what each worker has said of its release: servers that it has no link to show it, too.

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("workers", sa.Column("release", sa.String(40), nullable=False, server_default=""))
    op.add_column("workers", sa.Column("semantics", sa.JSON, nullable=False, server_default="[]"))
