"""What alert rules read from a store: scores of earlier origins, and the memory of a cool-down."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alert_histories import rule
from snapshot_documents import NOW, SCORES
from snapshots_support import SnapshotHome

from riskmodel.alerting.rule import Rule
from riskmodel.months import month
from service.alerts import lifecycle
from service.jobs.withdrawal import withdraw
from service.store.tables import alert_states, hindcast_scores, hindcasts, snapshots

RISEN = rule(name="risen", metric="band", fire_at="very high", clear_at="very high", countries=["MLI"])
GAINED = rule(name="gained", metric="change_1m", fire_at=10, clear_at=5, countries=["MLI"])


class AlertHome:
    """A home whose snapshots are issued with their alerts, one an hour."""

    def __init__(self, root: Path) -> None:
        self.home = SnapshotHome(root)
        self.number = 0

    def issue(self, origin: str, score: float | None, *rules: Rule, **how: Any) -> list[dict[str, Any]]:
        """Issue a snapshot in which Mali has this risk score, and return the transitions."""
        self.number += 1
        self.home.issue(origin=origin, scores={**SCORES, "MLI": score}, at=self.now)
        return self.evaluate(*rules, **how)

    def evaluate(self, *rules: Rule, **how: Any) -> list[dict[str, Any]]:
        """Evaluate rules on the newest snapshot."""
        newest = sa.select(snapshots.c.document).where(snapshots.c.id == self.number)
        with self.home.store.writing() as connection:
            document = connection.execute(newest).scalar_one()
            ids = {"run_id": self.number, "snapshot_id": self.number}
            return lifecycle.evaluate(connection, rules=rules, document=document, now=self.now, **ids, **how)

    def add_hindcast(self, origin: str, score: float) -> None:
        """Store a hindcast in which Mali has this risk score."""
        key = {"region": "MLI", "simulated": False, "outcome": "state_based", "origin": origin}
        facts = {"data_basis": "as_known", "model_origin": origin, "edition": "e", "digest": "d", "document": {}}
        with self.home.store.writing() as connection:
            connection.execute(sa.insert(hindcasts).values(**key, **facts, computed_at=self.now))
            row = {"location_code": "MLI", "risk_score": score, "reasons": {}}
            connection.execute(sa.insert(hindcast_scores).values(**key, **row))

    def states(self, name: str = "state") -> Mapping[str, Any]:
        """A column of the states of Mali's alerts, by rule."""
        of_mali = sa.select(alert_states).where(alert_states.c.location_code == "MLI")
        with self.home.store.reading() as connection:
            return {row.rule: row._mapping[name] for row in connection.execute(of_mali)}

    @property
    def now(self) -> Any:
        return NOW + timedelta(hours=self.number)


@pytest.fixture
def alerts(tmp_path: Path) -> AlertHome:
    return AlertHome(tmp_path / "home")


def test_a_change_is_read_from_the_snapshot_of_the_month_before(alerts: AlertHome) -> None:
    assert alerts.issue("2022-11", 60.0, GAINED) == []
    assert alerts.states("reason") == {"gained": "no_earlier_score"}
    (change,) = alerts.issue("2022-12", 72.5, GAINED)
    assert (change["to_state"], change["value"], change["causes"]) == ("firing", 12.5, ["new_month"])
    assert "Points gained by the risk score in 1 month: 12.5 (alert from 10, end below 5)" in change["text"]["en"]


def test_a_withdrawn_snapshot_is_no_earlier_score(alerts: AlertHome) -> None:
    alerts.issue("2022-11", 60.0, GAINED)
    alerts.issue("2022-12", 62.0, GAINED)
    withdraw(alerts.home.store, (), 1, "a wrong file", alerts.now)
    assert alerts.evaluate(GAINED) == []
    assert alerts.states("reason") == {"gained": "no_earlier_score"}


def test_a_hindcast_of_the_month_before_lets_an_alert_fire_and_is_its_cause(alerts: AlertHome) -> None:
    alerts.issue("2022-12", 72.5, GAINED)
    assert alerts.states() == {"gained": "ok"}
    alerts.add_hindcast("2022-11", 50.0)
    (change,) = alerts.evaluate(GAINED, causes=())
    assert (change["value"], change["causes"]) == (22.5, ["earlier_scores"])
    assert change["text"]["en"].count("newly computed scores of earlier months. It does not reflect new events") == 1


def test_a_band_is_an_alert_when_it_is_entered_and_ends_after_a_year_in_it(alerts: AlertHome) -> None:
    for age in range(12, 0, -1):
        alerts.add_hindcast(str(month("2022-12") - age), 60.0)
    (change,) = alerts.issue("2022-12", 72.0, RISEN)
    assert (change["to_state"], change["value"], change["fire_at"]) == ("firing", 70.0, 70.0)
    assert "in the last 12 months: very high (alert from very high)" in change["text"]["en"]
    assert "12 derniers mois\xa0: très élevé (alerte à partir de très élevé" in change["text"]["fr"]
    for age in range(1, 12):
        alerts.add_hindcast(str(month("2022-12") + age), 72.0)
    assert alerts.issue("2023-11", 72.0, RISEN) == []
    (change,) = alerts.issue("2023-12", 72.0, RISEN)
    assert (change["to_state"], change["value"]) == ("resolved", 0.0)
    assert "in the last 12 months: none" in change["text"]["en"]


def test_each_outcome_is_compared_with_its_own_earlier_scores(alerts: AlertHome) -> None:
    of_outcome = [
        rule(name=name, metric="change_1m", outcome=outcome, fire_at=1, clear_at=1, countries=["MLI"])
        for name, outcome in (("one", "all"), ("other", "state_based"))
    ]
    for origin in ("2022-11", "2022-12"):
        alerts.number += 1
        alerts.home.issue(origin=origin, both=True, at=alerts.now)
    assert alerts.evaluate(*of_outcome) == []
    assert alerts.states("value") == {"one": 0.0, "other": 0.0}


def test_a_cool_down_is_remembered_from_run_to_run(alerts: AlertHome) -> None:
    patient = rule(name="patient", fire_at=70, clear_at=65, cool_down=3, countries=["MLI"])
    found = [
        [change["to_state"] for change in alerts.issue(origin, score, patient)]
        for origin, score in (
            *(("2022-07", 75.0), ("2022-08", 60.0), ("2022-09", 74.0)),  # no worse than before
            *(("2022-10", 76.0), ("2022-11", 60.0), ("2022-12", 75.0)),  # worse
        )
    ]
    assert found == [["firing"], ["resolved"], ["ok"], ["firing"], ["resolved"], ["ok"]]


def test_an_alert_that_a_withdrawal_ends_has_no_cool_down(alerts: AlertHome) -> None:
    patient = rule(name="patient", fire_at=70, clear_at=65, cool_down=3, countries=["MLI"])
    alerts.issue("2022-11", 60.0, patient)
    alerts.issue("2022-12", 90.0, patient)
    withdraw(alerts.home.store, [patient], 2, "a wrong file", alerts.now)
    assert alerts.states() == {"patient": "corrected"}
    (change,) = alerts.issue("2022-12", 80.0, patient)
    assert change["to_state"] == "firing"
