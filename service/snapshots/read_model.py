"""What the service says, as plain objects: the snapshot in service as it stands at a moment, scores, what explains
them, runs, and CSV.

Made for the API, the pages and the command line alike, from rows of the store and a given moment. It knows no web.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from riskmodel import geography
from riskmodel.months import first_day, last_day, month
from service.settings import Settings
from service.snapshots import csv, snapshot_cache
from service.snapshots.snapshot_cache import Snapshot
from service.store.tables import runs, snapshots
from service.store.values import instant

GOOD = ("snapshot", "unchanged")
"""The states of a run that looked at the data and went well."""

LONG_LISTS = ("forecast", "observed", "nowcast", "indicators", "indicators_before", "drivers")

NOT_IN_SNAPSHOT = "not_in_snapshot"
"""The reason of what an older Vigie did not put into its snapshots."""

COLUMNS = (
    "location_code",
    "location_name",
    "reference_period_start",
    "reference_period_end",
    "risk_score",
    "band",
    "escalation_probability",
    "onset_probability",
    "expected_deaths",
)
VOICED = ("escalation_model", "escalation_from_draws", "onset_model")
"""Columns that came later, and that snapshots of an older Vigie lack."""
OF_SNAPSHOT = (
    "snapshot_id",
    "digest",
    "issued_at",
    "data_as_of",
    "origin",
    "outcome",
    "source",
    "model_id",
    "completeness",
    "status",
    "data_age_days",
)
"""The keys of every payload that only a snapshot can fill."""

OF_PAST = ("as_of", "basis", "computed_at", "vigie")
"""The keys that a payload has beside the others where it tells of a past moment."""

SAID = ("outcome", "origin", "data_as_of", "issued_at", "status", "snapshot_id", "model_id", "source")

Status = Literal["fresh", "late", "stale"]


@dataclass(frozen=True)
class Past:
    """A past moment, and where the answer about it comes from: a snapshot of then, or a computation of later."""

    as_of: datetime
    basis: Literal["issued", "recomputed"]
    computed_at: datetime | None


@dataclass(frozen=True)
class Served:
    """A snapshot as it stands at the moment `now`; every payload is made from one.

    One about the past says so, and stands as it stood then; `id` is None for one that was never issued. `failing` says
    that the newest run that has ended went wrong: what has come in since was not looked at.
    """

    id: int | None
    digest: str
    document: dict[str, Any]
    settings: Settings
    now: datetime
    next_run_at: datetime | None
    past: Past | None = None
    failing: bool = False

    @property
    def countries(self) -> list[dict[str, Any]]:
        """The countries' scores: highest risk first, unknown last, then by name."""
        return sorted(
            self.document["countries"],
            key=lambda row: (row["risk_score"] is None, -(row["risk_score"] or 0.0), _name(row["location_code"])),
        )

    @property
    def data_age_days(self) -> int:
        """Days since the last day of the origin month [days]."""
        return (self.now.astimezone(UTC).date() - date.fromisoformat(self.document["data_as_of"])).days

    @property
    def status(self) -> Status:
        """How old the data are, and `late` at least while runs fail; the age of the snapshot is another question."""
        if self.data_age_days > self.settings.stale_after_days:
            return "stale"
        return "late" if self.failing or self.data_age_days > self.settings.late_after_days else "fresh"

    @property
    def overdue(self) -> bool:
        """Whether the next run should long have ended: nobody renews this snapshot any more."""
        grace = timedelta(seconds=self.settings.recompute_deadline_seconds)
        return self.next_run_at is not None and self.now > self.next_run_at + grace


