"""What alert rules read from stored hindcasts, and the deaths by which their alerts are judged.

The modules of the web process do not import this one: it knows the archive.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from riskmodel.alerting.judgement import DeathsByMonth
from riskmodel.alerting.metrics import RegionScores
from riskmodel.alerting.replay import of_hindcast, past_scores
from riskmodel.events.view import View
from riskmodel.hindcasts import Hindcast


def region_scores(
    hindcasts: Iterable[Hindcast], bands: Mapping[str, float], families: Sequence[Mapping[str, Any]]
) -> list[RegionScores]:
    """Return what rules read at the origins of some hindcasts of one outcome, oldest first.

    `bands` gives the lowest risk score of each band. `families` declare the indicators, as in a snapshot.
    """
    return past_scores([of_hindcast(each.document, bands, families) for each in hindcasts])


def newest_deaths(view: View, outcome: str, iso3: tuple[str, ...]) -> DeathsByMonth:
    """Return the newest figures of deaths of some countries; NaN for a country that the archive does not have."""
    outcomes = view.outcomes().including(iso3).only(iso3)
    return DeathsByMonth(iso3, outcomes.months, outcomes.deaths[outcome])
