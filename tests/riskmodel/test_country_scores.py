"""Country scores: values by hand, and agreement of all quantities for any draws."""

import json
from typing import get_args

import numpy as np
import pytest
from histories import rectangle
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import ArrayLike, NDArray

from riskmodel.country_scores import ScoreReason, country_scores
from riskmodel.forecasting.escalation import EscalationProbabilities
from riskmodel.forecasting.forecast import LEADS, Forecast
from riskmodel.targets import RUNGS

BANDS = {"minimal": 0.0, "low": 10.0, "moderate": 30.0, "high": 50.0, "very high": 70.0, "extreme": 85.0}
ORIGIN = np.datetime64("2004-12", "M")

months = st.one_of(st.just(0), st.integers(0, 40), st.integers(0, 2000)).map(float)


def forecast(draws: ArrayLike, origin: np.datetime64 = ORIGIN, *iso3: str) -> Forecast:
    return Forecast(origin, iso3 or ("MLI",), "state_based", np.asarray(draws, dtype=np.float32))


def steady(*monthly: float) -> NDArray[np.float32]:
    """One draw for each value, the same in every month; shape (1, lead, draw)."""
    return np.tile(np.array(monthly, dtype=np.float32), (1, LEADS, 1))


def scores_of(draws: ArrayLike, history: ArrayLike) -> dict[str, object]:
    (scores,) = country_scores(forecast(draws), rectangle(history), BANDS)
    return scores


def test_quantities_match_values_by_hand() -> None:
    history = np.zeros(60)
    history[-3:] = [10, 0, 10]
    scores = scores_of(steady(0, 2, 14, 40), history)  # three months: 0, 6, 42, 120
    assert scores["location_code"] == "MLI"
    assert (scores["reference_period_start"], scores["reference_period_end"]) == ("2005-01-01", "2005-03-31")
    assert scores["rungs"] == [
        {"deaths": 1, "probability": 0.75},
        {"deaths": 5, "probability": 0.75},
        {"deaths": 25, "probability": 0.5},
        {"deaths": 100, "probability": 0.25},
        {"deaths": 300, "probability": 0.0},
        {"deaths": 1000, "probability": 0.0},
    ]
    assert scores["risk_score"] == 37.5
    assert scores["band"] == "moderate"
    assert scores["escalation_probability"] == 0.5  # at least 40, twice the last three months
    assert scores["onset_probability"] == 0.25
    assert scores["expected_deaths"] == 42.0
    assert scores["reasons"] == {}
    assert len(scores["forecast"]) == 12
    assert scores["forecast"][11] == {
        "lead": 12,
        "month": "2005-12",
        "expected": 14.0,
        "p05": 0.3,
        "p25": 1.5,
        "p50": 8.0,
        "p75": 20.5,
        "p95": 36.1,
        "probability_1": 0.75,
        "probability_25": 0.25,
        "probability_100": 0.0,
    }


def test_sums_are_taken_along_a_draw() -> None:
    draws = np.zeros((1, LEADS, 3))
    draws[0, [0, 1, 2], [0, 1, 2]] = 25  # each draw has one bad month, none has two
    scores = scores_of(draws, np.zeros(60))
    assert [rung["probability"] for rung in scores["rungs"]] == [1, 1, 1, 0, 0, 0]
    assert scores["onset_probability"] == 1


def test_escalation_needs_25_deaths_even_after_peace() -> None:
    assert scores_of(steady(8), np.zeros(60))["escalation_probability"] == 0
    assert scores_of(steady(9), np.zeros(60))["escalation_probability"] == 1
    assert scores_of(steady(9), [*[0.0] * 59, 14.0])["escalation_probability"] == 0


def test_escalation_can_come_from_another_model() -> None:
    two_countries = forecast(np.concatenate([steady(8, 9), steady(9, 9)]), ORIGIN, "MLI", "NER")
    escalation = EscalationProbabilities(np.array([0.12344, 0.9]), ("h24", "draws_and_regression"))
    mali, niger = country_scores(
        two_countries, rectangle(np.zeros((2, 60))).including(("MLI", "NER")), BANDS, escalation
    )
    assert (mali["escalation_probability"], mali["escalation_model"], mali["escalation_from_draws"]) == (
        0.1234,
        "h24",
        0.5,
    )
    assert (niger["escalation_probability"], niger["escalation_model"]) == (0.9, "draws_and_regression")
    plain = scores_of(steady(8, 9), np.zeros(60))
    assert (plain["escalation_probability"], plain["escalation_model"], plain["onset_model"]) == (0.5, "draws", "draws")
    assert {key: mali[key] for key in plain if "escalation" not in key} == {
        key: plain[key] for key in plain if "escalation" not in key
    }


def test_onset_is_about_twelve_months() -> None:
    late = np.zeros((1, LEADS, 1))
    late[0, 12:] = 100
    assert scores_of(late, np.zeros(60))["onset_probability"] == 0
    late[0, 11] = 25
    assert scores_of(late, np.zeros(60))["onset_probability"] == 1


