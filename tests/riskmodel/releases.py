"""UCDP releases for tests: files taken into an archive, and invented events with final and candidate releases."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ged
import numpy as np

from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.ingest import ingest
from riskmodel.sources.monthly import MonthlyFile
from riskmodel.sources.ucdp import GedFile

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
GW = {"MLI": 432, "NER": 436, "BFA": 439, "AFG": 700}
SHARE = {"MLI": 0.5, "NER": 0.8, "BFA": 0.65, "AFG": 0.9}
"""The share of a month's events in its first candidate release."""


def take_in(
    archive: Archive,
    path: Path,
    *covers: str,
    release: str | None = None,
    known_since: str | None = None,
    now: datetime = NOW,
) -> None:
    """Take in a UCDP file, or a country-month table (`.monthly`), for the country-months that it covers."""
    reader = MonthlyFile if path.suffix == ".monthly" else GedFile
    known = datetime.fromisoformat(known_since).replace(tzinfo=UTC) if known_since else None
    ingest(
        archive,
        reader(path),
        covers=[Coverage.parse(c) for c in covers],
        release=release,
        known_since=known,
        now=now,
    )


class Releases:
    """Invented events, a final release for each year and a candidate release for each month.

    A candidate release has each event of its month with the probability `share` of the country; the final release has
    all events.
    """

    def __init__(self, folder: Path, share: Mapping[str, float], first: int = 2020, years: int = 2) -> None:
        self.folder, self.share, self.first, self.years = folder, share, first, years
        self.archive = Archive(folder / "archive")
        rng = np.random.default_rng(3)
        self.events: list[dict[str, Any]] = []
        for year in range(first, first + years + 1):
            for m in range(1, 13):
                for iso3 in share:
                    for _ in range(int(rng.poisson(12))):
                        row = {"id": len(self.events), "date": f"{year}-{m:02}-{rng.integers(1, 29):02}"}
                        deaths = int(rng.geometric(0.3))
                        early = rng.random() < share[iso3]
                        self.events.append(
                            {
                                **row,
                                "country_id": GW[iso3],
                                "year": year,
                                "best": deaths,
                                "early": early,
                            }
                        )

    def final(self, year: int) -> None:
        """Take in the final release of the years up to this one."""
        rows = [row for row in self.events if row["year"] <= year]
        path = ged.write(self.folder / f"final{year}.csv", *rows)
        take_in(self.archive, path, *self._spans(f"{self.first}-01..{year}-12"), release=f"{year - 1999}.1")

    def candidate(self, year: int, m: int) -> None:
        """Take in the candidate release of a month."""
        rows = [row for row in self.events if row["early"] and row["date"].startswith(f"{year}-{m:02}")]
        path = ged.write(self.folder / f"candidate{year}{m}.csv", *rows)
        take_in(self.archive, path, *self._spans(f"{year}-{m:02}..{year}-{m:02}"), release=f"{year - 2000}.0.{m}")

    def _spans(self, months: str) -> list[str]:
        return [f"{iso3}:{months}" for iso3 in self.share]

    def realised(self, iso3: str) -> float:
        """The share of the deaths of the first years that the candidate releases actually had."""
        rows = [row for row in self.events if row["country_id"] == GW[iso3] and row["year"] < self.first + self.years]
        return sum(int(row["best"]) for row in rows if row["early"]) / sum(int(row["best"]) for row in rows)

    def up_to(self, year: int) -> "Releases":
        """Take in all candidate releases to the end of a year, and the final releases published by then."""
        for earlier in range(self.first, year + 1):
            for m in range(1, 13):
                self.candidate(earlier, m)
            if earlier < year:
                self.final(earlier)
        return self
