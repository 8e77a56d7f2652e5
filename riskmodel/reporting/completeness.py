"""Completeness: the share of a month's deaths that is reported by now, estimated from vintages per country.

A vintage is the archive as it was when an ingest became known. Comparing vintages of a month with its mature number
gives the share that is reported at each age. The age of a report is that of its files, so no clock is needed, and a
view of an earlier moment has no later vintage.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.events import coverage
from riskmodel.events.coverage import Coverage
from riskmodel.events.manifest import Ingest
from riskmodel.events.view import View
from riskmodel.months import Month, Months
from riskmodel.outcomes import CountryMonths
from riskmodel.reporting.counts import count_events, event_counts

MATURE_AGE = 24
"""A report of this age counts as final [months]; a final release counts as final at once."""
MIN_OBSERVATIONS = 30
"""A share is estimated for an age if vintages of that age saw this many mature country-months with deaths."""
PRIOR_WEIGHT = 6.0
"""The weight of the continent in a country's share, and of the world in a continent's [full months]."""
HALF_WEIGHT = {"deaths": 25.0, "events": 5.0}
"""A month with this many has half the weight of a very large one: months differ by more than chance."""
MIN_SHARE = 0.05
"""No share is taken as smaller: the nowcast multiplies a report by 20 at most."""
INTERVAL_DRAWS = 4000

NO_VINTAGES = "no_vintages"
"""The code for an unknown share: too few earlier versions of the data are known to estimate it."""

Rectangle = NDArray[np.float64]


class ReportedShare(NamedTuple):
    """The share of the final number that is reported, in (0, 1], with its 90 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ReportingCurve:
    """Shares by country and age of the report: `share` in (0, 1], NaN at ages with too few observations.

    `share` and `weight` are of shape (country, age): the mean share, and the number of full months that it is estimated
    from, the prior's included. `concentration`, of shape (age,), is high where single months are alike.
    """

    share: Rectangle
    weight: Rectangle
    concentration: Rectangle


@dataclass(frozen=True)
class Completeness:
    """The share of each country-month's final number that is reported.

    `age` is int16 of shape (country, month) [months]: `MATURE_AGE` where mature, -1 where events have no precedence.
    `deaths` and `events` are float64 of that shape, in (0, 1], NaN where unknown; they are of the outcome `outcome`.
    """

    outcome: str
    iso3: tuple[str, ...]
    months: Months
    age: NDArray[np.int16]
    deaths: Rectangle
    events: Rectangle
    curve: ReportingCurve

    def share_of_deaths(self, frame: CountryMonths) -> Rectangle:
        """Return the shares of deaths for the country-months of a frame, of its shape; NaN where unknown."""
        share = np.full(frame.shape, np.nan)
        index = {code: i for i, code in enumerate(self.iso3)}
        rows = np.flatnonzero([code in index for code in frame.iso3])
        own_rows = np.array([index[frame.iso3[i]] for i in rows], dtype=np.intp)
        months, columns, own_columns = np.intersect1d(frame.months, self.months, return_indices=True)
        if months.size and rows.size:
            share[np.ix_(rows, columns)] = self.deaths[np.ix_(own_rows, own_columns)]
        return share

    def share_of_month(self, iso3: str, month: Month) -> ReportedShare | None:
        """Return the share of a month's deaths that is reported, with its interval; None where unknown.

        The interval is for this one month: it has the uncertainty of the mean and the variation of single months.
        """
        if iso3 not in self.iso3 or not self.months.size or not self.months[0] <= month <= self.months[-1]:
            return None
        row, column = self.iso3.index(iso3), int((month - self.months[0]).astype(int))
        value, age = float(self.deaths[row, column]), int(self.age[row, column])
        if np.isnan(value) or age >= MATURE_AGE:
            return None if np.isnan(value) else ReportedShare(1.0, 1.0, 1.0)
        rng = np.random.default_rng(0)  # fixed: the same data give the same interval
        weight, concentration = self.curve.weight[row, age], self.curve.concentration[age]
        mean = _beta_draws(np.full(INTERVAL_DRAWS, value), weight, rng)
        low, high = np.quantile(_beta_draws(mean, concentration, rng), (0.05, 0.95))
        return ReportedShare(value, float(min(max(low, MIN_SHARE), value)), float(max(high, value)))


