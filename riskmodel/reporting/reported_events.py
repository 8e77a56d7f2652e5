"""The share of a month's events that is reported by now, by release class and country, learned from vintages.

Under-reporting needs it: few events in a month that is only partly reported are no sign of a source that has stopped.
"""

import numpy as np

from riskmodel.reporting.release_class import FINAL, UNSETTLED, Classes
from riskmodel.reporting.vintages import Floats, Revisions

MIN_REVISIONS = 30
"""A share is estimated for a release class from at least this many revised country-months with events."""
PRIOR_WEIGHT = 6.0
"""The weight of the world in a country's share [full months]."""
HALF_WEIGHT = 5.0
"""A month with this many events has half the weight of a very large one: months differ by more than chance."""
MIN_SHARE = 0.05


def share_of_events_reported(seen: Revisions, classes: Classes, iso3: tuple[str, ...]) -> Floats:
    """Return the share of each country-month's events that is reported by now, of the shape of `classes`.

    In (0, 1]: 1 where the figure is settled, NaN where unknown.
    """
    share = np.where(classes >= FINAL, 1.0, np.nan)
    for code in UNSETTLED:
        of_class = seen.only((seen.release_class == code) & (np.fmax(seen.events_first, seen.events_final) > 0))
        if of_class.first.size < MIN_REVISIONS:
            continue
        larger = np.maximum(of_class.events_first, of_class.events_final)
        weight = larger / (larger + HALF_WEIGHT)
        position = {code: row for row, code in enumerate(iso3)}
        row = np.array([position[str(country)] for country in of_class.iso3], dtype=np.intp)
        reported, final = (
            np.bincount(row, weight * events / larger, minlength=len(iso3))
            for events in (of_class.events_first, of_class.events_final)
        )
        world = reported.sum() / max(final.sum(), 1e-9)  # 1e-9: a class whose events were all withdrawn
        of_country = np.clip((reported + PRIOR_WEIGHT * world) / (final + PRIOR_WEIGHT), MIN_SHARE, 1.0)
        share = np.where(classes == code, of_country[:, None], share)
    return np.asarray(share)
