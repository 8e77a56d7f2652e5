"""Views between two views: what would be known if only some of what lies between them had happened.

Every country-month, event and table that differs is put down to one cause. A view between the two shows the later state
of what its causes brought, and the earlier state of the rest. It knows no model, no score and no store.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from riskmodel.assessment import Assessment
from riskmodel.events import coverage
from riskmodel.events.columns import months_of, positions
from riskmodel.events.coverage import WORLD, Coverage
from riskmodel.events.manifest import OUTCOME_KINDS, Ingest
from riskmodel.events.storage import TableReader
from riskmodel.events.table import SCHEMA
from riskmodel.events.view import View
from riskmodel.months import Months, span
from riskmodel.outcomes import TYPES, CountryMonths
from riskmodel.reporting.completeness import MATURE, Completeness, Curve

OfData: TypeAlias = Literal["new_events", "revised_events", "moving_window", "new_source"]
"""The causes that lie in what is known and when; a model is another."""
OF_DATA: tuple[OfData, ...] = get_args(OfData)
NEW, REVISED, MOVING, SOURCE = range(len(OF_DATA))
NONE = -1

Cells: TypeAlias = NDArray[np.bool_]
Codes: TypeAlias = NDArray[np.int8]
"""Causes by their place in `OF_DATA`; `NONE` where there is none."""
Numbers: TypeAlias = NDArray[np.int16]
Rectangle: TypeAlias = NDArray[np.float64]
Axes: TypeAlias = tuple[Sequence[str], NDArray[Any]]
"""Countries, and their months or ages."""


@dataclass(frozen=True)
class Mixed(View):
    """A view that shows what it was given; `events_told` is of the frame's shape, `together` has all its events."""

    frame: CountryMonths = field(compare=False)
    events_told: Cells = field(compare=False)
    together: pa.Table = field(compare=False)

    def outcomes(self) -> CountryMonths:
        return self.frame

    def event_coverage(self, frame: CountryMonths) -> Cells:
        here, there = (self.frame.iso3, self.frame.months), (frame.iso3, frame.months)
        return np.asarray(_laid(self.events_told, here, there, False), dtype=np.bool_)

    def events(self, columns: Sequence[str]) -> pa.Table:
        return self.together.select(list(columns))


class _Side(NamedTuple):
    """One of the two views on the rectangle they share: arrays of shape (country, month), by type where there are more.

    `events_by`, `table_by` and `source` are places in the ingests of both, -1 where none is: whose events are told,
    which country-month table has precedence over them, who speaks for the state-based deaths. `said` is what such a
    table says [deaths]. `share` is how much of each country-month's deaths is held to be reported.
    """

    events_by: Numbers
    table_by: dict[str, Numbers]
    said: dict[str, Rectangle]
    source: Numbers
    share: Rectangle
    completeness: Completeness

    @property
    def told(self) -> Cells:
        return self.events_by >= 0

    @property
    def known(self) -> Cells:
        return np.asarray(np.any([self.told, *(~np.isnan(said) for said in self.said.values())], axis=0))


class _Events(NamedTuple):
    """The events of either of two views: their flat places in a rectangle, and the causes that bring and take them.

    `enters` is `NONE` for one that was always there, `leaves` for one that stays.
    """

    table: pa.Table
    cell: NDArray[np.int64]
    enters: Codes
    leaves: Codes

    def moved(self, cause: int, shape: tuple[int, ...]) -> Rectangle:
        """How far those of one cause move each country-month [deaths]."""
        sign = (self.enters == cause).astype(np.float64) - (self.leaves == cause)
        return np.abs(_summed(self.cell, sign * self.table["deaths"].to_numpy(), shape))


