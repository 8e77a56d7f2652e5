"""The life-cycle of an alert: by table, by property, and as rows in a store."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from riskmodel.home import Home
from service.alerts import lifecycle, outbox, wording
from service.alerts.lifecycle import FIRING, OK, PENDING, RESOLVED, AlertState, next_state
from service.alerts.rules import Rule
from service.store.database import Store
from service.store.tables import alert_states, deliveries, runs, snapshots, transitions

NOW = datetime(2026, 11, 22, 8, 15, tzinfo=UTC)
REGION = ("MLI", "DZA", "BFA", "CIV", "GIN", "MRT", "NER", "SEN")


def rule(**changed: Any) -> Rule:
    return Rule.model_validate(
        {
            "name": "very-high-risk",
            "title": {"en": "Risk is very high", "fr": "Le risque est très élevé"},
            "metric": "risk_score",
            "fire_at": 70,
            "clear_at": 65,
            "severity": "warning",
            "route": "duty",
            **changed,
        }
    )


AGE = rule(name="data-too-old", metric="data_age_days", fire_at=100, clear_at=100)


def document(origin: str = "2022-12", *, simulated: bool = False, **scores: float | None) -> dict[str, Any]:
    countries = [
        {
            "location_code": iso3,
            "risk_score": scores.get(iso3, 5.0),
            "escalation_probability": None,
            "reasons": {"escalation_probability": "history_too_short"}
            | ({} if scores.get(iso3, 5.0) is not None else {"risk_score": "no_history"}),
        }
        for iso3 in REGION
    ]
    return {
        "region": "MLI",
        "origin": origin,
        "data_as_of": f"{origin}-28",
        "outcome": "state_based",
        "simulated": simulated,
        "countries": countries,
    }


class Desk:
    """A store with a run and a snapshot in it, and `evaluate` with what a test does not care about filled in."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = NOW
        with store.writing() as connection:
            connection.execute(sa.insert(runs).values(id=1, region="MLI", started_at=NOW, status="running"))
            connection.execute(
                sa.insert(snapshots).values(
                    id=1, region="MLI", simulated=False, issued_at=NOW, input_digest="i", digest="d", document={}
                )
            )

    def evaluate(
        self,
        document: dict[str, Any],
        *rules: Rule,
        causes: Sequence[str] = ("new_month",),
        first: bool = False,
        age: float = 20,
    ) -> list[dict[str, Any]]:
        self.now += timedelta(hours=1)
        with self.store.writing() as connection:
            return lifecycle.evaluate(
                connection,
                rules=rules,
                document=document,
                run_id=1,
                snapshot_id=1,
                now=self.now,
                data_age_days=age,
                causes=causes,
                first=first,
            )

    def rows(self, table: sa.Table) -> list[Any]:
        with self.store.reading() as connection:
            return list(connection.execute(sa.select(table)).all())

    def firing(self, *, simulated: bool = False) -> list[dict[str, Any]]:
        with self.store.reading() as connection:
            return lifecycle.firing(connection, "MLI", simulated)

    def told(self) -> list[tuple[str, str]]:
        """Kind and location of each delivery, oldest first."""
        rows = sorted(self.rows(deliveries), key=lambda row: row.created_at)
        return [(row.kind, row.document["data"].get("location_code", "")) for row in rows]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(Store.of(Home(tmp_path)))


# The table reads left to right: each reading is "origin month: value", and below stands the state it leads to.
@pytest.mark.parametrize(
    ("for_origins", "readings", "states"),
    [
        (1, "1:80 1:80 2:66 3:64 3:64 4:64", "firing firing firing resolved resolved ok"),
        (2, "1:80 1:80 2:80 3:69 4:10", "pending pending firing firing resolved"),
        (2, "1:80 1:60 2:80 3:80", "pending ok pending firing"),
        (2, "1:80 2:69 3:80", "pending ok pending"),
        (2, "1:80 2:-- 3:80", "pending pending firing"),
        (3, "1:80 2:80 1:80 2:80 3:80", "pending pending pending pending firing"),
        (1, "1:80 2:-- 3:10 3:80", "firing firing resolved firing"),
        (2, "1:80 2:80 3:10 3:80 4:80", "pending firing resolved pending firing"),
        (1, "1:-- 2:70", "ok firing"),
        (1, "1:70 2:65 3:64.9", "firing firing resolved"),
    ],
)
def test_states_by_table(for_origins: int, readings: str, states: str) -> None:
    rule_ = rule(**{"for": for_origins})
    standing, passed = AlertState(), []
    for reading in readings.split():
        month, value = reading.split(":")
        standing = next_state(standing, rule_, None if value == "--" else float(value), f"2022-{int(month):02}")
        passed.append(standing.state)
    assert passed == states.split()


