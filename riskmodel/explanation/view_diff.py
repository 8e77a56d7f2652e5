"""The difference of two views of the archive, and the views between them that only some of its causes make.

Every country-month, event and table that differs has one cause. A view with some of the causes shows the later state
where one of these is the cause, and the earlier state elsewhere.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from riskmodel.assessment import Assessment
from riskmodel.events import coverage
from riskmodel.events.columns import monthly_deaths, months_of, positions
from riskmodel.events.coverage import WORLD, Coverage
from riskmodel.events.manifest import OUTCOME_KINDS, Ingest
from riskmodel.events.storage import TableReader
from riskmodel.events.table import SCHEMA
from riskmodel.events.view import View
from riskmodel.months import Months, span
from riskmodel.outcomes import KINDS, TYPES, CountryMonths, raise_to_newer_types
from riskmodel.reporting.release_class import UNKNOWN, UNSETTLED
from riskmodel.reporting.unsettled import ReportingState

DataCause: TypeAlias = Literal["new_events", "revised_events", "moving_window", "new_source"]
"""The causes that lie in the data and in the time; another trained model is a cause besides these."""
DATA_CAUSES: tuple[DataCause, ...] = get_args(DataCause)
NEW, REVISED, MOVING, SOURCE = range(len(DATA_CAUSES))
NONE = -1

Cells: TypeAlias = NDArray[np.bool_]
Codes: TypeAlias = NDArray[np.int8]
"""Causes by their index in `DATA_CAUSES`; `NONE` where nothing differs."""
IngestIndices: TypeAlias = NDArray[np.int16]
Rectangle: TypeAlias = NDArray[np.float64]
Axes: TypeAlias = tuple[Sequence[str], NDArray[Any]]
"""Countries and months."""


@dataclass(frozen=True)
class CombinedView(View):
    """A view with given content: `event_cells`, of the frame's shape, is where its `event_table` is complete."""

    frame: CountryMonths = field(compare=False)
    event_cells: Cells = field(compare=False)
    event_table: pa.Table = field(compare=False)

    def outcomes(self) -> CountryMonths:
        """Return the frame."""
        return self.frame

    def event_coverage(self, frame: CountryMonths) -> Cells:
        """Return where events are known, on the countries and months of another frame."""
        own, other = (self.frame.iso3, self.frame.months), (frame.iso3, frame.months)
        return np.asarray(_reindexed(self.event_cells, own, other, False), dtype=np.bool_)

    def events(self, columns: Sequence[str]) -> pa.Table:
        """Return some columns of the events."""
        return self.event_table.select(list(columns))


class _Side(NamedTuple):
    """One of the two views on their common rectangle: arrays of shape (country, month), some by kind of deaths.

    `events_from`, `table_from` and `source` are indices into the ingests of both views, -1 for none. They give the
    ingest whose events count, the country-month table that has precedence over events, and the ingest of the deaths.
    `table_deaths` are the deaths of that table [deaths]. `reporting` is the state of the reports, on the rectangle.
    """

    events_from: IngestIndices
    table_from: dict[str, IngestIndices]
    table_deaths: dict[str, Rectangle]
    source: dict[str, IngestIndices]
    reporting: ReportingState

    @property
    def has_events(self) -> Cells:
        """Where events are known."""
        return self.events_from >= 0

    @property
    def known(self) -> Cells:
        """Where anything is known."""
        tables = (~np.isnan(deaths) for deaths in self.table_deaths.values())
        return np.asarray(np.any([self.has_events, *tables], axis=0))


class _Events(NamedTuple):
    """The events of either of two views, with their flat index in the rectangle and the causes of their changes.

    `added_by` is `NONE` for an event of the earlier view, `removed_by` for one of the later view. A revised event
    is in the table twice: the earlier version is removed and the later one added.
    """

    table: pa.Table
    cell: NDArray[np.int64]
    added_by: Codes
    removed_by: Codes

    def deaths_moved(self, cause: int, shape: tuple[int, ...]) -> Rectangle:
        """The size of the change that one cause makes to each country-month [deaths]."""
        sign = (self.added_by == cause).astype(np.float64) - (self.removed_by == cause)
        return np.abs(_summed(self.cell, sign * self.table["deaths"].to_numpy(), shape))


