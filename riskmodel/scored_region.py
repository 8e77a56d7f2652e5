"""The forecast and the scores of a region's countries as pandas tables, computed from a view and a model bundle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from riskmodel import bundle, geography
from riskmodel.assessment import assess
from riskmodel.bands import DEFAULT_BANDS
from riskmodel.country_scores import MONTHLY_THRESHOLDS, QUANTILES, country_scores
from riskmodel.errors import Refused
from riskmodel.events.view import View
from riskmodel.forecasting.forecast import SERVED_LEADS, Forecast
from riskmodel.home import Home
from riskmodel.months import Month

LEADS = np.arange(1, SERVED_LEADS + 1)
QUANTITIES = (
    *("expected", *(f"p{100 * level:02.0f}" for level in QUANTILES)),
    *(f"probability_{deaths}" for deaths in MONTHLY_THRESHOLDS),
)
"""The columns of the monthly quantities."""


@dataclass(frozen=True)
class CountryForecast:
    """The forecast of one country from the model in service, as the page shows it.

    `quantiles` has one row per month, leads 1-12: `expected` deaths, the quantiles `p05` to `p95` [deaths], and the
    probabilities of at least 1, 25 and 100 deaths. `draws` has one row per month and draw: whole deaths; a draw is one
    path over all months, so sums over months are taken draw by draw. It can be written as Parquet for `vigie compare`.
    `observed` has the deaths up to the origin, as `HomeReader.deaths`. If the country cannot be forecast, all is NaN,
    and `reason` says why.
    """

    iso3: str
    name: str
    outcome: str
    origin: pd.Timestamp
    simulated: bool
    model: str
    reason: str | None
    quantiles: pd.DataFrame = field(repr=False)
    draws: pd.DataFrame = field(repr=False)
    observed: pd.DataFrame = field(repr=False)


@dataclass(frozen=True)
class ScoredRegion:
    """A region's forecast and the payload of its scores by country, in the forecast's order.

    `hindsight`: the model was trained after the moment of the view, and on more data.
    """

    forecast: Forecast
    payload: list[dict[str, Any]]
    model: str
    model_origin: Month
    hindsight: bool
    simulated: bool

    @property
    def outcome(self) -> str:
        return self.forecast.outcome

    @property
    def origin(self) -> Month:
        return self.forecast.origin

    def reason(self, iso3: str) -> str | None:
        """Return why a country has no forecast, or None."""
        reason: str | None = self._of(iso3)["reasons"].get("risk_score")
        return reason

    def quantiles(self, iso3: str) -> pd.DataFrame:
        """Return the monthly quantities of a country; see `CountryForecast`."""
        monthly = self._of(iso3)["forecast"]
        return pd.DataFrame(
            {
                "iso3": iso3,
                "origin": timestamp(self.origin),
                "month": (self.origin + LEADS).astype("datetime64[s]"),
                "lead": LEADS,
                **{name: [month[name] for month in monthly] or np.nan for name in QUANTITIES},
                **self._constant(iso3),
            }
        ).astype({"reason": "str"})

    def draws(self, iso3: str) -> pd.DataFrame:
        """Return the draws of a country; see `CountryForecast`."""
        draws = self.forecast.draws[self.forecast.iso3.index(iso3), :SERVED_LEADS]
        return pd.DataFrame(
            {
                "iso3": iso3,
                "origin": timestamp(self.origin),
                "month": np.repeat((self.origin + LEADS).astype("datetime64[s]"), draws.shape[1]),
                "lead": np.repeat(LEADS, draws.shape[1]),
                "draw": np.tile(np.arange(draws.shape[1]), SERVED_LEADS),
                "deaths": draws.ravel().astype(np.float64),
                **self._constant(iso3),
            }
        ).astype({"reason": "str"})

    def scores(self) -> pd.DataFrame:
        """Return the scores, one row per country, the highest risk first; see `HomeReader.scores`."""
        facts = {"model": self.model, "model_origin": timestamp(self.model_origin), "hindsight": self.hindsight}
        facts |= {"outcome": self.outcome, "simulated": self.simulated}
        rows = score_table(self.payload, self.origin, facts)
        return rows.sort_values("risk_score", ascending=False, ignore_index=True)

    def _of(self, iso3: str) -> dict[str, Any]:
        return self.payload[self.forecast.iso3.index(iso3)]

    def _constant(self, iso3: str) -> dict[str, Any]:
        return {"reason": self.reason(iso3), "outcome": self.outcome, "simulated": self.simulated}


@lru_cache(maxsize=4)
def score_region(view: View, focal: str, path: Path, origin: Month, moment: datetime | None) -> ScoredRegion:
    """Forecast and score a region with the bundle at `path`. `moment` is that of a past view.

    The last results are cached, so that the forecasts of all members take one computation. Raises Refused for an
    altered bundle.
    """
    served = bundle.load(path)
    assessed = assess(view, geography.region(focal).members, served.outcome, origin)
    forecast = assessed.forecast(served.model)
    escalation = served.escalation.probabilities(assessed.panel, forecast)
    payload = country_scores(forecast, assessed.expected, DEFAULT_BANDS, escalation)
    trained_later = moment is not None and datetime.fromisoformat(served.trained_at) > moment
    hindsight = trained_later and served.provenance.data_digest != view.digest
    return ScoredRegion(forecast, payload, served.id, served.origin, hindsight, view.simulated)


def model_of_view(home: Home, view: View, outcome: str, origin: Month) -> Path | None:
    """Return a stored model that was trained on this view alone, or None."""
    for manifest in sorted(home.as_of_models.glob(f"*/*/{bundle.MANIFEST_FILE}")):
        try:
            of = bundle.read_provenance(manifest.parent)
            usable = bundle.outdated_reason(manifest.parent) is None
        except Refused:
            continue
        if usable and (of.data_digest, of.outcome, of.origin) == (view.digest, outcome, str(origin)):
            return manifest.parent
    return None


def score_table(payload: Sequence[Mapping[str, Any]], origin: Month, facts: Mapping[str, Any]) -> pd.DataFrame:
    """Return the scores that `country_scores` computed as one row per country; `facts` are the same in each row."""
    rows = [
        {
            "iso3": score["location_code"],
            "name": geography.country(score["location_code"]).name(),
            "origin": timestamp(origin),
            "risk_score": score["risk_score"],
            "band": score["band"],
            "reason": score["reasons"].get("risk_score"),
            **{f"rung_{rung['deaths']}": rung["probability"] for rung in score["rungs"]},
            "escalation_probability": score["escalation_probability"],
            "escalation_reason": score["reasons"].get("escalation_probability"),
            "onset_probability": score["onset_probability"],
            "onset_reason": score["reasons"].get("onset_probability"),
            "expected_deaths": score["expected_deaths"],
            **facts,
        }
        for score in payload
    ]
    numbers = ("risk_score", "escalation_probability", "onset_probability", "expected_deaths")
    texts = ("band", "reason", "escalation_reason", "onset_reason")
    return pd.DataFrame(rows).astype({**dict.fromkeys(numbers, "float64"), **dict.fromkeys(texts, "str")})


def timestamp(month: Month) -> pd.Timestamp:
    """Return the first day of a month."""
    return pd.Timestamp(month.astype("datetime64[s]"))
