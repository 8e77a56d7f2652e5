"""Fitting: what a model learns from, and the scores in its provenance."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from histories import made, rectangle

from riskmodel import bundle
from riskmodel.country_scores import country_scores
from riskmodel.errors import BadInput
from riskmodel.forecasting.escalation import ESCALATION_MODELS
from riskmodel.indicators.panel import INDICATORS, assemble
from riskmodel.outcomes import CountryMonths
from training import fit
from training.fit import FittedModel


def fit_model(observed: CountryMonths, origin: str, outcome: str = "state_based") -> FittedModel:
    return fit.fit_model(
        observed,
        outcome,
        np.datetime64(origin, "M"),
        seed=4,
        data_digest="d" * 64,
        simulated=True,
        trained_at="2026-11-22T08:15:00Z",
    )


def test_months_after_the_origin_change_neither_model_nor_scores() -> None:
    deaths = made()
    later = deaths.copy()
    later[:, 108:] = 10**5
    ours, theirs = (fit_model(rectangle(table), "2008-12") for table in (deaths, later))
    assert ours.provenance == theirs.provenance
    panel = assemble(rectangle(deaths), "state_based")
    origin = np.datetime64("2008-12", "M")
    np.testing.assert_array_equal(ours.model.forecast(panel, origin).draws, theirs.model.forecast(panel, origin).draws)


def test_no_escalation_model_sees_months_after_the_origin(tmp_path: Path) -> None:
    """From training, over the bundle on disk, to the served scores."""
    deaths, origin = made(seed=4, months=180), np.datetime64("2012-12", "M")
    later = deaths.copy()
    later[:, 156:] = 10**5
    served = []
    for table in (deaths, later):
        model, escalation, provenance, _ = fit_model(rectangle(table), "2012-12")
        assert escalation.regression.pipeline is not None
        for name in ESCALATION_MODELS:
            stored = bundle.save(model, provenance, tmp_path / "models", replace(escalation, chosen=name))
            loaded, panel = bundle.load(tmp_path / "models" / stored), assemble(rectangle(table), "state_based")
            forecast = loaded.model.forecast(panel, origin)
            probability = loaded.escalation.probabilities(panel, forecast)
            rows = country_scores(forecast, rectangle(table), {"minimal": 0.0}, probability)
            assert {row["escalation_model"] for row in rows} == {name}
            served.append([loaded.id, rows])
    number = len(ESCALATION_MODELS)
    assert served[:number] == served[number:]
    assert len({name for name, _ in served}) == number
    probabilities = [[row["escalation_probability"] for row in rows] for _, rows in served[:number]]
    assert probabilities[0] != probabilities[1] != probabilities[2]


def test_the_provenance_has_origin_features_and_held_out_scores() -> None:
    _, escalation, provenance, _ = fit_model(rectangle(made()), "2009-12")
    facts = (provenance.outcome, provenance.origin, provenance.seed, provenance.simulated)
    assert facts == ("state_based", "2009-12", 4, True)
    assert provenance.features == tuple(indicator.name for indicator in INDICATORS)
    scores = provenance.scores
    assert (scores["origin"], scores["months"], scores["figures"]) == ("2008-10", "2009-01..2009-12", "final")
    assert scores["pool"].keys() == scores["conflictology12"].keys()
    assert scores["pool"]["crps"] != scores["conflictology12"]["crps"]
    assert scores["escalation"]["model"] == escalation.chosen
    assert scores["escalation"]["origins"] == "2004-12..2009-06"
    assert set(scores["escalation"]["brier"]) == set(escalation.scores)
    json.dumps(scores, allow_nan=False)


def test_a_history_too_short_for_a_held_out_window_gives_the_reason() -> None:
    scores = fit_model(rectangle(made()), "2004-06").provenance.scores
    assert set(scores) == {"unscored", "escalation"}
    assert (scores["escalation"]["model"], scores["escalation"]["brier"]) == ("draws", {})
    assert "a model needs 200" in scores["unscored"]


@pytest.mark.parametrize("origin", ["1999-12", "2010-01"])
def test_an_origin_outside_the_data_is_refused(origin: str) -> None:
    with pytest.raises(BadInput, match="lies outside the data, which have 2000-01 to 2009-12"):
        fit_model(rectangle(made()), origin)


def test_an_outcome_without_data_is_refused() -> None:
    observed = rectangle(made())
    observed.deaths["all"][:] = np.nan
    with pytest.raises(
        BadInput, match="history of deaths in all organised violence up to 2009-12 has 0 country-months"
    ):
        fit_model(observed, "2009-12", "all")