@dataclass(frozen=True)
class Difference:
    """What lies between two views, on the countries and months that either of two assessments looked at.

    `cause`, of shape (country, month), is what changed a country-month as a whole; `of_share` the same of its
    completeness. `quiet` marks months that passed since the earlier origin: without their cause they count as known and
    without deaths. `others` are the tables beside the outcomes, each with what brings it and what takes it away.
    """

    reader: TableReader
    ingests: tuple[Ingest, ...]
    others: tuple[tuple[Ingest, int, int], ...]
    iso3: tuple[str, ...]
    months: Months
    sides: tuple[_Side, _Side]
    cause: Codes
    of_share: Codes
    quiet: Cells
    events: _Events
    origin_moved: bool

    @classmethod
    def between(cls, before: tuple[View, Assessment], after: tuple[View, Assessment]) -> "Difference":
        """The difference of two views as they were assessed, each by its own origin and completeness."""
        (old, then), (new, now) = before, after
        iso3 = tuple(sorted({*then.observed.iso3, *now.observed.iso3}))
        months = span(min(view.outcomes().months[0] for view in (old, new)), max(then.origin, now.origin))
        ingests = _both(old, new, outcomes=True)
        a, b = (_side(view, seen.completeness, ingests, iso3, months) for view, seen in (before, after))
        cause = _of_cells(a, b, ingests)
        together = np.where((cause == SOURCE) | (a.told != b.told), cause, NONE).astype(np.int8).ravel()
        events = _of_events(old, new, iso3, months, together)
        mostly_new = events.moved(NEW, cause.shape) > events.moved(REVISED, cause.shape)
        return cls(
            reader=old.reader,
            ingests=ingests,
            others=_of_tables(old, new),
            iso3=iso3,
            months=months,
            sides=(a, b),
            cause=cause,
            of_share=_of_shares(a, b, cause, mostly_new, months <= then.origin),
            quiet=~a.known & b.known & (months > then.origin),
            events=events,
            origin_moved=bool(then.origin != now.origin),
        )

    @property
    def causes(self) -> tuple[OfData, ...]:
        """The causes that anything is put down to."""
        tables = np.array([code for _, *codes in self.others for code in codes], dtype=np.int8)
        parts = (self.cause, self.of_share, self.events.enters, self.events.leaves, tables)
        found = {MOVING} if self.origin_moved else set()
        found.update(*(np.unique(part).tolist() for part in parts))
        return tuple(name for code, name in enumerate(OF_DATA) if code in found)

    def view(self, causes: Iterable[str]) -> Mixed:
        """What would be known if of all the causes only these had been."""
        (a, b), on = self.sides, _among(causes)
        here = on[self.cause]
        passed = self.quiet & ~here & on[MOVING]
        later = here | passed
        told = np.where(later, b.told, a.told)
        events = self.events
        there = (on[events.enters] | (events.enters == NONE)) & ~on[events.leaves] & told.ravel()[events.cell]
        table, cell = events.table.filter(pa.array(there)), events.cell[there]
        kind, best = positions(table["type_of_violence"], TYPES), table["deaths"].to_numpy()
        deaths = {}
        for i, name in enumerate(TYPES):
            said = np.where(here, b.said[name], a.said[name])
            said = np.where(passed & ~np.isnan(b.said[name]), 0.0, said)
            by_table = np.where(later, b.table_by[name], a.table_by[name]) >= 0
            counted = np.where(told, _summed(cell[kind == i], best[kind == i], told.shape), np.nan)
            deaths[name] = np.where(by_table, said, counted)
        untyped = _summed(cell[kind < 0], best[kind < 0], told.shape)
        deaths["all"] = np.sum([*(deaths[name] for name in TYPES), untyped], axis=0)
        source = np.where(later, b.source, a.source)
        frame = CountryMonths(self.iso3, self.months, deaths, source, tuple(ingest.id for ingest in self.ingests))
        beside = [i for i, enters, leaves in self.others if (on[enters] or enters == NONE) and not on[leaves]]
        return Mixed(self.reader, (*self.ingests, *beside), frame, told, table)

    def completeness(self, causes: Iterable[str]) -> Completeness:
        """How complete the reports would be held to be."""
        on, (a, b) = _among(causes), (side.completeness for side in self.sides)
        later, here = on[self.of_share], (self.iso3, self.months)
        learned = b if on[MOVING] else a
        rows, ages = (learned.iso3, np.arange(MATURE)), (self.iso3, np.arange(MATURE))
        curve = Curve(
            _laid(learned.curve.share, rows, ages, np.nan),
            _laid(learned.curve.weight, rows, ages, np.nan),
            learned.curve.concentration,
        )
        age, deaths, events = (
            np.where(later, _laid(now, (b.iso3, b.months), here, empty), _laid(then, (a.iso3, a.months), here, empty))
            for then, now, empty in ((a.age, b.age, -1), (a.deaths, b.deaths, np.nan), (a.events, b.events, np.nan))
        )
        return Completeness(a.outcome, self.iso3, self.months, age, deaths, events, curve)


