"""The scorecard of the hindcasts: scored from their files like issued forecasts, and shown beside them, never mixed."""

import csv
import io
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from recompute_support import COUNTRIES, NOW, OperatedHome

from riskmodel import bundle, hindcasts, scoring
from riskmodel.events.archive import Archive
from riskmodel.home import Home
from riskmodel.months import month
from service.cli.app import create_app
from service.drawing.verdict import with_texts
from service.jobs import hindcast_store
from service.snapshots.scorecard import EMPTY_SCORECARD, verdict
from service.store.context import Context
from service.store.tables import changes, scorecards, verifications
from training import hindcast
from training.hindcast import OutcomeHindcast

DEATHS = [10 + 10 * (i % 3) for i in range(25)]
"""Deaths in Mali of December 2019 to December 2021."""


@pytest.fixture
def operated(home: Home) -> OperatedHome:
    """A home with a snapshot of December 2021, and the hindcasts of the twelve origins before."""
    made = OperatedHome.ready(home, drivers=False)
    made.ingest_months("2021-12", MLI=DEATHS)
    made.run()
    compute(made)
    store(made)
    return made


def compute(operated: OperatedHome) -> None:
    path = bundle.champion(operated.home.models, simulated=False, outcome="state_based")
    assert path is not None
    wanted = OutcomeHindcast(Archive(operated.home.archive).view(), "MLI", bundle.load(path))
    hindcast.run(
        operated.home, [(wanted, wanted.missing(operated.home, wanted.origins(operated.home, 12)))], lambda: NOW
    )


def store(operated: OperatedHome, now: datetime = NOW) -> None:
    hindcast_store.store(Context(operated.home, operated.settings, operated.store, lambda: now))


def newest(operated: OperatedHome, basis: str) -> dict[str, Any]:
    documents: list[dict[str, Any]] = [row.document for row in operated.rows(scorecards) if row.basis == basis]
    return documents[-1]


def test_hindcasts_are_scored_like_issued_forecasts_in_a_scorecard_of_their_own(operated: OperatedHome) -> None:
    done = operated.verify(NOW)
    assert (done.scored, done.hindcast_scorecards) == (0, 1)
    assert operated.rows(verifications) == []
    assert newest(operated, "issued")["cases"] == 0
    card = newest(operated, "hindcast")
    cells = 12 * 13 // 2  # from each origin to December 2021: 12 months, 11, …, 1
    assert (card["cases"], card["origins"]) == (cells * len(COUNTRIES), 12)
    assert (card["first_month"], card["last_month"]) == ("2021-01", "2021-12")
    assert card["data_bases"] == {"as_known": 0, "final_figures": 12}
    assert card["challengers"] == []
    losses = []
    for origin, path in hindcasts.stored(operated.home, "MLI", simulated=False, outcome="state_based").items():
        of_origin = hindcasts.load(path)
        last = int((month("2021-12") - origin).astype(int))
        for iso3 in COUNTRIES:
            draws = of_origin.draws["served"][of_origin.iso3.index(iso3)][:last]
            observed = DEATHS[-last:] if iso3 == "MLI" else [0] * last
            losses += [float(scoring.crps(draws[i], np.array(observed[i]))) for i in range(last)]
    served = card["forecasters"][0]
    assert (served["forecaster"], served["cases"]) == ("served", len(losses))
    assert served["scores"]["crps"] == pytest.approx(np.mean(losses), abs=1e-5)
    assert {entry["forecaster"] for entry in card["forecasters"]} >= {"conflictology12", "ew4s", "zero"}
    recorded = [row.document for row in operated.rows(changes) if row.kind == "scorecard"]
    assert [each["basis"] for each in recorded] == ["issued", "hindcast"]


def test_it_is_computed_again_only_for_other_data_or_other_hindcasts(operated: OperatedHome) -> None:
    assert operated.verify(NOW).hindcast_scorecards == 1
    assert operated.verify(NOW).hindcast_scorecards == 0
    before = newest(operated, "hindcast")
    operated.ingest_months("2021-12", MLI=[*DEATHS[:-1], 500])
    assert operated.verify(NOW).hindcast_scorecards == 1
    revised = newest(operated, "hindcast")
    assert revised["forecasters"][0]["scores"]["crps"] > before["forecasters"][0]["scores"]["crps"]
    operated.put_model(seed=1)
    files = hindcasts.stored(operated.home, "MLI", simulated=False, outcome="state_based")
    files[month("2021-11")].unlink()
    compute(operated)
    operated.ingest_months("2021-12", MLI=[*DEATHS[:-1], 600])
    assert operated.verify(NOW).hindcast_scorecards == 0, "the rows are of another edition than the files"
    assert newest(operated, "hindcast") == revised
    store(operated, NOW + timedelta(hours=1))
    assert operated.verify(NOW).hindcast_scorecards == 1


