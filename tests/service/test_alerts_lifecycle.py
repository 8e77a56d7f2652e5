"""Alerts as rows in a store: states, transitions and messages."""

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from alert_histories import drawn_rules, histories, rule
from alert_store import NOW, AlertStore, document
from hypothesis import given

from riskmodel.alerting.rule import Rule
from riskmodel.alerting.states import EXPIRED, FIRING, OK, PENDING, RESOLVED
from service.alerts import lifecycle, outbox, wording
from service.store.database import Store
from service.store.tables import alert_states, deliveries, delivery_alerts, transitions
from service.store.tables import alerts as alert_episodes

FIRST = ("first",)
AGE = rule(name="data-too-old", metric="data_age_days", fire_at=100, clear_at=100)


@pytest.fixture
def alerts(shared_store: Store) -> AlertStore:
    return AlertStore(shared_store)


@pytest.fixture(scope="module")
def store(shared_store: Store) -> Store:
    return AlertStore(shared_store).store


@given(drawn_rules, histories())
def test_transitions_form_a_chain_and_each_start_or_end_gives_one_message(
    store: Store, rule_: Rule, history: list[tuple[str, float | None]]
) -> None:
    with store.engine.connect().execution_options(vigie_writes=True) as connection:
        transaction = connection.begin()
        for hour, (origin, value) in enumerate(history):
            lifecycle.evaluate(
                connection,
                rules=[rule_],
                document=document(origin, MLI=value),
                run_id=1,
                snapshot_id=1,
                now=NOW + timedelta(hours=hour),
            )
        of_mali = transitions.c.location_code == "MLI"
        chain = connection.execute(sa.select(transitions).where(of_mali).order_by(transitions.c.id)).all()
        kinds = connection.execute(sa.select(deliveries.c.kind).order_by(deliveries.c.created_at)).scalars().all()
        state = connection.execute(
            sa.select(alert_states.c.state).where(alert_states.c.location_code == "MLI")
        ).scalar_one_or_none()
        transaction.rollback()
    states = [OK, *(row.to_state for row in chain)]
    assert [row.from_state for row in chain] == states[:-1]
    assert all(a != b for a, b in pairwise(states))
    # An alert that is corrected before its message was sent gives none.
    assert list(kinds) == [row.to_state for row in chain if row.to_state in (FIRING, RESOLVED, EXPIRED)]
    if history:
        assert state == states[-1]


def test_an_alert_that_fires_is_a_state_a_transition_and_a_message(alerts: AlertStore) -> None:
    changes = alerts.evaluate(document(MLI=78.1, BFA=81.0), rule())
    assert [(c["location_code"], c["from_state"], c["to_state"]) for c in changes] == [
        ("MLI", OK, FIRING),
        ("BFA", OK, FIRING),
    ]
    assert alerts.messages() == [("firing", "MLI"), ("firing", "BFA")]
    assert {row.location_code: row.state for row in alerts.rows(alert_states)}["SEN"] == OK
    payload = next(r.document for r in alerts.rows(deliveries) if r.document["data"]["location_code"] == "MLI")
    assert payload["type"] == "alert.firing"
    assert payload["timestamp"] == "2026-11-22T09:15:00Z"
    data = payload["data"]
    assert {
        "rule": "very-high-risk",
        "severity": "warning",
        "metric": "risk_score",
        "value": 78.1,
        "fire_at": 70,
        "clear_at": 65,
        "for": 1,
        "from_state": OK,
        "to_state": FIRING,
        "causes": ["new_month"],
        "origin": "2022-12",
        "data_as_of": "2022-12-28",
        "snapshot_id": 1,
        "simulated": False,
        "outcome": "state_based",
        "name": {"en": "Mali", "fr": "Mali"},
    }.items() <= data.items()
    assert "route" not in data
    assert data["text"]["en"] == (
        "ALERT – Mali – Risk is very high (state-based conflict). "
        "Risk score from 0 to 100: 78.1 (alert from 70, end below 65). Reason: a new month of data. "
        "Data: up to 28 December 2022 (1,425 days ago); none of the last three months is final. "
        "It is not known yet how often this rule is right."
    )
    assert data["text"]["fr"] == (
        "ALERTE – Mali – Le risque est très élevé (conflits impliquant un État). Score de risque de 0 à 100\xa0: 78,1 "
        "(alerte à partir de 70, fin en dessous de 65). Raison\xa0: un nouveau mois de données. "
        "Données\xa0: jusqu’au 28 décembre 2022 (il y a 1\u202f425 jours)\xa0; aucun des trois derniers mois n’est "
        "définitif. "
        "On ne sait pas encore si cette règle a souvent raison."
    )