@dataclass(frozen=True)
class ViewDifference:
    """The difference of two views, on the countries and months that either of two assessments reads.

    `cause`, of shape (country, month), is the cause of a change that a country-month has as a unit. `state_cause` is
    that of a change of its release class, or of what is known of revisions, and `model_cause` that of another revision
    model. `quiet` marks months that passed since the earlier origin: as long as their own cause is absent, they count
    as known and without deaths. `side_tables` are the tables that are no outcomes, each with the causes that add and
    remove it.
    """

    reader: TableReader
    ingests: tuple[Ingest, ...]
    side_tables: tuple[tuple[Ingest, int, int], ...]
    iso3: tuple[str, ...]
    months: Months
    sides: tuple[_Side, _Side]
    cause: Codes
    state_cause: Codes
    model_cause: int
    quiet: Cells
    events: _Events
    origin_moved: bool

    @classmethod
    def between(cls, before: tuple[View, Assessment], after: tuple[View, Assessment]) -> "ViewDifference":
        """Return the difference of two views, each assessed with its own origin and reporting state."""
        (old, first), (new, last) = before, after
        iso3 = tuple(sorted({*first.observed.iso3, *last.observed.iso3}))
        months = span(min(view.outcomes().months[0] for view in (old, new)), max(first.origin, last.origin))
        ingests = _ingests_of_either(old, new, outcomes=True)
        a, b = (_side(view, assessment.reporting, ingests, iso3, months) for view, assessment in (before, after))
        cause = _cell_causes(a, b, ingests)
        # All events of these country-months change together, so that the month is never known only in part.
        shared = np.where((cause == SOURCE) | (a.has_events != b.has_events), cause, NONE).astype(np.int8).ravel()
        events = _event_causes(old, new, iso3, months, shared)
        mostly_new = events.deaths_moved(NEW, cause.shape) > events.deaths_moved(REVISED, cause.shape)
        state_cause = _state_causes(a, b, cause, mostly_new, months <= first.origin)
        return cls(
            reader=old.reader,
            ingests=ingests,
            side_tables=_side_table_causes(old, new),
            iso3=iso3,
            months=months,
            sides=(a, b),
            cause=cause,
            state_cause=state_cause,
            model_cause=_model_cause(state_cause[np.isin(b.reporting.classes, UNSETTLED)], first.origin != last.origin),
            quiet=~a.known & b.known & (months > first.origin),
            events=events,
            origin_moved=bool(first.origin != last.origin),
        )

    @property
    def causes(self) -> tuple[DataCause, ...]:
        """The causes that occur."""
        tables = np.array([code for _, *codes in self.side_tables for code in codes], dtype=np.int8)
        all_codes = (self.cause, self.state_cause, self.events.added_by, self.events.removed_by, tables)
        codes = {MOVING} if self.origin_moved else set()
        codes.update(*(np.unique(part).tolist() for part in all_codes))
        return tuple(name for code, name in enumerate(DATA_CAUSES) if code in codes)

    def view(self, causes: Iterable[str]) -> CombinedView:
        """Return the view that would exist if only some of the causes had occurred."""
        (a, b), occurred = self.sides, _occurred(causes)
        changed = occurred[self.cause]
        quiet = self.quiet & ~changed & occurred[MOVING]
        later = changed | quiet
        has_events = np.where(later, b.has_events, a.has_events)
        events = self.events
        visible = (occurred[events.added_by] | (events.added_by == NONE)) & ~occurred[events.removed_by]
        visible &= has_events.ravel()[events.cell]
        table, cell = events.table.filter(pa.array(visible)), events.cell[visible]
        kind, best = positions(table["type_of_violence"], TYPES), table["deaths"].to_numpy()
        deaths = {}
        for i, name in enumerate(KINDS):
            counts = kind == i if name in TYPES else np.ones(kind.size, dtype=bool)
            in_table = np.where(changed, b.table_deaths[name], a.table_deaths[name])
            in_table = np.where(quiet & ~np.isnan(b.table_deaths[name]), 0.0, in_table)
            from_table = np.where(later, b.table_from[name], a.table_from[name]) >= 0
            counted = np.where(has_events, _summed(cell[counts], best[counts], has_events.shape), np.nan)
            deaths[name] = np.where(from_table, in_table, counted)
        source = {name: np.where(later, b.source[name], a.source[name]) for name in KINDS}
        raise_to_newer_types(deaths, source)
        frame = CountryMonths(self.iso3, self.months, deaths, source, tuple(ingest.id for ingest in self.ingests))
        side_tables = [
            ingest
            for ingest, added_by, removed_by in self.side_tables
            if (occurred[added_by] or added_by == NONE) and not occurred[removed_by]
        ]
        return CombinedView(self.reader, (*self.ingests, *side_tables), frame, has_events, table)

    def reporting(self, causes: Iterable[str]) -> ReportingState:
        """Return the state of the reports if only some of the causes had occurred."""
        occurred, (a, b) = _occurred(causes), (side.reporting for side in self.sides)
        later = occurred[self.state_cause]
        return replace(
            a,
            classes=np.where(later, b.classes, a.classes),
            share_of_events=np.where(later, b.share_of_events, a.share_of_events),
            model=(b if occurred[self.model_cause] else a).model,
        )