def _beta_draws(mean: Rectangle, weight: float, rng: np.random.Generator) -> Rectangle:
    # 1e-3: the parameters of a beta distribution must be positive
    return rng.beta(np.maximum(mean * weight, 1e-3), np.maximum((1 - mean) * weight, 1e-3))


def estimate_completeness(view: View, outcome: str) -> Completeness:
    """Estimate from the vintages in a view which share of each of its country-months is reported.

    Shares are beta-binomial in full months: a country's share is shrunk to its continent's, and that to the world's,
    each with `PRIOR_WEIGHT`. Reports can shrink as well as grow; the mean share is at most 1.
    """
    observed = view.outcomes()
    age = _ages(view.ingests, observed.source[outcome], observed.months)
    current = {"deaths": observed.deaths[outcome], "events": event_counts(view, outcome)}
    seen = _numbers_in_vintages(view, outcome, age)
    enough = np.array(
        [(np.isfinite(at_age) & (current["deaths"] > 0)).sum() >= MIN_OBSERVATIONS for at_age in seen["deaths"]],
        dtype=bool,
    )
    curves = {
        measure: _curve(seen[measure], current[measure], observed.iso3, enough, HALF_WEIGHT[measure])
        for measure in current
    }
    rows, young_age = np.arange(len(observed.iso3))[:, None], np.clip(age, 0, MATURE_AGE - 1)
    share = {
        measure: np.where(age >= MATURE_AGE, 1.0, np.where(age < 0, np.nan, curve.share[rows, young_age]))
        for measure, curve in curves.items()
    }
    return Completeness(
        outcome, observed.iso3, observed.months, age, share["deaths"], share["events"], curves["deaths"]
    )


def nowcast(observed: CountryMonths, completeness: Completeness) -> CountryMonths:
    """Return the deaths to expect in the final data, rounded: reported / share where the share is known, else reported.

    It changes only the outcome of the completeness [deaths]. A month with no reported deaths keeps none.
    """
    share = completeness.share_of_deaths(observed)
    reported = observed.deaths[completeness.outcome]
    expected = np.where(share < 1, np.rint(reported / share), reported)
    return observed.with_deaths(completeness.outcome, expected)


def _final(ingest: Ingest) -> bool:
    return ingest.release is not None and not ingest.candidate


def _covers_young_months(ingest: Ingest) -> bool:
    """Whether a file of real events covered months that were not mature when it became known."""
    mature_until = _known_since(ingest) - MATURE_AGE
    recent = any(Coverage.parse(span).last > mature_until for span in ingest.covers)
    return ingest.kind == "events" and not ingest.simulated and not _final(ingest) and recent


def _known_since(ingest: Ingest) -> Month:
    return np.datetime64(ingest.known_since[:7], "M")


def _ages(ingests: Sequence[Ingest], source: NDArray[np.int16], months: Months) -> NDArray[np.int16]:
    """The age of the report of each country-month [months]: `MATURE_AGE` where mature, -1 where unknown.

    `source` is the index in `ingests` of the one that has precedence. A candidate release can bring late events of
    earlier candidate months, so the newest one dates all candidate months.
    """
    newest = max((_known_since(ingest) for ingest in ingests if ingest.candidate), default=None)
    age = np.full(source.shape, -1, dtype=np.int16)
    for number, ingest in enumerate(ingests):
        dated = newest if ingest.candidate and newest is not None else _known_since(ingest)
        since = np.clip((dated - months).astype(np.int64), 0, MATURE_AGE)
        if _final(ingest):
            since[:] = MATURE_AGE
        if ingest.kind != "events":  # the reporting delay of a country-month table is unknown, unless it is mature
            since[since < MATURE_AGE] = -1
        age = np.where(source == number, since, age).astype(np.int16)
    return age


