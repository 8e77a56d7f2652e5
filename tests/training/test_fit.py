"""Training: what it learns from, what it says of itself."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from histories import made, rectangle

from riskmodel import bundle
from riskmodel.bundle import Provenance
from riskmodel.country_scores import country_scores
from riskmodel.errors import BadInput
from riskmodel.forecasting.escalation import ESCALATION_MODELS, Escalation
from riskmodel.forecasting.pool import Pool
from riskmodel.indicators.panel import INDICATORS, assemble
from riskmodel.outcomes import CountryMonths
from training import fit


def train(observed: CountryMonths, origin: str, outcome: str = "state_based") -> tuple[Pool, Escalation, Provenance]:
    return fit.train(
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
    (ours, _, said), (theirs, _, also_said) = (train(rectangle(table), "2008-12") for table in (deaths, later))
    assert said == also_said
    panel = assemble(rectangle(deaths), "state_based")
    origin = np.datetime64("2008-12", "M")
    np.testing.assert_array_equal(ours.forecast(panel, origin).draws, theirs.forecast(panel, origin).draws)


def test_what_is_served_of_escalation_hears_nothing_after_the_origin(tmp_path: Path) -> None:
    """From training over the disk to the scores, whoever speaks."""
    deaths, origin = made(seed=4, months=180), np.datetime64("2012-12", "M")
    later = deaths.copy()
    later[:, 156:] = 10**5
    told = []
    for table in (deaths, later):
        model, voices, facts = train(rectangle(table), "2012-12")
        assert voices.regression.pipeline is not None
        for voice in ESCALATION_MODELS:
            name = bundle.save(model, facts, tmp_path / "models", replace(voices, chosen=voice))
            loaded, panel = bundle.load(tmp_path / "models" / name), assemble(rectangle(table), "state_based")
            forecast = loaded.model.forecast(panel, origin)
            escalating = loaded.escalation.probabilities(panel, forecast)
            rows = country_scores(forecast, rectangle(table), {"minimal": 0.0}, escalating)
            assert {row["escalation_model"] for row in rows} == {voice}
            told.append([loaded.id, rows])
    assert told[: len(ESCALATION_MODELS)] == told[len(ESCALATION_MODELS) :]
    assert len({name for name, _ in told}) == len(ESCALATION_MODELS)
    by_voice = [[row["escalation_probability"] for row in rows] for _, rows in told[: len(ESCALATION_MODELS)]]
    assert by_voice[0] != by_voice[1] != by_voice[2]


def test_what_a_model_says_of_itself() -> None:
    _, voices, said = train(rectangle(made()), "2009-12")
    assert (said.outcome, said.origin, said.seed, said.simulated) == ("state_based", "2009-12", 4, True)
    assert said.features == tuple(indicator.name for indicator in INDICATORS)
    assert (said.scores["origin"], said.scores["months"], said.scores["figures"]) == (
        "2008-10",
        "2009-01..2009-12",
        "final",
    )
    assert said.scores["pool"].keys() == said.scores["conflictology12"].keys()
    assert said.scores["pool"]["CRPS"] != said.scores["conflictology12"]["CRPS"]
    assert said.scores["escalation"]["model"] == voices.chosen
    assert said.scores["escalation"]["origins"] == "2004-12..2009-06"
    assert set(said.scores["escalation"]["Brier"]) == set(voices.scores)
    json.dumps(said.scores, allow_nan=False)


def test_too_short_to_be_scored_is_said() -> None:
    _, _, said = train(rectangle(made()), "2004-06")
    assert set(said.scores) == {"unscored", "escalation"}
    assert (said.scores["escalation"]["model"], said.scores["escalation"]["Brier"]) == ("draws", {})
    assert "a model needs 200" in said.scores["unscored"]


@pytest.mark.parametrize("origin", ["1999-12", "2010-01"])
def test_an_origin_outside_the_data_is_refused(origin: str) -> None:
    with pytest.raises(BadInput, match="lies outside the data, which hold 2000-01 to 2009-12"):
        train(rectangle(made()), origin)


def test_an_outcome_without_data_is_refused() -> None:
    observed = rectangle(made())
    observed.deaths["all"][:] = np.nan
    with pytest.raises(BadInput, match="history of all deaths up to 2009-12 holds 0 country-months"):
        train(observed, "2009-12", "all")
