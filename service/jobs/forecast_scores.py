"""Score the forecasts of a country against its complete outcomes: the same for issued and hindcast forecasts.

This module knows no database.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from riskmodel import scoring
from riskmodel.events.view import View
from riskmodel.forecasting.forecast import SERVED_LEADS
from riskmodel.months import Month, Months
from riskmodel.reporting.release_class import FINAL, release_classes
from riskmodel.targets import HORIZON, RUNGS, escalation_threshold

ACTIVE_MONTHS = 12
"""A country is active at an origin if it had deaths in one of this many months up to the origin."""


class Cell(NamedTuple):
    """What is forecast: a month of a country, or the sum of `months` months that ends with it.

    `forecast_id` is the id of the snapshot. Of a hindcast it is the origin, in months since January 1970.
    """

    forecast_id: int
    location_code: str
    lead: int
    months: int


@dataclass(frozen=True)
class CompleteOutcomes:
    """The deaths of complete months. `deaths` has shape (country, month) [deaths]; NaN is unknown or incomplete.

    `incomplete` has the same shape: the months that are covered and not complete yet.
    """

    iso3: tuple[str, ...]
    months: Months
    deaths: NDArray[np.float64]
    incomplete: NDArray[np.bool_]

    @classmethod
    def of(cls, view: View, outcome: str) -> "CompleteOutcomes":
        """Return the settled outcomes of a view.

        An outcome is settled from the first final GED on, whatever its number: were an outcome settled as soon as it is
        unlikely to change, quiet months would be scored a year before violent ones, and the scorecard would flatter.
        """
        observed = view.outcomes()
        deaths = observed.deaths[outcome]
        known = ~np.isnan(deaths)
        complete = known & (release_classes(view, outcome) >= FINAL)
        return cls(observed.iso3, observed.months, np.where(complete, deaths, np.nan), known & ~complete)

    def total(self, iso3: str, first: Month, last: Month) -> int | None:
        """Return the deaths of a country from month `first` to month `last`; None unless all are complete."""
        if iso3 not in self.iso3 or not self.months.size or first < self.months[0] or last > self.months[-1]:
            return None
        start = int((first - self.months[0]).astype(int))
        stop = start + int((last - first).astype(int)) + 1
        deaths = self.deaths[self.iso3.index(iso3), start:stop].sum()
        return None if np.isnan(deaths) else int(deaths)

    def incomplete_months(self) -> dict[str, list[str]]:
        """Return the incomplete months of each country that has any."""
        return {
            iso3: [str(month) for month in self.months[row]]
            for iso3, row in zip(self.iso3, self.incomplete, strict=True)
            if row.any()
        }


def cells_with_outcome(
    forecast_id: int, origin: Month, iso3: str, outcomes: CompleteOutcomes
) -> Iterator[tuple[Cell, int]]:
    """Yield the cells of a country whose outcome is complete, with their deaths."""
    for lead, months in [*((lead, 1) for lead in range(1, SERVED_LEADS + 1)), (HORIZON, HORIZON)]:
        observed = outcomes.total(iso3, origin + lead - months + 1, origin + lead)
        if observed is not None:
            yield Cell(forecast_id, iso3, lead, months), observed


@dataclass(frozen=True)
class CountryAtIssue:
    """What a snapshot says of a country for one outcome, as far as it is needed to score the forecasts.

    `escalation_threshold` is the number of deaths in three months that counts as an escalation; NaN if the last three
    months were not all known. `escalation_probabilities` are those that a model issued, by its id: they may differ from
    those of its draws. `escalation_h24` is the probability by the rule h24.
    """

    active: bool
    escalation_threshold: float
    escalation_probabilities: Mapping[str, float | None]
    escalation_h24: float | None

    @classmethod
    def of(cls, part: Mapping[str, Any], iso3: str) -> "CountryAtIssue":
        """Read it from the outcome's part of a snapshot's document.

        Escalation is relative to the expected deaths, as when it was issued.
        """
        country = next(country for country in part["countries"] if country["location_code"] == iso3)
        observed: list[int | None] = [month["deaths"] for month in country["observed"]]
        last = [month.get("expected_final", month["deaths"]) for month in country["observed"]][-HORIZON:]
        probabilities = {part["model"]["id"]: country["escalation_probability"]}
        if challenger := part["shadow"]:
            by_country = challenger["escalation_probability"] or {}
            probabilities[challenger["model_id"]] = by_country.get(iso3)
        return cls(
            active=any(deaths for deaths in observed[-ACTIVE_MONTHS:]),
            escalation_threshold=float(escalation_threshold(np.rint(np.array(last, dtype=np.float64)))),
            escalation_probabilities=probabilities,
            escalation_h24=part["escalation_h24"].get(iso3),
        )


def score(
    draws_by_lead: NDArray[np.int32] | NDArray[np.float32],
    cells: Sequence[tuple[Cell, int]],
    country: CountryAtIssue,
    forecaster: str,
) -> list[dict[str, Any]]:
    """Return all scores of a forecaster's forecasts of one country, for each cell and its outcome [deaths].

    `draws_by_lead` is of shape (lead, draw) [deaths]. `pit` is randomised. Its random number depends only on cell and
    forecaster, so that it is always the same. `within_50` and `within_90` are how much of the outcome the intervals
    contain, as in back-tests.
    """
    drawn = np.stack([draws_by_lead[cell.lead - cell.months : cell.lead].sum(axis=0) for cell, _ in cells])
    outcome = np.array([observed for _, observed in cells])
    below, up_to = (drawn < outcome[:, None]).mean(axis=1), (drawn <= outcome[:, None]).mean(axis=1)
    by_name = {
        "crps": scoring.crps(drawn, outcome),
        "log_crps": scoring.log_crps(drawn, outcome),
        "ign": scoring.ignorance(drawn, outcome),
        "mis": scoring.interval_score(drawn, outcome),
        "within_50": scoring.interval_coverage(below, up_to, 0.5),
        "within_90": scoring.interval_coverage(below, up_to, 0.9),
        "pit": below + (up_to - below) * np.array([_random_number(cell, forecaster) for cell, _ in cells]),
    }
    probabilities = (drawn[:, None] >= np.array(RUNGS)[:, None]).mean(axis=2)
    return [
        {
            **{name: round(float(values[row]), 6) for name, values in by_name.items()},
            "probabilities": {str(rung): float(p) for rung, p in zip(RUNGS, probabilities[row], strict=True)},
            "active": country.active,
            **(_escalation(drawn[row], observed, country, forecaster) if cell.months == HORIZON else {}),
        }
        for row, (cell, observed) in enumerate(cells)
    ]


def _random_number(cell: Cell, forecaster: str) -> float:
    """Return a number in [0, 1) that depends on a cell and a forecaster alone."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, (forecaster, *cell))).encode()).digest()[:6]) / 2**48


def _escalation(
    drawn: NDArray[Any], observed: int, country: CountryAtIssue, forecaster: str
) -> dict[str, dict[str, Any]]:
    """Return the entry `escalation` of the scores of three months; none where it is not defined."""
    threshold = country.escalation_threshold
    if np.isnan(threshold):
        return {}
    from_draws = round(float((drawn >= threshold).mean()), 4)
    probability = country.escalation_probabilities.get(forecaster, from_draws)
    if probability is None:
        return {}
    entry = {
        "threshold": int(threshold),
        "observed": observed >= threshold,
        "h24": country.escalation_h24,
        "probability": probability,
    }
    return {"escalation": entry}
