"""Stored back-tests: equal however the work is shared, continued after a kill, and new where anything differs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from distributed import LocalCluster

from riskmodel.errors import Refused
from riskmodel.home import Home
from training.result_store import stored_backtests

Vigie = Callable[..., Any]

WAITING_MODEL = """
import time
from dataclasses import dataclass
from pathlib import Path

from riskmodel.forecasting.baselines import Conflictology


@dataclass(frozen=True)
class Waiting(Conflictology):
    name: str = "waiting"

    def fit(self, panel, origin):
        fitted = Path("fitted.txt")
        with fitted.open("a") as file:
            file.write(f"{origin}\\n")
        for _ in range(600):
            if str(origin) < "2007" or Path("go").exists():
                break
            time.sleep(0.05)
        return self


def waiting(seed):
    return Waiting()
"""


def files(home: Home) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(home.backtests.glob("*/*"))}


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as workers:
        yield workers


def test_processes_and_a_cluster_give_the_same_bytes_as_one_process(
    home: Home, vigie: Vigie, archive: None, cluster: LocalCluster
) -> None:
    outputs, stored = [], []
    for workers in ([], ["--jobs", 2], ["--dask", cluster.scheduler_address]):
        done = vigie("backtest", "--windows", "2007:2008", *workers)
        assert done.code == 0, done.err
        outputs.append(done.out)
        stored.append(files(home))
        for path in home.backtests.glob("*/2*"):
            path.unlink()
    assert stored[0].keys() == {"setup.json", "2007.parquet", "2008.parquet"}
    assert stored[0] == stored[1] == stored[2]
    assert outputs[0] == outputs[1] == outputs[2]


def test_a_scheduler_that_does_not_answer_is_named(
    vigie: Vigie, archive: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.workers.DASK_TIMEOUT", "1s")
    done = vigie("backtest", "--windows", "2008", "--dask", "tcp://127.0.0.1:9")
    assert done.code == 4
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in done.err
    assert vigie("backtest", "--windows", "2008", "--dask", "elsewhere?").code == 4


def test_a_back_test_that_was_killed_continues_where_it_stopped(
    home: Home, vigie: Vigie, archive: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "waits.py").write_text(WAITING_MODEL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    command = ["backtest", "--windows", "2007:2009", "--model", "waits:waiting"]
    child = subprocess.Popen([sys.executable, "-m", "riskmodel", *command], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not list(home.backtests.glob("*/2007.parquet")):
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.05)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert files(home).keys() == {"setup.json", "2007.parquet"}
    before = files(home)["2007.parquet"]
    (tmp_path / "go").touch()
    (tmp_path / "fitted.txt").unlink()
    done = vigie(*command)
    assert done.code == 0, done.err
    assert (tmp_path / "fitted.txt").read_text().split() == ["2007-10", "2008-10"]
    assert files(home)["2007.parquet"] == before
    (tmp_path / "fitted.txt").unlink()
    assert vigie(*command).out == done.out
    assert not (tmp_path / "fitted.txt").exists()
    assert " waiting " in done.out

    vigie("backtest", "--windows", "2007", "--model", "waits:waiting", "--forecasts-out", tmp_path / "draws.parquet")
    assert (tmp_path / "fitted.txt").read_text().split() == ["2006-10"]
    assert pq.read_table(tmp_path / "draws.parquet").num_rows == 8 * 12 * 12


def test_other_code_another_seed_and_other_data_are_another_back_test(
    home: Home, vigie: Vigie, archive: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "go").touch()
    (tmp_path / "one.py").write_text(WAITING_MODEL, encoding="utf-8")
    (tmp_path / "other.py").write_text(WAITING_MODEL + "# not the same\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ["--model", "one:waiting"],
        ["--model", "other:waiting"],
        ["--model", "one:waiting", "--seed", 2],
    ):
        assert vigie("backtest", "--windows", "2008", *arguments).code == 0
    assert len(stored_backtests(home)) == 3
    more = tmp_path / "more.csv"
    more.write_text("iso3,month,deaths_state_based\nTCD,2009-01-01,1\n", encoding="utf-8")
    assert vigie("ingest", "monthly", more).code == 0
    assert vigie("backtest", "--windows", "2008", "--model", "one:waiting").code == 0
    stored = stored_backtests(home)
    assert len(stored) == 4
    assert len({backtest.setup.data_digest for backtest in stored}) == 2
    monkeypatch.setattr("training.backtest_runner.code_digest", lambda: "f" * 64)
    assert vigie("backtest", "--windows", "2008", "--model", "one:waiting").code == 0
    assert len(stored_backtests(home)) == 5


def test_a_damaged_result_is_refused(home: Home, vigie: Vigie, archive: None) -> None:
    command = ["backtest", "--windows", "2008"]
    assert vigie(*command).code == 0
    [path] = home.backtests.glob("*/2008.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    done = vigie(*command)
    assert done.code == Refused.exit_code
    assert "2008.parquet cannot be read; delete it" in done.err
    (path.parent / "setup.json").write_text("{}", encoding="utf-8")
    with pytest.raises(Refused, match=r"setup\.json cannot be read"):
        stored_backtests(home)