def _numbers_in_vintages(view: View, outcome: str, age: NDArray[np.int16]) -> dict[str, NDArray[np.float32]]:
    """The numbers that vintages gave for country-months that are mature by now, by measure.

    Shape (age, country, month); NaN where no vintage of that age gave one. Months that final releases had replaced by
    the time of a vintage are skipped: they were mature, and decoding them would take long.
    """
    observed = view.outcomes()
    seen = {measure: np.full((MATURE_AGE, *age.shape), np.nan, dtype=np.float32) for measure in HALF_WEIGHT}
    masks = {i.id: coverage.mask(map(Coverage.parse, i.covers), observed.iso3, observed.months) for i in view.ingests}
    young = [ingest for ingest in view.ingests if _covers_young_months(ingest)]
    for moment in sorted({ingest.known_since for ingest in young}, key=datetime.fromisoformat):
        known = [i for i in view.ingests if datetime.fromisoformat(i.known_since) <= datetime.fromisoformat(moment)]
        final = np.any([masks[i.id] for i in known if _final(i)] or [np.zeros(age.shape, dtype=bool)], axis=0)
        vintage = view.with_ingests([i for i in known if i in young and (masks[i.id] & ~final).any()])
        source = np.full(age.shape, -1, dtype=np.int16)
        for number, ingest in enumerate(vintage.ingests):
            source[masks[ingest.id]] = number
        age_then = np.where(final | (age < MATURE_AGE), -1, _ages(vintage.ingests, source, observed.months))
        row, column = np.nonzero((age_then >= 0) & (age_then < MATURE_AGE))
        if row.size:
            events, deaths = count_events(vintage, outcome, observed)
            seen["events"][age_then[row, column], row, column] = events[row, column]
            seen["deaths"][age_then[row, column], row, column] = deaths[row, column]
    return seen


def _curve(
    seen: NDArray[np.float32],
    current: Rectangle,
    iso3: tuple[str, ...],
    enough: NDArray[np.bool_],
    half_weight: float,
) -> ReportingCurve:
    """The curve from the numbers seen at each age, shape (age, country, month), and the current ones, (country, month).

    `enough`, of shape (age,), marks the ages with enough observations.
    """
    share, weight = np.full((2, len(iso3), MATURE_AGE), np.nan)
    concentration = np.full(MATURE_AGE, np.nan)
    if enough.any():
        share[:, enough], weight[:, enough], concentration[enough] = _shares(seen[enough], current, iso3, half_weight)
    return ReportingCurve(share, weight, concentration)


def _shares(
    seen: NDArray[np.float32], current: Rectangle, iso3: tuple[str, ...], half_weight: float
) -> tuple[Rectangle, Rectangle, Rectangle]:
    """Share and weight by country and age, and concentration by age."""
    with np.errstate(invalid="ignore", divide="ignore"):
        larger = np.fmax(seen, current)
        weight = np.where(np.isfinite(seen) & (larger > 0), larger / (larger + half_weight), 0.0)
        weighted_seen, weighted_current = (
            np.nan_to_num(weight * part / larger) for part in (seen, np.broadcast_to(current, seen.shape))
        )
        reported, final = weighted_seen.sum(axis=2).T, weighted_current.sum(axis=2).T  # (country, age)
        continents = [geography.country(code).continent for code in iso3]
        world = reported.sum(axis=0) / final.sum(axis=0)
        share, total = np.empty_like(reported), np.empty_like(final)
        for continent in set(continents):
            rows = np.array([each == continent for each in continents])
            continental = PRIOR_WEIGHT * world + reported[rows].sum(axis=0)
            continental /= PRIOR_WEIGHT + final[rows].sum(axis=0)
            share[rows] = (PRIOR_WEIGHT * continental + reported[rows]) / (PRIOR_WEIGHT + final[rows])
            total[rows] = PRIOR_WEIGHT + final[rows]
        share = np.clip(share, MIN_SHARE, 1.0)
        # Concentration by the method of moments: variance = mean (1 - mean) / (concentration + 1). The bounds hold
        # where months do not vary at all, or vary more than a beta distribution can.
        squares = weight * (np.fmin(seen / larger, 1.0) - share.T[:, :, None]) ** 2
        variance = np.nansum(squares, axis=(1, 2)) / weight.sum(axis=(1, 2))
        mean = np.clip(world, MIN_SHARE, 1.0)
        concentration = np.nan_to_num(mean * (1 - mean) / variance - 1, nan=1000.0, posinf=1000.0)
    return share, total, np.asarray(np.clip(concentration, 0.5, 1000.0))
