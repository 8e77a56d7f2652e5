"""The outbox: no message is lost, none is sent under two ids, and every failure is listed."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from receivers import LOOPBACK, SECRET, HookReceiver, MailReceiver

from riskmodel.home import Home
from service.alerts import backoff, delivery, outbox, wording
from service.alerts.channels import attempt
from service.alerts.channels.attempt import DeliveryError
from service.settings import Settings, WebhookRoute
from service.store.database import Store
from service.store.tables import deliveries

SettingsOnLoopback = partial(Settings, allow_private_webhooks=LOOPBACK)
HOOK = WebhookRoute.model_validate({"type": "webhook", "url": "http://127.0.0.1:9/", "secret": SECRET})
FACTS = {
    "name": {"en": "Mali", "fr": "Mali"},
    "title": {"en": "Risk", "fr": "Risque"},
    "note": None,
    "metric": "risk_score",
    "metric_label": {"en": "Risk score", "fr": "Score de risque"},
    "bands": {"minimal": 0.0},
    "value": 78.1,
    "fire_at": 70,
    "clear_at": 65,
    "causes": ["new_month"],
    "outcome": "state_based",
    "origin": "2022-12",
    "data_as_of": "2022-12-31",
    "at": "2023-01-10T08:30:00Z",
    "snapshot_id": 1,
}


def now() -> datetime:
    return datetime.now(UTC)


def later(**offset: float) -> Callable[[], datetime]:
    """A clock that is ahead by this offset, or behind if it is negative."""
    return lambda: now() + timedelta(**offset)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.of(Home(tmp_path))


def enqueue(store: Store, route: str = "duty", at: datetime | None = None, number: int = 0, **more: Any) -> str:
    data = wording.change("firing", FACTS) | {"number": number}
    with store.writing() as connection:
        return outbox.enqueue(connection, route=route, kind="firing", data=data, now=at or now(), **more)


def rows(store: Store) -> list[Any]:
    with store.reading() as connection:
        return list(connection.execute(sa.select(deliveries).order_by(deliveries.c.created_at)).all())


def read(store: Store, function: Callable[[sa.Connection], Any]) -> Any:
    with store.reading() as connection:
        return function(connection)


class Killed(BaseException):
    """Ends a sender in the middle of an attempt, as a signal would: it cannot record a result."""


class Scripted:
    """A `send` that raises the exceptions of its script, one for each call, and then succeeds."""

    def __init__(self, *script: BaseException | None) -> None:
        self.script = list(script)
        self.ids: list[str] = []

    def __call__(self, route: Any, delivery_id: str, payload: Any, now: datetime) -> None:
        self.ids.append(delivery_id)
        if self.script and (failure := self.script.pop(0)):
            raise failure


def test_a_waiting_message_is_sent_once_under_its_id(store: Store) -> None:
    ids = [enqueue(store, number=number) for number in range(3)]
    with HookReceiver().listening() as receiver:
        settings = SettingsOnLoopback(routes={"duty": receiver.route()})
        assert delivery.deliver_due(store, settings, now) == {"sent": 3}
        assert delivery.deliver_due(store, settings, now) == {}
    assert [(delivery_id, payload["data"]["number"]) for delivery_id, payload in receiver.taken] == [
        *zip(ids, range(3), strict=True)
    ]
    assert {row.status for row in rows(store)} == {"sent"}
    assert all(row.attempts == 1 and row.sent_at and row.error is None for row in rows(store))


def test_a_message_links_to_its_page_if_the_service_has_a_public_address(store: Store) -> None:
    data = wording.change("firing", FACTS) | {"location_code": "MLI"}
    with store.writing() as connection:
        outbox.enqueue(connection, route="duty", kind="firing", data=data, now=now())
    with HookReceiver().listening() as receiver:
        settings = SettingsOnLoopback(routes={"duty": receiver.route()}, base_url="https://example.org/vigie")
        assert delivery.deliver_due(store, settings, now) == {"sent": 1}
    ((_, payload),) = receiver.taken
    urls = {code: f"https://example.org/vigie/{code}/country/MLI" for code in ("en", "fr")}
    assert payload["data"]["url"] == urls


def test_a_message_is_sent_again_under_the_same_id_after_a_failure(store: Store) -> None:
    delivery_id = enqueue(store, at=now() - timedelta(minutes=2))
    with HookReceiver(500, 200).listening() as receiver:
        settings = SettingsOnLoopback(routes={"duty": receiver.route()})
        assert delivery.deliver_due(store, settings, later(minutes=-2)) == {"retry": 1}
        (row,) = rows(store)
        assert (row.status, row.attempts, row.error) == ("waiting", 1, "the receiver answered 500")
        (shown,) = read(store, outbox.undelivered)
        assert (shown["id"], shown["status"], shown["problem"]) == (delivery_id, "waiting", "not_accepted")
        assert delivery.deliver_due(store, settings, later(minutes=-2)) == {}, "the delay is not over"
        assert delivery.deliver_due(store, settings, now) == {"sent": 1}
    assert receiver.ids == [delivery_id, delivery_id]
    assert [taken for taken, _ in receiver.taken] == [delivery_id]
    assert read(store, outbox.undelivered) == []


@pytest.mark.parametrize("fault", ["hang", "cut"])
def test_a_message_is_sent_again_after_a_timeout_or_a_broken_connection(
    store: Store, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "STEP_SECONDS", 0.3)
    delivery_id = enqueue(store, at=now() - timedelta(minutes=2))
    with HookReceiver(fault).listening() as receiver:
        settings = SettingsOnLoopback(routes={"duty": receiver.route()})
        assert delivery.deliver_due(store, settings, later(minutes=-2)) == {"retry": 1}
        assert delivery.deliver_due(store, settings, now) == {"sent": 1}
    assert receiver.ids == [delivery_id, delivery_id]


@pytest.mark.parametrize("failure", [DeliveryError("no"), Killed()])
def test_a_message_is_due_if_a_clock_that_was_ahead_postponed_it(store: Store, failure: BaseException) -> None:
    """The clock was three days ahead when an attempt failed, or when its sender claimed the message and died."""
    delivery_id = enqueue(store)
    ahead, settings = later(days=3), SettingsOnLoopback(routes={"duty": HOOK})
    with contextlib.suppress(Killed):
        assert delivery.deliver_due(store, settings, ahead, Scripted(failure)) == {"retry": 1}
    assert not outbox.has_due(store, settings, ahead())
    assert outbox.has_due(store, settings, now())
    send = Scripted()
    assert delivery.deliver_due(store, settings, now, send) == {"sent": 1}
    assert send.ids == [delivery_id]


def test_a_regular_delay_or_claim_is_not_taken_for_a_wrong_clock(store: Store) -> None:
    before = now()
    enqueue(store, at=before)
    settings = SettingsOnLoopback(routes={"duty": HOOK})
    longest = random.Random(0)
    longest.uniform = lambda low, high: high  # type: ignore[method-assign]
    for _ in range(1, backoff.MAX_ATTEMPTS):
        send = Scripted(DeliveryError("no"))
        assert delivery.deliver_due(store, settings, lambda: before, send, longest) == {"retry": 1}
        assert not outbox.has_due(store, settings, before)
        with store.writing() as connection:
            connection.execute(sa.update(deliveries).values(not_before=before))
    (row,) = rows(store)
    assert row.attempts == backoff.MAX_ATTEMPTS - 1
    with pytest.raises(Killed):
        delivery.deliver_due(store, settings, lambda: before, Scripted(Killed()))
    assert not outbox.has_due(store, settings, before)


def test_email_and_webhook_each_get_their_own_message(store: Store) -> None:
    hook_id, mail_id = enqueue(store, "hook"), enqueue(store, "mail")
    with HookReceiver().listening() as hook, MailReceiver().listening() as mail:
        settings = SettingsOnLoopback(routes={"hook": hook.route(), "mail": mail.route()})
        assert delivery.deliver_due(store, settings, now) == {"sent": 2}
    assert [taken for taken, _ in hook.taken] == [hook_id]
    (envelope,) = mail.taken
    assert isinstance(envelope.content, bytes)
    assert f"Message-ID: <{mail_id}@example.org>".encode() in envelope.content


def test_delays_grow_and_end_after_about_three_days(store: Store) -> None:
    enqueue(store)
    settings = SettingsOnLoopback(routes={"duty": HOOK})
    send = Scripted(*[DeliveryError("no")] * backoff.MAX_ATTEMPTS)
    moments = [now()]
    while rows(store)[0].status == "waiting":
        delivery.deliver_due(store, settings, lambda: moments[-1], send, random.Random(7))
        (row,) = rows(store)
        if row.status == "waiting":
            moments.append(row.not_before)
    waits = [after - before for before, after in pairwise(moments)]
    assert len(send.ids) == backoff.MAX_ATTEMPTS
    assert len(set(send.ids)) == 1
    assert all(timedelta(seconds=24) <= wait <= timedelta(hours=9.6) for wait in waits)
    assert all(wait < longer for wait, longer in pairwise(waits[:7]))
    assert timedelta(days=2.4) < moments[-1] - moments[0] < timedelta(days=3.7)
    (failed,) = read(store, outbox.undelivered)
    assert (failed["status"], failed["attempts"]) == ("failed", backoff.MAX_ATTEMPTS)
    assert read(store, outbox.last_errors) == {failed["id"]: "no"}


def test_delays_are_random(store: Store) -> None:
    rng = random.Random(1)
    assert len({backoff.retry_delay(5, rng) for _ in range(20)}) == 20


def test_a_message_that_a_receiver_refuses_for_good_is_given_up_and_listed(store: Store) -> None:
    delivery_id = enqueue(store, "mail")
    with MailReceiver(reply="554 5.7.1 spam").listening() as receiver:
        settings = Settings(routes={"mail": receiver.route()})
        assert delivery.deliver_due(store, settings, now) == {"failed": 1}
        assert delivery.deliver_due(store, settings, later(days=9)) == {}
    (failed,) = read(store, outbox.undelivered)
    assert (failed["id"], failed["status"]) == (delivery_id, "failed")
    assert failed["headline"] == {
        "en": "ALERT – Mali – Risk (state-based conflict)",
        "fr": "ALERTE – Mali – Risque (conflits impliquant un État)",
    }


def test_an_operator_retries_a_given_up_message_under_the_same_id(store: Store) -> None:
    delivery_id = enqueue(store)
    settings = SettingsOnLoopback(routes={"duty": HOOK})
    send = Scripted(DeliveryError("gone", permanent=True))
    delivery.deliver_due(store, settings, now, send)
    assert outbox.retry(store, [delivery_id], now()) == 1
    assert delivery.deliver_due(store, settings, now, send) == {"sent": 1}
    assert send.ids == [delivery_id, delivery_id]
    assert outbox.retry(store, [delivery_id], now()) == 0, "a sent message is not sent again"


def test_an_operator_dismisses_a_given_up_message(store: Store) -> None:
    delivery_id = enqueue(store)
    settings = SettingsOnLoopback(routes={"duty": HOOK})
    delivery.deliver_due(store, settings, now, Scripted(DeliveryError("gone", permanent=True)))
    assert outbox.dismiss(store, [delivery_id]) == 1
    assert read(store, outbox.undelivered) == []
    assert delivery.deliver_due(store, settings, later(days=9), Scripted()) == {}
    assert [row.status for row in rows(store)] == ["dismissed"]


@pytest.mark.parametrize(
    ("failure", "sent"),
    [
        (DeliveryError("refused", permanent=True), 0),
        (DeliveryError("timed out, and given up", permanent=True, maybe_received=True), 1),
    ],
)
def test_a_message_is_dismissed_with_the_one_it_follows_unless_that_may_have_arrived(
    store: Store, failure: DeliveryError, sent: int
) -> None:
    first_id = enqueue(store)
    settings = SettingsOnLoopback(routes={"duty": HOOK})
    delivery.deliver_due(store, settings, now, Scripted(failure))
    enqueue(store, follows=first_id)
    assert outbox.dismiss(store, [first_id]) == 2 - sent
    assert delivery.deliver_due(store, settings, now, Scripted()) == ({"sent": sent} if sent else {})


@pytest.mark.parametrize(
    ("failures", "maybe_received"),
    [
        ([DeliveryError("refused")], False),
        ([DeliveryError("timeout", maybe_received=True)], True),
        ([DeliveryError("timeout", maybe_received=True), DeliveryError("refused")], True),
        ([Killed()], True),
        ([ZeroDivisionError("inside")], True),
        ([None], True),
    ],
)
def test_the_outbox_knows_which_messages_a_receiver_may_have(
    store: Store, failures: list[BaseException | None], maybe_received: bool
) -> None:
    enqueue(store)
    settings, send = SettingsOnLoopback(routes={"duty": HOOK}), Scripted(*failures)
    for day in range(len(failures)):
        with contextlib.suppress(Killed):
            delivery.deliver_due(store, settings, later(days=day), send)
    with store.reading() as connection:
        received = connection.execute(sa.select(deliveries.c.id).where(outbox.RECEIVED)).all()
    assert bool(received) is maybe_received


def test_a_message_that_is_cancelled_while_it_is_being_sent_is_not_sent_again(store: Store) -> None:
    enqueue(store)
    settings = SettingsOnLoopback(routes={"duty": HOOK})

    def send(*_: Any) -> None:
        with store.writing() as connection:
            assert outbox.cancel(connection, deliveries.c.kind == "firing", "withdrawn") == 1
        raise DeliveryError("timeout", maybe_received=True)

    delivery.deliver_due(store, settings, now, send)
    assert [(row.status, row.error) for row in rows(store)] == [("dismissed", "withdrawn")]
    assert delivery.deliver_due(store, settings, later(days=9), Scripted()) == {}


def test_a_message_without_a_route_is_listed_and_waits_until_the_route_is_set(store: Store) -> None:
    delivery_id = enqueue(store, "dutty")
    assert delivery.deliver_due(store, Settings(), now) == {}
    assert delivery.deliver_due(store, SettingsOnLoopback(routes={"duty": HOOK}), later(days=9)) == {}
    (row,) = rows(store)
    assert (row.status, row.attempts) == ("waiting", 0)
    (shown,) = read(store, outbox.undelivered)
    assert (shown["id"], shown["route"], shown["problem"]) == (delivery_id, "dutty", "no_route")
    send = Scripted()
    assert delivery.deliver_due(store, SettingsOnLoopback(routes={"dutty": HOOK}), now, send) == {"sent": 1}
    assert read(store, outbox.undelivered) == []


def test_a_failing_route_is_tried_once_a_round_and_delays_no_other(store: Store) -> None:
    for number in range(3):
        enqueue(store, "dead", number=number)
    enqueue(store, "duty")
    with HookReceiver(*[503] * 9).listening() as dead, HookReceiver().listening() as receiver:
        settings = SettingsOnLoopback(routes={"dead": dead.route(), "duty": receiver.route()})
        assert delivery.deliver_due(store, settings, now) == {"retry": 1, "sent": 1}
        assert delivery.deliver_due(store, settings, now) == {"retry": 1}
    assert len(set(dead.ids)) == 2
    assert len(receiver.taken) == 1


def test_an_internal_error_is_logged_and_retried_and_delays_no_other(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    enqueue(store, "odd")
    enqueue(store, "duty")
    settings = SettingsOnLoopback(routes={"odd": HOOK, "duty": HOOK.model_copy()})

    def send(route: object, *_: object) -> None:
        if route is settings.routes["odd"]:
            raise ZeroDivisionError("inside")

    assert delivery.deliver_due(store, settings, now, send) == {"retry": 1, "sent": 1}
    assert [row.error for row in rows(store)] == ["internal error: ZeroDivisionError", None]
    assert any(record.exc_info for record in caplog.records)


def test_two_senders_at_once_send_each_message_once(store: Store, tmp_path: Path) -> None:
    ids = {enqueue(store, number=number) for number in range(20)}
    together = threading.Barrier(2, timeout=20)
    counts: list[Any] = []
    with HookReceiver().listening() as receiver:
        settings = SettingsOnLoopback(routes={"duty": receiver.route()})

        def sender() -> None:
            own = Store.of(Home(tmp_path))
            together.wait()
            counts.append(delivery.deliver_due(own, settings, now))
            own.engine.dispose()

        threads = [threading.Thread(target=sender) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(receiver.ids) == sorted(ids)
    assert sum(count["sent"] for count in counts) == 20
    assert all(row.attempts == 1 for row in rows(store))


def test_a_message_that_another_sender_has_claimed_is_not_sent(store: Store) -> None:
    enqueue(store)
    settings = SettingsOnLoopback(routes={"duty": HOOK})
    second = Scripted()

    def first(*_: Any) -> None:
        assert delivery.deliver_due(store, settings, now, second) == {}

    assert delivery.deliver_due(store, settings, now, first) == {"sent": 1}
    assert second.ids == []


def test_a_sender_that_read_a_message_before_another_sent_it_does_not_send_it(store: Store) -> None:
    enqueue(store)
    settings = SettingsOnLoopback(routes={"duty": HOOK})
    readings = iter(["find the routes", "claim the messages"])

    def clock() -> datetime:
        if next(readings, None) == "claim the messages":
            assert delivery.deliver_due(store, settings, now, Scripted()) == {"sent": 1}
        return now()

    late = Scripted()
    assert delivery.deliver_due(store, settings, clock, late) == {}
    assert late.ids == []


def test_a_sender_whose_lease_ran_out_does_not_overwrite_a_newer_result(store: Store) -> None:
    """The first sender fails only after its lease, when a second one has claimed the message."""
    enqueue(store, at=now() - timedelta(hours=1))
    settings = SettingsOnLoopback(routes={"duty": HOOK})

    def slow(*_: Any) -> None:
        assert delivery.deliver_due(store, settings, now, Scripted(DeliveryError("second"))) == {"retry": 1}
        raise DeliveryError("first", permanent=True)

    delivery.deliver_due(store, settings, later(hours=-1), slow)
    (row,) = rows(store)
    assert (row.status, row.attempts, row.error) == ("waiting", 2, "second")


SENDER = """
import json, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from riskmodel.home import Home
from service.alerts import delivery, outbox
from service.settings import Settings
from service.store.database import Store

