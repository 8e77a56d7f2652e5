"""Alembic's entry point: run the revisions on the connection, and in the transaction, of the caller."""

from alembic import context

from service.store.tables import metadata

# On SQLite, DDL is part of the transaction only because our engine begins it. Alembic cannot detect this.
context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
