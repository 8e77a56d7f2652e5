"""A home whose path has characters that mean something in URLs, patterns and formats: everything stays in it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from recompute_support import NOW, OperatedHome
from servers import free_port, running

from riskmodel.home import Home

NAME = "what? 100% #1 a%20b&c=d;e+f [0-9]* {x} $HOME 'q'"


@pytest.mark.long
def test_a_home_with_an_odd_path_works(
    tmp_path: Path, vigie: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VIGIE_DATABASE_URL", raising=False)
    home = Home(tmp_path / NAME)
    monkeypatch.setenv("VIGIE_HOME", str(home.root))
    operated = OperatedHome.ready(home, NOW, drivers=False)
    assert operated.run(NOW).issued
    assert operated.store.file == home.database
    operated.store.close()

    deaths = tmp_path / "deaths.csv"
    deaths.write_text("iso3,month,deaths_state_based\nMLI,2021-11,5\n")
    backup, export = home.root / "a backup #1?", home.root / "export"
    for command in (
        ("ingest", "monthly", deaths),
        ("archive", "log"),
        ("archive", "check"),
        ("archive", "rebuild"),
        ("scores",),
        ("ledger", "verify"),
        ("db", "check"),
        ("db", "upgrade"),
        ("db", "backup", backup),
        ("export", export),
    ):
        result = vigie(*command)
        assert result.code == 0, (command, result.err)
    home.database.unlink()
    for command in (("db", "restore", backup), ("ledger", "verify")):
        result = vigie(*command)
        assert result.code == 0, (command, result.err)

    port = free_port()
    line = [sys.executable, "-m", "riskmodel", "--home", str(home.root), "web", "--port", str(port)]
    with running(line, port, tmp_path / "log.txt") as url:
        assert httpx2.get(f"{url}/v1/scores").json()["snapshot_id"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([NAME, "deaths.csv", "log.txt"])
