"""What an indicator is: one declaration, as data, that carries its own computation; and a family of them.

A family is declared in a module of its own. Nothing here knows which families there are, where the tables come from, or
what is forecast from them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from riskmodel.indicators.inputs import Inputs, Places, Rectangle


@dataclass(frozen=True)
class Citation:
    """A work by its reference and DOI."""

    reference: str
    doi: str


VIEWS = Citation(
    "Hegre et al. (2019), ViEWS: A political Violence Early-Warning System, JPR 56(2): 155-174",
    "10.1177/0022343319823860",
)
GED = Citation(
    "Sundberg & Melander (2013), Introducing the UCDP Georeferenced Event Dataset, JPR 50(4): 523-532",
    "10.1177/0022343313484347",
)


@dataclass(frozen=True)
class Indicator:
    """One declared indicator.

    `window` [months] is how much of the past a value needs, the month itself included. `meaning` and `missing` (what an
    absent value says) are texts by language. `direction` is +1 where more of it goes with more violence, -1 with less,
    0 where no sign is claimed; it is an association, not a cause. `scale` is how a person reads the value: `log1p`
    values are told as the count they are the log of, `share` as per cent. `inputs` are the tables it needs: names of
    `Inputs.tables`, or `events`. `compute` gives float64 of shape (country, month), whose column t uses nothing after
    month t and is NaN where the window is not wholly known or the value has no meaning.
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
    scale: Literal["log1p", "share", "number"] = "number"


@dataclass(frozen=True)
class Family:
    """Indicators of one theme.

    `title` and `theme` are texts by language; `headline` names the indicators that a sentence about the family always
    tells. `behind` gives the places of the events that stand behind a country's
    values in a month, the most telling first; None for a family that is not made from events.
    """

    name: str
    title: Mapping[str, str]
    theme: Mapping[str, str]
    headline: tuple[str, ...]
    indicators: tuple[Indicator, ...]
    behind: Callable[[Inputs, int, int], Places] | None = None
