"""What the tests of training share: an archive of eight countries, and components of a modeler's own."""

import csv
from pathlib import Path

import numpy as np
import pytest
from histories import SAHEL, made


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
