"""The store on SQLite and PostgreSQL: opening, upgrading, one writer at a time, a database that is gone and is back."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from postgres_server import Server
from snapshot_documents import NOW
from snapshots_support import SnapshotHome

from riskmodel.errors import Refused
from riskmodel.home import Home
from service.cli.app import create_app
from service.http.request_context import context_of
from service.jobs import processes
from service.store import database, postgresql
from service.store.database import Store
from service.store.tables import REVISION, keys, metadata, runs
from service.store.upgrade import known_revisions

USER = "duty_officer"
SECRET = "hunter2"  # noqa: S105 - invented; the test looks for it where it must not be


@dataclass(frozen=True)
class PreparedDatabase:
    """A home with an empty database of one kind; `take_away` and `bring_back` make it unavailable and available."""

    home: Home
    take_away: Callable[[], None]
    bring_back: Callable[[], None]
    engine: sa.Engine

    def execute(self, *statements: str) -> None:
        """Run statements without Vigie."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def tables(self) -> set[str]:
        return set(sa.inspect(self.engine).get_table_names())


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[PreparedDatabase]:
    home.root.mkdir()
    if request.param == "sqlite":
        monkeypatch.delenv("VIGIE_DATABASE_URL", raising=False)
        away = home.root / "elsewhere.db"
        engine = sa.create_engine(f"sqlite:///{home.database}", poolclass=sa.NullPool)
        yield PreparedDatabase(
            home,
            lambda: Path(home.database.rename(away)) and None,
            lambda: Path(away.rename(home.database)) and None,
            engine,
        )
        return
    server = request.getfixturevalue("postgresql")
    with server.database("template0") as url:
        monkeypatch.setenv("VIGIE_DATABASE_URL", url)
        yield PreparedDatabase(
            home, server.stop, server.start, sa.create_engine(database.parse_url(url), poolclass=sa.NullPool)
        )


def run(store: Store, **changed: Any) -> None:
    with store.writing() as connection:
        connection.execute(sa.insert(runs).values(region="MLI", started_at=NOW, status="failed", **changed))


def ids(store: Store) -> list[int]:
    with store.reading() as connection:
        return list(connection.execute(sa.select(runs.c.id).order_by(runs.c.id)).scalars())


@pytest.mark.parametrize(
    ("url", "code", "rule"),
    [
        (f"postgresql://vigie:{SECRET}@127.0.0.1:1/vigie", 4, "the database vigie on 127.0.0.1:1 cannot be used"),
        (f"postgresql://vigie:{SECRET}@[::1/vigie", 3, "database_url"),
        (f"mysql://vigie:{SECRET}@db/vigie", 3, "begins with sqlite:/// or postgresql://"),
        (f"postgresql://vigie:{SECRET}@db", 3, "names no database"),
        (SECRET, 3, "is not a URL such as"),
        ("sqlite:///:memory:", 3, "the path of a file"),
        ("sqlite://", 3, "names no database"),
    ],
)
def test_a_database_that_cannot_be_opened_is_reported_without_its_password(
    vigie: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, code: int, rule: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{url}\n")
    monkeypatch.delenv("VIGIE_DATABASE_URL", raising=False)
    monkeypatch.setenv("VIGIE_DATABASE_URL_FILE", str(secret))
    result = vigie("scores")
    assert (result.code, rule in result.err) == (code, True), result.err
    assert SECRET not in result.err + result.out
    assert not (tmp_path / "home" / "logs").exists()


def test_an_error_of_postgresql_shows_no_user_and_no_value(postgresql: Server) -> None:
    """Neither in the message nor in a traceback, which has the driver's own exception too."""
    with postgresql.database() as url:
        with pytest.raises(database.DatabaseUnavailable) as unavailable:
            Store(url.replace("postgres@", f"{USER}:{SECRET}@"))
        text = "".join(traceback.format_exception(unavailable.value))
        assert 'role "…" does not exist' in str(unavailable.value)
        assert USER not in text
        assert SECRET not in text
        store = Store(url)
        row = {"prefix": "seen-by-none", "digest": SECRET, "scope": "read", "label": "x", "created_at": NOW}
        with pytest.raises(sa.exc.IntegrityError) as twice, store.writing() as connection:
            connection.execute(sa.insert(keys), [row, row])
        with pytest.raises(sa.exc.DataError) as wrong, store.reading() as connection:
            connection.execute(sa.text("SELECT CAST(:value AS integer)"), {"value": SECRET})
        for failure in (twice, wrong):
            text = "".join(traceback.format_exception(failure.value))
            assert "seen-by-none" not in text
            assert SECRET not in text
        assert "UniqueViolation (23505) in keys" in str(twice.value)
        store.close()


def test_only_the_owner_can_read_a_sqlite_database(tmp_path: Path) -> None:
    """Also if others could read it before, and whatever the umask is."""
    before = os.umask(0o022)
    try:
        file = tmp_path / "vigie.db"
        for _ in range(2):
            store = Store(f"sqlite:///{file}")
            run(store)
            assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("vigie.db*")} == {0o600}
            store.close()
            file.chmod(0o644)
    finally:
        os.umask(before)


