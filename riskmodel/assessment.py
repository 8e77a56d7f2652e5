"""The assessment of a region at an origin: everything that the model reads, and the deaths that scores compare with.

It computes only the months and countries that the region's indicators need.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from riskmodel import geography
from riskmodel.errors import BadInput
from riskmodel.events.view import View
from riskmodel.indicators.families import spillover
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.panel import INDICATORS, Panel, assemble
from riskmodel.indicators.read_inputs import read_inputs
from riskmodel.months import Month
from riskmodel.outcomes import OUTCOME_LABELS, CountryMonths
from riskmodel.reporting.completeness import Completeness, estimate_completeness, nowcast
from riskmodel.reporting.precision import spread_vague_deaths

EARLIER_ORIGINS = 12
"""An assessment also has the indicators of this many origins before the present one [months]."""
ASSESSED_MONTHS = EARLIER_ORIGINS + max(indicator.window for indicator in INDICATORS)


@dataclass(frozen=True)
class Assessment:
    """A region at an origin, with the last `ASSESSED_MONTHS`.

    `observed` are the deaths as reported, `expected` those to expect in the final data. These and `inputs` have the
    region's members and the countries around them that the spill-over indicators read; `panel` has the members alone.
    """

    members: tuple[str, ...]
    outcome: str
    origin: Month
    observed: CountryMonths
    expected: CountryMonths
    completeness: Completeness
    inputs: Inputs
    panel: Panel


def region_origin(view: View, members: Sequence[str], outcome: str) -> Month:
    """Return the region's origin. Raises BadInput where no member has a history."""
    origin = view.origin(members, outcome)
    if origin is None:
        raise BadInput(
            f"no country of the region of {members[0]} has 24 unbroken months of deaths in "
            f"{OUTCOME_LABELS[outcome]['en']}: load a history (vigie ingest monthly …, or vigie ingest ucdp … "
            "--covers …)"
        )
    return origin


def assess(
    view: View, members: tuple[str, ...], outcome: str, origin: Month, completeness: Completeness | None = None
) -> Assessment:
    """Assess a region; by default the completeness of its reports is estimated from the view."""
    completeness = completeness or estimate_completeness(view, outcome)
    with_history = view.outcomes().with_history(outcome, origin)
    around = _countries_around(members)
    countries = tuple(code for code in with_history.iso3 if code in around)

    def cut(frame: CountryMonths) -> CountryMonths:
        return frame.only(countries).including(members).until(origin).since(origin - ASSESSED_MONTHS + 1)

    observed, spread = cut(with_history), cut(spread_vague_deaths(view))
    expected = nowcast(observed, completeness)
    deaths = nowcast(spread, completeness).deaths[outcome]
    inputs = read_inputs(view, observed, outcome, deaths, completeness.share_of_deaths(observed))
    panel = assemble(expected, outcome, inputs).only(members)
    return Assessment(members, outcome, origin, observed, expected, completeness, inputs, panel)


def _countries_around(members: Sequence[str]) -> set[str]:
    """The members, their neighbours by land, and the countries whose capital is near enough to one of a member."""
    countries = geography.countries()
    capitals = np.array([(country.latitude, country.longitude) for country in countries.values()])
    around = {code for member in members for code in countries[member].neighbours}
    for member in members:
        here = countries[member]
        distances = geography.distance(here.latitude, here.longitude, capitals[:, 0], capitals[:, 1])
        around |= {code for code, km in zip(countries, distances, strict=True) if km <= spillover.MAX_DISTANCE}
    return around | set(members)
