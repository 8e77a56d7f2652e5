"""The service's database: one code path (SQLAlchemy Core) for SQLite and PostgreSQL."""
