"""The revisions that are expected before an archive has seen vintages of its own.

They stand for `PRIOR_MONTHS` country-months of each level, and give way as real ones accumulate.

- *Year file*: UCDP's 2023, from the year file to GED 24.1, deaths of all types. `benchmarks/revisions.py` prints them.
- *Monthly candidate*: first reports of 2024 against GED 25.1, deaths of all types. The share that vanishes and the
  ratio of the totals by level, and the ratios of four countries, come from a study of vintages that are not shipped, so
  that no command here prints them. The spread is that of the year file, widened by the ratio of the two mean
  revisions (.470 to .383 in log1p).
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from riskmodel.reporting.release_class import MONTHLY, YEAR_FILE

LEVELS = ((0, 0), (1, 4), (5, 24), (25, 99), (100, None))
"""The levels of reported deaths: lowest and highest [deaths]."""
LEVEL_FLOORS = tuple(low for low, _ in LEVELS)
LEVEL_CENTRES = np.array([2, 11, 46, 340])
"""A usual figure of each level above 0 [deaths]."""
LEVEL_ACTIVITY = np.array([0.5, 0.75, 0.92, 0.99])
"""The usual activity around a figure of each level above 0: `vintages.activity`."""
PRIOR_MONTHS = 30
"""The constants of a level count as this many country-months."""
NO_VANISHING = 100
"""A report of at least this many deaths is never withdrawn altogether [deaths]."""


class Constants(NamedTuple):
    """What is expected of one release class.

    `vanish` are the coefficients of the logit of vanishing: constant, log1p(reported), activity. `changes` are
    log1p(final) − log1p(reported) of reports that stay, by level above 0 and equally probable value; shape (4, 10).
    `countries` has the change of a country beyond that of its levels, and from how many months it is known.
    """

    vanish: NDArray[np.float64]
    changes: NDArray[np.float64]
    countries: Mapping[str, tuple[float, int]]


_YEAR_FILE_CHANGES = np.array(
    [
        (-0.41, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.24, 0.69),
        (-1.37, -0.59, -0.20, -0.04, 0.0, 0.0, 0.0, 0.0, 0.0, 0.19),
        (-0.83, -0.36, -0.18, -0.10, -0.03, 0.0, 0.0, 0.0, 0.02, 0.29),
        (-0.40, -0.18, -0.12, -0.06, -0.02, 0.0, 0.0, 0.03, 0.15, 0.37),
    ]
)
_MONTHLY_WIDENING = 0.470 / 0.383
_MONTHLY_VANISHED = np.array([0.56, 0.16, 0.02, 0.0])
_MONTHLY_RATIOS = np.array([0.64, 0.95, 1.09, 1.16])
"""Final divided by first deaths of all months of a level, those that vanish among them."""
_MONTHLY_COUNTRY_RATIOS = {
    "MLI": (1.22, 1.16, 12),
    "BFA": (1.30, 1.16, 12),
    "NER": (0.96, 1.09, 12),
    "NGA": (0.47, 1.16, 24),
}
"""Final divided by first deaths of a country, the same of its usual level, and the number of months seen."""


def _monthly_changes() -> NDArray[np.float64]:
    """The changes of the year file, widened and moved so that the ratios of the totals are those of the study."""
    wide = _YEAR_FILE_CHANGES * _MONTHLY_WIDENING
    stays = _MONTHLY_RATIOS / (1 - _MONTHLY_VANISHED)
    return np.asarray(wide + np.log(stays / np.exp(wide).mean(axis=1))[:, None])


CONSTANTS = {
    YEAR_FILE: Constants(np.array([1.47, -0.46, -3.34]), _YEAR_FILE_CHANGES, {}),
    # The slope on activity is that of the year file; the other two meet the study's shares at `LEVEL_ACTIVITY`.
    MONTHLY: Constants(
        np.array([3.10, -0.99, -3.34]),
        _monthly_changes(),
        {iso3: (float(np.log(own / usual)), n) for iso3, (own, usual, n) in _MONTHLY_COUNTRY_RATIOS.items()},
    ),
}
