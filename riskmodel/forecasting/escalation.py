"""Escalation: how likely the next three months are far deadlier than the last, and which of several voices is believed.

What the draws of a forecast imply is one voice, a rule that learns nothing another, the draws pooled with a regression
the third. Who speaks is decided by how each did in held-out months before the origin. It knows no archive and no
service.
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
from riskmodel.scores import BATTLE, DRAWS, HORIZON
from riskmodel.scoring import brier

Floats = NDArray[np.float64]

RULE_MONTHS = 26
"""Months that hold the 24 sums of three months which the rule looks at."""
KNOWN = 0.5
"""The least share of training months in which the regression has to know an indicator."""
FEWEST = 20
"""With fewer escalations than this nothing is learned, and with fewer held-out ones nothing is chosen."""

RULE, POOLED = "h24", "draws_and_regression"
ESCALATION_MODELS = (DRAWS, RULE, POOLED)


@dataclass(frozen=True)
class Said:
    """Probabilities of escalation by country, float64 of shape (country,), and the voice that gave each.

    NaN where the forecast is NaN or the last three months are not all known.
    """

    probability: Floats
    by: tuple[str, ...]


def needed(history: Floats) -> Floats:
    """Deaths that make the next three months an escalation, max(25, 2 × those of the last three).

    From (country, month) [deaths] to (country,) [deaths]; NaN where the last three are not all known.
    """
    before = history[:, -HORIZON:].sum(axis=1)
    return np.where(np.isnan(before), np.nan, np.maximum(BATTLE, 2 * before))


def implied(draws: NDArray[Any], history: Floats) -> Floats:
    """The share of draws that escalate; (country, lead, draw) and (country, month) [deaths] to (country,)."""
    limit, near = needed(history), draws[:, :HORIZON].sum(axis=1, dtype=np.float64)
    unknown = np.isnan(limit) | np.isnan(near).any(axis=-1)
    return np.where(unknown, np.nan, (near >= limit[:, None]).mean(axis=-1))


def rule(history: Floats) -> Floats:
    """The share of the country's last 24 sums of three months, the latest included, that would make an escalation now.

    From (country, month) [deaths] to (country,); NaN where one of their months is not known.
    """
    if history.shape[1] < RULE_MONTHS:
        return np.full(len(history), np.nan)
    sums = sliding_window_view(history[:, -RULE_MONTHS:], HORIZON, axis=1).sum(axis=-1)
    return np.where(np.isnan(sums).any(axis=1), np.nan, (sums >= needed(history)[:, None]).mean(axis=1))


@dataclass(frozen=True)
class Regression:
    """A logistic regression of escalation on the indicators and on what the country would have to reach.

    Indicators enter as sign(x) · log(1 + |x|), one that is not known as its median; beside them stand log(deaths that
    would make an escalation) and the rule. All coefficients are drawn towards 0, `strength` being the inverse of the
    penalty; a training month weighs half as much as one that is `half_life` [months] later. Ridge logistic regression:
    le Cessie & van Houwelingen (1992), doi:10.2307/2347628.
    """

    strength: float = 0.01
    half_life: float = 120.0
    columns: NDArray[np.intp] | None = field(default=None, repr=False)
    learned: Pipeline | None = field(default=None, repr=False)

    def fit(self, panel: Panel, origin: Month) -> Self:
        """Learn from all months whose next three are known at the origin; nothing where too few of them escalated."""
        rows, escalated, age = _examples(panel.until(origin))
        if min(escalated.sum(), (~escalated).sum()) < FEWEST:
            return replace(self, columns=None, learned=None)
        columns = np.flatnonzero((~np.isnan(rows)).mean(axis=0) >= KNOWN)
        learned = make_pipeline(
            SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(C=self.strength, max_iter=1000)
        )
        weights = 0.5 ** (age / self.half_life)
        with threadpool_limits(1):  # the number of threads would show in the last digits
            learned.fit(rows[:, columns], escalated, logisticregression__sample_weight=weights)
        return replace(self, columns=columns, learned=learned)

    def probability(self, panel: Panel, origin: Month) -> Floats:
        """Of escalation, shape (country,); NaN where the rule is not known, and everywhere if nothing was learned."""
        said = np.full(len(panel.iso3), np.nan)
        history = panel.history(origin, RULE_MONTHS)
        ruled = rule(history)
        known = ~np.isnan(ruled)
        if self.learned is not None and known.any():
            rows = _described(panel.at(origin), needed(history), ruled)[known]
            said[known] = self.learned.predict_proba(rows[:, self.columns])[:, 1]
        return said


@dataclass(frozen=True)
class Escalation:
    """The probability of escalation by the voice that did best.

    `fit` asks all voices, as they would have been `years` before the origin, every `every` months since, and takes the
    one with the lowest Brier score over all countries. Of equals the draws speak, and so they do where nothing can be
    compared; `scores` are these Brier scores by voice, over `cases` country-months of which `events` escalated.
    """

    years: int = 5
    every: int = 6
    regression: Regression = field(default_factory=Regression)
    chosen: str = DRAWS
    scores: Mapping[str, float] = field(default_factory=dict)
    cases: int = 0
    events: int = 0

    def fit(self, panel: Panel, origin: Month, model: Component) -> Self:
        """Learn the regression and choose who speaks beside a model, which is given as it is before it learned."""
        seen = panel.until(origin)
        voices, escalated = self._held_out(seen, origin, model)
        fitted = replace(
            self,
            regression=self.regression.fit(seen, origin),
            chosen=DRAWS,
            scores={},
            cases=len(escalated),
            events=int(escalated.sum()),
        )
        if fitted.events < FEWEST:
            return fitted
        scores = {
            voice: float(brier(said, escalated).mean()) for voice, said in zip(ESCALATION_MODELS, voices, strict=True)
        }
        return replace(fitted, chosen=min(ESCALATION_MODELS, key=scores.__getitem__), scores=scores)

    def held_out(self, origin: Month) -> Months:
        """The origins that all voices are asked about before one may speak at `origin`."""
        return np.arange(origin - 12 * self.years, origin - HORIZON + 1, self.every)

    def say(self, panel: Panel, forecast: Forecast) -> Said:
        """The probability for each country of the panel, which is the forecast's; by the draws where they alone can."""
        voices = _voices(panel, forecast, self.regression)
        chosen = voices[ESCALATION_MODELS.index(self.chosen)]
        mute = np.isnan(chosen)
        return Said(
            np.where(np.isnan(voices[0]), np.nan, np.where(mute, voices[0], chosen)),
            tuple(DRAWS if silent else self.chosen for silent in mute),
        )

    def _held_out(self, seen: Panel, origin: Month, model: Component) -> tuple[Floats, NDArray[np.bool_]]:
        """What each voice said and what came, shapes (voice, case) and (case,), where all could speak."""
        early, nothing = self.held_out(origin)[0], (np.empty((len(ESCALATION_MODELS), 0)), np.empty(0, dtype=bool))
        if early < seen.months[0]:
            return nothing
        past = seen.until(early)
        try:
            model = model.fit(past, early)
        except BadInput:
            return nothing
        regression = self.regression.fit(past, early)
        said, came = [], []
        for when in self.held_out(origin):
            then = seen.until(when)
            said.append(_voices(then, model.forecast(then, when), regression))
            came.append(_escalated(seen.deaths)[:, then.place(when)])
        voices, escalated = np.concatenate(said, axis=1), np.concatenate(came)
        known = ~(np.isnan(voices).any(axis=0) | np.isnan(escalated))
        return voices[:, known], escalated[known] > 0