def _summed(cell: NDArray[np.int64], deaths: NDArray[np.float64], shape: tuple[int, ...]) -> Rectangle:
    summed = np.bincount(cell, deaths, minlength=shape[0] * shape[1]).reshape(shape)
    return np.asarray(summed, dtype=np.float64)  # bincount of no events returns integers


def _occurred(causes: Iterable[str]) -> Cells:
    """Whether each cause of `DATA_CAUSES` is among some. The last element is False, so the index `NONE` gives False."""
    chosen = set(causes)
    return np.array([*(name in chosen for name in DATA_CAUSES), False])


def _ingests_of_either(old: View, new: View, *, outcomes: bool) -> tuple[Ingest, ...]:
    """The ingests of either view, of outcomes or of other tables, in rising precedence."""
    by_id = {i.id: i for view in (old, new) for i in view.ingests if (i.kind in OUTCOME_KINDS) == outcomes}
    return tuple(sorted(by_id.values(), key=lambda ingest: ingest.rank))


def _side(
    view: View, reporting: ReportingState, ingests: Sequence[Ingest], iso3: tuple[str, ...], months: Months
) -> _Side:
    observed, own_ids = view.outcomes(), {ingest.id for ingest in view.ingests}
    of_events = [n for n, ingest in enumerate(ingests) if ingest.id in own_ids and ingest.kind == "events"]
    index = {ingest.id: n for n, ingest in enumerate(ingests)}
    tables = {index[ingest.id]: table for ingest, table in view.tables("country_months")}
    table_from, table_deaths, source = {}, {}, {}
    events_from = _authority(ingests, of_events, iso3, months)
    for name in KINDS:
        of_tables = [n for n, table in tables.items() if monthly_deaths(table, name) is not None]
        authority = _authority(ingests, [*of_events, *of_tables], iso3, months)
        table_from[name] = np.where(np.isin(authority, of_tables), authority, -1).astype(np.int16)
        deaths = _reindexed(observed.deaths[name], (observed.iso3, observed.months), (iso3, months), np.nan)
        table_deaths[name] = np.where(table_from[name] >= 0, deaths, np.nan)
        source[name] = np.where(table_from[name] >= 0, table_from[name], events_from)
    have, want = (reporting.iso3, reporting.months), (iso3, months)
    reporting = replace(
        reporting,
        iso3=iso3,
        months=months,
        classes=_reindexed(reporting.classes, have, want, UNKNOWN),
        share_of_events=_reindexed(reporting.share_of_events, have, want, np.nan),
    )
    return _Side(events_from, table_from, table_deaths, source, reporting)