def _summed(cell: NDArray[np.int64], deaths: NDArray[np.float64], shape: tuple[int, ...]) -> Rectangle:
    summed = np.bincount(cell, deaths, minlength=shape[0] * shape[1]).reshape(shape)
    return np.asarray(summed, dtype=np.float64)  # whole numbers where there is no event at all


def _among(causes: Iterable[str]) -> Cells:
    """Whether a cause is among some, by its place in `OF_DATA`; `NONE`, as the last place, is not."""
    chosen = set(causes)
    return np.array([*(name in chosen for name in OF_DATA), False])


def _both(old: View, new: View, *, outcomes: bool) -> tuple[Ingest, ...]:
    """The ingests of either view that outcomes are made of, or those that they are not; in rising precedence."""
    found = {i.id: i for view in (old, new) for i in view.ingests if (i.kind in OUTCOME_KINDS) == outcomes}
    return tuple(sorted(found.values(), key=lambda ingest: ingest.rank))


def _side(
    view: View, completeness: Completeness, ingests: Sequence[Ingest], iso3: tuple[str, ...], months: Months
) -> _Side:
    observed, have = view.outcomes(), {ingest.id for ingest in view.ingests}
    of_events = [n for n, ingest in enumerate(ingests) if ingest.id in have and ingest.kind == "events"]
    place = {ingest.id: number for number, ingest in enumerate(ingests)}
    saying = {place[ingest.id]: table.column_names for ingest, table in view.tables("country_months")}
    table_by, said = {}, {}
    for name in TYPES:
        of_months = [number for number, names in saying.items() if f"deaths_{name}" in names]
        speaker = _speaker(ingests, [*of_events, *of_months], iso3, months)
        table_by[name] = np.where(np.isin(speaker, of_months), speaker, -1).astype(np.int16)
        deaths = _laid(observed.deaths[name], (observed.iso3, observed.months), (iso3, months), np.nan)
        said[name] = np.where(table_by[name] >= 0, deaths, np.nan)
    events_by = _speaker(ingests, of_events, iso3, months)
    source = np.where(table_by["state_based"] >= 0, table_by["state_based"], events_by)
    share = _laid(completeness.deaths, (completeness.iso3, completeness.months), (iso3, months), np.nan)
    return _Side(events_by, table_by, said, source, share, completeness)


def _speaker(ingests: Sequence[Ingest], numbers: Iterable[int], iso3: tuple[str, ...], months: Months) -> Numbers:
    """Of some ingests, the place of the one that speaks for each country-month; -1 where none does."""
    speaker = np.full((len(iso3), months.size), -1, dtype=np.int16)
    for number in sorted(numbers):
        spans = (part for part in map(Coverage.parse, ingests[number].covers) if part.iso3 in (WORLD, *iso3))
        speaker[coverage.mask(spans, iso3, months)] = number
    return speaker


def _of_cells(a: _Side, b: _Side, ingests: Sequence[Ingest]) -> Codes:
    """The cause of what differs in a country-month as a whole: whether it is told of, and what tables say of it."""
    names, provider = np.unique([ingest.source for ingest in ingests], return_inverse=True)
    used = np.zeros((len(a.told), names.size), dtype=bool)
    for by in (a.events_by, *a.table_by.values()):
        row, column = np.nonzero(by >= 0)
        used[row, provider[by[row, column]]] = True
    rows = np.arange(len(a.told))[:, None]
    newly = np.any([(by >= 0) & ~used[rows, provider[by]] for by in (b.events_by, *b.table_by.values())], axis=0)
    differs = newly | (a.told != b.told)
    for name in TYPES:
        differs |= ((a.table_by[name] < 0) != (b.table_by[name] < 0)) | _unlike(a.said[name], b.said[name])
    cause = np.where(newly, SOURCE, np.where(a.known, REVISED, NEW))
    return np.where(differs, cause, NONE).astype(np.int8)


