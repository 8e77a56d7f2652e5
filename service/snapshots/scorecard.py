"""The scorecard as the API and the page show it: the stored result of verification, and the next month to be scored."""

from datetime import date
from typing import Any

import sqlalchemy as sa

from service.snapshots import snapshot_view
from service.snapshots.snapshot_view import SnapshotView
from service.store.tables import scorecards
from service.store.values import instant

SERVED_FORECASTER = "served"
"""The forecaster name of the forecasts that were served, whichever model made them."""

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

NO_OUTCOME_YET = "no_outcome_yet"


def payload(connection: sa.Connection, view: SnapshotView) -> dict[str, Any]:
    """Return the newest scorecard for the region, outcome and kind of data of the snapshot in service."""
    snapshot = view.document
    same = [scorecards.c[name] == snapshot[name] for name in ("region", "simulated", "outcome")]
    newest = sa.select(scorecards).where(*same).order_by(scorecards.c.id.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    data = {**EMPTY_SCORECARD, "incomplete": [], **(row.document if row else {})}
    return {
        "data": {
            **data,
            "updated_at": instant(row.at) if row else None,
            "next": _next_month(snapshot["origin"]),
            "challenger": snapshot["shadow"],
            "reasons": {} if data["cases"] else {"forecasters": NO_OUTCOME_YET},
        },
        **snapshot_view.meta(view),
    }


def _next_month(origin: str) -> dict[str, str]:
    """Return the first month after the origin, and the first day after that month."""
    first = date.fromisoformat(f"{origin}-01")
    month, after = (_add_months(first, months) for months in (1, 2))
    return {"month": f"{month:%Y-%m}", "not_before": after.isoformat()}


def _add_months(day: date, months: int) -> date:
    years, month_index = divmod(day.month - 1 + months, 12)
    return day.replace(year=day.year + years, month=month_index + 1)
