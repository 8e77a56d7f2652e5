"""The service's database: where it is, how it is opened, read and written. SQLite or PostgreSQL, and nobody else knows.

There is one writer at a time on both: a transaction that will write says so when it begins and waits for its turn, so
that whatever is numbered is numbered in the order in which it is committed.
"""

import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from riskmodel.errors import BadInput, Refused
from riskmodel.home import Home, atomic_write
from service.settings import load
from service.store.tables import REVISION

PATIENCE = 10
"""How long a writer waits for its turn [s]."""

WRITERS = zlib.crc32(b"vigie writers")
"""The advisory lock of PostgreSQL that the one writer holds."""

FORGOTTEN = 60
"""After how long PostgreSQL ends a transaction that was to write and does nothing: its machine may be gone [s]."""

LEAVING = 1.0
"""How long a connection that was closed may still be seen on PostgreSQL [s]."""

POOL = 16
"""How many connections are kept open; as many again may be opened for a while."""

DRIVERS = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
"""What a `database_url` may begin with, and what SQLAlchemy calls it."""


class Away(Refused):
    """The database cannot be reached, or is not there any more. It may come back."""


class Store:
    """The service's database. Opening one that is empty or of an older Vigie brings its tables up to date."""

    @classmethod
    def of(cls, home: Home, *, bare: bool = False) -> "Store":
        """The database that the settings of a home name; by default a file in the home.

        One that this home had and that is gone, or has lost all its tables, is not begun anew, but with `bare`: then
        it may have no tables, and they are the caller's to make. Raises BadInput for settings that are wrong, Away if
        the database cannot be used or has gone, and Refused if it is none of ours.
        """
        named = load(home).database_url
        home.root.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{home.database}" if named is None else named.get_secret_value()
        name, begun = _name(address(url), home), _begun(home)
        store = cls(url, had=name in begun, bare=bare)
        if name not in begun and store.revision() is not None:
            with suppress(OSError), atomic_write(home.databases) as part:  # who may not write here begins nothing here
                part.write_text("".join(f"{each}\n" for each in sorted({*begun, name})), encoding="utf-8")
        return store

    def __init__(self, url: str, *, had: bool = False, bare: bool = False) -> None:
        where = address(url)
        self.file = Path(str(where.database)).absolute() if where.drivername == "sqlite" else None
        self.name = _name(where)
        """What a person may be told of where it is: no password, no user."""
        self.engine = _sqlite(self.file) if self.file else _postgresql(where)
        # A read on PostgreSQL sees one state from its first statement on, as one on SQLite does by itself.
        one_state: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._reader = self.engine.execution_options(**({} if self.file else one_state))
        try:
            self._open(gone=had and not bare, bare=bare)
        except (sa.exc.DBAPIError, OSError) as unusable:
            self.close()
            raise Away(f"the database {self.name} cannot be used: {reason(unusable)}") from unusable
        except Refused:
            self.close()
            raise

    def _open(self, *, gone: bool, bare: bool) -> None:
        """Find or make the tables. `gone` says that none being there means that they were lost."""
        if self.file and not self.file.exists():
            if gone:
                raise self._gone()
            self.file.touch()
        if self.revision() != REVISION:
            self._upgrade(gone, bare)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of the database."""
        with self._reader.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that holds the right to write from its first moment; whole or not at all.

        Raises sqlalchemy.exc.OperationalError if the writer before it has not ended within `PATIENCE`.
        """
        with self.engine.connect().execution_options(vigie_writes=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def alone(self, name: str, patience: float) -> Iterator[None]:
        """Hold what only one process may do at a time, on whatever machine, for longer than a transaction.

        Raises Refused if another has not let go of it within `patience` [s].
        """
        late = Refused(f"another {name} has been running for longer than its deadline")
        if self.file:
            try:
                held = FileLock(self.file.parent / f"{name}.lock").acquire(timeout=patience)
            except Timeout:
                raise late from None
            with held:
                yield
            return
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.detach()  # closed at the end, not kept: with the connection goes the lock, whatever happens
            connection.exec_driver_sql(f"SET lock_timeout = {int(1000 * patience)}")
            try:
                connection.exec_driver_sql(f"SELECT pg_advisory_lock({zlib.crc32(f'vigie {name}'.encode())})")
            except sa.exc.OperationalError as waited:
                raise late from waited
            yield

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()

    def in_use(self) -> bool:
        """Whether another process has the database open."""
        if self.file is None:
            others = sa.text(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'vigie' AND pid <> pg_backend_pid()"
            )
            until = time.monotonic() + LEAVING
            while True:
                with self.reading() as connection:
                    if not connection.scalar(others):
                        return False
                if time.monotonic() > until:
                    return True
                time.sleep(0.05)
        self.engine.dispose()
        alone = self.engine.raw_connection()
        try:
            alone.cursor().execute("PRAGMA busy_timeout = 0")
            # SQLite leaves the mode of its log only for a connection that is alone; the next one takes it up again.
            alone.cursor().execute("PRAGMA journal_mode = DELETE")
        except sqlite3.OperationalError:
            return True
        finally:
            alone.invalidate()
        return False

    def revision(self) -> str | None:
        """The revision that the tables are stamped with; None where they are not, or are not there."""
        try:
            with self.reading() as connection:
                stamped: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        except (sa.exc.ProgrammingError, sa.exc.OperationalError):
            return None  # whatever else may be wrong with the database shows in the next step
        return stamped

    def begin(self) -> None:
        """Make the tables of this Vigie where there are none; otherwise bring them up to date."""
        self._upgrade()

    def _upgrade(self, gone: bool = False, bare: bool = False) -> None:
        from service.store.upgrade import upgrade  # Alembic is heavy, and hardly ever needed

        with self.writing() as connection:
            if (gone or bare) and not sa.inspect(connection).get_table_names():
                if gone:
                    raise self._gone()
                return
            upgrade(connection, self.name)

    def _gone(self) -> Away:
        return Away(
            f"the database {self.name} has gone, or is empty, and this home had one there: bring it back, or restore "
            "a backup (vigie db restore FILE); if it is lost, vigie db begin makes an empty one in its place"
        )


def address(url: str) -> sa.URL:
    """Where a `database_url` points. Raises BadInput, in words that do not repeat it: it may hold a password."""
    try:
        where = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise BadInput("database_url is not a URL such as postgresql://user:password@host/name") from None
    if where.drivername not in DRIVERS:
        raise BadInput("database_url begins with sqlite:/// or postgresql://")
    if not where.database:
        raise BadInput("database_url names no database")
    if where.drivername == "sqlite" and (where.database == ":memory:" or where.query):
        raise BadInput("database_url of SQLite is sqlite:/// and the path of a file, nothing more")
    return where.set(drivername=DRIVERS[where.drivername])


def _name(where: sa.URL, home: Home | None = None) -> str:
    """What a database is called; the path of a file begins in the home, where one is given that it stands in."""
    if where.drivername != "sqlite":
        port = f":{where.port}" if where.port else ""
        return f"{where.database} on {where.host or where.query.get('host', 'this machine')}{port}"
    file = Path(str(where.database)).absolute()
    root = home and home.root.absolute()
    return str(file.relative_to(root) if root and file.is_relative_to(root) else file)


def _begun(home: Home) -> set[str]:
    """The names of the databases that were begun for a home."""
    with suppress(FileNotFoundError):
        return set(home.databases.read_text(encoding="utf-8").splitlines())
    return set()


def reason(failure: sa.exc.DBAPIError | OSError) -> str:
    """What the driver, or the system, says of a failure, on one line."""
    said = failure.orig if isinstance(failure, sa.exc.DBAPIError) else failure.strerror
    return " ".join(str(said).split())


def _sqlite(file: Path) -> sa.Engine:
    """An engine on a file that must be there: a database that has gone is not quietly begun anew."""
    query = {"mode": "rw", "uri": "true"}
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=file.as_uri(), query=query),
        pool_size=POOL,
        max_overflow=POOL,
        hide_parameters=True,
    )

    def opened(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # we begin transactions ourselves
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout = {1000 * PATIENCE}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
        entry.info["file"] = _identity(file)

    def taken(_: DBAPIConnection, entry: ConnectionPoolEntry, __: PoolProxiedConnection) -> None:
        if entry.info["file"] != _identity(file):
            raise sa.exc.DisconnectionError("the file was moved away")

    sa.event.listen(engine, "connect", opened)
    sa.event.listen(engine, "checkout", taken)
    sa.event.listen(engine, "begin", _sqlite_begin)
    return engine


def _identity(file: Path) -> tuple[int, int] | None:
    """Which file stands under a name now."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _sqlite_begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("vigie_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(where: sa.URL) -> sa.Engine:
    """An engine that knows a dead connection before it uses it."""
    where = where.set(query={"connect_timeout": "5", **where.query, "application_name": "vigie"})
    try:
        engine = sa.create_engine(where, pool_size=POOL, max_overflow=POOL, pool_pre_ping=True, hide_parameters=True)
    except ModuleNotFoundError:
        raise BadInput("PostgreSQL needs one more package: pip install 'vigie[postgresql]'") from None
    sa.event.listen(engine, "begin", _postgresql_begin)
    return engine


def _postgresql_begin(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("vigie_writes", False):
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {1000 * PATIENCE}")
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = {1000 * FORGOTTEN}")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITERS})")
