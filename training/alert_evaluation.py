"""The alerts of escalation that a probability would have raised: how many, how many of them right, how early.

A threshold sees earlier windows only. It knows numbers only: no model, no files and no terminal.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from riskmodel import scoring, targets
from training.results import ESCALATION, ONSET, WHEN, Cells, Judged

RATE = 1.0
"""How many alerts a country may have in a year, in the windows that a threshold is fixed on."""
EARLIER = 3
"""The fewest windows that a threshold is fixed on."""
STANDS = targets.HORIZON
"""How long an alert stands [months]: those it speaks of, in which the country has no second one."""
YEAR = 12  # [months]


@dataclass(frozen=True)
class Alerts:
    """What became of a component's alerts, summed by what a bootstrap draws.

    An *episode* is an unbroken run of origins within whose next three months an escalation came. An alert is right if
    it was raised at an origin of an episode, which is then caught; its lead is the months from the first such alert to
    the month in which the escalation was reached. Episodes that begin in a quiet country are onsets. `thresholds` is
    of shape (window,), infinite where nothing could be alerted on; the others of shape (unit,), `leads` of
    (unit, STANDS + 1): caught episodes by their lead.
    """

    thresholds: Cells
    years: Cells
    alerts: Cells
    right: Cells
    episodes: Cells
    caught: Cells
    onsets: Cells
    onsets_caught: Cells
    leads: Cells

    def precision(self, times: NDArray[np.int64]) -> Cells:
        """The share of alerts that were right, in each resample."""
        return scoring.ratio(self.right, self.alerts, times)

    def recall(self, times: NDArray[np.int64]) -> Cells:
        """The share of episodes that were caught, in each resample."""
        return scoring.ratio(self.caught, self.episodes, times)

    def a_year(self, times: NDArray[np.int64]) -> Cells:
        """Alerts per country-year, in each resample."""
        return scoring.ratio(self.alerts, self.years, times)

    @property
    def lead(self) -> float:
        """The median lead of the episodes that were caught [months]; NaN where none was."""
        leads = np.repeat(np.arange(STANDS + 1), self.leads.sum(axis=0).astype(int))
        return float(np.median(leads)) if leads.size else float("nan")


def tally(judged: Judged, name: str) -> Alerts:
    """A component's alerts in the windows that have `EARLIER` windows before them, of which there must be one.

    Each window's threshold is the lowest that raised no more than `RATE` alerts per country-year in those before it.
    """
    component, at = judged.component(name), judged.leads == targets.HORIZON
    said = (judged.cells[ESCALATION][component], judged.came[ESCALATION], judged.came[WHEN])
    chance, came, when = (_in_a_row(judged, cells[..., at]) for cells in said)
    chance[np.isnan(came)] = np.nan
    quiet = _in_a_row(judged, ~np.isnan(judged.came[ONSET][..., judged.leads == YEAR]), fill=0.0) > 0
    window = _window_of_each_month(judged)
    thresholds = np.full(len(judged.windows), np.inf)
    for place in range(EARLIER, len(judged.windows)):
        before = (window >= 0) & (window < place)
        thresholds[place] = threshold(np.where(before, chance, np.nan))
    alerts = raised(chance, np.where(window >= 0, thresholds[window], np.inf)) & (window >= EARLIER)
    inside = np.where(window >= EARLIER, came, 0.0) > 0
    first = inside & ~np.pad(inside, ((0, 0), (1, 0)))[:, :-1]
    episode = np.where(inside, first.cumsum(axis=1), 0)
    right = alerts & inside
    earliest = right & _first_of_its_episode(right, episode)

    def counted(what: NDArray[np.bool_]) -> Cells:
        by_window = np.stack([what[:, window == w].sum(axis=1) for w in range(EARLIER, len(judged.windows))])
        return np.asarray(judged.by_unit(by_window).sum(axis=1), dtype=np.float64)

    began_quiet = _at_its_beginning(quiet, first, episode)
    return Alerts(
        thresholds=thresholds[EARLIER:],
        years=counted(~np.isnan(chance)) / YEAR,
        alerts=counted(alerts),
        right=counted(right),
        episodes=counted(first),
        caught=counted(earliest),
        onsets=counted(first & quiet),
        onsets_caught=counted(earliest & began_quiet),
        leads=np.stack([counted(earliest & (when == lead)) for lead in range(STANDS + 1)], axis=1),
    )


def threshold(chance: Cells) -> float:
    """The lowest threshold that raises no more than `RATE` alerts per country-year; infinite where there is none.

    `chance` is of shape (country, month), NaN where nothing was said.
    """
    allowed = RATE * np.isfinite(chance).sum() / YEAR
    candidates = np.unique(chance[chance > 0])
    low, high = 0, len(candidates)
    while low < high:  # a lower threshold never raises fewer alerts
        middle = (low + high) // 2
        if raised(chance, np.full(chance.shape[1], candidates[middle])).sum() <= allowed:
            high = middle
        else:
            low = middle + 1
    return float(candidates[low]) if low < len(candidates) else float("inf")


def raised(chance: Cells, thresholds: Cells) -> NDArray[np.bool_]:
    """Where an alert is raised: the probability reaches the month's threshold, and none stands; (country, month)."""
    alerts = np.zeros(chance.shape, dtype=bool)
    standing = np.zeros(len(chance), dtype=np.intp)
    for month in range(chance.shape[1]):
        alerts[:, month] = (chance[:, month] >= thresholds[month]) & (standing == 0)
        standing = np.where(alerts[:, month], STANDS - 1, np.maximum(standing - 1, 0))
    return alerts


def _origins(judged: Judged) -> NDArray[np.int64]:
    """The place of each origin in an unbroken row of months, window by window, shape (window, issue)."""
    origins = np.stack([window.origins for window in judged.windows]).astype("datetime64[M]").astype(np.int64)
    return np.asarray(origins - origins.min())


def _in_a_row(judged: Judged, cells: NDArray[np.generic], fill: float = np.nan) -> Cells:
    """Cells of shape (window, country, issue) as (country, month); `fill` where no forecast was issued."""
    places = _origins(judged)
    row = np.full((len(judged.iso3), places.max() + 1), fill)
    row[:, places.ravel()] = cells.transpose(1, 0, 2).reshape(len(judged.iso3), -1)
    return row


def _window_of_each_month(judged: Judged) -> NDArray[np.intp]:
    places = _origins(judged)
    window = np.full(places.max() + 1, -1)
    window[places.ravel()] = np.repeat(np.arange(len(places)), places.shape[1])
    return window


def _first_of_its_episode(right: NDArray[np.bool_], episode: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Of the right alerts of each episode, the first."""
    earliest = np.zeros(right.shape, dtype=bool)
    for country in range(len(right)):
        months = np.flatnonzero(right[country])
        _, places = np.unique(episode[country, months], return_index=True)
        earliest[country, months[places]] = True
    return earliest


def _at_its_beginning(
    held: NDArray[np.bool_], first: NDArray[np.bool_], episode: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """For each month of an episode, whether something held when it began."""
    began = np.zeros(held.shape, dtype=bool)
    for country in range(len(held)):
        starts = np.concatenate([[False], held[country, first[country]]])
        began[country] = starts[episode[country]]
    return began
