"""Pull from GDELT: the daily counts that the archive lacks, as one ingest.

Each file is compared with the md5 that GDELT publishes, counted and deleted. The counts stay in the downloads folder
until they are in the archive, so that an interrupted pull continues where it stopped.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from riskmodel.errors import BadInput, SourceUnavailable
from riskmodel.events.archive import Archive
from riskmodel.events.view import View
from riskmodel.home import atomic_write
from riskmodel.ingest import IngestReport, ingest
from riskmodel.sources.client import Client
from riskmodel.sources.download import download
from riskmodel.sources.gdelt import (
    DAILY,
    PARTS,
    QUAD_CLASSES,
    QUARTER_HOURLY,
    Edition,
    GdeltFile,
    count_file,
    current_counts,
)
from riskmodel.sources.responses import NotFound

SITE = "https://data.gdeltproject.org"

FIRST_DAY = date(2013, 4, 1)
"""The day of the first daily file. Older files are by month or year, by day of event, and cannot be compared."""

NEWEST_DAYS = 7
"""How many days at most are counted from 15-minute files [days]: a daily file is out the next morning."""

MOST_UNREADABLE = 0.01
"""The largest share of rows that cannot be read. A file with more is no file of GDELT's."""

LARGEST = 1 << 30
"""The largest file that is fetched [bytes]."""

_DAILY_NAME = re.compile(r"(\d{8})\.export\.CSV\.zip")
_MD5 = re.compile(r"[0-9a-fA-F]{32}")
_PART_NAME = re.compile(r"/(\d{14})\.export\.CSV\.zip$")


@dataclass(frozen=True)
class _ListedFile:
    """A file that GDELT lists, with the md5 and size [bytes] that it lists. Old lines lack them."""

    name: str
    path: str
    md5: str
    size: int | None = None

    def check(self) -> None:
        """Raise SourceUnavailable if there is no md5. Only files that are fetched are judged."""
        if not _MD5.fullmatch(self.md5):
            raise SourceUnavailable(f"GDELT lists {self.path} without an md5 ({self.md5[:40]!r})")


def pull(
    archive: Archive,
    client: Client,
    downloads: Path,
    *,
    base: str = SITE,
    since: date,
    now: datetime,
    say: Callable[[str], None] = lambda text: None,
) -> list[IngestReport]:
    """Take in the daily counts of all countries, from a day on, that the archive lacks.

    `say` prints a line for the operator. Returns no report if nothing is new. Raises SourceUnavailable if GDELT does
    not answer as it should; the archive is then unchanged.
    """
    files = _Files(client, base.rstrip("/"), downloads / "gdelt", say)
    today = now.astimezone(UTC).date()
    archived = _archived_days(archive.view())
    if base.startswith("http://"):
        say(
            "GDELT is read over http: neither the files nor their md5 are proved to be GDELT's, and others on the way "
            "can see what is fetched. https proves it, when GDELT's certificate is valid"
        )
    try:
        daily = files.daily_files()
    except SourceUnavailable as failure:
        if base.startswith("https:") and "certificate" in str(failure):
            plain = base.replace("https:", "http:", 1)
            raise SourceUnavailable(
                f"{failure}. Without its proof of origin the same is at {plain} (--base or VIGIE_GDELT_URL)"
            ) from failure
        raise
    first = max(since, FIRST_DAY)
    days: dict[date, pd.DataFrame] = {}
    for day in sorted(day for day in daily if first <= day < today):
        if archived.get(day) != (DAILY.name, PARTS) and (sums := files.sums(daily[day], DAILY)) is not None:
            days[day] = _day_rows(day, DAILY, [sums])
    missing = [day for day in _days(first, max(daily)) if day not in daily]
    if missing:
        say(f"GDELT has no file for {len(missing)} days (unknown, not quiet), the first {missing[0]}")
    after_daily = max(since, max(daily) + timedelta(days=1))
    newest = [day for day in _days(after_daily, today) if (today - day).days < NEWEST_DAYS]
    for day, parts in files.quarter_hour_sums(newest).items():
        if parts and len(parts) > archived.get(day, ("", 0))[1]:
            days[day] = _day_rows(day, QUARTER_HOURLY, parts)
    if not days:
        say("GDELT: there is nothing new")
        return []
    path = downloads / "gdelt" / f"gdelt-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.csv"
    try:
        pd.concat(days.values()).to_csv(path, index=False)
        report = ingest(archive, GdeltFile(path), accept_loss=True, now=now)
    finally:
        path.unlink(missing_ok=True)
    files.delete_counts(before=min(newest, default=today))
    return [report]


