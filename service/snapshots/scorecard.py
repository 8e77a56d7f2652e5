"""The scorecard as everybody is told it: what verification has written, and which month is waited for.

Made for the API and the page alike. It knows no web, and computes no score.
"""

from datetime import date
from typing import Any

import sqlalchemy as sa

from service.snapshots import read_model
from service.snapshots.read_model import Served
from service.store.tables import scorecards
from service.store.values import instant

SERVED = "served"
"""What the forecaster is called whose forecasts were served, whichever model that was."""

EMPTY: dict[str, Any] = {
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
"""A scorecard on which nothing stands yet."""

NO_OUTCOME = "no_outcome_yet"


def payload(connection: sa.Connection, served: Served) -> dict[str, Any]:
    """The scorecard of the region, realm and outcome in service, under the particulars of the snapshot in service."""
    said = served.document
    same = [scorecards.c[name] == said[name] for name in ("region", "simulated", "outcome")]
    newest = sa.select(scorecards).where(*same).order_by(scorecards.c.id.desc()).limit(1)
    row = connection.execute(newest).one_or_none()
    data = {**EMPTY, "incomplete": [], **(row.document if row else {})}
    return {
        "data": {
            **data,
            "updated_at": instant(row.at) if row else None,
            "next": _next(said["origin"]),
            "challenger": said.get("shadow"),
            "reasons": {} if data["cases"] else {"forecasters": NO_OUTCOME},
        },
        **read_model.meta(served),
    }


def _next(origin: str) -> dict[str, str]:
    """The first month that the newest snapshot forecasts, and the first day on which it is over."""
    first = date.fromisoformat(f"{origin}-01")
    month, after = (_later(first, months) for months in (1, 2))
    return {"month": f"{month:%Y-%m}", "not_before": after.isoformat()}


def _later(day: date, months: int) -> date:
    years, place = divmod(day.month - 1 + months, 12)
    return day.replace(year=day.year + years, month=place + 1)
