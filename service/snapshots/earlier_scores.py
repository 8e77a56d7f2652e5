"""Ranks, and how scores have changed over one and twelve months. They are computed when they are read.

A snapshot does not contain them: it never changes, and a hindcast of an earlier origin can come after it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from riskmodel import score_changes
from riskmodel.hindcast_payload import HINDCAST
from riskmodel.months import month
from riskmodel.score_changes import SPANS, RiskScores
from service.snapshots.snapshot_view import SnapshotView
from service.store.tables import hindcast_scores, scores, snapshots

ISSUED = "issued"
"""The basis of scores that were issued in a snapshot."""

CHANGE_KEYS = ("rank", "rank_change", *(f"change_{span}" for span in SPANS), "earlier")
"""The keys that this module adds to a country's scores."""


@dataclass(frozen=True)
class EarlierScores:
    """The risk scores of an earlier origin by country; `basis` is None, and there are no scores, if it is unknown."""

    origin: str
    basis: str | None
    scores: RiskScores


def of_view(connection: sa.Connection, view: SnapshotView) -> dict[str, dict[str, Any]]:
    """Return the `CHANGE_KEYS` of each country of a view, with `reasons` for those that are null."""
    origin = month(view.document["origin"])
    until = view.now if view.as_of else None
    earlier = {
        span: at_origin(connection, view.document, str(origin - months), until) for span, months in SPANS.items()
    }
    changes = score_changes.changes(view.document["countries"], {span: found.scores for span, found in earlier.items()})
    return {iso3: {**change, "earlier": _origins(iso3, earlier)} for iso3, change in changes.items()}


def _origins(iso3: str, earlier: Mapping[str, EarlierScores]) -> dict[str, Any]:
    return {
        span: {"origin": found.origin, "basis": found.basis, "risk_score": found.scores.get(iso3)}
        for span, found in earlier.items()
    }


def at_origin(
    connection: sa.Connection, document: Mapping[str, Any], origin: str, until: datetime | None = None
) -> EarlierScores:
    """Return the scores of an origin: as issued, in the newest snapshot that is not withdrawn, else of the hindcast.

    `document` is the flat document of an outcome: region, kind of data and outcome are taken from it. `until` leaves
    out snapshots that were issued later.
    """
    realm = {name: document[name] for name in ("region", "simulated", "outcome")}
    found = connection.execute(_ISSUED_UNTIL if until else _ISSUED, {**realm, "of": origin, "until": until}).all()
    if found:
        return EarlierScores(origin, ISSUED, {row.location_code: row.risk_score for row in found})
    found = connection.execute(_HINDCAST, {**realm, "of": origin}).all()
    return EarlierScores(origin, HINDCAST if found else None, {row.location_code: row.risk_score for row in found})


def in_realm(table: sa.Table) -> list[sa.ColumnElement[bool]]:
    """Return the condition for rows of a region, kind of data and outcome, with these names as parameters."""
    return [table.c[name] == sa.bindparam(name) for name in ("region", "simulated", "outcome") if name in table.c]


def withdrawn_numbers() -> sa.Select[tuple[int]]:
    """Return the query of a region's withdrawn snapshots. They are few, and an index has them."""
    realm = [snapshots.c[name] == sa.bindparam(name) for name in ("region", "simulated")]
    return sa.select(snapshots.c.id).where(*realm, snapshots.c.withdrawn_at.is_not(None))


def _issued(*more: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Return the query of the scores of an origin in its newest valid snapshot.

    The focal country is in every snapshot of its region, and an index leads from a country and an origin to snapshots.
    """
    of_focal = (scores.c.location_code == sa.bindparam("region")) & (scores.c.origin == sa.bindparam("of"))
    valid = scores.c.snapshot_id.not_in(withdrawn_numbers())
    newest = sa.select(sa.func.max(scores.c.snapshot_id)).where(*in_realm(scores), of_focal, valid, *more)
    of_outcome = scores.c.outcome == sa.bindparam("outcome")
    return sa.select(scores.c.location_code, scores.c.risk_score).where(
        scores.c.snapshot_id == newest.scalar_subquery(), of_outcome
    )


_ISSUED = _issued()
_ISSUED_UNTIL = _issued(scores.c.issued_at <= sa.bindparam("until", type_=scores.c.issued_at.type))
_HINDCAST = sa.select(hindcast_scores.c.location_code, hindcast_scores.c.risk_score).where(
    *in_realm(hindcast_scores), hindcast_scores.c.origin == sa.bindparam("of")
)
