"""ACLED's events: the file of a pull, and the events that count as of a moment.

ACLED's terms forbid passing its rows on: an ingest of them is private, and nothing here exports anything. The newest
version of an event counts until ACLED deletes the event. Raleigh, Kishi & Linke (2023), doi:10.1057/s41599-023-01559-4.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pycountry
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.errors import BadInput
from riskmodel.events.columns import dates, integers, integers_between, numbers, take_as
from riskmodel.events.coverage import Coverage
from riskmodel.events.manifest import Kind
from riskmodel.events.table import NAMES, CheckedBatch, Quarantine, unsplit_rows
from riskmodel.events.view import View
from riskmodel.sources import files

KOSOVO = "Kosovo"
"""The only country that ACLED names without a number of ISO 3166-1."""

_TEXT_COLUMNS = [
    *("disorder_type", "event_type", "sub_event_type", "actor1", "assoc_actor_1", "inter1"),
    *("actor2", "assoc_actor_2", "inter2", "interaction", "civilian_targeting"),
    *("admin1", "admin2", "admin3", "location", "source", "source_scale", "notes", "tags"),
]
_FREE_TEXT = ("location", "source", "notes", "tags")

SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("iso3", NAMES),
        ("date", pa.date32()),
        ("time_precision", pa.int8()),
        *((name, pa.string() if name in _FREE_TEXT else NAMES) for name in _TEXT_COLUMNS),
        ("deaths", pa.int32()),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("geo_precision", pa.int8()),
        ("timestamp", pa.int64()),
        ("deleted", pa.bool_()),
    ]
)
"""`timestamp` is when ACLED last changed or deleted the event [s since 1970, UTC]. A deletion has no other columns."""

FILE_COLUMNS = [
    *("event_id_cnty", "iso", "country", "event_date", "time_precision", *_TEXT_COLUMNS),
    *("fatalities", "latitude", "longitude", "geo_precision", "timestamp", "deleted"),
]
"""The columns of a pulled file: ACLED's names, and `deleted` (1 or empty)."""


