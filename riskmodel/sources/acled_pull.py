"""Pull from ACLED: what it added, changed or deleted since the last pull, as one ingest."""

import contextlib
import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from riskmodel import geography
from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.ingest import IngestReport, ingest
from riskmodel.sources.acled import FILE_COLUMNS, AcledFile, country_of, iso3_by_number, newest_versions
from riskmodel.sources.acled_api import AcledApi, as_int
from riskmodel.sources.client import Client

SITE = "https://acleddata.com"

PAGE_ROWS = 5000
"""Rows requested per page, ACLED's usual number. A server that sends fewer is believed."""

DELETION_OVERLAP = timedelta(days=7)
"""How far before the newest known change deletions are requested again. Reading one twice changes nothing."""

PUBLICATION_DELAY = timedelta(days=10)
"""How long after a day its events are published: ACLED publishes weekly."""

_COUNTRY_NAMES = {
    "ATG": "Antigua and Barbuda",
    "BIH": "Bosnia and Herzegovina",
    "CIV": "Ivory Coast",
    "COD": "Democratic Republic of Congo",
    "COG": "Republic of Congo",
    "CZE": "Czech Republic",
    "KNA": "Saint Kitts and Nevis",
    "LCA": "Saint Lucia",
    "MMR": "Myanmar",
    "STP": "Sao Tome and Principe",
    "SWZ": "eSwatini",
    "TLS": "East Timor",
    "TTO": "Trinidad and Tobago",
    "TUR": "Turkey",
    "VCT": "Saint Vincent and the Grenadines",
}
"""ACLED's names of countries that differ from CLDR's."""


def pull(
    archive: Archive,
    client: Client,
    downloads: Path,
    *,
    base: str = SITE,
    username: str,
    password: str,
    countries: Sequence[str],
    now: datetime,
    say: Callable[[str], None] = lambda text: None,
    page_rows: int = PAGE_ROWS,
) -> list[IngestReport]:
    """Take in what ACLED added, changed or deleted in some countries (ISO alpha-3) since the last pull.

    The first pull of a country takes its complete history. `page_rows` is how many rows are requested at a time.
    `say` prints a line for the operator. Returns no report if nothing changed. Raises SourceUnavailable if ACLED does
    not answer as it should; the archive is then unchanged.
    """
    api = AcledApi(client, base.rstrip("/"), username, password, page_rows)
    known = _KnownEvents.of(archive)
    path = downloads / "acled" / f"acled-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            changes = _ChangeWriter(api, known, csv.DictWriter(file, FILE_COLUMNS, extrasaction="ignore"))
            changes.writer.writeheader()
            for iso3 in countries:
                name = geography.country(iso3).name()
                if (count := changes.write_country(iso3)) is not None:
                    say(f"ACLED, {name}: {count:,} events new or changed")
                else:
                    say(f"ACLED, {name}: it has no events there")
            if known.versions:
                say(f"ACLED: {changes.write_deletions():,} of the known events were deleted")
        if api.last_visible_day:
            say(
                f"ACLED: this account sees single events only up to {api.last_visible_day}, and later ones only "
                "aggregated. What it sees is taken in and labelled; later months are unknown, not quiet"
            )
        if not changes.written:
            say("ACLED: nothing has changed")
            return []
        covers = changes.coverage(countries, now.date())
        return [
            ingest(
                archive, AcledFile(path, api.last_visible_day), covers=covers, private=True, accept_loss=True, now=now
            )
        ]
    finally:
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Version:
    """The newest known version of an event; `timestamp` [s since 1970, UTC]."""

    iso3: str
    timestamp: int
    deleted: bool


@dataclass
class _KnownEvents:
    """What the archive has of ACLED.

    `versions` has the newest version of each event by id. By country: `first` is the day of its first event, `last`
    the day of its last one, `changed` the newest timestamp of its events. `newest` is the newest timestamp of all.
    The next pull asks for changes from there on.
    """

    versions: dict[str, _Version]
    first: dict[str, str]
    last: dict[str, str]
    changed: dict[str, int]
    newest: int

    @classmethod
    def of(cls, archive: Archive) -> "_KnownEvents":
        view = archive.view()
        columns = ["event_id", "iso3", "date", "timestamp", "deleted"]
        newest = newest_versions(view, columns)
        texts = [newest[name].cast(pa.string()).to_pylist() for name in columns[:3]]
        known = cls({}, {}, {}, {}, 0)
        for event, iso3, day, timestamp, deleted in zip(
            *texts, newest["timestamp"].to_pylist(), newest["deleted"].to_pylist(), strict=True
        ):
            known.versions[event] = _Version(iso3, timestamp, deleted)
            if day is not None:
                known.add_day(iso3, day)
        # The changes that a withdrawn ingest brought have to come again. So a pull made on top of one does not move
        # the timestamps from which the next pull asks.
        withdrawn = [old for old in archive.ingests() if old.kind == "acled" and old.withdrawn_at]
        for entered, table in view.tables("acled", columns):
            if any(old.id < entered.id and entered.ingested_at <= str(old.withdrawn_at) for old in withdrawn):
                continue
            known.newest = max(known.newest, pc.max(table["timestamp"]).as_py())
            events = table.filter(pc.invert(table["deleted"])).select(["iso3", "date", "timestamp"])
            for row in events.group_by("iso3").aggregate([("date", "max"), ("timestamp", "max")]).to_pylist():
                iso3 = row["iso3"]
                known.last[iso3] = max(known.last.get(iso3, ""), str(row["date_max"]))
                known.changed[iso3] = max(known.changed.get(iso3, 0), row["timestamp_max"])
        return known

    def add_day(self, iso3: str, day: str) -> None:
        """Note the day (YYYY-MM-DD) of a country's event."""
        self.first[iso3] = min(self.first.get(iso3, day), day)


