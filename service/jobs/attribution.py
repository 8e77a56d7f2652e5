"""Two snapshots side by side: what each was made from is read again, and the change of its scores split by cause.

What was issued is what counts: where computing it again says otherwise, the difference stands apart and is said.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
from service.store.database import Store
from service.store.tables import snapshots

DIGITS = {"risk_score": 1, "escalation_probability": 4}
"""To how many digits a snapshot gives a score."""

NOT_REPRODUCED = "not_reproduced"
GREATEST = 2**63 - 1
"""The greatest number that a database keeps."""

NOTES: Mapping[str, Mapping[str, str]] = {
    "other_vigie": {
        "en": "snapshot {id} was made by Vigie {vigie}; this is Vigie {here}, which may compute otherwise",
        "fr": "l’instantané {id} vient de Vigie {vigie} ; voici Vigie {here}, qui peut calculer autrement",
    },
    NOT_REPRODUCED: {
        "en": "computed again, snapshot {id} does not say what was issued for {countries}: "
        "the difference stands apart as not reproduced",
        "fr": "recalculé, l’instantané {id} ne dit pas ce qui a été publié pour {countries} : "
        "l’écart figure à part, comme non reproduit",
    },
    "withdrawn": {
        "en": "snapshot {id} was withdrawn: {why}",
        "fr": "l’instantané {id} a été retiré : {why}",
    },
}
MEANING_OF_NOT_REPRODUCED = {
    "en": "what cannot be computed again as it was issued",
    "fr": "ce qui ne peut pas être recalculé tel que publié",
}

REASONS = {
    "unknown_before": "the earlier snapshot does not know the score",
    "unknown_after": "the later snapshot does not know the score",
    NOT_REPRODUCED: "a score that was issued cannot be computed again",
    "unknown_between": "with only some of the causes the score is unknown, so the change cannot be split",
}


@dataclass(frozen=True)
class _Taken:
    """A snapshot with what it was made from."""

    row: sa.Row[Any]
    view: View
    bundle: Bundle

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = self.row.document
        return document


def between(home: Home, store: Store, a: int, b: int) -> dict[str, Any]:
    """What changed from snapshot `a` to snapshot `b`, ready for JSON.

    `countries[i]["risk_score"]` [0-100] and `["escalation_probability"]` [0-1] have `before`, `after`, `causes` and
    `not_reproduced`; these last two sum to the change. They are null where it cannot be split, and `reasons` says why.
    Raises BadInput for snapshots that are not there or of different regions, outcomes or realms; Refused where what one
    was made from is gone.
    """
    rows = [_row(store, number) for number in (a, b)]
    _comparable(rows[0].document, rows[1].document)
    before = _taken(home, rows[0])
    after = _taken(home, rows[1])
    attribution = attribute(_score_inputs(before), _score_inputs(after, before))
    countries = [
        _country(iso3, attribution, *(_issued(taken, iso3) for taken in (before, after)))
        for iso3 in _score_inputs(before).members
    ]
    return {
        "before": _facts(before),
        "after": _facts(after),
        **{name: before.document[name] for name in ("region", "outcome", "simulated")},
        "causes": [
            {"name": cause, "present": cause in attribution.present, "meaning": dict(CAUSE_MEANINGS[cause])}
            for cause in CAUSES
        ],
        "not_reproduced": {"meaning": MEANING_OF_NOT_REPRODUCED},
        "notes": [*_notes(before, "before", attribution), *_notes(after, "after", attribution)],
        "countries": countries,
    }


def _row(store: Store, number: int) -> sa.Row[Any]:
    if number > GREATEST:
        raise BadInput(f"there is no snapshot {number}")
    with store.reading() as connection:
        row = connection.execute(sa.select(snapshots).where(snapshots.c.id == number)).one_or_none()
    if row is None:
        raise BadInput(f"there is no snapshot {number}")
    return row


def _comparable(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Raises BadInput for snapshots of different things."""
    for what, one, other in (
        ("regions", before["region"], after["region"]),
        ("outcomes", before["outcome"], after["outcome"]),
        ("data", *("SIMULATED" if document["simulated"] else "real" for document in (before, after))),
        ("countries", *(" ".join(c["location_code"] for c in document["countries"]) for document in (before, after))),
    ):
        if one != other:
            raise BadInput(
                f"snapshots {before['id']} and {after['id']} are of different {what} ({one}, {other}) "
                "and cannot be compared"
            )


