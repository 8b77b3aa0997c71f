"""Find the few sessions of a trigger among very many.

Revision: 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index(
        "ix_sessions_org_id_trigger_id_created_at_id",
        "sessions",
        ["org_id", "trigger_id", "created_at", "id"],
        unique=False,
        sqlite_where=sa.text("trigger_id IS NOT NULL"),
        postgresql_where=sa.text("trigger_id IS NOT NULL"),
    )