def _voices(panel: Panel, forecast: Forecast, regression: Regression) -> Floats:
    """What each voice says, shape (voice, country)."""
    if forecast.iso3 != panel.iso3:
        raise ValueError("the forecast is of other countries than the panel")
    history = panel.history(forecast.origin, RULE_MONTHS)
    drawn = implied(forecast.draws, history)
    return np.stack([drawn, rule(history), (drawn + regression.probability(panel, forecast.origin)) / 2])


def _escalated(deaths: Floats) -> Floats:
    """1 where the months after each month escalated and 0 where not, NaN where that is not known; shape of `deaths`."""
    came = np.full(deaths.shape, np.nan)
    if deaths.shape[1] < 2 * HORIZON:
        return came
    sums = sliding_window_view(deaths, HORIZON, axis=1).sum(axis=-1)
    before, after = sums[:, :-HORIZON], sums[:, HORIZON:]
    reached = after >= np.maximum(BATTLE, 2 * before)
    came[:, HORIZON - 1 : -HORIZON] = np.where(np.isnan(before) | np.isnan(after), np.nan, reached)
    return came


def _examples(panel: Panel) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """What described each month whose next three are known, whether they escalated, and its age [months]."""
    months = len(panel.months)
    came = _escalated(panel.deaths)
    limit, ruled = np.full((2, *came.shape), np.nan)
    for month in range(RULE_MONTHS - 1, months):
        history = panel.deaths[:, month + 1 - RULE_MONTHS : month + 1]
        limit[:, month], ruled[:, month] = needed(history), rule(history)
    known = ~(np.isnan(came) | np.isnan(ruled))
    age = np.broadcast_to(months - 1.0 - np.arange(months), known.shape)
    return _described(panel.values[known], limit[known], ruled[known]), came[known] > 0, age[known]


def _described(values: NDArray[np.float32], limit: Floats, ruled: Floats) -> Floats:
    """The rows of the regression, shape (row, indicator + 2)."""
    return np.column_stack([np.sign(values) * np.log1p(np.abs(values)), np.log(limit), ruled])