def _taken(home: Home, row: sa.Row[Any]) -> _Taken:
    """A snapshot with its view, withdrawn ingests and all, and its model. Raises Refused if either is not as it was."""
    lost = f"snapshot {row.id} cannot be computed again"
    said, held = row.document["data"], {ingest.id: ingest for ingest in Archive(home.archive).ingests()}
    numbers = [str(ingest["id"]) for ingest in said["ingests"]]
    if missing := [number for number in numbers if number not in held]:
        raise Refused(f"{lost}: the archive has no ingest {', '.join(missing)}")
    view = View(TableReader(home.archive), tuple(held[number] for number in numbers))
    if view.digest != said["digest"]:
        raise Refused(f"{lost}: its ingests in {home.archive} are not what they were")
    model = row.document["model"]
    try:
        if why := outdated_reason(home.models / model["id"]):
            raise Refused(f"its model {why}")
        bundle = load(home.models / model["id"])
    except Refused as refused:
        raise Refused(f"{lost}: {refused}") from None
    if bundle.digest != model["digest"]:
        raise Refused(f"{lost}: the model {model['id']} is not the one that it was made with")
    return _Taken(row, view, bundle)


def _score_inputs(taken: _Taken, other: _Taken | None = None) -> ScoreInputs:
    """What the scores of a snapshot are made from; the model is the other's where both have the same."""
    same = other is not None and other.bundle.digest == taken.bundle.digest
    bundle = other.bundle if other is not None and same else taken.bundle
    return ScoreInputs(
        view=taken.view,
        model=bundle.model,
        escalation=bundle.escalation,
        origin=month(taken.document["origin"]),
        members=tuple(country["location_code"] for country in taken.document["countries"]),
        outcome=taken.document["outcome"],
    )


def _facts(taken: _Taken) -> dict[str, Any]:
    said = taken.document
    return {
        "snapshot_id": taken.row.id,
        **{name: said[name] for name in ("issued_at", "origin", "data_as_of", "source")},
        "model_id": said["model"]["id"],
        "vigie": said["model"]["vigie"],
    }


def _issued(taken: _Taken, iso3: str) -> dict[str, Any]:
    return next(country for country in taken.document["countries"] if country["location_code"] == iso3)


def _country(
    iso3: str, attribution: Attribution, before: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, Any]:
    """One country's scores before and after, as issued where they cannot be computed again, and the split."""
    told: dict[str, Any] = {"location_code": iso3, "reasons": {}}
    for metric in ATTRIBUTED_SCORES:
        told[metric], reason = _told(attribution.changes[metric][iso3], before[metric], after[metric], DIGITS[metric])
        if reason:
            told["reasons"][metric] = reason
    return told


def _told(
    split: ScoreChange, before: float | None, after: float | None, digits: int
) -> tuple[dict[str, Any], str | None]:
    """A split as it is told, and the reason where there is none."""
    first, last = _best(split.before, before, digits), _best(split.after, after, digits)
    said: dict[str, Any] = {"before": first, "after": last, "causes": None, NOT_REPRODUCED: None}
    if first is None or last is None:
        return said, "unknown_before" if first is None else "unknown_after"
    if np.isnan([split.before, split.after]).any():
        return {**said, NOT_REPRODUCED: last - first}, NOT_REPRODUCED
    if np.isnan(list(split.causes.values())).any():
        return said, "unknown_between"
    causes = dict(split.causes)
    agrees = (first, last) == (split.before, split.after)
    rest = 0.0 if agrees else (last - first) - sum(causes.values())
    return {**said, "causes": causes, NOT_REPRODUCED: rest}, None


def _best(again: float, issued: float | None, digits: int) -> float | None:
    """A score unrounded if it is what was issued, else as issued."""
    return again if _agrees(again, issued, digits) and issued is not None else issued


def _agrees(again: float, issued: float | None, digits: int) -> bool:
    return bool(np.isnan(again)) if issued is None else bool(round(again, digits) == issued)


def _notes(taken: _Taken, side: str, attribution: Attribution) -> list[dict[str, Any]]:
    """What a reader has to know of a snapshot before believing its split."""
    facts = {"id": taken.row.id, "vigie": taken.document["model"]["vigie"], "here": __version__}
    codes = [] if facts["vigie"] == __version__ else ["other_vigie"]
    unlike = [
        iso3
        for iso3 in _score_inputs(taken).members
        if not all(
            _agrees(getattr(attribution.changes[metric][iso3], side), _issued(taken, iso3)[metric], DIGITS[metric])
            for metric in ATTRIBUTED_SCORES
        )
    ]
    if unlike:
        codes.append(NOT_REPRODUCED)
        facts["countries"] = ", ".join(unlike)
    if taken.row.withdrawn_at is not None:
        codes.append("withdrawn")
        facts["why"] = taken.row.withdrawn_reason
    return [
        {
            "code": code,
            "snapshot_id": taken.row.id,
            "text": {lang: text.format(**facts) for lang, text in NOTES[code].items()},
        }
        for code in codes
    ]
