"""The months whose figures can still change, and what the final figures will be: distributions, joint histories."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from riskmodel.events.view import View
from riskmodel.months import Month, Months
from riskmodel.outcomes import CountryMonths, aligned
from riskmodel.reporting.release_class import (
    RELEASE_CLASSES,
    UNKNOWN,
    UNSETTLED,
    Classes,
    ReleaseClass,
    release_classes,
)
from riskmodel.reporting.reported_events import share_of_events_reported
from riskmodel.reporting.revisions import Floats, RevisionModel, central_interval, even_ranks, joint_ranks
from riskmodel.reporting.shared_revisions import teaching_revisions
from riskmodel.reporting.vintages import activity

_RANKS = 200
"""Expected figures and intervals come from this many even ranks."""


class RevisedMonth(NamedTuple):
    """What an unsettled month reports and what its final figure will be: expected, 50 % and 90 % interval [deaths]."""

    reported: float
    expected: float
    p05: float
    p25: float
    p75: float
    p95: float
    release_class: ReleaseClass


@dataclass(frozen=True)
class ReportingState:
    """How far the figures of an outcome are from settled, and how such figures are revised.

    `classes` has the release class of each country-month, shape (country, month). `share_of_events` is the share of
    each month's events that is reported by now, float64 of that shape in (0, 1], NaN where unknown.
    """

    outcome: str
    iso3: tuple[str, ...]
    months: Months
    classes: Classes
    share_of_events: Floats
    model: RevisionModel

    def classes_of(self, frame: CountryMonths) -> Classes:
        """Return the release classes of the country-months of a frame; `UNKNOWN` where nothing is known of them."""
        return aligned(self.classes, self.iso3, self.months, frame, UNKNOWN)

    def share_of_events_of(self, frame: CountryMonths) -> Floats:
        """Return the shares of events reported of the country-months of a frame; NaN where unknown."""
        return aligned(self.share_of_events, self.iso3, self.months, frame, np.nan)


def reporting_state(view: View, outcome: str) -> ReportingState:
    """Return the reporting state of a view: its release classes, and the revision model that its vintages teach."""
    observed, classes = view.outcomes(), release_classes(view, outcome)
    _, seen = teaching_revisions(view, outcome)
    share = share_of_events_reported(seen, classes, observed.iso3)
    return ReportingState(outcome, observed.iso3, observed.months, classes, share, RevisionModel.fit(seen))


@dataclass(frozen=True)
class FinalFigures:
    """The final figures of a frame, as far as they can be expected.

    `row` and `column` are the places of its unsettled known country-months. `figures` [deaths] are at even ranks of
    their distributions, `drawn` at joint ranks: shapes (unsettled month, rank) and (unsettled month, history).
    """

    outcome: str
    observed: CountryMonths
    row: NDArray[np.intp]
    column: NDArray[np.intp]
    release_class: NDArray[np.intp]
    figures: Floats
    drawn: Floats

    @property
    def settled(self) -> bool:
        """Whether no figure can change: then every history is the reported one."""
        reported = self.observed.deaths[self.outcome][self.row, self.column]
        return bool((self.drawn == reported[:, None]).all())

    def expected(self) -> CountryMonths:
        """Return the frame with the expected final figures, in whole deaths; settled figures are as reported."""
        return self._with(np.rint(self.figures.mean(axis=1)))

    def histories(self) -> list[CountryMonths]:
        """Return the frame once for each joint history; settled figures are as reported."""
        return [self._with(figures) for figures in self.drawn.T]

    def month(self, iso3: str, month: Month) -> RevisedMonth | None:
        """Return what the final figure of a country's month will be; None if it is settled or unknown."""
        place = (self.row == self.observed.iso3.index(iso3)) & (self.observed.months[self.column] == month)
        if not place.any():
            return None
        at = int(np.flatnonzero(place)[0])
        (p05, p95), (p25, p75) = (central_interval(self.figures[at], level) for level in (0.9, 0.5))
        return RevisedMonth(
            float(self.observed.deaths[self.outcome][self.row[at], self.column[at]]),
            float(self.figures[at].mean()),
            p05,
            p25,
            p75,
            p95,
            RELEASE_CLASSES[self.release_class[at]],
        )

    def reported_ratio(self) -> Floats:
        """Return reported divided by expected deaths, of the frame's shape.

        1 where the figure is settled; NaN where it is unknown, or where no deaths are expected in an unsettled month.
        """
        deaths = self.observed.deaths[self.outcome]
        share, expected = np.where(np.isnan(deaths), np.nan, 1.0), self.figures.mean(axis=1)
        reported = deaths[self.row, self.column]
        with np.errstate(invalid="ignore", divide="ignore"):
            share[self.row, self.column] = np.where(expected > 0, reported / expected, np.nan)
        return share

    def _with(self, figures: Floats) -> CountryMonths:
        deaths = self.observed.deaths[self.outcome].copy()
        deaths[self.row, self.column] = figures
        return self.observed.with_deaths(self.outcome, deaths)


def final_figures(observed: CountryMonths, state: ReportingState, histories: int) -> FinalFigures:
    """Return the final figures of a frame, with so many joint histories. The same data give the same figures."""
    deaths, classes = observed.deaths[state.outcome], state.classes_of(observed)
    row, column = np.nonzero(np.isin(classes, UNSETTLED) & np.isfinite(deaths))
    iso3, release_class = np.array(observed.iso3, dtype=str)[row], classes[row, column].astype(np.intp)
    reported, active = deaths[row, column], activity(deaths)[row, column]

    def at(ranks: Floats) -> Floats:
        return state.model.ranks_to_figures(release_class, iso3, reported, active, ranks)

    even = np.broadcast_to(even_ranks(_RANKS), (row.size, _RANKS))
    joint = joint_ranks(iso3, observed.months[column], histories)
    return FinalFigures(state.outcome, observed, row, column, release_class, at(even), at(joint))


def revise_spread(spread: CountryMonths, observed: CountryMonths, revised: CountryMonths, outcome: str) -> Floats:
    """Return deaths by country-month, with vague ones spread over months, moved by the revision of the month [deaths].

    All three frames have the same country-months. A month that is not revised stays as it is.
    """
    before, after, deaths = (frame.deaths[outcome] for frame in (observed, revised, spread))
    with np.errstate(invalid="ignore", divide="ignore"):
        moved = np.where(before > 0, np.rint(deaths * after / before), deaths + after)
    return np.where(before == after, deaths, np.where(np.isnan(before), deaths, moved))