def test_the_guide_documents_every_key_of_a_message(alerts: AlertStore) -> None:
    alerts.evaluate(document(MLI=78), rule())
    guide = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")
    section = guide[guide.index("## What a receiver gets") : guide.index("## When a message fails")]
    (delivery,) = alerts.rows(deliveries)
    assert [key for key in delivery.document["data"] if f"`{key}`" not in section] == []
    assert [cause for cause in wording.CAUSES if f"| `{cause}` |" not in guide] == []


def test_an_alert_has_one_id_from_its_start_to_its_end_and_the_next_one_has_another(alerts: AlertStore) -> None:
    patient = rule(**{"for": 2})
    for month, score in enumerate((78, 79, 10, 10, 80, 80), start=1):
        alerts.evaluate(document(f"2022-{month:02}", MLI=score), patient)
    first, second = alerts.rows(alert_episodes)
    assert (first.state, first.fired_origin, first.ended_at) == (RESOLVED, "2022-02", NOW + timedelta(hours=3))
    assert (second.state, second.fired_origin, second.ended_at) == (FIRING, "2022-06", None)
    ids = [(row.to_state, row.alert_id) for row in alerts.rows(transitions)]
    assert ids == [
        *((state, first.id) for state in (PENDING, FIRING, RESOLVED, OK)),
        *((state, second.id) for state in (PENDING, FIRING)),
    ]
    assert [row.document["data"]["alert_id"] for row in alerts.rows(deliveries)] == [first.id, first.id, second.id]
    assert [row.alert_id for row in alerts.rows(delivery_alerts)] == [first.id, first.id, second.id]
    assert [alert["alert_id"] for alert in alerts.firing()] == [second.id]


def test_a_second_evaluation_of_the_same_data_changes_nothing(alerts: AlertStore) -> None:
    alerts.evaluate(document(MLI=78.1), rule())
    before = alerts.rows(alert_states)
    assert alerts.evaluate(document(MLI=78.1), rule(), causes=()) == []
    assert alerts.rows(alert_states) == before
    assert len(alerts.rows(transitions)) == len(alerts.rows(deliveries)) == 1


def test_a_pending_alert_gives_no_message(alerts: AlertStore) -> None:
    patient = rule(**{"for": 2})
    (change,) = alerts.evaluate(document(MLI=78), patient)
    assert change["to_state"] == PENDING
    assert alerts.messages() == []
    assert alerts.firing() == []
    alerts.evaluate(document("2023-01", MLI=78), patient)
    assert alerts.messages() == [("firing", "MLI")]


def test_a_revision_below_the_threshold_clears_pending_and_is_named_as_cause(alerts: AlertStore) -> None:
    patient = rule(**{"for": 2})
    alerts.evaluate(document(MLI=78), patient)
    (change,) = alerts.evaluate(document(MLI=60), patient, causes=["revision"])
    assert (change["from_state"], change["to_state"], change["causes"]) == (PENDING, OK, ["revision"])
    assert "Reason: revised data." in change["text"]["en"]


def test_an_unknown_value_changes_nothing_and_is_listed_with_its_reason(alerts: AlertStore) -> None:
    alerts.evaluate(document(MLI=78), rule())
    assert alerts.evaluate(document("2023-01", MLI=None, BFA=None), rule()) == []
    (alert,) = alerts.firing()
    assert alert["location_code"] == "MLI"
    assert alert["value"] is None
    assert alert["reason"] == "no_history"
    assert alert["since_origin"] == "2022-12"


