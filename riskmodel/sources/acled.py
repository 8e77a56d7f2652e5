"""ACLED: pulling events and deletions with an account, reading them, and what they say together as of a moment.

ACLED's terms forbid handing its rows on: an ingest of them is private, and nothing here exports anything. A pull takes
what changed since the last one; an event's newest version counts until ACLED deletes it. Raleigh, Kishi & Linke (2023),
doi:10.1057/s41599-023-01559-4.
"""

import contextlib
import csv
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pycountry
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.errors import BadInput, SourceUnavailable
from riskmodel.events.archive import Archive
from riskmodel.events.columns import dates, integers, numbers
from riskmodel.events.coverage import Coverage
from riskmodel.events.manifest import Kind
from riskmodel.events.table import NAMES, CheckedBatch, Quarantine, unsplit_rows
from riskmodel.events.view import View
from riskmodel.ingest import IngestReport, ingest
from riskmodel.sources import files
from riskmodel.sources.client import Client, Rejected, Unauthorised

BASE = "https://acleddata.com"
PAGE = 5000
"""Rows on a page, ACLED's usual number; a server that gives fewer is taken at its word."""
OVERLAP = timedelta(days=7)
"""How far before the last thing seen deletions are asked for again; to know one twice changes nothing."""

SETTLES = timedelta(days=10)
"""How long after a day its events are out: ACLED publishes week by week."""

_AGAIN = "nothing of this pull was taken in; try again later"

_TEXTS = [
    *("disorder_type", "event_type", "sub_event_type", "actor1", "assoc_actor_1", "inter1"),
    *("actor2", "assoc_actor_2", "inter2", "interaction", "civilian_targeting"),
    *("admin1", "admin2", "admin3", "location", "source", "source_scale", "notes", "tags"),
]
_FREE = ("location", "source", "notes", "tags")

SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("iso3", NAMES),
        ("date", pa.date32()),
        ("time_precision", pa.int8()),
        *((name, pa.string() if name in _FREE else NAMES) for name in _TEXTS),
        ("deaths", pa.int32()),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("geo_precision", pa.int8()),
        ("timestamp", pa.int64()),
        ("deleted", pa.bool_()),
    ]
)
"""`timestamp` is when ACLED last changed or deleted the event [s since 1970, UTC]; a deletion has no other columns."""

COLUMNS = [
    *("event_id_cnty", "iso", "event_date", "time_precision", *_TEXTS),
    *("fatalities", "latitude", "longitude", "geo_precision", "timestamp", "deleted"),
]
"""ACLED's names, and `deleted` (1 or empty) after them: the columns of a pulled file."""

