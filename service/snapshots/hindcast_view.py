"""Hindcasts as the read side sees them: which one answers for a past moment, and that one as a `SnapshotView`.

A hindcast is what Vigie would have reported at a past origin, computed later. It is no snapshot: it has no number, and
no drivers or indicators.
"""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa

from riskmodel.hindcast_payload import HINDCAST, as_in_snapshot
from riskmodel.months import last_day, month
from riskmodel.outcomes import OUTCOMES
from service.settings import Settings
from service.snapshots.outcome_parts import NOT_COMPUTED
from service.snapshots.snapshot_view import AsOf, SnapshotView
from service.store.tables import hindcasts

KNOWN_BEFORE_END = timedelta(hours=1)
"""A hindcast reads what was published until this time before the end of the month after its origin."""


def origin_at(moment: datetime) -> str:
    """Return the origin of the hindcast that stands for a past moment, YYYY-MM.

    A hindcast reads what was published by the end of the month after its origin, so it stands for no moment before.
    """
    reached = np.datetime64((moment + KNOWN_BEFORE_END).strftime("%Y-%m"), "M")
    return str(reached - 2)


def hindcast_at(
    connection: sa.Connection, settings: Settings, *, simulated: bool, moment: datetime, outcome: str | None = None
) -> SnapshotView | None:
    """Return the hindcast that stands for a past moment; None if there is none of its origin and `outcome`.

    Without an `outcome`, it is `all` where the hindcast has it.
    """
    key = {"region": settings.region, "simulated": simulated, "origin": origin_at(moment)}
    query = sa.select(hindcasts).where(*(hindcasts.c[name] == value for name, value in key.items()))
    rows = {row.outcome: row for row in connection.execute(query)}
    available = [name for name in OUTCOMES if name in rows]
    if not available or (outcome and outcome not in rows):
        return None
    row = rows[outcome or available[0]]
    document = _flat_document(row, available)
    as_of = AsOf(moment, HINDCAST, row.computed_at, row.data_basis)
    return SnapshotView(None, row.digest, document, settings, moment, None, as_of)


def _flat_document(row: sa.Row[Any], available: list[str]) -> dict[str, Any]:
    """Return the flat document of a hindcast, with the keys that payloads and pages read from that of a snapshot."""
    stored = row.document
    return {
        "region": row.region,
        "simulated": row.simulated,
        "origin": row.origin,
        "data_as_of": last_day(month(row.origin)),
        "outcome": row.outcome,
        "available_outcomes": tuple(available),
        "missing_outcomes": {name: NOT_COMPUTED for name in OUTCOMES if name not in available},
        "source": stored["source"],
        "licence": stored["licence"],
        "shipped_only": False,
        "bands": stored["bands"],
        "newer_data": {},
        "data_quality": None,
        "model": {"id": None, "origin": row.model_origin, "vigie": stored["vigie"]},
        "signals_note": stored["signals_note"],
        "indicator_families": [],
        "indicator_sources": [],
        "neighbour_effects": None,
        "countries": list(map(as_in_snapshot, stored["countries"])),
    }
