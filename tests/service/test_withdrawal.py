"""A wrong snapshot is withdrawn: it stays stored, is no longer served, and its messages are corrected."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from snapshot_documents import NOW, nested
from snapshots_support import SnapshotHome

from riskmodel.alerting import rule_file
from riskmodel.errors import BadInput
from service.alerts import alert_list, lifecycle
from service.alerts.correction import Correction
from service.jobs.withdrawal import withdraw
from service.settings import load
from service.snapshots import snapshot_view
from service.snapshots.snapshot_view import SnapshotView
from service.store.tables import deliveries, runs, snapshots

RULES = rule_file.parse(
    '[[rule]]\nname = "grave"\nmetric = "risk_score"\nfire_at = 60\nclear_at = 55\nseverity = "warning"\n'
    'route = "duty"\ntitle = {en = "Grave", fr = "Grave"}\n',
    "rules",
)
LATER = NOW + timedelta(days=1)


@pytest.fixture
def wrong(tmp_path: Path) -> SnapshotHome:
    """Two snapshots: a calm one, and a wrong one that fires alerts in three countries; two messages were sent."""
    issuer = SnapshotHome(tmp_path / "home")
    issuer.add_ingests("real")
    for number, calm in ((1, True), (2, False)):
        document = issuer.issue(at=NOW + timedelta(hours=number))
        if calm:
            for country in document["countries"]:
                country["risk_score"] = 5.0 if country["risk_score"] is not None else None
        issuer.replace(document)
        with issuer.store.writing() as connection:
            lifecycle.evaluate(
                connection,
                rules=RULES,
                document=nested(document),
                run_id=number,
                snapshot_id=number,
                now=NOW + timedelta(hours=number),
                causes=["revision"],
            )
    with issuer.store.writing() as connection:
        (first, second, _) = connection.execute(sa.select(deliveries.c.id).order_by(deliveries.c.created_at)).scalars()
        gone = deliveries.c.id.in_((first, second))
        connection.execute(sa.update(deliveries).where(gone).values(status="sent", attempts=1, sent_at=NOW))
    return issuer


def rows(issuer: SnapshotHome, table: sa.Table) -> list[Any]:
    with issuer.store.reading() as connection:
        return list(connection.execute(sa.select(table)).all())


def served(issuer: SnapshotHome) -> SnapshotView | None:
    with issuer.store.reading() as connection:
        return snapshot_view.in_service(connection, load(issuer.home), simulated=False, now=LATER)


def firing(issuer: SnapshotHome) -> list[str]:
    with issuer.store.reading() as connection:
        return [alert["location_code"] for alert in alert_list.listed(connection, "MLI", simulated=False)]


def test_the_snapshot_before_is_in_service_again_and_alerts_follow_it(wrong: SnapshotHome) -> None:
    before = rows(wrong, snapshots)[1]
    assert sorted(firing(wrong)) == ["BFA", "MLI", "NER"]
    assert withdraw(wrong.store, RULES, 2, "a file of another country", LATER) == Correction(("duty",), 2, 1)
    view = served(wrong)
    assert view is not None
    assert view.id == 1
    assert firing(wrong) == []
    stored = rows(wrong, snapshots)[1]
    assert (stored.withdrawn_at, stored.withdrawn_reason) == (LATER, "a file of another country")
    assert (stored.document, stored.digest) == (before.document, before.digest)
    assert rows(wrong, runs)[-1].status == "withdrawal"


def test_sent_messages_are_corrected_and_unsent_ones_are_cancelled(wrong: SnapshotHome) -> None:
    stored = [row.id for row in rows(wrong, deliveries) if row.status == "sent"]
    withdraw(wrong.store, RULES, 2, "a file of another country", LATER)
    after = rows(wrong, deliveries)
    assert [row.status for row in after if row.kind == "firing"].count("dismissed") == 1
    (correction,) = (row for row in after if row.kind == "correction")
    data = correction.document["data"]
    assert (correction.route, correction.status, data["snapshot_id"]) == ("duty", "waiting", 2)
    assert sorted(alert["delivery_id"] for alert in data["alerts"]) == sorted(stored)
    assert "a file of another country" in data["text"]["en"]
    assert data["headline"]["fr"].startswith("RECTIFICATIF")


def test_without_another_snapshot_nothing_is_served_and_nothing_fires(wrong: SnapshotHome) -> None:
    withdraw(wrong.store, RULES, 1, "wrong", LATER)
    withdraw(wrong.store, RULES, 2, "wrong", LATER)
    assert served(wrong) is None
    assert firing(wrong) == []


@pytest.mark.parametrize(("number", "rule"), [(9, "no snapshot 9"), (2, "was withdrawn on 2023-01-11")])
def test_an_unknown_or_withdrawn_snapshot_cannot_be_withdrawn(wrong: SnapshotHome, number: int, rule: str) -> None:
    withdraw(wrong.store, RULES, 2, "wrong", LATER)
    with pytest.raises(BadInput, match=rule):
        withdraw(wrong.store, RULES, number, "again", LATER)
