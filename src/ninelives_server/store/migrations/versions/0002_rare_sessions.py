"""Find the few sessions of a state, or of a record, among very many.

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_index(
        "ix_sessions_org_id_state_created_at_id",
        "sessions",
        ["org_id", "state", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_sessions_org_id_record_id_created_at_id",
        "sessions",
        ["org_id", "record_id", "created_at", "id"],
        unique=False,
        sqlite_where=sa.text("record_id IS NOT NULL"),
        postgresql_where=sa.text("record_id IS NOT NULL"),
    )
