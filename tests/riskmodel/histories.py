"""Histories for tests: written by hand, random by a seed, or read from the real data."""

import csv
import gzip
import multiprocessing
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from riskmodel.forecasting.component import Component
from riskmodel.indicators.panel import Panel
from riskmodel.months import Month
from riskmodel.outcomes import KINDS, TYPES, CountryMonths

SAHEL = ("MLI", "DZA", "BFA", "CIV", "GIN", "MRT", "NER", "SEN")


def rectangle(deaths: ArrayLike, iso3: Sequence[str] = SAHEL, first: str = "2000-01") -> CountryMonths:
    """State-based deaths by country and month; all violence is state-based."""
    table = np.atleast_2d(np.asarray(deaths, dtype=np.float64))
    months = np.datetime64(first, "M") + np.arange(table.shape[1])
    nothing = np.where(np.isnan(table), np.nan, 0.0)
    by_type = {kind: table if kind == "state_based" else nothing for kind in TYPES}
    source = np.where(np.isnan(table), -1, 0).astype(np.int16)
    return CountryMonths(
        tuple(iso3[: len(table)]), months, {**by_type, "all": table}, dict.fromkeys(KINDS, source), ("0001",)
    )


def made(seed: int = 1, months: int = 120, countries: int = len(SAHEL)) -> NDArray[np.float64]:
    """Deaths with long quiet spells and lasting wars, shape (country, month)."""
    rng = np.random.default_rng(seed)
    war = np.zeros(countries, dtype=bool)
    deaths = np.zeros((countries, months))
    for month in range(months):
        war = np.where(war, rng.random(countries) > 0.06, rng.random(countries) < 0.04)
        deaths[:, month] = np.where(war, np.rint(np.exp(rng.normal(3.0, 1.2, countries))), 0.0)
    return deaths


@cache
def monthly(shared: Path) -> CountryMonths:
    """UCDP's state-based deaths of 191 countries, 1989-2022."""
    with gzip.open(shared / "monthly_state_based_1989_2022.csv.gz", "rt", encoding="utf-8") as file:
        rows = [(row["iso3"], row["month"][:7], float(row["deaths_state_based"])) for row in csv.DictReader(file)]
    iso3 = sorted({row[0] for row in rows})
    row_of = {code: i for i, code in enumerate(iso3)}
    deaths = np.full((len(iso3), 408), np.nan)
    for code, month, value in rows:
        deaths[row_of[code], (int(month[:4]) - 1989) * 12 + int(month[5:]) - 1] = value
    return rectangle(deaths, iso3, "1989-01")


def forecast_in_a_fork(fitted: Component, panel: Panel, origin: Month) -> NDArray[np.float32]:
    """The draws that a forked child forecasts after its parent; fails if the child hangs, which OpenMP causes."""
    fitted.forecast(panel, origin)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(fitted.forecast(panel, origin).draws))
    child.start()
    try:
        assert receiver.poll(30), "the forked child hangs"
        draws: NDArray[np.float32] = receiver.recv()
        return draws
    finally:
        child.kill()
        child.join()


def series(panel: Panel, name: str, iso3: str = "MLI") -> NDArray[np.float32]:
    """An indicator of a country, month by month."""
    return panel.values[panel.iso3.index(iso3), :, panel.names.index(name)]
