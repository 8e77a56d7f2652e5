"""Correction: what a withdrawn snapshot means for the messages that were made from it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from riskmodel.alerting.rule import SEVEREST_FIRST
from riskmodel.geography import WHOLE_REGION
from service.alerts import outbox, wording
from service.snapshots.outcome_parts import of_outcome
from service.store.tables import deliveries, runs
from service.store.values import instant

CORRECTED_KINDS = (
    "firing",
    "reminder",
    "brief",
    "resolved",
    "corrected",
    "expired",
    "rule_changed",
    "summary",
    "missing",
)


@dataclass(frozen=True)
class Correction:
    """Effect of a withdrawal on messages: the routes that get a correction, and numbers of messages.

    `corrected` counts those that a receiver has or may have; `cancelled` counts the others, which are never sent.
    """

    routes: tuple[str, ...]
    corrected: int
    cancelled: int


def correct(connection: sa.Connection, snapshot: sa.Row[Any], why: str, now: datetime) -> Correction:
    """Cancel the unsent messages of a snapshot, and send one correction by each route that has sent others."""
    runs_of_snapshot = sa.select(runs.c.id).where(runs.c.snapshot_id == snapshot.id)
    messages = deliveries.c.run_id.in_(runs_of_snapshot) & deliveries.c.kind.in_(CORRECTED_KINDS)
    # Messages that are being sent, or timed out, are cancelled as well, or a retry would follow the correction. The
    # receiver may have them, so they are corrected too.
    outbox.cancel(connection, messages & outbox.RECEIVED, "its snapshot was withdrawn")
    cancelled = outbox.cancel(connection, messages, "its snapshot was withdrawn")
    received = outbox.read(connection, messages & outbox.RECEIVED)  # a part of a digest as if it had come alone
    document = of_outcome(snapshot.document)
    facts = {key: document[key] for key in ("region", "simulated", "outcome", "origin", "data_as_of")}
    facts |= {
        "outcomes": list(document["available_outcomes"]),
        "snapshot_id": snapshot.id,
        "at": instant(now),
        "withdrawn_reason": why,
    }
    routes = tuple(sorted({message.route for message in received}))
    for route in routes:
        data = {
            **facts,
            "name": wording.name(WHOLE_REGION, snapshot.region),
            "alerts": [
                {
                    "delivery_id": message.id,
                    "digest_id": message.digest_id,
                    "alert_id": message.document["data"].get("alert_id"),
                    "headline": message.document["data"]["headline"],
                }
                for message in received
                if message.route == route
            ],
        }
        severity = min((message.severity for message in received), key=SEVEREST_FIRST.index)
        data |= wording.correction(data)
        outbox.enqueue(connection, route=route, kind="correction", data=data, severity=severity, now=now)
    return Correction(routes, len(received), cancelled)
