"""The scorecards as the API and the page show them: of the issued forecasts and of the hindcasts, never mixed."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import sqlalchemy as sa

from service.snapshots import snapshot_view
from service.snapshots.snapshot_view import SnapshotView
from service.store.tables import scorecards
from service.store.values import instant

ISSUED, HINDCAST = "issued", "hindcast"
"""What a scorecard is about: forecasts that were published, or hindcasts."""

SERVED_FORECASTER = "served"
"""The forecaster name of the forecasts that were served, whichever model made them."""

VERDICT_BASELINES = ("conflictology12", "ew4s")
"""The baselines that a verdict compares with: repeating the last twelve months, and the best baseline."""

MIN_MONTHS, MIN_COUNTRIES = 12, 5
"""With fewer, a difference has no interval: the interval resamples whole countries, and months are alike."""

EMPTY_SCORECARD: dict[str, Any] = {
    "cases": 0,
    "origins": 0,
    "first_month": None,
    "last_month": None,
    "forecasters": [],
    "lead_groups": [],
    "countries": [],
    "differences": [],
    "challengers": [],
    "reliability": {"month_25": [], "three_months": []},
    "pit": {"all": {"cases": 0, "shares": None}, "active": {"cases": 0, "shares": None}},
}
"""A scorecard without any scored forecast."""

NO_OUTCOME_YET, NO_HINDCAST = "no_outcome_yet", "no_hindcast"


def payload(connection: sa.Connection, view: SnapshotView) -> dict[str, Any]:
    """Return the newest scorecards for the region, outcome and kind of data of the snapshot in service.

    `data` is about the issued forecasts; its key `hindcast` is about the hindcasts.
    """
    snapshot = view.document
    hindcast = _card(connection, snapshot, HINDCAST, NO_HINDCAST)
    return {
        "data": {
            **_card(connection, snapshot, ISSUED, NO_OUTCOME_YET),
            "next": _next_month(snapshot["origin"]),
            "challenger": snapshot["shadow"],
            "hindcast": {"data_bases": {"as_known": 0, "final_figures": 0}} | hindcast,
        },
        **snapshot_view.meta(view),
    }


def _card(connection: sa.Connection, snapshot: Mapping[str, Any], basis: str, reason_without: str) -> dict[str, Any]:
    """Return the newest scorecard of a basis. `reason_without` says why there is none."""
    key = {**{name: snapshot[name] for name in ("region", "simulated", "outcome")}, "basis": basis}
    same = [scorecards.c[name] == value for name, value in key.items()]
    newest = sa.select(scorecards).where(*same).order_by(scorecards.c.id.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    card = {**EMPTY_SCORECARD, "incomplete": [], **(row.document if row else {})}
    reason = NO_OUTCOME_YET if row else reason_without
    return {
        **card,
        "basis": basis,
        "verdict": verdict(card, reason),
        "updated_at": instant(row.at) if row else None,
        "reasons": {} if card["cases"] else {"forecasters": reason},
    }


def verdict(card: Mapping[str, Any], reason_without: str) -> dict[str, Any]:
    """Return what a verdict in words is made from.

    `comparisons` counts, for each baseline, the losses on which the forecasts were better, and those on which the whole
    interval of the difference is below zero, or above. Without a comparison, `reason` says why. `within_90` is how much
    of the outcomes the 90 % interval held, for countries with deaths.
    """
    comparisons, reasons = [], []
    for baseline in VERDICT_BASELINES:
        differences = [each for each in card["differences"] if each["against"] == baseline]
        reasons += [reason for each in differences for reason in each["reasons"].values()]
        known = [each for each in differences if each["value"] is not None]
        if known:
            counts = {
                "better": sum(each["value"] < 0 for each in known),
                "beyond_chance": sum(each["high"] < 0 for each in known),
                "worse_beyond_chance": sum(each["low"] > 0 for each in known),
                "measures": len(differences),
            }
            comparisons.append({"against": baseline, **counts})
    served = next((each for each in card["forecasters"] if each["forecaster"] == SERVED_FORECASTER), None)
    coverage = served["coverage"] if served else None
    reason = None if comparisons else (reasons[0] if reasons else reason_without)
    return {
        "comparisons": comparisons,
        "within_90": coverage["within_90"] if coverage else None,
        "reason": reason,
    }


def _next_month(origin: str) -> dict[str, str]:
    """Return the first month after the origin, and the first day after that month."""
    first = date.fromisoformat(f"{origin}-01")
    month, after = (_add_months(first, months) for months in (1, 2))
    return {"month": f"{month:%Y-%m}", "not_before": after.isoformat()}


def _add_months(day: date, months: int) -> date:
    years, month_index = divmod(day.month - 1 + months, 12)
    return day.replace(year=day.year + years, month=month_index + 1)
