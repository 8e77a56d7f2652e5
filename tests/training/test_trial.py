"""Back-tests that are kept: the same however they are shared out, going on after a kill, new where anything differs."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from distributed import LocalCluster
from histories import made, rectangle

from riskmodel.errors import Refused
from riskmodel.forecasting.pool import served
from riskmodel.home import Home
from riskmodel.indicators import spillover
from riskmodel.indicators.panel import assemble
from training import result_store
from training.ablation import visible, without
from training.versions import JUDGING, TELLING, configuration

Vigie = Callable[..., Any]

MINE = """
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
    home: Home, vigie: Vigie, history: Path, cluster: LocalCluster
) -> None:
    vigie("ingest", "monthly", history)
    said, kept = [], []
    for shared_out in ([], ["--jobs", 2], ["--dask", cluster.scheduler_address]):
        done = vigie("backtest", "--windows", "2007:2008", *shared_out)
        assert done.code == 0, done.err
        said.append(done.out)
        kept.append(files(home))
        for path in home.backtests.glob("*/2*"):
            path.unlink()
    assert kept[0].keys() == {"setup.json", "2007.parquet", "2008.parquet"}
    assert kept[0] == kept[1] == kept[2]
    assert said[0] == said[1] == said[2]


def test_no_scheduler_is_said(vigie: Vigie, history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vigie("ingest", "monthly", history)
    monkeypatch.setattr("training.workers.PATIENCE", "1s")
    done = vigie("backtest", "--windows", "2008", "--dask", "tcp://127.0.0.1:9")
    assert done.code == 4
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in done.err
    assert vigie("backtest", "--windows", "2008", "--dask", "elsewhere?").code == 4


def test_a_back_test_that_was_killed_goes_on_where_it_was(
    home: Home, vigie: Vigie, history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vigie("ingest", "monthly", history)
    (tmp_path / "waits.py").write_text(MINE, encoding="utf-8")
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
    home: Home, vigie: Vigie, history: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vigie("ingest", "monthly", history)
    (tmp_path / "go").touch()
    (tmp_path / "one.py").write_text(MINE, encoding="utf-8")
    (tmp_path / "other.py").write_text(MINE + "# not the same\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ["--model", "one:waiting"],
        ["--model", "other:waiting"],
        ["--model", "one:waiting", "--seed", 2],
    ):
        assert vigie("backtest", "--windows", "2008", *arguments).code == 0
    assert len(result_store.records(home)) == 3
    more = tmp_path / "more.csv"
    more.write_text("iso3,month,deaths_state_based\nTCD,2009-01-01,1\n", encoding="utf-8")
    assert vigie("ingest", "monthly", more).code == 0
    assert vigie("backtest", "--windows", "2008", "--model", "one:waiting").code == 0
    kept = result_store.records(home)
    assert len(kept) == 4
    assert len({record.setup.data_digest for record in kept}) == 2
    monkeypatch.setattr("training.backtest_runner.code_digest", lambda: "f" * 64)
    assert vigie("backtest", "--windows", "2008", "--model", "one:waiting").code == 0
    assert len(result_store.records(home)) == 5


def test_a_result_that_was_altered_is_refused(home: Home, vigie: Vigie, history: Path) -> None:
    vigie("ingest", "monthly", history)
    command = ["backtest", "--windows", "2008"]
    assert vigie(*command).code == 0
    [path] = home.backtests.glob("*/2008.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    done = vigie(*command)
    assert done.code == Refused.exit_code
    assert "2008.parquet cannot be read; delete it" in done.err
    (path.parent / "setup.json").write_text("{}", encoding="utf-8")
    with pytest.raises(Refused, match="is not as it was written"):
        result_store.records(home)


def test_a_component_without_a_telling_repr_is_refused() -> None:
    class Nameless:
        name = "nameless"

    with pytest.raises(ValueError, match="needs a repr that says what it is"):
        configuration(Nameless())  # type: ignore[arg-type]  # so is the mistake


def test_no_figure_comes_from_code_that_is_left_out_of_the_digest() -> None:
    script = """
        import sys
        import training.backtest, training.backtest_runner, riskmodel.forecasting.pool
        print("\\n".join(name for name in sys.modules if name.partition(".")[0] in ("riskmodel", "training")))
    """
    loaded = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    ).stdout.split()
    left_out = {f"riskmodel.{room.removesuffix('.py')}" for room in TELLING}
    assert {"riskmodel.forecasting.forest", "riskmodel.sources.regimes"} <= set(loaded)
    assert {name for name in loaded if ".".join(name.split(".")[:2]) in left_out} == {
        "riskmodel.errors",
        "riskmodel.home",
    }
    of_training = {name.removeprefix("training.") for name in loaded if name.startswith("training.")}
    assert of_training == {module.removesuffix(".py") for module in JUDGING} | {
        *("backtest_runner", "export", "result_store", "versions", "workers"),
    }


def test_a_family_that_is_hidden_is_another_back_test_of_its_own_name(home: Home, vigie: Vigie, history: Path) -> None:
    vigie("ingest", "monthly", history)
    hidden = ["--without", "spillover", "--without", "intensity"]
    assert "no family of indicators: intensity, composition" in vigie("backtest", "--without", "luck").err
    for arguments in ([], hidden):
        assert vigie("backtest", "--windows", "2008", *arguments).code == 0
    whole, less = result_store.records(home)
    assert less.setup.model == "pool-without-intensity-spillover"
    assert whole.setup.code == less.setup.code
    done = vigie("compare", "pool", less.setup.model)
    assert done.code == 0, done.err
    assert f"from {whole.name}, {less.name}" in done.out or f"from {less.name}, {whole.name}" in done.out
    assert "windows won by pool" in done.out


def test_what_is_hidden_is_seen_by_nothing_in_a_trial() -> None:
    panel = assemble(rectangle(made()), "state_based")
    model = without(served(1), ["spillover"])
    seen = visible(panel, model)
    of_family = np.array([name in {i.name for i in spillover.FAMILY.indicators} for name in panel.names])
    assert of_family.any()
    assert np.isnan(seen.values[..., of_family]).all()
    np.testing.assert_array_equal(seen.values[..., ~of_family], panel.values[..., ~of_family])
    assert visible(panel, served(1)) is panel
    assert without(served(1), []) == served(1)
