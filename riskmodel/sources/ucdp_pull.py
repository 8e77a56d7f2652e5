"""Pull UCDP's releases: every new one is fetched and proved before the first row enters the archive.

Without a token the releases are files of UCDP's site. With a token they come from its API, page by page, and are
written as such a file, so that there is one way to read them.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Protocol

import pandas as pd
from filelock import FileLock, Timeout

from riskmodel.errors import BadInput, Refused, SourceUnavailable
from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.events.manifest import Ingest
from riskmodel.events.releases import coverage_of
from riskmodel.ingest import IngestReport, Loss, ingest
from riskmodel.months import span
from riskmodel.sources.client import Client
from riskmodel.sources.download import download
from riskmodel.sources.responses import NotFound
from riskmodel.sources.ucdp import GedFile
from riskmodel.sources.ucdp_api import UcdpApi

SITE, API = "https://ucdp.uu.se", "https://ucdpapi.pcr.uu.se"

OLDEST_FINAL = 5
"""The oldest final release that is tried [years before now]."""

LARGEST = 1 << 30
"""The largest file that is fetched [bytes]; GED 26.1 has 39 million."""


class ReleaseStore(Protocol):
    """A place that offers releases."""

    def fetch(self, release: str, archived: Ingest | None) -> tuple[Path, datetime | None] | None:
        """Return a release as a file, and when that file was published; None if the archive has it. Raises NotFound."""

    def discard(self, release: str) -> None:
        """Delete what was fetched: it is not what it should be."""

    def mark_archived(self, release: str) -> None:
        """Note that the release is in the archive."""


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
    """Take in the newest final release and every candidate after it that the archive lacks.

    `say` prints a line for the operator. Raises SourceUnavailable if UCDP does not answer as it should (an unfinished
    download is continued by the next pull), and Refused if another pull is running.
    """
    folder = downloads / "ucdp"
    folder.mkdir(parents=True, exist_ok=True)
    site, with_token = _Site(client, folder, base.rstrip("/")), UcdpApi(client, folder, api.rstrip("/"), token or "")
    store: ReleaseStore = with_token if token else site
    try:
        with FileLock(folder / "lock", timeout=0):
            found = _fetch_new(store, _archived_releases(archive), now, say)
            for release, (path, _) in found.items():
                try:
                    _prove(path, release, now)
                except (BadInput, SourceUnavailable) as wrong:
                    store.discard(release)
                    raise SourceUnavailable(f"what UCDP sent as release {release} cannot be used: {wrong}") from None
            reports = []
            for release, (path, published_at) in found.items():
                covers = [Coverage.parse(coverage_of(release))]
                try:
                    report = ingest(
                        archive, GedFile(path), covers=covers, release=release, published_at=published_at, now=now
                    )
                except Loss as loss:
                    store.discard(release)
                    raise SourceUnavailable(f"what UCDP sent as release {release} cannot be used: {loss}") from None
                reports.append(report)
                store.mark_archived(release)
            return reports
    except Timeout:
        raise Refused(f"another pull from UCDP is running in {folder}; try again when it is done") from None


def _archived_releases(archive: Archive) -> dict[str, Ingest]:
    """Return the newest ingest of each complete release that the archive has, withdrawn or not."""
    return {
        entered.release: entered
        for entered in archive.ingests()
        if entered.source == "ucdp" and entered.release and entered.covers == (coverage_of(entered.release),)
    }


def _fetch_new(
    store: ReleaseStore, archived: Mapping[str, Ingest], now: datetime, say: Callable[[str], None]
) -> dict[str, tuple[Path, datetime | None]]:
    """Fetch all new releases, oldest first: the newest final one and the candidates after it.

    UCDP publishes no list of its releases, so each one that could exist is asked for.
    """
    new: dict[str, tuple[Path, datetime | None]] = {}

    def exists(release: str) -> bool:
        try:
            fetched = store.fetch(release, archived.get(release))
        except NotFound:
            if release in archived:
                say(f"UCDP no longer offers release {release}; the archive keeps it")
            return release in archived
        if fetched:
            new[release] = fetched
        return True

    years = range(now.year, now.year - OLDEST_FINAL, -1)
    final = next((release for release in (f"{year % 100}.1" for year in years) if exists(release)), None)
    if final is None:
        raise SourceUnavailable(f"UCDP offers no final release of the last {OLDEST_FINAL} years where it used to")
    first_candidate_year = int(str(Coverage.parse(coverage_of(final)).last)[:4]) + 1
    for year in range(first_candidate_year, now.year + 1):
        yy, last = year % 100, 12 if year < now.year else now.month - 1
        consolidated = next((m for m in range(last, 1, -1) if exists(f"{yy}.01.{yy}.{m:02d}")), 0)
        monthly = [m for m in range(consolidated + 1, last + 1) if exists(f"{yy}.0.{m}")]
        for month in set(range(consolidated + 1, max(monthly, default=0))) - set(monthly):
            say(f"UCDP offers no release of {year}-{month:02d}: that month is unknown")
    return new


def _prove(path: Path, release: str, now: datetime) -> None:
    """Read all of a file. Raise if it is cut off, or if it is not the release that its address says."""
    source = GedFile(path)
    rows = sum(checked.accepted.num_rows for checked in source.read(now.date()))
    if source.table.cut_off:
        raise SourceUnavailable("its last row is cut off")
    if not rows:
        raise SourceUnavailable("it has no row that can be read")
    expected, counts = Coverage.parse(coverage_of(release)), source.event_counts()
    inside = counts["month"].between(pd.Timestamp(str(expected.first)), pd.Timestamp(str(expected.last)))
    empty = span(expected.first, expected.last).size - counts.loc[inside, "month"].nunique()
    months = f"it should cover {expected.first} to {expected.last}, but"
    if empty:
        raise SourceUnavailable(f"{months} has no event at all in {empty} of these months")
    if 2 * counts.loc[inside, "events"].sum() < counts["events"].sum():
        raise SourceUnavailable(f"{months} most of its events are of other months")


class _Site:
    """UCDP's site: one file per release. A file that is not in the archive yet has a marker file."""

    def __init__(self, client: Client, folder: Path, base: str) -> None:
        self._client, self._folder, self._base = client, folder, base

    def fetch(self, release: str, archived: Ingest | None) -> tuple[Path, datetime | None] | None:
        address = self._address(release)
        target, marker = self._paths(release)
        was_pending = marker.exists()
        if archived and not was_pending and not target.exists():
            return None  # the archive has the release, and there is no download that could be compared with the site's
        marker.touch()
        try:
            fetched = download(self._client, f"{self._base}{address}", target, limit=LARGEST)
        except NotFound:
            marker.unlink()
            raise
        if archived and not was_pending and not fetched.changed:
            marker.unlink()
            return None
        return target, fetched.last_modified

    def discard(self, release: str) -> None:
        target, _ = self._paths(release)
        target.unlink(missing_ok=True)

    def mark_archived(self, release: str) -> None:
        self._paths(release)[1].unlink()

    def _paths(self, release: str) -> tuple[Path, Path]:
        """The file of a release, and the marker that it is not in the archive yet."""
        name = self._address(release).rpartition("/")[2]
        return self._folder / name, self._folder / f"{name}.pending"

    def _address(self, release: str) -> str:
        if release.count(".") == 1:
            return f"/downloads/ged/ged{release.replace('.', '')}-csv.zip"
        return f"/downloads/candidateged/GEDEvent_v{release.replace('.', '_')}.csv"
