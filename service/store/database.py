"""The service's database: how it is opened, read and written.

A transaction that will write says so when it begins, so that SQLite never has to turn a read lock into a write lock
half-way.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from riskmodel.errors import Refused
from riskmodel.home import Home
from service.store.tables import metadata


class Store:
    """The service's database. Opening it makes what tables are missing."""

    @classmethod
    def of(cls, home: Home) -> "Store":
        """The database of a home, a file in it. Raises Refused if it cannot be used."""
        home.root.mkdir(parents=True, exist_ok=True)
        return cls(f"sqlite:///{home.database}")

    def __init__(self, url: str) -> None:
        self.engine = sa.create_engine(url)
        if self.engine.dialect.name == "sqlite":
            sa.event.listen(self.engine, "connect", _sqlite_pragmas)
            sa.event.listen(self.engine, "begin", _sqlite_begin)
        try:
            metadata.create_all(self.engine)
        except sa.exc.DatabaseError as unusable:
            raise Refused(f"the database {self.engine.url.database} cannot be used: {unusable.orig}") from unusable

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of the database."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that holds the right to write from its first moment; whole or not at all."""
        with self.engine.connect().execution_options(vigie_writes=True) as connection, connection.begin():
            yield connection


def _sqlite_pragmas(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we begin transactions ourselves
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 10000", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("vigie_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
