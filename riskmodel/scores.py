"""What is said of a country: risk score, band, escalation, onset and monthly quantities.

Whatever comes from the same draws agrees: quantiles and probabilities are monotone, the risk score is the mean of its
rungs. Escalation alone may be the word of another voice, and what the draws imply then stands beside it. What cannot be
said is None, and `reasons` says why, by a code of `REASONS`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from riskmodel.forecasting.forecast import SERVED_LEADS, Forecast
from riskmodel.months import first_day, last_day
from riskmodel.outcomes import CountryMonths

if TYPE_CHECKING:
    from riskmodel.forecasting.escalation import Said

RUNGS = (1, 5, 25, 100, 300, 1000)  # [deaths]
LEVELS = (1, 25, 100)  # [deaths a month]
QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)
HORIZON = 3  # [months]
QUIET = 60  # [months]
BATTLE = 25  # [deaths]
DRAWS = "draws"
"""The voice of the forecast itself."""

REASONS = {
    "no_history": "no source covers the country up to the origin",
    "history_ends_early": "what is known of the country ends before the origin",
    "history_too_short": "too few unbroken months up to the origin: a forecast needs 12, onset 60",
    "not_quiet": f"a month of the last {QUIET} had {BATTLE} deaths or more; onset is for quiet countries",
}


def country_scores(
    forecast: Forecast, observed: CountryMonths, bands: Mapping[str, float], escalating: "Said | None" = None
) -> list[dict[str, Any]]:
    """The scores of each country of a forecast, ready for JSON.

    `bands` gives each band's floor on the risk score; the lowest is 0. `observed` may hold later months: they are not
    looked at. `escalating` is what is said of escalation, country by country of the forecast; by default it is what the
    draws imply.
    """
    history = _history(forecast, observed)
    rows = zip(forecast.iso3, forecast.draws.astype(np.float64), history, strict=True)
    return [
        _country(
            forecast,
            iso3,
            draws,
            deaths,
            bands,
            (float(escalating.probability[i]), escalating.by[i]) if escalating else (escalation(draws, deaths), DRAWS),
        )
        for i, (iso3, draws, deaths) in enumerate(rows)
    ]


def risk_score(draws: NDArray[np.float64]) -> float:
    """100 × the mean over the rungs of P(deaths in the next 3 months ≥ rung), from draws of shape (lead, draw)."""
    return 100.0 * float(np.mean(_rungs(draws)))


def escalation(draws: NDArray[np.float64], history: NDArray[np.float64]) -> float:
    """P(deaths in the next 3 months ≥ max(25, 2 × those of the last 3)); NaN where the last 3 are not all known."""
    before = history[-HORIZON:].sum()
    return float(np.mean(_near(draws) >= max(BATTLE, 2 * before))) if np.isfinite(before) else float("nan")


def onset(draws: NDArray[np.float64]) -> float:
    """P(some month of the next 12 with 25 deaths or more)."""
    return float(np.mean(draws[:SERVED_LEADS].max(axis=0) >= BATTLE))


def _near(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(draws[:HORIZON].sum(axis=0))


def _rungs(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((_near(draws) >= np.array(RUNGS)[:, None]).mean(axis=1))


def _history(forecast: Forecast, observed: CountryMonths) -> NDArray[np.float64]:
    """Deaths of the months up to the origin by country of the forecast; NaN throughout where the country is unknown."""
    cut = observed.until(forecast.origin).including(forecast.iso3)
    return cut.deaths[forecast.outcome][cut.rows(forecast.iso3)]


def _country(
    forecast: Forecast,
    iso3: str,
    draws: NDArray[np.float64],
    history: NDArray[np.float64],
    bands: Mapping[str, float],
    escalating: tuple[float, str],
) -> dict[str, Any]:
    """One country's scores; `escalating` is the probability of escalation and whose word that is."""
    said: dict[str, Any] = {
        "location_code": iso3,
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
        unsaid = [field for field, value in said.items() if not value and field != "reasons"]
        return {**said, "reasons": dict.fromkeys(unsaid, _why_none(history))}
    score = round(risk_score(draws), 1)
    starting, why_not = _onset(draws, history)
    chances = {"escalation_probability": escalating[0], "escalation_from_draws": escalation(draws, history)}
    said |= {
        "risk_score": score,
        "band": max((floor, name) for name, floor in bands.items() if floor <= score)[1],
        "rungs": [{"deaths": d, "probability": round(float(p), 4)} for d, p in zip(RUNGS, _rungs(draws), strict=True)],
        **{name: None if np.isnan(chance) else round(chance, 4) for name, chance in chances.items()},
        "escalation_model": escalating[1],
        "onset_probability": starting,
        "onset_model": DRAWS,
        "expected_deaths": round(float(_near(draws).mean()), 1),
        "forecast": _months(forecast, draws),
    }
    said["reasons"] |= {name: "history_too_short" for name, chance in chances.items() if np.isnan(chance)}
    if why_not:
        said["reasons"]["onset_probability"] = why_not
    return said


def _why_none(history: NDArray[np.float64]) -> str:
    if not np.isfinite(history).any():
        return "no_history"
    return "history_too_short" if np.isfinite(history[-1]) else "history_ends_early"


def _onset(draws: NDArray[np.float64], history: NDArray[np.float64]) -> tuple[float | None, str | None]:
    recent = history[-QUIET:]
    if (recent >= BATTLE).any():
        return None, "not_quiet"
    if len(recent) < QUIET or np.isnan(recent).any():
        return None, "history_too_short"
    return round(onset(draws), 4), None


def _months(forecast: Forecast, draws: NDArray[np.float64]) -> list[dict[str, Any]]:
    draws = draws[:SERVED_LEADS]
    columns = {
        "expected": draws.mean(axis=1).round(1),
        **dict(
            zip([f"p{100 * q:02.0f}" for q in QUANTILES], np.quantile(draws, QUANTILES, axis=1).round(1), strict=True)
        ),
        **{f"probability_{level}": (draws >= level).mean(axis=1).round(4) for level in LEVELS},
    }
    return [
        {
            "lead": lead,
            "month": str(forecast.origin + lead),
            **{name: float(values[lead - 1]) for name, values in columns.items()},
        }
        for lead in range(1, len(draws) + 1)
    ]
