"""What an indicator is: one declaration, as data, that carries its own computation.

A family is a tuple of declarations in a module of its own. Nothing here knows which families there are, where the
tables come from, or what is forecast from them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from riskmodel.months import Months

Rectangle = NDArray[np.float64]


@dataclass(frozen=True)
class Citation:
    """A work by its reference and DOI."""

    reference: str
    doi: str


VIEWS = Citation(
    "Hegre et al. (2019), ViEWS: A political Violence Early-Warning System, JPR 56(2): 155-174",
    "10.1177/0022343319823860",
)


@dataclass(frozen=True)
class Inputs:
    """What indicators are computed from.

    `tables[name]` is float64 of shape (country, month), NaN where unknown; `deaths` [deaths] is always there, and is
    the outcome that is forecast. `neighbours` is bool of shape (country, country): row i marks those of country i.
    """

    iso3: tuple[str, ...]
    months: Months
    tables: Mapping[str, Rectangle]
    neighbours: NDArray[np.bool_]


@dataclass(frozen=True)
class Indicator:
    """One declared indicator.

    `window` [months] is how much of the past a value needs, the month itself included. `meaning` and `missing` (what an
    absent value says) are texts by language. `direction` is +1 where more of it goes with more violence, -1 with less,
    0 where no sign is claimed; it is an association, not a cause. `compute` gives float64 of shape (country, month),
    whose column t uses nothing after month t and is NaN where the window is not wholly known.
    """

    name: str
    family: str
    unit: str
    window: int
    direction: int
    meaning: Mapping[str, str]
    missing: Mapping[str, str]
    literature: tuple[Citation, ...]
    inputs: tuple[str, ...]
    compute: Callable[[Inputs], Rectangle]