class _Files:
    """GDELT's files, and the counts of those that have been read, which stay in a folder."""

    def __init__(self, client: Client, base: str, folder: Path, say: Callable[[str], None]) -> None:
        self._client, self._base, self._folder, self._say = client, base, folder, say

    def daily_files(self) -> dict[date, _ListedFile]:
        """Return the daily files that GDELT lists, by day."""
        listed: dict[date, _ListedFile] = {}
        for line in self._list("events/md5sums"):
            md5, _, name = line.partition(" ")
            if (found := _DAILY_NAME.fullmatch(name.strip())) and (day := _day(found[1])):
                listed[day] = _ListedFile(found[1], f"events/{name.strip()}", md5)
        if not listed:
            raise SourceUnavailable(f"{self._base}/events/md5sums lists no daily file")
        return listed

    def quarter_hour_sums(self, days: Sequence[date]) -> dict[date, list[pd.DataFrame]]:
        """Return the sums of the 15-minute files that exist so far, by day."""
        if not days:
            return {}
        newest = self._listed_parts("gdeltv2/lastupdate.txt")
        if not newest:
            raise SourceUnavailable(f"{self._base}/gdeltv2/lastupdate.txt lists no file of events")
        day_of = {name: day for day in days for name in _part_names(day) if name <= max(newest)}
        names = list(day_of)
        missing = [name for name in names if not self._counts_path(name).is_file()]
        # The list of all files is long. It is fetched only if the short one does not have all that is missing.
        all_listed = set(missing) <= set(newest)
        listed = newest if all_listed else self._listed_parts("gdeltv2/masterfilelist.txt") | newest
        found: dict[date, list[pd.DataFrame]] = {day: [] for day in days}
        for name in names:
            if self._counts_path(name).is_file():
                found[day_of[name]].append(pd.read_parquet(self._counts_path(name)))
            elif name in listed and (sums := self.sums(listed[name], QUARTER_HOURLY)) is not None:
                found[day_of[name]].append(sums)
        return found

    def sums(self, listed: _ListedFile, edition: Edition) -> pd.DataFrame | None:
        """Return the sums of one file, fetched if need be; None if GDELT lists the file and does not have it."""
        counts_path = self._counts_path(listed.name)
        if counts_path.is_file():
            return pd.read_parquet(counts_path)
        listed.check()
        target, url = self._folder / f"{listed.name}.export.CSV.zip", f"{self._base}/{listed.path}"
        try:
            download(self._client, url, target, limit=LARGEST, md5=listed.md5, size=listed.size)
        except NotFound:
            self._say(f"GDELT lists {listed.path} and does not have it: that time stays unknown")
            return None
        try:
            counts = count_file(target, edition)
        except BadInput as broken:
            reason = str(broken).removeprefix(f"{target}: ")
            raise SourceUnavailable(f"{url} is as GDELT lists it and cannot be read: {reason}") from broken
        finally:
            for path in self._folder.glob(f"{target.name}*"):
                path.unlink()
        rows, unreadable = counts.rows, counts.unreadable
        if unreadable > MOST_UNREADABLE * (rows + unreadable):
            raise SourceUnavailable(
                f"{url}: {unreadable:,} of {rows:,} rows cannot be read as {edition.fields} fields of GDELT's events"
            )
        if unreadable:
            self._say(f"GDELT, {listed.path}: {unreadable:,} of {rows:,} rows cannot be read and are not counted")
        with atomic_write(counts_path) as part:
            counts.sums.to_parquet(part)
        return counts.sums

    def delete_counts(self, before: date) -> None:
        """Delete the counts of daily files, and of 15-minute files before a day: they are in the archive."""
        for path in self._folder.glob("counts/*.parquet"):
            if len(path.stem) == len("YYYYMMDD") or path.stem[:8] < f"{before:%Y%m%d}":
                path.unlink()

    def _listed_parts(self, path: str) -> dict[str, _ListedFile]:
        """Return the 15-minute event files in a list, by name (YYYYMMDDHHMMSS)."""
        listed = {}
        for line in self._list(path):
            # An address in a list is never followed: it only names a file of the host that we ask.
            if found := _PART_NAME.search(line):
                size, md5 = (line.split(" ") if line.count(" ") == 2 else ("", ""))[:2]
                name = f"gdeltv2/{found[1]}.export.CSV.zip"
                listed[found[1]] = _ListedFile(found[1], name, md5, int(size) if size.isdecimal() else None)
        return listed

    def _list(self, path: str) -> Iterator[str]:
        target = self._folder / path.rpartition("/")[2]
        download(self._client, f"{self._base}/{path}", target, limit=LARGEST)
        with target.open(encoding="ascii", errors="replace") as lines:
            for line in lines:
                yield line.strip()

    def _counts_path(self, name: str) -> Path:
        return self._folder / "counts" / f"{name}.parquet"


def _archived_days(view: View) -> dict[date, tuple[str, int]]:
    """Return the days in the archive, with edition and number of parts."""
    table = current_counts(view).select(["date", "edition", "parts"]).to_pandas().drop_duplicates("date")
    return {row.date: (str(row.edition), int(row.parts)) for row in table.itertuples()}


def _day_rows(day: date, edition: Edition, parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return one day's counts in the columns of `SCHEMA`."""
    sums = pd.concat(parts).groupby(level="iso3").sum()
    tone = (sums["tone_sum"] / sums["toned"].where(sums["toned"] > 0)).clip(-100, 100)
    counts = sums[[*QUAD_CLASSES, "protests", "mentions"]].astype(np.int64)
    counted_parts = PARTS if edition is DAILY else len(parts)
    frame = counts.assign(date=day.isoformat(), edition=edition.name, parts=counted_parts, tone=tone)
    return frame.reset_index()


def _part_names(day: date) -> list[str]:
    """Return the names of a day's 15-minute files."""
    return [f"{day:%Y%m%d}{i // 4:02d}{i % 4 * 15:02d}00" for i in range(PARTS)]


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=i) for i in range((last - first).days + 1)]


def _day(text: str) -> date | None:
    """Return a day written YYYYMMDD; None if there is no such day."""
    try:
        return datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None
