"""An assessment of the Sahel for tests, from invented deaths, and a small pool fitted to it."""

import numpy as np
from histories import SAHEL, rectangle
from numpy.typing import NDArray

from riskmodel.assessment import Assessment
from riskmodel.forecasting.forest import Forest
from riskmodel.forecasting.pool import SMOOTHED_HISTORY, Pool, PoolMember
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.panel import assemble
from riskmodel.reporting.completeness import Completeness, ReportingCurve

MONTHS = 200
POOL = Pool((PoolMember(Forest(trees=10, leaf=5, draws=500), 500), PoolMember(SMOOTHED_HISTORY, 500)))


def assessment_of(deaths: NDArray[np.float64]) -> Assessment:
    """An assessment of the region where deaths are the only data."""
    observed = rectangle(deaths)
    unknown = np.full(observed.shape, np.nan)
    curve = ReportingCurve(unknown, unknown, np.full(24, np.nan))
    source = observed.source["state_based"]
    completeness = Completeness("state_based", observed.iso3, observed.months, source, unknown, unknown, curve)
    inputs = Inputs(observed.iso3, observed.months, {"deaths": deaths})
    panel = assemble(observed, "state_based", inputs)
    return Assessment(SAHEL, "state_based", observed.months[-1], observed, observed, completeness, inputs, panel)