def served(connection: sa.Connection, settings: Settings, *, simulated: bool, now: datetime) -> Served | None:
    """The newest snapshot of the settings' region in one realm, simulated or real; None where there is none."""
    row = connection.execute(
        sa.select(snapshots.c.id, snapshots.c.digest)
        .where(
            snapshots.c.region == settings.region,
            snapshots.c.simulated == simulated,
            snapshots.c.withdrawn_at.is_(None),
        )
        .order_by(snapshots.c.id.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    document, then = snapshot_cache.document(connection, row.id, row.digest), next_run_at(connection, settings)
    return Served(row.id, row.digest, document, settings, now, then, failing=failing(connection, settings))


def standing(kept: Snapshot, settings: Settings, now: datetime, then: datetime | None) -> Served:
    """A snapshot, seen at `now`; `then` is when the next run is expected."""
    return Served(kept.id, kept.digest, kept.document, settings, now, then)


def next_run_at(connection: sa.Connection, settings: Settings) -> datetime | None:
    """When the next run is expected: an interval after the last one began. None before the first."""
    last = connection.scalar(sa.select(sa.func.max(runs.c.started_at)).where(runs.c.region == settings.region))
    return None if last is None else last + timedelta(minutes=settings.recompute_every_minutes)


def last_good_run_at(connection: sa.Connection, settings: Settings) -> datetime | None:
    """When a run last ended well, with a new snapshot or without."""
    moment: datetime | None = connection.scalar(
        sa.select(sa.func.max(runs.c.finished_at)).where(runs.c.region == settings.region, runs.c.status.in_(GOOD))
    )
    return moment


def failing(connection: sa.Connection, settings: Settings) -> bool:
    """Whether the newest run that has ended went wrong."""
    ended = sa.select(runs.c.status).where(runs.c.region == settings.region, runs.c.finished_at.is_not(None))
    status: str | None = connection.scalar(ended.order_by(runs.c.id.desc()).limit(1))
    return status is not None and status not in GOOD


def meta(now_served: Served, iso3: str | None = None, reasons: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What every payload carries: which snapshot, of what data, by which model, how old, real or simulated.

    Completeness is that of a country, or of the least complete one of the region. `reasons` are those of the payload's
    own keys.
    """
    document = now_served.document
    share, why = _completeness(document, iso3)
    past, reasons_of_past = of_past(now_served)
    return {
        "region": document["region"],
        "snapshot_id": now_served.id,
        "digest": now_served.digest,
        "issued_at": document.get("issued_at"),
        "data_as_of": document["data_as_of"],
        "origin": document["origin"],
        "outcome": document["outcome"],
        "source": document["source"],
        "model_id": document["model"]["id"],
        "completeness": share,
        "status": now_served.status,
        "data_age_days": now_served.data_age_days,
        "simulated": document["simulated"],
        "next_run_at": instant(now_served.next_run_at),
        **past,
        "reasons": {**({"completeness": why} if why else {}), **reasons_of_past, **(reasons or {})},
    }


def of_past(now_served: Served) -> tuple[dict[str, Any], dict[str, str]]:
    """What marks a payload about a past moment, and why something of it is null; nothing for one about the present."""
    past = now_served.past
    if past is None:
        return {}, {}
    told = {
        "as_of": instant(past.as_of),
        "basis": past.basis,
        "computed_at": instant(past.computed_at),
        "vigie": now_served.document["model"].get("vigie"),
    }
    unknown = ("computed_at",) if past.basis == "issued" else ("snapshot_id", "issued_at")
    reasons = {"next_run_at": "past", **dict.fromkeys(unknown, past.basis)}
    return told, reasons if told["vigie"] else {**reasons, "vigie": NOT_IN_SNAPSHOT}


def _completeness(document: Mapping[str, Any], iso3: str | None) -> tuple[dict[str, Any] | None, str | None]:
    """The completeness of a country's origin, or of the least complete one; or the reason why none is known."""
    asked = [row for row in document["countries"] if iso3 in (None, row["location_code"])]
    known = [row for row in asked if row.get("completeness")]
    if known:
        least = min(known, key=lambda row: row["completeness"]["value"])
        return {"location_code": least["location_code"], **least["completeness"]}, None
    whys = [row["reasons"].get("completeness", NOT_IN_SNAPSHOT) for row in asked]
    return None, next((why for why in whys if why != "no_history"), "no_history")


def no_meta(settings: Settings, then: datetime | None, *, simulated: bool | None) -> dict[str, Any]:
    """The same keys where there is no snapshot: null, not invented."""
    return {
        "region": settings.region,
        **dict.fromkeys(OF_SNAPSHOT),
        "simulated": simulated,
        "next_run_at": instant(then),
        "reasons": {"snapshot_id": "no_snapshot"},
    }


def scores_payload(
    now_served: Served, at_least: float | None = None, fields: Sequence[str] | None = None
) -> dict[str, Any]:
    """All countries, highest risk first, without the months of history and forecast.

    Only those whose score is known and `at_least` so much [0-100], and of their keys only `fields` and the code.
    """
    rows = [
        _named({key: value for key, value in row.items() if key not in LONG_LISTS})
        for row in now_served.countries
        if at_least is None or (row["risk_score"] is not None and row["risk_score"] >= at_least)
    ]
    if fields is not None:
        wanted = {"location_code", *fields}
        rows = [{key: value for key, value in row.items() if key in wanted} for row in rows]
    return {"data": rows, **_of_region(now_served)}


def country_payload(now_served: Served, iso3: str) -> dict[str, Any] | None:
    """All that the snapshot says of one country; None if it says nothing."""
    row = _row(now_served, iso3)
    return None if row is None else {"data": _named(row), **_of_region(now_served, iso3)}


def forecast_payload(now_served: Served, iso3: str) -> dict[str, Any] | None:
    """The twelve months forecast for one country; None for a country that the snapshot says nothing of."""
    row = _row(now_served, iso3)
    if row is None:
        return None
    leads = []
    for lead in row["forecast"]:
        when = month(lead["month"])
        leads.append({**lead, "reference_period_start": first_day(when), "reference_period_end": last_day(when)})
    reasons = {} if leads else {"leads": row["reasons"].get("risk_score", "unknown")}
    return {"data": {**_called(iso3), "leads": leads, "reasons": reasons}, **meta(now_served, iso3)}


def declarations_payload(now_served: Served) -> dict[str, Any]:
    """The indicators of the snapshot as they are declared, by family."""
    declared = now_served.document.get("indicator_families")
    reasons = {} if declared else {"data": NOT_IN_SNAPSHOT}
    return {"data": declared or [], **meta(now_served, reasons=reasons)}


def indicators_payload(now_served: Served, iso3: str) -> dict[str, Any] | None:
    """One country's indicators now and 12 months earlier, by family; None for a country it says nothing of."""
    row = _row(now_served, iso3)
    if row is None:
        return None
    families = indicators(now_served.document, row)
    reasons = {} if families else {"families": NOT_IN_SNAPSHOT}
    return {"data": {**_called(iso3), "families": families, "reasons": reasons}, **meta(now_served, iso3)}


def indicators(document: Mapping[str, Any], row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The values of one country's row, by family and in the order of the declarations."""
    now, before = row.get("indicators") or {}, row.get("indicators_before") or {}
    return [
        {
            "name": family["name"],
            "title": family["title"],
            "indicators": [_value(declared, now, before) for declared in family["indicators"]],
        }
        for family in document.get("indicator_families") or []
    ]


def _value(declared: Mapping[str, Any], now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """One indicator's two values; an unknown one has its reason, and what the declaration says of absent values."""
    name, absent = declared["name"], declared.get("absent", False)
    values = {"value": now.get(name), "before": before.get(name)}
    unknown = [field for field, value in values.items() if value is None]
    return {
        "name": name,
        **values,
        "reasons": dict.fromkeys(unknown, "input_missing" if absent else "unknown"),
        "missing": declared["missing"] if unknown and not absent else None,
    }


def drivers_payload(now_served: Served, iso3: str) -> dict[str, Any] | None:
    """What drives one country's score, and its neighbour effects; None for an unknown country."""
    row, document = _row(now_served, iso3), now_served.document
    if row is None:
        return None
    drivers, matrix = row.get("drivers"), document.get("neighbour_effects")
    reasons = {} if drivers else {"drivers": row["reasons"].get("drivers", NOT_IN_SNAPSHOT)}
    if not matrix:
        reasons["neighbour_effects"] = "not_asked" if "neighbour_effects" in document else NOT_IN_SNAPSHOT
    data = {
        "drivers": drivers,
        "neighbour_effects": neighbour_effects(matrix, iso3) if matrix else None,
        "reasons": reasons,
    }
    return {"data": {**_called(iso3), **data}, **meta(now_served, iso3)}


def neighbour_effects(matrix: Mapping[str, Any], iso3: str) -> dict[str, Any]:
    """What the matrix says of one country: of its neighbours' violence and its own score, and the other way round."""
    pairs = matrix["pairs"]
    return {
        "note": matrix["note"],
        "from_neighbours": [pair for pair in pairs if pair["to"] == iso3],
        "to_neighbours": [pair for pair in pairs if pair["from"] == iso3],
        "all": next((told for told in matrix["all"] if told["to"] == iso3), None),
    }


def _row(now_served: Served, iso3: str) -> dict[str, Any] | None:
    return next((row for row in now_served.document["countries"] if row["location_code"] == iso3), None)


def _of_region(now_served: Served, iso3: str | None = None) -> dict[str, Any]:
    """What is said of the region as a whole; a snapshot of an older Vigie knows no warnings about its data."""
    document = now_served.document
    return {"bands": document["bands"], "data_quality": document.get("data_quality", []), **meta(now_served, iso3)}


def run_entry(run: sa.Row[Any]) -> dict[str, Any]:
    """One run: when, how it ended, and the snapshot it found or made."""
    return {
        "id": run.id,
        "region": run.region,
        "started_at": instant(run.started_at),
        "finished_at": instant(run.finished_at),
        "status": run.status,
        "input_digest": run.input_digest,
        "snapshot_id": run.snapshot_id,
        "error": run.error,
    }


def json_text(now_served: Served) -> str:
    """The scores as JSON for people to read."""
    return json.dumps(scores_payload(now_served), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def csv_text(payload: Mapping[str, Any], fields: Sequence[str] | None = None) -> str:
    """A scores payload as CSV (RFC 4180): one row per country, flat; unknown is empty, its reason beside it.

    `fields` are the keys that the countries were asked for, all if none.
    """
    rungs = sorted({rung["deaths"] for row in payload["data"] for rung in row.get("rungs", ())})
    columns = {column: column for column in COLUMNS} | {f"rung_{deaths}": "rungs" for deaths in rungs}
    columns |= {key: key for key in ("completeness", "data_quality", "reasons", "sources")}
    asked = [column for column, key in columns.items() if fields is None or key in ("location_code", *fields)]
    said = {key: payload[key] for key in (*SAID, *OF_PAST) if key in payload} | {"simulated": payload["simulated"]}
    written = [*asked, *said, *(column for column in VOICED if fields is None or column in fields)]
    lines = ({**_flat(row), **said} for row in payload["data"])
    return csv.text(written, ([line.get(column) for column in written] for line in lines))


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """One country as cells by column."""
    return {
        **row,
        **{f"rung_{rung['deaths']}": rung["probability"] for rung in row.get("rungs", ())},
        "completeness": (row.get("completeness") or {}).get("value"),
        "data_quality": "; ".join(warning["code"] for warning in row.get("data_quality", ())),
        "reasons": "; ".join(f"{field}={code}" for field, code in sorted(row.get("reasons", {}).items())),
        "sources": "; ".join(dict.fromkeys(source["source"] for source in row.get("sources", ()))),
    }


def geojson(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A scores payload as GeoJSON (RFC 7946): a point for each country, at its capital."""
    features = []
    for row in payload["data"]:
        place = geography.country(row["location_code"])
        features.append(
            {
                "type": "Feature",
                "id": row["location_code"],
                "geometry": {"type": "Point", "coordinates": [place.longitude, place.latitude]},
                "properties": {**row, "capital": place.capital, "simulated": payload["simulated"]},
            }
        )
    return {"type": "FeatureCollection", "features": features, **{k: v for k, v in payload.items() if k != "data"}}


def _named(row: dict[str, Any]) -> dict[str, Any]:
    return {**_called(row["location_code"]), **row}


def _called(iso3: str) -> dict[str, str]:
    return {"location_code": iso3, "location_name": _name(iso3)}


def _name(iso3: str) -> str:
    return geography.country(iso3).name()
