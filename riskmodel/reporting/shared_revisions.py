"""Which revisions teach the revision model of an outcome: its own, or those of all deaths.

State-based deaths have fewer revisions than all deaths, and an archive can know the vintages of all deaths alone. The
choice is made on the last year of the outcome's own revisions, by models that have seen the years before.
"""

import numpy as np
from numpy.typing import NDArray

from riskmodel.events.view import View
from riskmodel.outcomes import OUTCOMES
from riskmodel.reporting.revisions import RevisionModel, even_ranks
from riskmodel.reporting.vintages import Revisions, revisions_of
from riskmodel.scoring import log_crps

SHARED = OUTCOMES[0]
"""The outcome whose revisions can teach the model of another one."""
MIN_REVISIONS = 30
"""A choice needs at least this many reports with deaths, both in the last year and before; without it, more count."""
RANKS = 100


def teaching_revisions(view: View, outcome: str) -> tuple[str, Revisions]:
    """Return the outcome whose revisions predict those of an outcome best, and these revisions."""
    own = revisions_of(view, outcome)
    if outcome == SHARED:
        return outcome, own
    shared = revisions_of(view, SHARED)
    if not shared.first.size:
        return outcome, own
    return (SHARED, shared) if _shared_is_better(own, shared) else (outcome, own)


def _shared_is_better(own: Revisions, shared: Revisions) -> bool:
    """Whether the last year of some revisions is predicted better by the shared ones of the years before."""
    reported = own.only(own.first >= 1)
    if not reported.first.size:
        return True
    years = _years(reported)
    test, before = reported.only(years == years.max()), own.only(_years(own) < years.max())
    if min(test.first.size, int((before.first >= 1).sum())) < MIN_REVISIONS:
        return bool((shared.first >= 1).sum() > reported.first.size)
    return _loss(shared.only(_years(shared) < years.max()), test) < _loss(before, test)


def _loss(seen: Revisions, test: Revisions) -> float:
    ranks = np.broadcast_to(even_ranks(RANKS), (test.first.size, RANKS))
    model = RevisionModel.fit(seen)
    draws = model.ranks_to_figures(test.release_class, test.iso3, test.first, test.activity, ranks)
    return float(log_crps(draws, test.final).mean())


def _years(revisions: Revisions) -> NDArray[np.int64]:
    return revisions.month.astype("datetime64[Y]").astype(np.int64)
