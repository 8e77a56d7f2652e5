"""How alerts end, and which messages say so: corrections, expiry, changed rules, silences, acknowledgements."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from alert_histories import rule
from alert_store import AlertStore, document

from riskmodel.errors import BadInput
from service.alerts import alert_list, episodes, outbox, silences
from service.store.database import Store
from service.store.tables import deliveries, transitions


@pytest.fixture
def alerts(shared_store: Store) -> AlertStore:
    return AlertStore(shared_store)


def silence(alerts: AlertStore, hours: float = 8, **matcher: str) -> str:
    with alerts.store.writing() as connection:
        return silences.create(
            connection,
            region="MLI",
            simulated=False,
            matcher=matcher or {"location_code": "MLI"},
            until=alerts.now + timedelta(hours=hours),
            reason="exercise",
            by="Awa",
            now=alerts.now,
        )


def end_silence(alerts: AlertStore, silence_id: str) -> None:
    with alerts.store.writing() as connection:
        silences.end(connection, silence_id, "Awa", alerts.now)


def acknowledge(alerts: AlertStore, alert_id: str, note: str | None = "on it") -> None:
    with alerts.store.writing() as connection:
        episodes.acknowledge(connection, alert_id, "Awa", note, alerts.now)


def unsent(alerts: AlertStore) -> list[tuple[str, str]]:
    """Kind and location of the messages that would be sent, oldest first; they are sent by that."""
    waiting = [row for row in alerts.rows(deliveries) if row.status == "waiting"]
    alerts.receive_all()
    return [(row.kind, row.document["data"].get("location_code", "")) for row in waiting]


def shown(alerts: AlertStore, alert_id: str) -> dict[str, Any]:
    with alerts.store.reading() as connection:
        found = alert_list.find(connection, "MLI", False, alert_id)
    assert found is not None
    return found


def test_figures_that_are_revised_away_take_the_alert_back(alerts: AlertStore) -> None:
    alerts.evaluate(document(MLI=78, BFA=80), rule())
    assert unsent(alerts) == [("firing", "MLI"), ("firing", "BFA")]
    (change,) = alerts.evaluate(document(MLI=40, BFA=80), rule(), causes=["revision"])
    assert (change["to_state"], change["causes"]) == ("corrected", ["revision"])
    assert "please disregard it." in change["text"]["en"]
    assert unsent(alerts) == [("corrected", "MLI")]


def test_an_alert_that_a_revision_takes_back_before_it_was_sent_is_never_sent(alerts: AlertStore) -> None:
    alerts.evaluate(document(MLI=78), rule())
    alerts.evaluate(document(MLI=40), rule(), causes=["revision"])
    assert unsent(alerts) == []
    assert [row.status for row in alerts.rows(deliveries)] == ["dismissed"]


def test_a_summary_is_sent_before_what_takes_an_alert_of_it_back(alerts: AlertStore) -> None:
    alerts.evaluate(document(MLI=78, BFA=80), rule(), causes=["first"])
    alerts.evaluate(document(MLI=40, BFA=80), rule(), causes=["revision"])
    with alerts.store.reading() as connection:
        assert [message.kind for message in outbox.read(connection, outbox.ready(alerts.now))] == ["summary"]
    assert unsent(alerts) == [("summary", ""), ("corrected", "MLI")]


def test_an_alert_whose_value_is_unknown_for_three_months_expires_without_an_all_clear(alerts: AlertStore) -> None:
    alerts.evaluate(document("2022-01", MLI=78), rule())
    alerts.receive_all()
    for month in ("2022-02", "2022-03"):
        assert alerts.evaluate(document(month, MLI=None), rule()) == []
    (change,) = alerts.evaluate(document("2022-04", MLI=None), rule())
    assert (change["to_state"], change["reason"], change["causes"]) == ("expired", "no_history", ["unknown"])
    assert "This is not an all-clear" in change["text"]["en"]
    assert unsent(alerts) == [("expired", "MLI")]


def test_an_edited_threshold_ends_alerts_in_one_message_that_is_no_all_clear(alerts: AlertStore) -> None:
    alerts.evaluate(document(MLI=78, BFA=80, NER=90), rule())
    alerts.receive_all()
    edited = rule(fire_at=85, clear_at=82)
    changes = alerts.evaluate(document("2023-01", MLI=78, BFA=81, NER=90), edited)
    assert [(c["location_code"], c["to_state"], c["reason"]) for c in changes] == [
        ("MLI", "expired", "rule_changed"),
        ("BFA", "expired", "rule_changed"),
    ]
    assert unsent(alerts) == [("rule_changed", "")]
    assert alerts.evaluate(document("2023-01", MLI=78, BFA=81, NER=90), edited, causes=()) == []
    assert unsent(alerts) == []
    alerts.evaluate(document("2023-02", MLI=78, BFA=81, NER=70), edited)
    assert unsent(alerts) == [("resolved", "NER")]


def test_a_rule_of_another_metric_is_another_rule(alerts: AlertStore) -> None:
    alerts.evaluate(document(MLI=78), rule())
    alerts.receive_all()
    age = rule(metric="data_age_days", fire_at=20, clear_at=20)
    changes = alerts.evaluate(document(MLI=78), age, age=30, causes=())
    assert [(c["location_code"], c["from_state"], c["to_state"]) for c in changes] == [
        ("*", "ok", "firing"),
        ("MLI", "firing", "expired"),
    ]
    assert unsent(alerts) == [("rule_changed", ""), ("firing", "*")]


def test_an_edit_is_noticed_when_the_value_is_known_again(alerts: AlertStore) -> None:
    alerts.evaluate(document("2022-01", MLI=78), rule())
    alerts.receive_all()
    edited = rule(fire_at=90, clear_at=85)
    assert alerts.evaluate(document("2022-02", MLI=None), edited) == []
    (change,) = alerts.evaluate(document("2022-03", MLI=78), edited)
    assert (change["to_state"], change["reason"]) == ("expired", "rule_changed")


def test_the_end_is_sent_by_the_route_that_had_the_start(alerts: AlertStore) -> None:
    alerts.evaluate(document("2022-01", MLI=78, BFA=5), rule())
    alerts.receive_all()
    alerts.evaluate(document("2022-02", MLI=10, BFA=80), rule(route="analysts"))
    waiting = [(row.kind, row.route) for row in alerts.rows(deliveries) if row.status == "waiting"]
    assert waiting == [("resolved", "duty"), ("firing", "analysts")]


def test_a_silenced_alert_sends_nothing_and_says_once_that_it_still_fires(alerts: AlertStore) -> None:
    alerts.evaluate(document(), rule())
    number = silence(alerts)
    (mali, burkina) = alerts.evaluate(document(MLI=78, BFA=80), rule())
    assert (mali["silence_id"], burkina["silence_id"]) == (number, None)
    assert unsent(alerts) == [("firing", "BFA")]
    alerts.now += timedelta(hours=8)
    alerts.evaluate(document(MLI=79, BFA=80), rule(), causes=())
    assert unsent(alerts) == [("firing", "MLI")]
    (late,) = [
        row.document["data"] for row in alerts.rows(deliveries) if row.document["data"]["location_code"] == "MLI"
    ]
    assert (late["value"], late["causes"], "silence_id" in late) == (79, ["silence"], False)
    alerts.evaluate(document(MLI=79, BFA=80), rule(), causes=())
    assert unsent(alerts) == []
    history = shown(alerts, mali["alert_id"])["history"]
    assert [(event["event"], event["by"]) for event in history] == [("firing", None), ("silence_ended", None)]


def test_an_alert_that_ends_in_silence_is_ended_for_those_who_know_of_it(alerts: AlertStore) -> None:
    alerts.evaluate(document("2022-01", MLI=78), rule())
    alerts.receive_all()
    number = silence(alerts, rule="very-high-risk")
    alerts.evaluate(document("2022-02", MLI=10, BFA=80), rule())
    alerts.evaluate(document("2022-03", MLI=10, BFA=10), rule())
    assert unsent(alerts) == []
    end_silence(alerts, number)
    assert unsent(alerts) == [("resolved", "MLI")]
    with pytest.raises(BadInput, match="ended on"):
        end_silence(alerts, number)


def test_a_silence_that_begins_after_the_end_of_an_alert_does_not_swallow_that_end(alerts: AlertStore) -> None:
    alerts.evaluate(document("2022-01", MLI=78), rule())
    alerts.receive_all()
    first = silence(alerts)
    alerts.evaluate(document("2022-02", MLI=10), rule())
    alerts.now += timedelta(hours=1)
    second = silence(alerts)
    end_silence(alerts, first)
    assert unsent(alerts) == [("resolved", "MLI")]
    end_silence(alerts, second)
    assert unsent(alerts) == []


def test_after_a_silence_the_end_of_an_alert_comes_before_the_next_alert(alerts: AlertStore) -> None:
    alerts.evaluate(document("2022-01", MLI=78), rule())
    alerts.receive_all()
    number = silence(alerts)
    for origin, score in (("2022-02", 10), ("2022-03", 80)):
        alerts.evaluate(document(origin, MLI=score), rule())
    end_silence(alerts, number)
    assert unsent(alerts) == [("resolved", "MLI"), ("firing", "MLI")]


def test_a_silence_holds_back_what_is_not_sent_yet(alerts: AlertStore) -> None:
    alerts.evaluate(document("2022-01", MLI=78, BFA=80), rule())
    number = silence(alerts)
    assert unsent(alerts) == [("firing", "BFA")]
    silence(alerts, severity="warning")
    end_silence(alerts, number)
    assert unsent(alerts) == [], "another silence covers it"


def test_an_acknowledged_alert_is_announced_after_a_silence_only_if_nobody_got_it(alerts: AlertStore) -> None:
    known, new = (change["alert_id"] for change in alerts.evaluate(document(MLI=78, BFA=5), rule()) * 2)
    alerts.receive_all()
    number = silence(alerts, rule="very-high-risk")
    (change,) = alerts.evaluate(document(MLI=78, BFA=80), rule(), causes=["revision"])
    for alert_id in (known, change["alert_id"]):
        acknowledge(alerts, alert_id)
    end_silence(alerts, number)
    assert unsent(alerts) == [("firing", "BFA")]
    assert new == known


def test_an_acknowledgement_is_shown_with_who_when_and_why_and_can_be_taken_back(alerts: AlertStore) -> None:
    (change,) = alerts.evaluate(document(MLI=78), rule())
    acknowledge(alerts, change["alert_id"])
    assert shown(alerts, change["alert_id"])["acknowledged"] == {
        "at": "2026-11-22T09:15:00Z",
        "by": "Awa",
        "note": "on it",
    }
    with alerts.store.reading() as connection:
        listed = alert_list.listed(connection, "MLI", False, ["acknowledged"])
        assert [alert["location_code"] for alert in listed] == ["MLI"]
    with alerts.store.writing() as connection:
        episodes.unacknowledge(connection, change["alert_id"], "Issa", alerts.now)
    found = shown(alerts, change["alert_id"])
    assert found["acknowledged"] is None
    assert [(event["event"], event["by"]) for event in found["history"]] == [
        ("firing", None),
        ("acknowledged", "Awa"),
        ("unacknowledged", "Issa"),
    ]
    assert [message["kind"] for message in found["deliveries"]] == ["firing"]
    alerts.evaluate(document("2023-01", MLI=10), rule())
    with pytest.raises(episodes.NotActive, match="has ended"):
        acknowledge(alerts, change["alert_id"])


@pytest.mark.parametrize(("by", "note"), [("", None), ("a\nb", None), ("Awa", " "), ("x" * 65, None)])
def test_a_name_and_a_note_are_one_line(alerts: AlertStore, by: str, note: str | None) -> None:
    (change,) = alerts.evaluate(document(MLI=78), rule())
    with pytest.raises(BadInput, match="must be one line"), alerts.store.writing() as connection:
        episodes.acknowledge(connection, change["alert_id"], by, note, alerts.now)


def test_a_silence_of_everything_or_of_the_past_is_refused(alerts: AlertStore) -> None:
    with pytest.raises(BadInput, match="would hide everything"):
        silence(alerts, rule="")
    with pytest.raises(BadInput, match="is past"):
        silence(alerts, hours=-1)


def test_old_announcements_that_are_deleted_do_not_hide_the_end(alerts: AlertStore) -> None:
    alerts.evaluate(document("2022-01", MLI=78), rule())
    with alerts.store.writing() as connection:
        connection.execute(sa.delete(deliveries))
    alerts.evaluate(document("2022-02", MLI=10), rule())
    assert unsent(alerts) == [("resolved", "MLI")]
    assert len(alerts.rows(transitions)) == 2
