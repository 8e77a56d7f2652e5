"""What differs between two snapshots, read off their documents: scores, bands, model, data. No model is asked.

Which cause moved a score how far is another question: `service.jobs.attribution` answers it by computing both again.
"""

from collections.abc import Mapping
from typing import Any

from riskmodel import geography
from service.snapshots.read_model import NOT_IN_SNAPSHOT
from service.snapshots.snapshot_cache import Snapshot
from service.store.values import instant

NUMBERS = {"risk_score": 1, "escalation_probability": 4, "expected_deaths": 1}
"""What is subtracted, and to how many digits."""

SPLIT = {
    "en": "vigie changed {before} {after} computes both snapshots again and splits each change by its causes",
    "fr": "vigie changed {before} {after} recalcule les deux instantanés et répartit chaque écart entre ses causes",
}


def between(first: int, before: Snapshot, second: int, after: Snapshot) -> dict[str, Any]:
    """The differences from one run's snapshot to another's, country by country."""
    old, new = before.document, after.document
    rows = {side: {row["location_code"]: row for row in said["countries"]} for side, said in enumerate((old, new))}
    both = list(dict.fromkeys([*rows[1], *rows[0]]))
    return {
        "data": [_country(iso3, rows[0].get(iso3), rows[1].get(iso3)) for iso3 in both],
        "before": _side(first, before),
        "after": _side(second, after),
        "differs": _differs(old, new),
        "ingests": {"added": _missing(new, old), "removed": _missing(old, new)},
        "split": {language: text.format(before=before.id, after=after.id) for language, text in SPLIT.items()},
    }


def _country(iso3: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> dict[str, Any]:
    told: dict[str, Any] = {"location_code": iso3, "location_name": geography.country(iso3).name()}
    reasons = {}
    for name in ("risk_score", "band", "escalation_probability", "expected_deaths"):
        for when, row in (("before", before), ("after", after)):
            told[f"{name}_{when}"] = value = row[name] if row else None
            if value is None:
                why = row["reasons"].get("risk_score", "unknown") if row else NOT_IN_SNAPSHOT
                reasons[f"{name}_{when}"] = why
        if name in NUMBERS:
            one, other = told[f"{name}_before"], told[f"{name}_after"]
            known = one is not None and other is not None
            told[f"{name}_difference"] = round(other - one, NUMBERS[name]) if known else None
    return {**told, "reasons": reasons}


def _side(run: int, row: Snapshot) -> dict[str, Any]:
    said = row.document
    return {
        "run": run,
        "snapshot_id": row.id,
        "digest": row.digest,
        **{name: said[name] for name in ("issued_at", "origin", "data_as_of", "source")},
        "data_digest": said["data"]["digest"],
        "model_id": said["model"]["id"],
        "model_digest": said["model"]["digest"],
        "vigie": said["model"].get("vigie"),
        "withdrawn_at": instant(row.withdrawn_at),
    }


def _differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    same = {
        "origin": old["origin"] == new["origin"],
        "data": old["data"]["digest"] == new["data"]["digest"],
        "model": old["model"]["digest"] == new["model"]["digest"],
        "vigie": old["model"].get("vigie") == new["model"].get("vigie"),
        "bands": old["bands"] == new["bands"],
    }
    return [name for name, is_so in same.items() if not is_so]


def _missing(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The ingests of one document that the other was made without."""
    known = {ingest["id"] for ingest in there["data"]["ingests"]}
    return [ingest for ingest in here["data"]["ingests"] if ingest["id"] not in known]
