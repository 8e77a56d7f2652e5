"""UCDP's release numbers: what a release covers, and when it was published.

UCDP numbers a final release `YY.N` (25.1: the years to 2024), a monthly candidate `YY.0.M` and a consolidated candidate
`YY.MM.YY.MM`. The number does not have the day. A final release counts as published on 1 June, a candidate on the 20th
of the month after the last one it covers (Hegre et al. 2020, doi:10.1177/2053168020935257), unless the provider or the
user says that its file came later: the candidates of June to September 2022 came on 20 December.
"""

import re
from datetime import UTC, datetime

from riskmodel.errors import BadInput

_FINAL = re.compile(r"(\d{2})\.([1-9])")
_MONTHLY = re.compile(r"(\d{2})\.0\.(\d{1,2})")
_CONSOLIDATED = re.compile(r"(\d{2})\.(\d{2})\.(\d{2})\.(\d{2})")


def published(release: str) -> datetime:
    """Return when a release is usually published (UTC). Raises BadInput if the text is no release number."""
    if final := _FINAL.fullmatch(release):
        return datetime(2000 + int(final[1]), 6, 1, tzinfo=UTC)
    if monthly := _MONTHLY.fullmatch(release):
        return _candidate(release, int(monthly[1]), int(monthly[2]))
    if consolidated := _CONSOLIDATED.fullmatch(release):
        return _candidate(release, int(consolidated[3]), int(consolidated[4]))
    raise BadInput(f"{release!r} is no release: write 25.1 (final), 26.0.2 (candidate) or 26.01.26.06 (consolidated)")


def coverage_of(release: str) -> str:
    """Return what a complete release covers, as `Coverage` writes it. Raises BadInput if the text is no release."""
    published(release)
    if final := _FINAL.fullmatch(release):
        return f"*:1989-01..{1999 + int(final[1])}-12"
    if monthly := _MONTHLY.fullmatch(release):
        month = f"20{monthly[1]}-{int(monthly[2]):02d}"
        return f"*:{month}..{month}"
    yy, first, until, last = release.split(".")
    return f"*:20{yy}-{first}..20{until}-{last}"


def last_final_year(release: str) -> int | None:
    """Return the last year that a final release covers; None for a candidate. Raises BadInput as `published` does."""
    published(release)
    return 1999 + int(final[1]) if (final := _FINAL.fullmatch(release)) else None


def is_year_file(release: str) -> bool:
    """Return whether a release is the candidate of a whole year, as 25.01.25.12."""
    consolidated = _CONSOLIDATED.fullmatch(release)
    return bool(
        consolidated and (consolidated[2], consolidated[4]) == ("01", "12") and consolidated[1] == consolidated[3]
    )


def _candidate(release: str, year: int, month: int) -> datetime:
    if not 1 <= month <= 12:
        raise BadInput(f"{release!r} is no release: there is no month {month}")
    return datetime(2000 + year + month // 12, month % 12 + 1, 20, tzinfo=UTC)
