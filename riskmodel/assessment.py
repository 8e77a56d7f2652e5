"""The assessment of a region at an origin: everything that the model reads, and the deaths that scores compare with.

It computes only the months and countries that the region's indicators need.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from riskmodel import geography
from riskmodel.errors import BadInput
from riskmodel.events.view import View
from riskmodel.forecasting.component import Component
from riskmodel.forecasting.forecast import Forecast
from riskmodel.forecasting.mixture import mixed_forecast
from riskmodel.indicators.families import spillover
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.panel import INDICATORS, Panel, assemble
from riskmodel.indicators.read_inputs import read_inputs
from riskmodel.months import Month
from riskmodel.outcomes import OUTCOME_LABELS, CountryMonths
from riskmodel.reporting.precision import spread_vague_deaths
from riskmodel.reporting.unsettled import FinalFigures, ReportingState, final_figures, reporting_state, revise_spread

EARLIER_ORIGINS = 12
"""An assessment also has the indicators of this many origins before the present one [months]."""
HISTORIES = 10
"""A forecast mixes over this many joint histories of the months that can still be revised."""
READ_DEATHS = [i for i, indicator in enumerate(INDICATORS) if "deaths" in indicator.inputs]
"""The indices of the indicators that a revision of deaths changes. Events are not revised."""
ASSESSED_MONTHS = EARLIER_ORIGINS + max(indicator.window for indicator in INDICATORS)


@dataclass(frozen=True)
class Assessment:
    """A region at an origin, with the last `ASSESSED_MONTHS`.

    `observed` are the deaths as reported, `expected` those to expect in the final data, and `final` their
    distributions. These and `inputs` have the region's members and the countries around them that the spill-over
    indicators read; `panel` has the members alone, with the expected deaths. `histories` are panels with joint draws of
    the final figures; there are none where everything is settled.
    """

    members: tuple[str, ...]
    outcome: str
    origin: Month
    observed: CountryMonths
    expected: CountryMonths
    reporting: ReportingState
    final: FinalFigures
    inputs: Inputs
    panel: Panel
    histories: tuple[Panel, ...] = ()

    def forecast(self, component: Component) -> Forecast:
        """Return a component's forecast of the members, mixed over the histories."""
        return mixed_forecast(component, self.panel, self.histories, self.origin)


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
    view: View, members: tuple[str, ...], outcome: str, origin: Month, reporting: ReportingState | None = None
) -> Assessment:
    """Assess a region; by default the state of its reports is that of the view."""
    reporting = reporting or reporting_state(view, outcome)
    with_history = view.outcomes().with_history(outcome, origin)
    around = _countries_around(members)
    countries = tuple(code for code in with_history.iso3 if code in around)

    def cut(frame: CountryMonths) -> CountryMonths:
        return frame.only(countries).including(members).until(origin).since(origin - ASSESSED_MONTHS + 1)

    observed, spread = cut(with_history), cut(spread_vague_deaths(view))
    final = final_figures(observed, reporting, HISTORIES)
    expected = final.expected()
    deaths = revise_spread(spread, observed, expected, outcome)
    shares = {"reported_ratio": final.reported_ratio(), "share_of_events": reporting.share_of_events_of(observed)}
    inputs = read_inputs(view, observed, outcome, deaths, shares)
    panel = assemble(expected, outcome, inputs).only(members)
    histories = () if final.settled else _histories(final, spread, inputs, panel)
    return Assessment(members, outcome, origin, observed, expected, reporting, final, inputs, panel, histories)


def region_panel(view: View, members: tuple[str, ...], outcome: str) -> Panel:
    """Return the indicators of a region over all months of a view, from deaths as they are reported.

    Countries without a history are NaN throughout.
    """
    observed, around = view.outcomes().including(members), _countries_around(members)
    frame = observed.only(tuple(code for code in observed.iso3 if code in around))
    deaths = spread_vague_deaths(view).including(members).only(frame.iso3).deaths[outcome]
    return assemble(frame, outcome, read_inputs(view, frame, outcome, deaths)).only(members)


def _histories(final: FinalFigures, spread: CountryMonths, inputs: Inputs, panel: Panel) -> tuple[Panel, ...]:
    """The members' panels with joint draws of the final figures; of the indicators, only the last month differs."""
    # Without events, which these indicators do not read: to cut them to the last months would take longest.
    recent_inputs = replace(inputs, events=None).last(max(INDICATORS[i].window for i in READ_DEATHS))
    months = len(recent_inputs.months)
    panels = []
    for history in final.histories():
        deaths = revise_spread(spread, final.observed, history, final.outcome)[:, -months:]
        drawn = replace(recent_inputs, tables={**recent_inputs.tables, "deaths": deaths})
        recent = assemble(
            history.since(drawn.months[0]), final.outcome, drawn, indicators=[INDICATORS[i] for i in READ_DEATHS]
        ).only(panel.iso3)
        values = panel.values.copy()
        values[:, -1, READ_DEATHS] = recent.values[:, -1]
        panels.append(replace(panel, values=values, deaths=history.only(panel.iso3).deaths[final.outcome]))
    return tuple(panels)


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
