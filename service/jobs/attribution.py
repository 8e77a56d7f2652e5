"""Split the change of the scores between two snapshots by cause.

The scores of both snapshots are computed again from their data and models. If that does not reproduce an issued score,
the issued score counts, and the difference is shown as a part of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import sqlalchemy as sa

from riskmodel import __version__
from riskmodel.bundle import Bundle, load, outdated_reason
from riskmodel.errors import BadInput, Refused
from riskmodel.events.archive import Archive
from riskmodel.events.storage import TableReader
from riskmodel.events.view import View
from riskmodel.explanation.attribution import (
    ATTRIBUTED_SCORES,
    CAUSE_MEANINGS,
    CAUSES,
    Attribution,
    ScoreChange,
    ScoreInputs,
    attribute,
)
from riskmodel.home import Home
from riskmodel.months import month
from service.snapshots.outcome_parts import of_outcome
from service.store.database import Store
from service.store.tables import snapshots

SCORE_DIGITS = {"risk_score": 1, "escalation_probability": 4}
"""To how many digits a snapshot rounds a score."""

NOT_REPRODUCED: Final = "not_reproduced"

MAX_ID = 2**63 - 1
"""The greatest id that a database can store."""

NOTES: Mapping[str, Mapping[str, str]] = {
    "other_vigie": {
        "en": "snapshot {id} was made by Vigie {vigie}; this is Vigie {here}, which can give other results",
        "fr": "le bulletin {id} a été produit par Vigie {vigie}\u00a0; cette version est {here}, "
        "dont les résultats peuvent différer",
    },
    NOT_REPRODUCED: {
        "en": "computed again, snapshot {id} does not have the issued scores of {countries}: "
        "the difference is shown as not reproduced",
        "fr": "recalculé, le bulletin {id} ne donne pas les scores publiés pour {countries}\u00a0: "
        "l’écart est indiqué à part, comme non reproduit",
    },
    "withdrawn": {
        "en": "snapshot {id} was withdrawn: {reason}",
        "fr": "le bulletin {id} a été retiré\u00a0: {reason}",
    },
}
NOT_REPRODUCED_MEANING = {
    "en": "what cannot be computed again as it was issued",
    "fr": "ce qui ne peut pas être recalculé tel que publié",
}

Reason = Literal["unknown_before", "unknown_after", "not_reproduced", "unknown_between"]
"""Why a change has no split: a score is unknown, cannot be reproduced, or is unknown with only some of the causes."""


@dataclass(frozen=True)
class _Snapshot:
    """One outcome of a snapshot, with the data and the model that it was made from."""

    row: sa.Row[Any]
    document: Mapping[str, Any]
    view: View
    bundle: Bundle

    def country(self, iso3: str) -> dict[str, Any]:
        """Return a country's part of the document."""
        countries: Sequence[dict[str, Any]] = self.document["countries"]
        return next(country for country in countries if country["location_code"] == iso3)


def between(home: Home, store: Store, a: int, b: int, outcome: str | None = None) -> dict[str, Any]:
    """Return what changed in an outcome from snapshot `a` to snapshot `b`, ready for JSON.

    Without an `outcome`, it is the headline of `b`.

    `countries[i]["risk_score"]` [0-100] and `["escalation_probability"]` [0-1] have `before`, `after`, `causes` and
    `not_reproduced`; the last two sum to the change. They are null where it cannot be split, and `reasons` says why.
    Raises BadInput for snapshots that do not exist, lack the outcome or cannot be compared; Refused if the data or the
    model of one of them are missing or were altered.
    """
    rows = [_row(store, number) for number in (a, b)]
    outcome = outcome or rows[1].document["outcome"]
    documents = [of_outcome(row.document, outcome) for row in rows]
    _check_comparable(*documents)
    reader = TableReader(home.archive)
    before, after = (_load(home, reader, row, document) for row, document in zip(rows, documents, strict=True))
    attribution = attribute(_score_inputs(before), _score_inputs(after, before))
    countries = [
        _country(iso3, attribution, before.country(iso3), after.country(iso3)) for iso3 in _score_inputs(before).members
    ]
    return {
        "before": _facts(before),
        "after": _facts(after),
        **{name: before.document[name] for name in ("region", "outcome", "simulated")},
        "causes": [
            {"name": cause, "present": cause in attribution.present, "meaning": dict(CAUSE_MEANINGS[cause])}
            for cause in CAUSES
        ],
        NOT_REPRODUCED: {"meaning": NOT_REPRODUCED_MEANING},
        "notes": [*_notes(before, "before", attribution), *_notes(after, "after", attribution)],
        "countries": countries,
    }


def _row(store: Store, number: int) -> sa.Row[Any]:
    if number > MAX_ID:
        raise BadInput(f"there is no snapshot {number}")
    with store.reading() as connection:
        row = connection.execute(sa.select(snapshots).where(snapshots.c.id == number)).one_or_none()
    if row is None:
        raise BadInput(f"there is no snapshot {number}")
    return row


