"""The scorecard of the hindcasts: scored from their files against the newest complete outcomes.

The functions are those for issued forecasts. Only the scorecard is stored; the scores of each forecast can be computed
again from the files at any time.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import sqlalchemy as sa

from riskmodel import hindcasts
from riskmodel.errors import Refused
from riskmodel.events.view import View
from riskmodel.hindcasts import SERVED, Hindcast
from riskmodel.home import Home
from riskmodel.months import month
from service.jobs import scorecard_build, snapshot_chain
from service.jobs.forecast_scores import CompleteOutcomes, CountryAtIssue, cells_with_outcome, score
from service.jobs.scorecard_build import CountedForecasts, ScoredForecast
from service.snapshots.scorecard import HINDCAST
from service.store import tables
from service.store.context import Context
from service.store.leases import Fence, check
from service.store.values import canonical

REALM_KEY = ("region", "simulated", "outcome")

log = logging.getLogger("vigie.hindcast")


def update(context: Context, view: View, fence: Fence | None = None) -> int:
    """Write the scorecards of the stored hindcasts whose hindcasts or data have changed. Return how many were computed.

    Hindcasts that are being computed again keep their scorecard until they are stored. Raises Superseded once another
    process has the lease of `fence`.
    """
    computed = 0
    with context.store.reading() as connection:
        stored = _stored(connection, simulated=view.simulated)
    for (region, simulated, outcome), rows in stored.items():
        key = {"region": region, "simulated": simulated, "outcome": outcome, "basis": HINDCAST}
        editions = [[row.origin, row.edition, row.digest] for row in rows]
        input_digest = hashlib.sha256(canonical({"data": view.digest, "hindcasts": editions}).encode()).hexdigest()
        with context.store.reading() as connection:
            if _newest_input(connection, key) == input_digest:
                continue
        found = _read(context.home, rows)
        if found is None:
            log.info("the hindcasts of %s in %s are being computed again: their scorecard stays", outcome, region)
            continue
        document = scorecard(found, CompleteOutcomes.of(view, outcome))
        with context.store.writing() as connection:
            check(connection, fence)
            snapshot = snapshot_chain.in_service(connection, region, simulated=simulated)
            if snapshot is not None:
                scorecard_build.write_scorecard(
                    connection, key, document, snapshot.id, context.clock(), input_digest=input_digest
                )
                computed += 1
    return computed


def scorecard(found: Sequence[Hindcast], outcomes: CompleteOutcomes) -> dict[str, Any]:
    """Return the scorecard of the hindcasts of one region and outcome, ready for JSON."""
    counted = CountedForecasts()
    for hindcast in found:
        for forecaster, draws in hindcast.draws.items():
            cells = counted.served if forecaster == SERVED else counted.baselines.setdefault(forecaster, {})
            for iso3, draws_by_lead in zip(hindcast.iso3, draws, strict=True):
                forecast_id = int(hindcast.origin.astype(int))
                due = list(cells_with_outcome(forecast_id, hindcast.origin, iso3, outcomes))
                if not due or np.isnan(draws_by_lead).any():
                    continue
                for (cell, observed), scores in zip(
                    due, score(draws_by_lead, due, _country(hindcast, iso3), forecaster), strict=True
                ):
                    cells[cell] = ScoredForecast(str(hindcast.origin + cell.lead), observed, scores)
    first = str(min(hindcast.origin for hindcast in found) + 1)
    members = sorted({iso3 for hindcast in found for iso3 in hindcast.iso3})
    awaited = outcomes.incomplete_months()
    months = {iso3: [each for each in awaited.get(iso3, ()) if each >= first] for iso3 in members}
    bases = [hindcast.data_basis for hindcast in found]
    return scorecard_build.build_scorecard(counted) | {
        "incomplete": [{"location_code": iso3, "months": each} for iso3, each in months.items() if each],
        "data_bases": {basis: bases.count(basis) for basis in ("as_known", "final_figures")},
    }


def _country(hindcast: Hindcast, iso3: str) -> CountryAtIssue:
    """Return what a hindcast says of a country, read as from a snapshot."""
    by_rule = {country["location_code"]: country["escalation_h24"] for country in hindcast.countries}
    part = {"countries": hindcast.countries, "model": {"id": SERVED}, "shadow": None, "escalation_h24": by_rule}
    return CountryAtIssue.of(part, iso3)


def _stored(connection: sa.Connection, *, simulated: bool) -> Mapping[tuple[str, bool, str], Sequence[sa.Row[Any]]]:
    """Return the stored hindcasts of a kind of data, by region, kind of data and outcome."""
    c = tables.hindcasts.c
    rows = sa.select(*(c[name] for name in (*REALM_KEY, "origin", "edition", "digest"))).where(c.simulated == simulated)
    ordered = connection.execute(rows.order_by(c.region, c.outcome, c.origin)).all()
    return {
        key: list(group) for key, group in groupby(ordered, key=lambda row: (row.region, row.simulated, row.outcome))
    }


def _newest_input(connection: sa.Connection, key: Mapping[str, Any]) -> str | None:
    c = tables.scorecards.c
    newest = sa.select(c.input_digest).where(*(c[name] == value for name, value in key.items()))
    return connection.scalar(newest.order_by(c.id.desc()).limit(1))


def _read(home: Home, rows: Sequence[sa.Row[Any]]) -> list[Hindcast] | None:
    """Return the stored hindcasts from their files; None unless all files are intact and of the stored edition."""
    region, simulated, outcome = (getattr(rows[0], name) for name in REALM_KEY)
    files = hindcasts.stored(home, region, simulated=simulated, outcome=outcome)
    found = []
    for row in rows:
        try:
            hindcast = hindcasts.load(files[month(row.origin)])
        except (KeyError, Refused):
            return None
        if hindcast.edition != row.edition:
            return None
        found.append(hindcast)
    return found
