"""Messages of a withdrawn snapshot: which are cancelled, which are corrected, and what is sent after that."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from receivers import SECRET
from snapshot_documents import NOW, nested
from snapshots_support import SnapshotHome

from riskmodel.alerting import rule_file
from service.alerts import delivery, lifecycle, outbox
from service.alerts.channels.attempt import DeliveryError
from service.alerts.correction import Correction
from service.jobs.withdrawal import withdraw
from service.settings import Settings, WebhookRoute
from service.store.tables import deliveries

RULES = rule_file.parse(
    '[[rule]]\nname = "grave"\nmetric = "risk_score"\nfire_at = 60\nclear_at = 55\nseverity = "warning"\n'
    'route = "duty"\ntitle = {en = "Grave", fr = "Grave"}\n',
    "rules",
)
SETTINGS = Settings(
    routes={"duty": WebhookRoute.model_validate({"type": "webhook", "url": "http://example.org/", "secret": SECRET})}
)
LATER = NOW + timedelta(days=1)
REFUSED = DeliveryError("the receiver answered 500")
GONE = DeliveryError("the receiver answered 410", permanent=True)
TIMEOUT = DeliveryError("no response within 30 s", maybe_received=True)


class Receiver:
    """A `send` that raises what its script says for a country, and otherwise records kind and country."""

    def __init__(self, **script: DeliveryError) -> None:
        self.script = script
        self.messages: list[tuple[str, str | None]] = []

    def __call__(self, route: Any, delivery_id: str, payload: Any, now: datetime) -> None:
        iso3 = payload["data"].get("location_code")
        if iso3 in self.script:
            raise self.script.pop(iso3)
        self.messages.append((payload["type"].removeprefix("alert."), iso3))


@pytest.fixture
def issuer(tmp_path: Path) -> SnapshotHome:
    """Two snapshots: in the first no alert fires, in the second one fires for Mali, Burkina Faso and Niger."""
    issuer = SnapshotHome(tmp_path / "home")
    issuer.add_ingests("real")
    evaluate(issuer, 1, calm=True)
    evaluate(issuer, 2)
    return issuer


GROUPED = tuple(rule.model_copy(update={"group_by": "region"}) for rule in RULES)


def evaluate(
    issuer: SnapshotHome,
    number: int,
    *,
    rules: Any = RULES,
    calm: bool = False,
    first: bool = False,
    origin: str = "",
) -> None:
    """Issue a snapshot and evaluate the alerts on it; in a calm one, every risk score is 5."""
    now = NOW + timedelta(hours=number)
    document = issuer.issue(at=now)
    for country in document["countries"] if calm else []:
        country["risk_score"] = 5.0
    document["origin"] = origin or document["origin"]
    issuer.replace(document)
    with issuer.store.writing() as connection:
        lifecycle.evaluate(
            connection,
            rules=rules,
            document=nested(document),
            run_id=number,
            snapshot_id=number,
            now=now,
            causes=["first"] if first else ["revision"],
        )


def deliver(issuer: SnapshotHome, receiver: Receiver, at: datetime) -> None:
    """Send what is due, round after round, because a round ends for a route with its first failure."""
    while delivery.deliver_due(issuer.store, SETTINGS, lambda: at, receiver):
        pass


def statuses(issuer: SnapshotHome, kind: str) -> dict[str, str]:
    """Status of each message of a kind, by country."""
    with issuer.store.reading() as connection:
        rows = connection.execute(sa.select(deliveries).where(deliveries.c.kind == kind)).all()
    return {row.document["data"]["location_code"]: row.status for row in rows}


def corrected(issuer: SnapshotHome) -> list[str]:
    """Ids of the messages that the correction lists."""
    with issuer.store.reading() as connection:
        row = connection.execute(sa.select(deliveries).where(deliveries.c.kind == "correction")).one()
    return sorted(message["delivery_id"] for message in row.document["data"]["alerts"])


def ids(issuer: SnapshotHome, *countries: str) -> list[str]:
    with issuer.store.reading() as connection:
        rows = connection.execute(sa.select(deliveries).where(deliveries.c.kind == "firing")).all()
    return sorted(row.id for row in rows if row.document["data"]["location_code"] in countries)


def test_a_message_that_failed_once_is_not_sent_after_the_correction(issuer: SnapshotHome) -> None:
    before, after = Receiver(MLI=REFUSED), Receiver()
    deliver(issuer, before, NOW + timedelta(hours=3))
    assert sorted(before.messages) == [("firing", "BFA"), ("firing", "NER")]
    assert withdraw(issuer.store, RULES, 2, "wrong file", LATER) == Correction(("duty",), corrected=2, cancelled=1)
    assert corrected(issuer) == ids(issuer, "BFA", "NER")
    deliver(issuer, after, LATER + timedelta(days=1))
    assert sorted(after.messages) == [("corrected", "BFA"), ("corrected", "NER"), ("correction", None)]


def test_a_message_that_timed_out_is_not_sent_again_but_corrected(issuer: SnapshotHome) -> None:
    after = Receiver()
    deliver(issuer, Receiver(MLI=TIMEOUT), NOW + timedelta(hours=3))
    assert withdraw(issuer.store, RULES, 2, "wrong file", LATER) == Correction(("duty",), corrected=3, cancelled=0)
    assert corrected(issuer) == ids(issuer, "BFA", "MLI", "NER")
    deliver(issuer, after, LATER + timedelta(days=1))
    assert ("firing", "MLI") not in after.messages


def test_what_a_revision_takes_back_is_not_announced_late(issuer: SnapshotHome) -> None:
    before, after = Receiver(MLI=REFUSED, BFA=TIMEOUT), Receiver()
    deliver(issuer, before, NOW + timedelta(hours=2))
    evaluate(issuer, 3, calm=True)
    assert before.messages == [("firing", "NER")]
    assert statuses(issuer, "firing") == {"MLI": "dismissed", "BFA": "dismissed", "NER": "sent"}
    deliver(issuer, after, LATER)
    assert sorted(after.messages) == [("corrected", "BFA"), ("corrected", "NER")]


def test_a_message_that_was_given_up_is_cancelled_and_cannot_be_retried(issuer: SnapshotHome) -> None:
    deliver(issuer, Receiver(MLI=GONE), NOW + timedelta(hours=3))
    assert withdraw(issuer.store, RULES, 2, "wrong file", LATER) == Correction(("duty",), corrected=2, cancelled=1)
    assert statuses(issuer, "firing") == {"MLI": "dismissed", "BFA": "sent", "NER": "sent"}
    assert outbox.retry(issuer.store, ids(issuer, "MLI"), LATER) == 0


def test_a_route_that_got_nothing_gets_no_correction(issuer: SnapshotHome) -> None:
    after = Receiver()
    deliver(issuer, Receiver(MLI=REFUSED, BFA=REFUSED, NER=GONE), NOW + timedelta(hours=3))
    assert withdraw(issuer.store, RULES, 2, "wrong file", LATER) == Correction((), corrected=0, cancelled=3)
    deliver(issuer, after, LATER + timedelta(days=1))
    assert after.messages == []


def test_an_end_that_waits_is_cancelled_with_the_message_that_it_follows(issuer: SnapshotHome) -> None:
    after = Receiver()
    evaluate(issuer, 3, calm=True, origin="2024-01")
    assert statuses(issuer, "resolved") == {"MLI": "waiting", "BFA": "waiting", "NER": "waiting"}
    assert withdraw(issuer.store, RULES, 2, "wrong file", LATER) == Correction((), corrected=0, cancelled=6)
    deliver(issuer, after, LATER + timedelta(days=1))
    assert after.messages == []


def test_an_alert_whose_summary_was_cancelled_is_not_resolved(tmp_path: Path) -> None:
    issuer, after = SnapshotHome(tmp_path / "home"), Receiver()
    issuer.add_ingests("real")
    evaluate(issuer, 1, calm=True)
    evaluate(issuer, 2, first=True)
    assert withdraw(issuer.store, RULES, 2, "wrong file", LATER) == Correction((), corrected=0, cancelled=1)
    deliver(issuer, after, LATER + timedelta(days=1))
    assert after.messages == []


@pytest.fixture
def grouped(tmp_path: Path) -> SnapshotHome:
    """The same, but the three alerts are one digest."""
    issuer = SnapshotHome(tmp_path / "home")
    issuer.add_ingests("real")
    evaluate(issuer, 1, calm=True)
    evaluate(issuer, 2, rules=GROUPED)
    return issuer


def test_a_correction_names_the_digest_of_each_message(grouped: SnapshotHome) -> None:
    receiver = Receiver()
    deliver(grouped, receiver, NOW + timedelta(hours=3))
    assert receiver.messages == [("digest", None)]
    assert withdraw(grouped.store, GROUPED, 2, "wrong file", LATER) == Correction(("duty",), corrected=3, cancelled=0)
    with grouped.store.reading() as connection:
        digests = connection.execute(sa.select(deliveries).where(deliveries.c.kind == "digest")).all()
        correction = connection.execute(sa.select(deliveries).where(deliveries.c.kind == "correction")).one()
    listed = correction.document["data"]["alerts"]
    assert {each["digest_id"] for each in listed} == {digests[0].id}
    assert {each["delivery_id"] for each in listed} == set(ids(grouped, "MLI", "BFA", "NER"))


def test_a_digest_that_was_not_sent_is_cancelled_with_its_snapshot(grouped: SnapshotHome) -> None:
    receiver = Receiver()
    assert withdraw(grouped.store, GROUPED, 2, "wrong file", LATER) == Correction((), corrected=0, cancelled=3)
    deliver(grouped, receiver, LATER + timedelta(days=1))
    assert receiver.messages == []
