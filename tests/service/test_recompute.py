"""Recompute: the content of a snapshot, the causes of a change, unchanged and withdrawn input, and kills."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ged
import numpy as np
import pytest
from receivers import HookReceiver
from recompute_support import NOW, OperatedHome
from snapshot_documents import nested

from riskmodel import geography
from riskmodel.alerting import rule_file
from riskmodel.errors import BadInput, Refused
from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.forecasting.baselines import Conflictology, History
from riskmodel.forecasting.escalation import RULE, Escalation
from riskmodel.home import Home
from riskmodel.ingest import ingest
from riskmodel.months import month
from riskmodel.sources.displacement import DisplacementFile
from riskmodel.sources.monthly import MonthlyFile
from riskmodel.sources.ucdp import GedFile
from service.alerts import lifecycle
from service.cli.app import create_app
from service.jobs import recompute
from service.jobs.snapshot_chain import causes
from service.jobs.withdrawal import withdraw
from service.store.context import Context
from service.store.tables import changes, deliveries, runs, snapshots, transitions
from service.store.values import canonical

INGESTED = datetime(2023, 1, 1, tzinfo=UTC)
"""Too early for the newest months to be final."""


@pytest.fixture
def operated(home: Home) -> OperatedHome:
    """A home before its first run."""
    return OperatedHome.ready(home, INGESTED)


def test_a_snapshot_has_its_data_model_and_scores(operated: OperatedHome) -> None:
    result = operated.run()
    assert (result.issued, result.snapshot_id) == (True, 1)
    document = operated.newest_document
    assert (document["origin"], document["data_as_of"], document["outcome"]) == ("2021-12", "2021-12-31", "state_based")
    assert (document["simulated"], document["causes"], document["source"]) == (False, ["first"], "country-month table")
    assert document["data"]["digest"] == Archive(operated.home.archive).view().digest
    assert [ingest["id"] for ingest in document["data"]["ingests"]] == ["0001"]
    assert tuple(country["location_code"] for country in document["countries"]) == geography.region("MLI").members
    mali = document["countries"][0]
    assert (mali["reference_period_start"], mali["reference_period_end"]) == ("2022-01-01", "2022-03-31")
    assert mali["expected_deaths"] == 90
    assert mali["risk_score"] == 50.0, "90 deaths for certain: the rungs 1, 5 and 25 of six"
    assert [seen["deaths"] for seen in mali["observed"]] == [2] * 24 + [30] * 12
    (source,) = mali["sources"]
    assert source == {
        "ingest": "0001",
        "source": "country-month table",
        "release": None,
        "first": "2017-01",
        "last": "2021-12",
    }


def test_escalation_is_that_of_its_model_and_explanations_are_of_the_draws(operated: OperatedHome) -> None:
    """Mali had 40 deaths a month, and none lately: of its own 24 sums, all except the last reach 25."""
    operated.ingest_months("2022-01", MLI=[40] * 30 + [0, 0, 0])
    operated.put_model(History(months=60, half_life=6.0), Escalation(chosen=RULE))
    operated.run()
    mali = operated.newest_document["countries"][0]
    assert (mali["escalation_model"], mali["onset_model"]) == ("h24", "draws")
    assert mali["escalation_probability"] == round(23 / 24, 4)
    assert mali["escalation_from_draws"] != mali["escalation_probability"]
    for target, scale in (("risk_score", 1), ("escalation_from_draws", 100)):
        for split in mali["drivers"][target].values():
            assert split["value"] == pytest.approx(scale * mali[target], abs=1e-9)
            assert split["value"] - split["average"] == pytest.approx(split["difference"], abs=0.01)
    assert "escalation_probability" not in mali["drivers"]
    sentence = mali["drivers"]["escalation_from_draws"]["own_year"]["sentence"]["en"]
    assert f"(from the draws) {100 * mali['escalation_from_draws']:.1f}%" in sentence
    fired = {(row.rule, row.location_code): row for row in operated.rows(transitions)}
    assert fired["escalation", "MLI"].document["value"] == mali["escalation_probability"]
    mauritania = operated.newest_document["countries"][5]
    for name in ("escalation_model", "escalation_from_draws", "onset_model"):
        assert (mauritania[name], mauritania["reasons"][name]) == (None, "no_history")


def test_a_country_without_data_is_null_with_a_reason(operated: OperatedHome) -> None:
    operated.run()
    (mauritania,) = (row for row in operated.newest_document["countries"] if row["location_code"] == "MRT")
    assert (mauritania["risk_score"], mauritania["band"], mauritania["expected_deaths"]) == (None, None, None)
    assert mauritania["reasons"]["risk_score"] == "no_history"
    assert {seen["deaths"] for seen in mauritania["observed"]} == {None}


def test_newer_months_that_do_not_count_are_named(
    operated: OperatedHome, vigie: Callable[..., Any], tmp_path: Path
) -> None:
    operated.run()
    client = create_app(operated.home, clock=lambda: NOW).test_client()
    assert client.get("/v1/scores").json["newer_data"] == {}
    path = tmp_path / "mali.csv"
    path.write_text("iso3,month,deaths_state_based\nMLI,2022-01,5\nMLI,2022-02,6\n")
    ingest(Archive(operated.home.archive), MonthlyFile(path), now=INGESTED)
    operated.run(NOW + timedelta(hours=1))
    scores = client.get("/v1/scores").json
    assert (scores["origin"], scores["newer_data"]) == ("2021-12", {"MLI": "2022-02"})
    table = vigie("scores", "--home", operated.home.root).out
    assert "newer data: Mali to 2022-02; a month counts when at least half of the countries have data for it" in table
    page = client.get("/?lang=en").get_data(as_text=True)
    assert "Newer data that do not count yet: Mali (February 2022). A month counts when at least half" in page
    french = client.get("/?lang=fr").get_data(as_text=True)
    assert "Données plus récentes, pas encore prises en compte : Mali (février 2022). Un mois compte" in french


def test_figures_that_are_old_enough_to_be_final_are_not_revised(operated: OperatedHome) -> None:
    operated.run()
    mali, mauritania = (operated.newest_document["countries"][i] for i in (0, 5))
    assert (mali["latest_month"]["release_class"], mali["expected_deaths"]) == ("final", 90)
    assert {mali["latest_month"][name] for name in ("reported", "expected_final", "p05", "p95")} == {30}
    assert {key for month in mali["observed"] for key in month} == {"month", "deaths"}
    assert (mauritania["latest_month"], mauritania["reasons"]["latest_month"]) == (None, "no_history")
    assert (mali["data_quality"], operated.newest_document["data_quality"]) == ([], [])


def test_the_forecast_starts_from_expected_deaths_and_the_chart_from_reported_ones(home: Home, tmp_path: Path) -> None:
    """Each month has one event; the candidate release reports half of its deaths."""
    operated, countries = (
        OperatedHome(home.root, INGESTED),
        {"MLI": ged.MALI, "NER": ged.NIGER, "BFA": ged.BURKINA_FASO},
    )

    def release(number: str, first: str, last: str, best: int) -> None:
        months = np.arange(month(first), month(last) + 1)
        rows = [
            {"id": 1000 * code + int(m.astype(int)), "date": f"{m}-05", "country_id": code, "best": best, "high": best}
            for code in countries.values()
            for m in months
        ]
        covers = [Coverage(iso3, months[0], months[-1]) for iso3 in countries]
        source = GedFile(ged.write(tmp_path / f"{number}.csv", *rows))
        ingest(Archive(home.archive), source, covers=covers, release=number, now=INGESTED)

    for m in range(1, 13):
        release(f"20.0.{m}", f"2020-{m:02}", f"2020-{m:02}", 50)
    release("21.1", "2016-01", "2020-12", 100)
    release("21.0.1", "2021-01", "2021-01", 50)
    operated.put_model()
    operated.run()
    assert operated.newest_document["origin"] == "2021-01"
    mali = operated.newest_document["countries"][0]
    newest = mali["observed"][-1]
    assert mali["latest_month"] == {key: value for key, value in newest.items() if key != "deaths"}
    assert (newest["month"], newest["reported"], newest["release_class"]) == ("2021-01", 50, "monthly_candidate")
    assert 70 < newest["expected_final"] < 100, "twelve months of vintages, and what is usual"
    assert newest["p05"] < newest["p25"] < newest["expected_final"] < newest["p95"]
    assert [seen["deaths"] for seen in mali["observed"]] == [100] * 35 + [50]
    assert np.expm1(mali["indicators"]["deaths_1m"]) == pytest.approx(round(newest["expected_final"]), rel=1e-3)
    assert 250 < mali["expected_deaths"] < 300


def test_a_country_without_new_reports_has_a_warning(operated: OperatedHome) -> None:
    operated.ingest_months("2022-03", MLI=[30] * 12 + [0] * 3)
    operated.run()
    mali, niger = (operated.newest_document["countries"][i] for i in (0, 6))
    ((warning,), nothing) = mali["data_quality"], niger["data_quality"]
    assert (warning["code"], warning["months"]) == ("few_reports", 3)
    assert 0 < warning["probability"] < 0.01
    assert (niger["location_code"], nothing) == ("NER", [])
    assert operated.newest_document["data_quality"] == [warning], "Mali is the only country with events"


def test_snapshots_are_chained_by_digest(operated: OperatedHome) -> None:
    operated.run()
    operated.ingest_months("2022-01", MLI=[30] * 13)
    operated.run(NOW + timedelta(days=31))
    first, second = operated.rows(snapshots)
    for row in (first, second):
        assert hashlib.sha256(canonical(row.document).encode()).hexdigest() == row.digest
        assert row.document["id"] == row.id
    assert (first.previous_digest, second.previous_digest) == (None, first.digest)
    assert second.document["previous_digest"] == first.digest


def test_an_unchanged_input_issues_no_snapshot(operated: OperatedHome) -> None:
    operated.run()
    done = operated.run(NOW + timedelta(hours=1))
    assert (done.issued, done.snapshot_id) == (False, 1)
    assert [(run.status, run.snapshot_id) for run in operated.rows(runs)] == [("snapshot", 1), ("unchanged", 1)]
    assert len(operated.rows(snapshots)) == 1


def test_the_causes_of_a_new_snapshot(operated: OperatedHome) -> None:
    operated.run()
    operated.ingest_months("2022-01", MLI=[30] * 13)
    operated.run()
    assert operated.newest_document["causes"] == ["new_month"]
    operated.ingest_months("2022-01", MLI=[30] * 12 + [90])
    operated.run()
    assert operated.newest_document["causes"] == ["revision"]
    operated.put_model(History())
    operated.run()
    assert operated.newest_document["causes"] == ["model"]
    operated.ingest_months("2022-02", MLI=[30] * 12 + [91, 5])
    operated.put_model(Conflictology())
    operated.run()
    assert operated.newest_document["causes"] == ["new_month", "revision", "model"]
    operated.run(settings=operated.settings.model_copy(update={"bands": {"calm": 0.0, "grave": 40.0}}))
    assert operated.newest_document["causes"] == ["settings"]
    assert operated.newest_document["countries"][0]["band"] == "grave"


def test_a_change_of_the_setting_drivers_is_no_revision(operated: OperatedHome) -> None:
    without = operated.settings.model_copy(update={"drivers": False})
    operated.run()
    operated.run(settings=without)
    assert operated.newest_document["causes"] == ["settings"]
    operated.run()
    assert operated.newest_document["causes"] == ["settings"]


def test_a_new_kind_of_data_for_the_indicators_is_a_new_source(operated: OperatedHome, tmp_path: Path) -> None:
    def displace(persons: int) -> None:
        path = tmp_path / f"{persons}.csv"
        header = "ISO3,Name,Year,Conflict Stock Displacement,Conflict New Displacements\n"
        path.write_text(header + f"MLI,Mali,2020,{persons},10\n")
        ingest(Archive(operated.home.archive), DisplacementFile(path), now=INGESTED)

    operated.run()
    displace(1000)
    assert operated.run().issued
    assert operated.newest_document["causes"] == ["new_source"]
    displace(2000)
    assert operated.run().issued
    assert operated.newest_document["causes"] == ["revision"], "the same source, revised"


def test_another_version_of_vigie_is_another_model(operated: OperatedHome) -> None:
    operated.run()
    before = operated.newest_document
    after = nested({**before, "model": {**before["model"], "vigie": "99"}})
    assert causes(nested(before), after) == {"state_based": ["model"]}


def test_transitions_are_written_in_the_snapshots_transaction(
    operated: OperatedHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    operated.run()
    operated.ingest_months("2022-01", MLI=[900] * 13)

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(lifecycle, "evaluate", fail)
        with pytest.raises(OSError, match="full"):
            operated.run()
    assert (len(operated.rows(snapshots)), operated.rows(runs)[-1].status) == (1, "failed")
    stored = len(operated.rows(transitions))
    assert operated.run().transitions > 0
    assert len(operated.rows(snapshots)) == 2
    assert len(operated.rows(transitions)) > stored


def test_the_age_of_the_data_is_checked_at_every_run(operated: OperatedHome) -> None:
    operated.run()
    before = [row.rule for row in operated.rows(transitions)]
    done = operated.run(NOW + timedelta(days=365))
    assert not done.issued
    new = [row for row in operated.rows(transitions) if row.rule not in before]
    assert [(row.to_state, row.document["causes"]) for row in new] == [("firing", ["clock"])]


def test_a_run_without_a_model_is_stored_as_failed_with_its_reason(home: Home) -> None:
    operated = OperatedHome(home.root, INGESTED)
    with pytest.raises(BadInput, match="empty"):
        operated.run()
    operated.ingest_months("2021-12")
    with pytest.raises(BadInput, match="vigie train"):
        operated.run()
    stored = operated.rows(runs)
    assert [run.status for run in stored] == ["failed", "failed"]
    assert "vigie train" in stored[1].error
    assert str(home.root) not in stored[1].error


def test_an_altered_model_is_refused_and_the_last_snapshot_stays(operated: OperatedHome) -> None:
    operated.run()
    file = next(operated.home.models.glob("*/model.pickle"))
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    operated.ingest_months("2022-01")
    with pytest.raises(Refused, match="digest"):
        operated.run()
    assert [run.status for run in operated.rows(runs)] == ["snapshot", "failed"]
    assert len(operated.rows(snapshots)) == 1


def test_the_first_snapshot_sends_one_summary(operated: OperatedHome) -> None:
    operated.home.settings.write_text(
        '[routes.duty]\ntype = "webhook"\nurl = "http://127.0.0.1:9/"\nsecret = "whsec_dGVzdC1rZXktYnl0ZXM="\n'
    )
    operated.home.alert_rules.write_text(
        '[[rule]]\nname = "grave"\nmetric = "risk_score"\nfire_at = 10\nclear_at = 5\nseverity = "warning"\n'
        'route = "duty"\ntitle = {en = "Grave", fr = "Grave"}\n'
    )
    operated.ingest_months("2021-12", MLI=[30] * 12, NER=[40] * 12)
    operated.run()
    assert [(row.kind, row.route) for row in operated.rows(deliveries, "created_at")] == [("summary", "duty")]
    operated.ingest_months("2022-01", MLI=[30] * 12, NER=[40] * 12, BFA=[90] * 12)
    operated.run()
    kinds = [(row.kind, row.document["data"].get("location_code")) for row in operated.rows(deliveries, "created_at")]
    assert kinds[1:] == [("firing", "BFA")]


def test_a_run_killed_at_any_moment_leaves_the_old_or_the_new_snapshot(operated: OperatedHome) -> None:
    operated.run()
    command = [sys.executable, "-m", "riskmodel", "--home", str(operated.home.root), "recompute"]
    operated.ingest_months("2022-01", MLI=[30] * 12 + [400])
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    duration = time.monotonic() - started
    for step in (1, 3):
        operated.ingest_months("2022-01", MLI=[30] * 12 + [400 + step])
        before = operated.rows(snapshots)
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(duration * (0.4 + step / 6))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        after = operated.rows(snapshots)
        assert after[: len(before)] == before
        assert len(after) - len(before) in (0, 1)
    done = operated.run()
    chain = operated.rows(snapshots)
    assert chain[-1].id == done.snapshot_id
    assert [row.previous_digest for row in chain[1:]] == [row.digest for row in chain[:-1]]
    assert {run.status for run in operated.rows(runs)} <= {"snapshot", "unchanged", "failed"}


def test_a_run_tells_the_monitor_that_it_starts_and_how_it_ends(
    operated: OperatedHome, vigie: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with HookReceiver().listening() as receiver:
        monkeypatch.setenv("VIGIE_HEARTBEAT_URL", receiver.url("/alive"))
        monkeypatch.setenv("VIGIE_ALLOW_PRIVATE_WEBHOOKS", '["127.0.0.1"]')
        assert vigie("recompute").code == 0
        assert receiver.paths == ["/alive/start", "/alive"]
        next(operated.home.models.glob("*/model.pickle")).unlink()
        assert vigie("recompute").code == 1
        assert receiver.paths[2:] == ["/alive/start", "/alive/fail"]


def test_data_get_too_old_also_while_runs_fail(operated: OperatedHome) -> None:
    operated.home.alert_rules.write_text(
        '[[rule]]\nname = "old"\ntitle = { en = "Old data", fr = "Données anciennes" }\nmetric = "data_age_days"\n'
        'fire_at = 100\nclear_at = 100\nseverity = "warning"\nroute = "duty"\n'
    )
    operated.run(datetime(2022, 1, 15, tzinfo=UTC))
    next(operated.home.models.glob("*/model.pickle")).unlink()
    for number in (2, 6, 7):
        with pytest.raises(Refused, match="was altered"):
            operated.run(datetime(2022, number, 15, tzinfo=UTC))
    messages = [(row.kind, row.run_id) for row in operated.rows(deliveries, "created_at")]
    assert messages == [("summary", 1), ("firing", 3)]
    assert [row.status for row in operated.rows(runs)] == ["snapshot", "failed", "failed", "failed"]


def test_data_get_too_old_also_while_runs_are_killed(operated: OperatedHome) -> None:
    """The clock kills a run when it is read again after the start: nothing after that is executed."""
    [old] = [rule for rule in rule_file.shipped() if rule.name == "data-too-old"]
    rules = [old.model_copy(update={"route": "duty"})]

    def killed_in(number: int) -> None:
        readings = iter([datetime(2022, number, 15, tzinfo=UTC)] * (3 if number > 2 else 2))

        def clock() -> datetime:
            if (now := next(readings, None)) is None:
                raise KeyboardInterrupt
            return now

        with pytest.raises(KeyboardInterrupt):
            recompute.recompute(Context(operated.home, operated.settings, operated.store, clock), rules)

    january = Context(operated.home, operated.settings, operated.store, lambda: datetime(2022, 1, 15, tzinfo=UTC))
    recompute.recompute(january, rules)
    operated.ingest_months("2022-01", MLI=[30] * 13)
    for number in (2, 6):
        killed_in(number)
    assert [row.kind for row in operated.rows(deliveries, "created_at")] == ["summary", "firing"]
    assert [row.status for row in operated.rows(runs)] == ["snapshot", "failed", "running"]


def test_a_damaged_archive_fails_the_run_even_if_nothing_else_changed(operated: OperatedHome) -> None:
    operated.run()
    file = operated.home.archive / "0001" / "country_months.parquet"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(Refused, match=r"country_months\.parquet was altered"):
        operated.run()
    assert operated.rows(runs)[-1].status == "failed"


def test_the_source_is_that_of_the_origin(operated: OperatedHome, tmp_path: Path) -> None:
    """The source of a later month, beyond a gap, does not count."""
    path = tmp_path / "late.csv"
    path.write_text("iso3,month,deaths_state_based\nMLI,2022-09,5\n")
    ingest(Archive(operated.home.archive), MonthlyFile(path), release="24.1", now=INGESTED)
    operated.run()
    assert operated.newest_document["source"] == "country-month table"
    assert [source["ingest"] for source in operated.newest_document["countries"][0]["sources"]] == ["0001"]


def test_a_withdrawn_snapshot_is_not_issued_again(operated: OperatedHome, vigie: Callable[..., Any]) -> None:
    operated.run()
    operated.ingest_months("2021-12", MLI=[3000] * 12)
    assert operated.run().snapshot_id == 2
    result = vigie("snapshots", "withdraw", "2", "--why", "a file of another country")
    assert (result.code, "snapshot 2 is withdrawn" in result.out) == (0, True)
    assert json.loads(vigie("scores", "--format", "json").out)["snapshot_id"] == 1
    refused = operated.run()
    assert (refused.status, refused.issued, refused.snapshot_id) == ("withdrawn_input", False, 1)
    assert "those of snapshot 2, which was withdrawn (a file of another country)" in refused.summary()
    Archive(operated.home.archive).withdraw("0002", "a file of another country", NOW)
    done = operated.run()
    assert (done.issued, done.snapshot_id) == (False, 1)
    assert vigie("snapshots", "withdraw", "2", "--why", "again").code == 3
    assert [row.withdrawn_reason for row in operated.rows(snapshots)] == [None, "a file of another country"]


def test_a_withdrawal_is_not_a_failure(operated: OperatedHome) -> None:
    """Runs find the input of a withdrawn snapshot again and again. The one before is served, and is not late."""
    operated.run()
    operated.ingest_months("2021-12", MLI=[3000] * 12)
    operated.run()
    withdraw(operated.store, (), 2, "a file of another country", NOW)
    now = NOW
    client = create_app(operated.home, clock=lambda: now).test_client()
    for hours in (0, 1, 2, 3, 4):
        now = NOW + timedelta(hours=hours)
        assert (hours == 0) or operated.run(now).status == "withdrawn_input"
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json["snapshot_id"], ready.json["status"]) == (200, 1, "fresh")
    page = client.get("/?lang=en").text
    assert "The latest update failed" not in page
    assert "Snapshot 2 was withdrawn on" in page
    assert "a file of another country. This page shows snapshot 1." in page
    assert [run["status"] for run in client.get("/v1/runs").json["data"]][:2] == ["withdrawn_input", "withdrawn_input"]
    operated.ingest_months("2021-12", MLI=[31] * 12)
    assert operated.run(now).snapshot_id == 3
    assert "was withdrawn" not in client.get("/?lang=en").text


def test_a_run_on_withdrawn_input_updates_the_alerts_of_the_snapshot_in_service(operated: OperatedHome) -> None:
    operated.run()
    operated.ingest_months("2021-12", MLI=[3000] * 12)
    operated.run()
    withdraw(operated.store, (), 2, "a file of another country", NOW)
    before = len(operated.rows(transitions))
    operated.run(NOW + timedelta(days=365))
    new = operated.rows(transitions)[before:]
    assert ("firing", ["clock"], 1) in [(row.to_state, row.document["causes"], row.snapshot_id) for row in new]


@pytest.mark.parametrize("snapshot_id", [1, 2])
def test_a_snapshot_can_be_withdrawn_while_a_run_finds_it_unchanged(
    operated: OperatedHome, monkeypatch: pytest.MonkeyPatch, snapshot_id: int
) -> None:
    operated.run()
    if snapshot_id == 2:
        operated.ingest_months("2021-12", MLI=[3000] * 12)
        operated.run()
    updated = recompute.public_events.updated

    def withdraw_meanwhile(*arguments: Any) -> Any:
        withdraw(operated.store, (), snapshot_id, "a file of another country", NOW)
        return updated(*arguments)

    monkeypatch.setattr(recompute.public_events, "updated", withdraw_meanwhile)
    result = operated.run(NOW + timedelta(hours=1))
    assert (result.status, result.snapshot_id) == ("withdrawn_input", snapshot_id - 1 or None)
    assert {run.id: run.status for run in operated.rows(runs)}[result.run_id] == "withdrawn_input"
    assert len(operated.rows(snapshots)) == snapshot_id


def test_a_snapshot_can_be_withdrawn_while_a_run_computes_the_next(
    operated: OperatedHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    operated.run()
    operated.ingest_months("2021-12", MLI=[3000] * 12)
    operated.run()
    operated.ingest_months("2021-12", MLI=[31] * 12)
    build = recompute.snapshot_content.build

    def withdraw_meanwhile(*arguments: Any) -> Any:
        withdraw(operated.store, (), 2, "a file of another country", NOW)
        return build(*arguments)

    monkeypatch.setattr(recompute.snapshot_content, "build", withdraw_meanwhile)
    assert operated.run(NOW + timedelta(hours=1)).snapshot_id == 3
    bands = [row.location_code for row in operated.rows(changes) if row.kind == "band" and row.snapshot_id == 3]
    assert bands == [], "it is compared with snapshot 1, which has the same bands, and not with snapshot 2"


def test_the_licence_names_sources_whose_terms_are_not_known(operated: OperatedHome, tmp_path: Path) -> None:
    operated.run()
    assert operated.rows(snapshots)[-1].document["licence"] is None
    covers = [Coverage("MLI", month("2021-01"), month("2021-01"))]
    source = GedFile(ged.write(tmp_path / "mali.csv", {"date": "2021-01-05", "best": 3}))
    ingest(Archive(operated.home.archive), source, covers=covers, release="23.1", now=NOW)
    operated.run()
    licence = operated.rows(snapshots)[-1].document["licence"]
    assert licence == "CC BY 4.0 · UCDP (terms not known: country-month table)"
