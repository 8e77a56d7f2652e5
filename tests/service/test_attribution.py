"""Two snapshots compared: what was issued is split by cause, and what cannot be computed again is said."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from riskmodel import bundle
from riskmodel.errors import BadInput, Refused
from riskmodel.events.archive import Archive
from riskmodel.explanation.attribution import CAUSES
from riskmodel.forecasting.baselines import Conflictology, History
from riskmodel.forecasting.component import Explainable
from riskmodel.forecasting.escalation import RULE, Escalation
from riskmodel.home import Home
from riskmodel.indicators.panel import INDICATORS
from riskmodel.ingest import ingest
from riskmodel.months import month
from riskmodel.sources.monthly import MonthlyFile
from service.alerts import rules
from service.jobs import attribution
from service.jobs.attribution import NOTES, between
from service.jobs.recompute import recompute
from service.settings import load
from service.store.context import Context
from service.store.database import Store
from service.store.tables import snapshots

NOW = datetime(2023, 1, 1, tzinfo=UTC)
COUNTRIES = ("MLI", "BFA", "NER")
"""What the archive knows of the region."""


class Issued:
    """A home whose snapshots are made by recompute."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home, self.folder, self.store = home, folder, Store.of(home)

    def take_in(self, last: str, mali: int, newest: int | None = None) -> str:
        """Four years of months up to `last`; returns the ingest's id."""
        months = np.arange(month(last) - 47, month(last) + 1)
        lines = [
            f"{iso3},{m},{newest if newest is not None and m == months[-1] else mali if iso3 == 'MLI' else 3}\n"
            for iso3 in COUNTRIES
            for m in months
        ]
        path = self.folder / f"{last}-{mali}-{newest}.csv"
        path.write_text("iso3,month,deaths_state_based\n" + "".join(lines))
        return ingest(Archive(self.home.archive), MonthlyFile(path), now=NOW).ingest.id

    def train(self, model: Explainable, escalation: Escalation | None = None) -> str:
        features = tuple(indicator.name for indicator in INDICATORS)
        made = bundle.Provenance("state_based", "2021-12", "d" * 64, False, 0, features, {}, "2022-01-20T08:00:00Z")
        name = bundle.save(model, made, self.home.models, escalation)
        bundle.set_champion(self.home.models, name)
        return name

    def run(self) -> int:
        """Issue a snapshot without its drivers; returns its id."""
        settings = load(self.home).model_copy(update={"drivers": False})
        context = Context(self.home, settings, self.store, lambda: NOW)
        snapshot_id = recompute(context, rules.load(self.home)).snapshot_id
        assert snapshot_id is not None
        return snapshot_id

    def alter(self, number: int, change: Callable[[dict[str, Any]], object]) -> None:
        """Make a snapshot say what it never said."""
        with self.store.writing() as connection:
            row = connection.execute(sa.select(snapshots).where(snapshots.c.id == number)).one()
            document = row.document
            change(document)
            connection.execute(sa.update(snapshots).where(snapshots.c.id == number).values(document=document))

    def compare(self, a: int = 1, b: int = 2) -> dict[str, Any]:
        """The comparison, when it has been found to sum to what was issued."""
        said = between(self.home, self.store, a, b)
        for country in said["countries"]:
            for metric in ("risk_score", "escalation_probability"):
                split = country[metric]
                if split["causes"] is not None:
                    total = sum(split["causes"].values()) + split["not_reproduced"]
                    assert total == pytest.approx(split["after"] - split["before"], abs=1e-9)
        return said

    def document(self, number: int) -> dict[str, Any]:
        with self.store.reading() as connection:
            found: dict[str, Any] = connection.execute(
                sa.select(snapshots.c.document).where(snapshots.c.id == number)
            ).scalar_one()
        return found


@pytest.fixture
def issued(home: Home, tmp_path: Path) -> Issued:
    """Two snapshots: between them a new month with many deaths in each country."""
    made = Issued(home, tmp_path)
    made.train(Conflictology())
    made.take_in("2021-12", 10)
    made.run()
    made.take_in("2022-01", 10, 400)
    made.run()
    return made


def of(said: Mapping[str, Any], iso3: str = "MLI", metric: str = "risk_score") -> dict[str, Any]:
    split: dict[str, Any] = next(c for c in said["countries"] if c["location_code"] == iso3)[metric]
    return split


def present(said: Mapping[str, Any]) -> list[str]:
    return [cause["name"] for cause in said["causes"] if cause["present"]]


