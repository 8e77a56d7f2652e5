"""The scores of each country: risk score, band, escalation, onset and monthly quantities, ready for JSON.

All come from the draws of one forecast, except the escalation probability, which can come from another model. The
quantities therefore agree: quantiles and probabilities are monotone, and the risk score is the mean over its rungs. An
unknown quantity is None, and `reasons` gives a `ScoreReason` for it.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from riskmodel.bands import band_of
from riskmodel.forecasting.escalation import DRAWS, EscalationProbabilities, escalation_from_draws
from riskmodel.forecasting.forecast import SERVED_LEADS, Forecast
from riskmodel.months import first_day, last_day
from riskmodel.outcomes import CountryMonths
from riskmodel.targets import BATTLE_DEATHS, HORIZON, QUIET_MONTHS, RUNGS

MONTHLY_THRESHOLDS = (1, 25, 100)  # [deaths a month]
QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)

ScoreReason: TypeAlias = Literal[
    "no_history",  # no source covers the country up to the origin
    "history_ends_early",  # the known months of the country end before the origin
    "history_too_short",  # too few unbroken months up to the origin: a forecast needs 12, onset 60
    "not_quiet",  # a month of the last 60 had 25 deaths or more; onset is for quiet countries
]
"""The codes that say why a quantity is None."""


def country_scores(
    forecast: Forecast,
    observed: CountryMonths,
    bands: Mapping[str, float],
    escalation: EscalationProbabilities | None = None,
) -> list[dict[str, Any]]:
    """Return the scores of each country of a forecast, ready for JSON.

    `bands` gives the lowest risk score of each band; the lowest band starts at 0. `observed` can have months after the
    origin: they are ignored. `escalation` has the countries of the forecast in its order; without it, the draws give
    the escalation probability.
    """
    histories = _histories(forecast, observed)
    from_draws = escalation_from_draws(forecast.draws, histories)
    escalation = escalation or EscalationProbabilities(from_draws, (DRAWS,) * len(forecast.iso3))
    return [
        _scores_of_country(
            forecast,
            country,
            histories[country],
            bands,
            escalation_probability=float(escalation.probability[country]),
            escalation_model=escalation.models[country],
            escalation_from_draws=float(from_draws[country]),
        )
        for country in range(len(forecast.iso3))
    ]


def risk_score(draws: NDArray[np.float64]) -> float:
    """Return 100 × the mean over the rungs of P(deaths in the next 3 months ≥ rung).

    `draws` is of shape (lead, draw) [deaths].
    """
    return 100.0 * float(np.mean(_rung_probabilities(draws)))


def _horizon_deaths(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(draws[:HORIZON].sum(axis=0))


def _rung_probabilities(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((_horizon_deaths(draws) >= np.array(RUNGS)[:, None]).mean(axis=1))


def _histories(forecast: Forecast, observed: CountryMonths) -> NDArray[np.float64]:
    """Deaths up to the origin, shape (country of the forecast, month); NaN throughout for an unknown country."""
    known = observed.until(forecast.origin).including(forecast.iso3)
    return known.deaths[forecast.outcome][known.rows(forecast.iso3)]


def _scores_of_country(
    forecast: Forecast,
    country: int,
    history: NDArray[np.float64],
    bands: Mapping[str, float],
    *,
    escalation_probability: float,
    escalation_model: str,
    escalation_from_draws: float,
) -> dict[str, Any]:
    draws = forecast.draws[country].astype(np.float64)
    scores: dict[str, Any] = {
        "location_code": forecast.iso3[country],
        "reference_period_start": first_day(forecast.origin + 1),
        "reference_period_end": last_day(forecast.origin + HORIZON),
        "risk_score": None,
        "band": None,
        "rungs": [],
        "escalation_probability": None,
        "onset_probability": None,
        "expected_deaths": None,
        "escalation_model": None,
        "escalation_from_draws": None,
        "onset_model": None,
        "forecast": [],
        "reasons": {},
    }
    if np.isnan(draws).any():
        unknown = [field for field, value in scores.items() if not value and field != "reasons"]
        return {**scores, "reasons": dict.fromkeys(unknown, _unknown_reason(history))}
    score = round(risk_score(draws), 1)
    onset, no_onset_reason = _onset(draws, history)
    escalation = {
        "escalation_probability": escalation_probability,
        "escalation_from_draws": escalation_from_draws,
    }
    scores |= {
        "risk_score": score,
        "band": band_of(score, bands),
        "rungs": [
            {"deaths": deaths, "probability": round(float(probability), 4)}
            for deaths, probability in zip(RUNGS, _rung_probabilities(draws), strict=True)
        ],
        **{name: None if np.isnan(value) else round(value, 4) for name, value in escalation.items()},
        "escalation_model": escalation_model,
        "onset_probability": onset,
        "onset_model": DRAWS,
        "expected_deaths": round(float(_horizon_deaths(draws).mean()), 1),
        "forecast": _monthly_quantities(forecast, draws),
    }
    scores["reasons"] |= {name: "history_too_short" for name, value in escalation.items() if np.isnan(value)}
    if no_onset_reason:
        scores["reasons"]["onset_probability"] = no_onset_reason
    return scores


def _unknown_reason(history: NDArray[np.float64]) -> ScoreReason:
    if not np.isfinite(history).any():
        return "no_history"
    return "history_too_short" if np.isfinite(history[-1]) else "history_ends_early"


def _onset(draws: NDArray[np.float64], history: NDArray[np.float64]) -> tuple[float | None, ScoreReason | None]:
    """P(a month of the next 12 has 25 deaths or more), or the reason why it is not defined."""
    recent = history[-QUIET_MONTHS:]
    if (recent >= BATTLE_DEATHS).any():
        return None, "not_quiet"
    if len(recent) < QUIET_MONTHS or np.isnan(recent).any():
        return None, "history_too_short"
    return round(float(np.mean(draws[:SERVED_LEADS].max(axis=0) >= BATTLE_DEATHS)), 4), None


def _monthly_quantities(forecast: Forecast, draws: NDArray[np.float64]) -> list[dict[str, Any]]:
    draws = draws[:SERVED_LEADS]
    quantiles = np.quantile(draws, QUANTILES, axis=1).round(1)
    columns = {
        "expected": draws.mean(axis=1).round(1),
        **{f"p{100 * level:02.0f}": values for level, values in zip(QUANTILES, quantiles, strict=True)},
        **{f"probability_{deaths}": (draws >= deaths).mean(axis=1).round(4) for deaths in MONTHLY_THRESHOLDS},
    }
    return [
        {
            "lead": lead,
            "month": str(forecast.origin + lead),
            **{name: float(values[lead - 1]) for name, values in columns.items()},
        }
        for lead in range(1, len(draws) + 1)
    ]
