"""Invented hindcasts, as `vigie hindcast` writes them."""

from typing import Any, Literal

import numpy as np
from snapshot_documents import SCORES, country

from riskmodel import hindcasts
from riskmodel.hindcasts import Hindcast
from riskmodel.home import Home
from riskmodel.months import month

FILE_KEYS = (
    *("location_code", "reference_period_start", "reference_period_end", "risk_score", "band", "rungs"),
    *("escalation_probability", "onset_probability", "expected_deaths", "escalation_model", "escalation_from_draws"),
    *("onset_model", "forecast", "signals", "not_compared", "percentiles", "unlisted_signals", "reasons"),
)
"""The keys of a country in a file that a snapshot has too."""


def write(
    home: Home,
    origin: str,
    *,
    lower: float = 0.0,
    outcome: str = "state_based",
    simulated: bool = False,
    edition: str = "first",
    data_basis: Literal["as_known", "final_figures"] = "final_figures",
    computed_at: str = "2023-01-10T09:00:00Z",
) -> None:
    """Write the hindcast of an origin, whose scores are those of snapshots lowered by some points."""
    countries = [_country(iso3, origin, score, lower) for iso3, score in SCORES.items()]
    draws = np.zeros((len(countries), 12, 2), dtype=np.float32)
    draws[[country["risk_score"] is None for country in countries]] = np.nan
    hindcast = Hindcast(
        region="MLI",
        simulated=simulated,
        outcome=outcome,
        origin=month(origin),
        data_basis=data_basis,
        model_origin=month("2020-12"),
        model="pool",
        edition=edition,
        data_digest="d" * 64,
        computed_at=computed_at,
        countries=countries,
        draws={hindcasts.SERVED: draws},
    )
    hindcasts.save(home, hindcast)


def _country(iso3: str, origin: str, score: float | None, lower: float) -> dict[str, Any]:
    source = {"source": "UCDP 24.1", "release": "24.1"}
    issued = country(iso3, origin, source, None if score is None else round(score - lower, 1))
    observed = [{name: entry[name] for name in ("month", "deaths")} for entry in issued["observed"][-12:]]
    if observed[-1]["deaths"] is not None:
        observed[-1]["expected_final"] = 2.5
    return {**{key: issued[key] for key in FILE_KEYS}, "observed": observed, "escalation_h24": 0.1}