@pytest.mark.parametrize(("export", "mode"), [(None, 0o700), ("/elsewhere", 0o700), ("public", 0o711)])
def test_others_cannot_list_a_home(home: Home, monkeypatch: pytest.MonkeyPatch, export: str | None, mode: int) -> None:
    home.root.mkdir()
    home.root.chmod(0o755)
    if export:
        monkeypatch.setenv("VIGIE_EXPORT_DIR", export)
    Store.of(home).close()
    assert home.root.stat().st_mode & 0o777 == mode


def test_tables_and_migrations_agree(place: PreparedDatabase) -> None:
    Store.of(place.home)
    with place.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert known_revisions() == [REVISION]


OPEN = (
    "from pathlib import Path\nfrom riskmodel.home import Home\nfrom service.store.database import Store\nimport sys\n"
)


def test_processes_that_start_at_once_create_the_tables_once(place: PreparedDatabase) -> None:
    script = OPEN + "Store.of(Home(Path(sys.argv[1])))"
    line = [sys.executable, "-c", script, str(place.home.root)]
    started = [subprocess.Popen(line, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], errors
    assert Store.of(place.home).revision() == REVISION


KILLED = """
import os, signal
import sqlalchemy as sa

seen = 0

@sa.event.listens_for(sa.Engine, "after_cursor_execute")
def count(connection, cursor, statement, *_):
    global seen
    seen += statement.lstrip().startswith("CREATE")
    if seen == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

Store.of(Home(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("moment", [1, 9])
def test_a_process_killed_while_it_creates_the_tables_leaves_none(place: PreparedDatabase, moment: int) -> None:
    line = [sys.executable, "-c", OPEN + KILLED, str(place.home.root), str(moment)]
    assert subprocess.run(line, check=False).returncode == -signal.SIGKILL
    assert place.tables() == set()
    store = Store.of(place.home)
    assert (store.revision(), ids(store)) == (REVISION, [])


def test_a_database_of_a_newer_vigie_is_refused(place: PreparedDatabase, vigie: Callable[..., Any]) -> None:
    Store.of(place.home)
    place.execute("UPDATE alembic_version SET version_num = '9999'")
    refused = vigie("scores")
    assert (refused.code, "was made by a newer Vigie (revision 9999; this one has" in refused.err) == (1, True)


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        (("CREATE TABLE runs (id INTEGER)",), "tables without a revision: runs"),
        (
            (
                "CREATE TABLE runs (id INTEGER)",
                "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)",
                "INSERT INTO alembic_version VALUES ('0002')",
            ),
            "revision 0002",
        ),
    ],
)
def test_a_database_from_before_the_first_release_is_refused_with_the_way_out(
    place: PreparedDatabase, vigie: Callable[..., Any], statements: tuple[str, ...], found: str
) -> None:
    place.execute(*statements)
    before = place.tables()
    refused = vigie("recompute")
    assert refused.code == 1
    assert f"was made by an older Vigie ({found}), and this one cannot read it" in refused.err
    assert "and run vigie recompute" in refused.err
    assert place.tables() == before


def test_an_older_database_that_was_moved_away_is_replaced_by_a_new_one(
    home: Home, vigie: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The home's list of its databases was called `databases` then, and does not stop the new one."""
    monkeypatch.delenv("VIGIE_DATABASE_URL", raising=False)
    home.root.mkdir()
    (home.root / "databases").write_text("vigie.db\n")
    with sqlite3.connect(home.database) as connection:
        connection.execute("CREATE TABLE runs (id INTEGER)")
    connection.close()
    assert "move the file away" in vigie("recompute").err
    home.database.rename(home.root / "old.db")
    assert "the archive is empty" in vigie("recompute").err
    assert len(ids(Store.of(home))) == 1, "a new database has the failed run"


def test_rows_are_numbered_in_the_order_of_commits(place: PreparedDatabase) -> None:
    """One of two writers waits between number and commit. No reader sees a smaller number appear later."""
    store = Store.of(place.home)
    seen: list[list[int]] = []
    ended = threading.Event()

    def write(wait: float, times: int) -> None:
        for _ in range(times):
            with store.writing() as connection:
                connection.execute(sa.insert(runs).values(region="MLI", started_at=NOW, status="failed"))
                time.sleep(wait)

    def read() -> None:
        while not ended.is_set():
            seen.append(ids(store))

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=how) for how in ((0.02, 10), (0.0, 40))]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    ended.set()
    reader.join()
    last = ids(store)
    assert len(last) == 50
    assert all(some == last[: len(some)] for some in seen)


