"""Several changes of one run as one message, reminders, and alerts that others inhibit."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from alert_histories import rule
from alert_store import REGION, AlertStore, document
from receivers import SECRET

from service.alerts import delivery, episodes, silences
from service.settings import Settings
from service.store.database import Store
from service.store.tables import deliveries

DAY = timedelta(days=1)
ALL = dict.fromkeys(REGION, 78.0)


@pytest.fixture
def alerts(shared_store: Store) -> AlertStore:
    return AlertStore(shared_store)


def news(alerts: AlertStore) -> list[tuple[str, str]]:
    """Kind and place of what would arrive now, with parts of digests left out; then the receiver has it."""
    rows = [row for row in alerts.rows(deliveries) if row.status == "waiting"]
    found = [(row.kind, row.document["data"].get("location_code", "")) for row in rows]
    alerts.receive_all()
    return sorted(found)


def days_later(alerts: AlertStore, days: float, *rules: Any, **scores: float) -> list[tuple[str, str]]:
    """Evaluate the same month some days later. Return what would arrive."""
    alerts.now += DAY * days - timedelta(hours=1)
    alerts.evaluate(document(**(scores or {"MLI": 78.0})), *rules, causes=())
    return news(alerts)


def test_a_storm_of_200_changes_is_one_message_for_each_route(alerts: AlertStore) -> None:
    rules = [rule(name=f"r{number}", route="duty" if number % 2 else "desk") for number in range(26)]
    changes = alerts.evaluate(document(**ALL), *rules)
    assert len(changes) == 208
    assert news(alerts) == [("digest", ""), ("digest", "")]
    digest = next(row for row in alerts.rows(deliveries) if row.kind == "digest")
    assert len(digest.document["data"]["alerts"]) == 104
    assert len(digest.document["data"]["text"]["en"].splitlines()) < 12
    assert all(len(text) <= 160 for text in digest.document["data"]["sms"].values())


def test_what_is_left_of_a_storm_after_a_silence_is_one_message(alerts: AlertStore) -> None:
    alerts.evaluate(document(**ALL), rule())
    with alerts.store.writing() as connection:
        silences.create(
            connection,
            region="MLI",
            simulated=False,
            matcher={"location_code": "NER"},
            until=alerts.now + DAY,
            reason="exercise",
            by="Awa",
            now=alerts.now,
        )
    got: list[dict[str, Any]] = []
    hook = {"type": "webhook", "url": "https://example.org", "secret": SECRET}
    settings = Settings.model_validate({"routes": {"duty": hook}})
    delivery.deliver_due(alerts.store, settings, lambda: alerts.now, lambda *sent: got.append(sent[2]))
    assert [message["type"] for message in got] == ["alert.digest"]
    assert {entry["location_code"] for entry in got[0]["data"]["alerts"]} == {*REGION} - {"NER"}


def test_a_digest_of_simulated_data_says_so_once(alerts: AlertStore) -> None:
    alerts.evaluate(document(MLI=78, NER=80, simulated=True), rule(group_by="rule"))
    (data,) = (row.document["data"] for row in alerts.rows(deliveries) if row.kind == "digest")
    for length in ("headline", "sms", "text", "full"):
        for text in data[length].values():
            assert text.startswith("SIMULATED")
            assert text.count("SIMULATED") == 1


def test_up_to_five_changes_are_messages_of_their_own(alerts: AlertStore) -> None:
    alerts.evaluate(document(**dict.fromkeys(REGION[:5], 78.0)), rule())
    assert news(alerts) == [("firing", iso3) for iso3 in sorted(REGION[:5])]
    alerts.evaluate(document("2023-01", **dict.fromkeys(REGION[2:], 78.0)), rule())
    started, ended = ("MRT", "NER", "SEN"), ("DZA", "MLI")
    assert news(alerts) == [*(("firing", iso3) for iso3 in started), *(("resolved", iso3) for iso3 in ended)]


@pytest.mark.parametrize(
    ("group_by", "kinds"),
    [
        (None, ["firing"] * 4),
        ("rule", ["digest"] * 2),
        ("country", ["digest"] * 2),
        ("region", ["digest"]),
    ],
)
def test_changes_of_a_group_are_one_message(alerts: AlertStore, group_by: str | None, kinds: list[str]) -> None:
    alerts.evaluate(document(MLI=78, NER=80), *(rule(name=name, group_by=group_by) for name in ("a", "b")))
    assert [kind for kind, _ in news(alerts)] == kinds


def test_a_reminder_is_sent_once_in_each_interval_while_an_alert_fires(alerts: AlertStore) -> None:
    weekly = rule(repeat_every=7)
    alerts.evaluate(document(MLI=78), weekly)
    assert news(alerts) == [("firing", "MLI")]
    assert days_later(alerts, 6.9, weekly) == []
    assert days_later(alerts, 0.1, weekly) == [("reminder", "MLI")]
    assert days_later(alerts, 0.1, weekly) == []
    assert days_later(alerts, 30, weekly) == [("reminder", "MLI")], "one after a stop, however long"
    assert days_later(alerts, 1, weekly) == []
    reminder = next(row for row in alerts.rows(deliveries) if row.kind == "reminder").document["data"]
    assert (reminder["value"], reminder["since"]) == (78.0, "2026-11-22T09:15:00Z")
    assert "since 22 November 2026" in reminder["text"]["en"]
    alerts.evaluate(document("2023-01", MLI=10), weekly)
    assert news(alerts) == [("resolved", "MLI")]
    assert days_later(alerts, 30, weekly, MLI=10.0) == []


def test_after_the_clock_was_wrong_reminders_go_on(alerts: AlertStore) -> None:
    weekly = rule(repeat_every=7)
    alerts.evaluate(document(MLI=78), weekly)
    news(alerts)
    assert days_later(alerts, 3650, weekly) == [("reminder", "MLI")]
    assert days_later(alerts, -3640, weekly) == []
    assert days_later(alerts, 6, weekly) == []
    assert days_later(alerts, 1, weekly) == [("reminder", "MLI")]


def test_an_acknowledged_alert_gets_no_reminder_and_one_that_waits_is_cancelled(alerts: AlertStore) -> None:
    weekly = rule(repeat_every=7)
    (change,) = alerts.evaluate(document(MLI=78), weekly)
    news(alerts)
    alerts.now += 8 * DAY
    alerts.evaluate(document(MLI=78), weekly, causes=())
    assert [row.status for row in alerts.rows(deliveries) if row.kind == "reminder"] == ["waiting"]
    with alerts.store.writing() as connection:
        episodes.acknowledge(connection, change["alert_id"], "Awa", None, alerts.now)
    assert news(alerts) == []
    assert days_later(alerts, 30, weekly) == []


def test_a_rule_without_repeat_every_reminds_nobody(alerts: AlertStore) -> None:
    alerts.evaluate(document(MLI=78), rule())
    news(alerts)
    assert days_later(alerts, 300, rule()) == []


def test_an_alert_that_ends_while_its_start_waits_says_nothing(alerts: AlertStore) -> None:
    alerts.evaluate(document(MLI=78, NER=78), rule())
    with alerts.store.writing() as connection:
        of_mali = deliveries.c.alert == "MLI/very-high-risk/MLI"
        hold = sa.update(deliveries).where(of_mali).values(held_until=alerts.now + timedelta(hours=8))
        connection.execute(hold)
    alerts.evaluate(document("2023-01"), rule())
    assert news(alerts) == [("firing", "NER"), ("resolved", "NER")]


INHIBITED = rule(name="high", fire_at=50, clear_at=45, inhibited_by=["very-high-risk"])


def test_an_inhibited_alert_is_shown_and_not_sent(alerts: AlertStore) -> None:
    alerts.evaluate(document(MLI=78, NER=60), INHIBITED, rule())
    assert news(alerts) == [("firing", "MLI"), ("firing", "NER")]
    found = {(each["rule"], each["location_code"]): each["inhibited_by"] for each in alerts.firing()}
    assert found == {("very-high-risk", "MLI"): None, ("high", "MLI"): "very-high-risk", ("high", "NER"): None}


def test_an_alert_that_lasts_longer_than_its_inhibitor_is_announced_then(alerts: AlertStore) -> None:
    alerts.evaluate(document(MLI=78), INHIBITED, rule())
    news(alerts)
    alerts.evaluate(document("2023-01", MLI=58), INHIBITED, rule())
    assert news(alerts) == [("firing", "MLI"), ("resolved", "MLI")]
    (late,) = (row.document["data"] for row in alerts.rows(deliveries) if row.document["data"].get("rule") == "high")
    assert (late["to_state"], late["value"], late["causes"]) == ("firing", 58.0, ["inhibition"])
    alerts.evaluate(document("2023-02", MLI=10), INHIBITED, rule())
    assert news(alerts) == [("resolved", "MLI")]


def test_an_inhibited_alert_that_ends_says_nothing(alerts: AlertStore) -> None:
    alerts.evaluate(document(MLI=78), INHIBITED, rule())
    news(alerts)
    alerts.evaluate(document("2023-01", MLI=10), INHIBITED, rule())
    assert news(alerts) == [("resolved", "MLI")]
    assert {row.document["data"]["rule"] for row in alerts.rows(deliveries)} == {"very-high-risk"}


def test_an_alert_that_was_announced_before_it_was_inhibited_is_resolved(alerts: AlertStore) -> None:
    alerts.evaluate(document(MLI=60), INHIBITED, rule())
    assert news(alerts) == [("firing", "MLI")]
    alerts.evaluate(document("2023-01", MLI=78), INHIBITED, rule())
    assert news(alerts) == [("firing", "MLI")]
    alerts.evaluate(document("2023-02", MLI=10), INHIBITED, rule())
    assert news(alerts) == [("resolved", "MLI"), ("resolved", "MLI")]


def test_a_rule_about_the_region_inhibits_everywhere(alerts: AlertStore) -> None:
    old = rule(name="old", metric="data_age_days", fire_at=60, clear_at=50)
    alerts.evaluate(document(MLI=78), rule(inhibited_by=["old"]), old, age=70)
    assert news(alerts) == [("firing", "*")]