class _ChangeWriter:
    """Writes what is new, changed or deleted to the file of a pull; `written` counts its rows."""

    def __init__(self, api: AcledApi, known: _KnownEvents, writer: "csv.DictWriter[str]") -> None:
        self.writer, self.written = writer, 0
        self._api, self._known = api, known
        self._fetched: dict[str, _Version] = {}

    def write_country(self, iso3: str) -> int | None:
        """Write what changed in a country; return how many events, or None if ACLED has no events there."""
        filters = {"country": _country_name(iso3), "country_where": "="}
        if (changed := self._known.changed.get(iso3)) is None:
            return self._write_events(iso3, filters) or (0 if iso3 in self._known.first else None)
        count = self._write_events(iso3, {**filters, "timestamp": str(changed), "timestamp_where": ">="})
        visible, last = self._api.last_visible_day, self._known.last[iso3]
        if visible is not None and last <= str(visible):
            # Events that became visible to this account since the last pull have old timestamps.
            days = {"event_date": f"{last}|{visible}", "event_date_where": "BETWEEN"}
            count += self._write_events(iso3, {**filters, **days})
        return count

    def _write_events(self, iso3: str, filters: Mapping[str, str]) -> int:
        before = self.written
        for row in self._api.rows("acled", filters):
            event, timestamp = str(row["event_id_cnty"]), as_int(row.get("timestamp"))
            # ACLED's filter matches parts of names (Niger, Nigeria). Rows without a country are left to the checks.
            if country_of(as_int(row.get("iso")), row.get("country")) not in (iso3, None):
                continue
            if timestamp is not None:
                old = self._fetched.get(event) or self._known.versions.get(event)
                if old and (timestamp <= old.timestamp if old.deleted else timestamp == old.timestamp):
                    continue
                self._fetched[event] = _Version(iso3, timestamp, False)
            with contextlib.suppress(ValueError):
                self._known.add_day(iso3, date.fromisoformat(str(row.get("event_date"))[:10]).isoformat())
            self.writer.writerow({**row, "deleted": ""})
            self.written += 1
        return self.written - before

    def write_deletions(self) -> int:
        """Write which of the known events ACLED has deleted since the last pull; return how many."""
        since = max(0, self._known.newest - int(DELETION_OVERLAP.total_seconds()))
        before, versions = self.written, {**self._known.versions, **self._fetched}
        filters = {"deleted_timestamp": str(since), "deleted_timestamp_where": ">="}
        for row in self._api.rows("deleted", filters):
            event, timestamp = str(row["event_id_cnty"]), as_int(row.get("deleted_timestamp"))
            old = versions.get(event)
            if old is None or old.deleted or timestamp is None or timestamp < old.timestamp:
                continue
            versions[event] = _Version(old.iso3, timestamp, True)
            country = {"iso": _number(old.iso3), "country": _country_name(old.iso3)}
            deletion = {"event_id_cnty": event, **country, "timestamp": timestamp, "deleted": "1"}
            self.writer.writerow(deletion)
            self.written += 1
        return self.written - before

    def coverage(self, countries: Sequence[str], today: date) -> list[Coverage]:
        """Return what the archive covers of the countries after this pull: first event to the last complete month."""
        last = min(self._api.last_visible_day or today, today - PUBLICATION_DELAY)
        end = np.datetime64(last + timedelta(days=1), "M") - 1
        first = self._known.first
        starts = {iso3: np.datetime64(first[iso3], "M") for iso3 in countries if iso3 in first}
        return [Coverage(iso3, start, end) for iso3, start in starts.items() if start <= end]


def _country_name(iso3: str) -> str:
    return _COUNTRY_NAMES.get(iso3) or geography.country(iso3).name()


def _number(iso3: str) -> int | None:
    return next((int(number) for number, code in iso3_by_number().items() if code == iso3), None)
