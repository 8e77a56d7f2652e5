"""Bringing UCDP's releases home: found by asking for them, fetched whole, proved, and only then taken in, all of them.

Without a token they are files of UCDP's site, with one they come from its API page by page and are written as such a
file, so that there is one way of reading. What a row means is not known here.
"""

import csv
import gzip
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urljoin, urlsplit, urlunsplit

import pandas as pd
from filelock import FileLock, Timeout
from tenacity import RetryError, Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

from riskmodel.errors import BadInput, Refused, SourceUnavailable
from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.events.manifest import Ingest
from riskmodel.events.releases import covers
from riskmodel.home import atomic_write
from riskmodel.ingest import IngestReport, ingest
from riskmodel.months import span
from riskmodel.sources.client import Client, NotFound, Rejected
from riskmodel.sources.ucdp import VARIABLE_MAP, GedFile
from riskmodel.sources.ucdp_layout import GED_COLUMNS

SITE, API = "https://ucdp.uu.se", "https://ucdpapi.pcr.uu.se"

OLDEST = 5
"""How many years back a final release is looked for [years]."""

LARGEST = 1 << 30
"""The largest file that UCDP is trusted to send [bytes]; GED 26.1 has 39 million."""

PAGE = 1000
"""Events a page; more than that the API cuts off without a word."""

TOO_FAST = 6
"""How often a page is asked for that the API refuses because we are too fast."""


class _Shelf(Protocol):
    """A place that has releases."""

    def fetch(self, release: str, held: Ingest | None) -> tuple[Path, datetime | None] | None:
        """A release as a file and when that was published; None if it is what `held` holds. Raises NotFound."""

    def drop(self, release: str) -> None:
        """Forget what was fetched: it is not what it should be."""

    def taken(self, release: str) -> None:
        """What was fetched is in the archive."""


def pull(
    archive: Archive,
    client: Client,
    downloads: Path,
    *,
    base: str = SITE,
    api: str = API,
    token: str | None,
    now: datetime,
    say: Callable[[str], None],
) -> list[IngestReport]:
    """Take in the newest final release and every candidate after it, as far as the archive does not have them.

    Everything is fetched and proved before the first row enters. `say` is told in words what UCDP lacks. Raises
    SourceUnavailable (what was fetched in part is kept for the next time) or Refused if another pull is at work.
    """
    folder = downloads / "ucdp"
    folder.mkdir(parents=True, exist_ok=True)
    shelf = _Api(client, folder, api.rstrip("/"), token) if token else _Site(client, folder, base.rstrip("/"))
    try:
        with FileLock(folder / "lock", timeout=0):
            found = _found(shelf, _held(archive), now, say)
            for release, (path, _) in found.items():
                try:
                    _prove(path, release, now)
                except (BadInput, SourceUnavailable) as bad:
                    shelf.drop(release)
                    raise SourceUnavailable(f"what UCDP sent as release {release} cannot be used: {bad}") from None
            receipts = []
            for release, (path, published) in found.items():
                spans = [Coverage.parse(covers(release))]
                receipts.append(
                    ingest(archive, GedFile(path), covers=spans, release=release, stated=published, now=now)
                )
                shelf.taken(release)
            return receipts
    except Timeout:
        raise Refused(f"another pull from UCDP is at work in {folder}; try again when it is done") from None


def _held(archive: Archive) -> dict[str, Ingest]:
    """The newest ingest of each whole release that the archive has, withdrawn or not."""
    return {
        entered.release: entered
        for entered in archive.ingests()
        if entered.source == "ucdp" and entered.release and entered.covers == (covers(entered.release),)
    }


def _found(
    shelf: _Shelf, held: Mapping[str, Ingest], now: datetime, say: Callable[[str], None]
) -> dict[str, tuple[Path, datetime | None]]:
    """All releases that are new, oldest first, as files: the newest final one and the candidates after it."""
    new: dict[str, tuple[Path, datetime | None]] = {}

    def there(release: str) -> bool:
        try:
            fetched = shelf.fetch(release, held.get(release))
        except NotFound:
            if release in held:
                say(f"UCDP no longer offers release {release}; what the archive has of it is kept")
            return release in held
        if fetched:
            new[release] = fetched
        return True

    final = next(filter(there, (f"{year % 100}.1" for year in range(now.year, now.year - OLDEST, -1))), None)
    if final is None:
        raise SourceUnavailable(f"UCDP offers no final release of the last {OLDEST} years where it used to")
    for year in range(int(str(Coverage.parse(covers(final)).last)[:4]) + 1, now.year + 1):
        yy, last = year % 100, 12 if year < now.year else now.month - 1
        together = next((m for m in range(last, 1, -1) if there(f"{yy}.01.{yy}.{m:02d}")), 0)
        singly = [m for m in range(together + 1, last + 1) if there(f"{yy}.0.{m}")]
        for month in set(range(together + 1, max(singly, default=0))) - set(singly):
            say(f"UCDP offers no release of {year}-{month:02d}: that month is unknown")
    return new


