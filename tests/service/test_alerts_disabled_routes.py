"""A receiver that is gone disables its route, and the operator hears of it by another one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from receivers import LOOPBACK, HookReceiver, MailReceiver

from riskmodel.home import Home
from service.alerts import backoff, delivery, outbox, routes
from service.alerts.channels.attempt import DeliveryError
from service.settings import Settings
from service.store.database import Store
from service.store.tables import deliveries

SettingsOnLoopback = partial(Settings, allow_private_webhooks=LOOPBACK)


def now() -> datetime:
    return datetime.now(UTC)


def later(**offset: float) -> Callable[[], datetime]:
    return lambda: now() + timedelta(**offset)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.of(Home(tmp_path))


def enqueue(store: Store, route: str = "duty", **more: Any) -> str:
    data = {"headline": {"en": "ALERT", "fr": "ALERTE"}, "full": {"en": "Text.", "fr": "Texte."}}
    with store.writing() as connection:
        return outbox.enqueue(connection, route=route, kind="firing", data=data, now=now(), **more)


def disabled(store: Store) -> list[str]:
    with store.reading() as connection:
        return list(routes.disabled(connection))


def problems(receiver: HookReceiver) -> list[tuple[str, str]]:
    """The operator alerts that a receiver got: problem and route."""
    documents = [payload for _, payload in receiver.taken if payload["type"] == "alert.operator"]
    return [(document["data"]["problem"], document["data"]["route"]) for document in documents]


def test_a_receiver_that_is_gone_disables_its_route_and_loses_no_message(store: Store) -> None:
    ids = [enqueue(store) for _ in range(3)]
    with HookReceiver(410).listening() as gone, HookReceiver().listening() as office:
        settings = SettingsOnLoopback(routes={"duty": gone.route(), "office": office.route()})
        assert delivery.deliver_due(store, settings, now) == {"refused": 1, "sent": 1}
        assert disabled(store) == ["duty"]
        assert delivery.deliver_due(store, settings, later(days=9)) == {}
        assert problems(office) == [("route_disabled", "duty")]
        with store.reading() as connection:
            (shown,) = outbox.undelivered(connection)
        assert (shown["id"], shown["status"]) == (ids[0], "waiting")
        assert delivery.send_test(store, settings, "duty", now).failure is None
        assert disabled(store) == []
        assert delivery.deliver_due(store, settings, now) == {"sent": 3}
    assert [delivery_id for delivery_id, _ in gone.taken if delivery_id in ids] == ids


def test_recipients_that_a_mail_server_refuses_for_good_disable_the_route(store: Store) -> None:
    enqueue(store, "mail")
    refused = {"duty@example.org": "550 5.1.1 unknown"}
    with MailReceiver(refused=refused).listening() as mail, HookReceiver().listening() as office:
        settings = SettingsOnLoopback(routes={"mail": mail.route(), "office": office.route()})
        assert delivery.deliver_due(store, settings, now) == {"refused": 1, "sent": 1}
    assert problems(office) == [("route_disabled", "mail")]


def test_a_test_message_disables_no_route(store: Store) -> None:
    with HookReceiver(410).listening() as gone, HookReceiver().listening() as office:
        settings = SettingsOnLoopback(routes={"duty": gone.route(), "office": office.route()})
        assert delivery.send_test(store, settings, "duty", now).failure is not None
        assert delivery.deliver_due(store, settings, now) == {}
    assert disabled(store) == []


def test_a_route_that_is_asked_to_wait_stays_disabled(store: Store) -> None:
    with store.writing() as connection:
        routes.disable(connection, "duty", now(), "gone")
    with HookReceiver((429, "60")).listening() as receiver:
        settings = SettingsOnLoopback(routes={"duty": receiver.route()})
        assert delivery.send_test(store, settings, "duty", now).failure is not None
    assert disabled(store) == ["duty"]


def test_the_operator_hears_of_messages_that_were_given_up_once_for_all(store: Store) -> None:
    for _ in range(3):
        enqueue(store)
    damaged = enqueue(store)
    with store.engine.begin() as connection:
        connection.execute(
            sa.update(deliveries).where(deliveries.c.id != damaged).values(attempts=backoff.MAX_ATTEMPTS - 1)
        )
        connection.execute(sa.text("UPDATE deliveries SET document = '{' WHERE id = :id"), {"id": damaged})
    with HookReceiver(*[500] * 3).listening() as receiver, HookReceiver(503).listening() as office:
        settings = SettingsOnLoopback(routes={"duty": receiver.route(), "office": office.route()})
        for _ in range(3):
            delivery.deliver_due(store, settings, now)
        delivery.deliver_due(store, settings, later(minutes=1))
    assert problems(office) == [("given_up", "duty")]
    with store.reading() as connection:
        assert outbox.count_undelivered(connection)[0] == 4


def test_an_alert_for_the_operator_moves_on_if_its_own_route_is_gone_and_there_is_none_about_it(store: Store) -> None:
    enqueue(store, "a")
    with HookReceiver(410).listening() as a, HookReceiver(410).listening() as b, HookReceiver().listening() as c:
        settings = SettingsOnLoopback(routes={"a": a.route(), "b": b.route(), "c": c.route()})
        delivery.deliver_due(store, settings, now)
    assert sorted(problems(c)) == [("route_disabled", "a"), ("route_disabled", "b")]
    assert disabled(store) == ["a", "b"]


def test_nothing_loops_if_all_routes_are_gone(store: Store) -> None:
    enqueue(store, "a")
    send = lambda *_: (_ for _ in ()).throw(DeliveryError("gone", gone=True))  # noqa: E731
    with HookReceiver().listening() as receiver:
        settings = SettingsOnLoopback(routes={name: receiver.route() for name in "ab"})
        counts = delivery.deliver_due(store, settings, now, send)
    assert counts == {"refused": 2}
    assert disabled(store) == ["a", "b"]
    with store.reading() as connection:
        number = connection.scalar(sa.select(sa.func.count()).select_from(deliveries))
    assert number == 2, "the message, and one alert for the operator"


def test_an_alert_for_the_operator_that_is_given_up_raises_no_other(store: Store) -> None:
    with store.writing() as connection:
        data = {"headline": {"en": "OPERATOR", "fr": "EXPLOITATION"}}
        outbox.enqueue(connection, route="b", kind="operator", data=data, now=now(), alert="operator/given_up/a")
    with HookReceiver().listening() as receiver:
        settings = SettingsOnLoopback(routes={name: receiver.route() for name in "ab"})
        send = lambda *_: (_ for _ in ()).throw(DeliveryError("no", permanent=True))  # noqa: E731
        assert delivery.deliver_due(store, settings, now, send) == {"failed": 1}
        assert delivery.deliver_due(store, settings, now, send) == {}


def test_the_settings_choose_the_route_of_the_operator(store: Store) -> None:
    enqueue(store, "a")
    with HookReceiver(410).listening() as a, HookReceiver().listening() as b, HookReceiver().listening() as c:
        names = {"a": a.route(), "b": b.route(), "c": c.route()}
        delivery.deliver_due(store, SettingsOnLoopback(routes=names, operator_route="c"), now)
    assert (problems(b), problems(c)) == ([], [("route_disabled", "a")])


def test_the_route_of_the_operator_must_exist() -> None:
    with pytest.raises(ValueError, match=r"operator_route: there is no route 'c'; the routes are: none"):
        Settings(operator_route="c")


def test_texts_for_the_operator_fit_one_sms(store: Store) -> None:
    enqueue(store, "a")
    with HookReceiver(410).listening() as a, HookReceiver().listening() as b:
        delivery.deliver_due(store, SettingsOnLoopback(routes={"a": a.route(), "b": b.route()}), now)
    ((_, document),) = b.taken
    assert all(len(text) <= 160 for text in document["data"]["sms"].values())
    assert document["data"]["text"]["fr"].endswith("exécutez\xa0: vigie alerts test a.")
