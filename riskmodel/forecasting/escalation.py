"""Escalation models: how likely the next three months are far deadlier than the last three.

There are three models: the draws of the forecast, a rule on the country's own history (`h24`), and the mean of the
draws and a regression. Training compares them in held-out months before the origin and chooses the best.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from riskmodel.errors import BadInput
from riskmodel.forecasting.component import Component
from riskmodel.forecasting.forecast import Forecast
from riskmodel.indicators.panel import Panel
from riskmodel.months import Month, Months
from riskmodel.scoring import brier
from riskmodel.targets import HORIZON, escalation_threshold, observed_escalations

Floats = NDArray[np.float64]

RULE_MONTHS = 26
"""The rule reads this many months: they hold 24 sums of three months [months]."""
MIN_KNOWN_SHARE = 0.5
"""The regression reads an indicator that is known in at least this share of its training months."""
MIN_ESCALATIONS = 20
"""With fewer escalations in the training months there is no regression; with fewer held-out ones no choice is made."""

DRAWS, RULE, POOLED = "draws", "h24", "draws_and_regression"
ESCALATION_MODELS = (DRAWS, RULE, POOLED)


@dataclass(frozen=True)
class EscalationProbabilities:
    """Probabilities of escalation by country, float64 of shape (country,), and the model that gave each.

    NaN where the forecast is NaN or one of the last three months is unknown.
    """

    probability: Floats
    models: tuple[str, ...]


def escalation_from_draws(draws: NDArray[Any], history: Floats) -> Floats:
    """Return the share of draws that escalate, shape (country,).

    `draws` is of shape (country, lead, draw) [deaths], `history` of shape (country, month) [deaths].
    """
    threshold, deaths = escalation_threshold(history), draws[:, :HORIZON].sum(axis=1, dtype=np.float64)
    unknown = np.isnan(threshold) | np.isnan(deaths).any(axis=-1)
    return np.where(unknown, np.nan, (deaths >= threshold[:, None]).mean(axis=-1))


def escalation_from_history(history: Floats) -> Floats:
    """Return the share of the country's last 24 three-month sums that would be an escalation now (the rule `h24`).

    From (country, month) [deaths] to (country,). The latest sum is one of the 24. NaN where one of their months is
    unknown.
    """
    if history.shape[1] < RULE_MONTHS:
        return np.full(len(history), np.nan)
    sums = sliding_window_view(history[:, -RULE_MONTHS:], HORIZON, axis=1).sum(axis=-1)
    return np.where(np.isnan(sums).any(axis=1), np.nan, (sums >= escalation_threshold(history)[:, None]).mean(axis=1))


@dataclass(frozen=True)
class Regression:
    """A ridge logistic regression of escalation on the indicators, the escalation threshold and the rule.

    Indicators enter as sign(x) · log(1 + |x|), and an unknown one as its median. `strength` is the inverse of the
    penalty that shrinks the coefficients towards 0. The weight of a training month halves with each `half_life`
    [months] of age. le Cessie & van Houwelingen (1992), doi:10.2307/2347628.
    """

    strength: float = 0.01
    half_life: float = 120.0
    columns: NDArray[np.intp] | None = field(default=None, repr=False)
    pipeline: Pipeline | None = field(default=None, repr=False)

    def fit(self, panel: Panel, origin: Month) -> Self:
        """Learn from all months whose next three are known at the origin; stay unfitted where too few escalated."""
        rows, escalated, age = _training_rows(panel.until(origin))
        if min(escalated.sum(), (~escalated).sum()) < MIN_ESCALATIONS:
            return replace(self, columns=None, pipeline=None)
        columns = np.flatnonzero((~np.isnan(rows)).mean(axis=0) >= MIN_KNOWN_SHARE)
        pipeline = make_pipeline(
            SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(C=self.strength, max_iter=1000)
        )
        weights = 0.5 ** (age / self.half_life)
        with threadpool_limits(1):  # BLAS sums in another order with another number of threads: last digits differ
            pipeline.fit(rows[:, columns], escalated, logisticregression__sample_weight=weights)
        return replace(self, columns=columns, pipeline=pipeline)

    def probability(self, panel: Panel, origin: Month) -> Floats:
        """Return the escalation probability by country, shape (country,).

        NaN where the rule is unknown, and everywhere if the regression is not fitted.
        """
        probability = np.full(len(panel.iso3), np.nan)
        history = panel.history(origin, RULE_MONTHS)
        rule = escalation_from_history(history)
        known = ~np.isnan(rule)
        if self.pipeline is not None and known.any():
            rows = _regression_rows(panel.at(origin), escalation_threshold(history), rule)[known]
            probability[known] = self.pipeline.predict_proba(rows[:, self.columns])[:, 1]
        return probability


@dataclass(frozen=True)
class Escalation:
    """The escalation model that did best in held-out months.

    `fit` trains all models `years` before the origin, has them forecast every `every` months since then, and chooses
    the one with the lowest Brier score over all countries. Equal scores, or too few held-out escalations, choose the
    draws. `scores` are the Brier scores by model, over `cases` country-months of which `events` escalated.
    """

    years: int = 5
    every: int = 6
    regression: Regression = field(default_factory=Regression)
    chosen: str = DRAWS
    scores: Mapping[str, float] = field(default_factory=dict)
    cases: int = 0
    events: int = 0

    def fit(self, panel: Panel, origin: Month, model: Component) -> Self:
        """Fit the regression and choose an escalation model; `model` is the unfitted forecaster whose draws compete."""
        known = panel.until(origin)
        probabilities, escalated = self._held_out_forecasts(known, origin, model)
        fitted = replace(
            self,
            regression=self.regression.fit(known, origin),
            chosen=DRAWS,
            scores={},
            cases=len(escalated),
            events=int(escalated.sum()),
        )
        if fitted.events < MIN_ESCALATIONS:
            return fitted
        scores = {
            name: float(brier(probability, escalated).mean())
            for name, probability in zip(ESCALATION_MODELS, probabilities, strict=True)
        }
        return replace(fitted, chosen=min(ESCALATION_MODELS, key=scores.__getitem__), scores=scores)

    def held_out(self, origin: Month) -> Months:
        """Return the origins on which the models are compared before one is chosen at `origin`."""
        return np.arange(origin - 12 * self.years, origin - HORIZON + 1, self.every)

    def probabilities(self, panel: Panel, forecast: Forecast) -> EscalationProbabilities:
        """Return the probability for each country of the panel and of the forecast, which must be the same.

        A country whose history is too short for the chosen model has the probability of the draws. Raises ValueError
        if the countries differ.
        """
        probabilities = _probabilities_by_model(panel, forecast, self.regression)
        from_draws, chosen = probabilities[0], probabilities[ESCALATION_MODELS.index(self.chosen)]
        unknown = np.isnan(chosen)
        return EscalationProbabilities(
            np.where(np.isnan(from_draws), np.nan, np.where(unknown, from_draws, chosen)),
            tuple(DRAWS if fallback else self.chosen for fallback in unknown),
        )

    def _held_out_forecasts(self, known: Panel, origin: Month, model: Component) -> tuple[Floats, NDArray[np.bool_]]:
        """Probabilities by model, shape (model, case), and what was observed, (case,), where all models have one."""
        early = self.held_out(origin)[0]
        nothing = np.empty((len(ESCALATION_MODELS), 0)), np.empty(0, dtype=bool)
        if early < known.months[0]:
            return nothing
        past = known.until(early)
        try:
            model = model.fit(past, early)
        except BadInput:  # the history before the held-out months is too short for this forecaster
            return nothing
        regression = self.regression.fit(past, early)
        observed_by_month = observed_escalations(known.deaths)
        probabilities, observed = [], []
        for month in self.held_out(origin):
            seen = known.until(month)
            probabilities.append(_probabilities_by_model(seen, model.forecast(seen, month), regression))
            observed.append(observed_by_month[:, seen.month_index(month)])
        probability, escalated = np.concatenate(probabilities, axis=1), np.concatenate(observed)
        complete = ~(np.isnan(probability).any(axis=0) | np.isnan(escalated))
        return probability[:, complete], escalated[complete] > 0


def _probabilities_by_model(panel: Panel, forecast: Forecast, regression: Regression) -> Floats:
    """The probability of each of `ESCALATION_MODELS`, shape (model, country)."""
    if forecast.iso3 != panel.iso3:
        raise ValueError("the forecast is of other countries than the panel")
    history = panel.history(forecast.origin, RULE_MONTHS)
    from_draws = escalation_from_draws(forecast.draws, history)
    pooled = (from_draws + regression.probability(panel, forecast.origin)) / 2
    return np.stack([from_draws, escalation_from_history(history), pooled])


def _training_rows(panel: Panel) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Rows of the regression, whether the months after them escalated, and their age [months]."""
    months = len(panel.months)
    observed = observed_escalations(panel.deaths)
    threshold, rule = np.full((2, *observed.shape), np.nan)
    for month in range(RULE_MONTHS - 1, months):
        history = panel.deaths[:, month + 1 - RULE_MONTHS : month + 1]
        threshold[:, month], rule[:, month] = escalation_threshold(history), escalation_from_history(history)
    known = ~(np.isnan(observed) | np.isnan(rule))
    age = np.broadcast_to(months - 1.0 - np.arange(months), known.shape)
    return _regression_rows(panel.values[known], threshold[known], rule[known]), observed[known] > 0, age[known]


def _regression_rows(values: NDArray[np.float32], threshold: Floats, rule: Floats) -> Floats:
    """The inputs of the regression, shape (row, indicator + 2)."""
    return np.column_stack([np.sign(values) * np.log1p(np.abs(values)), np.log(threshold), rule])
