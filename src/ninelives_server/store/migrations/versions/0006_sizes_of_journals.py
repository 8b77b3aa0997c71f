"""Have each record say how large its session's journal is: a step then changes no row but its own.

Revision: 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("journal", sa.Column("journal_bytes", sa.BigInteger, nullable=False, server_default="0"))
