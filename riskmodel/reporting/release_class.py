"""The release class of each country-month: how far UCDP's cycle of revisions has gone with its figure.

UCDP revises in steps. A month comes first in a monthly candidate, then in the file of its year, then in the final GED
of its year, and each later final GED can still change it. Between two steps the figure of a month does not change.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from riskmodel.events.manifest import Ingest
from riskmodel.events.releases import is_year_file, last_final_year
from riskmodel.events.view import View
from riskmodel.months import Months

ReleaseClass: TypeAlias = Literal["monthly_candidate", "year_file", "final", "next_final"]
RELEASE_CLASSES: tuple[ReleaseClass, ...] = get_args(ReleaseClass)
CLASS_LABELS: Mapping[str, Mapping[str, str]] = {
    "monthly_candidate": {"en": "monthly candidate", "fr": "données candidates mensuelles"},
    "year_file": {"en": "year file", "fr": "fichier annuel"},
    "final": {"en": "final GED", "fr": "GED définitif"},
    "next_final": {"en": "next final GED", "fr": "GED définitif suivant"},
}
"""The release classes in words, by language."""
MONTHLY, YEAR_FILE, FINAL, NEXT_FINAL = range(len(RELEASE_CLASSES))
UNKNOWN = -1
"""The class of a country-month that nothing covers."""
UNSETTLED = (MONTHLY, YEAR_FILE)
"""The classes whose figures are revised. From the first final GED on a figure counts as settled: four in five figures
of 2022 were the same in GED 23.1 and 24.1 (`benchmarks/revisions.py`)."""

YEAR_FILE_DAY, FINAL_DAY = (1, 20), (6, 1)
"""When the file of a year and its final GED usually appear in the year after it: month and day."""

Classes: TypeAlias = NDArray[np.int8]
"""Release classes by their index in `RELEASE_CLASSES`."""


def release_classes(view: View, outcome: str) -> Classes:
    """Return the release class of each country-month's deaths, of the shape (country, month) of `view.outcomes()`."""
    observed = view.outcomes()
    source = observed.source[outcome]
    classes = np.full(observed.shape, UNKNOWN, dtype=np.int8)
    for number, ingest in enumerate(view.ingests):
        classes = np.where(source == number, classes_of_ingest(ingest, observed.months), classes)
    return classes


def classes_of_ingest(ingest: Ingest, months: Months) -> Classes:
    """Return the release class that an ingest's figures of some months have, shape (month,).

    The release decides. A file that names no release has the class that UCDP's figures usually have on the day from
    which the file is known. Simulated figures without a release are never revised.
    """
    if ingest.release is None:
        if ingest.simulated:
            return np.full(months.size, NEXT_FINAL, dtype=np.int8)
        return _by_calendar(datetime.fromisoformat(ingest.known_since), months)
    final_year = last_final_year(ingest.release)
    if final_year is not None:
        return np.where(_years(months) < final_year, NEXT_FINAL, FINAL).astype(np.int8)
    return np.full(months.size, YEAR_FILE if is_year_file(ingest.release) else MONTHLY, dtype=np.int8)


def _by_calendar(known: datetime, months: Months) -> Classes:
    day, years = (known.month, known.day), known.year - _years(months)
    steps = (years > 1) | ((years == 1) & (day >= YEAR_FILE_DAY)), (years > 1) | ((years == 1) & (day >= FINAL_DAY))
    next_final = (years > 2) | ((years == 2) & (day >= FINAL_DAY))
    return np.asarray(np.sum([*steps, next_final], axis=0), dtype=np.int8)


def _years(months: Months) -> NDArray[np.int64]:
    return months.astype("datetime64[Y]").astype(np.int64) + 1970
