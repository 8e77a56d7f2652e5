"""The archive as of a moment: for each country-month, the ingest of highest precedence counts alone.

A view is made from a set of ingests. It answers which events count, how many deaths each country-month has, and what
is unknown.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.events import coverage, manifest
from riskmodel.events.columns import monthly_deaths, months_of, positions
from riskmodel.events.coverage import WORLD, Coverage
from riskmodel.events.manifest import Ingest, Kind
from riskmodel.events.storage import TableReader, check_digest
from riskmodel.events.table import SCHEMA
from riskmodel.months import Month, Months, span
from riskmodel.outcomes import KINDS, TYPES, CountryMonths, latest_history, raise_to_newer_types


@dataclass(frozen=True)
class View:
    """What a set of ingests says together; `ingests` are in rising precedence."""

    reader: TableReader = field(compare=False, repr=False)
    ingests: tuple[Ingest, ...]

    @property
    def simulated(self) -> bool:
        """Whether its data are simulated. A view never mixes simulated and real data."""
        return any(ingest.simulated for ingest in self.ingests)

    @property
    def shipped_only(self) -> bool:
        """Whether all deaths come from the history that ships with Vigie."""
        made_from = [ingest for ingest in self.ingests if ingest.kind in manifest.OUTCOME_KINDS]
        return bool(made_from) and all(ingest.variant == manifest.SHIPPED for ingest in made_from)

    @property
    def digest(self) -> str:
        """One SHA-256 over everything the view is made from."""
        return manifest.digest(self.ingests)

    def with_ingests(self, ingests: Sequence[Ingest]) -> "View":
        """Return a view of other ingests of the same archive, in rising precedence; decoded tables are shared."""
        return View(self.reader, tuple(ingests))

    @cached_property
    def _covers(self) -> list[list[Coverage]]:
        """What each ingest covers, of those that make outcomes."""
        return [
            [Coverage.parse(text) for text in ingest.covers] if ingest.kind in manifest.OUTCOME_KINDS else []
            for ingest in self.ingests
        ]

    @cached_property
    def _frame(self) -> tuple[tuple[str, ...], Months]:
        """The countries and months that anything covers."""
        parts = [part for covers in self._covers for part in covers]
        if not parts:
            return (), np.empty(0, dtype="datetime64[M]")
        world = any(part.iso3 == WORLD for part in parts)
        iso3 = sorted(geography.countries() if world else {part.iso3 for part in parts})
        return tuple(iso3), span(min(part.first for part in parts), max(part.last for part in parts))

    def _authority(self, numbers: Iterable[int]) -> NDArray[np.int16]:
        """Return which of some ingests has precedence for each country-month; -1 where none covers it."""
        iso3, months = self._frame
        authority = np.full((len(iso3), months.size), -1, dtype=np.int16)
        for number in sorted(numbers):
            authority[coverage.mask(self._covers[number], iso3, months)] = number
        return authority

    def _of_kind(self, kind: Kind) -> list[int]:
        return [number for number, ingest in enumerate(self.ingests) if ingest.kind == kind and ingest.covers]

    def tables(self, kind: Kind, columns: Sequence[str] | None = None) -> Iterator[tuple[Ingest, pa.Table]]:
        """Yield the ingests of a kind with their tables (or some columns of them), in rising precedence."""
        for ingest in self.ingests:
            if ingest.kind == kind:
                yield ingest, self.reader.read(ingest, columns)

    def events(self, columns: Sequence[str]) -> pa.Table:
        """Return the events that count, each once: `columns` of `events.table.SCHEMA`, in no particular order.

        These are the events of country-months that their ingest covers and for which no other ingest has precedence.
        A candidate release also brings late events of months for which an older candidate has precedence. If two
        ingests have an event of the same id (a later release moved or revised it), the one of higher precedence counts.
        """
        return self._events.select(list(columns))

    @cached_property
    def _events(self) -> pa.Table:
        iso3, months = self._frame
        numbers = self._of_kind("events")
        authority = self._authority(numbers)
        of_candidates = np.isin(authority, [number for number in numbers if self.ingests[number].candidate])
        parts = [SCHEMA.empty_table()]
        for number in numbers:
            table = self.reader.read(self.ingests[number])
            cell, inside = _cells(table["iso3"], table["date_start"], iso3, months)
            counts = authority == number
            if self.ingests[number].candidate:
                late = of_candidates & (authority < number) & ~coverage.mask(self._covers[number], iso3, months)
                counts |= late
            parts.append(_filtered(table, inside & counts.flat[np.where(inside, cell, 0)]))
        if len(numbers) > 1:
            ids = pa.concat_tables([part.select(["event_id"]) for part in parts])["event_id"].to_pandas()
            last = ~ids.duplicated(keep="last").to_numpy()
            ends = np.cumsum([part.num_rows for part in parts])
            masks = np.split(last, ends[:-1])
            parts = [_filtered(part, mask) for part, mask in zip(parts, masks, strict=True)]
        return pa.concat_tables(parts)

    def event_coverage(self, frame: CountryMonths) -> NDArray[np.bool_]:
        """Return which country-months of a frame some event file covers, shape (country, month)."""
        parts = (part for number in self._of_kind("events") for part in self._covers[number])
        return coverage.mask((part for part in parts if part.iso3 in (WORLD, *frame.iso3)), frame.iso3, frame.months)

    @cached_property
    def _outcomes(self) -> CountryMonths:
        iso3, months = self._frame
        shape = (len(iso3), months.size)
        events = self.events(["iso3", "date_start", "type_of_violence", "deaths"])
        cell, _ = _cells(events["iso3"], events["date_start"], iso3, months)
        kind, best = positions(events["type_of_violence"], TYPES), events["deaths"].to_numpy()
        of_events, of_months = self._of_kind("events"), self._of_kind("country_months")
        tables = {number: self.reader.read(self.ingests[number]) for number in of_months}
        cells_of = {number: _cells(table["iso3"], table["month"], iso3, months) for number, table in tables.items()}
        deaths, source = {}, {}
        for i, name in enumerate(KINDS):
            # An event of no known type counts in all deaths alone.
            counts = kind == i if name in TYPES else np.ones(kind.size, dtype=bool)
            counted = np.bincount(cell[counts], best[counts], minlength=len(iso3) * months.size).reshape(shape)
            knows = {number: monthly_deaths(table, name) for number, table in tables.items()}
            reports = {number: values for number, values in knows.items() if values is not None}
            source[name] = authority = self._authority([*of_events, *reports])
            deaths[name] = np.where(np.isin(authority, of_events), counted, np.nan)
            for number, values in reports.items():
                at, inside = cells_of[number]
                reported = np.full(shape, np.nan)
                reported.flat[at[inside]] = values[inside]
                deaths[name] = np.where(authority == number, reported, deaths[name])
        raise_to_newer_types(deaths, source)
        return CountryMonths(iso3, months, deaths, source, tuple(ingest.id for ingest in self.ingests))

    def outcomes(self) -> CountryMonths:
        """Return deaths by country-month and kind. A country-month that nothing covers is NaN.

        Each kind comes from the ingest of highest precedence that knows it. Events know all kinds; a country-month
        table knows those of its columns (see `monthly_deaths`).
        """
        return self._outcomes

    def origin(self, iso3: Sequence[str], outcome: str = "state_based") -> Month | None:
        """Return the last month known for at least half of those countries that have a history; None without any.

        A history is an unbroken run of `MIN_HISTORY` months or more. A country's own origin is the end of its latest
        history. A country that lags has no data at the common origin. The newer months of
        a country that leads are not used yet.
        """
        observed = self.outcomes()
        rows = [i for i, code in enumerate(observed.iso3) if code in set(iso3)]
        runs = [latest_history(~np.isnan(observed.deaths[outcome][i])) for i in rows]
        ends = sorted(observed.months[run.stop - 1] for run in runs if run)
        return ends[len(ends) // 2] if ends else None

    def last_covered(self, iso3: str, outcome: str = "state_based") -> Month | None:
        """Return the last month that an ingest which knows an outcome covers for a country; no event is read."""
        tables = (n for n in self._of_kind("country_months") if self._table_knows(n, outcome))
        parts = (part for number in (*self._of_kind("events"), *tables) for part in self._covers[number])
        return max((part.last for part in parts if part.iso3 in (WORLD, iso3)), default=None)

    def _table_knows(self, number: int, outcome: str) -> bool:
        return monthly_deaths(self.reader.read(self.ingests[number]), outcome) is not None

    def newer_data(self, iso3: Sequence[str], origin: Month, outcome: str = "state_based") -> dict[str, Month]:
        """Return the last known month of each of those countries that has data after an origin: they do not count."""
        observed = self.outcomes()
        newer = observed.months > origin
        known = {
            code: observed.months[newer & ~np.isnan(observed.deaths[outcome][observed.iso3.index(code)])]
            for code in iso3
            if code in observed.iso3
        }
        return {code: months[-1] for code, months in known.items() if months.size}

    def verify(self) -> None:
        """Raise Refused unless every file is the one that was taken in."""
        for ingest in self.ingests:
            check_digest(self.reader.root / ingest.data, ingest.data_sha256)

    def sources(self, iso3: str, until: Month, outcome: str = "state_based") -> list[dict[str, str | None]]:
        """Return which ingests a country's deaths come from, up to a month, in the order of the months.

        Each entry has ingest, source, release, and the first and last month.
        """
        observed = self.outcomes().until(until)
        source = observed.source[outcome]
        row = source[observed.iso3.index(iso3)] if iso3 in observed.iso3 else np.empty(0, dtype=np.int16)
        found = [
            (part, self.ingests[number])
            for number in np.unique(row[row >= 0])
            for part in coverage.spans(iso3, observed.months[row == number])
        ]
        return [
            {"ingest": i.id, "source": i.label, "release": i.release, "first": str(part.first), "last": str(part.last)}
            for part, i in sorted(found, key=lambda pair: pair[0].first)
        ]


@dataclass(frozen=True)
class ViewChange:
    """How two views differ: country-months that became known, events, deaths [deaths]."""

    country_months: int
    events_added: int
    events_revised: int
    events_gone: int
    deaths: int

    @classmethod
    def between(cls, before: View, after: View) -> "ViewChange":
        """Compare two views. An event is revised if its country, day, type or deaths changed."""
        compared = ["event_id", "iso3", "date_start", "type_of_violence", "deaths"]
        old, new = (
            view.events(compared).to_pandas().astype({"iso3": str, "type_of_violence": str}).set_index("event_id")
            for view in (before, after)
        )
        in_both = old.index.intersection(new.index)
        revised = (old.loc[in_both].astype(str) != new.loc[in_both].astype(str)).any(axis=1)
        known, total = zip(*(_known_cells_and_deaths(view) for view in (before, after)), strict=True)
        return cls(
            country_months=known[1] - known[0],
            events_added=len(new.index.difference(old.index)),
            events_revised=int(revised.sum()),
            events_gone=len(old.index.difference(new.index)),
            deaths=total[1] - total[0],
        )

    def summary(self) -> str:
        """Return the change in words."""
        parts = [
            f"{self.country_months:+,} country-months" if self.country_months else "",
            f"{self.events_added:,} events added" if self.events_added else "",
            f"{self.events_revised:,} revised" if self.events_revised else "",
            f"{self.events_gone:,} gone" if self.events_gone else "",
            f"{self.deaths:+,} deaths" if self.deaths else "",
        ]
        return ", ".join(part for part in parts if part) or "nothing changed"


def _known_cells_and_deaths(view: View) -> tuple[int, int]:
    deaths = view.outcomes().deaths
    known = np.any([~np.isnan(deaths[kind]) for kind in KINDS], axis=0)
    by_type = np.nansum([deaths[kind] for kind in TYPES], axis=0)
    return int(known.sum()), int(np.where(np.isnan(deaths["all"]), by_type, deaths["all"]).sum())


def _filtered(table: pa.Table, mask: NDArray[np.bool_]) -> pa.Table:
    """Return the rows where the mask is true, without a copy if these are all rows: a world file is large."""
    return table if mask.all() else table.filter(pa.array(mask))


def _cells(
    names: pa.ChunkedArray, dates: pa.ChunkedArray, iso3: Sequence[str], months: Months
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the flat index of each row in the rectangle of country-months, and whether it lies inside."""
    row, when = positions(names, iso3), months_of(dates)
    if not months.size:
        return np.zeros(row.size, dtype=np.int64), np.zeros(row.size, dtype=bool)
    inside = (row >= 0) & (when >= months[0]) & (when <= months[-1])
    return row * months.size + (when - months[0]).astype(np.int64), inside
