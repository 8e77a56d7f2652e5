"""GDELT: how much the world's news wrote of each country on each day, counted from its event files. Never deaths.

Each day is what GDELT added on that day (`DATEADDED`, UTC), so that it is final once it is over: from the daily files
of edition 1, and for the newest days from the 15-minute files of edition 2, until the daily one is out. The two do not
count alike: `edition` says which one it was. Leetaru & Schrodt (2013), GDELT: Global data on events, location and tone,
1979-2012. Place is `ActionGeo_CountryCode`, a FIPS 10-4 code; an event without a place is not counted.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from numpy.typing import NDArray

from riskmodel import geography
from riskmodel.errors import BadInput, SourceUnavailable
from riskmodel.events.archive import Archive
from riskmodel.events.columns import dates, integers, numbers
from riskmodel.events.coverage import Coverage
from riskmodel.events.manifest import Kind
from riskmodel.events.table import NAMES, CheckedBatch, Quarantine, unsplit_rows
from riskmodel.events.view import View
from riskmodel.home import atomic_write
from riskmodel.ingest import IngestReport, ingest
from riskmodel.sources import files
from riskmodel.sources.client import Client, NotFound

BASE = "https://data.gdeltproject.org"
FIRST_DAY = date(2013, 4, 1)
"""The first daily file; what is older stands in files by month and year, by day of event, and cannot be compared."""
PARTS = 96
"""The 15-minute files of a whole day."""
NEWEST = 7
"""How many days at most are counted from 15-minute files [days]: the daily file is out the next morning."""
UNREADABLE = 0.01
"""The share of rows that cannot be read from which on a file is no file of GDELT's."""

QUAD_CLASSES = ("verbal_cooperation", "material_cooperation", "verbal_conflict", "material_conflict")
PROTEST = "14"
"""CAMEO's root code of protests."""

SCHEMA = pa.schema(
    [
        ("iso3", NAMES),
        ("date", pa.date32()),
        ("edition", NAMES),
        ("parts", pa.int16()),
        *((name, pa.int32()) for name in (*QUAD_CLASSES, "protests")),
        ("mentions", pa.int64()),
        ("tone", pa.float64()),
    ]
)
"""Events of each class, and those of them that are protests [events]; `mentions` of them all [mentions]; their mean
`tone`, weighted by mentions, from -100 to 100, null without any. A country that nobody wrote of has a row of zeros;
a day that was not counted has none. `parts` of 96 have been counted; a daily file is all."""

_BLOCK = 8 << 20
_LISTED = re.compile(r"(\d{8})\.export\.CSV\.zip")
_PART = re.compile(r"/(\d{14})\.export\.CSV\.zip$")
_COUNTS = (*QUAD_CLASSES, "protests", "mentions", "toned", "tone_sum")


@dataclass(frozen=True)
class Edition:
    """A layout: how many fields a row has, and at which of them (from 0) stands what is counted."""

    name: str
    fields: int
    root: int
    quad: int
    mentions: int
    tone: int
    country: int


DAILY = Edition("daily", fields=58, root=28, quad=29, mentions=31, tone=34, country=51)
QUARTER_HOURLY = Edition("15-minute", fields=61, root=28, quad=29, mentions=31, tone=34, country=53)


@dataclass(frozen=True)
class _Listed:
    """A file that GDELT lists, and what it says of it."""

    name: str
    path: str
    md5: str
    size: int | None = None


def counted(path: Path, edition: Edition) -> tuple[pd.DataFrame, int, int]:
    """Count one file (a zip of one table) by country: sums by ISO alpha-3; rows in all, and rows that cannot be read.

    Out of core: memory does not grow with the file. Raises BadInput if it is broken or cut off.
    """
    fips = geography.iso3_by_fips()
    sums = np.zeros((len(_COUNTS), len(fips)))
    rows = unreadable = 0

    def set_aside(row: pacsv.InvalidRow) -> str:
        nonlocal unreadable
        unreadable += 1
        return "skip"

    wanted = {field.name: str(getattr(edition, field.name)) for field in fields(edition)[2:]}
    with files.opened(path) as content:
        try:
            reader = pacsv.open_csv(
                io.BufferedReader(content, _BLOCK),
                read_options=pacsv.ReadOptions(
                    column_names=list(map(str, range(edition.fields))), block_size=_BLOCK, use_threads=False
                ),
                parse_options=pacsv.ParseOptions(
                    delimiter="\t", quote_char=False, double_quote=False, invalid_row_handler=set_aside
                ),
                convert_options=pacsv.ConvertOptions(
                    include_columns=list(wanted.values()),
                    column_types=dict.fromkeys(wanted.values(), pa.string()),
                    check_utf8=False,
                ),
            )
            with reader:
                for batch in reader:
                    rows += batch.num_rows
                    unreadable += _add(sums, {name: batch[at] for name, at in wanted.items()}, list(fips))
        except pa.ArrowInvalid as broken:
            if "Empty CSV" not in str(broken):
                raise BadInput(f"{path}: cannot be split: {broken}") from broken
    return pd.DataFrame(sums.T, index=pd.Index(fips.values(), name="iso3"), columns=list(_COUNTS)), rows, unreadable