def _of_events(before: View, after: View, iso3: tuple[str, ...], months: Months, of_cell: Codes) -> _Events:
    """The events of either view, each with what brings and what takes it.

    `of_cell`, of shape (cell,), is the cause that the events of a cell share, `NONE` where each has its own.
    """
    (old, cell_a), (new, cell_b) = (_inside(view.events(SCHEMA.names), iso3, months) for view in (before, after))
    then = pc.index_in(new["event_id"], old["event_id"].combine_chunks())
    match = np.asarray(then.fill_null(-1).to_numpy(), dtype=np.int64)
    known = np.flatnonzero(match >= 0)
    same = np.zeros(new.num_rows, dtype=bool)
    same[known] = _alike(old.take(pa.array(match[known])), new.take(pa.array(known)))
    enters, leaves = of_cell[cell_b], of_cell[cell_a]
    enters = np.where(enters == NONE, np.where(match >= 0, REVISED, NEW), enters)
    leaves = np.where(leaves == NONE, REVISED, leaves)
    pairs, theirs = known[~same[known]], match[known[~same[known]]]
    together = np.where(of_cell[cell_b[pairs]] != NONE, enters[pairs], leaves[theirs])
    enters[pairs], leaves[theirs] = together, together  # an event is never there twice, nor between two states nowhere
    leaves[match[same]] = NONE
    brought = np.flatnonzero(~same)
    always, ever = np.full(old.num_rows, NONE), np.full(brought.size, NONE)
    return _Events(
        pa.concat_tables([old, new.take(pa.array(brought))]).unify_dictionaries(),
        np.concatenate([cell_a, cell_b[brought]]),
        np.concatenate([always, enters[brought]]).astype(np.int8),
        np.concatenate([leaves, ever]).astype(np.int8),
    )


def _inside(events: pa.Table, iso3: tuple[str, ...], months: Months) -> tuple[pa.Table, NDArray[np.int64]]:
    """The events of some countries and months, with their flat places in the rectangle."""
    row, column = positions(events["iso3"], iso3), (months_of(events["date_start"]) - months[0]).astype(np.int64)
    inside = (row >= 0) & (column >= 0) & (column < months.size)
    return events.filter(pa.array(inside)), (row * months.size + column)[inside]


def _alike(old: pa.Table, new: pa.Table) -> Cells:
    """Which rows of two tables are the same in every column."""
    alike = np.ones(new.num_rows, dtype=bool)
    for name in SCHEMA.names:
        if name not in ("event_id", "flags"):
            then, now = (
                column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
                for column in (old[name], new[name])
            )
            if pa.types.is_floating(then.type):
                alike &= ~_unlike(*(np.asarray(c.to_numpy(), dtype=np.float64) for c in (then, now)))
            else:
                equal = pc.fill_null(pc.equal(then, now), False)
                alike &= np.asarray(pc.or_(equal, pc.and_(then.is_null(), now.is_null())).to_numpy())
    return alike


def _of_shares(a: _Side, b: _Side, cause: Codes, mostly_new: Cells, before: Cells) -> Codes:
    """The cause of a change in how complete a country-month is held to be; `before` are the months of both origins.

    While the same file speaks, reports become more complete with time. Where another one does, its completeness belongs
    to the events that it brought: to those that moved the country-month most.
    """
    found = np.where(a.known & (a.source != b.source), np.where(mostly_new, NEW, REVISED), MOVING)
    found = np.where(~a.known & before, NEW, found)
    found = np.where(cause == SOURCE, SOURCE, found)
    return np.where(_unlike(a.share, b.share), found, NONE).astype(np.int8)


def _of_tables(old: View, new: View) -> tuple[tuple[Ingest, int, int], ...]:
    """The tables beside the outcomes, each with what brings it and what takes it away."""
    before, after = ({ingest.id for ingest in view.ingests} for view in (old, new))
    kinds = {ingest.kind for ingest in old.ingests}

    def enters(ingest: Ingest) -> int:
        if ingest.id in before:
            return NONE
        return NEW if ingest.kind in kinds else SOURCE

    found = _both(old, new, outcomes=False)
    return tuple((ingest, enters(ingest), NONE if ingest.id in after else REVISED) for ingest in found)


def _unlike(one: Rectangle, other: Rectangle) -> Cells:
    return np.asarray((one != other) & ~(np.isnan(one) & np.isnan(other)))


def _laid(values: NDArray[Any], have: Axes, want: Axes, empty: object) -> NDArray[Any]:
    """Values by country and month, or age, on other countries and months; `empty` where they have none."""
    laid = np.full((len(want[0]), len(want[1])), empty, dtype=values.dtype)
    _, to_row, row = np.intersect1d(np.array(want[0], dtype=str), np.array(have[0], dtype=str), return_indices=True)
    _, to_column, column = np.intersect1d(want[1], have[1], return_indices=True)
    laid[np.ix_(to_row, to_column)] = values[np.ix_(row, column)]
    return laid
