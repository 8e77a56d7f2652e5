"""Routes: none holds up another, each attempt is bounded in time, order is kept, and a damaged row stops nothing."""

import math
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from receivers import LOOPBACK, SECRET, HookReceiver, MailReceiver, send_once, silent_port

from riskmodel.home import Home
from service import outbound
from service.alerts import backoff, delivery, outbox, routes, wording
from service.alerts.channels import attempt
from service.alerts.channels.attempt import DeliveryError
from service.settings import EmailRoute, Settings, WebhookRoute
from service.store.database import Store
from service.store.tables import deliveries

SettingsOnLoopback = partial(Settings, allow_private_webhooks=[*LOOPBACK, "slow.example.org"])
PAYLOAD = {"type": "alert.test", "timestamp": "2026-11-22T08:15:00Z", "data": wording.test("duty")}
HOUR = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC)


def later(**offset: float) -> Callable[[], datetime]:
    return lambda: now() + timedelta(**offset)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.of(Home(tmp_path))


def enqueue(store: Store, route: str = "duty", at: datetime | None = None, **more: Any) -> str:
    text = {"en": "Text.", "fr": "Texte."}
    data = {"headline": {"en": "ALERT", "fr": "ALERTE"}, "text": text, "full": text}
    with store.writing() as connection:
        return outbox.enqueue(connection, route=route, kind="firing", data=data, now=at or now(), **more)


def undelivered(store: Store) -> list[dict[str, Any]]:
    with store.reading() as connection:
        return outbox.undelivered(connection)


def webhook(url: str) -> WebhookRoute:
    return WebhookRoute.model_validate({"type": "webhook", "url": url, "secret": SECRET})


def mailbox(host: str, port: int) -> EmailRoute:
    values = {"to": ["duty@example.org"], "sender": "vigie@example.org", "host": host, "port": port}
    return EmailRoute.model_validate({"type": "email", "security": "none", **values})