def test_the_change_between_two_snapshots_is_that_of_what_was_issued(issued: Issued) -> None:
    said = issued.compare()
    assert present(said) == ["new_events", "moving_window"]
    assert (said["before"]["snapshot_id"], said["after"]["origin"], said["simulated"]) == (1, "2022-01", False)
    assert said["notes"] == []
    for side, number in (("before", 1), ("after", 2)):
        for country in issued.document(number)["countries"]:
            score = of(said, country["location_code"])[side]
            assert (None if score is None else round(score, 1)) == country["risk_score"]
            chance = of(said, country["location_code"], "escalation_probability")[side]
            assert (None if chance is None else round(chance, 4)) == country["escalation_probability"]
    mali = of(said)
    assert mali["causes"]["new_events"] > 0 == mali["not_reproduced"]
    assert tuple(mali["causes"]) == CAUSES


def test_a_country_without_a_score_has_no_split_and_a_reason(issued: Issued) -> None:
    (senegal,) = (c for c in issued.compare()["countries"] if c["location_code"] == "SEN")
    assert senegal["risk_score"] == {"before": None, "after": None, "causes": None, "not_reproduced": None}
    assert senegal["reasons"] == dict.fromkeys(("risk_score", "escalation_probability"), "unknown_before")
    assert set(senegal["reasons"].values()) <= attribution.REASONS.keys()


def test_a_snapshot_and_itself(issued: Issued) -> None:
    said = issued.compare(2, 2)
    assert present(said) == []
    assert set(of(said)["causes"].values()) == {0.0}


def test_another_model(issued: Issued) -> None:
    issued.train(History(half_life=2.0))
    issued.run()
    said = issued.compare(2, 3)
    assert present(said) == ["model"]
    mali = of(said)
    assert mali["causes"]["model"] == pytest.approx(mali["after"] - mali["before"])
    assert mali["causes"]["model"] != 0


def test_another_voice_for_escalation_is_another_model(issued: Issued) -> None:
    for last, voices in (("2022-02", Escalation()), ("2022-02", Escalation(chosen=RULE))):
        issued.take_in(last, 10)
        issued.train(History(spread=0.8), voices)
        issued.run()
    said = issued.compare(3, 4)
    assert (present(said), said["notes"]) == (["model"], [])
    chance, after = of(said, metric="escalation_probability"), issued.document(4)["countries"][0]
    assert round(chance["after"], 4) == after["escalation_probability"] != after["escalation_from_draws"]
    assert round(chance["before"], 4) == after["escalation_from_draws"]
    assert chance["causes"]["model"] == pytest.approx(chance["after"] - chance["before"]) != 0
    assert of(said)["causes"]["model"] == 0


def test_an_ingest_that_was_withdrawn_since_is_read_all_the_same(issued: Issued) -> None:
    before = issued.compare()
    Archive(issued.home.archive).withdraw("0002", "a double count", NOW)
    assert issued.compare() == before


def test_a_snapshot_that_was_withdrawn_says_so(issued: Issued) -> None:
    with issued.store.writing() as connection:
        mark = sa.update(snapshots).where(snapshots.c.id == 2)
        connection.execute(mark.values(withdrawn_at=NOW, withdrawn_reason="a double count"))
    (note,) = issued.compare()["notes"]
    assert (note["code"], note["snapshot_id"]) == ("withdrawn", 2)
    assert note["text"]["en"] == "snapshot 2 was withdrawn: a double count"


def test_what_cannot_be_computed_again_stands_apart(issued: Issued) -> None:
    """The first snapshot comes from an older Vigie that had Mali 7 points higher."""

    def older(document: dict[str, Any]) -> None:
        document["model"]["vigie"] = "0.0.1"
        document["countries"][0]["risk_score"] += 7

    plain = issued.compare()
    issued.alter(1, older)
    said = issued.compare()
    assert [note["code"] for note in said["notes"]] == ["other_vigie", "not_reproduced"]
    assert "Vigie 0.0.1" in said["notes"][0]["text"]["en"]
    assert "MLI" in said["notes"][1]["text"]["fr"]
    assert of(said)["before"] == issued.document(1)["countries"][0]["risk_score"]
    assert of(said)["causes"] == of(plain)["causes"]
    assert of(said)["not_reproduced"] == pytest.approx(-7, abs=0.06)
    assert of(said, "NER") == of(plain, "NER")


def test_a_score_that_was_issued_and_is_unknown_now_is_not_split(issued: Issued) -> None:
    issued.alter(1, lambda document: document["countries"][-1].update(risk_score=20.0))
    issued.alter(2, lambda document: document["countries"][-1].update(risk_score=30.0))
    (senegal,) = (c for c in issued.compare()["countries"] if c["location_code"] == "SEN")
    assert senegal["risk_score"] == {"before": 20.0, "after": 30.0, "causes": None, "not_reproduced": 10.0}
    assert senegal["reasons"]["risk_score"] == "not_reproduced"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"region": "NER"}, "different regions .MLI, NER."),
        ({"outcome": "all"}, "different outcomes .state_based, all."),
        ({"simulated": True}, "different data .real, SIMULATED."),
    ],
)
def test_snapshots_of_different_things(issued: Issued, change: dict[str, Any], why: str) -> None:
    issued.alter(2, lambda document: document.update(change))
    with pytest.raises(BadInput, match=why):
        issued.compare()


