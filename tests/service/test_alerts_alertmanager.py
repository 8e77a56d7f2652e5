"""The route to an Alertmanager, against a real one."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alertmanager import alertmanager
from receivers import LOOPBACK, HookReceiver, send_once

from riskmodel.home import Home
from service.alerts import delivery, outbox, refresh, wording
from service.alerts.channels.attempt import DeliveryError
from service.settings import AlertmanagerRoute, Settings
from service.store.database import Store
from service.store.tables import alerts, deliveries
from service.store.values import instant, sortable_id

TEXTS = {"headline": {"en": "SIMULATED – ALERT – Mali", "fr": "SIMULATED – ALERTE – Mali"}}
TEXTS["text"] = {"en": "Deaths may double.", "fr": "Les morts peuvent doubler."}


def now() -> datetime:
    return datetime.now(UTC)


def facts(at: datetime, *, state: str = "firing", country: str = "MLI", alert_id: str = "alr_1") -> dict[str, Any]:
    common = {"alert_id": alert_id, "region": "MLI", "severity": "severe", "outcome": "all", "simulated": True}
    return {**TEXTS, **common, "rule": "escalation", "location_code": country, "to_state": state, "at": instant(at)}


def route(url: str, **more: Any) -> AlertmanagerRoute:
    return AlertmanagerRoute.model_validate({"type": "alertmanager", "url": url, **more})


def message(data: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"type": f"alert.{kind}", "timestamp": instant(now()), "data": data}


def wait_until(condition: Callable[[], Any]) -> Any:
    until = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < until, "this did not happen in time"
        time.sleep(0.05)
    return found


def test_an_alertmanager_gets_the_start_and_the_end_of_an_alert_and_notifies(tmp_path: Path) -> None:
    start = now() - timedelta(minutes=5)
    with HookReceiver(secret=None).listening() as duty, alertmanager(tmp_path, duty.url("/")) as manager:
        linked = {**facts(start), "url": {"en": "https://vigie.example.org/en/", "fr": "https://vigie.example.org/fr/"}}
        send_once(route(manager.url), "msg_1", message(linked, "firing"), now())
        (shown,) = manager.alerts()
        assert shown["labels"] == {
            "alertname": "escalation",
            "rule": "escalation",
            "job": "vigie",
            "region": "MLI",
            "country": "MLI",
            "severity": "severe",
            "outcome": "all",
            "simulated": "true",
        }
        assert shown["annotations"]["summary"] == "SIMULATED – ALERT – Mali"
        assert shown["annotations"]["description_fr"] == "Les morts peuvent doubler."
        assert shown["generatorURL"] == "https://vigie.example.org/en/"
        assert abs(datetime.fromisoformat(shown["startsAt"]) - start) < timedelta(seconds=1)
        assert datetime.fromisoformat(shown["endsAt"]) - now() > timedelta(hours=23)
        wait_until(lambda: [payload["status"] for _, payload in duty.taken] == ["firing"])
        send_once(route(manager.url), "msg_2", message(facts(now(), state="resolved"), "resolved"), now())
        assert manager.alerts() == []
        wait_until(lambda: [payload["status"] for _, payload in duty.taken] == ["firing", "resolved"])
        (resolved,) = duty.taken[1][1]["alerts"]
        assert abs(datetime.fromisoformat(resolved["startsAt"]) - start) < timedelta(seconds=1)


def test_alerts_of_a_summary_are_posted_one_by_one_and_tests_end_by_themselves(tmp_path: Path) -> None:
    with HookReceiver(secret=None).listening() as duty, alertmanager(tmp_path, duty.url("/")) as manager:
        two = [facts(now()), facts(now(), country="BFA", alert_id="alr_2")]
        send_once(route(manager.url), "msg_1", message({**TEXTS, "alerts": two}, "summary"), now())
        send_once(route(manager.url), "msg_2", message({**TEXTS, "alerts": []}, "summary"), now())
        assert sorted(alert["labels"]["country"] for alert in manager.alerts()) == ["BFA", "MLI"]
        send_once(route(manager.url), "msg_3", message(dict(wording.test("duty")), "test"), now())
        (test,) = [alert for alert in manager.alerts() if alert["labels"]["alertname"] == "alert.test"]
        assert datetime.fromisoformat(test["endsAt"]) - now() < timedelta(hours=1)


def test_a_password_is_sent_as_basic_authentication_and_is_in_no_error() -> None:
    with HookReceiver(401, secret=None).listening() as receiver:
        target = route(receiver.url("/am"), username="vigie", password="secret-word")  # noqa: S106 - a test's own
        with pytest.raises(DeliveryError) as failure:
            send_once(target, "msg_1", message(facts(now()), "firing"), now())
    assert receiver.paths == ["/am/api/v2/alerts"]
    assert str(failure.value) == "the receiver answered 401"


def test_the_parts_of_a_digest_are_posted_without_texts_of_their_own() -> None:
    part = {key: value for key, value in facts(now()).items() if key != "text"}
    with HookReceiver(secret=None).listening() as receiver:
        digest = {**TEXTS, "alerts": [part, {**part, "location_code": "BFA", "to_state": "resolved"}]}
        send_once(route(receiver.url("/")), "msg_1", message(digest, "digest"), now())
    posted = json.loads(receiver.bodies[0])
    assert [alert["annotations"]["description"] for alert in posted] == ["SIMULATED – ALERT – Mali"] * 2
    assert ["startsAt" in alert for alert in posted] == [True, False]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.of(Home(tmp_path / "home"))


def add_alert(store: Store, at: datetime) -> str:
    """Add a firing alert and the message about it."""
    alert_id = sortable_id("alr")
    with store.writing() as connection:
        row = {"id": alert_id, "state": "firing", "opened_at": at, "fired_at": at, "fired_origin": "2022-12"}
        keys = ("region", "rule", "location_code", "outcome", "severity", "simulated")
        data = facts(at, alert_id=alert_id)
        connection.execute(sa.insert(alerts).values(**row, **{key: data[key] for key in keys}))
        outbox.enqueue(connection, route="am", kind="firing", data=data, now=at)
    return alert_id


def test_alerts_that_fire_are_posted_again_every_two_minutes_without_rows_in_the_outbox(
    store: Store, tmp_path: Path
) -> None:
    start = now()
    alert_id = add_alert(store, start)
    settings = Settings(allow_private_webhooks=LOOPBACK, routes={"am": route("http://127.0.0.1:9/")})

    def deliver(url: str, after: timedelta) -> Any:
        again = settings.model_copy(update={"routes": {"am": route(url)}})
        return delivery.deliver_due(store, again, lambda: start + after)

    with HookReceiver(secret=None).listening() as duty:
        with alertmanager(tmp_path, duty.url("/")) as manager:
            assert deliver(manager.url, timedelta()) == {"sent": 1}
            assert not delivery.has_work(store, settings, start + timedelta(minutes=1))
        with alertmanager(tmp_path, duty.url("/")) as manager:
            assert manager.alerts() == [], "it has forgotten the alert"
            assert delivery.has_work(store, settings, start + refresh.EVERY)
            assert deliver(manager.url, refresh.EVERY) == {}
            assert [alert["labels"]["country"] for alert in manager.alerts()] == ["MLI"]
            assert not delivery.has_work(store, settings, start + refresh.EVERY)
    with store.writing() as connection:
        connection.execute(sa.update(alerts).where(alerts.c.id == alert_id).values(state="resolved"))
        assert connection.scalar(sa.select(sa.func.count()).select_from(deliveries)) == 1
    assert not delivery.has_work(store, settings, start + 9 * refresh.EVERY)


def test_a_refresh_that_fails_stops_no_message(store: Store) -> None:
    start = now()
    add_alert(store, start)
    with HookReceiver(204, 204, 500, secret=None).listening() as receiver:
        settings = Settings(allow_private_webhooks=LOOPBACK, routes={"am": route(receiver.url("/"))})
        assert delivery.deliver_due(store, settings, lambda: start) == {"sent": 1}
        assert delivery.deliver_due(store, settings, lambda: start + refresh.EVERY) == {}
        add_alert(store, start)
        assert delivery.deliver_due(store, settings, lambda: start + refresh.EVERY) == {"sent": 1}
    assert len(receiver.bodies) == 4