@pytest.mark.parametrize(
    ("causes", "en", "fr"),
    [
        (
            ["model"],
            "Reason: a new forecasting model. It does not reflect new events.",
            "un nouveau modèle de prévision. Cela ne reflète pas de nouveaux événements.",
        ),
        (
            ["settings"],
            "Reason: changed settings. It does not reflect new events.",
            "une modification des réglages. Cela",
        ),
        ([], "Reason: a changed alert rule. It does not reflect new events.", "de la règle d’alerte. Cela ne reflète"),
        (
            ["new_month", "model"],
            "Reason: a new month of data and a new forecasting model. Data",
            "de données et un nouveau modèle de prévision. Données",
        ),
    ],
)
def test_a_message_gives_the_causes_of_the_change(alerts: AlertStore, causes: list[str], en: str, fr: str) -> None:
    (change,) = alerts.evaluate(document(MLI=78), rule(), causes=causes)
    assert en in change["text"]["en"]
    assert fr in change["text"]["fr"]


def test_old_data_is_an_alert_of_the_region_caused_by_the_clock(alerts: AlertStore) -> None:
    assert alerts.evaluate(document(), AGE, age=99) == []
    (change,) = alerts.evaluate(document(), AGE, causes=(), age=100)
    assert (change["location_code"], change["causes"]) == ("*", ["clock"])
    assert change["name"] == {"en": "Mali and its neighbours", "fr": "Mali et pays voisins"}
    assert "Reason: no new data for a long time. It does not reflect new events." in change["text"]["en"]
    (change,) = alerts.evaluate(document("2023-01"), AGE, age=30)
    assert (change["to_state"], change["causes"]) == (RESOLVED, ["new_month"])
    assert alerts.messages() == [("firing", "*"), ("resolved", "*")]


def test_a_first_snapshot_gives_one_summary_by_each_route(alerts: AlertStore) -> None:
    elsewhere = rule(name="risk-60", fire_at=60, clear_at=50, route="analysts")
    unsent = rule(name="risk-50", fire_at=50, clear_at=50, route=None)
    changes = alerts.evaluate(document(MLI=78.1, BFA=81, NER=66), rule(), elsewhere, unsent, AGE, causes=FIRST, age=500)
    assert all(change["causes"] == ["first"] for change in changes)
    assert len(changes) == 9
    assert len(alerts.firing()) == 9
    summaries = {row.route: row.document for row in alerts.rows(deliveries)}
    assert set(summaries) == {"duty", "analysts"}
    assert {payload["type"] for payload in summaries.values()} == {"alert.summary"}
    duty = summaries["duty"]["data"]
    assert [(a["rule"], a["location_code"]) for a in duty["alerts"]] == [
        ("very-high-risk", "MLI"),
        ("very-high-risk", "BFA"),
        ("data-too-old", "*"),
    ]
    assert duty["text"]["en"].splitlines()[1] == (
        "- Mali – Risk is very high (state-based conflict). "
        "Risk score from 0 to 100: 78.1 (alert from 70, end below 65)."
    )
    assert "first forecast of state-based conflict, 3 alerts" in duty["headline"]["en"]
    alerts.evaluate(document("2023-01", MLI=60, BFA=81, NER=66), rule(), elsewhere, unsent, AGE, age=30)
    assert sorted(alerts.messages()[2:]) == [("resolved", "*"), ("resolved", "MLI")]


def test_a_first_snapshot_without_alerts_gives_a_summary_too(alerts: AlertStore) -> None:
    assert alerts.evaluate(document(), rule(), causes=FIRST) == []
    (delivery,) = alerts.rows(deliveries)
    assert delivery.document["data"]["alerts"] == []


def test_the_first_forecast_of_an_outcome_that_no_rule_reads_gives_no_message(alerts: AlertStore) -> None:
    both = document(MLI=78)
    both["outcomes"]["all"] = both["outcomes"]["state_based"] | {"causes": ["first"]}
    assert [change["outcome"] for change in alerts.evaluate(both, rule(route=None))] == ["state_based"]
    assert alerts.rows(deliveries) == []
    alerts.evaluate(both, rule(route=None), rule(name="other", outcome="all"))
    (delivery,) = alerts.rows(deliveries)
    assert (delivery.kind, delivery.document["data"]["outcomes"]) == ("summary", ["all"])