home, routes = Home(Path(sys.argv[1])), json.loads(sys.argv[2])
# The claim is in the past, so that its lease ends during the test.
clock = lambda: datetime.now(UTC) - outbox.LEASE - timedelta(seconds=1)
allowed = ["127.0.0.1"]
delivery.deliver_due(Store.of(home), Settings(allow_private_webhooks=allowed, routes=routes), clock)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX's")
def test_a_message_is_sent_again_if_its_sender_is_killed(store: Store, tmp_path: Path) -> None:
    delivery_id = enqueue(store, at=now() - timedelta(hours=1))
    with HookReceiver("hang").listening() as receiver:
        routes = {"duty": {"type": "webhook", "url": receiver.url("/hook"), "secret": SECRET}}
        with subprocess.Popen([sys.executable, "-c", SENDER, str(tmp_path), json.dumps(routes)]) as sender:
            assert receiver.reached.wait(20), "the sender has claimed the message and waits for the receiver"
            (row,) = rows(store)
            assert (row.status, row.attempts) == ("waiting", 1)
            sender.send_signal(signal.SIGKILL)
        assert sender.returncode == -signal.SIGKILL
        settings = SettingsOnLoopback(routes=routes)
        assert delivery.deliver_due(store, settings, later(minutes=-4)) == {}, "the lease of the dead sender still runs"
        assert delivery.deliver_due(store, settings, now) == {"sent": 1}
    assert receiver.ids == [delivery_id, delivery_id]
    assert [taken for taken, _ in receiver.taken] == [delivery_id]
    (row,) = rows(store)
    assert (row.status, row.attempts) == ("sent", 2)


def test_a_test_message_is_sent_at_once_and_marked(store: Store) -> None:
    with HookReceiver().listening() as receiver:
        settings = SettingsOnLoopback(routes={"duty": receiver.route()})
        assert delivery.send_test(store, settings, "duty", now).failure is None
        assert delivery.deliver_due(store, settings, now) == {}
    ((_, payload),) = receiver.taken
    assert payload["type"] == "alert.test"
    assert payload["data"]["text"]["en"].startswith("TEST")


def test_a_test_message_that_fails_returns_its_error_and_is_not_tried_again(store: Store) -> None:
    with HookReceiver(500).listening() as receiver:
        settings = SettingsOnLoopback(routes={"duty": receiver.route()})
        assert str(delivery.send_test(store, settings, "duty", now).failure) == "the receiver answered 500"
        assert delivery.deliver_due(store, settings, later(days=9)) == {}
    assert read(store, outbox.undelivered) == []