def _add(sums: NDArray[np.float64], cells: Mapping[str, pa.Array], fips: Sequence[str]) -> int:
    """Add rows to the sums (count, country); how many could not be read."""
    country, quad = _place(cells["country"], fips), _place(cells["quad"], ["1", "2", "3", "4"])
    mentions, tone = numbers(cells["mentions"]), numbers(cells["tone"])
    readable = (quad >= 0) & (mentions >= 0)
    use = np.flatnonzero(readable & (country >= 0))
    country, quad, mentions, tone = country[use], quad[use], mentions[use], tone[use]
    protests = np.asarray(pc.equal(cells["root"], PROTEST).fill_null(False).to_numpy(zero_copy_only=False))[use]
    toned = np.where(np.isnan(tone), 0, mentions)
    size = len(fips)
    sums[:4] += np.bincount(quad * size + country, minlength=4 * size).reshape(4, size)
    for i, weights in enumerate((protests, mentions, toned, toned * np.nan_to_num(tone)), start=4):
        sums[i] += np.bincount(country, weights=weights, minlength=size)
    return int(np.count_nonzero(~readable))


def _place(text: pa.Array, order: Sequence[str]) -> NDArray[np.int64]:
    found = pc.index_in(text, value_set=pa.array(order, pa.string()))
    return np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False)).astype(np.int64)


class GdeltFile:
    """One file of daily counts, as a pull writes it: the columns of `SCHEMA` as CSV."""

    kind: Kind = "gdelt"
    source = "gdelt"
    variant = "daily counts"
    schema = SCHEMA
    simulated = False

    def __init__(self, path: Path) -> None:
        self.table, names = files.table(path)
        if missing := [name for name in SCHEMA.names if name not in names]:
            raise BadInput(f"{path}: header: no column {', '.join(missing)}; this is no file of daily counts")

    def read(self, today: date) -> Iterator[CheckedBatch]:
        """The rows that can be read and those kept out, all at once."""
        batch = files.together(list(self.table.batches()))
        if not batch.rows.size:
            yield CheckedBatch(SCHEMA.empty_table(), unsplit_rows(self.table.unsplit))
            return
        cells, out = batch.cells, Quarantine(batch.rows, batch.record)
        days, parts, tone = dates(cells["date"]), integers(cells["parts"]), numbers(cells["tone"])
        known = np.isin(cells["iso3"].to_numpy(zero_copy_only=False), list(geography.countries()))
        out.add(~known, "iso3 is no country code that Vigie knows", cells["iso3"])
        out.add(np.isnat(days), "date is not a date", cells["date"])
        out.add(days > np.datetime64(today, "D"), "date lies in the future", cells["date"])
        named = np.isin(cells["edition"].to_numpy(zero_copy_only=False), [DAILY.name, QUARTER_HOURLY.name])
        out.add(~named, "edition is neither daily nor 15-minute", cells["edition"])
        out.add(~((parts >= 1) & (parts <= PARTS)), f"parts is not between 1 and {PARTS}", cells["parts"])
        counts = {name: integers(cells[name]) for name in (*QUAD_CLASSES, "protests", "mentions")}
        for name, count in counts.items():
            out.add(~(count >= 0), f"{name} is no count", cells[name])
        out.add(~(np.isnan(tone) | (np.abs(tone) <= 100)), "tone is not between -100 and 100", cells["tone"])
        again = np.zeros(batch.rows.size, dtype=bool)
        said = pd.DataFrame({"iso3": cells["iso3"].to_pandas(), "date": days.astype("datetime64[s]")})
        again[out.accepted] = said[out.accepted].duplicated().to_numpy()
        out.add(again, "country and date stand in an earlier row of this file", cells["date"])
        kept = np.flatnonzero(out.accepted)
        columns = {"date": days, "parts": parts, "tone": tone, **counts}
        arrays = [
            cells[item.name].take(pa.array(kept)).dictionary_encode().cast(NAMES)
            if item.name in ("iso3", "edition")
            else pa.array(columns[item.name][kept], from_pandas=True).cast(item.type)
            for item in SCHEMA
        ]
        good = pa.Table.from_arrays(arrays, schema=SCHEMA)
        yield CheckedBatch(good, pa.concat_tables([out.table(), unsplit_rows(self.table.unsplit)]))

    def release_and_coverage(self) -> tuple[None, list[Coverage]]:
        """No release, and no coverage of months: each row speaks for its own day."""
        return None, []


