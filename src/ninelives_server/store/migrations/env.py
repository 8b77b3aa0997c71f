"""What Alembic runs: `store.schema` hands over the connection, with its transaction already open."""

from alembic import context

from ninelives_server.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
    compare_type=True,
)
context.run_migrations()
