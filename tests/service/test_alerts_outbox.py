"""The outbox: nothing lost, nothing sent twice under two ids, nothing that fails in silence."""

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
from service.alerts import channels, outbox, wording
from service.alerts.channels import DeliveryError
from service.alerts.outbox import Outcome
from service.settings import Settings, WebhookRoute
from service.store.database import Store
from service.store.tables import deliveries

Posting = partial(Settings, allow_private_webhooks=LOOPBACK)
HOOK = WebhookRoute.model_validate({"type": "webhook", "url": "http://127.0.0.1:9/", "secret": SECRET})
FACTS = {
    "name": {"en": "Mali", "fr": "Mali"},
    "title": {"en": "Risk", "fr": "Risque"},
    "metric": "risk_score",
    "value": 78.1,
    "fire_at": 70,
    "clear_at": 65,
    "causes": ["new_month"],
    "outcome": "state_based",
    "data_as_of": "2022-12-31",
    "snapshot_id": 1,
}


def now() -> datetime:
    return datetime.now(UTC)


def later(**passed: float) -> Callable[[], datetime]:
    """A clock that far ahead (or behind)."""
    return lambda: now() + timedelta(**passed)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.of(Home(tmp_path))


def post(store: Store, route: str = "duty", when: datetime | None = None, mark: int = 0) -> str:
    data = wording.change("firing", FACTS) | {"mark": mark}
    with store.writing() as connection:
        return outbox.post(connection, route=route, kind="firing", data=data, now=when or now())


def rows(store: Store) -> list[Any]:
    with store.reading() as connection:
        return list(connection.execute(sa.select(deliveries).order_by(deliveries.c.created_at)).all())


def told(store: Store, what: Callable[[sa.Connection], Any]) -> Any:
    with store.reading() as connection:
        return what(connection)


class Scripted:
    """A send that raises what its script says, one entry a call, then succeeds."""

    def __init__(self, *script: Exception | None) -> None:
        self.script = list(script)
        self.ids: list[str] = []

    def __call__(self, route: Any, delivery_id: str, payload: Any, when: datetime) -> None:
        self.ids.append(delivery_id)
        if self.script and (failure := self.script.pop(0)):
            raise failure


def test_what_waits_is_sent_once_and_with_the_id_of_its_row(store: Store) -> None:
    ids = [post(store, mark=mark) for mark in range(3)]
    with HookReceiver().listening() as receiver:
        settings = Posting(routes={"duty": receiver.route()})
        assert outbox.deliver_due(store, settings, now) == {"sent": 3}
        assert outbox.deliver_due(store, settings, now) == {}
    assert [(delivery_id, payload["data"]["mark"]) for delivery_id, payload in receiver.taken] == [
        *zip(ids, range(3), strict=True)
    ]
    assert {row.status for row in rows(store)} == {"sent"}
    assert all(row.attempts == 1 and row.sent_at and row.error is None for row in rows(store))


def test_a_receiver_that_failed_gets_it_later_under_the_same_id(store: Store) -> None:
    delivery_id = post(store, when=now() - timedelta(minutes=2))
    with HookReceiver(500, 200).listening() as receiver:
        settings = Posting(routes={"duty": receiver.route()})
        assert outbox.deliver_due(store, settings, later(minutes=-2)) == {"retry": 1}
        (row,) = rows(store)
        assert (row.status, row.attempts, row.error) == ("waiting", 1, "the receiver answered 500")
        (shown,) = told(store, outbox.undelivered)
        assert (shown["id"], shown["status"], shown["problem"]) == (delivery_id, "waiting", "not_taken")
        assert outbox.deliver_due(store, settings, later(minutes=-2)) == {}, "not before its time"
        assert outbox.deliver_due(store, settings, now) == {"sent": 1}
    assert receiver.ids == [delivery_id, delivery_id]
    assert [taken for taken, _ in receiver.taken] == [delivery_id]
    assert told(store, outbox.undelivered) == []