def _check_comparable(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Raise BadInput for snapshots of different regions, kinds of data or countries."""
    for kind, one, other in (
        ("regions", before["region"], after["region"]),
        ("data", *("SIMULATED" if document["simulated"] else "real" for document in (before, after))),
        ("countries", *(" ".join(c["location_code"] for c in document["countries"]) for document in (before, after))),
    ):
        if one != other:
            raise BadInput(
                f"snapshots {before['id']} and {after['id']} are of different {kind} ({one}, {other}) "
                "and cannot be compared"
            )


def _load(home: Home, reader: TableReader, row: sa.Row[Any], document: Mapping[str, Any]) -> _Snapshot:
    """Load the view of a snapshot, including ingests that were withdrawn since, and its model. Raises Refused."""
    error = f"snapshot {row.id} cannot be computed again"
    data, ingests = document["data"], {ingest.id: ingest for ingest in Archive(home.archive).ingests()}
    ids = [str(ingest["id"]) for ingest in data["ingests"]]
    if missing := [ingest_id for ingest_id in ids if ingest_id not in ingests]:
        raise Refused(f"{error}: the archive has no ingest {', '.join(missing)}")
    view = View(reader, tuple(ingests[ingest_id] for ingest_id in ids))
    if view.digest != data["digest"]:
        raise Refused(f"{error}: its ingests in {home.archive} were altered")
    model = document["model"]
    try:
        if reason := outdated_reason(home.models / model["id"]):
            raise Refused(f"its model {reason}")
        bundle = load(home.models / model["id"])
    except Refused as refused:
        raise Refused(f"{error}: {refused}") from None
    if bundle.digest != model["digest"]:
        raise Refused(f"{error}: the model {model['id']} is not the one that it was made with")
    return _Snapshot(row, document, view, bundle)


def _score_inputs(snapshot: _Snapshot, other: _Snapshot | None = None) -> ScoreInputs:
    """Return what the scores of a snapshot are made from.

    If both snapshots have the same model, it is the same object: `attribute` compares models by identity.
    """
    bundle = snapshot.bundle
    if other is not None and other.bundle.digest == bundle.digest:
        bundle = other.bundle
    return ScoreInputs(
        view=snapshot.view,
        model=bundle.model,
        escalation=bundle.escalation,
        origin=month(snapshot.document["origin"]),
        members=tuple(country["location_code"] for country in snapshot.document["countries"]),
        outcome=snapshot.document["outcome"],
    )


def _facts(snapshot: _Snapshot) -> dict[str, Any]:
    document = snapshot.document
    return {
        "snapshot_id": snapshot.row.id,
        **{name: document[name] for name in ("issued_at", "origin", "data_as_of", "source")},
        "model_id": document["model"]["id"],
        "vigie": document["model"]["vigie"],
    }


def _country(
    iso3: str, attribution: Attribution, before: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, Any]:
    """Return one country's scores before and after, and the split of their change."""
    country: dict[str, Any] = {"location_code": iso3, "reasons": {}}
    for score in ATTRIBUTED_SCORES:
        change = attribution.changes[score][iso3]
        country[score], reason = _split(change, before[score], after[score], SCORE_DIGITS[score])
        if reason:
            country["reasons"][score] = reason
    return country


def _split(
    change: ScoreChange, issued_before: float | None, issued_after: float | None, digits: int
) -> tuple[dict[str, Any], Reason | None]:
    """Return a change with its parts, and the reason if it cannot be split."""
    before, after = _exact(change.before, issued_before, digits), _exact(change.after, issued_after, digits)
    split: dict[str, Any] = {"before": before, "after": after, "causes": None, NOT_REPRODUCED: None}
    if before is None or after is None:
        return split, "unknown_before" if before is None else "unknown_after"
    if np.isnan([change.before, change.after]).any():
        return {**split, NOT_REPRODUCED: after - before}, NOT_REPRODUCED
    if np.isnan(list(change.causes.values())).any():
        return split, "unknown_between"
    causes = dict(change.causes)
    reproduced = (before, after) == (change.before, change.after)
    rest = 0.0 if reproduced else (after - before) - sum(causes.values())
    return {**split, "causes": causes, NOT_REPRODUCED: rest}, None


def _exact(computed: float, issued: float | None, digits: int) -> float | None:
    """Return the computed score, which is not rounded, if it agrees with the issued one; else the issued one."""
    return computed if issued is not None and _agrees(computed, issued, digits) else issued


def _agrees(computed: float, issued: float | None, digits: int) -> bool:
    return bool(np.isnan(computed)) if issued is None else bool(round(computed, digits) == issued)


def _notes(snapshot: _Snapshot, side: str, attribution: Attribution) -> list[dict[str, Any]]:
    """Return what a reader has to know about a snapshot before using the split. `side` is before or after."""
    facts = {"id": snapshot.row.id, "vigie": snapshot.document["model"]["vigie"], "here": __version__}
    codes = [] if facts["vigie"] == __version__ else ["other_vigie"]
    not_reproduced = [
        iso3
        for iso3 in _score_inputs(snapshot).members
        if not all(
            _agrees(getattr(attribution.changes[score][iso3], side), snapshot.country(iso3)[score], digits)
            for score, digits in SCORE_DIGITS.items()
        )
    ]
    if not_reproduced:
        codes.append(NOT_REPRODUCED)
        facts["countries"] = ", ".join(not_reproduced)
    if snapshot.row.withdrawn_at is not None:
        codes.append("withdrawn")
        facts["reason"] = snapshot.row.withdrawn_reason
    return [
        {
            "code": code,
            "snapshot_id": snapshot.row.id,
            "text": {language: text.format(**facts) for language, text in NOTES[code].items()},
        }
        for code in codes
    ]
