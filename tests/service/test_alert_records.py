"""The record of each alert rule: judged by later figures, and stored again only if something has changed."""

import csv
import io
from datetime import timedelta
from typing import Any

import hindcast_files
import html_page
import pytest
import sqlalchemy as sa
from recompute_support import NOW, OperatedHome

from riskmodel.alerting import rule_file
from riskmodel.bands import DEFAULT_BANDS
from riskmodel.home import Home
from riskmodel.months import month
from service.alerts import records
from service.cli.app import create_app
from service.jobs import hindcast_store
from service.store.context import Context
from service.store.tables import alert_records, alert_results, alerts, transitions
from service.store.values import instant

RULE = """[[rule]]
name = "high"
title = { en = "High", fr = "Élevé" }
metric = "risk_score"
fire_at = 78
clear_at = 77
severity = "warning"

[[rule]]
name = "old-data"
title = { en = "Old data", fr = "Données anciennes" }
metric = "data_age_days"
fire_at = 100
clear_at = 100
severity = "info"
"""


@pytest.fixture
def operated(home: Home) -> OperatedHome:
    """A home whose hindcasts announce an escalation of Mali in March 2021, and another one in September."""
    made = OperatedHome.ready(home, drivers=False)
    made.home.alert_rules.write_text(RULE)
    made.ingest_months("2021-12", MLI=[5] * 8 + [40, 60, 60, 60, 5, 5, 5, 5])  # from September 2020 on
    made.run()
    for number, origin in enumerate(month("2020-12") + step for step in range(12)):
        lower = 0.0 if number in (3, 9) else 5.0
        hindcast_files.write(made.home, str(origin), lower=lower)
    hindcast_store.store(Context(made.home, made.settings, made.store, lambda: NOW))
    return made


def stored(operated: OperatedHome) -> dict[str, Any]:
    (row,) = operated.rows(alert_records)
    document: dict[str, Any] = row.document
    return document


def add_alert(operated: OperatedHome, number: int, *, state: str, fired_origin: str, **definition: Any) -> None:
    """Store an alert of Mali that fired; by default by the rule as it is in the file."""
    of = {"region": "MLI", "simulated": False, "rule": "high", "location_code": "MLI", "outcome": "state_based"}
    alert = {"id": f"alr_{number:032}", "severity": "warning", "state": state, "fired_origin": fired_origin}
    read = {"metric": "risk_score", "fire_at": 78, "clear_at": 77, "for": 1, **definition}
    change = {"run_id": 1, "snapshot_id": 1, "from_state": "ok", "to_state": "firing", "at": NOW, "document": read}
    with operated.store.writing() as connection:
        connection.execute(sa.insert(alerts).values(**of, **alert, opened_at=NOW, fired_at=NOW))
        connection.execute(sa.insert(transitions).values(**of, **change, alert_id=alert["id"]))


def test_hindcasts_give_a_rule_a_record_that_says_what_happened(operated: OperatedHome) -> None:
    client = create_app(operated.home, clock=lambda: NOW).test_client()
    assert client.get("/v1/alerts/record").json["data"] == []
    assert "The records are not computed yet." in html_page.get_page(client, "/en/alerts").text
    operated.verify(NOW)
    rule, notice = stored(operated)["rules"]
    assert (notice["announces"], notice["hindcast"], notice["issued"]) == (None, None, None)
    record = rule["hindcast"]
    of_mali = [alert for alert in record["judged"] if alert["location_code"] == "MLI"]
    assert [(alert["origin"], alert["result"], alert["lead"]) for alert in of_mali] == [
        ("2021-03", "hit", 2),
        ("2021-09", "too_early", None),
    ]
    assert of_mali[0]["deaths"] == [5, 40, 60, 60, 60, 5]
    assert (record["hits"], record["reason"]) == (1, "too_few_cases")
    assert (record["first_month"], record["last_month"]) == ("2020-12", "2021-11")

    answer = client.get("/v1/alerts/record").json
    assert answer["computed_at"] == instant(NOW)
    of = {(record["rule"], record["basis"]): record for record in answer["data"]}
    assert (of["high", "hindcast"]["hits"], of["high", "hindcast"]["reason"]) == (1, "too_few_cases")
    assert of["old-data", "hindcast"]["reason"] == of["old-data", "issued"]["reason"] == "announces_nothing"
    assert of["high", "issued"]["alerts"] == 0
    assert of[None, "hindcast"]["hits"] == 1
    lines = list(csv.DictReader(io.StringIO(client.get("/v1/alerts/record.csv").text)))
    assert [line["hits"] for line in lines if (line["rule"], line["basis"]) == ("high", "hindcast")] == ["1"]
    results = client.get("/v1/alerts/results?rule=high&location=mli&basis=hindcast").json["data"]
    assert [(each["origin"], each["result"], each["lead_months"]) for each in results] == [
        ("2021-09", "too_early", None),
        ("2021-03", "hit", 2),
    ]
    page = html_page.get_page(client, "/en/alerts").text
    assert "This rule has too few past alerts to say how often it is right." in page
    assert "High Deaths in April – September 2021: 230 hit 2 months later" in page
    assert "Deaths in October 2021 – March 2022, as far as known: 15 too early to say" in page
    assert "juste 2 mois plus tard" in html_page.get_page(client, "/fr/alerts").text

    rules = rule_file.load(operated.home, DEFAULT_BANDS)
    assert records.of_rule({}, rules[0]) == {"reason": "not_computed"}
    with operated.store.reading() as connection:
        known = records.of_rules(connection, "MLI", simulated=False)
    shown = records.of_rule(known, rules[0])
    assert (shown["basis"], shown["hits"], shown["seen"], shown["months"]) == ("hindcast", 1, True, 6)
    assert records.of_rule(known, rules[1]) == {"reason": "announces_nothing"}
    assert records.of_rule(known, rules[0].model_copy(update={"fire_at": 79.0})) == {"reason": "not_computed"}
    assert records.of_rule(known, rules[0].model_copy(update={"route": "duty"})) == shown


