"""The Python guide and the notebook: every sample and every cell runs, in a home of eight countries and ten years."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import ged
import nbclient
import nbformat
import numpy as np
import pandas as pd
import pytest
from histories import SAHEL, made

import riskmodel
import training
from riskmodel.errors import BadInput
from riskmodel.home import Home
from training.external_forecasts import ForecastFile

Vigie = Callable[..., Any]
DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "python.md").read_text(encoding="utf-8")
NOTEBOOK = DOCS / "notebooks" / "mali.ipynb"
YEARS = {
    "2018:2022": "2009",
    "2020:2022": "2009",
    "2014-": "2006-",
    "2016-": "2006-",
    "2018-": "2008-",
    "2022-": "2009-",
}
"""The small archive ends in 2009."""


def in_small(code: str) -> str:
    """Return code with the years that the small archive has."""
    for written, small in YEARS.items():
        code = code.replace(written, small)
    return code


OPENING, *SAMPLES = (in_small(code) for code in re.findall(r"^```python\n(.*?)^```$", GUIDE, re.M | re.S))
CELLS = [cell for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test leaves its home with data and models."""
    return tmp_path_factory.mktemp("python") / "home"


@pytest.fixture
def small_home(home: Home, vigie: Vigie, tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home with deaths of both outcomes, events of Mali in 2009, and models in service."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    if prepared.exists():
        shutil.copytree(prepared, home.root)
        return home
    months = np.datetime64("2000-01", "M") + np.arange(120)
    table = pd.DataFrame({"iso3": np.repeat(SAHEL, 120), "month": np.tile(months.astype(str), len(SAHEL))})
    deaths = made().ravel().astype(int)
    for kind, values in {"state_based": deaths, "non_state": deaths // 2, "one_sided": deaths // 3}.items():
        table[f"deaths_{kind}"] = values
    table.to_csv(tmp_path / "monthly.csv", index=False)
    events = ged.write(
        tmp_path / "events.csv", *({"date": f"2009-{month:02}-05", "best": 30} for month in range(1, 13))
    )
    assert vigie("ingest", "monthly", tmp_path / "monthly.csv").code == 0
    assert vigie("ingest", "ucdp", events, "--covers", "MLI:2009-01..2009-12").code == 0
    assert vigie("train").code == 0
    assert vigie("hindcast", "--months", 2, "--outcome", "all").code == 0
    shutil.copytree(home.root, prepared)
    return home


def run(*codes: str) -> dict[str, Any]:
    """Run code as a notebook does, and return its names."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for code in codes:
        exec(compile(code, "python.md", "exec"), names)  # noqa: S102 - our own guide
    return names


def test_importing_the_packages_loads_no_pandas() -> None:
    code = """
import sys, riskmodel, training
heavy = {"pandas", "numpy", "pyarrow", "sklearn", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
assert set(riskmodel.__all__) <= set(dir(riskmodel)) and set(training.__all__) <= set(dir(training))
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("package", [riskmodel, training])
def test_the_public_names_of_a_package_exist(package: ModuleType) -> None:
    assert all(getattr(package, name) is not None for name in package.__all__)
    assert not hasattr(package, "no_such_name")


def test_five_lines_go_from_import_to_a_plot(small_home: Home) -> None:
    assert len([line for line in OPENING.splitlines() if line]) <= 5
    axes = riskmodel.plot_forecast(run(OPENING)["forecast"])
    assert axes.get_title() == "Mali, all organised violence, data to December 2009"
    assert Path("mali.png").stat().st_size > 5000


def test_a_plot_without_matplotlib_says_what_to_install(small_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    forecast = riskmodel.open_home().forecast("MLI")
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="plots need matplotlib: pip install matplotlib"):
        riskmodel.plot_forecast(forecast)


def test_every_sample_of_the_guide_runs_after_the_opening_lines(
    small_home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    opening = "\n".join(OPENING.splitlines()[:3])
    assert len(SAMPLES) >= 6
    for sample in SAMPLES:
        run(opening, sample)
        assert capsys.readouterr().out
    assert GUIDE.count("\n```") == 2 * (len(SAMPLES) + 2), "each block is Python, but for the commands to install"


def test_every_cell_of_the_notebook_runs(small_home: Home) -> None:
    names = run(*(in_small(cell.source) for cell in CELLS))
    assert set(names["scopes"]["Mali"]["forecaster"]) == {
        "pool",
        "conflictology12",
        "ew4s",
        "history60",
        "last",
        "zero",
    }
    assert not any(cell.outputs for cell in CELLS), "a notebook without outputs has no figure that can become wrong"


@pytest.mark.long
def test_a_kernel_runs_the_notebook(small_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MPLBACKEND")  # a kernel has a backend of its own, which puts pictures into the notebook
    notebook = nbformat.read(NOTEBOOK, 4)
    for cell in notebook.cells:
        cell.source = in_small(cell.source)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    pictures = [out for cell in notebook.cells for out in cell.get("outputs", ()) if "image/png" in out.get("data", {})]
    assert len(pictures) == 3


def test_draws_can_be_written_as_a_file_of_forecasts(small_home: Home, tmp_path: Path) -> None:
    forecast = riskmodel.open_home().forecast("MLI")
    forecast.draws.to_parquet(tmp_path / "draws.parquet")
    countries, draws = ForecastFile(tmp_path / "draws.parquet").draws_at(np.datetime64("2009-12", "M"))
    assert countries == ("MLI",)
    np.testing.assert_array_equal(draws[0, :12].ravel(), forecast.draws["deaths"])


def test_hindcasts_as_a_table_have_the_scores_of_each_stored_origin(small_home: Home) -> None:
    home = riskmodel.open_home()
    past = home.hindcasts("all")
    assert past["origin"].drop_duplicates().tolist() == [pd.Timestamp("2009-10-01"), pd.Timestamp("2009-11-01")]
    assert len(past) == 2 * len(SAHEL)
    assert set(past["model_origin"]) == {pd.Timestamp("2008-12-01")}
    assert past["risk_score"].between(0, 100).all()
    assert set(home.scores("all").columns) - set(past.columns) == {"model", "hindsight"}
    with pytest.raises(BadInput, match=r"no hindcasts of state-based conflict.*run `vigie hindcast`"):
        home.hindcasts("state_based")


def test_a_back_test_as_a_table_has_the_rows_that_the_home_stores(small_home: Home) -> None:
    home = riskmodel.open_home()
    rows = training.backtest(home, windows="2009", countries=["MLI", "NER"])
    [path] = small_home.backtests.glob("*/2009.parquet")
    stored = pd.read_parquet(path, filters=[("iso3", "in", ["MLI", "NER"])])
    assert rows.attrs["backtest"] == path.parent.name
    assert set(rows["window"]) == {"2009"}
    assert not rows["simulated"].any()
    np.testing.assert_array_equal(rows["crps"], stored["crps"])
    written = path.stat().st_mtime_ns
    assert training.backtest(home, windows="2009", countries="MLI").equals(
        rows[rows["iso3"] == "MLI"].reset_index(drop=True)
    )
    assert path.stat().st_mtime_ns == written, "the same back-test is read, not run"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "name the years"),
        ({"windows": "2009", "rolling": "2009"}, "name the years"),
        ({"windows": "last year"}, "neither a year"),
        ({"windows": "2009", "countries": "XXX"}, "not the ISO alpha-3 code"),
        ({"windows": "2009", "outcome": "protest"}, "no outcome: all, state_based"),
        ({"windows": "2009", "model": "nowhere:model"}, "is no MODULE:FUNCTION"),
        ({"windows": "2031"}, "2031"),
    ],
)
def test_what_cannot_be_back_tested_is_said(small_home: Home, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        training.backtest(riskmodel.open_home(), **arguments)
