"""Open, read and write the service's database, on SQLite or PostgreSQL.

Both databases have one writer at a time. A transaction that will write takes the write lock when it begins. So rows
are numbered in the order in which they are committed, and a reader never meets a smaller number later.
"""

import logging
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

from riskmodel.errors import BadInput, Refused, Unavailable
from riskmodel.home import Home, atomic_write
from service.settings import load
from service.store import postgresql, seals
from service.store.postgresql import POOL_SIZE, WRITE_LOCK_TIMEOUT, Deadlines
from service.store.tables import REVISION

log = logging.getLogger("vigie.store")

CLOSED_CONNECTION_LINGER = 1.0
"""How long PostgreSQL may still list a connection that was closed [s]."""

DRIVERS = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
"""The schemes that a `database_url` may have, and SQLAlchemy's driver for each."""


class DatabaseUnavailable(Unavailable):
    """The database cannot be reached, or its tables are gone. It may come back."""


class Store:
    """The service's database. Opening an empty database creates its tables."""

    @classmethod
    def of(cls, home: Home, *, allow_empty: bool = False, deadlines: Deadlines | None = None) -> "Store":
        """Open the database that the settings of a home name; by default a file in the home.

        The home remembers which databases it has had. If one of them is missing or empty, it is not created a second
        time: the data may only be out of reach. With `allow_empty` it may be empty, and the caller creates its tables.
        `deadlines` are those of transactions on PostgreSQL; without them a server that hangs is waited for.
        Raises BadInput for wrong settings, DatabaseUnavailable if the database cannot be used or is missing, and
        Refused if it was made by another version of Vigie.
        """
        settings = load(home)
        database_url = settings.database_url
        home.root.mkdir(parents=True, exist_ok=True)
        export = settings.export_dir and (home.root / settings.export_dir.expanduser()).absolute()
        # A web server must pass through the home to reach an export in it, but need not list the home.
        inside = export is not None and export.is_relative_to(home.root.absolute())
        _make_private(home.root, 0o711 if inside else 0o700)
        # Not as text: "?", "%" and "#" in the path of a home would be taken for parts of a URL.
        in_home = sa.URL.create("sqlite", database=str(home.database))
        url = in_home if database_url is None else parse_url(database_url.get_secret_value())
        name, known = _name(url, home), _known_databases(home)
        store = cls(url, known=name in known, allow_empty=allow_empty, deadlines=deadlines)
        if name not in known and store.revision() is not None:
            # A process without write access to the home has not created a database for it either.
            with suppress(OSError), atomic_write(home.known_databases) as part:
                part.write_text("".join(f"{each}\n" for each in sorted({*known, name})), encoding="utf-8")
        return store

    def __init__(
        self, url: str | sa.URL, *, known: bool = False, allow_empty: bool = False, deadlines: Deadlines | None = None
    ) -> None:
        """Open a database by its URL. `known` says that it had tables before."""
        parsed = url if isinstance(url, sa.URL) else parse_url(url)
        self.file = Path(str(parsed.database)).absolute() if parsed.drivername == "sqlite" else None
        self.name = _name(parsed)
        """Where it is, without user and password: fit for messages."""
        self.engine = _sqlite(self.file) if self.file else postgresql.engine(parsed, deadlines)
        seals.watch(self.engine)
        # A reader sees one state from its first statement to its last. SQLite does this without being asked.
        one_state: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._reader = self.engine.execution_options(**({} if self.file else one_state))
        try:
            self._open(missing_is_error=known and not allow_empty, allow_empty=allow_empty)
        except (sa.exc.DBAPIError, OSError) as unusable:
            self.close()
            raise DatabaseUnavailable(f"the database {self.name} cannot be used: {reason(unusable)}") from unusable
        except (Refused, Unavailable):
            self.close()
            raise

    def _open(self, *, missing_is_error: bool, allow_empty: bool) -> None:
        if self.file and not self.file.exists():
            if missing_is_error:
                raise self._missing()
            self.file.touch(mode=0o600)
        if self.file:
            # Its journals get the mode that it has when they are made.
            for path in (self.file, *(self.file.with_name(self.file.name + suffix) for suffix in ("-wal", "-shm"))):
                _make_private(path, 0o600)
        if self.revision() != REVISION:
            self._upgrade(missing_is_error, allow_empty)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a connection that sees one state of the database."""
        with self._reader.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Open a transaction that holds the write lock from its beginning; it is committed as a whole or not at all.

        Raises sqlalchemy.exc.OperationalError if the writer before it has not ended within `WRITE_LOCK_TIMEOUT`.
        """
        with self._transaction(vigie_writes=True) as connection:
            yield connection
            seals.seal_rows(connection)

    @contextmanager
    def _transaction(self, **options: bool) -> Iterator[sa.Connection]:
        with self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    @contextmanager
    def exclusive(self, name: str, timeout: float) -> Iterator[None]:
        """Hold a named lock that one process has at a time, on all machines, for longer than one transaction.

        Raises Refused if another process still holds it after `timeout` [s].
        """
        refused = Refused(f"another {name} has been running for longer than its deadline")
        if self.file:
            try:
                lock = FileLock(self.file.parent / f"{name}.lock").acquire(timeout=timeout)
            except Timeout:
                raise refused from None
            with lock:
                yield
            return
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            # Not returned to the pool but closed at the end, so that the lock is released whatever happens.
            connection.detach()
            connection.exec_driver_sql(f"SET lock_timeout = {int(1000 * timeout)}")
            try:
                connection.exec_driver_sql(f"SELECT pg_advisory_lock({zlib.crc32(f'vigie {name}'.encode())})")
            except sa.exc.OperationalError as timed_out:
                raise refused from timed_out
            yield

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def in_use(self) -> bool:
        """Return whether another process has the database open."""
        return self._other_postgresql_clients() if self.file is None else self._other_sqlite_clients()

    def _other_postgresql_clients(self) -> bool:
        others = sa.text(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'vigie' AND pid <> pg_backend_pid()"
        )
        until = time.monotonic() + CLOSED_CONNECTION_LINGER
        while True:
            with self.reading() as connection:
                if not connection.scalar(others):
                    return False
            if time.monotonic() > until:
                return True
            time.sleep(0.05)

    def _other_sqlite_clients(self) -> bool:
        self.engine.dispose()
        probe = self.engine.raw_connection()
        try:
            probe.cursor().execute("PRAGMA busy_timeout = 0")
            # SQLite leaves WAL mode only if no other connection is open. The next connection turns WAL on again.
            probe.cursor().execute("PRAGMA journal_mode = DELETE")
        except sqlite3.OperationalError:
            return True
        finally:
            probe.invalidate()
        return False

    def revision(self) -> str | None:
        """Return the revision that the tables are stamped with; None if there is no stamp."""
        try:
            with self.reading() as connection:
                revision: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        except (sa.exc.ProgrammingError, sa.exc.OperationalError):
            return None  # the table is missing; any other fault of the database shows in the next statement
        return revision

    def create_tables(self) -> None:
        """Create the tables if there are none; otherwise bring them up to date."""
        self._upgrade()

    def _upgrade(self, missing_is_error: bool = False, allow_empty: bool = False) -> None:
        from service.store.upgrade import upgrade  # Alembic is slow to import and rarely needed

        with self._transaction(vigie_writes=True, vigie_unbounded=True) as connection:
            if (missing_is_error or allow_empty) and not sa.inspect(connection).get_table_names():
                if missing_is_error:
                    raise self._missing()
                return
            upgrade(connection, self.name)

    def _missing(self) -> DatabaseUnavailable:
        return DatabaseUnavailable(
            f"the database {self.name} is missing or empty, and this home had data in it. Bring it back, or restore a "
            "backup (vigie db restore FILE). If it is lost, create an empty one (vigie db begin)"
        )


