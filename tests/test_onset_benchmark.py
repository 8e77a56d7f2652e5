"""What `benchmarks/onset.py` compares: its features and onsets, and that no regression learns a later onset."""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from histories import SAHEL, made, rectangle

from riskmodel import geography
from riskmodel.indicators.panel import assemble
from training.windows import service_window

MONTHS = 400


@pytest.fixture(scope="module")
def onset(load_benchmark: Callable[[str], ModuleType]) -> ModuleType:
    return load_benchmark("onset")


RNG = np.random.default_rng(5)
SPELLS = (RNG.random((8, MONTHS // 40)) < 0.25).repeat(40, axis=1)
DEATHS = np.where(SPELLS, made(seed=7, months=MONTHS), np.minimum(made(seed=7, months=MONTHS), 9.0))
"""Wars of some months, with long quiet spells between them."""
OBSERVED = replace(
    rectangle(DEATHS, first="1990-01"), deaths={"state_based": DEATHS, "all": DEATHS + RNG.poisson(0.3, DEATHS.shape)}
)
EVENTS = RNG.poisson(0.2 + DEATHS / 10).astype(np.float64)


def test_onsets_against_a_naive_loop(onset: ModuleType) -> None:
    deaths = DEATHS.copy()
    deaths[1, 200] = np.nan
    onsets = onset.observed_onsets(deaths)
    for country, month in np.ndindex(deaths.shape):
        before, after = deaths[country, max(month - 59, 0) : month + 1], deaths[country, month + 1 : month + 13]
        if len(before) == 60 and all(before < 25) and len(after) == 12 and not np.isnan(after).any():
            assert onsets[country, month] == any(after >= 25)
        else:
            assert np.isnan(onsets[country, month])
    assert 20 < np.nansum(onsets) < np.sum(~np.isnan(onsets)) / 2


def test_the_features_against_a_naive_loop(onset: ModuleType) -> None:
    features = onset.features(OBSERVED, "state_based", EVENTS)
    for country, month in RNG.integers([0, 60], [8, MONTHS], size=(200, 2)):
        deaths, events = DEATHS[:, : month + 1], EVENTS[country, : month + 1]
        violent = np.flatnonzero(deaths[country] >= 25)
        neighbours = [SAHEL.index(code) for code in geography.country(SAHEL[country]).neighbours if code in SAHEL]
        other = (OBSERVED.deaths["all"] - DEATHS)[country, : month + 1]
        expected = [
            np.log1p((month - violent[-1]) / 12 if violent.size else 20 + month / 12),
            violent.size == 0,
            np.log1p(deaths[country, -12:].sum()),
            np.log1p(deaths[country, -60:].sum()),
            sum(deaths[neighbour, -12:].sum() >= 25 for neighbour in neighbours),
            np.log1p(other[-12:].sum()),
            np.log1p(events[-12:].sum()) - np.log1p(events[-60:].sum() / 5),
        ]
        np.testing.assert_allclose(features[country, month], expected, rtol=1e-12)


def test_a_regression_learns_no_onset_after_its_fit(onset: ModuleType) -> None:
    """Garbage from the month after the fit changes no probability at that origin; garbage a month earlier does."""
    window = replace(service_window(2016), issues=1)
    panel = assemble(OBSERVED, "state_based", indicators=())
    values = onset.features(OBSERVED, "state_based", EVENTS)
    first_unseen = panel.month_index(window.origin) + 1

    def probabilities(garbled_from: int) -> np.ndarray:
        deaths = DEATHS.copy()
        deaths[:, garbled_from:] = 1e6
        return np.asarray(onset.regression_probabilities(replace(panel, deaths=deaths), values, (window,)))

    clean = probabilities(MONTHS)
    np.testing.assert_array_equal(probabilities(first_unseen), clean)
    assert np.abs(probabilities(first_unseen - 1) - clean).max() > 1e-3
    rates = [
        onset.base_rates(replace(panel, deaths=np.where(np.arange(MONTHS) < end, DEATHS, 1e6)), (window,))
        for end in (MONTHS, first_unseen, first_unseen - 1)
    ]
    assert (rates[0] == rates[1]).all()
    assert (rates[0] != rates[2]).all()
