"""What-if computation: what the model would forecast if a country had seen more or fewer deaths in its last months."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from riskmodel import bundle, geography
from riskmodel.assessment import Assessment, assess, region_origin
from riskmodel.errors import BadInput
from riskmodel.events.archive import Archive
from riskmodel.explanation.drivers import TARGETS, Points
from riskmodel.explanation.neighbour_effects import CAVEAT, RegionScores
from riskmodel.forecasting.component import Explainable
from riskmodel.home import Home
from riskmodel.indicators.panel import assemble
from riskmodel.outcomes import OUTCOME_LABELS, ranked

REPLICATES = 1000
"""How often the model's ensemble is resampled for the interval."""


@dataclass(frozen=True)
class WhatIfEffect:
    """The targets of each member as they are and as they would be, of shape (member, target) [points].

    `low` and `high` are the 90 % interval of the difference, from resampling the model's ensemble. NaN for a member
    that cannot be forecast.
    """

    members: tuple[str, ...]
    before: Points
    after: Points
    low: Points
    high: Points


def what_if_effect(
    model: Explainable, assessment: Assessment, iso3: str, factor: float, months: int, rng: np.random.Generator
) -> WhatIfEffect:
    """Return the effect of multiplying a country's deaths of the last `months` [months] by `factor`.

    The deaths of its events are multiplied too. Raises ValueError for a country that is not in the assessment.
    """
    last_unchanged = len(assessment.inputs.months) - 1 - months
    row = assessment.inputs.iso3.index(iso3)
    inputs = assessment.inputs.with_deaths_multiplied(row, last_unchanged, factor)
    deaths = assessment.expected.deaths[assessment.outcome].copy()
    deaths[row, last_unchanged + 1 :] = np.rint(deaths[row, last_unchanged + 1 :] * factor)
    expected = assessment.expected.with_deaths(assessment.outcome, deaths)
    panel = assemble(expected, assessment.outcome, inputs).only(assessment.members)
    before, after = (
        RegionScores(model, each, assessment.origin).ensemble_targets(each) for each in (assessment.panel, panel)
    )
    resamples = rng.integers(len(before), size=(REPLICATES, len(before)))
    differences = np.stack([(after - before)[resample].mean(axis=0) for resample in resamples])
    low, high = np.quantile(differences, (0.05, 0.95), axis=0)
    return WhatIfEffect(assessment.members, before.mean(axis=0), after.mean(axis=0), low, high)


def what_if(
    home: Home, iso3: str, factor: float, months: int, region: str, outcome: str | None = None
) -> dict[str, Any]:
    """Return the what-if result of `vigie whatif` and `/v1/whatif`, ready for JSON.

    It uses the archive and the model in service of a home. `factor` multiplies the deaths of `iso3` in its last
    `months` [months]; `region` is the region's focal country. `outcome` is the headline of those in service by default.
    Raises BadInput where there are no data, no model, or no data on the country.
    """
    view = Archive(home.archive).view()
    if not view.ingests:
        raise BadInput("the archive is empty: load data with vigie ingest")
    champions = bundle.champions(home.models, simulated=view.simulated)
    if not champions or (outcome is not None and outcome not in champions):
        kind = "SIMULATED" if view.simulated else "real"
        of = f" of {OUTCOME_LABELS[outcome]['en']}" if outcome else ""
        raise BadInput(f"there is no model{of} trained on {kind} data: train one with vigie train")
    members = geography.region(region).members
    origins = {each: view.origin(members, each) for each in champions}
    known = ranked({each: str(origin) for each, origin in origins.items() if origin is not None})
    model = bundle.load(champions[outcome or (known or list(champions))[0]])
    assessment = assess(view, members, model.outcome, region_origin(view, members, model.outcome))
    if iso3 not in assessment.inputs.iso3:
        raise BadInput(
            f"there are no data on {iso3}, or it is too far from the region of {region} to be read by the model"
        )
    effect = what_if_effect(model.model, assessment, iso3, factor, months, np.random.default_rng(0))
    return {
        "scenario": {"location_code": iso3, "deaths": factor, "months": months},
        "origin": str(assessment.origin),
        "outcome": assessment.outcome,
        "outcome_label": OUTCOME_LABELS[assessment.outcome],
        "model_id": model.id,
        "simulated": view.simulated,
        "deaths": _multiplied_deaths(assessment, iso3, months),
        "data": _rows(effect),
        "note": CAVEAT,
    }


def _multiplied_deaths(assessment: Assessment, iso3: str, months: int) -> int | None:
    """The deaths that are multiplied [deaths]; None where one of the months is unknown."""
    expected = assessment.expected
    deaths = expected.deaths[assessment.outcome][expected.iso3.index(iso3), -months:].sum()
    return None if np.isnan(deaths) else int(deaths)


def _rows(effect: WhatIfEffect) -> list[dict[str, Any]]:
    """Each member's targets before and after, and the difference with its interval; unknown is None."""
    return [
        {
            "location_code": member,
            **{
                target: {
                    "before": _rounded(effect.before[row, t]),
                    "after": _rounded(effect.after[row, t]),
                    "difference": _rounded(effect.after[row, t] - effect.before[row, t]),
                    "low": _rounded(effect.low[row, t]),
                    "high": _rounded(effect.high[row, t]),
                }
                for t, target in enumerate(TARGETS)
            },
        }
        for row, member in enumerate(effect.members)
    ]


def _rounded(points: float) -> float | None:
    return None if np.isnan(points) else round(float(points), 2) + 0.0  # + 0.0: no "-0.0" in JSON
