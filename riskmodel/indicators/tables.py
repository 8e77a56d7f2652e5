"""Monthly tables that indicators are computed from, beside conflict events: coups, people who fled, protests, news.

Each source is laid out by country and month, NaN wherever it does not speak, and only from when it could be known. It
knows the sources and no indicator.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from riskmodel.events import coverage
from riskmodel.events.columns import months_of, positions
from riskmodel.events.coverage import WORLD, Coverage
from riskmodel.events.view import View
from riskmodel.indicators import windows
from riskmodel.indicators.inputs import Rectangle
from riskmodel.months import Months
from riskmodel.sources import acled, displacement, gdelt, regimes
from riskmodel.sources.coups import coups

PUBLISHED = 6
"""UNHCR's and IDMC's figures of the end of a year are out by the middle of the next [months]."""


def monthly(view: View, iso3: Sequence[str], months: Months) -> dict[str, Rectangle]:
    """The tables that a view and the shipped lists give, by name; float64 of shape (country, month), NaN where unknown.

    `coup_attempts` (successful ones among them) and `coups` [events], `military` (1 at the end of the month, or 0);
    `refugees` (asylum seekers among them) and `displaced` inside their country [persons]; `protests` and `riots`
    [events]; `news_events`, `news_protests` and `news_conflict` [events that the news wrote of], `news_tone` (from -100
    to 100). A table whose source is not there is left out. Real tables do not enter beside a simulated archive.
    """
    if view.simulated or not months.size:
        return {}
    given = (_regime(iso3, months), _fled(view, iso3, months), _unrest(view, iso3, months), _news(view, iso3, months))
    return {name: table for tables in given for name, table in tables.items()}


def _regime(iso3: Sequence[str], months: Months) -> dict[str, Rectangle]:
    told = regimes.ending_in(regimes.TOLD, iso3, months)
    if not any(period.iso3 in iso3 for period in regimes.periods()):
        return {}
    names = pa.chunked_array([pa.array([coup.iso3 for coup in coups()], pa.string())])
    when = np.array([coup.month for coup in coups()], dtype="datetime64[M]")
    successful = np.array([coup.successful for coup in coups()], dtype=np.float64)
    attempts, successes = (_summed(names, when, weights, iso3, months) for weights in (None, successful))
    unknown = regimes.ending_in(regimes.UNKNOWN, iso3, months)
    military = regimes.ending_in(regimes.MILITARY, iso3, months)
    return {
        "coup_attempts": np.where(told, attempts, np.nan),
        "coups": np.where(told, successes, np.nan),
        "military": np.where(told & ~unknown, military, np.nan),
    }


def _fled(view: View, iso3: Sequence[str], months: Months) -> dict[str, Rectangle]:
    """A year's figures stand from July of the next year to the June after it: nobody knew them before.

    UNHCR's count of the displaced is of those it looks after: none of them does not mean that there are none. Then
    IDMC's figure stands, or nothing is known.
    """
    table = displacement.resolved(view)
    if not table.num_rows:
        return {}
    figures = table.to_pandas().set_index(["iso3", "year"])
    abroad, inside = (figures[figures["role"] == role] for role in ("origin", "internal"))
    looked_after = abroad["idps"].astype(np.float64)
    displaced = looked_after.where(looked_after > 0).combine_first(inside["idps"])
    refugees = abroad["refugees"] + abroad["asylum_seekers"]
    years = (months - PUBLISHED).astype("datetime64[Y]").astype(np.int64) + 1970 - 1
    return {
        name: series.unstack("year").reindex(index=list(iso3), columns=years).to_numpy(dtype=np.float64)
        for name, series in (("refugees", refugees), ("displaced", displaced))
    }


def _unrest(view: View, iso3: Sequence[str], months: Months) -> dict[str, Rectangle]:
    pulls = [ingest for ingest in view.ingests if ingest.kind == "acled"]
    if not pulls:
        return {}
    spans = (Coverage.parse(text) for ingest in pulls for text in ingest.covers)
    told = coverage.mask((span for span in spans if span.iso3 in (WORLD, *iso3)), iso3, months)
    events = acled.resolved(view)
    return {name: np.where(told, _typed(events, kind, iso3, months), np.nan) for name, kind in _TYPES.items()}


_TYPES = {"protests": "Protests", "riots": "Riots"}
"""ACLED's event types by table."""


def _typed(events: pa.Table, kind: str, iso3: Sequence[str], months: Months) -> Rectangle:
    of_type = events.filter(pc.fill_null(pc.equal(events["event_type"].cast(pa.string()), kind), False))
    return _summed(of_type["iso3"], months_of(of_type["date"]), None, iso3, months)


def _news(view: View, iso3: Sequence[str], months: Months) -> dict[str, Rectangle]:
    """A month counts once each of its days has been counted whole."""
    table = gdelt.resolved(view)
    if not table.num_rows:
        return {}
    table = table.filter(pc.equal(table["parts"], gdelt.PARTS)).sort_by("date")  # sums do not hang on ingest order
    when = months_of(table["date"])
    days = (months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")
    whole = _summed(table["iso3"], when, None, iso3, months) == days.astype(np.int64)

    def summed(weights: NDArray[np.float64]) -> Rectangle:
        return np.where(whole, _summed(table["iso3"], when, weights, iso3, months), np.nan)

    mentions, tone = numbers(table["mentions"]), numbers(table["tone"])
    toned = summed(np.where(np.isnan(tone), 0, mentions))
    return {
        "news_events": summed(np.sum([numbers(table[name]) for name in gdelt.QUAD_CLASSES], axis=0)),
        "news_protests": summed(numbers(table["protests"])),
        "news_conflict": summed(numbers(table["material_conflict"])),
        "news_tone": windows.ratio(summed(mentions * np.nan_to_num(tone)), toned),
    }


def numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """A column as float64; NaN where it is empty."""
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _summed(
    names: pa.ChunkedArray, when: Months, weights: NDArray[np.float64] | None, iso3: Sequence[str], months: Months
) -> Rectangle:
    """Rows by country-month, or the sum of their weights; 0 where there is no row."""
    row, column = positions(names, iso3), (when - months[0]).astype(np.int64)
    inside = (row >= 0) & (column >= 0) & (column < months.size)
    cell = (row * months.size + column)[inside]
    summed = np.bincount(cell, None if weights is None else weights[inside], minlength=len(iso3) * months.size)
    return np.asarray(summed.reshape(len(iso3), months.size), dtype=np.float64)
