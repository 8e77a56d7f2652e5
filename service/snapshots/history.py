"""Scores and signals of every snapshot as rows, one per outcome and country, so that a history reads no documents.

A document is about a megabyte: ten years of them are too much to read for one line each.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from riskmodel.months import last_day, month
from riskmodel.outcomes import ranked
from service.store.tables import scores, snapshots
from service.store.values import instant

SCORE_VALUES = ("risk_score", "band", "escalation_probability", "onset_probability", "expected_deaths")
SIGNAL_VALUES = ("signals",)
BRIEF_SIGNAL_KEYS = (
    *("indicator", "family", "value", "unit", "months", "highest_in_five_years", "as_high", "past_months", "since"),
    "sentence",
)
"""The keys of a signal that a history has."""


def add_missing(connection: sa.Connection) -> None:
    """Insert the scores of every snapshot that has none yet."""
    inserted = sa.select(scores.c.snapshot_id).where(scores.c.snapshot_id == snapshots.c.id)
    missing = connection.scalars(sa.select(snapshots.c.id).where(~inserted.exists()).order_by(snapshots.c.id)).all()
    for number in missing:
        row = connection.execute(sa.select(snapshots).where(snapshots.c.id == number)).one()
        score_rows = [
            _score_row(row, outcome, part, country)
            for outcome, part in row.document["outcomes"].items()
            for country in part["countries"]
        ]
        connection.execute(sa.insert(scores), score_rows)


def _score_row(
    snapshot: sa.Row[Any], outcome: str, part: Mapping[str, Any], country: Mapping[str, Any]
) -> dict[str, Any]:
    latest = country["latest_month"]
    return {
        "snapshot_id": snapshot.id,
        "outcome": outcome,
        "location_code": country["location_code"],
        **{name: getattr(snapshot, name) for name in ("region", "simulated", "issued_at")},
        "origin": part["origin"],
        "model_id": part["model"]["id"],
        "model_origin": part["model"]["origin"],
        **values_of(country),
        "release_class": latest["release_class"] if latest else None,
        "reasons": {
            **reasons_of(country),
            **({} if latest else {"release_class": country["reasons"]["latest_month"]}),
        },
    }


def values_of(country: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores and the signals of a country that a history has."""
    signals = country["signals"]
    brief = None if signals is None else [{key: signal[key] for key in BRIEF_SIGNAL_KEYS} for signal in signals]
    return {**{name: country[name] for name in SCORE_VALUES}, "signals": brief}


def reasons_of(country: Mapping[str, Any]) -> dict[str, str]:
    """Return why some of `values_of` are null."""
    return {name: why for name, why in country["reasons"].items() if name in (*SCORE_VALUES, *SIGNAL_VALUES)}


def withdrawn(
    connection: sa.Connection, region: str, simulated: bool, numbers: Sequence[int]
) -> dict[int, sa.Row[Any]]:
    """Return those of some snapshots that are withdrawn, by number, with when and why."""
    if not numbers:
        return {}
    in_realm = (snapshots.c.region == region) & (snapshots.c.simulated == simulated)
    # The partial index of withdrawn snapshots answers this range; they are few.
    in_range = snapshots.c.id.between(min(numbers), max(numbers))
    columns = (snapshots.c.id, snapshots.c.withdrawn_at, snapshots.c.withdrawn_reason)
    query = sa.select(*columns).where(in_realm, in_range, snapshots.c.withdrawn_at.is_not(None))
    rows: list[sa.Row[Any]] = list(connection.execute(query))
    return {row.id: row for row in rows}


def newest(
    connection: sa.Connection,
    region: str,
    simulated: bool,
    limit: int,
    before: int | None = None,
    outcome: str | None = None,
) -> list[sa.Row[Any]]:
    """Return number, digest and issue time of a region's newest snapshots, withdrawn or not, newest first.

    `before` leaves out the snapshots from that number on, and `outcome` those without it.
    """
    columns = (snapshots.c.id, snapshots.c.digest, snapshots.c.issued_at)
    in_realm = (snapshots.c.region == region) & (snapshots.c.simulated == simulated)
    query = sa.select(*columns).where(in_realm)
    if before is not None:
        query = query.where(snapshots.c.id < before)
    if outcome is not None:
        query = query.where(has_outcome(outcome))
    return list(connection.execute(query.order_by(snapshots.c.id.desc()).limit(limit)))


def entries(
    connection: sa.Connection,
    region: str,
    simulated: bool,
    limit: int,
    before: int | None = None,
    outcome: str | None = None,
) -> list[dict[str, Any]]:
    """Return one entry for each of a region's newest snapshots, withdrawn or not, newest first.

    Origin and model are those of `outcome`; without it, those of each snapshot's headline.
    """
    rows = newest(connection, region, simulated, limit, before, outcome)
    numbers = [row.id for row in rows]
    withdrawals = withdrawn(connection, region, simulated, numbers)
    parts = outcomes_of(connection, numbers)
    entries = []
    for row in rows:
        fact = parts[row.id][outcome] if outcome else next(iter(parts[row.id].values()))
        entries.append(
            {
                "snapshot_id": row.id,
                "issued_at": instant(row.issued_at),
                "outcome": fact.outcome,
                "outcomes": list(parts[row.id]),
                "origin": fact.origin,
                "data_as_of": last_day(month(fact.origin)),
                "model_id": fact.model_id,
                "digest": row.digest,
                **_withdrawal(withdrawals.get(row.id)),
            }
        )
    return entries


def has_outcome(outcome: str) -> sa.ColumnElement[bool]:
    """Return whether a snapshot has an outcome, as a condition of a query of `snapshots`."""
    return sa.exists().where(scores.c.snapshot_id == snapshots.c.id, scores.c.outcome == outcome)


def outcomes_of(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return a row with origin and model for each outcome of some snapshots, by snapshot number, the headline first."""
    facts = sa.select(scores.c.snapshot_id, scores.c.outcome, scores.c.origin, scores.c.model_id).distinct()
    found: dict[int, dict[str, Any]] = {number: {} for number in numbers}
    for fact in connection.execute(facts.where(scores.c.snapshot_id.in_(numbers))):
        found[fact.snapshot_id][fact.outcome] = fact
    return {
        number: {name: parts[name] for name in ranked({name: part.origin for name, part in parts.items()})}
        for number, parts in found.items()
    }


def _withdrawal(row: sa.Row[Any] | None) -> dict[str, Any]:
    return {
        "withdrawn_at": instant(row.withdrawn_at) if row else None,
        "withdrawn_reason": row.withdrawn_reason if row else None,
    }


def of_snapshots(connection: sa.Connection, numbers: Sequence[int], outcome: str) -> dict[int, list[sa.Row[Any]]]:
    """Return the rows of scores of an outcome in some snapshots, by snapshot number."""
    of_outcome = scores.c.snapshot_id.in_(numbers) & (scores.c.outcome == outcome)
    query = sa.select(scores).where(of_outcome).order_by(scores.c.snapshot_id)
    rows_by_snapshot: dict[int, list[sa.Row[Any]]] = {number: [] for number in numbers}
    for row in connection.execute(query):
        rows_by_snapshot[row.snapshot_id].append(row)
    return rows_by_snapshot
