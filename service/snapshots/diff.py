"""Differences between two snapshots, read from their documents: scores, bands, model and data.

`service.jobs.attribution` goes further: it computes both snapshots again and splits each difference by its causes.
"""

from collections.abc import Mapping
from typing import Any

from riskmodel import geography
from service.snapshots.outcome_parts import of_outcome
from service.snapshots.snapshot_cache import Snapshot
from service.snapshots.snapshot_view import NOT_IN_SNAPSHOT
from service.store.values import instant

DIFFERENCE_DIGITS = {"risk_score": 1, "escalation_probability": 4, "expected_deaths": 1}
"""The numbers that are subtracted, and the digits of each difference."""

ATTRIBUTION_HINT = {
    "en": "vigie changed {before} {after} --outcome {outcome} computes both snapshots again "
    "and splits each change by its causes",
    "fr": "vigie changed {before} {after} --outcome {outcome} recalcule les deux bulletins "
    "et répartit chaque écart entre ses causes",
}


def between(before: Snapshot, after: Snapshot, outcome: str | None = None) -> dict[str, Any]:
    """Return the differences in an outcome from one snapshot to another, country by country.

    Without an `outcome`, it is the headline of `after`. Raises OutcomeMissing if one of them does not have it.
    """
    new = of_outcome(after.document, outcome)
    old = of_outcome(before.document, new["outcome"])
    old_rows, new_rows = ({row["location_code"]: row for row in doc["countries"]} for doc in (old, new))
    countries = dict.fromkeys([*new_rows, *old_rows])
    return {
        "data": [_country(iso3, old_rows.get(iso3), new_rows.get(iso3)) for iso3 in countries],
        "before": _side(before, old),
        "after": _side(after, new),
        "differs": _differs(old, new),
        "ingests": {"added": _missing(new, old), "removed": _missing(old, new)},
        "attribution": {
            code: text.format(before=before.id, after=after.id, outcome=new["outcome"])
            for code, text in ATTRIBUTION_HINT.items()
        },
    }


def _country(iso3: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"location_code": iso3, "location_name": geography.country(iso3).name()}
    reasons = {}
    for name in ("risk_score", "band", "escalation_probability", "expected_deaths"):
        for when, row in (("before", before), ("after", after)):
            entry[f"{name}_{when}"] = value = row[name] if row else None
            if value is None:
                reason = row["reasons"].get("risk_score", "unknown") if row else NOT_IN_SNAPSHOT
                reasons[f"{name}_{when}"] = reason
        if name in DIFFERENCE_DIGITS:
            old, new = entry[f"{name}_before"], entry[f"{name}_after"]
            known = old is not None and new is not None
            entry[f"{name}_difference"] = round(new - old, DIFFERENCE_DIGITS[name]) if known else None
    return {**entry, "reasons": reasons}


def _side(snapshot: Snapshot, document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "snapshot_id": snapshot.id,
        "digest": snapshot.digest,
        **{name: document[name] for name in ("issued_at", "origin", "data_as_of", "source")},
        "data_digest": document["data"]["digest"],
        "model_id": document["model"]["id"],
        "model_digest": document["model"]["digest"],
        "vigie": document["model"]["vigie"],
        "withdrawn_at": instant(snapshot.withdrawn_at),
    }


def _differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    equal = {
        "origin": old["origin"] == new["origin"],
        "data": old["data"]["digest"] == new["data"]["digest"],
        "model": old["model"]["digest"] == new["model"]["digest"],
        "vigie": old["model"]["vigie"] == new["model"]["vigie"],
        "bands": old["bands"] == new["bands"],
    }
    return [name for name, same in equal.items() if not same]


def _missing(document: Mapping[str, Any], other: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the ingests of one document that the other does not have."""
    known = {ingest["id"] for ingest in other["data"]["ingests"]}
    return [ingest for ingest in document["data"]["ingests"] if ingest["id"] not in known]