rules_drawn = st.builds(
    lambda fire, gap, n: rule(**{"fire_at": fire, "clear_at": max(fire - gap, 1), "for": n, "countries": ["MLI"]}),
    st.integers(5, 90),
    st.integers(0, 20),
    st.integers(1, 4),
)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, float | None]]:
    """Readings whose origin mostly stands or moves on, and at times falls back (a release that covers less)."""
    moves = draw(st.lists(st.tuples(st.sampled_from((0, 0, 1, 1, 1, 3, -1)), st.none() | st.integers(0, 100))))
    place, history = 24, []
    for move, value in moves:
        place += move
        history.append((f"{2000 + place // 12}-{place % 12 + 1:02}", value))
    return history


ALLOWED = {
    (OK, PENDING), (OK, FIRING), (PENDING, FIRING), (PENDING, OK), (FIRING, RESOLVED),
    (RESOLVED, OK), (RESOLVED, PENDING), (RESOLVED, FIRING),
}  # fmt: skip


@given(rules_drawn, histories())
def test_the_life_cycle_holds_what_it_promises(rule_: Rule, history: list[tuple[str, float | None]]) -> None:
    standing = AlertState()
    beyond: set[str] = set()  # the distinct origins at or beyond fire_at since a known value was below it
    for origin, value in history:
        was, standing = standing, next_state(standing, rule_, value, origin)
        if value is not None:
            beyond = beyond | {origin} if value >= rule_.fire_at else set()
        if value is None:
            assert standing == was, "the unknown changes nothing"
            continue
        if was.state != standing.state:
            assert (was.state, standing.state) in ALLOWED
        if standing.state == FIRING and was.state != FIRING:
            assert len(beyond) >= rule_.for_origins
        if was.state == FIRING:
            assert standing.state == (FIRING if value >= rule_.clear_at else RESOLVED)
        if standing.state == PENDING:
            assert 0 < standing.origins < rule_.for_origins
        assert next_state(standing, rule_, value, origin) == standing, "the same reading again changes nothing"


@given(rules_drawn, st.lists(st.none() | st.integers(0, 100), max_size=12))
def test_enough_origins_beyond_the_threshold_always_fire(rule_: Rule, before: list[float | None]) -> None:
    readings = [*before, *[rule_.fire_at] * rule_.for_origins]
    standing = AlertState()
    for place, value in enumerate(readings):
        standing = next_state(standing, rule_, value, f"{2000 + place // 12}-{place % 12 + 1:02}")
    assert standing.state == FIRING


@pytest.fixture(scope="module")
def shared_desk(
    tmp_path_factory: pytest.TempPathFactory, databases: Callable[[], AbstractContextManager[None]]
) -> Iterator[Store]:
    with databases():
        store = Store.of(Home(tmp_path_factory.mktemp("property")))
        Desk(store)
        yield store
        store.engine.dispose()


@given(rules_drawn, histories())
def test_rows_are_a_chain_and_each_telling_change_is_told_once(
    shared_desk: Store, rule_: Rule, history: list[tuple[str, float | None]]
) -> None:
    with shared_desk.engine.connect().execution_options(vigie_writes=True) as connection:
        begun = connection.begin()
        for hour, (origin, value) in enumerate(history):
            lifecycle.evaluate(
                connection,
                rules=[rule_],
                document=document(origin, MLI=value),
                run_id=1,
                snapshot_id=1,
                now=NOW + timedelta(hours=hour),
                data_age_days=1,
                causes=["new_month"],
                first=False,
            )
        ours = transitions.c.location_code == "MLI"
        chain = connection.execute(sa.select(transitions).where(ours).order_by(transitions.c.id)).all()
        told = connection.execute(sa.select(deliveries.c.kind).order_by(deliveries.c.created_at)).scalars().all()
        state = connection.execute(
            sa.select(alert_states.c.state).where(alert_states.c.location_code == "MLI")
        ).scalar_one_or_none()
        begun.rollback()
    states = [OK, *(row.to_state for row in chain)]
    assert [row.from_state for row in chain] == states[:-1]
    assert all(a != b for a, b in pairwise(states))
    assert list(told) == [row.to_state for row in chain if row.to_state in (FIRING, RESOLVED)]
    if history:
        assert state == states[-1]