def resolved(view: View) -> pa.Table:
    """The counts in service, one row a country and day (`SCHEMA`): the most complete, and of those the newest."""
    tables = [table for _, table in view.tables("gdelt")]
    together = pa.concat_tables([SCHEMA.empty_table(), *tables]).unify_dictionaries()
    keys = together.select(["iso3", "date", "parts"]).to_pandas()
    best = keys.sort_values("parts", kind="stable").drop_duplicates(["iso3", "date"], keep="last").index
    return together.take(pa.array(np.sort(best.to_numpy())))


def pull(
    archive: Archive,
    client: Client,
    downloads: Path,
    *,
    base: str = BASE,
    since: date,
    now: datetime,
    say: Callable[[str], None] = lambda text: None,
) -> list[IngestReport]:
    """Take in the daily counts of all countries from a day on that the archive lacks, as one ingest.

    Each file is held against the md5 that GDELT publishes, counted and thrown away; the counts stay in `downloads`
    until they are in the archive, so that an interrupted pull goes on where it stopped. Returns no receipt where there
    is nothing new. Raises SourceUnavailable if GDELT does not answer as it should; the archive is then as it was.
    """
    pulled = _Pull(client, base.rstrip("/"), downloads / "gdelt", say)
    today = now.astimezone(UTC).date()
    held = _held(archive.view())
    daily = pulled.daily_files()
    days: dict[date, pd.DataFrame] = {}
    for day in sorted(day for day in daily if max(since, FIRST_DAY) <= day < today):
        if held.get(day) != (DAILY.name, PARTS) and (sums := pulled.sums(daily[day], DAILY)) is not None:
            days[day] = _rows(day, DAILY, [sums])
    missing = [day for day in _days(max(since, FIRST_DAY), max(daily)) if day not in daily]
    if missing:
        say(f"GDELT has no file for {len(missing)} days (unknown, not quiet), the first {missing[0]}")
    newest = [day for day in _days(max(since, max(daily) + timedelta(days=1)), today) if (today - day).days < NEWEST]
    for day, parts in pulled.quarter_hours(newest).items():
        if parts and len(parts) > held.get(day, ("", 0))[1]:
            days[day] = _rows(day, QUARTER_HOURLY, parts)
    if not days:
        say("GDELT: there is nothing new")
        return []
    path = downloads / "gdelt" / f"gdelt-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.csv"
    try:
        pd.concat(days.values()).to_csv(path, index=False)
        receipt = ingest(archive, GdeltFile(path), now=now)
    finally:
        path.unlink(missing_ok=True)
    pulled.forget(before=min(newest, default=today))
    return [receipt]