@pytest.mark.parametrize("fault", ["hang", "cut"])
def test_a_receiver_that_hangs_or_cuts_gets_it_later(store: Store, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "STEP_SECONDS", 0.3)
    delivery_id = post(store, when=now() - timedelta(minutes=2))
    with HookReceiver(fault).listening() as receiver:
        settings = Posting(routes={"duty": receiver.route()})
        assert outbox.deliver_due(store, settings, later(minutes=-2)) == {"retry": 1}
        assert outbox.deliver_due(store, settings, now) == {"sent": 1}
    assert receiver.ids == [delivery_id, delivery_id]


@pytest.mark.parametrize("answer", [500, 204])
def test_what_a_clock_that_was_ahead_put_off_goes_once_it_is_right(store: Store, answer: int) -> None:
    """Days ahead, it failed, and would wait for days; or its sender died there, and its claim would hold for days."""
    delivery_id = post(store)
    ahead = later(days=3)
    with HookReceiver(answer).listening() as receiver:
        settings = Posting(routes={"duty": receiver.route()})
        (row,) = rows(store)
        if answer == 500:
            assert outbox.deliver_due(store, settings, ahead) == {"retry": 1}
        else:
            assert outbox._claim(store, row, ahead())
        assert not outbox.anything_due(store, settings, ahead())
        assert outbox.anything_due(store, settings, now())
        receiver.script = []
        assert outbox.deliver_due(store, settings, now) == {"sent": 1}
    assert {taken for taken, _ in receiver.taken} == {delivery_id}


def test_no_clock_shortens_a_wait_or_a_claim(store: Store) -> None:
    """However often it was tried: what waits as long as it should is not taken for the work of a wrong clock."""
    before = now()
    post(store, when=before)
    settings = Posting(routes={"duty": HOOK})
    late = random.Random(0)
    late.uniform = lambda low, high: high  # type: ignore[method-assign]
    for _ in range(1, outbox.ATTEMPTS):
        send = Scripted(DeliveryError("no"))
        assert outbox.deliver_due(store, settings, lambda: before, send, late) == {"retry": 1}
        assert not outbox.anything_due(store, settings, before)
        with store.writing() as connection:
            connection.execute(sa.update(deliveries).values(not_before=before))
    (row,) = rows(store)
    assert row.attempts == outbox.ATTEMPTS - 1
    assert outbox._claim(store, row, before)
    assert not outbox.anything_due(store, settings, before)


def test_mail_and_webhook_each_have_their_own_message(store: Store) -> None:
    hook_id, mail_id = post(store, "hook"), post(store, "mail")
    with HookReceiver().listening() as hook, MailReceiver().listening() as mail:
        settings = Posting(routes={"hook": hook.route(), "mail": mail.route()})
        assert outbox.deliver_due(store, settings, now) == {"sent": 2}
    assert [taken for taken, _ in hook.taken] == [hook_id]
    (envelope,) = mail.taken
    assert isinstance(envelope.content, bytes)
    assert f"Message-ID: <{mail_id}@example.org>".encode() in envelope.content


def test_waits_grow_and_are_bounded_by_about_three_days(store: Store) -> None:
    post(store)
    settings = Posting(routes={"duty": HOOK})
    send = Scripted(*[DeliveryError("no")] * outbox.ATTEMPTS)
    moments = [now()]
    while rows(store)[0].status == "waiting":
        outbox.deliver_due(store, settings, lambda: moments[-1], send, random.Random(7))
        (row,) = rows(store)
        if row.status == "waiting":
            moments.append(row.not_before)
    waits = [after - before for before, after in pairwise(moments)]
    assert len(send.ids) == outbox.ATTEMPTS
    assert len(set(send.ids)) == 1
    assert all(timedelta(seconds=24) <= wait <= timedelta(hours=9.6) for wait in waits)
    assert all(wait < longer for wait, longer in pairwise(waits[:7]))
    assert timedelta(days=2.4) < moments[-1] - moments[0] < timedelta(days=3.7)
    (given_up,) = told(store, outbox.failed)
    assert given_up["attempts"] == outbox.ATTEMPTS
    assert told(store, outbox.errors) == {given_up["id"]: "no"}


def test_waits_are_spread(store: Store) -> None:
    rng = random.Random(1)
    assert len({outbox.wait_after(5, rng) for _ in range(20)}) == 20


