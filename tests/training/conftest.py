"""Fixtures for the tests of training: an archive of eight countries, and a folder with a modeler's own models."""

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from histories import SAHEL, made

from riskmodel import bundle
from riskmodel.home import Home

MODELS = """
from dataclasses import dataclass, replace

import numpy as np

from riskmodel.forecasting.baselines import Conflictology, History, Zero
from riskmodel.forecasting.forecast import LEADS, Forecast


@dataclass(frozen=True)
class Seer(Conflictology):
    # Cheats: reads the later months from a file, and spreads its draws around them.
    name: str = "seer"
    width: float = 0.3

    def forecast(self, panel, origin):
        table = np.load("truth.npy")
        place = int((origin - np.datetime64("2000-01", "M")).astype(int)) + 1
        later = np.pad(table[:, place : place + LEADS], ((0, 0), (0, LEADS)))[:, :LEADS]
        spread = np.exp(self.width * np.linspace(-1, 1, 101))
        return Forecast(origin, panel.iso3, panel.outcome, np.rint(later[..., None] * spread).astype(np.float32))


def seer(seed):
    return Seer()


def vague(seed):
    return Seer(width=0.6)


def zero(seed):
    return Zero()
"""


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A country-month table of eight countries, ten years."""
    path = tmp_path / "monthly.csv"
    months = np.datetime64("2000-01", "M") + np.arange(120)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["iso3", "month", "deaths_state_based"])
        for iso3, deaths in zip(SAHEL, made(), strict=True):
            rows.writerows([iso3, f"{month}-01", int(value)] for month, value in zip(months, deaths, strict=True))
    return path


@pytest.fixture
def archive(vigie: Callable[..., Any], history: Path) -> None:
    """The home's archive has the eight countries."""
    assert vigie("ingest", "monthly", history).code == 0


@pytest.fixture
def workshop(tmp_path: Path, archive: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a modeler's, with the module `promoted` that has three models; and an archive."""
    (tmp_path / "promoted.py").write_text(MODELS, encoding="utf-8")
    np.save(tmp_path / "truth.npy", made()[np.argsort(SAHEL)])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "promoted", raising=False)  # that of another test, whose files are gone
    return tmp_path


@pytest.fixture
def in_service(home: Home) -> Callable[[], str]:
    """A function that returns the name of the model in service."""

    def name() -> str:
        path = bundle.champion(home.models, simulated=False, outcome="state_based")
        assert path is not None
        return path.name

    return name
