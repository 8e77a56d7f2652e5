"""How much of a month is reported when: learned from the vintages that the archive has seen, per country.

A vintage is what the archive said when an ingest became known. Comparing what vintages said of a month with its mature
figure gives the share that is reported so many months later. It knows no clock: a report's age is that of the files
that made it, and a view of a past moment holds no later vintage.
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
from riskmodel.reporting import counts

MATURE = 24
"""A report of this age is taken as final [months]; so is a final release at once."""
FEWEST = 30
"""Mature country-months with deaths that vintages of one age must have seen, in the world, to say anything of it."""
PRIOR = 6.0
"""How many well-filled months the continent weighs in a country's share, and the world in a continent's [months]."""
HALF_WEIGHT = {"deaths": 25.0, "events": 5.0}
"""A month of so many weighs half of what the greatest weighs: months differ by more than chance would have it."""
LEAST = 0.05
"""No share is taken as smaller: a report is never multiplied by more than 20."""
DRAWS = 4000

REASONS = {
    "no_vintages": "too few earlier versions of these figures are known to say how much of them is still unreported",
}

Rectangle = NDArray[np.float64]


class Share(NamedTuple):
    """How much of the final figure is reported, in (0, 1], with its 90 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """Shares by country and age of the report: `share` in (0, 1], NaN at ages of which too little was seen.

    `share` and `weight` are of shape (country, age): the mean of the share and how many months it rests on, the prior's
    included. `concentration`, of shape (age,), says how alike single months are.
    """

    share: Rectangle
    weight: Rectangle
    concentration: Rectangle


@dataclass(frozen=True)
class Completeness:
    """How much of each country-month's final figure is reported.

    `age` is int16 of shape (country, month) [months]: `MATURE` where mature, -1 where no events speak. `deaths` and
    `events` are float64 of that shape, in (0, 1], NaN where unknown; they are of the outcome `outcome`.
    """

    outcome: str
    iso3: tuple[str, ...]
    months: Months
    age: NDArray[np.int16]
    deaths: Rectangle
    events: Rectangle
    curve: Curve

    def on(self, frame: CountryMonths) -> Rectangle:
        """The shares of the deaths of a frame's country-months, of its shape; NaN where unknown."""
        share = np.full(frame.source.shape, np.nan)
        place = {code: i for i, code in enumerate(self.iso3)}
        ours = np.flatnonzero([code in place for code in frame.iso3])
        theirs = np.array([place[frame.iso3[i]] for i in ours], dtype=np.intp)
        months, here, there = np.intersect1d(frame.months, self.months, return_indices=True)
        if months.size and ours.size:
            share[np.ix_(ours, here)] = self.deaths[np.ix_(theirs, there)]
        return share

    def of(self, iso3: str, month: Month) -> Share | None:
        """The share of a month's deaths that is reported, with its interval; None where unknown.

        The interval is for this one month: the doubt about the mean, and how much single months differ from it.
        """
        if iso3 not in self.iso3 or not self.months.size or not self.months[0] <= month <= self.months[-1]:
            return None
        row, column = self.iso3.index(iso3), int((month - self.months[0]).astype(int))
        value, age = float(self.deaths[row, column]), int(self.age[row, column])
        if np.isnan(value) or age >= MATURE:
            return None if np.isnan(value) else Share(1.0, 1.0, 1.0)
        rng, weight, alike = np.random.default_rng(0), self.curve.weight[row, age], self.curve.concentration[age]
        mean = _beta(np.full(DRAWS, value), weight, rng)
        low, high = np.quantile(_beta(mean, alike, rng), (0.05, 0.95))
        return Share(value, float(min(max(low, LEAST), value)), float(max(high, value)))


def _beta(mean: Rectangle, weight: float, rng: np.random.Generator) -> Rectangle:
    return rng.beta(np.maximum(mean * weight, 1e-3), np.maximum((1 - mean) * weight, 1e-3))


def estimate_completeness(view: View, outcome: str) -> Completeness:
    """Learn from the vintages in a view how much of each of its country-months is reported.

    A share is beta-binomial in effective months: that of a country is drawn to its continent's, and that to the
    world's, each with the weight `PRIOR`. Reports may shrink as well as grow; the mean share is cut off at 1.
    """
    observed = view.outcomes()
    age = _ages(view.ingests, observed.source, observed.months)
    number = {"deaths": observed.deaths[outcome], "events": counts.events(view, outcome)}
    seen = _seen(view, outcome, age)
    enough = np.array([(np.isfinite(at) & (number["deaths"] > 0)).sum() >= FEWEST for at in seen["deaths"]], dtype=bool)
    curves = {
        measure: _curve(seen[measure], number[measure], observed.iso3, enough, HALF_WEIGHT[measure])
        for measure in number
    }
    rows, young = np.arange(len(observed.iso3))[:, None], np.clip(age, 0, MATURE - 1)
    share = {
        measure: np.where(age >= MATURE, 1.0, np.where(age < 0, np.nan, curve.share[rows, young]))
        for measure, curve in curves.items()
    }
    return Completeness(
        outcome, observed.iso3, observed.months, age, share["deaths"], share["events"], curves["deaths"]
    )


def nowcast(observed: CountryMonths, completeness: Completeness) -> CountryMonths:
    """The deaths to be expected in the end, whole: reported / share where the share is known, else as reported.

    Of the completeness's outcome only. What is reported as none stays none.
    """
    share = completeness.on(observed)
    reported = observed.deaths[completeness.outcome]
    expected = np.where(share < 1, np.rint(reported / share), reported)
    return observed.with_deaths(completeness.outcome, expected)


