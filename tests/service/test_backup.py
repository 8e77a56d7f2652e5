"""`vigie db`: a backup has every byte; it is restored into either database or not at all; a check finds damage."""

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from snapshot_documents import NOW
from snapshots_support import SnapshotHome

from riskmodel.home import Home
from service.store.database import Store
from service.store.tables import REVISION, forecasts, runs, snapshots

BYTES = bytes(range(256))
KINDS = ("sqlite", "postgresql")
Chosen = Callable[[str], Home]


@pytest.fixture
def chosen(
    request: pytest.FixtureRequest, vigie: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Chosen]:
    """Choose a kind of database: from then on, `vigie` and `Store.of` open an empty one, in a new home."""
    with ExitStack() as databases:

        def choose(kind: str) -> Home:
            home = Home(tmp_path / kind / str(len(list(tmp_path.glob("*/*")))))
            home.root.mkdir(parents=True)
            monkeypatch.setenv("VIGIE_HOME", str(home.root))
            monkeypatch.delenv("VIGIE_DATABASE_URL", raising=False)
            if kind == "postgresql":
                server = request.getfixturevalue("postgresql")
                monkeypatch.setenv("VIGIE_DATABASE_URL", databases.enter_context(server.database()))
            return home

        yield choose


@pytest.fixture
def filled(chosen: Chosen) -> Chosen:
    """The same, with two snapshots, their runs and the bytes of a forecast; the database is closed."""

    def fill(kind: str) -> Home:
        issuer = SnapshotHome(chosen(kind).root)
        issuer.add_ingests("real")
        issuer.issue(simulated=True)
        issuer.issue()
        with issuer.store.writing() as connection:
            row = {"snapshot_id": 2, "forecaster": "pool", "location_code": "MLI", "role": "served", "digest": "d" * 64}
            connection.execute(sa.insert(forecasts).values(**row, outcome="all", parquet=BYTES, csv=None))
            # Not as Vigie would write it: the digest is that of the stored bytes.
            text = sa.literal('{ "name": "été\\u0000" }', sa.Text)
            connection.execute(sa.update(snapshots).where(snapshots.c.id == 1).values(document=text))
        issuer.store.close()
        return issuer.home

    return fill


def everything(home: Home) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows as they are stored."""
    store = Store.of(home)
    with store.reading() as connection:
        tables = sa.MetaData()
        tables.reflect(connection)
        found = {
            name: sorted((tuple(row) for row in connection.execute(sa.select(table))), key=str)
            for name, table in tables.tables.items()
        }
    store.close()
    return found


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("target", KINDS)
def test_a_backup_of_either_database_restores_into_either(
    filled: Chosen, chosen: Chosen, vigie: Callable[..., Any], tmp_path: Path, source: str, target: str
) -> None:
    before = everything(filled(source))
    file = tmp_path / "vigie.backup"
    assert vigie("db", "backup", file).code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    home = chosen(target)
    result = vigie("db", "restore", file)
    assert (result.code, "21 rows" in result.out) == (0, True), result.err
    assert everything(home) == before
    assert BYTES in before["forecasts"][0]
    assert vigie("db", "check").code == 0
    store = Store.of(home)
    with store.writing() as connection:
        new = sa.insert(runs).values(region="MLI", started_at=NOW, status="failed").returning(runs.c.id)
        assert connection.execute(new).scalar_one() == 3


def test_a_backup_overwrites_nothing(filled: Chosen, vigie: Callable[..., Any], tmp_path: Path) -> None:
    filled("sqlite")
    file = tmp_path / "vigie.backup"
    file.write_text("mine")
    result = vigie("db", "backup", file)
    assert (result.code, "does not overwrite" in result.err, file.read_text()) == (3, True, "mine")


@pytest.mark.parametrize("kind", KINDS)
def test_an_incomplete_backup_changes_nothing(
    filled: Chosen, chosen: Chosen, vigie: Callable[..., Any], tmp_path: Path, kind: str
) -> None:
    filled("sqlite")
    complete = tmp_path / "vigie.backup"
    assert vigie("db", "backup", complete).code == 0
    content = complete.read_bytes()
    lines = gzip.decompress(content).splitlines(keepends=True)
    row = next(place for place, line in enumerate(lines) if line.startswith(b'{"row"'))
    home = chosen(kind)
    empty = everything(home)
    head = lines[0].replace(b'"made_at":"2', b'"made_at":"1')
    assert head != lines[0]
    broken = {
        "cut": content[: len(content) // 2],
        "empty": b"",
        "text": b"no backup",
        "altered": content[:400] + bytes([content[400] ^ 1]) + content[401:],
        "altered, and well-formed": gzip.compress(head + b"".join(lines[1:]))[:-8] + content[-8:],
        "something behind": gzip.compress(b"".join([*lines, lines[-1]])),
        "a row less": gzip.compress(b"".join([*lines[:row], *lines[row + 1 :]])),
        "no end": gzip.compress(b"".join(lines[:-1])),
        "other JSON": gzip.compress(b"[]\n"),
    }
    for name, part in broken.items():
        file = tmp_path / name
        file.write_bytes(part)
        result = vigie("db", "restore", file)
        assert (result.code, "is not a complete backup of Vigie" in result.err) == (3, True), (name, result.err)
        assert everything(home) == empty, name
    for revision, age in (("9999", "a newer"), ("0002", "an older")):
        other = {**json.loads(lines[0]), "revision": revision, "vigie": "9.9"}
        (tmp_path / revision).write_bytes(gzip.compress(json.dumps(other).encode() + b"\n"))
        assert f"made by {age} Vigie (9.9)" in vigie("db", "restore", tmp_path / revision).err
        assert everything(home) == empty
    assert "No such file" in vigie("db", "restore", tmp_path / "none").err


@pytest.mark.parametrize("kind", KINDS)
def test_a_database_in_use_or_with_rows_is_not_replaced_by_mistake(
    filled: Chosen, vigie: Callable[..., Any], tmp_path: Path, kind: str
) -> None:
    home = filled(kind)
    file = tmp_path / "vigie.backup"
    assert vigie("db", "backup", file).code == 0
    before = everything(home)
    result = vigie("db", "restore", file)
    assert (result.code, "has rows in snapshots, " in result.err, "--force" in result.err) == (1, True, True)
    script = "import sys\nfrom pathlib import Path\nfrom riskmodel.home import Home\n"
    script += "from service.store.database import Store\nheld = Store.of(Home(Path(sys.argv[1])))\n"
    script += "print('open', flush=True)\nsys.stdin.read()"
    line = [sys.executable, "-c", script, str(home.root)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout
        assert service.stdout.readline() == "open\n"
        result = vigie("db", "restore", file, "--force")
        assert (result.code, "is in use: stop vigie first" in result.err) == (1, True)
        service.communicate("")
    store = Store.of(home)
    with store.writing() as connection:
        connection.execute(sa.insert(runs).values(region="MLI", started_at=NOW, status="failed"))
    store.close()
    assert everything(home) != before
    assert vigie("db", "restore", file, "--force").code == 0
    assert everything(home) == before


KILLED = """
import os, signal, sys
import sqlalchemy as sa
from pathlib import Path
from riskmodel.home import Home
from service.store.backup import restore
from service.store.database import Store