def test_rules_and_issued_alerts_are_judged_again_only_if_something_has_changed(operated: OperatedHome) -> None:
    operated.verify(NOW)
    operated.verify(NOW + timedelta(days=1))
    assert [row.at for row in operated.rows(alert_records)] == [NOW]
    operated.home.alert_rules.write_text(RULE.replace("fire_at = 78", "fire_at = 99"))
    operated.verify(NOW + timedelta(days=2))
    assert [row.at for row in operated.rows(alert_records)] == [NOW + timedelta(days=2)]
    assert stored(operated)["rules"][0]["hindcast"]["alerts"] == 0
    operated.home.alert_rules.write_text("[[rule]]\nname = 3")
    operated.verify(NOW + timedelta(days=3))
    assert stored(operated)["rules"][0]["hindcast"]["alerts"] == 0, "rules that cannot be read change no record"
    operated.home.alert_rules.write_text(RULE)
    for number, state in enumerate(("resolved", "corrected")):
        add_alert(operated, number, state=state, fired_origin="2021-03")
    operated.verify(NOW + timedelta(days=4))
    operated.verify(NOW + timedelta(days=5))
    (first,) = operated.rows(alert_results)
    assert (first.result, first.lead_months, first.first_month, first.last_month) == ("hit", 2, "2021-04", "2021-09")
    assert (first.deaths, first.data_as_of) == ([5, 40, 60, 60, 60, 5], "2021-12-31")
    operated.ingest_months("2021-12", MLI=[5] * 16)
    operated.verify(NOW + timedelta(days=6))
    again = operated.rows(alert_results)
    assert [row.result for row in again] == ["hit", "false_alarm"]
    assert again[0].data_digest != again[1].data_digest


def test_an_edited_rule_begins_a_new_record_and_its_old_alerts_keep_their_own_meaning(operated: OperatedHome) -> None:
    operated.verify(NOW)
    add_alert(operated, 1, state="firing", fired_origin="2021-12")
    add_alert(operated, 2, state="firing", fired_origin="2021-12", fire_at=60, clear_at=60)
    add_alert(operated, 3, state="expired", fired_origin="2021-04", metric="escalation_probability", fire_at=0.5)
    operated.verify(NOW + timedelta(days=1))
    issued = stored(operated)["rules"][0]["issued"]
    assert [(alert["origin"], alert["result"]) for alert in issued["judged"]] == [("2021-12", "too_early")]
    (result,) = operated.rows(alert_results)
    assert (result.event, result.first_month, result.last_month, result.result) == (
        *("escalation", "2021-05", "2021-07"),
        "hit",
    )
    operated.ingest_months("2022-01", MLI=[5] * 16)
    operated.run(NOW + timedelta(days=40))
    operated.home.alert_rules.write_text(RULE.replace("clear_at = 77", "clear_at = 76"))
    operated.verify(NOW + timedelta(days=41))
    issued = stored(operated)["rules"][0]["issued"]
    assert (issued["alerts"], issued["first_month"]) == (0, "2022-01"), "the months before the edit are no part of it"
    operated.ingest_months("2022-02", MLI=[5] * 16)
    operated.run(NOW + timedelta(days=70))
    operated.verify(NOW + timedelta(days=71))
    issued = stored(operated)["rules"][0]["issued"]
    assert (issued["first_month"], issued["last_month"]) == ("2022-01", "2022-02")