def _final(ingest: Ingest) -> bool:
    return ingest.release is not None and not ingest.candidate


def _young(ingest: Ingest) -> bool:
    """Whether some of what a file of real events covers was not mature when it came."""
    open_from = _known_since(ingest) - MATURE
    recent = any(Coverage.parse(span).last > open_from for span in ingest.covers)
    return ingest.kind == "events" and not ingest.simulated and not _final(ingest) and recent


def _known_since(ingest: Ingest) -> Month:
    return np.datetime64(ingest.known_since[:7], "M")


def _ages(ingests: Sequence[Ingest], source: NDArray[np.int16], months: Months) -> NDArray[np.int16]:
    """The age of what is reported for each country-month: `MATURE` where mature, -1 where unknown [months].

    `source` is the place in `ingests` of the one that speaks. Every candidate release may bring late events of earlier
    candidate months, so the newest one dates them all.
    """
    newest = max((_known_since(ingest) for ingest in ingests if ingest.candidate), default=None)
    age = np.full(source.shape, -1, dtype=np.int16)
    for number, ingest in enumerate(ingests):
        dated = newest if ingest.candidate and newest is not None else _known_since(ingest)
        since = np.clip((dated - months).astype(np.int64), 0, MATURE)
        if _final(ingest):
            since[:] = MATURE
        if ingest.kind != "events":  # nobody knows how such a table is reported; old it is all the same
            since[since < MATURE] = -1
        age = np.where(source == number, since, age).astype(np.int16)
    return age


def _seen(view: View, outcome: str, age: NDArray[np.int16]) -> dict[str, NDArray[np.float32]]:
    """What vintages said of country-months that are mature by now; shape (age, country, month), NaN where none did.

    A vintage is read without what final releases had superseded by then: it was mature, and there is much of it.
    """
    observed = view.outcomes()
    seen = {measure: np.full((MATURE, *age.shape), np.nan, dtype=np.float32) for measure in HALF_WEIGHT}
    masks = {i.id: coverage.mask(map(Coverage.parse, i.covers), observed.iso3, observed.months) for i in view.ingests}
    young = [ingest for ingest in view.ingests if _young(ingest)]
    for moment in sorted({ingest.known_since for ingest in young}, key=datetime.fromisoformat):
        known = [i for i in view.ingests if datetime.fromisoformat(i.known_since) <= datetime.fromisoformat(moment)]
        final = np.any([masks[i.id] for i in known if _final(i)] or [np.zeros(age.shape, dtype=bool)], axis=0)
        vintage = view.with_ingests([i for i in known if i in young and (masks[i.id] & ~final).any()])
        source = np.full(age.shape, -1, dtype=np.int16)
        for number, ingest in enumerate(vintage.ingests):
            source[masks[ingest.id]] = number
        then = np.where(final | (age < MATURE), -1, _ages(vintage.ingests, source, observed.months))
        row, column = np.nonzero((then >= 0) & (then < MATURE))
        if row.size:
            for measure, values in counts.tally(vintage, outcome, observed).items():
                seen[measure][then[row, column], row, column] = values[row, column]
    return seen


def _curve(
    seen: NDArray[np.float32],
    number: Rectangle,
    iso3: tuple[str, ...],
    enough: NDArray[np.bool_],
    half_weight: float,
) -> Curve:
    """Shares from what was seen at each age, shape (age, country, month), and the figures now, (country, month)."""
    share, total = np.full((2, len(iso3), MATURE), np.nan)
    alike = np.full(MATURE, np.nan)
    if enough.any():
        share[:, enough], total[:, enough], alike[enough] = _shares(seen[enough], number, iso3, half_weight)
    return Curve(share, total, alike)


def _shares(
    seen: NDArray[np.float32], number: Rectangle, iso3: tuple[str, ...], half_weight: float
) -> tuple[Rectangle, Rectangle, Rectangle]:
    """Share and weight by country and age, concentration by age, for ages of which enough was seen."""
    with np.errstate(invalid="ignore", divide="ignore"):
        larger = np.fmax(seen, number)
        weight = np.where(np.isfinite(seen) & (larger > 0), larger / (larger + half_weight), 0.0)
        then, now = (np.nan_to_num(weight * part / larger) for part in (seen, np.broadcast_to(number, seen.shape)))
        reported, final = then.sum(axis=2).T, now.sum(axis=2).T  # (country, age)
        parents = [geography.country(code).continent for code in iso3]
        world = reported.sum(axis=0) / final.sum(axis=0)
        share, total = np.empty_like(reported), np.empty_like(final)
        for continent in set(parents):
            rows = np.array([parent == continent for parent in parents])
            prior = (PRIOR * world + reported[rows].sum(axis=0)) / (PRIOR + final[rows].sum(axis=0))
            share[rows] = (PRIOR * prior + reported[rows]) / (PRIOR + final[rows])
            total[rows] = PRIOR + final[rows]
        share = np.clip(share, LEAST, 1.0)
        differing = weight * (np.fmin(seen / larger, 1.0) - share.T[:, :, None]) ** 2
        variance = np.nansum(differing, axis=(1, 2)) / weight.sum(axis=(1, 2))
        mean = np.clip(world, LEAST, 1.0)
        alike = np.clip(np.nan_to_num(mean * (1 - mean) / variance - 1, nan=1000.0, posinf=1000.0), 0.5, 1000.0)
    return share, total, np.asarray(alike)
