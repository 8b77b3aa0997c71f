"""Have each record say how large its session's journal is: a step then changes no row but its own.

The session's own number gets another name. A server of an earlier release that still runs would count on from
it, and take the records that it cannot add for such as are there already; without it, it fails.

Revision: 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("journal", sa.Column("journal_bytes", sa.BigInteger, nullable=False, server_default="0"))
    op.execute("ALTER TABLE sessions RENAME COLUMN next_seq TO base_seq")
