"""UCDP's API: pages of events, stored until the release is in the archive, so that a pull can be continued."""

import csv
import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

from tenacity import RetryError, Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

from riskmodel.errors import SourceUnavailable
from riskmodel.events.manifest import Ingest
from riskmodel.home import atomic_write
from riskmodel.sources.client import Client
from riskmodel.sources.responses import NotFound, Rejected
from riskmodel.sources.ucdp import VARIABLE_MAP
from riskmodel.sources.ucdp_layout import GED_COLUMNS

PAGE_EVENTS = 1000
"""Events per page. The API cuts a larger page off without notice."""

THROTTLED_ATTEMPTS = 6
"""How often a page is requested while the API refuses because we are too fast."""

_REQUIRED_FIELDS = frozenset(VARIABLE_MAP.values())


class _InconsistentPages(Exception):
    """The pages of one release do not fit each other."""


class UcdpApi:
    """The API as a store of releases: each is written as one file in UCDP's layout."""

    def __init__(self, client: Client, folder: Path, base: str, token: str) -> None:
        self._client, self._folder, self._base, self._token = client, folder, base, token

    def fetch(self, release: str, archived: Ingest | None) -> tuple[Path, None] | None:
        """Return a release as a file; None if the archive has as many events of it. Raises NotFound."""
        count = self._total_count(self._page(self._address(release, 1)))
        if archived and archived.rows + archived.quarantined == count:
            return None
        pages = self._pages(release, count)
        target = self._file(release)
        with atomic_write(target) as part, gzip.open(part, "wt", encoding="utf-8", newline="", compresslevel=3) as out:
            writer = csv.DictWriter(out, GED_COLUMNS, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            for page in pages:
                writer.writerows(page["Result"])
        return target, None

    def discard(self, release: str) -> None:
        """Delete the pages and the file of a release."""
        shutil.rmtree(self._page_folder(release), ignore_errors=True)
        self._file(release).unlink(missing_ok=True)

    def mark_archived(self, release: str) -> None:
        """Delete the pages and the file of a release: the archive has them."""
        self.discard(release)

    def _pages(self, release: str, count: int) -> Iterator[Any]:
        """Fetch all pages of a release that are not stored yet; return all once they are proved complete."""
        folder = self._page_folder(release)
        if self._has_other_count(folder, count):
            shutil.rmtree(folder)
        folder.mkdir(exist_ok=True)
        seen: set[int] = set()
        paths: list[Path] = []
        url: str | None = self._address(release, PAGE_EVENTS)
        try:
            while url:
                path = folder / f"{len(paths):05d}.json.gz"
                if path.exists():
                    page = _load(path)
                    self._check_page(page, count, seen)
                else:
                    page = self._next_page(url)
                    self._check_page(page, count, seen)
                    with atomic_write(path) as part, gzip.open(part, "wt", encoding="utf-8", compresslevel=3) as out:
                        json.dump(page, out)
                paths.append(path)
                self._client.watch(f"UCDP {release}", len(seen), count)
                url = self._next_url(url, page.get("NextPageUrl"))
            if len(seen) != count:
                raise _InconsistentPages(f"it announces {count:,} events and sends {len(seen):,}")
        except _InconsistentPages as wrong:
            shutil.rmtree(folder)
            raise SourceUnavailable(
                f"UCDP's API contradicts itself on release {release}: {wrong}; nothing of it was taken in"
            ) from None
        return map(_load, paths)

    def _check_page(self, page: Any, count: int, seen: set[int]) -> None:
        """Add a page's event ids to `seen`. Raises _InconsistentPages for a page that does not fit the others."""
        if (now := self._total_count(page)) != count:
            raise _InconsistentPages(f"its TotalCount was {count:,} and became {now:,}")
        rows = page.get("Result")
        if not isinstance(rows, list) or (not rows and page.get("NextPageUrl")):
            raise _InconsistentPages("a page has no events")
        for row in rows:
            if not isinstance(row, dict) or not row.keys() >= _REQUIRED_FIELDS or not isinstance(row["id"], int):
                raise _InconsistentPages("an event lacks fields that every event has")
            if row["id"] in seen:
                raise _InconsistentPages(f"event {row['id']} comes twice, so that a page is repeated and another lost")
            seen.add(row["id"])

    def _total_count(self, page: Any) -> int:
        count = page.get("TotalCount") if isinstance(page, dict) else None
        if not isinstance(count, int):
            raise SourceUnavailable("UCDP's API sent a page without TotalCount, the number of all events")
        return count

    def _has_other_count(self, folder: Path, count: int) -> bool:
        first = folder / "00000.json.gz"
        return first.exists() and _load(first)["TotalCount"] != count

    def _next_url(self, current: str, announced: object) -> str | None:
        """Return the URL of the next page, None after the last. Only the query can differ: no other host."""
        if not announced:
            return None
        here, there = urlsplit(current), urlsplit(urljoin(current, str(announced)))
        if there.hostname != here.hostname or there.path.lower() != here.path.lower():
            raise _InconsistentPages(f"its next page lies elsewhere ({there.hostname}{there.path})")
        return urlunsplit(here._replace(query=there.query))

    def _next_page(self, url: str) -> Any:
        try:
            return self._page(url)
        except NotFound as missing:
            raise SourceUnavailable(f"a page of a release that exists is missing: {missing}") from None

    def _page(self, url: str) -> Any:
        """Return one page. Waits while the API says that we are too fast. Raises NotFound for an unknown release."""
        throttled = Retrying(
            sleep=self._client.sleep,
            stop=stop_after_attempt(THROTTLED_ATTEMPTS),
            wait=wait_exponential(multiplier=5, max=120) + wait_random(0, 5),
            retry=retry_if_exception(_is_throttled),
        )
        try:
            return throttled(self._client.get_json, url, headers={"x-ucdp-access-token": self._token})
        except Rejected as refused:
            if refused.status == 400:
                raise NotFound(f"UCDP's API: {refused.excerpt}") from None
            raise
        except RetryError as last:
            raise SourceUnavailable(f"{last.last_attempt.exception()}; it goes on saying so") from None

    def _address(self, release: str, page_size: int) -> str:
        return f"{self._base}/api/gedevents/{release}?pagesize={page_size}&page=0"

    def _file(self, release: str) -> Path:
        return self._folder / f"gedevents-{release}.csv.gz"

    def _page_folder(self, release: str) -> Path:
        return self._folder / f"gedevents-{release}"


def _is_throttled(failure: BaseException) -> bool:
    """Whether a 400 means that we are too fast. Otherwise it means that there is no such release."""
    return isinstance(failure, Rejected) and failure.status == 400 and "invalid object" not in failure.excerpt.lower()


def _load(path: Path) -> Any:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return json.load(file)
