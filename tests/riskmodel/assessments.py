"""An assessment of the Sahel for tests, from invented deaths, and a small pool fitted to it."""

import numpy as np
from histories import SAHEL, rectangle
from numpy.typing import NDArray

from riskmodel.assessment import Assessment
from riskmodel.forecasting.baselines import SMOOTHED_HISTORY
from riskmodel.forecasting.forest import Forest
from riskmodel.forecasting.pool import Pool, PoolMember
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.panel import assemble
from riskmodel.reporting.release_class import NEXT_FINAL
from riskmodel.reporting.revisions import RevisionModel
from riskmodel.reporting.unsettled import ReportingState, final_figures

MONTHS = 200
POOL = Pool((PoolMember(Forest(trees=10, leaf=5, draws=500), 500), PoolMember(SMOOTHED_HISTORY, 500)))


def assessment_of(deaths: NDArray[np.float64]) -> Assessment:
    """An assessment of the region where deaths are the only data."""
    observed = rectangle(deaths)
    settled = np.full(observed.shape, NEXT_FINAL, dtype=np.int8)
    share = np.ones(settled.shape)
    reporting = ReportingState("state_based", observed.iso3, observed.months, settled, share, RevisionModel({}))
    final = final_figures(observed, reporting, 1)
    inputs = Inputs(observed.iso3, observed.months, {"deaths": deaths})
    panel = assemble(observed, "state_based", inputs)
    return Assessment(SAHEL, "state_based", observed.months[-1], observed, observed, reporting, final, inputs, panel)