def test_a_crossing_is_a_state_a_transition_and_a_delivery(desk: Desk) -> None:
    changes = desk.evaluate(document(MLI=78.1, BFA=81.0), rule())
    assert [(c["location_code"], c["from_state"], c["to_state"]) for c in changes] == [
        ("MLI", OK, FIRING),
        ("BFA", OK, FIRING),
    ]
    assert desk.told() == [("firing", "MLI"), ("firing", "BFA")]
    assert {row.location_code: row.state for row in desk.rows(alert_states)}["SEN"] == OK
    payload = next(r.document for r in desk.rows(deliveries) if r.document["data"]["location_code"] == "MLI")
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
        "ALERT – Mali – Risk is very high. Risk score from 0 to 100: 78.1 (alert from 70, end below 65). "
        "Reason: a new month of data. Forecast no. 1 covers state-based violence and uses data up to 28 December 2022."
    )
    assert data["text"]["fr"] == (
        "ALERTE – Mali – Le risque est très élevé. Score de risque de 0 à 100\xa0: 78,1 "
        "(alerte à partir de 70, fin en dessous de 65). Raison\xa0: un nouveau mois de données. "
        "La prévision n°\xa01 porte sur la violence impliquant un État et utilise les données jusqu’au "
        "28 décembre 2022."
    )


def test_the_guide_names_every_key_of_a_payload(desk: Desk) -> None:
    desk.evaluate(document(MLI=78), rule())
    guide = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")
    section = guide[guide.index("## What a receiver gets") : guide.index("## When a message")]
    (delivery,) = desk.rows(deliveries)
    assert [key for key in delivery.document["data"] if f"`{key}`" not in section] == []
    assert [cause for cause in wording.CAUSES if f"| `{cause}` |" not in guide] == []


def test_a_run_that_finds_nothing_new_changes_nothing(desk: Desk) -> None:
    desk.evaluate(document(MLI=78.1), rule())
    before = desk.rows(alert_states)
    assert desk.evaluate(document(MLI=78.1), rule(), causes=()) == []
    assert desk.rows(alert_states) == before
    assert len(desk.rows(transitions)) == len(desk.rows(deliveries)) == 1


def test_pending_is_written_and_not_told(desk: Desk) -> None:
    patient = rule(**{"for": 2})
    (change,) = desk.evaluate(document(MLI=78), patient)
    assert change["to_state"] == PENDING
    assert desk.told() == []
    assert desk.firing() == []
    desk.evaluate(document("2023-01", MLI=78), patient)
    assert desk.told() == [("firing", "MLI")]


def test_a_revision_that_takes_it_back_clears_pending_and_says_so(desk: Desk) -> None:
    patient = rule(**{"for": 2})
    desk.evaluate(document(MLI=78), patient)
    (change,) = desk.evaluate(document(MLI=60), patient, causes=["revision"])
    assert (change["from_state"], change["to_state"], change["causes"]) == (PENDING, OK, ["revision"])
    assert "Reason: revised data." in change["text"]["en"]


def test_unknown_neither_clears_nor_fires_and_is_shown_with_its_reason(desk: Desk) -> None:
    desk.evaluate(document(MLI=78), rule())
    assert desk.evaluate(document("2023-01", MLI=None, BFA=None), rule()) == []
    (alert,) = desk.firing()
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
            "Reason: a new month of data and a new forecasting model. Forecast no. 1",
            "de données et un nouveau modèle de prévision. La prévision",
        ),
    ],
)
def test_a_change_says_why_it_came(desk: Desk, causes: list[str], en: str, fr: str) -> None:
    (change,) = desk.evaluate(document(MLI=78), rule(), causes=causes)
    assert en in change["text"]["en"]
    assert fr in change["text"]["fr"]


def test_data_grows_too_old_by_the_clock_and_is_about_the_region(desk: Desk) -> None:
    assert desk.evaluate(document(), AGE, age=99) == []
    (change,) = desk.evaluate(document(), AGE, causes=(), age=100)
    assert (change["location_code"], change["causes"]) == ("*", ["clock"])
    assert change["name"] == {"en": "Mali and its neighbours", "fr": "Mali et pays voisins"}
    assert "Reason: no new data for a long time. It does not reflect new events." in change["text"]["en"]
    (change,) = desk.evaluate(document("2023-01"), AGE, age=30)
    assert (change["to_state"], change["causes"]) == (RESOLVED, ["new_month"])
    assert desk.told() == [("firing", "*"), ("resolved", "*")]


