"""What one fitted model would have reported in a region at several origins. It knows no home and stores nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from riskmodel.assessment import Assessment, assess
from riskmodel.bands import DEFAULT_BANDS
from riskmodel.country_scores import country_scores
from riskmodel.errors import BadInput
from riskmodel.events.view import View
from riskmodel.forecasting.baselines import BASELINES
from riskmodel.forecasting.component import Component
from riskmodel.forecasting.escalation import RULE_MONTHS, Escalation, escalation_from_history
from riskmodel.forecasting.forecast import SERVED_LEADS, Forecast
from riskmodel.hindcasts import SERVED, DataBasis
from riskmodel.indicators.panel import Panel
from riskmodel.months import Month
from riskmodel.outcomes import MIN_HISTORY, OUTCOME_LABELS
from training.ablation import mask_families
from training.as_known import known_by, settled_state
from training.backtest_runner import build_panel

OBSERVED_MONTHS = 12
"""How many observed months a report contains for each country."""


@dataclass(frozen=True)
class Batch:
    """The origins that one fitted model forecasts, all on the same basis.

    With `keep_fit`, the fitted model is needed again: a later batch chooses its model of escalation with it.
    """

    outcome: str
    model_origin: Month
    basis: DataBasis
    origins: tuple[Month, ...]
    keep_fit: bool = False


@dataclass(frozen=True)
class Figures:
    """What batches are computed from: an archive, the members of the region, and the model to be fitted.

    `panel` has all countries with the newest figures; None for figures as known. `fits` are models that were fitted on
    this panel before, by their origin.
    """

    view: View
    members: tuple[str, ...]
    model: Component
    panel: Panel | None = None
    fits: Mapping[Month, Component] = field(default_factory=dict)


class Report(NamedTuple):
    """What a hindcast says at an origin: see `riskmodel.hindcasts.Hindcast`."""

    origin: Month
    data_digest: str
    countries: list[dict[str, Any]]
    draws: dict[str, NDArray[np.float32]]


class Computed(NamedTuple):
    """The reports of a batch, and its fitted model if it is to be kept."""

    reports: list[Report]
    fitted: Component | None


def compute(figures: Figures, batch: Batch) -> Computed | BadInput:
    """Fit the model of a batch, choose its model of escalation, and report at each origin.

    An origin at which no member can be forecast has no report. Returns the reason where the history is too short for a
    model.
    """
    try:
        panel = figures.panel or training_panel(known_by(figures.view, batch.model_origin), figures.model, batch)
        known = panel.until(batch.model_origin)
        model = _FittedOnce(figures.model, dict(figures.fits))
        fitted = model.fit(known, batch.model_origin).model
        escalation = Escalation().fit(known, batch.model_origin, model)
    except BadInput as reason:
        return reason
    reports = [_report(figures, batch, origin, fitted, escalation) for origin in batch.origins]
    return Computed([report for report in reports if report], fitted if batch.keep_fit else None)


def training_panel(view: View, model: Component, batch: Batch) -> Panel:
    """Return the panel of all countries with a history at the origin of a batch's model.

    Raises BadInput where there is none.
    """
    observed = view.outcomes().with_history(batch.outcome, batch.model_origin)
    if not observed.iso3:
        label = OUTCOME_LABELS[batch.outcome]["en"]
        raise BadInput(f"no country has {MIN_HISTORY} unbroken months of deaths in {label} up to {batch.model_origin}")
    return mask_families(build_panel(view, observed, batch.outcome), model)


@dataclass(frozen=True)
class _FittedOnce:
    """A model that is fitted once for each origin, all on the months of one panel."""

    model: Component
    fits: dict[Month, Component]

    @property
    def name(self) -> str:
        return self.model.name

    def fit(self, panel: Panel, origin: Month) -> Self:
        if origin not in self.fits:
            self.fits[origin] = self.model.fit(panel, origin)
        return replace(self, model=self.fits[origin])

    def forecast(self, panel: Panel, origin: Month) -> Forecast:
        return self.model.forecast(panel, origin)


def _report(figures: Figures, batch: Batch, origin: Month, fitted: Component, escalation: Escalation) -> Report | None:
    """Report at an origin as the service does; None where no member can be forecast."""
    as_known = batch.basis == "as_known"
    view = known_by(figures.view, origin) if as_known else figures.view
    state = None if as_known else settled_state(view, batch.outcome)
    assessed = assess(view, figures.members, batch.outcome, origin, state)
    forecast = assessed.forecast(fitted)
    if np.isnan(forecast.draws).all():
        return None
    probabilities = escalation.probabilities(assessed.panel, forecast)
    by_rule = escalation_from_history(assessed.panel.history(origin, RULE_MONTHS))
    forecasts = {SERVED: forecast, **{each.name: assessed.forecast(each) for each in BASELINES}}
    countries = [
        {
            **scores,
            "observed": _observed(assessed, scores["location_code"]),
            "escalation_h24": None if np.isnan(rule) else round(rule, 4),
        }
        for scores, rule in zip(
            country_scores(forecast, assessed.expected, DEFAULT_BANDS, probabilities), by_rule.tolist(), strict=True
        )
    ]
    draws = {name: each.draws[:, :SERVED_LEADS] for name, each in forecasts.items()}
    return Report(origin, view.digest, countries, draws)


def _observed(assessed: Assessment, iso3: str) -> list[dict[str, Any]]:
    """Return the last months of a country as known at the origin; unknown deaths are None."""
    observed, months = assessed.observed, []
    deaths = observed.deaths[assessed.outcome][observed.iso3.index(iso3), -OBSERVED_MONTHS:]
    for month, value in zip(observed.months[-OBSERVED_MONTHS:], deaths, strict=True):
        revised = assessed.final.month(iso3, month)
        expected = {"expected_final": round(revised.expected, 1)} if revised else {}
        months.append({"month": str(month), "deaths": None if np.isnan(value) else int(value), **expected})
    return months