def test_simulated_alerts_are_marked_and_kept_apart_from_real_ones(alerts: AlertStore) -> None:
    (change,) = alerts.evaluate(document(simulated=True, MLI=78), rule())
    assert change["simulated"] is True
    for language in ("en", "fr"):
        assert change["headline"][language].startswith("SIMULATED")
        assert change["text"][language].startswith("SIMULATED")
    assert len(alerts.evaluate(document(MLI=78), rule(), causes=FIRST)) == 1
    assert [alert["simulated"] for alert in alerts.firing()] == [False]
    assert [alert["simulated"] for alert in alerts.firing(simulated=True)] == [True]
    summary = alerts.rows(deliveries)[-1].document["data"]
    assert not summary["headline"]["en"].startswith("SIMULATED")


def test_the_summary_of_a_simulated_snapshot_is_marked(alerts: AlertStore) -> None:
    alerts.evaluate(document(simulated=True, MLI=78), rule(), causes=FIRST)
    (delivery,) = alerts.rows(deliveries)
    assert delivery.document["data"]["simulated"] is True
    assert delivery.document["data"]["text"]["fr"].startswith("SIMULATED")


def test_alerts_of_a_removed_rule_end_by_the_route_that_they_had(alerts: AlertStore) -> None:
    alerts.evaluate(document(MLI=78), rule(), rule(name="patient", **{"for": 3}))
    alerts.receive_all()
    changes = alerts.evaluate(document(MLI=78), rule(countries=["BFA"]), causes=())
    assert {(c["rule"], c["from_state"], c["to_state"]) for c in changes} == {
        ("very-high-risk", FIRING, EXPIRED),
        ("patient", PENDING, OK),
    }
    assert alerts.messages() == [("firing", "MLI"), ("rule_changed", "")]
    assert alerts.firing() == []
    message = alerts.rows(deliveries)[-1].document["data"]
    (ended,) = message["alerts"]
    assert (ended["value"], ended["reason"], ended["to_state"]) == (None, "rule_withdrawn", EXPIRED)
    assert (
        message["text"]["en"]
        .splitlines()[0]
        .startswith(
            "RULE CHANGED – Mali and its neighbours – 1 alert ended with a changed rule. This is not an all-clear"
        )
    )
    assert alerts.evaluate(document(MLI=78), rule(countries=["BFA"]), causes=()) == []


@pytest.mark.parametrize("first", [False, True])
def test_the_end_of_an_alert_is_not_announced_if_its_message_was_dismissed(alerts: AlertStore, first: bool) -> None:
    alerts.evaluate(document(MLI=78, BFA=81), rule(), causes=FIRST if first else None)
    (dismissed, *_) = [
        row.id for row in alerts.rows(deliveries) if first or row.document["data"]["name"]["en"] == "Mali"
    ]
    with alerts.store.writing() as connection:
        outbox.cancel(connection, deliveries.c.id == dismissed)
    alerts.evaluate(document("2023-01", MLI=10, BFA=10), rule())
    resolved = [code for kind, code in alerts.messages() if kind == "resolved"]
    assert resolved == ([] if first else ["BFA"])


def test_the_severest_alerts_are_listed_first(alerts: AlertStore) -> None:
    alerts.evaluate(document(MLI=78), rule(severity="info"), rule(name="worse", severity="severe"))
    assert [alert["severity"] for alert in alerts.firing()] == ["severe", "info"]


def test_an_error_in_a_run_leaves_no_rows(alerts: AlertStore) -> None:
    with pytest.raises(sa.exc.IntegrityError):  # two rules of one name: their states collide after the first transition
        alerts.evaluate(document(MLI=78), rule(), rule())
    assert alerts.rows(alert_states) == alerts.rows(transitions) == alerts.rows(deliveries) == []