def test_a_reader_sees_one_state(place: PreparedDatabase) -> None:
    store = Store.of(place.home)
    run(store)
    count = sa.select(sa.func.count()).select_from(runs)
    with store.reading() as connection:
        assert connection.scalar(count) == 1
        run(store)
        assert connection.scalar(count) == 1
    assert len(ids(store)) == 2


def test_a_writer_waits_for_the_one_before_but_not_for_ever(
    place: PreparedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (database, postgresql):
        monkeypatch.setattr(module, "WRITE_LOCK_TIMEOUT", 1)
    store = Store.of(place.home)
    with store.writing():
        began = time.monotonic()
        with pytest.raises(sa.exc.OperationalError):
            run(store)
        assert time.monotonic() - began > 0.9
    run(store)


HOLD = """
with Store.of(Home(Path(sys.argv[1]))).exclusive("recompute", 5):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_an_exclusive_lock_ends_with_its_process(place: PreparedDatabase) -> None:
    store = Store.of(place.home)
    line = [sys.executable, "-c", OPEN + HOLD, str(place.home.root)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Refused, match="another recompute"), store.exclusive("recompute", 0.2):
            pass
        with store.exclusive("pull", 0.2):
            pass
        holder.kill()
    with store.exclusive("recompute", 5):
        assert ids(store) == []


def test_the_web_reports_a_missing_database_until_it_is_back(place: PreparedDatabase) -> None:
    issuer = SnapshotHome(place.home.root)
    issuer.add_ingests("real")
    issuer.issue()
    client = create_app(place.home, clock=lambda: NOW).test_client()
    assert client.get("/v1/scores").status_code == 200
    place.take_away()
    try:
        for _ in range(2):
            answer = client.get("/v1/scores")
            assert (answer.status_code, answer.json["type"]) == (503, "urn:vigie:problem:unreadable-store")
        assert client.get("/healthz").status_code == 200
        with pytest.raises(sa.exc.OperationalError):
            run(issuer.store)
        assert not place.home.database.exists()
    finally:
        place.bring_back()
    assert client.get("/v1/scores").json["snapshot_id"] == 1
    run(issuer.store)


@pytest.fixture
def run_vigie(place: PreparedDatabase, vigie: Callable[..., Any]) -> Callable[..., Any]:
    """`vigie` over a home whose database is lost; the file `backup` has a backup of it, with one run."""
    store = Store.of(place.home)
    run(store)
    store.close()
    assert vigie("--home", place.home.root, "db", "backup", place.home.root / "backup").code == 0
    if place.engine.dialect.name == "sqlite":
        place.take_away()
    else:
        metadata.drop_all(place.engine)
        place.execute("DROP TABLE alembic_version")
    return lambda *words: vigie("--home", place.home.root, *words)


@pytest.mark.parametrize("command", ["jobs", "recompute", "verify", "prune", "scores", "db check"])
def test_a_missing_database_is_not_created_again(
    place: PreparedDatabase, run_vigie: Callable[..., Any], command: str
) -> None:
    result = run_vigie(*command.split())
    assert (result.code, "is missing or empty" in result.err) == (4, True), result.err
    assert "vigie db restore" in result.err
    assert "vigie db begin" in result.err
    assert not place.home.database.exists()
    assert place.tables() == set()


def test_a_process_that_starts_meanwhile_does_not_create_it(
    place: PreparedDatabase, run_vigie: Callable[..., Any]
) -> None:
    line = processes.command(place.home, "scheduler")
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "is missing or empty" in done.stderr) == (4, True), done.stderr
    assert place.tables() == set()


def test_a_home_that_was_moved_knows_its_databases(place: PreparedDatabase, run_vigie: Callable[..., Any]) -> None:
    moved = Home(place.home.root.rename(place.home.root.parent / "moved"))
    with pytest.raises(database.DatabaseUnavailable, match="is missing"):
        Store.of(moved)


def test_a_lost_database_is_restored_from_a_backup(
    place: PreparedDatabase, run_vigie: Callable[..., Any], tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    cut.write_bytes((place.home.root / "backup").read_bytes()[:-20])
    assert run_vigie("db", "restore", cut).code != 0
    for _ in range(3):
        assert run_vigie("jobs").code == 4, "a restore that failed has created nothing"
    restored = run_vigie("db", "restore", place.home.root / "backup")
    assert restored.code == 0, restored.err
    assert ids(Store.of(place.home)) == [1]


def test_db_begin_creates_a_new_database_in_the_place_of_a_lost_one(
    place: PreparedDatabase, run_vigie: Callable[..., Any]
) -> None:
    for _ in range(2):
        assert f"revision {REVISION}" in run_vigie("db", "begin").out
    run(Store.of(place.home))
    assert run_vigie("db", "begin").code == 0
    assert ids(Store.of(place.home)) == [1]


def test_another_database_is_created(
    place: PreparedDatabase, run_vigie: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VIGIE_DATABASE_URL", f"sqlite:///{tmp_path}/another.db")
    assert ids(Store.of(place.home)) == []
    (tmp_path / "another.db").unlink()
    with pytest.raises(database.DatabaseUnavailable, match=r"another\.db is missing"):
        Store.of(place.home)


@pytest.mark.parametrize(
    "path", ["/v1/scores", "/v1/runs", "/v1/snapshots/1", "/v1/alerts", "/readyz", "/", "/country/MLI"]
)
def test_no_request_scans_a_whole_table(home: Home, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.delenv("VIGIE_DATABASE_URL", raising=False)
    issuer = SnapshotHome(home.root)
    issuer.add_ingests("real")
    issuer.issue()
    app = create_app(home, clock=lambda: NOW)
    plans: dict[str, str] = {}

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            rows = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            plans[statement] = "; ".join(row[3] for row in rows)

    sa.event.listen(context_of(app).store.engine, "before_cursor_execute", explain)
    assert app.test_client().get(path).status_code == 200
    assert plans
    # These tables have a row for each job, and for each route.
    small = re.compile(r"\nFROM (jobs|route_pauses) ")
    large = {statement: plan for statement, plan in plans.items() if not small.search(statement)}
    assert {
        statement: plan for statement, plan in large.items() if "SCAN" in plan.replace("SCAN CONSTANT ROW", "")
    } == {}


def test_opening_an_up_to_date_store_does_not_import_alembic(place: PreparedDatabase) -> None:
    Store.of(place.home)
    script = OPEN + "Store.of(Home(Path(sys.argv[1])))\nsys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script, str(place.home.root)], check=False).returncode == 0
