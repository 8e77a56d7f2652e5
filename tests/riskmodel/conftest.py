"""Fixtures of the domain's tests."""

import pytest
from assessments import MONTHS, POOL, assessment_of
from histories import made

from riskmodel.assessment import Assessment
from riskmodel.forecasting.pool import Pool


@pytest.fixture(scope="session")
def assessment() -> Assessment:
    """An assessment of the Sahel, from invented deaths."""
    return assessment_of(made(5, MONTHS))


@pytest.fixture(scope="session")
def pool(assessment: Assessment) -> Pool:
    """A small pool fitted to the assessment."""
    return POOL.fit(assessment.panel, assessment.origin)