def _prove(path: Path, release: str, now: datetime) -> None:
    """Read all of a file and raise if it is cut off, or is not the release that its address says."""
    source = GedFile(path)
    rows = sum(checked.accepted.num_rows for checked in source.read(now.date()))
    if source.table.cut_off:
        raise SourceUnavailable("its last row is cut off")
    if not rows:
        raise SourceUnavailable("it has no row that can be read")
    spoken, cells = Coverage.parse(covers(release)), source.cells()
    inside = cells["month"].between(pd.Timestamp(str(spoken.first)), pd.Timestamp(str(spoken.last)))
    silent = span(spoken.first, spoken.last).size - cells.loc[inside, "month"].nunique()
    months = f"it should speak for {spoken.first} to {spoken.last}, but"
    if silent:
        raise SourceUnavailable(f"{months} has no event at all in {silent} of these months")
    if 2 * cells.loc[inside, "events"].sum() < cells["events"].sum():
        raise SourceUnavailable(f"{months} most of its events are of other months")


class _Site:
    """UCDP's site: one file a release. A file that may not be in the archive yet is marked until it is."""

    def __init__(self, client: Client, folder: Path, base: str) -> None:
        self._client, self._folder, self._base = client, folder, base

    def fetch(self, release: str, held: Ingest | None) -> tuple[Path, datetime | None] | None:
        address = self._address(release)
        target, waiting = self._files(release)
        waited = waiting.exists()
        if held and not waited and not target.exists():
            return None
        waiting.touch()
        try:
            fetched = self._client.download(f"{self._base}{address}", target, limit=LARGEST)
        except NotFound:
            waiting.unlink()
            raise
        if held and not waited and not fetched.changed:
            waiting.unlink()
            return None
        return target, fetched.last_modified

    def drop(self, release: str) -> None:
        target, _ = self._files(release)
        target.unlink(missing_ok=True)

    def taken(self, release: str) -> None:
        self._files(release)[1].unlink()

    def _files(self, release: str) -> tuple[Path, Path]:
        name = self._address(release).rpartition("/")[2]
        return self._folder / name, self._folder / f"{name}.waiting"

    def _address(self, release: str) -> str:
        if release.count(".") == 1:
            return f"/downloads/ged/ged{release.replace('.', '')}-csv.zip"
        return f"/downloads/candidateged/GEDEvent_v{release.replace('.', '_')}.csv"


