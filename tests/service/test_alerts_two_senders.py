"""Two sender processes on one outbox, and receivers with every fault: each message arrives, under one id."""

import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from receivers import LOOPBACK, SECRET, HookReceiver, make_certificate

from riskmodel.home import Home
from service.alerts import delivery, outbox
from service.alerts.channels import attempt
from service.settings import Settings
from service.store.database import Store
from service.store.tables import deliveries

SENDER = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from riskmodel.home import Home
from service.alerts import delivery
from service.settings import Settings
from service.store.database import Store

settings = Settings(allow_private_webhooks=["127.0.0.1"], routes=json.loads(sys.argv[2]))
store = Store.of(Home(Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps(delivery.deliver_due(store, settings, lambda: datetime.now(UTC))))
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.of(Home(tmp_path))


def enqueue(store: Store, number: int, at: datetime) -> list[str]:
    data = {"headline": {"en": "ALERT", "fr": "ALERTE"}, "text": {"en": "Text.", "fr": "Texte."}}
    with store.writing() as connection:
        return [
            outbox.enqueue(connection, route="duty", kind="firing", data=data, now=at, alert=f"alert-{each}")
            for each in range(number)
        ]


def clock(moment: datetime) -> datetime:
    return moment


@pytest.mark.long
def test_two_processes_never_claim_the_same_message(store: Store, tmp_path: Path) -> None:
    ids = enqueue(store, 300, datetime.now(UTC))
    with HookReceiver().listening() as receiver:
        routes = {"duty": {"type": "webhook", "url": receiver.url("/"), "secret": SECRET}}
        command = [sys.executable, "-c", SENDER, str(tmp_path), json.dumps(routes)]
        senders = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
        ]
        for sender in senders:
            assert sender.stdout is not None
            assert sender.stdout.readline() == "ready\n"
        for sender in senders:
            assert sender.stdin is not None
            sender.stdin.write("\n")
            sender.stdin.flush()
        counts = [Counter(json.loads(sender.communicate(timeout=60)[0])) for sender in senders]
    assert sum(counts, Counter()) == {"sent": 300}
    assert Counter(receiver.ids) == Counter(ids), "each message once"


@pytest.mark.long
def test_every_fault_of_a_receiver_ends_in_one_message_under_one_id(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "STEP_SECONDS", 0.4)
    monkeypatch.setattr(attempt, "DEADLINE_SECONDS", 0.8)
    faults: list[Any] = ["hang", "cut", "drip", 500, (429, "1"), 503, 400]
    # The longest delay is shorter than ten hours; the last attempt is now, because a receiver refuses old signatures.
    moments = [datetime.now(UTC) - timedelta(hours=10 * left) for left in range(len(faults), -1, -1)]
    (delivery_id,) = enqueue(store, 1, moments[0])
    counts = Counter[str]()
    with HookReceiver(*faults).listening() as receiver:
        settings = Settings(allow_private_webhooks=LOOPBACK, routes={"duty": receiver.route()})
        for moment in moments:
            counts += delivery.deliver_due(store, settings, partial(clock, moment))
    assert counts == {"retry": len(faults), "sent": 1}
    assert set(receiver.ids) == {delivery_id}
    assert len(receiver.ids) == len(faults) + 1
    assert [taken for taken, _ in receiver.taken] == [delivery_id]


def test_a_receiver_with_a_wrong_certificate_gets_nothing_and_is_tried_again(store: Store, tmp_path: Path) -> None:
    enqueue(store, 1, datetime.now(UTC))
    with HookReceiver().listening(certificate=make_certificate(tmp_path, "other.example.org")) as receiver:
        url = receiver.url("/token").replace("http:", "https:")
        settings = Settings(
            allow_private_webhooks=LOOPBACK, routes={"duty": {"type": "webhook", "url": url, "secret": SECRET}}
        )
        assert delivery.deliver_due(store, settings, lambda: datetime.now(UTC)) == {"retry": 1}
    assert receiver.ids == []
    with store.reading() as connection:
        row = connection.execute(sa.select(deliveries)).one()
    assert "certificate" in row.error.lower()
    assert "token" not in row.error
    assert not row.maybe_received
