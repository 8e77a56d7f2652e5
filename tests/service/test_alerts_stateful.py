"""The life-cycle of alerts under random scores, silences, acknowledgements, rule edits, withdrawals and restarts."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa
from alert_histories import origin_of, rule
from alert_store import AlertStore, document
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, run_state_machine_as_test
from hypothesis.stateful import rule as step

from riskmodel.alerting.states import ACTIVE, CORRECTED, ENDED, EXPIRED, FIRING, OK, RESOLVED
from service.alerts import episodes, known_alerts, lifecycle, outbox, silences
from service.alerts.correction import correct
from service.store.database import Store
from service.store.tables import alert_states, alerts, deliveries, delivery_alerts, snapshots, transitions

COUNTRIES = ("MLI", "BFA", "NER")
VALUES = st.sampled_from((10, 50, 68, 72, 80, None))


class Life(RuleBasedStateMachine):
    """One region with one rule. Each step is one transaction, as in the service."""

    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.home = AlertStore(self.store)
        self.month, self.rules = 240, (rule(),)
        self.scores: dict[str, int | None] = dict.fromkeys(COUNTRIES, 10)
        self.received: list[tuple[str, Any]] = []

    def evaluate(self, *causes: str) -> list[dict[str, Any]]:
        self.home.now += timedelta(hours=1)
        number = self.snapshot()
        scores: dict[str, float | None] = dict(self.scores)
        with self.store.writing() as connection:
            return lifecycle.evaluate(
                connection,
                rules=self.rules,
                document=document(origin_of(self.month), **scores),
                run_id=1,
                snapshot_id=number,
                now=self.home.now,
                causes=causes,
            )

    def snapshot(self) -> int:
        number = len(self.rows(snapshots)) + 1
        row = {"id": number, "region": "MLI", "simulated": False, "issued_at": self.home.now, "input_digest": "i"}
        with self.store.writing() as connection:
            connection.execute(sa.insert(snapshots).values(row | {"digest": f"d{number}", "document": {}}))
        return number

    def rows(self, table: sa.Table) -> list[Any]:
        with self.store.reading() as connection:
            return list(connection.execute(sa.select(table).order_by(*table.primary_key)).all())

    @step(values=st.tuples(VALUES, VALUES, VALUES))
    def new_month(self, values: tuple[int | None, ...]) -> None:
        self.month += 1
        self.scores = dict(zip(COUNTRIES, values, strict=True))
        self.evaluate("new_month")

    @step(country=st.sampled_from(COUNTRIES), value=VALUES)
    def revise(self, country: str, value: int | None) -> None:
        self.scores[country] = value
        for change in self.evaluate("revision"):
            assert change["to_state"] != RESOLVED or change["origin"] > self.fired_origin(change["alert_id"])

    @step(fire_at=st.sampled_from((60, 70, 75, 90)), countries=st.sampled_from((None, ["MLI"], ["BFA", "NER"])))
    def edit_the_rule(self, fire_at: int, countries: list[str] | None) -> None:
        self.rules = (rule(fire_at=fire_at, clear_at=fire_at - 5, countries=countries),)
        for change in self.evaluate():
            assert change["to_state"] not in (RESOLVED, CORRECTED), "an edited rule sends no all-clear"

    @step()
    def remove_the_rule(self) -> None:
        self.rules = ()
        assert {change["to_state"] for change in self.evaluate()} <= {EXPIRED, OK}

    @step(data=st.data(), hours=st.integers(1, 5))
    def silence(self, data: st.DataObject, hours: int) -> None:
        matcher = data.draw(st.sampled_from(({"location_code": "MLI"}, {"rule": "very-high-risk"})))
        with self.store.reading() as connection:
            if connection.scalar(sa.select(sa.func.count()).select_from(alert_states)) == 0:
                return
            read = set(connection.scalars(sa.select(alert_states.c.location_code)))
        if "location_code" in matcher and matcher["location_code"] not in read:
            return
        with self.store.writing() as connection:
            until = self.home.now + timedelta(hours=hours)
            silences.create(
                connection,
                region="MLI",
                simulated=False,
                matcher=matcher,
                until=until,
                reason="exercise",
                by="Awa",
                now=self.home.now,
            )

    @step(hours=st.integers(1, 6))
    def wait(self, hours: int) -> None:
        self.home.now += timedelta(hours=hours)
        with self.store.writing() as connection:
            silences.end_due(connection, self.home.now)

    @precondition(lambda self: any(row.state == FIRING for row in self.rows(alerts)))
    @step(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from([row.id for row in self.rows(alerts) if row.state == FIRING]))
        with self.store.writing() as connection:
            episodes.acknowledge(connection, chosen, "Awa", None, self.home.now)

    @step(answered=st.booleans())
    def deliver(self, answered: bool) -> None:
        """Send what can be sent. The sender can die before it has stored the answers."""
        with self.store.writing() as connection:
            sent = outbox.read(connection, outbox.ready(self.home.now))
            self.received += [(message.id, message.document["data"]) for message in sent]
            status = {"status": "sent"} if answered else {"maybe_received": True}
            connection.execute(sa.update(deliveries).where(deliveries.c.id.in_([m.id for m in sent])).values(**status))

    @step()
    def withdraw_the_newest_snapshot(self) -> None:
        newest = max((row.snapshot_id for row in self.rows(transitions)), default=None)
        if newest is None:
            return
        with self.store.writing() as connection:
            row = connection.execute(sa.select(snapshots).where(snapshots.c.id == newest)).one()
            flat = document(origin_of(self.month))
            connection.execute(sa.update(snapshots).where(snapshots.c.id == newest).values(document=flat))
            row = connection.execute(sa.select(snapshots).where(snapshots.c.id == newest)).one()
            correct(connection, row, "wrong file", self.home.now)
        self.scores = dict.fromkeys(COUNTRIES, 10)
        self.evaluate("withdrawal")

    @step()
    def restart(self) -> None:
        """Nothing lives in memory: another process goes on with the same database."""
        self.store.engine.dispose()
        assert self.evaluate() == []

    def fired_origin(self, alert_id: str) -> str:
        return next(row.fired_origin for row in self.rows(alerts) if row.id == alert_id)

    @invariant()
    def histories_are_complete(self) -> None:
        found = {row.id: row for row in self.rows(alerts)}
        steps: dict[str, list[tuple[str, str]]] = {alert_id: [] for alert_id in found}
        for row in self.rows(transitions):
            steps[row.alert_id].append((row.from_state, row.to_state))
        for alert_id, alert in found.items():
            chain = steps[alert_id]
            assert chain[0][0] not in ACTIVE
            assert all(before[1] == after[0] for before, after in pairwise(chain))
            assert [to for _, to in chain if to != OK or chain[-1][0] not in ENDED][-1] == alert.state
            assert (alert.ended_at is None) == (alert.state in ACTIVE)
        active = [(row.rule, row.location_code) for row in found.values() if row.state in ACTIVE]
        assert len(active) == len(set(active)), "one alert at a time of a rule at a place"

    @invariant()
    def what_fires_is_announced_unless_it_is_silenced_or_taken_back(self) -> None:
        with self.store.reading() as connection:
            for alert in self.rows(alerts):
                if alert.state != FIRING:
                    continue
                fired = [
                    row.document
                    for row in self.rows(transitions)
                    if row.alert_id == alert.id and row.to_state == FIRING
                ]
                lasting = [row for row in self.rows(silences.silences) if row.ended_at is None]
                silenced = any(silence.location_code in (None, alert.location_code) for silence in lasting)
                known = known_alerts.announcements(connection, alert.id)
                withdrawn = [m for m in self.messages_of(alert.id) if "withdrawn" in (m.error or "")]
                assert known or silenced or withdrawn, fired

    def messages_of(self, alert_id: str) -> list[Any]:
        about = {row.delivery_id for row in self.rows(delivery_alerts) if row.alert_id == alert_id}
        return [row for row in self.rows(deliveries) if row.id in about]

    @invariant()
    def no_message_is_about_what_does_not_exist(self) -> None:
        numbers, known = {row.id for row in self.rows(snapshots)}, {row.id for row in self.rows(alerts)}
        for _, data in self.received:
            assert data["snapshot_id"] in numbers
            assert {each["alert_id"] for each in data.get("alerts", [data]) if each.get("alert_id")} <= known

    @invariant()
    def nothing_starts_after_it_was_taken_back(self) -> None:
        over: set[str] = set()
        for _, data in self.received:
            state, alert_id = data.get("to_state"), data.get("alert_id")
            if state == FIRING:
                assert alert_id not in over
            elif state in ENDED:
                over.add(str(alert_id))
            over |= {each["alert_id"] for each in data.get("alerts", ()) if each.get("to_state") in ENDED}


@pytest.mark.parametrize(("examples", "steps"), [(5, 8), pytest.param(200, 30, marks=pytest.mark.long)])
def test_alerts_live_by_the_rules(shared_store: Store, examples: int, steps: int) -> None:
    machine = type("Machine", (Life,), {"store": shared_store})
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    profile = settings(max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=checks)
    run_state_machine_as_test(machine, settings=profile)
