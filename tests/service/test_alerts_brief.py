"""The monthly brief: when it is sent, and what it says."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from alert_histories import rule
from alert_store import AlertStore, document
from receivers import SECRET

from service.settings import Settings
from service.store.database import Store
from service.store.tables import alert_results, deliveries, scores

HOOK = {"type": "webhook", "url": "https://example.org", "secret": SECRET}
EVERYWHERE = rule(name="desk-rule", route="desk"), rule()


@pytest.fixture
def alerts(shared_store: Store) -> AlertStore:
    alerts = AlertStore(shared_store)
    alerts.settings = Settings.model_validate({"routes": {"duty": HOOK, "desk": HOOK | {"brief": False}}})
    alerts.evaluate(document(), *EVERYWHERE, causes=["first"])
    alerts.receive_all()
    return alerts


def briefs(alerts: AlertStore) -> list[dict[str, Any]]:
    rows = [row for row in alerts.rows(deliveries) if row.kind == "brief"]
    assert {row.route for row in rows} <= {"duty"}, "the other route wants none"
    return [row.document["data"] for row in rows]


def origins(alerts: AlertStore) -> list[str]:
    return [data["origin"] for data in briefs(alerts)]


def test_it_is_sent_once_for_each_new_origin_even_if_nothing_fires(alerts: AlertStore) -> None:
    assert origins(alerts) == [], "the summary of the first forecast says as much"
    for origin in ("2023-01", "2023-01", "2023-02", "2023-01"):
        alerts.evaluate(document(origin), *EVERYWHERE)
    assert origins(alerts) == ["2023-01", "2023-02"]
    assert "no alert is on" in briefs(alerts)[0]["headline"]["en"]


def test_if_no_new_data_comes_it_says_so_after_five_weeks(alerts: AlertStore) -> None:
    alerts.now += timedelta(days=34)
    alerts.evaluate(document(), *EVERYWHERE, causes=(), age=90)
    assert origins(alerts) == []
    for _ in range(3):
        alerts.now += timedelta(hours=12)
        alerts.evaluate(document(), *EVERYWHERE, causes=(), age=150)
    (brief,) = briefs(alerts)
    assert brief["data_status"] == "stale"
    assert "too old to rely on" in brief["full"]["en"].splitlines()[2], "old data stands first"


def test_one_that_was_cancelled_is_sent_again(alerts: AlertStore) -> None:
    alerts.evaluate(document("2023-01"), *EVERYWHERE)
    with alerts.store.writing() as connection:
        connection.execute(sa.update(deliveries).where(deliveries.c.kind == "brief").values(status="dismissed"))
    alerts.evaluate(document("2023-01"), *EVERYWHERE)
    assert origins(alerts) == ["2023-01"] * 2


def test_it_says_what_moved_and_what_fires(alerts: AlertStore) -> None:
    before = {"MLI": 61.0, "NER": 40.0, "BFA": 50.5, "SEN": 5.0}
    with alerts.store.writing() as connection:
        for iso3, score in before.items():
            of_snapshot = {"snapshot_id": 1, "region": "MLI", "simulated": False, "outcome": "state_based"}
            of_model = {"model_id": "m", "model_origin": "2022-12", "issued_at": alerts.now, "reasons": {}}
            row = {**of_snapshot, **of_model, "origin": "2022-12", "location_code": iso3, "risk_score": score}
            connection.execute(sa.insert(scores).values(row))
    alerts.evaluate(document("2023-01", MLI=78.25, NER=36, BFA=51, SEN=5), *EVERYWHERE, age=20)
    (brief,) = briefs(alerts)
    assert [(each["location_code"], each["change_1m"]) for each in brief["moved"]] == [("MLI", 17.2), ("NER", -4.0)]
    assert {(each["rule"], each["location_code"]) for each in brief["firing"]} == {
        ("desk-rule", "MLI"),
        ("very-high-risk", "MLI"),
    }
    assert brief["last_month"] == {"began": 2, "firing": 2, "hits": 0, "false_alarms": 0}
    english, french = brief["full"]["en"].splitlines(), brief["full"]["fr"].splitlines()
    assert english[0] == "MONTHLY BRIEF – Mali and its neighbours – January 2023, 2 alerts are on"
    assert "- Mali: 78 of 100 (very high), +17." in english
    assert "- Risk is very high: Mali (January 2023), Mali (January 2023)." in english
    assert "- Niger\xa0: 36 sur 100 (modéré), −4." in french
    assert "Depuis le dernier bilan, 2 alertes ont commencé, dont 2 en cours." in french
    assert all(len(text) <= 160 for text in brief["sms"].values())


def test_it_says_how_alerts_turned_out_whose_period_ended_since_the_last_one(alerts: AlertStore) -> None:
    changes = alerts.evaluate(document("2023-01", MLI=78), *EVERYWHERE)
    results = zip((changes[0], changes[1], changes[1]), ("hit", "hit", "false_alarm"), strict=True)  # the newest counts
    of_period = {"event": "escalation", "first_month": "2023-02", "last_month": "2023-04", "deaths": []}
    with alerts.store.writing() as connection:
        for change, result in results:
            row = {"alert_id": change["alert_id"], "result": result, "data_digest": "d", **of_period}
            connection.execute(sa.insert(alert_results).values(at=alerts.now + timedelta(minutes=5), **row))
    alerts.evaluate(document("2023-05", MLI=78), *EVERYWHERE)
    alerts.evaluate(document("2023-06", MLI=78), *EVERYWHERE)
    found = [brief["last_month"] for brief in briefs(alerts)]
    assert [(since["hits"], since["false_alarms"]) for since in found] == [(0, 0), (1, 1), (0, 0)]
    assert "right 1, false 1" in briefs(alerts)[1]["full"]["en"]


def test_an_inhibited_alert_is_not_listed(alerts: AlertStore) -> None:
    alerts.evaluate(document("2023-01", MLI=78), rule(), rule(name="high", inhibited_by=["very-high-risk"]))
    assert [each["rule"] for each in briefs(alerts)[0]["firing"]] == ["very-high-risk"]


def test_without_scores_of_the_month_before_it_says_so(alerts: AlertStore) -> None:
    alerts.evaluate(document("2023-01"), *EVERYWHERE)
    (brief,) = briefs(alerts)
    assert (brief["moved"], brief["reason"]) == ([], "no_earlier_score")
    assert "not known" in brief["text"]["en"]


def test_a_brief_from_simulated_data_says_so(alerts: AlertStore) -> None:
    alerts.evaluate(document("2023-01", simulated=True), *EVERYWHERE)
    (brief,) = briefs(alerts)
    texts = [brief[length][language] for length in ("headline", "sms", "text", "full") for language in ("en", "fr")]
    assert all(text.startswith("SIMULATED") for text in texts)