store = Store.of(Home(Path(sys.argv[1])))

@sa.event.listens_for(sa.Engine, "after_cursor_execute")
def die(connection, cursor, statement, *_):
    if statement.startswith("INSERT INTO " + sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

restore(store, Path(sys.argv[2]), force=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX's")
@pytest.mark.parametrize("kind", KINDS)
def test_a_restore_that_is_killed_changes_nothing(
    filled: Chosen, vigie: Callable[..., Any], tmp_path: Path, kind: str
) -> None:
    home = filled(kind)
    file = tmp_path / "vigie.backup"
    assert vigie("db", "backup", file).code == 0
    before = everything(home)
    line = [sys.executable, "-c", KILLED, str(home.root), str(file), "runs"]
    assert subprocess.run(line, check=False).returncode == -signal.SIGKILL
    assert everything(home) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_check_finds_a_document_that_is_not_json(filled: Chosen, vigie: Callable[..., Any], kind: str) -> None:
    store = Store.of(filled(kind))
    assert vigie("db", "check").code == 0
    with store.writing() as connection:
        connection.exec_driver_sql("UPDATE snapshots SET document = '{\"half' WHERE id = 2")
    result = vigie("db", "check")
    assert (result.code, "snapshots: row 2 is not as Vigie wrote it" in result.err) == (1, True)


def test_a_check_finds_a_broken_reference_and_a_damaged_page(filled: Chosen, vigie: Callable[..., Any]) -> None:
    home = filled("sqlite")
    store = Store.of(home)
    with store.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")  # foreign keys can be turned off only between transactions
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("UPDATE runs SET snapshot_id = 99 WHERE id = 1")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.invalidate()
    store.close()
    assert "runs: row 1 refers to a missing row of snapshots" in vigie("db", "check").err
    with home.database.open("r+b") as file:
        file.seek(-3000, os.SEEK_END)
        file.write(b"\xff" * 2000)
    result = vigie("db", "check")
    assert (result.code == 1 and "is damaged" in result.err) or (result.code == 4 and "cannot be used" in result.err), (
        result.err
    )


def test_an_upgrade_says_that_the_database_is_up_to_date(chosen: Chosen, vigie: Callable[..., Any]) -> None:
    chosen("sqlite")
    result = vigie("db", "upgrade")
    assert (result.code, f"is up to date (revision {REVISION})" in result.out) == (0, True)
