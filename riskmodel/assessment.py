"""What a view says of a region at an origin: all that the model reads, and all that is told beside its forecast.

Only as many months and countries are computed as the region's indicators need. It knows no store and no snapshot.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from riskmodel import geography
from riskmodel.errors import BadInput
from riskmodel.events.view import View
from riskmodel.indicators import spillover
from riskmodel.indicators.gathering import gather
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.panel import INDICATORS, Panel, assemble
from riskmodel.months import Month
from riskmodel.outcomes import CountryMonths
from riskmodel.reporting import precision
from riskmodel.reporting.completeness import Completeness, estimate_completeness, nowcast

EARLIER_ORIGINS = 12
"""How many origins before the present one are assessed beside it [months]: what a country usually is."""
MEMORY = EARLIER_ORIGINS + max(indicator.window for indicator in INDICATORS)


@dataclass(frozen=True)
class Assessment:
    """A region at an origin.

    `observed` are deaths as reported, `expected` those to be expected in the end, of the region's members and of the
    countries around them that spill over; `inputs` are of these countries, `panel` of the members alone. All are of the
    last `MEMORY` months.
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
    """The region's origin. Raises BadInput where no member has a history."""
    origin = view.origin(members, outcome)
    if origin is None:
        raise BadInput(
            f"no country of the region of {members[0]} has 24 unbroken months of {outcome} deaths: "
            "take in a history (vigie ingest monthly …, or vigie ingest ucdp … --covers …)"
        )
    return origin


def assess(
    view: View, members: tuple[str, ...], outcome: str, origin: Month, completeness: Completeness | None = None
) -> Assessment:
    """Assess a region; the completeness of its reports is learned from the view unless it is given."""
    completeness = completeness or estimate_completeness(view, outcome)
    told = view.outcomes().histories(outcome, origin)
    around = tuple(code for code in told.iso3 if code in _around(members))
    observed = told.only(around).including(members).until(origin).since(origin - MEMORY + 1)
    spread = precision.spread(view).only(around).including(members).until(origin).since(origin - MEMORY + 1)
    expected = nowcast(observed, completeness)
    inputs = gather(view, observed, outcome, nowcast(spread, completeness).deaths[outcome], completeness.on(observed))
    panel = assemble(expected, outcome, inputs).only(members)
    return Assessment(members, outcome, origin, observed, expected, completeness, inputs, panel)


def _around(members: Sequence[str]) -> set[str]:
    """The members, their neighbours by land, and the countries whose capital lies within reach of a member's."""
    known = geography.countries()
    capitals = np.array([(country.latitude, country.longitude) for country in known.values()])
    near = {code for member in members for code in known[member].neighbours}
    for member in members:
        here = known[member]
        far = geography.distance(here.latitude, here.longitude, capitals[:, 0], capitals[:, 1])
        near |= {code for code, km in zip(known, far, strict=True) if km <= spillover.REACH}
    return near | set(members)