@contextmanager
def slow_name(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `slow.example.org` resolve to loopback, but only after the block."""
    answered, real = threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **more: Any) -> Any:
        if host == "slow.example.org":
            answered.wait(60)
        return real("127.0.0.1" if host == "slow.example.org" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        yield
    finally:
        answered.set()


@contextmanager
def in_background(work: Callable[[], object]) -> Iterator[None]:
    """Do some work in a thread, and wait for its end after the block."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def wait_until(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, "this did not happen in time"
        time.sleep(0.02)


def test_a_receiver_that_does_not_answer_holds_up_no_other_route_also_not_its_later_messages(store: Store) -> None:
    enqueue(store, "slow")
    enqueue(store)
    slow, duty = HookReceiver("hang"), HookReceiver()
    with duty.listening(), slow.listening():
        settings = SettingsOnLoopback(routes={"slow": slow.route(), "duty": duty.route()})
        with in_background(lambda: delivery.deliver_due(store, settings, now)):
            wait_until(lambda: len(duty.taken) == 1 and slow.reached.is_set())
            enqueue(store)
            wait_until(lambda: len(duty.taken) == 2)
            assert slow.taken == []
            slow.closing.set()


def test_a_name_that_takes_long_to_resolve_holds_up_no_other_route(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "STEP_SECONDS", 0.3)
    for route in ("hook", "mail", "duty"):
        enqueue(store, route)
    with HookReceiver().listening() as receiver, slow_name(monkeypatch):
        slow = {"hook": webhook(f"http://slow.example.org:{receiver.port}/"), "mail": mailbox("slow.example.org", 25)}
        settings = SettingsOnLoopback(routes={**slow, "duty": receiver.route()})
        assert delivery.deliver_due(store, settings, now) == {"sent": 1, "retry": 2}
        with store.reading() as connection:
            errors = outbox.last_errors(connection)
            received = connection.scalars(sa.select(deliveries.c.route).where(outbox.RECEIVED)).all()
    assert len(errors) == 2
    assert all("was not resolved within 0.3 s" in error for error in errors.values())
    assert received == ["duty"]
    assert len(receiver.ids) == 1, "an attempt that was given up sends nothing later"


@contextmanager
def full_port() -> Iterator[int]:
    """A port of 127.0.0.1 that drops packets, because its queue is full."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(server.getsockname())
            waiting.append(client)
        try:
            yield server.getsockname()[1]
        finally:
            for client in waiting:
                client.close()


@pytest.mark.parametrize("channel", ["webhook", "e-mail"])
def test_addresses_that_drop_packets_share_the_time_to_connect(channel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "STEP_SECONDS", 0.6)
    monkeypatch.setattr(outbound, "MIN_CONNECT_SECONDS", 0.05)
    with full_port() as port:
        six = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))] * 6
        real = socket.getaddrinfo
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda host, *rest, **more: six if host == "six.test" else real(host, *rest, **more)
        )
        route = webhook(f"http://six.test:{port}/") if channel == "webhook" else mailbox("six.test", port)
        started = time.monotonic()
        with pytest.raises(DeliveryError) as failure:
            send_once(route, "msg_1", PAYLOAD, now())
        assert time.monotonic() - started < 3
    assert not failure.value.maybe_received


@pytest.mark.parametrize(("addresses", "seconds"), [(1, 10), (2, 5), (4, 2.5), (9, 2)])
def test_each_address_of_a_host_gets_its_share_of_the_time(addresses: int, seconds: float) -> None:
    assert math.isclose(outbound.connect_seconds(time.monotonic() + 10, addresses), seconds, abs_tol=0.2)


def test_messages_of_one_alert_are_sent_in_their_order(store: Store) -> None:
    first = enqueue(store, alert="MLI/grave/MLI")
    second = enqueue(store, alert="MLI/grave/MLI", follows=first)
    third = enqueue(store, alert="MLI/grave/MLI")
    with HookReceiver(500).listening() as receiver:
        settings = SettingsOnLoopback(routes={"duty": receiver.route()})
        assert delivery.deliver_due(store, settings, now) == {"retry": 1}
        assert not outbox.has_due(store, settings, now())
        other = enqueue(store, alert="MLI/grave/BFA")
        assert delivery.deliver_due(store, settings, now) == {"sent": 1}
        assert delivery.deliver_due(store, settings, later(minutes=1)) == {"sent": 3}
    assert receiver.ids == [first, other, first, second, third]


def test_a_message_waits_for_the_summary_that_it_follows(store: Store) -> None:
    summary = enqueue(store)
    end = enqueue(store, alert="MLI/grave/MLI", follows=summary)
    with HookReceiver(500).listening() as receiver:
        settings = SettingsOnLoopback(routes={"duty": receiver.route()})
        assert delivery.deliver_due(store, settings, now) == {"retry": 1}
        assert delivery.deliver_due(store, settings, now) == {}
        assert delivery.deliver_due(store, settings, later(minutes=1)) == {"sent": 2}
    assert receiver.ids == [summary, summary, end]


def test_messages_of_one_transaction_have_ids_in_their_order(store: Store) -> None:
    moment = now()
    with store.writing() as connection:
        data = PAYLOAD["data"]
        ids = [
            outbox.enqueue(connection, route="duty", kind="firing", data=data, now=moment, alert="a")  # type: ignore[arg-type]
            for _ in range(5)
        ]
    with HookReceiver().listening() as receiver:
        assert delivery.deliver_due(store, SettingsOnLoopback(routes={"duty": receiver.route()}), now) == {"sent": 5}
    assert receiver.ids == ids


@pytest.mark.parametrize(
    "damage",
    [
        {"document": "{"},
        {"document": b"\xff\xfe"},
        {"document": "[1]"},
        {"document": '{"data": {"headline": "no"}}'},
        {"not_before": "never"},
        {"created_at": "?"},
        {"attempts": "many"},
    ],
)
def test_a_damaged_row_is_listed_as_a_failed_message_and_stops_no_other(store: Store, damage: dict[str, Any]) -> None:
    damaged, intact = enqueue(store), enqueue(store)
    ((column, value),) = damage.items()
    if store.file is None and (column == "attempts" or isinstance(value, bytes)):
        pytest.skip("PostgreSQL does not store this value")
    with store.engine.begin() as connection:
        query = sa.text(f"UPDATE deliveries SET {column} = :value WHERE id = :id")  # noqa: S608 - a test's own names
        connection.execute(query, {"value": value, "id": damaged})
    assert isinstance(undelivered(store), list)
    with HookReceiver().listening() as receiver:
        settings = SettingsOnLoopback(routes={"duty": receiver.route()})
        assert delivery.deliver_due(store, settings, now) == {"failed": 1, "sent": 1}
        assert delivery.deliver_due(store, settings, later(days=9)) == {}
    assert receiver.ids == [intact]
    (shown,) = undelivered(store)
    assert (shown["id"], shown["status"], shown["problem"]) == (damaged, "failed", "unreadable")
    with store.reading() as connection:
        assert outbox.count_undelivered(connection)[0] == 1
        assert outbox.last_errors(connection) == {damaged: outbox.UNREADABLE}
    assert outbox.retry(store, [damaged], now()) == 0
    assert outbox.dismiss(store, [damaged]) == 1
    assert undelivered(store) == []


def test_a_reply_of_a_mail_server_cannot_add_lines_or_control_characters_to_an_error(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    enqueue(store)
    reply = "554-5.7.1 refused\r\n554-msg_1 sent after 1 attempt(s)\r\n554 \x1b[2J\x07"
    with MailReceiver(reply=reply).listening() as receiver:
        settings = SettingsOnLoopback(routes={"duty": receiver.route()})
        assert delivery.deliver_due(store, settings, now) == {"failed": 1}
    with store.reading() as connection:
        (error,) = outbox.last_errors(connection).values()
    assert error.startswith("SMTPDataError: 554 5.7.1 refused msg_1 sent after 1 attempt(s) \\x1b[2J\\x07")
    assert error.isprintable()
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("service.")]
    assert ours
    assert all(line.isprintable() for line in ours)


@pytest.mark.parametrize("text", ["a\r\nb", "\u2028", "\u202edetrever", "\x9b2J", "\ud800", "x" * 10_000])
def test_an_error_is_one_short_line_of_printable_characters(text: str) -> None:
    error = str(DeliveryError(text))
    assert error.isprintable()
    assert len(error) <= 500


@pytest.mark.parametrize("as_date", [False, True])
def test_a_receiver_that_asks_to_wait_gets_nothing_before_that(store: Store, as_date: bool) -> None:
    start = now() - 1.25 * HOUR
    enqueue(store, at=start)
    retry_after = format_datetime(start + HOUR, usegmt=True) if as_date else "3600"
    with HookReceiver((429, retry_after)).listening() as receiver:
        settings = SettingsOnLoopback(routes={"duty": receiver.route()})
        assert delivery.deliver_due(store, settings, lambda: start) == {"retry": 1}
        enqueue(store, at=start)
        shortly_before = start + timedelta(minutes=59)
        assert delivery.deliver_due(store, settings, lambda: shortly_before) == {}, "not the message, and no other"
        assert not outbox.has_due(store, settings, shortly_before)
        assert delivery.deliver_due(store, settings, now) == {"sent": 2}


@pytest.mark.parametrize(
    ("retry_after", "hours"),
    [("0", 0), ("soon", 0), ("-5", 0), ("999999999999999999999", 8), ("Fri, 01 Jan 2100 00:00:00 GMT", 8)],
)
def test_a_receiver_can_ask_for_eight_hours_at_most(store: Store, retry_after: str, hours: float) -> None:
    start = now() - (1.2 * hours + 0.1) * HOUR
    enqueue(store, at=start)
    with HookReceiver((503, retry_after)).listening() as receiver:
        settings = SettingsOnLoopback(routes={"duty": receiver.route()})
        assert delivery.deliver_due(store, settings, lambda: start) == {"retry": 1}
        assert delivery.deliver_due(store, settings, lambda: start) == {}, "its own delay holds"
        if hours:
            assert delivery.deliver_due(store, settings, lambda: start + (hours - 0.1) * HOUR) == {}
        assert delivery.deliver_due(store, settings, now) == {"sent": 1}


def test_a_pause_is_never_shorter_than_asked_for() -> None:
    rng = random.Random(3)
    pauses = {backoff.pause(HOUR, rng) for _ in range(20)}
    assert len(pauses) == 20
    assert all(HOUR <= pause <= 1.2 * HOUR for pause in pauses)


def test_an_operator_who_retries_a_message_ends_the_pause_of_its_route(store: Store) -> None:
    delivery_id = enqueue(store)
    with HookReceiver((429, "3600")).listening() as receiver:
        settings = SettingsOnLoopback(routes={"duty": receiver.route()})
        assert delivery.deliver_due(store, settings, now) == {"retry": 1}
        assert outbox.retry(store, [delivery_id], now()) == 1
        assert delivery.deliver_due(store, settings, now) == {"sent": 1}


def test_attempts_are_counted_with_their_duration_by_route_and_result(store: Store) -> None:
    enqueue(store)
    enqueue(store, "analysts")
    with HookReceiver(500).listening() as receiver, MailReceiver().listening() as office:
        settings = SettingsOnLoopback(routes={"duty": receiver.route(), "analysts": office.route()})
        delivery.deliver_due(store, settings, now)
        delivery.deliver_due(store, settings, later(minutes=1))
    with store.reading() as connection:
        attempts = routes.attempts(connection)
    assert {labels: sum(counts) for labels, (_, counts) in attempts.items()} == {
        ("analysts", "sent"): 1,
        ("duty", "retry"): 1,
        ("duty", "sent"): 1,
    }
    assert all(0 < seconds < 20 for seconds, _ in attempts.values())


def test_a_round_ends_although_a_route_is_always_busy(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "ROUND_SECONDS", 0.0)
    settings = SettingsOnLoopback(routes={"duty": webhook("http://127.0.0.1:9/")})
    for _ in range(3):
        enqueue(store)
    sent = []

    def send(*_: object) -> None:
        sent.append(enqueue(store))
        time.sleep(0.05)

    assert delivery.deliver_due(store, settings, now, send)["sent"] <= 2
    assert len(sent) <= 2


def test_the_sender_ends_although_a_mail_server_hangs(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "STEP_SECONDS", 0.3)
    enqueue(store)
    with silent_port() as port:
        settings = SettingsOnLoopback(routes={"duty": mailbox("127.0.0.1", port)})
        assert delivery.deliver_due(store, settings, now) == {"retry": 1}