def test_what_a_receiver_will_never_take_is_given_up_at_once_and_shown(store: Store) -> None:
    delivery_id = post(store)
    with HookReceiver(410).listening() as receiver:
        settings = Posting(routes={"duty": receiver.route()})
        assert outbox.deliver_due(store, settings, now) == {"failed": 1}
        assert outbox.deliver_due(store, settings, later(days=9)) == {}
    (given_up,) = told(store, outbox.failed)
    assert given_up["id"] == delivery_id
    assert given_up["headline"] == {"en": "ALERT – Mali – Risk", "fr": "ALERTE – Mali – Risque"}


def test_given_up_is_retried_under_the_same_id_when_a_person_says_so(store: Store) -> None:
    delivery_id = post(store)
    settings = Posting(routes={"duty": HOOK})
    send = Scripted(DeliveryError("gone", permanent=True))
    outbox.deliver_due(store, settings, now, send)
    assert outbox.retry(store, [delivery_id], now()) == 1
    assert outbox.deliver_due(store, settings, now, send) == {"sent": 1}
    assert send.ids == [delivery_id, delivery_id]
    assert outbox.retry(store, [delivery_id], now()) == 0, "what was sent is not sent again"


def test_given_up_is_dismissed_when_a_person_says_so(store: Store) -> None:
    delivery_id = post(store)
    settings = Posting(routes={"duty": HOOK})
    outbox.deliver_due(store, settings, now, Scripted(DeliveryError("gone", permanent=True)))
    assert outbox.dismiss(store, [delivery_id]) == 1
    assert told(store, outbox.undelivered) == []
    assert outbox.deliver_due(store, settings, later(days=9), Scripted()) == {}
    assert [row.status for row in rows(store)] == ["dismissed"]


def test_a_route_that_the_settings_lack_waits_and_is_shown_and_goes_when_it_is_set(store: Store) -> None:
    delivery_id = post(store, "dutty")
    assert outbox.deliver_due(store, Settings(), now) == {}
    assert outbox.deliver_due(store, Posting(routes={"duty": HOOK}), later(days=9)) == {}
    (row,) = rows(store)
    assert (row.status, row.attempts) == ("waiting", 0)
    (shown,) = told(store, outbox.undelivered)
    assert (shown["id"], shown["route"], shown["problem"]) == (delivery_id, "dutty", "no_route")
    assert told(store, outbox.failed) == []
    send = Scripted()
    assert outbox.deliver_due(store, Posting(routes={"dutty": HOOK}), now, send) == {"sent": 1}
    assert told(store, outbox.undelivered) == []


def test_a_dead_route_is_tried_once_a_round_and_holds_up_no_other(store: Store) -> None:
    for mark in range(3):
        post(store, "dead", mark=mark)
    post(store, "duty")
    with HookReceiver(*[503] * 9).listening() as dead, HookReceiver().listening() as receiver:
        settings = Posting(routes={"dead": dead.route(), "duty": receiver.route()})
        assert outbox.deliver_due(store, settings, now) == {"retry": 1, "sent": 1}
        assert outbox.deliver_due(store, settings, now) == {"retry": 1}
    assert len(set(dead.ids)) == 2
    assert len(receiver.taken) == 1


