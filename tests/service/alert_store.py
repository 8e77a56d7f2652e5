"""A store of alerts whose scores, rules and clock a test chooses."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from riskmodel.alerting.rule import Rule
from riskmodel.bands import DEFAULT_BANDS
from service.alerts import alert_list, lifecycle
from service.settings import Settings
from service.store.database import Store
from service.store.tables import deliveries, metadata, runs, snapshots

NOW = datetime(2026, 11, 22, 8, 15, tzinfo=UTC)
REGION = ("MLI", "DZA", "BFA", "CIV", "GIN", "MRT", "NER", "SEN")


def document(origin: str = "2022-12", *, simulated: bool = False, **scores: float | None) -> dict[str, Any]:
    countries = [
        {
            "location_code": iso3,
            "risk_score": scores.get(iso3, 5.0),
            "escalation_probability": None,
            "reasons": {"escalation_probability": "history_too_short"}
            | ({} if scores.get(iso3, 5.0) is not None else {"risk_score": "no_history"}),
        }
        for iso3 in REGION
    ]
    part = {"origin": origin, "data_as_of": f"{origin}-28", "causes": ["new_month"], "countries": countries}
    return {
        "region": "MLI",
        "simulated": simulated,
        "outcome": "state_based",
        "bands": DEFAULT_BANDS,
        "missing_outcomes": {"all": "no_model"},
        "outcomes": {"state_based": part},
    }


class AlertStore:
    """A store that is emptied, with one run and one snapshot, and `evaluate` with defaults for most arguments."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = NOW
        self.settings: Settings | None = None
        with store.writing() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(sa.delete(table))
            connection.execute(sa.insert(runs).values(id=1, region="MLI", started_at=NOW, status="running"))
            connection.execute(
                sa.insert(snapshots).values(
                    id=1, region="MLI", simulated=False, issued_at=NOW, input_digest="i", digest="d", document={}
                )
            )

    def evaluate(
        self,
        document: dict[str, Any],
        *rules: Rule,
        causes: Sequence[str] | None = None,
        age: int | None = None,
    ) -> list[dict[str, Any]]:
        """Evaluate an hour after the last time; `age` is that of the data [days]."""
        self.now += timedelta(hours=1)
        for part in document["outcomes"].values() if age is not None else ():
            part["data_as_of"] = (self.now.date() - timedelta(days=age)).isoformat()
        with self.store.writing() as connection:
            return lifecycle.evaluate(
                connection,
                rules=rules,
                document=document,
                run_id=1,
                snapshot_id=1,
                now=self.now,
                causes=causes,
                settings=self.settings,
            )

    def rows(self, table: sa.Table) -> list[Any]:
        with self.store.reading() as connection:
            return list(connection.execute(sa.select(table).order_by(*table.primary_key)).all())

    def firing(self, *, simulated: bool = False) -> list[dict[str, Any]]:
        with self.store.reading() as connection:
            return alert_list.listed(connection, "MLI", simulated)

    def receive_all(self) -> None:
        """Let the receivers get what is waiting."""
        with self.store.writing() as connection:
            waiting = sa.update(deliveries).where(deliveries.c.status == "waiting")
            connection.execute(waiting.values(status="sent", sent_at=self.now))

    def messages(self) -> list[tuple[str, str]]:
        """Kind and location of each message, oldest first."""
        rows = sorted(self.rows(deliveries), key=lambda row: row.created_at)
        return [(row.kind, row.document["data"].get("location_code", "")) for row in rows]
