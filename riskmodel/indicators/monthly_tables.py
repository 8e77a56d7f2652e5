"""Monthly tables that indicators are computed from, apart from conflict events: coups, displacement, unrest and news.

Each table has NaN where its source does not cover a country-month, and its values only from when they were published.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from riskmodel import windows
from riskmodel.events import coverage
from riskmodel.events.columns import months_of, positions
from riskmodel.events.coverage import WORLD, Coverage
from riskmodel.events.view import View
from riskmodel.months import Months
from riskmodel.sources import acled, displacement, gdelt, regimes
from riskmodel.sources.coups import coups
from riskmodel.windows import Rectangle

PUBLICATION_DELAY = 6
"""UNHCR and IDMC publish the figures of the end of a year by the middle of the next one [months]."""
ACLED_TYPES = {"protests": "Protests", "riots": "Riots"}
"""ACLED's event type of each table."""


def monthly_tables(view: View, iso3: Sequence[str], months: Months) -> dict[str, Rectangle]:
    """Return the tables of a view and of the shipped lists by name; float64 of shape (country, month).

    - `coup_attempts` (successful coups included) and `coups` [events]; `military` (1 at the end of the month, or 0)
    - `refugees` (asylum seekers included) and `displaced` within their country [persons]
    - `protests` and `riots` [events]
    - `violent_protests`, UCDP's violent political protest [events]
    - `news_events`, `news_protests` and `news_conflict` [events in the news]; `news_tone` (from -100 to 100)

    Unknown is NaN. A table without its source is absent. With simulated data there are no tables, because they are
    real.
    """
    if view.simulated or not months.size:
        return {}
    return {
        **_regime_tables(iso3, months),
        **_displacement_tables(view, iso3, months),
        **_unrest_tables(view, iso3, months),
        **_violent_protest_table(view, iso3, months),
        **_news_tables(view, iso3, months),
    }


def _regime_tables(iso3: Sequence[str], months: Months) -> dict[str, Rectangle]:
    if not any(period.iso3 in iso3 for period in regimes.periods()):
        return {}
    covered = regimes.months_ending_in(regimes.COVERED, iso3, months)
    names = pa.chunked_array([pa.array([coup.iso3 for coup in coups()], pa.string())])
    when = np.array([coup.month for coup in coups()], dtype="datetime64[M]")
    successful = np.array([coup.successful for coup in coups()], dtype=np.float64)
    attempts, successes = (_sum_by_month(names, when, weights, iso3, months) for weights in (None, successful))
    unknown = regimes.months_ending_in(regimes.UNKNOWN, iso3, months)
    military = regimes.months_ending_in(regimes.MILITARY, iso3, months)
    return {
        "coup_attempts": np.where(covered, attempts, np.nan),
        "coups": np.where(covered, successes, np.nan),
        "military": np.where(covered & ~unknown, military, np.nan),
    }


def _displacement_tables(view: View, iso3: Sequence[str], months: Months) -> dict[str, Rectangle]:
    """A year's figures are used from July of the next year to the June after it: they were not published before.

    UNHCR counts only the displaced people that it assists, so its 0 does not mean that there are none. IDMC's figure is
    used then, or nothing is known.
    """
    table = displacement.current_figures(view)
    if not table.num_rows:
        return {}
    figures = table.to_pandas().set_index(["iso3", "year"])
    abroad, inside = (figures[figures["role"] == role] for role in ("origin", "internal"))
    assisted = abroad["idps"].astype(np.float64)
    displaced = assisted.where(assisted > 0).combine_first(inside["idps"])
    refugees = abroad["refugees"] + abroad["asylum_seekers"]
    years = (months - PUBLICATION_DELAY).astype("datetime64[Y]").astype(np.int64) + 1970 - 1
    return {
        name: series.unstack("year").reindex(index=list(iso3), columns=years).to_numpy(dtype=np.float64)
        for name, series in (("refugees", refugees), ("displaced", displaced))
    }


def _unrest_tables(view: View, iso3: Sequence[str], months: Months) -> dict[str, Rectangle]:
    pulls = [ingest for ingest in view.ingests if ingest.kind == "acled"]
    if not pulls:
        return {}
    spans = (Coverage.parse(text) for ingest in pulls for text in ingest.covers)
    covered = coverage.mask((span for span in spans if span.iso3 in (WORLD, *iso3)), iso3, months)
    events = acled.current_events(view, ["iso3", "date", "event_type"])
    tables = {}
    for name, event_type in ACLED_TYPES.items():
        of_type = events.filter(pc.fill_null(pc.equal(events["event_type"].cast(pa.string()), event_type), False))
        number = _sum_by_month(of_type["iso3"], months_of(of_type["date"]), None, iso3, months)
        tables[name] = np.where(covered, number, np.nan)
    return tables


def _violent_protest_table(view: View, iso3: Sequence[str], months: Months) -> dict[str, Rectangle]:
    """A month is known if a file covers it; of several files, the one of highest precedence counts."""
    number = np.full((len(iso3), months.size), np.nan)
    for ingest, table in view.tables("protests", ["iso3", "date_start"]):
        spans = (Coverage.parse(text) for text in ingest.covers)
        covered = coverage.mask((span for span in spans if span.iso3 in (WORLD, *iso3)), iso3, months)
        counted = _sum_by_month(table["iso3"], months_of(table["date_start"]), None, iso3, months)
        number[covered] = counted[covered]
    return {} if np.isnan(number).all() else {"violent_protests": number}


def _news_tables(view: View, iso3: Sequence[str], months: Months) -> dict[str, Rectangle]:
    """A month is known if every one of its days is complete."""
    table = gdelt.current_counts(view)
    if not table.num_rows:
        return {}
    # sorted: the last digits of sums depend on the order, which must not depend on the order of ingests
    table = table.filter(pc.equal(table["parts"], gdelt.PARTS)).sort_by("date")
    when = months_of(table["date"])
    days = (months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")
    complete = _sum_by_month(table["iso3"], when, None, iso3, months) == days.astype(np.int64)

    def monthly_sum(weights: NDArray[np.float64]) -> Rectangle:
        return np.where(complete, _sum_by_month(table["iso3"], when, weights, iso3, months), np.nan)

    mentions, tone = float_column(table["mentions"]), float_column(table["tone"])
    mentions_with_tone = monthly_sum(np.where(np.isnan(tone), 0, mentions))
    return {
        "news_events": monthly_sum(np.sum([float_column(table[name]) for name in gdelt.QUAD_CLASSES], axis=0)),
        "news_protests": monthly_sum(float_column(table["protests"])),
        "news_conflict": monthly_sum(float_column(table["material_conflict"])),
        "news_tone": windows.ratio(monthly_sum(mentions * np.nan_to_num(tone)), mentions_with_tone),
    }


def float_column(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return a column as float64; NaN where it is empty."""
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _sum_by_month(
    names: pa.ChunkedArray, when: Months, weights: NDArray[np.float64] | None, iso3: Sequence[str], months: Months
) -> Rectangle:
    """The number of rows by country-month, or the sum of their weights; 0 where there is no row."""
    row, column = positions(names, iso3), (when - months[0]).astype(np.int64)
    inside = (row >= 0) & (column >= 0) & (column < months.size)
    cell = (row * months.size + column)[inside]
    summed = np.bincount(cell, None if weights is None else weights[inside], minlength=len(iso3) * months.size)
    return np.asarray(summed.reshape(len(iso3), months.size), dtype=np.float64)