def test_onset_is_for_countries_quiet_for_sixty_months() -> None:
    violent = np.zeros(60)
    violent[0] = 25
    assert scores_of(steady(0), violent)["reasons"] == {"onset_probability": "not_quiet"}
    assert scores_of(steady(0), violent[1:])["reasons"] == {"onset_probability": "history_too_short"}
    violent[0] = 24
    assert scores_of(steady(0), violent)["onset_probability"] == 0
    violent[5] = np.nan
    scores = scores_of(steady(0), violent)
    assert (scores["onset_probability"], scores["reasons"]) == (None, {"onset_probability": "history_too_short"})


@pytest.mark.parametrize(("score", "band"), [(0, "minimal"), (1 / 6, "low"), (0.5, "high"), (1, "extreme")])
def test_a_band_starts_at_its_floor(score: float, band: str) -> None:
    draws = np.zeros((1, LEADS, 1))
    draws[0, 0] = [0, *RUNGS][round(score * len(RUNGS))]
    scores = scores_of(draws, np.zeros(60))
    assert scores["risk_score"] == round(100 * score, 1)
    assert scores["band"] == band


def test_an_unknown_quantity_is_null_with_a_reason() -> None:
    unknown = np.full((1, LEADS, 2), np.nan)
    ended = np.full(60, 3.0)
    ended[-1] = np.nan
    reasons = {}
    for name, history in {"none": np.full(60, np.nan), "short": [np.nan, 1.0, 2.0], "ended": ended}.items():
        scores = scores_of(unknown, history)
        assert {name for name, value in scores.items() if not value} == set(scores["reasons"])
        assert scores["risk_score"] is None
        assert scores["forecast"] == []
        reasons[name] = set(scores["reasons"].values())
    assert reasons == {"none": {"no_history"}, "short": {"history_too_short"}, "ended": {"history_ends_early"}}
    assert {code for codes in reasons.values() for code in codes} <= set(get_args(ScoreReason))


def test_a_country_without_history_has_no_scores() -> None:
    two_countries = forecast(np.concatenate([steady(1), steady(np.nan)]), ORIGIN, "MLI", "NER")
    mali, niger = country_scores(two_countries, rectangle(np.zeros(60)), BANDS)
    assert mali["reasons"] == {}
    assert set(niger["reasons"].values()) == {"no_history"}


def test_months_after_the_origin_are_ignored() -> None:
    history = np.zeros(72)
    history[60:] = 1000
    assert scores_of(steady(9), history)["onset_probability"] == 0
    assert scores_of(steady(9), history)["escalation_probability"] == 1


def test_history_is_of_the_outcome_of_the_forecast() -> None:
    observed = rectangle(np.zeros(60))
    observed.deaths["all"] = np.full((1, 60), 30.0)
    everything = Forecast(ORIGIN, ("MLI",), "all", steady(9))
    (scores,) = country_scores(everything, observed, BANDS)
    assert scores["reasons"] == {"onset_probability": "not_quiet"}
    assert scores["escalation_probability"] == 0


@settings(max_examples=30, deadline=None)
@given(
    draws=arrays(np.float32, st.tuples(st.just(1), st.just(LEADS), st.integers(1, 12)), elements=months),
    history=arrays(np.float64, st.integers(1, 70), elements=months),
)
def test_all_quantities_agree(draws: NDArray[np.float32], history: NDArray[np.float64]) -> None:
    origin = np.datetime64("2000-01", "M") + len(history) - 1
    (scores,) = country_scores(forecast(draws, origin), rectangle(history), BANDS)
    json.dumps(scores, allow_nan=False)
    chances = [rung["probability"] for rung in scores["rungs"]]
    assert chances == sorted(chances, reverse=True)
    assert scores["risk_score"] == pytest.approx(100 * np.mean(chances), abs=0.06)
    assert (scores["risk_score"] == 0) == (draws[0, :3].sum() == 0)
    assert scores["band"] == [name for name, floor in BANDS.items() if floor <= scores["risk_score"]][-1]
    monthly = scores["forecast"]
    assert scores["expected_deaths"] == pytest.approx(sum(month["expected"] for month in monthly[:3]), abs=0.21)
    for lead, month in enumerate(monthly, start=1):
        assert month["lead"] == lead
        assert month["p05"] <= month["p25"] <= month["p50"] <= month["p75"] <= month["p95"]
        assert 1 >= month["probability_1"] >= month["probability_25"] >= month["probability_100"] >= 0
        if scores["onset_probability"] is not None:
            assert scores["onset_probability"] >= month["probability_25"]
    if scores["escalation_probability"] is not None:
        assert scores["escalation_probability"] <= chances[2]
    assert (scores["onset_probability"] is None) == ("onset_probability" in scores["reasons"])
    assert (scores["escalation_probability"] is None) == ("escalation_probability" in scores["reasons"])
