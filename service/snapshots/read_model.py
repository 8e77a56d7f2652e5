"""The payloads of the API as plain objects: scores, one country, forecast, indicators, signals, drivers and runs.

The API, the pages and the command line share them. Each is made from a `SnapshotView` or a row of the store.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from riskmodel import geography
from riskmodel.hindcast_payload import HINDCAST
from riskmodel.months import first_day, last_day, month
from service.snapshots import earlier_scores
from service.snapshots.snapshot_view import SnapshotView, meta
from service.store.values import instant

COUNTRY_ONLY_KEYS = (
    *("forecast", "observed", "indicators", "indicators_before", "drivers", "signals", "not_compared", "percentiles"),
    "unlisted_signals",
)
"""The keys of a country that only its own payload has: they are long."""


def scores_payload(
    connection: sa.Connection,
    view: SnapshotView,
    minimum_score: float | None = None,
    fields: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return all countries, highest risk first, with their ranks and changes.

    `minimum_score` [0-100] leaves out countries below it and countries without a score. `fields` limits the keys of
    each country; `location_code` is always there.
    """
    changes = earlier_scores.of_view(connection, view)
    rows = [
        _with_changes(_named({key: value for key, value in row.items() if key not in COUNTRY_ONLY_KEYS}), changes)
        for row in view.countries
        if minimum_score is None or (row["risk_score"] is not None and row["risk_score"] >= minimum_score)
    ]
    if fields is not None:
        keys = {"location_code", *fields}
        rows = [{key: value for key, value in row.items() if key in keys} for row in rows]
    return {"data": rows, **_region_meta(view)}


def country_payload(connection: sa.Connection, view: SnapshotView, iso3: str) -> dict[str, Any] | None:
    """Return everything about one country; None for a country outside the region."""
    row = _row(view, iso3)
    if row is None:
        return None
    data = _with_changes(_named(row), earlier_scores.of_view(connection, view))
    return {"data": data, **_region_meta(view, iso3)}


def forecast_payload(view: SnapshotView, iso3: str) -> dict[str, Any] | None:
    """Return the twelve months forecast for one country; None for a country outside the region."""
    row = _row(view, iso3)
    if row is None:
        return None
    leads = []
    for lead in row["forecast"]:
        when = month(lead["month"])
        leads.append({**lead, "reference_period_start": first_day(when), "reference_period_end": last_day(when)})
    reasons = {} if leads else {"leads": row["reasons"].get("risk_score", "unknown")}
    return {"data": {**_country_ref(iso3), "leads": leads, "reasons": reasons}, **meta(view, iso3)}


def declarations_payload(view: SnapshotView) -> dict[str, Any]:
    """Return the declarations of the indicators, by family."""
    return {"data": view.document["indicator_families"], **meta(view)}


def indicators_payload(view: SnapshotView, iso3: str) -> dict[str, Any] | None:
    """Return one country's indicators now and 12 months earlier, by family; None for a country outside the region."""
    row = _row(view, iso3)
    if row is None:
        return None
    data = {**_country_ref(iso3), "families": indicators(view.document, row), "reasons": {}}
    return {"data": data, **meta(view, iso3)}


def indicators(document: Mapping[str, Any], row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the indicator values of one country's row, by family and in the order of the declarations."""
    now, before = row["indicators"], row["indicators_before"]
    return [
        {
            "name": family["name"],
            "title": family["title"],
            "indicators": [_indicator_value(declaration, now, before) for declaration in family["indicators"]],
        }
        for family in document["indicator_families"]
    ]


def _indicator_value(
    declaration: Mapping[str, Any], now: Mapping[str, Any], before: Mapping[str, Any]
) -> dict[str, Any]:
    """Return one indicator's two values. An unknown one has a reason, and the declaration's text on missing values."""
    name, input_missing = declaration["name"], declaration["input_missing"]
    values = {"value": now[name], "before": before[name]}
    unknown = [field for field, value in values.items() if value is None]
    return {
        "name": name,
        **values,
        "reasons": dict.fromkeys(unknown, "input_missing" if input_missing else "unknown"),
        "missing": declaration["missing"] if unknown and not input_missing else None,
    }


def drivers_payload(view: SnapshotView, iso3: str) -> dict[str, Any] | None:
    """Return the drivers of one country's score and its neighbour effects; None for a country outside the region."""
    row, document = _row(view, iso3), view.document
    if row is None:
        return None
    drivers, effects = row["drivers"], document["neighbour_effects"]
    reasons = {} if drivers else {"drivers": row["reasons"]["drivers"]}
    if not effects:
        reasons["neighbour_effects"] = "not_asked"
    data = {
        "drivers": drivers,
        "neighbour_effects": neighbour_effects(effects, iso3) if effects else None,
        "reasons": reasons,
    }
    return {"data": {**_country_ref(iso3), **data}, **meta(view, iso3)}


def neighbour_effects(effects: Mapping[str, Any], iso3: str) -> dict[str, Any]:
    """Return the effects of neighbours on one country, and of the country on its neighbours."""
    pairs = effects["pairs"]
    return {
        "note": effects["note"],
        "from_neighbours": [pair for pair in pairs if pair["to"] == iso3],
        "to_neighbours": [pair for pair in pairs if pair["from"] == iso3],
        "all": next((entry for entry in effects["all"] if entry["to"] == iso3), None),
    }


def signals_payload(view: SnapshotView) -> dict[str, Any]:
    """Return what stands out in each country against its own past, in the order of the scores."""
    data = [_signals(view, row) for row in view.countries]
    return {"data": data, "note": view.document["signals_note"], **meta(view)}


def country_signals_payload(view: SnapshotView, iso3: str) -> dict[str, Any] | None:
    """Return what stands out in one country; None for a country outside the region."""
    row = _row(view, iso3)
    if row is None:
        return None
    return {"data": _signals(view, row), "note": view.document["signals_note"], **meta(view, iso3)}


def _signals(view: SnapshotView, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_country_ref(row["location_code"]),
        "month": view.document["origin"],
        "signals": row["signals"],
        "not_compared": row["not_compared"],
        "percentiles": row["percentiles"],
        "unlisted_signals": row["unlisted_signals"],
        "reasons": {} if row["signals"] is not None else {"signals": row["reasons"]["signals"]},
    }


def run_entry(run: sa.Row[Any]) -> dict[str, Any]:
    """Return one run: when, how it ended, and the snapshot that it issued or found unchanged."""
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


def _row(view: SnapshotView, iso3: str) -> dict[str, Any] | None:
    return next((row for row in view.document["countries"] if row["location_code"] == iso3), None)


def _region_meta(view: SnapshotView, iso3: str | None = None) -> dict[str, Any]:
    """Return the shared keys, the score bands, newer data, missing outcomes, and the warnings about the data."""
    own = {key: view.document[key] for key in ("bands", "newer_data", "missing_outcomes", "data_quality")}
    reasons = {"data_quality": HINDCAST} if own["data_quality"] is None else {}
    return {**own, **meta(view, iso3, reasons)}


def _with_changes(row: dict[str, Any], changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    of_country = changes[row["location_code"]]
    return {**row, **of_country, "reasons": {**row["reasons"], **of_country["reasons"]}}


def _named(row: dict[str, Any]) -> dict[str, Any]:
    return {**_country_ref(row["location_code"]), **row}


def _country_ref(iso3: str) -> dict[str, str]:
    return {"location_code": iso3, "location_name": geography.country(iso3).name()}