def test_a_month_that_is_not_settled_does_not_count(operated: OperatedHome) -> None:
    operated.ingest_months("2022-01", known_since=NOW + timedelta(days=31), MLI=[*DEATHS, 44])
    operated.verify(NOW)
    card = newest(operated, "hindcast")
    assert (card["cases"], card["forecasters"]) == (0, [])
    assert {"location_code": "MLI", "months": [*(f"2021-{m:02}" for m in range(1, 13)), "2022-01"]} in card[
        "incomplete"
    ]


def test_both_are_served_apart_with_verdicts(operated: OperatedHome) -> None:
    client = create_app(operated.home, clock=lambda: NOW).test_client()
    without = client.get("/v1/scorecard").json["data"]["hindcast"]
    assert (without["cases"], without["reasons"]) == (0, {"forecasters": "no_hindcast"})
    assert without["verdict"]["text"] == {
        "en": "No verdict: no hindcast yet.",
        "fr": "Pas de bilan\xa0: pas encore de prévision rétrospective.",
    }
    assert "no hindcast yet" in client.get("/scorecard?lang=en").text
    operated.verify(NOW)
    data = create_app(operated.home, clock=lambda: NOW).test_client().get("/v1/scorecard").json["data"]
    assert (data["basis"], data["cases"], data["forecasters"]) == ("issued", 0, [])
    card = data["hindcast"]
    assert (card["basis"], card["cases"] > 0, card["reasons"]) == ("hindcast", True, {})
    assert card["verdict"]["text"]["en"].startswith("January 2021 to December 2021: better than repeating the last 12")
    rows = list(csv.DictReader(io.StringIO(client.get("/v1/scorecard.csv").text)))
    assert {row["basis"] for row in rows} == {"hindcast"}
    for code, texts in {
        "en": ("No forecast has been scored yet.", "Hindcasts in detail", "12 month-ends start from final figures"),
        "fr": ("Aucune prévision n’a encore été évaluée.", "Prévisions rétrospectives en détail", "12 fins de mois"),
    }.items():
        page = client.get(f"/scorecard?lang={code}").text
        assert card["verdict"]["text"][code] in page.replace("&#39;", "’")
        assert all(text in page for text in texts)
        assert "Issued forecasts in detail" not in page


def card(losses: Mapping[str, tuple[float, float | None, float]], within_90: float | None = 0.89) -> dict[str, Any]:
    """A scorecard with the difference from each baseline, between its ends, the same on all five losses."""
    differences = [
        {
            "against": name,
            "value": value,
            "low": low,
            "high": high,
            "reasons": {} if value is not None else {"value": "too_few_months"},
        }
        for name, (low, value, high) in losses.items()
        for _ in range(5)
    ]
    coverage = None if within_90 is None else {"within_90": within_90}
    return {
        **EMPTY_SCORECARD,
        "first_month": "2020-01",
        "last_month": "2022-12",
        "forecasters": [{"forecaster": "served", "coverage": coverage}],
        "differences": differences,
    }


def texts(of: dict[str, Any]) -> dict[str, str]:
    data = {**of, "verdict": verdict(of, "no_outcome_yet")}
    found: dict[str, str] = with_texts({**data, "hindcast": data})["hindcast"]["verdict"]["text"]
    return found


def test_a_verdict_counts_what_is_better_and_what_is_beyond_chance() -> None:
    found = texts(
        card({"conflictology12": (-0.2, -0.1, -0.02), "ew4s": (-0.1, -0.01, 0.05), "zero": (-1.0, -0.9, -0.8)})
    )
    assert found["en"] == (
        "January 2020 to December 2022: better than repeating the last 12 months on 5 of 5 measures "
        "(beyond chance: better on 5, worse on 0). "
        "Better than the best simple forecast, a smoothed history, on 5 of 5 "
        "(beyond chance: better on 0, worse on 0). "
        "The 90% interval held 89% of the observed values in countries with deaths."
    )
    assert "5 des 5 mesures (au-delà du hasard\xa0: meilleures pour 5, moins bonnes pour 0)" in found["fr"]
    worse = texts(card({"conflictology12": (0.02, 0.05, 0.1)}, within_90=None))["en"]
    assert worse.endswith("repeating the last 12 months on 0 of 5 measures (beyond chance: better on 0, worse on 5).")


def test_a_verdict_says_why_there_is_none() -> None:
    assert texts(card({"conflictology12": (0.0, None, 0.0)}))["en"] == "No verdict: too few months so far."
    assert texts(card({}))["en"] == "No verdict: no observation yet."
