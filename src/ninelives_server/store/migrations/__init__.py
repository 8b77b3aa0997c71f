"""Alembic's migrations, run by `store.schema`."""