def _authority(
    ingests: Sequence[Ingest], indices: Iterable[int], iso3: tuple[str, ...], months: Months
) -> IngestIndices:
    """Which of some ingests has precedence for each country-month; -1 where none covers it."""
    authority = np.full((len(iso3), months.size), -1, dtype=np.int16)
    for n in sorted(indices):
        spans = (part for part in map(Coverage.parse, ingests[n].covers) if part.iso3 in (WORLD, *iso3))
        authority[coverage.mask(spans, iso3, months)] = n
    return authority


def _cell_causes(a: _Side, b: _Side, ingests: Sequence[Ingest]) -> Codes:
    """The cause of changes that a country-month has as a unit: whether events are known, and the deaths of tables."""
    names, provider = np.unique([ingest.source for ingest in ingests], return_inverse=True)
    used = np.zeros((len(a.has_events), names.size), dtype=bool)
    for ingest_of in (a.events_from, *a.table_from.values()):
        row, column = np.nonzero(ingest_of >= 0)
        used[row, provider[ingest_of[row, column]]] = True
    rows = np.arange(len(a.has_events))[:, None]
    later = (b.events_from, *b.table_from.values())
    new_source = np.any([(of >= 0) & ~used[rows, provider[of]] for of in later], axis=0)
    differs = new_source | (a.has_events != b.has_events)
    for name in KINDS:
        differs |= (a.table_from[name] < 0) != (b.table_from[name] < 0)
        differs |= _differ(a.table_deaths[name], b.table_deaths[name])
    cause = np.where(new_source, SOURCE, np.where(a.known, REVISED, NEW))
    return np.where(differs, cause, NONE).astype(np.int8)


def _event_causes(before: View, after: View, iso3: tuple[str, ...], months: Months, shared: Codes) -> _Events:
    """The events of either view, each with the causes that add and remove it.

    `shared`, of shape (cell,), is the cause that all events of a cell share, `NONE` where each event has its own.
    """
    (old, cell_a), (new, cell_b) = (_events_inside(view.events(SCHEMA.names), iso3, months) for view in (before, after))
    match = pc.index_in(new["event_id"], old["event_id"].combine_chunks())
    match = np.asarray(match.fill_null(-1).to_numpy(), dtype=np.int64)
    in_both = np.flatnonzero(match >= 0)
    same = np.zeros(new.num_rows, dtype=bool)
    same[in_both] = _equal_rows(old.take(pa.array(match[in_both])), new.take(pa.array(in_both)))
    added_by, removed_by = shared[cell_b], shared[cell_a]
    added_by = np.where(added_by == NONE, np.where(match >= 0, REVISED, NEW), added_by)
    removed_by = np.where(removed_by == NONE, REVISED, removed_by)
    # A revised event changes from one version to the other by one cause: otherwise a view with one of two causes would
    # have it twice or not at all.
    revised, earlier = in_both[~same[in_both]], match[in_both[~same[in_both]]]
    cause = np.where(shared[cell_b[revised]] != NONE, added_by[revised], removed_by[earlier])
    added_by[revised], removed_by[earlier] = cause, cause
    removed_by[match[same]] = NONE
    added = np.flatnonzero(~same)
    return _Events(
        pa.concat_tables([old, new.take(pa.array(added))]).unify_dictionaries(),
        np.concatenate([cell_a, cell_b[added]]),
        np.concatenate([np.full(old.num_rows, NONE), added_by[added]]).astype(np.int8),
        np.concatenate([removed_by, np.full(added.size, NONE)]).astype(np.int8),
    )