_NAMES = {
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
"""ACLED's names of countries where they are not CLDR's."""


class AcledFile:
    """One file of a pull. `variant` says up to which day the account sees single events, where it does not see all."""

    kind: Kind = "acled"
    source = "acled"
    schema = SCHEMA
    simulated = False

    def __init__(self, path: Path, sees_to: date | None = None) -> None:
        self.table, names = files.table(path)
        self.variant = f"single events to {sees_to}" if sees_to else "single events"
        if missing := [name for name in COLUMNS if name not in names]:
            raise BadInput(f"{path}: header: no column {', '.join(missing)}; this is no file of ACLED events")
        self._seen: set[tuple[str, bool]] = set()

    def read(self, today: date) -> Iterator[CheckedBatch]:
        """Rows of `SCHEMA` and those kept out, batch by batch. Raises BadInput if the file breaks off."""
        for batch in self.table.batches():
            yield self._check(batch, np.datetime64(today, "D") + 1)
        yield CheckedBatch(SCHEMA.empty_table(), unsplit_rows(self.table.unsplit))

    def release_and_coverage(self) -> tuple[None, list[Coverage]]:
        """No release, and no coverage: rows that changed do not say what was asked for."""
        return None, []

    def _check(self, batch: files.Batch, tomorrow: np.datetime64) -> CheckedBatch:
        cells = batch.cells
        deleted = np.asarray(pc.equal(cells["deleted"], "1").fill_null(False).to_numpy(zero_copy_only=False))
        days, deaths, changed = dates(cells["event_date"]), integers(cells["fatalities"]), numbers(cells["timestamp"])
        iso3 = np.array([_iso3().get(code) for code in integers(cells["iso"]).tolist()], dtype=object)
        stateless = np.array([code is None for code in iso3.tolist()], dtype=bool)
        out = Quarantine(batch.rows, batch.record)
        ids = cells["event_id_cnty"]
        out.add(np.asarray(ids.is_null()), "event_id_cnty is empty", ids)
        out.add(~(changed == np.floor(changed)), "timestamp is not a whole number", cells["timestamp"])
        out.add(stateless, "iso is no country number that Vigie knows", cells["iso"])
        out.add(~deleted & np.isnat(days), "event_date is not a date", cells["event_date"])
        out.add(days >= tomorrow, "event_date lies in the future", cells["event_date"])
        out.add(~deleted & np.isnan(deaths), "fatalities is not a whole number", cells["fatalities"])
        out.add(deaths < 0, "fatalities is negative", cells["fatalities"])
        out.add(self._repeated(ids, deleted, out.accepted), "event_id_cnty stands in an earlier row of this file", ids)
        latitude, longitude = numbers(cells["latitude"]), numbers(cells["longitude"])
        located = (np.abs(latitude) <= 90) & (np.abs(longitude) <= 180)
        columns: dict[str, Any] = {
            "event_id": ids,
            "iso3": iso3,
            "date": days,
            "time_precision": _precision(cells["time_precision"]),
            **{name: cells[name] for name in _TEXTS},
            "deaths": deaths,
            "latitude": np.where(located, latitude, np.nan),
            "longitude": np.where(located, longitude, np.nan),
            "geo_precision": _precision(cells["geo_precision"]),
            "timestamp": changed,
            "deleted": deleted,
        }
        kept = pa.array(np.flatnonzero(out.accepted))
        arrays = [_column(columns[item.name], kept, item.type) for item in SCHEMA]
        return CheckedBatch(pa.Table.from_arrays(arrays, schema=SCHEMA), out.table())

    def _repeated(self, ids: pa.Array, deleted: NDArray[np.bool_], readable: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which readable rows say again what a row before them said: a version, or the deletion, of the same event."""
        again = np.zeros(len(ids), dtype=bool)
        texts = ids.to_pylist()
        for i in np.flatnonzero(readable).tolist():
            key = (texts[i], bool(deleted[i]))
            again[i] = key in self._seen
            self._seen.add(key)
        return again


def resolved(view: View) -> pa.Table:
    """The events in service as of the view: the newest version of each, and none that ACLED has deleted; `SCHEMA`."""
    newest = _newest(view)
    return newest.filter(pc.invert(newest["deleted"]))


def pull(
    archive: Archive,
    client: Client,
    downloads: Path,
    *,
    base: str = BASE,
    username: str,
    password: str,
    countries: Sequence[str],
    now: datetime,
    say: Callable[[str], None] = lambda text: None,
    page: int = PAGE,
) -> list[IngestReport]:
    """Take in what ACLED added, changed or deleted in some countries (ISO alpha-3) since the last pull, as one ingest.

    The first pull of a country takes its whole history. `page` is how many rows are asked for at a time. Returns no
    receipt where nothing changed. Raises SourceUnavailable if ACLED does not answer as it should; the archive is then
    as it was.
    """
    session = _Session(client, base.rstrip("/"), username, password)
    held = _Held.of(archive)
    path = downloads / "acled" / f"acled-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            pulled = _Pull(session, held, csv.DictWriter(file, COLUMNS, extrasaction="ignore"), page)
            pulled.writer.writeheader()
            for iso3 in countries:
                if (got := pulled.country(iso3)) is not None:
                    say(f"ACLED, {geography.country(iso3).name()}: {got:,} events new or changed")
                else:
                    say(f"ACLED, {geography.country(iso3).name()}: it has no events there")
            if held.versions:
                say(f"ACLED: {pulled.deletions():,} of the events held were deleted")
        if pulled.sees_to:
            say(
                f"ACLED: this account sees single events only up to {pulled.sees_to}, what came after only "
                "aggregated. What it sees is kept and labelled; later months are unknown, not quiet"
            )
        if not pulled.written:
            say("ACLED: nothing has changed")
            return []
        covers = pulled.covers(countries, now.date())
        return [ingest(archive, AcledFile(path, pulled.sees_to), covers=covers, private=True, now=now)]
    finally:
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Version:
    iso3: str
    timestamp: int
    deleted: bool


@dataclass
class _Held:
    """What the archive has of ACLED: the newest version of each event, and by country when its first event was.

    `changed` and `last` are the newest timestamp and the last day of a country's events, `newest` the newest timestamp
    of all: from there on the next pull asks.
    """

    versions: dict[str, _Version]
    first: dict[str, str]
    last: dict[str, str]
    changed: dict[str, int]
    newest: int

    @classmethod
    def of(cls, archive: Archive) -> "_Held":
        view = archive.view()
        newest = _newest(view)
        columns = [newest[name].cast(pa.string()).to_pylist() for name in ("event_id", "iso3", "date")]
        columns += [newest[name].to_pylist() for name in ("timestamp", "deleted")]
        held = cls({}, {}, {}, {}, 0)
        for event, iso3, day, timestamp, deleted in zip(*columns, strict=True):
            held.versions[event] = _Version(iso3, timestamp, deleted)
            if day is not None:
                held.saw(iso3, day)
        # What a withdrawn ingest had brought must come again, so that what was pulled on top of it sets no mark.
        gone = [old for old in archive.ingests() if old.kind == "acled" and old.withdrawn_at]
        for entered, table in view.tables("acled"):
            if any(old.id < entered.id and entered.ingested_at <= str(old.withdrawn_at) for old in gone):
                continue
            held.newest = max(held.newest, pc.max(table["timestamp"]).as_py())
            events = table.filter(pc.invert(table["deleted"])).select(["iso3", "date", "timestamp"])
            for row in events.group_by("iso3").aggregate([("date", "max"), ("timestamp", "max")]).to_pylist():
                iso3 = row["iso3"]
                held.last[iso3] = max(held.last.get(iso3, ""), str(row["date_max"]))
                held.changed[iso3] = max(held.changed.get(iso3, 0), row["timestamp_max"])
        return held

    def saw(self, iso3: str, day: str) -> None:
        """Remember the day (YYYY-MM-DD) of a country's event."""
        self.first[iso3] = min(self.first.get(iso3, day), day)


class _Session:
    """ACLED's API under one account. A token that runs out in mid-pull is renewed, once."""

    def __init__(self, client: Client, base: str, username: str, password: str) -> None:
        self._client, self._base = client, base
        self._credentials = {"username": username, "password": password, "grant_type": "password", "client_id": "acled"}
        self._renewed = False
        self._token = self._log_in(self._credentials)

    def _log_in(self, form: Mapping[str, str]) -> dict[str, Any]:
        try:
            token = self._client.post_form(f"{self._base}/oauth/token", form)
        except (Rejected, Unauthorised):
            raise SourceUnavailable(
                f"ACLED does not accept this user name and password at {self._base}; the name is the e-mail address of "
                "your myACLED account"
            ) from None
        if not isinstance(token, dict) or not isinstance(token.get("access_token"), str):
            raise SourceUnavailable(f"ACLED ({self._base}) answered the log-in without an access token")
        return token

    def _renew(self) -> None:
        refresh = self._token.get("refresh_token")
        if isinstance(refresh, str):
            form = {"refresh_token": refresh, "grant_type": "refresh_token", "client_id": "acled"}
            try:
                self._token = self._log_in(form)
            except SourceUnavailable:
                self._token = self._log_in(self._credentials)
        else:
            self._token = self._log_in(self._credentials)

    def get(self, what: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        """One answer of an endpoint, its envelope checked. Raises SourceUnavailable for anything that is none."""
        url = f"{self._base}/api/{what}/read"
        try:
            answer = self._ask(url, parameters)
        except Unauthorised:
            if self._renewed:
                raise SourceUnavailable(f"ACLED took back its access token twice in one pull ({url})") from None
            self._renewed = True
            self._renew()
            try:
                answer = self._ask(url, parameters)
            except Unauthorised:
                raise SourceUnavailable(
                    f"ACLED lets this account log in and does not let it read {url}: the account may see aggregated "
                    "data only, or its profile or the consent to ACLED's terms is not complete (acleddata.com, myACLED)"
                ) from None
        if not isinstance(answer, dict) or not isinstance(answer.get("data"), list):
            raise SourceUnavailable(f"ACLED ({url}) answered without a list of rows")
        if answer.get("success") is False:
            raise SourceUnavailable(f"ACLED ({url}) refused: {_first_message(answer)}")
        return answer

    def _ask(self, url: str, parameters: Mapping[str, str]) -> Any:
        headers = {"Authorization": f"Bearer {self._token['access_token']}"}
        return self._client.get_json(url, params={"_format": "json", **parameters}, headers=headers)


@dataclass
class _Pull:
    """A pull under way: what is new or changed goes to `writer`; `sees_to` is the last day of single events, if any."""

    session: _Session
    held: _Held
    writer: "csv.DictWriter[str]"
    page: int
    sees_to: date | None = None
    written: int = 0
    _fetched: dict[str, _Version] = field(default_factory=dict)

    def country(self, iso3: str) -> int | None:
        """Write what changed in a country; how many events that is, or None if ACLED knows of none there."""
        filters = {"country": _name(iso3), "country_where": "="}
        if (changed := self.held.changed.get(iso3)) is None:
            return self._events(iso3, filters) or (0 if iso3 in self.held.first else None)
        got = self._events(iso3, {**filters, "timestamp": str(changed), "timestamp_where": ">="})
        if self.sees_to is not None and (last := self.held.last[iso3]) <= str(self.sees_to):
            # Events that came out of the embargo since the last pull have old timestamps.
            window = {"event_date": f"{last}|{self.sees_to}", "event_date_where": "BETWEEN"}
            got += self._events(iso3, {**filters, **window})
        return got

    def _events(self, iso3: str, filters: Mapping[str, str]) -> int:
        before = self.written
        for row in self._rows("acled", filters):
            event, stamp = str(row["event_id_cnty"]), _whole(row.get("timestamp"))
            if _iso3().get(_whole(row.get("iso"))) not in (iso3, None):
                continue
            if stamp is not None:
                had = self._fetched.get(event) or self.held.versions.get(event)
                if had and (stamp <= had.timestamp if had.deleted else stamp == had.timestamp):
                    continue
                self._fetched[event] = _Version(iso3, stamp, False)
            with contextlib.suppress(ValueError):
                self.held.saw(iso3, date.fromisoformat(str(row.get("event_date"))[:10]).isoformat())
            self.writer.writerow({**row, "deleted": ""})
            self.written += 1
        return self.written - before

    def deletions(self) -> int:
        """Write which of the events held ACLED has deleted since; how many that is."""
        since = max(0, self.held.newest - int(OVERLAP.total_seconds()))
        before, known = self.written, {**self.held.versions, **self._fetched}
        for row in self._rows("deleted", {"deleted_timestamp": str(since), "deleted_timestamp_where": ">="}):
            event, stamp = str(row["event_id_cnty"]), _whole(row.get("deleted_timestamp"))
            had = known.get(event)
            if had is None or had.deleted or stamp is None or stamp < had.timestamp:
                continue
            known[event] = _Version(had.iso3, stamp, True)
            self.writer.writerow({"event_id_cnty": event, "iso": _iso(had.iso3), "timestamp": stamp, "deleted": "1"})
            self.written += 1
        return self.written - before

    def covers(self, countries: Sequence[str], today: date) -> list[Coverage]:
        """What the archive knows of the countries when this pull is in: from the first event to the last full month."""
        last = min(self.sees_to or today, today - SETTLES)
        end = np.datetime64(last + timedelta(days=1), "M") - 1
        firsts = {iso3: np.datetime64(self.held.first[iso3], "M") for iso3 in countries if iso3 in self.held.first}
        return [Coverage(iso3, first, end) for iso3, first in firsts.items() if first <= end]

    def _rows(self, what: str, filters: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """All rows of a query, page after page until an empty one, their number held against what ACLED counts."""
        subject = filters.get("country", "deletions")
        seen: set[tuple[str, str]] = set()
        given, size, total = 0, 0, None
        for page in itertools.count(1):
            answer = self._page(what, filters, page)
            rows, where = answer["data"], f"ACLED ({subject}, page {page})"
            count, counted = _whole(answer.get("count")), _whole(answer.get("total_count"))
            if count is not None and count != len(rows):
                raise SourceUnavailable(f"{where} says it has {count:,} rows and has {len(rows):,}; {_AGAIN}")
            if None not in (counted, total) and counted != total:
                raise SourceUnavailable(f"{where} counts {counted:,} rows in all, the page before {total:,}; {_AGAIN}")
            total = counted if total is None else total
            if not rows:
                break
            if given % (size or 1) or (size and len(rows) > size):
                raise SourceUnavailable(f"{where}: not all pages have {size:,} rows: some were lost; {_AGAIN}")
            said = {(_id(row, where), str(row.get("deleted_timestamp"))) for row in rows}
            if (what == "acled" and len(said) < len(rows)) or said & seen == said or (what == "acled" and said & seen):
                raise SourceUnavailable(f"{where}: rows that came before came again: a page was repeated; {_AGAIN}")
            size, given = size or len(rows), given + len(rows)
            seen |= said
            yield from rows
        if total is not None and total != given:
            raise SourceUnavailable(
                f"ACLED ({subject}) counts {total:,} rows, gave {given:,}: some were lost; {_AGAIN}"
            )
        if total is None and given and not given % size and self._page(what, filters, page + 1)["data"]:
            raise SourceUnavailable(f"ACLED ({subject}): page {page} is empty, the next is not: one was lost; {_AGAIN}")

    def _page(self, what: str, filters: Mapping[str, str], page: int) -> dict[str, Any]:
        answer = self.session.get(what, {**filters, "limit": str(self.page), "page": str(page)})
        restrictions = answer.get("data_query_restrictions")
        recency = restrictions.get("date_recency") if isinstance(restrictions, dict) else None
        limit = recency.get("date") if isinstance(recency, dict) else None
        if isinstance(limit, str):
            try:
                self.sees_to = date.fromisoformat(limit[:10])
            except ValueError:
                raise SourceUnavailable(f"ACLED says that this account sees events up to {limit!r}: no date") from None
        return answer


def _newest(view: View) -> pa.Table:
    """The last thing said of each event, deletions included: a later ingest speaks over an earlier one."""
    tables = [table for _, table in view.tables("acled")]
    together = pa.concat_tables([SCHEMA.empty_table(), *tables]).unify_dictionaries()
    ids = together["event_id"].to_pandas()
    return together.filter(pa.array(~ids.duplicated(keep="last").to_numpy()))


@cache
def _iso3() -> dict[float | None, str]:
    """ISO alpha-3 by ISO number."""
    known = {iso3: pycountry.countries.get(alpha_3=iso3) for iso3 in geography.countries()}
    return {float(country.numeric): iso3 for iso3, country in known.items() if country is not None}


def _iso(iso3: str) -> int:
    return next(int(code) for code, name in _iso3().items() if code is not None and name == iso3)


def _name(iso3: str) -> str:
    return _NAMES.get(iso3) or geography.country(iso3).name()


def _whole(value: object) -> int | None:
    """A whole number that came as a number or as text; None for anything else."""
    try:
        return int(str(value))
    except ValueError:
        return None


def _id(row: object, where: str) -> str:
    if not isinstance(row, dict) or not row.get("event_id_cnty"):
        raise SourceUnavailable(f"{where}: a row has no event_id_cnty; {_AGAIN}")
    return str(row["event_id_cnty"])


def _first_message(answer: Mapping[str, Any]) -> str:
    messages = answer.get("messages") or answer.get("error") or ["it did not say why"]
    return str(messages[0] if isinstance(messages, list) else messages)[:200]


def _precision(text: pa.Array) -> NDArray[np.float64]:
    value = integers(text)
    return np.where((value >= 1) & (value <= 3), value, np.nan)


def _column(column: Any, kept: pa.Array, kind: pa.DataType) -> pa.Array:
    given = pa.array(column, from_pandas=True) if isinstance(column, np.ndarray) else column
    taken = given.take(kept)
    return taken.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else taken.cast(kind)
