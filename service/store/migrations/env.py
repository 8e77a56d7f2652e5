"""Where Alembic begins: revisions are run on the connection they are given, within its transaction."""

from alembic import context

from service.store.tables import metadata

# DDL is part of the transaction on SQLite too: our engine begins it itself, where the driver would not.
context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