def test_a_first_snapshot_is_one_summary_by_each_route(desk: Desk) -> None:
    elsewhere = rule(name="risk-60", fire_at=60, clear_at=50, route="analysts")
    unsent = rule(name="risk-50", fire_at=50, clear_at=50, route=None)
    changes = desk.evaluate(document(MLI=78.1, BFA=81, NER=66), rule(), elsewhere, unsent, AGE, first=True, age=500)
    assert all(change["causes"] == ["first"] for change in changes)
    assert len(changes) == 9
    assert len(desk.firing()) == 9
    summaries = {row.route: row.document for row in desk.rows(deliveries)}
    assert set(summaries) == {"duty", "analysts"}
    assert {payload["type"] for payload in summaries.values()} == {"alert.summary"}
    duty = summaries["duty"]["data"]
    assert [(a["rule"], a["location_code"]) for a in duty["alerts"]] == [
        ("very-high-risk", "MLI"),
        ("very-high-risk", "BFA"),
        ("data-too-old", "*"),
    ]
    assert duty["text"]["en"].splitlines()[1] == (
        "- Mali – Risk is very high. Risk score from 0 to 100: 78.1 (alert from 70, end below 65)."
    )
    assert "first forecast, 3 alerts" in duty["headline"]["en"]
    desk.evaluate(document("2023-01", MLI=60, BFA=81, NER=66), rule(), elsewhere, unsent, AGE, age=30)
    assert sorted(desk.told()[2:]) == [("resolved", "*"), ("resolved", "MLI")]


def test_a_first_snapshot_in_which_nothing_fires_is_told_too(desk: Desk) -> None:
    assert desk.evaluate(document(), rule(), first=True) == []
    (delivery,) = desk.rows(deliveries)
    assert delivery.document["data"]["alerts"] == []


def test_simulated_alerts_say_so_and_never_meet_real_ones(desk: Desk) -> None:
    (change,) = desk.evaluate(document(simulated=True, MLI=78), rule())
    assert change["simulated"] is True
    for language in ("en", "fr"):
        assert change["headline"][language].startswith("SIMULATED")
        assert change["text"][language].startswith("SIMULATED")
    assert len(desk.evaluate(document(MLI=78), rule(), first=True)) == 1
    assert [alert["simulated"] for alert in desk.firing()] == [False]
    assert [alert["simulated"] for alert in desk.firing(simulated=True)] == [True]
    summary = desk.rows(deliveries)[-1].document["data"]
    assert not summary["headline"]["en"].startswith("SIMULATED")


def test_the_summary_of_a_simulated_snapshot_says_so(desk: Desk) -> None:
    desk.evaluate(document(simulated=True, MLI=78), rule(), first=True)
    (delivery,) = desk.rows(deliveries)
    assert delivery.document["data"]["simulated"] is True
    assert delivery.document["data"]["text"]["fr"].startswith("SIMULATED")


def test_a_withdrawn_rule_ends_its_alerts_by_the_route_it_had(desk: Desk) -> None:
    desk.evaluate(document(MLI=78), rule(), rule(name="patient", **{"for": 3}))
    changes = desk.evaluate(document(MLI=78), rule(countries=["BFA"]), causes=())
    assert {(c["rule"], c["from_state"], c["to_state"]) for c in changes} == {
        ("very-high-risk", FIRING, RESOLVED),
        ("patient", PENDING, OK),
    }
    assert desk.told() == [("firing", "MLI"), ("resolved", "MLI")]
    assert desk.firing() == []
    resolved = desk.rows(deliveries)[-1].document["data"]
    assert (resolved["value"], resolved["reason"]) == (None, "rule_withdrawn")
    assert resolved["text"]["en"].startswith(
        "END OF ALERT – Mali – Risk is very high. Reason: a changed alert rule. It does not reflect new events."
    )
    assert desk.evaluate(document(MLI=78), rule(countries=["BFA"]), causes=()) == []


@pytest.mark.parametrize("first", [False, True])
def test_the_end_of_an_alert_is_not_announced_if_its_message_was_dismissed(desk: Desk, first: bool) -> None:
    desk.evaluate(document(MLI=78, BFA=81), rule(), first=first)
    (dismissed, *_) = [row.id for row in desk.rows(deliveries) if first or row.document["data"]["name"]["en"] == "Mali"]
    with desk.store.writing() as connection:
        outbox.cancel(connection, deliveries.c.id == dismissed)
    desk.evaluate(document("2023-01", MLI=10, BFA=10), rule())
    resolved = [code for kind, code in desk.told() if kind == "resolved"]
    assert resolved == ([] if first else ["BFA"])


def test_severest_alerts_stand_first(desk: Desk) -> None:
    desk.evaluate(document(MLI=78), rule(severity="info"), rule(name="worse", severity="severe"))
    assert [alert["severity"] for alert in desk.firing()] == ["severe", "info"]


def test_what_breaks_the_run_leaves_no_trace(desk: Desk) -> None:
    with pytest.raises(sa.exc.IntegrityError):  # two rules of one name: their states collide after the first transition
        desk.evaluate(document(MLI=78), rule(), rule())
    assert desk.rows(alert_states) == desk.rows(transitions) == desk.rows(deliveries) == []
