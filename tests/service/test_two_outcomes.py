"""One snapshot has both outcomes: scores, draws, verification, alerts and withdrawal, and why one is missing."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from recompute_support import OperatedHome

from riskmodel import bundle
from riskmodel.alerting import rule_file
from riskmodel.bands import DEFAULT_BANDS
from riskmodel.bundle import CHAMPION
from riskmodel.forecasting.baselines import Conflictology, History
from riskmodel.home import Home
from riskmodel.outcomes import OUTCOMES, ranked
from service.alerts import alert_list
from service.jobs import attribution
from service.jobs.withdrawal import withdraw
from service.snapshots import (
    as_of,
    change_feed,
    diff,
    feeds,
    history,
    ledger,
    score_history,
    snapshot_cache,
    snapshot_view,
)
from service.snapshots.outcome_parts import OutcomeMissing, available, of_outcome
from service.store.tables import (
    alert_states,
    changes,
    deliveries,
    forecasts,
    scorecards,
    scores,
    snapshots,
    verifications,
)
from service.store.tables import transitions as transitions_table

MODELS = {"all": Conflictology(), "state_based": History()}
RULES = """
[[rule]]
name = "any"
title = { en = "Risk", fr = "Risque" }
metric = "risk_score"
fire_at = 1
clear_at = 1
severity = "info"
route = "duty"

[[rule]]
name = "massacres"
title = { en = "Risk to civilians", fr = "Risque pour les civils" }
metric = "risk_score"
outcome = "all"
fire_at = 1
clear_at = 1
countries = ["MLI"]
severity = "info"
route = "staff"