class _Pull:
    """The files of one pull: what has been counted stays in a folder until it is forgotten."""

    def __init__(self, client: Client, base: str, folder: Path, say: Callable[[str], None]) -> None:
        self._client, self._base, self._folder, self._say = client, base, folder, say

    def daily_files(self) -> dict[date, _Listed]:
        """The daily files that GDELT lists, by day."""
        listed: dict[date, _Listed] = {}
        for line in self._list("events/md5sums"):
            md5, _, name = line.partition(" ")
            if found := _LISTED.fullmatch(name.strip()):
                day = _day(found[1])
                listed[day] = _Listed(found[1], f"events/{name.strip()}", _md5(md5, line))
        if not listed:
            raise SourceUnavailable(f"{self._base}/events/md5sums lists no daily file")
        return listed

    def quarter_hours(self, days: Sequence[date]) -> dict[date, list[pd.DataFrame]]:
        """The counts of all 15-minute files of some days that there are so far."""
        if not days:
            return {}
        last = self._parts("gdeltv2/lastupdate.txt")
        if not last:
            raise SourceUnavailable(f"{self._base}/gdeltv2/lastupdate.txt lists no file of events")
        wanted = [name for day in days for name in _names(day) if name <= max(last)]
        missing = [name for name in wanted if not self._counts(name).is_file()]
        # The list of all files is long: it is fetched only for what the short one does not have.
        listed = last if set(missing) <= set(last) else self._parts("gdeltv2/masterfilelist.txt") | last
        found: dict[date, list[pd.DataFrame]] = {day: [] for day in days}
        for name in wanted:
            if self._counts(name).is_file():
                found[_day(name[:8])].append(pd.read_parquet(self._counts(name)))
            elif name in listed and (sums := self.sums(listed[name], QUARTER_HOURLY)) is not None:
                found[_day(name[:8])].append(sums)
        return found

    def sums(self, listed: _Listed, edition: Edition) -> pd.DataFrame | None:
        """The counts of one file, fetched and verified if need be; None if GDELT lists it and has it no more."""
        counts = self._counts(listed.name)
        if counts.is_file():
            return pd.read_parquet(counts)
        target, url = self._folder / f"{listed.name}.export.CSV.zip", f"{self._base}/{listed.path}"
        try:
            self._client.download(url, target, limit=_LARGEST, md5=listed.md5, size=listed.size)
        except NotFound:
            self._say(f"GDELT lists {listed.path} and does not have it: that time stays unknown")
            return None
        try:
            sums, rows, unreadable = counted(target, edition)
        except BadInput as broken:
            why = str(broken).removeprefix(f"{target}: ")
            raise SourceUnavailable(f"{url} is as GDELT lists it and cannot be read: {why}") from broken
        finally:
            for path in self._folder.glob(f"{target.name}*"):
                path.unlink()
        if unreadable > UNREADABLE * (rows + unreadable):
            raise SourceUnavailable(
                f"{url}: {unreadable:,} of {rows:,} rows cannot be read as {edition.fields} fields of GDELT's events"
            )
        if unreadable:
            self._say(f"GDELT, {listed.path}: {unreadable:,} of {rows:,} rows cannot be read and are not counted")
        with atomic_write(counts) as part:
            sums.to_parquet(part)
        return sums

    def forget(self, before: date) -> None:
        """Drop the counts of all days that are in the archive for good."""
        for path in self._folder.glob("counts/*.parquet"):
            if len(path.stem) == len("YYYYMMDD") or _day(path.stem[:8]) < before:
                path.unlink()

    def _parts(self, path: str) -> dict[str, _Listed]:
        """The 15-minute event files in a list, by name (YYYYMMDDHHMMSS)."""
        listed = {}
        for line in self._list(path):
            # An address in a list is never followed: it only names a file of the host that was asked.
            if found := _PART.search(line):
                size, _, rest = line.partition(" ")
                if not size.isdecimal():
                    raise SourceUnavailable(f"{self._base}/{path}: a line cannot be read: {line[:100]!r}")
                name = f"gdeltv2/{found[1]}.export.CSV.zip"
                listed[found[1]] = _Listed(found[1], name, _md5(rest.partition(" ")[0], line), int(size))
        return listed

    def _list(self, path: str) -> Iterator[str]:
        target = self._folder / path.rpartition("/")[2]
        self._client.download(f"{self._base}/{path}", target, limit=_LARGEST)
        with target.open(encoding="ascii", errors="replace") as lines:
            for line in lines:
                yield line.strip()

    def _counts(self, name: str) -> Path:
        return self._folder / "counts" / f"{name}.parquet"


_LARGEST = 1 << 30


def _held(view: View) -> dict[date, tuple[str, int]]:
    """The days in the archive: edition and parts."""
    table = resolved(view).select(["date", "edition", "parts"]).to_pandas().drop_duplicates("date")
    return {row.date: (str(row.edition), int(row.parts)) for row in table.itertuples()}


def _rows(day: date, edition: Edition, parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One day's counts in the columns of `SCHEMA`."""
    sums = pd.concat(parts).groupby(level="iso3").sum()
    tone = (sums["tone_sum"] / sums["toned"].where(sums["toned"] > 0)).clip(-100, 100)
    whole_numbers = sums[[*QUAD_CLASSES, "protests", "mentions"]].astype(np.int64)
    counted_parts = PARTS if edition is DAILY else len(parts)
    frame = whole_numbers.assign(date=day.isoformat(), edition=edition.name, parts=counted_parts, tone=tone)
    return frame.reset_index()


def _names(day: date) -> list[str]:
    """The names of a day's 15-minute files."""
    return [f"{day:%Y%m%d}{i // 4:02d}{i % 4 * 15:02d}00" for i in range(PARTS)]


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=i) for i in range((last - first).days + 1)]


def _day(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise SourceUnavailable(f"GDELT lists a file of the day {text}, which there is not") from None


def _md5(text: str, line: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{32}", text):
        raise SourceUnavailable(f"GDELT's list of files has a line without an md5: {line[:100]!r}")
    return text