def parse_url(url: str) -> sa.URL:
    """Parse a `database_url`. Raises BadInput with a text that does not repeat the URL: it may contain a password."""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise BadInput("database_url is not a URL such as postgresql://user:password@host/name") from None
    if parsed.drivername not in DRIVERS:
        raise BadInput("database_url begins with sqlite:/// or postgresql://")
    if not parsed.database:
        raise BadInput("database_url names no database")
    if parsed.drivername == "sqlite" and (parsed.database == ":memory:" or parsed.query):
        raise BadInput("database_url of SQLite is sqlite:/// and the path of a file, nothing more")
    return parsed.set(drivername=DRIVERS[parsed.drivername])


def _name(url: sa.URL, home: Home | None = None) -> str:
    """Return a name for a database without user and password; the path of a file is relative to `home` if inside it."""
    if url.drivername != "sqlite":
        port = f":{url.port}" if url.port else ""
        return f"{url.database} on {url.host or url.query.get('host', 'this machine')}{port}"
    file = Path(str(url.database)).absolute()
    root = home and home.root.absolute()
    return str(file.relative_to(root) if root and file.is_relative_to(root) else file)


def _known_databases(home: Home) -> set[str]:
    """Return the names of the databases that were created for a home."""
    with suppress(FileNotFoundError):
        return set(home.known_databases.read_text(encoding="utf-8").splitlines())
    return set()


def reason(failure: sa.exc.DBAPIError | OSError) -> str:
    """Return the driver's or the system's error text, on one line."""
    error = failure.orig if isinstance(failure, sa.exc.DBAPIError) else failure.strerror
    return " ".join(str(error).split())


def _sqlite(file: Path) -> sa.Engine:
    """Return an engine on an existing file. It does not create a file that has gone."""
    query = {"mode": "rw", "uri": "true"}
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=file.as_uri(), query=query),
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        hide_parameters=True,
    )

    def connected(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # we begin transactions ourselves
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout = {1000 * WRITE_LOCK_TIMEOUT}",
            "journal_mode = WAL",
            "synchronous = FULL",  # with WAL and NORMAL, the last commits may be lost when the power fails
            "foreign_keys = ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
        entry.info["file"] = _identity(file)

    def checked_out(_: DBAPIConnection, entry: ConnectionPoolEntry, __: PoolProxiedConnection) -> None:
        # A pooled connection would read and write a file that was moved away or replaced.
        if entry.info["file"] != _identity(file):
            raise sa.exc.DisconnectionError("the file was moved away")

    sa.event.listen(engine, "connect", connected)
    sa.event.listen(engine, "checkout", checked_out)
    sa.event.listen(engine, "begin", _sqlite_begin)
    return engine


def _make_private(path: Path, mode: int) -> None:
    """Take the rights beyond this mode from a file or folder, if it exists."""
    with suppress(FileNotFoundError):
        if path.stat().st_mode & 0o777 & ~mode:
            try:
                path.chmod(mode)
            except PermissionError:
                log.warning("others can read %s: its owner must run chmod %o %s", path.name, mode, path)


def _identity(file: Path) -> tuple[int, int] | None:
    """Return device and inode of the file that now has this path; None if there is none."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _sqlite_begin(connection: sa.Connection) -> None:
    # A transaction that reads first and writes later gets "database is locked" at once, without waiting.
    writes = connection.get_execution_options().get("vigie_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
