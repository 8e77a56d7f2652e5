"""What the service keeps, in one SQL database: SQLAlchemy Core, one code path for SQLite and PostgreSQL."""
