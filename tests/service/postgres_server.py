"""A PostgreSQL server for tests: the system's binaries, in a temporary folder, on a socket in this folder."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import psycopg

from service.store.database import Store

OWNER = "postgres" if os.name == "posix" and os.geteuid() == 0 else None
"""PostgreSQL refuses to run as root; as root, it runs as the user of Debian's package."""

FAST_SETTINGS = ("fsync=off", "full_page_writes=off", "listen_addresses=", "max_connections=200")

READY_WITHIN = 30.0


def binaries() -> Path | None:
    """Return the folder of the newest PostgreSQL on this machine; None if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    on_path = shutil.which("postgres")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


class Server:
    """A running server and its databases."""

    def __init__(self, programs: Path) -> None:
        self._programs, self._names = programs, count(1)
        self._untouched: str | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="vigie-pg-"))  # a socket's path must be short
        if OWNER:
            shutil.chown(self.folder, OWNER, OWNER)
        self._run("initdb", "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        self.start()
        with self._admin() as connection:
            connection.execute("CREATE DATABASE made")
        Store(self.url("made")).engine.dispose()
        with self._admin("made") as connection:
            self._made_tables = self._tables(connection)

    def _run(self, program: str, *arguments: str) -> None:
        line = [str(self._programs / program), *arguments]
        done = subprocess.run(line, cwd=self.folder, user=OWNER, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        settings = [
            part for setting in (*FAST_SETTINGS, f"unix_socket_directories={self.folder}") for part in ("-c", setting)
        ]
        log = (self.folder / "log").open("ab")
        with log:
            line = [str(self._programs / "postgres"), "-D", "data", *settings]
            self._process = subprocess.Popen(line, cwd=self.folder, user=OWNER, stdout=log, stderr=log)
        until = time.monotonic() + READY_WITHIN
        while True:
            try:
                self._admin().close()
            except psycopg.OperationalError:
                assert time.monotonic() < until, (self.folder / "log").read_text()
                assert self._process.poll() is None, (self.folder / "log").read_text()
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Stop the server as a power cut does."""
        self._run("pg_ctl", "-D", "data", "stop", "-m", "immediate")
        self._process.wait()

    def pause(self) -> None:
        """Make the server hang: its processes keep their sockets and answer nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a server go on that hangs."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        parents = {}
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                parents[int(status.parent.name)] = int(status.read_text().rsplit(")", 1)[1].split()[1])
        for pid in (self._process.pid, *(pid for pid, parent in parents.items() if parent == self._process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def remove(self) -> None:
        """Stop the server and delete its folder."""
        if self._process.poll() is None:
            self.stop()
        shutil.rmtree(self.folder)

    def url(self, name: str) -> str:
        """Return the `database_url` of a database."""
        return f"postgresql://postgres@/{name}?host={self.folder}"

    @contextmanager
    def database(self, like: str = "made") -> Iterator[str]:
        """Create a database, yield its URL, and delete it. It has Vigie's tables, or none if `like` is template0."""
        name, self._untouched = (self._untouched if like == "made" else None), None
        if name is None:
            name = f"test_{next(self._names)}"
            with self._admin() as connection:
                connection.execute(f"CREATE DATABASE {name} TEMPLATE {like}")
        yield self.url(name)
        if like == "made" and self._is_untouched(name):
            self._untouched = name
            return
        with self._admin() as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _is_untouched(self, name: str) -> bool:
        """Whether a test has written nothing to a database. Many tests need none, and to create one takes 0.1 s."""
        try:
            with self._admin(name) as connection:
                others = "FROM pg_stat_activity WHERE datname = %s AND pid != pg_backend_pid()"
                connection.execute(f"SELECT pg_terminate_backend(pid) {others}", [name])
                if self._tables(connection) != self._made_tables:
                    return False
                rows = [f"EXISTS (SELECT FROM {table})" for table in self._made_tables if table != "alembic_version"]
                numbered = "EXISTS (SELECT FROM pg_sequences WHERE last_value IS NOT NULL)"
                (touched,) = connection.execute(f"SELECT {' OR '.join([numbered, *rows])}").fetchone() or (True,)
                return not touched
        except psycopg.Error:
            return False

    @staticmethod
    def _tables(connection: psycopg.Connection) -> list[str]:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        return [name for (name,) in connection.execute(query)]

    def _admin(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(host=str(self.folder), user="postgres", dbname=database, autocommit=True)