def test_a_fault_of_ours_is_logged_retried_and_holds_up_nothing(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    post(store, "odd")
    post(store, "duty")
    settings = Posting(routes={"odd": HOOK, "duty": HOOK})
    assert outbox.deliver_due(store, settings, now, Scripted(ZeroDivisionError("inside"))) == {"retry": 1, "sent": 1}
    assert [row.error for row in rows(store)] == ["internal error: ZeroDivisionError", None]
    assert any(record.exc_info for record in caplog.records)


def test_two_senders_at_once_send_each_message_once(store: Store, tmp_path: Path) -> None:
    ids = {post(store, mark=mark) for mark in range(20)}
    together = threading.Barrier(2)
    counts: list[Any] = []
    with HookReceiver().listening() as receiver:
        settings = Posting(routes={"duty": receiver.route()})

        def sender() -> None:
            own = Store.of(Home(tmp_path))
            together.wait()
            counts.append(outbox.deliver_due(own, settings, now))
            own.engine.dispose()

        threads = [threading.Thread(target=sender) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(receiver.ids) == sorted(ids)
    assert sum(count["sent"] for count in counts) == 20
    assert all(row.attempts == 1 for row in rows(store))


def test_a_claim_that_another_has_taken_is_left_to_them(store: Store) -> None:
    """Both senders have read the row as due; the second must see at the claim that it is too late."""
    post(store)
    settings = Posting(routes={"duty": HOOK})
    inner = Scripted()

    class Racing(Scripted):
        def __call__(self, *message: Any) -> None:
            super().__call__(*message)
            assert outbox.deliver_due(store, settings, now, inner) == {}

    outer = Racing()
    seen = rows(store)[0]
    assert outbox.deliver_due(store, settings, now, outer) == {"sent": 1}
    assert outbox._claim(store, seen, now()) is False
    assert (len(outer.ids), inner.ids) == (1, [])


def test_a_sender_that_was_overtaken_does_not_undo_what_the_other_did(store: Store) -> None:
    """The first hangs past its lease and fails after a second has begun: the row is the second's by then."""
    post(store, when=now() - timedelta(hours=1))
    settings = Posting(routes={"duty": HOOK})

    def slow(*_: Any) -> None:
        assert outbox.deliver_due(store, settings, now, Scripted(DeliveryError("second"))) == {"retry": 1}
        raise DeliveryError("first", permanent=True)

    outbox.deliver_due(store, settings, later(hours=-1), slow)
    (row,) = rows(store)
    assert (row.status, row.attempts, row.error) == ("waiting", 2, "second")


SENDER = """
import json, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from riskmodel.home import Home
from service.alerts import outbox
from service.settings import Settings
from service.store.database import Store

home, routes = Home(Path(sys.argv[1])), json.loads(sys.argv[2])
# The claim is dated back, so that its lease is over when the test goes on.
clock = lambda: datetime.now(UTC) - outbox.LEASE - timedelta(seconds=1)
allowed = ["127.0.0.1"]
outbox.deliver_due(Store.of(home), Settings(allow_private_webhooks=allowed, routes=routes), clock)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX's")
def test_a_sender_killed_between_claim_and_send_loses_nothing(store: Store, tmp_path: Path) -> None:
    delivery_id = post(store, when=now() - timedelta(hours=1))
    with HookReceiver("hang").listening() as receiver:
        routes = {"duty": {"type": "webhook", "url": receiver.url("/hook"), "secret": SECRET}}
        with subprocess.Popen([sys.executable, "-c", SENDER, str(tmp_path), json.dumps(routes)]) as sender:
            assert receiver.came.wait(20), "the sender has claimed the message and hangs in mid-send"
            (row,) = rows(store)
            assert (row.status, row.attempts) == ("waiting", 1)
            sender.send_signal(signal.SIGKILL)
        assert sender.returncode == -signal.SIGKILL
        settings = Posting(routes=routes)
        assert outbox.deliver_due(store, settings, later(minutes=-4)) == {}, "the dead sender's lease still holds"
        assert outbox.deliver_due(store, settings, now) == {"sent": 1}
    assert receiver.ids == [delivery_id, delivery_id]
    assert [taken for taken, _ in receiver.taken] == [delivery_id]
    (row,) = rows(store)
    assert (row.status, row.attempts) == ("sent", 2)


def test_a_test_goes_at_once_and_is_marked(store: Store) -> None:
    with HookReceiver().listening() as receiver:
        settings = Posting(routes={"duty": receiver.route()})
        assert outbox.try_route(store, settings, "duty", now) == Outcome("sent")
        assert outbox.deliver_due(store, settings, now) == {}
    ((_, payload),) = receiver.taken
    assert payload["type"] == "alert.test"
    assert payload["data"]["text"]["en"].startswith("TEST")


def test_a_test_that_fails_is_told_to_whoever_asked_and_not_tried_again(store: Store) -> None:
    with HookReceiver(500).listening() as receiver:
        settings = Posting(routes={"duty": receiver.route()})
        assert outbox.try_route(store, settings, "duty", now) == Outcome("failed", "the receiver answered 500")
        assert outbox.deliver_due(store, settings, later(days=9)) == {}
    assert told(store, outbox.undelivered) == []