def _events_inside(events: pa.Table, iso3: tuple[str, ...], months: Months) -> tuple[pa.Table, NDArray[np.int64]]:
    """The events of some countries and months, with their flat index in the rectangle."""
    row, column = positions(events["iso3"], iso3), (months_of(events["date_start"]) - months[0]).astype(np.int64)
    inside = (row >= 0) & (column >= 0) & (column < months.size)
    return events.filter(pa.array(inside)), (row * months.size + column)[inside]


def _equal_rows(old: pa.Table, new: pa.Table) -> Cells:
    """Which rows of two tables are equal in every column, apart from `flags`, which is no content of the source."""
    equal = np.ones(new.num_rows, dtype=bool)
    for name in SCHEMA.names:
        if name in ("event_id", "flags"):
            continue
        one, other = (
            column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
            for column in (old[name], new[name])
        )
        if pa.types.is_floating(one.type):
            equal &= ~_differ(*(np.asarray(column.to_numpy(), dtype=np.float64) for column in (one, other)))
        else:
            same_value = pc.fill_null(pc.equal(one, other), False)
            equal &= np.asarray(pc.or_(same_value, pc.and_(one.is_null(), other.is_null())).to_numpy())
    return equal


def _state_causes(a: _Side, b: _Side, cause: Codes, mostly_new: Cells, past: Cells) -> Codes:
    """The cause of a change of a report's state; `past` are the months up to the earlier origin.

    While a country-month comes from the same ingest, time teaches more about revisions. Where another ingest replaces
    it, its release class changes by the cause of the events that changed the country-month most.
    """
    replaced = a.source[a.reporting.outcome] != b.source[b.reporting.outcome]
    causes = np.where(a.known & replaced, np.where(mostly_new, NEW, REVISED), MOVING)
    causes = np.where(~a.known & past, NEW, causes)
    causes = np.where(cause == SOURCE, SOURCE, causes)
    one, other = a.reporting, b.reporting
    unsettled = np.isin(one.classes, UNSETTLED) | np.isin(other.classes, UNSETTLED)
    differs = unsettled & (one.classes != other.classes) | _differ(one.share_of_events, other.share_of_events)
    if joblib.hash(one.model) != joblib.hash(other.model):
        differs |= np.isin(other.classes, UNSETTLED)
    return np.where(differs, causes, NONE).astype(np.int8)


def _model_cause(of_unsettled: Codes, origin_moved: bool) -> int:
    """The cause of another revision model: time, unless the months that it is used for have another cause."""
    causes = of_unsettled[of_unsettled != NONE]
    if origin_moved or not causes.size or (causes == MOVING).any():
        return MOVING
    return int(np.bincount(causes).argmax())


def _side_table_causes(old: View, new: View) -> tuple[tuple[Ingest, int, int], ...]:
    """The tables that are no outcomes, each with the causes that add and remove it."""
    old_ids, new_ids = ({ingest.id for ingest in view.ingests} for view in (old, new))
    old_kinds = {ingest.kind for ingest in old.ingests}

    def added_by(ingest: Ingest) -> int:
        if ingest.id in old_ids:
            return NONE
        return NEW if ingest.kind in old_kinds else SOURCE

    ingests = _ingests_of_either(old, new, outcomes=False)
    return tuple((ingest, added_by(ingest), NONE if ingest.id in new_ids else REVISED) for ingest in ingests)


def _differ(one: Rectangle, other: Rectangle) -> Cells:
    """Where two arrays differ; two NaN are equal."""
    return np.asarray((one != other) & ~(np.isnan(one) & np.isnan(other)))


def _reindexed(values: NDArray[Any], have: Axes, want: Axes, empty: object) -> NDArray[Any]:
    """Values by country and month, on other countries and months; `empty` where they have none."""
    reindexed = np.full((len(want[0]), len(want[1])), empty, dtype=values.dtype)
    _, to_row, row = np.intersect1d(np.array(want[0], dtype=str), np.array(have[0], dtype=str), return_indices=True)
    _, to_column, column = np.intersect1d(want[1], have[1], return_indices=True)
    reindexed[np.ix_(to_row, to_column)] = values[np.ix_(row, column)]
    return reindexed