class _Api:
    """UCDP's API: pages of events, kept until the release is in the archive, so that a pull can be continued."""

    def __init__(self, client: Client, folder: Path, base: str, token: str) -> None:
        self._client, self._folder, self._base, self._token = client, folder, base, token

    def fetch(self, release: str, held: Ingest | None) -> tuple[Path, None] | None:
        count = self._count(self._page(self._address(release, 1)))
        if held and held.rows + held.quarantined == count:
            return None
        pages = self._pages(release, count)
        target = self._folder / f"gedevents-{release}.csv.gz"
        with atomic_write(target) as part, gzip.open(part, "wt", encoding="utf-8", newline="", compresslevel=3) as out:
            writer = csv.DictWriter(out, GED_COLUMNS, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            for page in pages:
                writer.writerows(page["Result"])
        return target, None

    def drop(self, release: str) -> None:
        shutil.rmtree(self._kept(release), ignore_errors=True)
        (self._folder / f"gedevents-{release}.csv.gz").unlink(missing_ok=True)

    def taken(self, release: str) -> None:
        self.drop(release)

    def _pages(self, release: str, count: int) -> Iterator[Any]:
        """All pages of a release, those kept from before included, once they are proved complete."""
        kept = self._kept(release)
        if self._of_another_count(kept, count):
            shutil.rmtree(kept)
        kept.mkdir(exist_ok=True)
        seen: set[int] = set()
        paths: list[Path] = []
        url: str | None = self._address(release, PAGE)
        try:
            while url:
                path = kept / f"{len(paths):05d}.json.gz"
                if path.exists():
                    page = _load(path)
                    self._check(page, count, seen)
                else:
                    page = self._next_page(url)
                    self._check(page, count, seen)
                    with atomic_write(path) as part, gzip.open(part, "wt", encoding="utf-8", compresslevel=3) as out:
                        json.dump(page, out)
                paths.append(path)
                self._client.watch(f"UCDP {release}", len(seen), count)
                url = self._following(url, page.get("NextPageUrl"))
            if len(seen) != count:
                raise _Inconsistent(f"it announces {count:,} events and sends {len(seen):,}")
        except _Inconsistent as wrong:
            shutil.rmtree(kept)
            raise SourceUnavailable(
                f"UCDP's API contradicts itself on release {release}: {wrong}; nothing of it was taken in"
            ) from None
        return map(_load, paths)

    def _check(self, page: Any, count: int, seen: set[int]) -> None:
        """Add a page's events to those seen. Raises _Inconsistent for a page that does not fit the others."""
        if (now := self._count(page)) != count:
            raise _Inconsistent(f"its TotalCount was {count:,} and became {now:,}")
        rows = page.get("Result")
        if not isinstance(rows, list) or (not rows and page.get("NextPageUrl")):
            raise _Inconsistent("a page has no events")
        for row in rows:
            if not isinstance(row, dict) or not row.keys() >= _NEEDED or not isinstance(row["id"], int):
                raise _Inconsistent("an event lacks fields that every event has")
            if row["id"] in seen:
                raise _Inconsistent(f"event {row['id']} comes twice, so that a page is repeated and another lost")
            seen.add(row["id"])

    def _count(self, page: Any) -> int:
        count = page.get("TotalCount") if isinstance(page, dict) else None
        if not isinstance(count, int):
            raise SourceUnavailable("UCDP's API sent a page without TotalCount, which says how many events there are")
        return count

    def _of_another_count(self, kept: Path, count: int) -> bool:
        first = kept / "00000.json.gz"
        return first.exists() and _load(first)["TotalCount"] != count

    def _following(self, here: str, said: object) -> str | None:
        """The address of the next page: it may only be another page of the same, wherever it says that lies."""
        if not said:
            return None
        ours, theirs = urlsplit(here), urlsplit(urljoin(here, str(said)))
        if theirs.hostname != ours.hostname or theirs.path.lower() != ours.path.lower():
            raise _Inconsistent(f"its next page lies elsewhere ({theirs.hostname}{theirs.path})")
        return urlunsplit(ours._replace(query=theirs.query))

    def _next_page(self, url: str) -> Any:
        try:
            return self._page(url)
        except NotFound as gone:
            raise SourceUnavailable(f"a page of a release that has begun is gone: {gone}") from None

    def _page(self, url: str) -> Any:
        """One page. Raises NotFound where the API knows no such release; waits where it says that we are too fast."""
        patiently = Retrying(
            sleep=self._client.sleep,
            stop=stop_after_attempt(TOO_FAST),
            wait=wait_exponential(multiplier=5, max=120) + wait_random(0, 5),
            retry=retry_if_exception(_too_fast),
        )
        try:
            return patiently(self._client.get_json, url, headers={"x-ucdp-access-token": self._token})
        except Rejected as refused:
            if refused.status == 400:
                raise NotFound(f"UCDP's API: {refused.excerpt}") from None
            raise
        except RetryError as last:
            raise SourceUnavailable(f"{last.last_attempt.exception()}; it goes on saying so") from None

    def _address(self, release: str, page_size: int) -> str:
        return f"{self._base}/api/gedevents/{release}?pagesize={page_size}&page=0"

    def _kept(self, release: str) -> Path:
        return self._folder / f"gedevents-{release}"


class _Inconsistent(Exception):
    """The pages of one release do not fit each other."""


_NEEDED = frozenset(VARIABLE_MAP.values())


def _too_fast(failure: BaseException) -> bool:
    """Whether a 400 means that we ask too fast; else it means that there is no such release."""
    return isinstance(failure, Rejected) and failure.status == 400 and "invalid object" not in failure.excerpt.lower()


def _load(path: Path) -> Any:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return json.load(file)