class AcledFile:
    """One file of a pull. `variant` says up to which day the account sees single events, if it does not see all."""

    kind: Kind = "acled"
    source = "acled"
    schema = SCHEMA
    simulated = False

    def __init__(self, path: Path, last_visible_day: date | None = None) -> None:
        self.table, names = files.table(path)
        self.variant = f"single events to {last_visible_day}" if last_visible_day else "single events"
        if missing := [name for name in FILE_COLUMNS if name not in names]:
            raise BadInput(f"{path}: header: no column {', '.join(missing)}; this is no file of ACLED events")
        self._seen: set[tuple[str, bool]] = set()

    def read(self, today: date) -> Iterator[CheckedBatch]:
        """Yield accepted rows (`SCHEMA`) and quarantined ones, in batches. Raises BadInput if the file breaks off."""
        for batch in self.table.batches():
            yield self._check(batch, np.datetime64(today, "D") + 1)
        yield CheckedBatch(SCHEMA.empty_table(), unsplit_rows(self.table.unsplit))

    def release_and_coverage(self) -> tuple[None, list[Coverage]]:
        """Return no release and no coverage: changed rows do not show for which months they were requested."""
        return None, []

    def _check(self, batch: files.Batch, tomorrow: np.datetime64) -> CheckedBatch:
        cells = batch.cells
        deleted = np.asarray(pc.equal(cells["deleted"], "1").fill_null(False).to_numpy(zero_copy_only=False))
        days, deaths, changed = dates(cells["event_date"]), integers(cells["fatalities"]), numbers(cells["timestamp"])
        numbers_and_names = zip(integers(cells["iso"]).tolist(), cells["country"].to_pylist(), strict=True)
        iso3 = np.array([country_of(number, name) for number, name in numbers_and_names], dtype=object)
        unknown_country = np.array([code is None for code in iso3.tolist()], dtype=bool)
        out = Quarantine(batch.rows, batch.record)
        ids = cells["event_id_cnty"]
        out.add(np.asarray(ids.is_null()), "event_id_cnty is empty", ids)
        out.add(~(changed == np.floor(changed)), "timestamp is not a whole number", cells["timestamp"])
        out.add(unknown_country, "iso is no country number that Vigie knows", cells["iso"])
        out.add(~deleted & np.isnat(days), "event_date is not a date", cells["event_date"])
        out.add(days >= tomorrow, "event_date lies in the future", cells["event_date"])
        out.add(~deleted & np.isnan(deaths), "fatalities is not a whole number", cells["fatalities"])
        out.add(deaths < 0, "fatalities is negative", cells["fatalities"])
        repeated = self._repeated(ids, deleted, out.accepted)
        out.add(repeated, "event_id_cnty repeats an earlier row of this file", ids)
        latitude, longitude = numbers(cells["latitude"]), numbers(cells["longitude"])
        in_range = (np.abs(latitude) <= 90) & (np.abs(longitude) <= 180)
        columns: dict[str, Any] = {
            "event_id": ids,
            "iso3": iso3,
            "date": days,
            "time_precision": integers_between(cells["time_precision"], 1, 3),
            **{name: cells[name] for name in _TEXT_COLUMNS},
            "deaths": deaths,
            "latitude": np.where(in_range, latitude, np.nan),
            "longitude": np.where(in_range, longitude, np.nan),
            "geo_precision": integers_between(cells["geo_precision"], 1, 3),
            "timestamp": changed,
            "deleted": deleted,
        }
        accepted = np.flatnonzero(out.accepted)
        arrays = [take_as(columns[item.name], accepted, item.type) for item in SCHEMA]
        return CheckedBatch(pa.Table.from_arrays(arrays, schema=SCHEMA), out.table())

    def _repeated(self, ids: pa.Array, deleted: NDArray[np.bool_], readable: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which readable rows repeat an earlier row: a version, or the deletion, of the same event."""
        repeated = np.zeros(len(ids), dtype=bool)
        texts = ids.to_pylist()
        for i in np.flatnonzero(readable).tolist():
            key = (texts[i], bool(deleted[i]))
            repeated[i] = key in self._seen
            self._seen.add(key)
        return repeated


def current_events(view: View, columns: Sequence[str] = tuple(SCHEMA.names)) -> pa.Table:
    """Return the events as of the view: the newest version of each that ACLED has not deleted; columns of `SCHEMA`."""
    needed = list(dict.fromkeys([*columns, "deleted"]))
    newest = newest_versions(view, needed)
    return newest.filter(pc.invert(newest["deleted"])).select(list(columns))


def newest_versions(view: View, columns: Sequence[str]) -> pa.Table:
    """Return the newest version of each event, deletions included: a later ingest overrides an earlier one."""
    needed = list(dict.fromkeys([*columns, "event_id"]))
    tables = [table for _, table in view.tables("acled", needed)]
    combined = pa.concat_tables([SCHEMA.empty_table().select(needed), *tables]).unify_dictionaries()
    ids = combined["event_id"].to_pandas()
    return combined.filter(pa.array(~ids.duplicated(keep="last").to_numpy())).select(list(columns))


def country_of(number: float | None, name: object) -> str | None:
    """Return ISO alpha-3 of a country by ACLED's number and name; None if Vigie does not know it."""
    iso3 = iso3_by_number().get(-1.0 if number is None else number)
    return iso3 or ("XKX" if name == KOSOVO else None)


@cache
def iso3_by_number() -> dict[float, str]:
    """ISO alpha-3 by ISO 3166-1 number, in which ACLED writes countries."""
    found = {iso3: pycountry.countries.get(alpha_3=iso3) for iso3 in geography.countries()}
    return {float(country.numeric): iso3 for iso3, country in found.items() if country is not None}
