"""Ranks, and how scores have changed over one and twelve months. They are computed when they are read.

A snapshot does not contain them: it never changes, and a hindcast of an earlier origin can come after it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from riskmodel.months import month
from service.snapshots.hindcast_view import HINDCAST
from service.snapshots.snapshot_view import SnapshotView
from service.store.tables import hindcast_scores, scores, snapshots

ISSUED = "issued"
"""The basis of scores that were issued in a snapshot."""

SPANS: Mapping[str, int] = {"1m": 1, "12m": 12}
"""Over how many months changes are measured [months], by the end of their keys."""

CHANGE_KEYS = ("rank", "rank_change", *(f"change_{span}" for span in SPANS), "earlier")
"""The keys that this module adds to a country's scores."""

NO_EARLIER_SCORE = "no_earlier_score"
"""The reason where there is no score of the earlier origin."""


@dataclass(frozen=True)
class EarlierScores:
    """The risk scores of an earlier origin by country; `basis` is None, and there are no scores, if it is unknown."""

    origin: str
    basis: str | None
    scores: Mapping[str, float | None]


def of_view(connection: sa.Connection, view: SnapshotView) -> dict[str, dict[str, Any]]:
    """Return the `CHANGE_KEYS` of each country of a view, with `reasons` for those that are null."""
    origin = month(view.document["origin"])
    until = view.now if view.as_of else None
    earlier = {span: _at_origin(connection, view, str(origin - months), until) for span, months in SPANS.items()}
    now = {row["location_code"]: row["risk_score"] for row in view.document["countries"]}
    ranks, ranks_before = _ranks(now), _ranks(earlier["1m"].scores)
    unknown = {row["location_code"]: row["reasons"].get("risk_score") for row in view.document["countries"]}
    return {iso3: _of_country(iso3, now[iso3], ranks, ranks_before, earlier, unknown[iso3]) for iso3 in now}


def _of_country(
    iso3: str,
    score: float | None,
    ranks: Mapping[str, int],
    ranks_before: Mapping[str, int],
    earlier: Mapping[str, EarlierScores],
    unknown: str | None,
) -> dict[str, Any]:
    before = {span: found.scores.get(iso3) for span, found in earlier.items()}
    rank, rank_before = ranks.get(iso3), ranks_before.get(iso3)
    values = {
        "rank": rank,
        "rank_change": None if rank is None or rank_before is None else rank_before - rank,
        **{
            f"change_{span}": None if score is None or past is None else round(score - past, 1)
            for span, past in before.items()
        },
    }
    reason = NO_EARLIER_SCORE if score is not None else unknown or "unknown"
    origins = {
        span: {"origin": found.origin, "basis": found.basis, "risk_score": before[span]}
        for span, found in earlier.items()
    }
    return {
        **values,
        "earlier": origins,
        "reasons": {name: reason for name, value in values.items() if value is None},
    }


def _ranks(scores_by_country: Mapping[str, float | None]) -> dict[str, int]:
    """Return the rank of each country with a score: 1 is the highest score; equal scores share a rank."""
    known = {iso3: score for iso3, score in scores_by_country.items() if score is not None}
    return {iso3: 1 + sum(other > score for other in known.values()) for iso3, score in known.items()}


def _at_origin(connection: sa.Connection, view: SnapshotView, origin: str, until: datetime | None) -> EarlierScores:
    """Return the scores of an origin: as issued, in the newest snapshot that is not withdrawn, else of the hindcast.

    `until` leaves out snapshots that were issued later.
    """
    realm = {name: view.document[name] for name in ("region", "simulated", "outcome")}
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
