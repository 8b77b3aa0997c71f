"""What columns of several tables have in common: ids, references, times, who made a row."""

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Utc(sa.TypeDecorator[datetime]):
    """An aware datetime in UTC, on databases with and without time zones."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Hand a time to the driver, in UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone must not reach the store")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Take a time from the driver, aware and in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def key(name: str = "id") -> sa.Column[str]:
    """Return the column of an id that is the table's key."""
    return sa.Column(name, sa.String(40), primary_key=True)


def reference(name: str, target: str, *, null: bool = False, index: bool = True) -> sa.Column[str]:
    """Return a column that names a row of another table, and goes with it."""
    return sa.Column(
        name, sa.String(40), sa.ForeignKey(target, ondelete="CASCADE"), nullable=null, index=index
    )


def made() -> list[sa.Column[datetime] | sa.Column[str]]:
    """Return who made the row and when. `created_by` is a user id, or `system`."""
    return [
        sa.Column("created_at", Utc, nullable=False),
        sa.Column("created_by", sa.String(40), nullable=False),
    ]