[[rule]]
name = "armies"
title = { en = "Risk of war", fr = "Risque de guerre" }
metric = "risk_score"
outcome = "state_based"
fire_at = 1
clear_at = 1
countries = ["MLI"]
severity = "info"
route = "duty"
"""


def moment(end: int) -> datetime:
    """The moment of the run on the data up to month `end` of 2021."""
    return datetime(2021, end + 1, 3, tzinfo=UTC)


def put_models(home: OperatedHome, *outcomes: str) -> None:
    for outcome in outcomes:
        home.put_model(MODELS[outcome], outcome=outcome)


def ingest_month(home: OperatedHome, end: int) -> None:
    """Ingest data up to month `end` of 2021: twice as many state-based deaths in Mali as a month before."""
    home.ingest_months(f"2021-{end:02}", massacres=12, MLI=[5 * 2**each for each in range(end)])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, one_database: None) -> OperatedHome:
    """A home with a model of each outcome, after three months; one rule is on the headline, one on a type."""
    made = OperatedHome(tmp_path_factory.mktemp("both") / "home", drivers=False)
    made.home.alert_rules.write_text(RULES)
    put_models(made, *OUTCOMES)
    for end in (1, 2, 3):
        ingest_month(made, end)
        made.run(moment(end))
        made.verify(moment(end))
    return made


def test_one_snapshot_has_both_outcomes(both: OperatedHome) -> None:
    issued = [row.document for row in both.rows(snapshots)]
    assert [available(document) for document in issued] == [OUTCOMES] * 3
    assert {json.dumps(document["missing_outcomes"]) for document in issued} == {"{}"}
    assert [document["causes"] for document in issued] == [["first"], ["new_month"], ["new_month"]]
    flat = {outcome: of_outcome(issued[-1], outcome) for outcome in OUTCOMES}
    assert of_outcome(issued[-1]) == flat["all"], "the headline is all organised violence"
    for outcome, document in flat.items():
        assert (document["outcome"], document["origin"], document["causes"]) == (outcome, "2021-03", ["new_month"])
        assert document["model"]["id"].startswith(f"{outcome}-")
        assert document["data"] == issued[-1]["data"]
    pairs = zip(flat["all"]["countries"], flat["state_based"]["countries"], strict=True)
    deaths = [[sum(each["deaths"] or 0 for each in row["observed"]) for row in pair] for pair in pairs]
    assert all(of_all >= of_state for of_all, of_state in deaths)
    assert any(of_all > of_state for of_all, of_state in deaths)


def test_the_rows_of_scores_name_their_outcome(both: OperatedHome) -> None:
    rows = both.rows(scores)
    assert {(row.snapshot_id, row.outcome) for row in rows} == {(n, outcome) for n in (1, 2, 3) for outcome in OUTCOMES}
    assert len(rows) == 3 * 2 * 8
    with both.store.reading() as connection:
        for outcome in OUTCOMES:
            key = score_history.CountryKey("MLI", False, outcome, "MLI")
            entries = score_history.entries(connection, key, score_history.END, 99)
            document = of_outcome(both.rows(snapshots)[-1].document, outcome)
            assert [entry["outcome"] for entry in entries] == [outcome] * 3
            assert entries[0]["risk_score"] == document["countries"][0]["risk_score"]
            listed = history.entries(connection, "MLI", False, 1, outcome=outcome)
            assert [(entry["outcome"], entry["model_id"]) for entry in listed] == [(outcome, document["model"]["id"])]
        assert history.entries(connection, "MLI", False, 1)[0]["outcome"] == "all"


def test_the_draws_of_both_outcomes_are_stored_and_covered_by_the_digest(both: OperatedHome) -> None:
    rows = [row for row in both.rows(forecasts) if row.snapshot_id == 3 and row.location_code == "MLI"]
    document = both.rows(snapshots)[-1].document
    for row in rows:
        assert document["outcomes"][row.outcome]["forecasts"][row.forecaster]["MLI"] == row.digest
        table = pq.read_table(io.BytesIO(row.parquet))
        assert set(table["outcome"].to_pylist()) == {row.outcome}
    served = {row.outcome: row for row in rows if row.role == "served"}
    assert served.keys() == set(OUTCOMES)
    assert served["all"].digest != served["state_based"].digest
    assert {row.forecaster for row in rows if row.outcome == "all" and row.role == "baseline"} == {
        row.forecaster for row in rows if row.outcome == "state_based" and row.role == "baseline"
    }
    with both.store.reading() as connection:
        assert ledger.check(connection).faults == ()


def test_both_outcomes_are_scored_apart(both: OperatedHome) -> None:
    rows = both.rows(verifications)
    zero = {
        outcome: {
            (row.snapshot_id, row.location_code, row.lead, row.months): row.observed
            for row in rows
            if (row.outcome, row.forecaster) == (outcome, "zero")
        }
        for outcome in OUTCOMES
    }
    assert zero["all"].keys() == zero["state_based"].keys()
    assert all(observed >= zero["state_based"][key] for key, observed in zero["all"].items())
    assert zero["all"] != zero["state_based"]
    newest = {row.outcome: row.document for row in both.rows(scorecards)}
    assert {outcome: card["cases"] for outcome, card in newest.items()} == {"all": 21, "state_based": 21}
    losses = {
        outcome: next(each["scores"]["crps"] for each in card["forecasters"] if each["forecaster"] == "zero")
        for outcome, card in newest.items()
    }
    for outcome in OUTCOMES:
        single = [row.scores["crps"] for row in rows if row.outcome == outcome and row.forecaster == "zero"]
        assert losses[outcome] == pytest.approx(np.mean(single), abs=1e-6)
    recorded = [row for row in both.rows(changes) if row.kind == "scorecard"]
    assert {row.outcome for row in recorded} == set(OUTCOMES)


def test_each_change_names_its_outcome(both: OperatedHome) -> None:
    with both.store.reading() as connection:
        start = change_feed.start(connection, "MLI", False)
        entries = change_feed.since(connection, start, False, 999, moment(4)).data
    outcomes_by_kind: dict[str, set[str | None]] = {}
    for entry in entries:
        outcomes_by_kind.setdefault(entry["kind"], set()).add(entry["outcome"])
    assert outcomes_by_kind["snapshot"] == {None}
    assert outcomes_by_kind["alert"] == set(OUTCOMES)
    documents = [row.document for row in both.rows(snapshots)]
    changed = [
        (number + 2, outcome, row["location_code"], old["band"], row["band"])
        for number, (before, after) in enumerate(pairwise(documents))
        for outcome in OUTCOMES
        for old, row in zip(
            of_outcome(before, outcome)["countries"], of_outcome(after, outcome)["countries"], strict=True
        )
        if old["band"] != row["band"]
    ]
    recorded = [
        tuple(entry[key] for key in ("snapshot_id", "outcome", "location_code", "from_band", "to_band"))
        for entry in entries
        if entry["kind"] == "band"
    ]
    assert sorted(recorded) == sorted(changed)


def test_a_rule_on_one_outcome_stands_beside_a_rule_on_the_headline(both: OperatedHome) -> None:
    states = {(row.rule, row.outcome) for row in both.rows(alert_states)}
    assert states == {("any", "all"), ("massacres", "all"), ("armies", "state_based")}
    document = both.rows(snapshots)[-1].document
    values = {(row.rule, row.location_code): row.value for row in both.rows(alert_states)}
    for name, outcome in (("any", "all"), ("armies", "state_based")):
        assert values[name, "MLI"] == of_outcome(document, outcome)["countries"][0]["risk_score"]
    with both.store.reading() as connection:
        firing = {alert["rule"]: alert for alert in alert_list.listed(connection, "MLI", False)}
    assert firing["any"]["headline"]["en"].endswith("Risk (all organised violence)")
    assert firing["armies"]["headline"]["fr"].endswith("Risque de guerre (conflits impliquant un État)")
    summaries = {row.route: row.document["data"] for row in both.rows(deliveries) if row.kind == "summary"}
    assert {alert["rule"] for alert in summaries["staff"]["alerts"]} == {"massacres"}
    summary = summaries["duty"]
    assert summary["outcomes"] == list(OUTCOMES)
    assert {(alert["rule"], alert["outcome"]) for alert in summary["alerts"]} >= {
        ("any", "all"),
        ("armies", "state_based"),
    }
    assert "first forecast of all organised violence and state-based conflict" in summary["text"]["en"]


def test_readers_take_the_headline_or_the_outcome_that_they_name(both: OperatedHome) -> None:
    with both.store.reading() as connection:
        how: dict[str, Any] = {"simulated": False}
        for outcome, expected in ((None, "all"), ("all", "all"), ("state_based", "state_based")):
            served = snapshot_view.in_service(connection, both.settings, **how, now=moment(4), outcome=outcome)
            assert served is not None
            assert served.document["outcome"] == snapshot_view.meta(served)["outcome"] == expected
            past = as_of.issued_snapshot(connection, both.settings, **how, moment=moment(2), outcome=outcome)
            assert past is not None
            assert (past.id, past.document["outcome"]) == (2, expected)
            before, after = (snapshot_cache.snapshot(connection, number) for number in (1, 3))
            assert before is not None
            assert after is not None
            compared = diff.between(before, after, outcome)
            assert compared["after"]["model_id"] == served.document["model"]["id"]
            assert f"--outcome {expected}" in compared["attribution"]["en"]
            feed = feeds.scores(connection, "MLI", False, moment(4), "", outcome).decode()
            assert {"all": "all organised violence", "state_based": "state-based conflict"}[expected] in feed
    changed = [attribution.between(both.home, both.store, 2, 3, outcome) for outcome in OUTCOMES]
    assert [each["outcome"] for each in changed] == list(OUTCOMES)
    assert changed[0]["countries"] != changed[1]["countries"]


def test_the_command_line_names_the_outcome(both: OperatedHome, vigie: Callable[..., Any]) -> None:
    home = ("--home", both.home.root)
    assert vigie(*home, "scores").out.startswith("all organised violence, data as of 2021-03-31")
    assert vigie(*home, "scores", "--outcome", "state_based").out.startswith("state-based conflict, ")
    listed = json.loads(vigie(*home, "snapshots", "--outcome", "state_based", "--format", "json").out)
    assert [entry["outcome"] for entry in listed] == ["state_based"] * 3
    assert "state-based conflict" in vigie(*home, "changed", 2, 3, "--outcome", "state_based").out


def test_withdrawal_takes_back_both_outcomes(both: OperatedHome) -> None:
    bands = len([row for row in both.rows(changes) if row.kind == "band" and row.snapshot_id == 3])
    withdraw(both.store, rule_file.load(both.home, DEFAULT_BANDS), 3, "a wrong file", moment(4))
    with both.store.reading() as connection:
        for outcome in OUTCOMES:
            served = snapshot_view.in_service(
                connection, both.settings, simulated=False, now=moment(4), outcome=outcome
            )
            assert served is not None
            assert (served.id, served.withdrawn and served.withdrawn.snapshot_id) == (2, 3)
    withdrawn, *back = [row for row in both.rows(changes) if row.snapshot_id in (2, 3)][-1 - bands :]
    assert (withdrawn.kind, withdrawn.outcome) == ("withdrawal", None)
    assert {row.kind for row in back} <= {"band"}
    document = both.rows(snapshots)[1].document
    values = {(row.rule, row.location_code): row.value for row in both.rows(alert_states)}
    assert values["armies", "MLI"] == of_outcome(document, "state_based")["countries"][0]["risk_score"]


def test_an_outcome_without_a_model_is_missing_and_its_alerts_go_over_to_the_other(
    both: OperatedHome, vigie: Callable[..., Any]
) -> None:
    bundle.pointer(both.home.models, CHAMPION, simulated=False, outcome="all").unlink()
    ingest_month(both, 4)
    both.run(moment(4))
    document = both.rows(snapshots)[-1].document
    assert (document["missing_outcomes"], available(document)) == ({"all": "no_model"}, ("state_based",))
    with pytest.raises(OutcomeMissing, match=r"snapshot 4 has no forecast of all organised violence \(all\): no model"):
        of_outcome(document, "all")
    newest = [row for row in both.rows(transitions_table) if row.snapshot_id == 4]
    ended = [row for row in newest if row.to_state == "expired"]
    assert {(row.rule, row.outcome, row.document["reason"]) for row in ended} == {("any", "all", "other_outcome")}
    began = [row for row in newest if row.to_state == "firing"]
    assert {(row.rule, row.outcome) for row in began} == {("any", "state_based")}
    assert all(row.document["causes"] == ["outcome", "new_month"] for row in began)
    for row in ended:  # the snapshot does not have the outcome that the alert was about
        assert "(all organised violence). This is not an all-clear" in row.document["text"]["en"]
        assert "Data (forecast of state-based conflict): up to 30 April 2021" in row.document["text"]["en"]
    lost = {row.route: row.document["data"] for row in both.rows(deliveries) if row.kind == "missing"}
    assert set(lost) == {"duty", "staff"}, "each route of a rule that used it, named or as the headline"
    for message in lost.values():
        assert (message["outcome"], message["reason"], message["snapshot_id"]) == ("all", "no_model", 4)
        assert message["text"]["en"] == (
            "NO FORECAST – Mali and its neighbours – all organised violence. Reason: no model of these deaths is in "
            "service. Until this forecast is back, there are no new alerts about these deaths. Data (forecast of "
            "state-based conflict): up to 30 April 2021 (3 days ago)."
        )
        assert "Raison\xa0: aucun modèle" in message["text"]["fr"]
    printed = vigie("--home", both.home.root, "alerts", "list").out
    assert "(all organised violence): risk_score unknown: no model of these deaths is in service, since" in printed
    both.run(moment(4))
    assert len([row for row in both.rows(deliveries) if row.kind == "missing"]) == 2, "it is sent once"
    put_models(both, "all")
    both.run(moment(5))
    document = both.rows(snapshots)[-1].document
    assert (available(document), document["missing_outcomes"]) == (OUTCOMES, {})
    assert (document["outcomes"]["all"]["causes"], document["outcomes"]["state_based"]["causes"]) == (["first"], [])
    last = {row.route: row.document["data"] for row in both.rows(deliveries, "created_at") if row.kind == "summary"}
    assert {tuple(summary["outcomes"]) for summary in last.values()} == {("all",)}
    listed = {route: {alert["rule"] for alert in summary["alerts"]} for route, summary in last.items()}
    assert listed == {"duty": {"any"}, "staff": {"massacres"}}, "also what fired before the forecast was missing"


def test_sources_of_one_type_alone_give_one_outcome(home: Home, vigie: Callable[..., Any]) -> None:
    operated = OperatedHome.ready(home, drivers=False)
    operated.put_model(outcome="all")
    operated.run()
    document = operated.rows(snapshots)[-1].document
    assert (document["missing_outcomes"], available(document)) == ({"all": "only_state_based"}, ("state_based",))
    why = "no forecast of all organised violence: no source in the archive counts the deaths of all types of violence"
    assert why in " ".join(vigie("--home", home.root, "scores").out.split())
    with pytest.raises(OutcomeMissing, match="no source in the archive counts the deaths of all types"):
        of_outcome(document, "all")


def test_the_headline_is_all_violence_unless_its_data_end_earlier() -> None:
    assert ranked({"state_based": "2022-12", "all": "2022-12"}) == ["all", "state_based"]
    assert ranked({"state_based": "2022-12"}) == ["state_based"]
    assert ranked({"all": "2022-11", "state_based": "2022-12"}) == ["state_based", "all"]