def test_a_snapshot_that_is_not_there(issued: Issued) -> None:
    with pytest.raises(BadInput, match="there is no snapshot 9"):
        issued.compare(1, 9)


def test_what_a_snapshot_was_made_from_is_gone(issued: Issued) -> None:
    name = issued.document(1)["model"]["id"]
    (issued.home.models / name).rename(issued.home.models / "elsewhere")
    with pytest.raises(Refused, match=f"snapshot 1 cannot be computed again: there is no model {name}"):
        issued.compare()
    (issued.home.models / "elsewhere").rename(issued.home.models / name)
    issued.alter(1, lambda document: document["model"].update(digest="e" * 64))
    with pytest.raises(Refused, match="not the one that it was made with"):
        issued.compare()
    issued.alter(1, lambda document: document["data"].update(digest="e" * 64))
    with pytest.raises(Refused, match="are not what they were"):
        issued.compare()
    issued.alter(1, lambda document: document["data"]["ingests"].append({"id": "0099"}))
    with pytest.raises(Refused, match="has no ingest 0099"):
        issued.compare()


def test_the_command(issued: Issued, vigie: Callable[..., Any]) -> None:
    said = vigie("changed", 1, 2)
    assert said.code == 0
    heading = said.out.splitlines()[1]
    assert all(cause.replace("_", " ") in heading for cause in CAUSES)
    assert "not reproduced" not in said.out
    (mali,) = (line for line in said.out.splitlines() if line.startswith("MLI"))
    split = of(issued.compare())
    assert mali.split()[1:] == [
        "Mali",
        *(f"{split[side]:.1f}" for side in ("before", "after")),
        f"{split['after'] - split['before']:+.1f}",
        *(f"{part:+.1f}" if part else "·" for part in split["causes"].values()),
    ]
    assert "unknown before" in next(line for line in said.out.splitlines() if line.startswith("SEN"))
    assert "new events: events and months that were not known before" in said.out.splitlines()
    assert "SIMULATED" not in said.out
    assert json.loads(vigie("changed", 1, 2, "--format", "json").out) == issued.compare()


def test_the_command_says_what_stands_apart_and_what_is_simulated(issued: Issued, vigie: Callable[..., Any]) -> None:
    for number in (1, 2):
        issued.alter(number, lambda document: document.update(simulated=True))
    issued.alter(1, lambda document: document["countries"][0].update(risk_score=99.0))
    said = vigie("changed", 1, 2)
    assert said.out.startswith("SIMULATED  ")
    assert "NOTE: computed again, snapshot 1 does not say what was issued for MLI" in said.out
    assert "not reproduced: what cannot be computed again as it was issued" in said.out.splitlines()[-1]


def test_the_command_leaves_with_the_exit_code_of_what_is_wrong(issued: Issued, vigie: Callable[..., Any]) -> None:
    assert (vigie("changed", 1, 9).code, vigie("changed", 1).code, vigie("changed", 1, "x").code) == (3, 2, 2)


def test_every_note_is_told_in_both_languages() -> None:
    assert all(note.keys() == {"en", "fr"} for note in NOTES.values())


def test_a_snapshot_of_a_model_that_this_vigie_has_outgrown_is_said_to_be_one(issued: Issued) -> None:
    with issued.store.reading() as connection:
        (said,) = connection.execute(sa.select(snapshots.c.document).where(snapshots.c.id == 1)).one()
    grown = bundle.Provenance("state_based", "2021-12", "d" * 64, False, 0, ("one",), {}, "2022-01-20T08:00:00Z")
    name = bundle.save(Conflictology(), grown, issued.home.models)
    said["model"] = {**said["model"], "id": name}
    with issued.store.writing() as connection:
        connection.execute(sa.update(snapshots).where(snapshots.c.id == 1).values(document=said))
    with pytest.raises(Refused, match="snapshot 1 cannot be computed again: its model was trained on other indicators"):
        issued.compare()


@pytest.mark.parametrize("number", [77, 10**30])
def test_a_number_that_no_snapshot_has_is_bad_input(issued: Issued, vigie: Callable[..., Any], number: int) -> None:
    said = vigie("changed", 1, number)
    assert (said.code, f"there is no snapshot {number}" in said.err) == (3, True)


def test_what_runs_backwards_or_differs_in_nothing_is_said(issued: Issued, vigie: Callable[..., Any]) -> None:
    assert "the change is shown backwards" in vigie("changed", 2, 1).out
    assert "no cause: the data, the model and the settings" in vigie("changed", 1, 1).out
    assert "nothing that" not in vigie("changed", 1, 2).out
