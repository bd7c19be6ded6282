"""What Alembic runs: the migrations, within the transaction of the connection that it is given."""

from alembic import context

from packshot.jobs.database import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a table by making it anew.
    compare_type=True,
    transactional_ddl=False,  # The transaction is the caller's.
)
context.run_migrations()
