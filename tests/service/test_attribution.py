"""The change between two snapshots is split by cause; what cannot be computed again is a part of its own."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from snapshot_documents import nested

from riskmodel import bundle
from riskmodel.alerting import rule_file
from riskmodel.bands import DEFAULT_BANDS
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
from service.jobs.attribution import NOTES, between
from service.jobs.recompute import recompute
from service.settings import load
from service.snapshots.outcome_parts import of_outcome
from service.store.context import Context
from service.store.database import Store
from service.store.tables import snapshots

NOW = datetime(2023, 1, 1, tzinfo=UTC)
COUNTRIES = ("MLI", "BFA", "NER")
"""The countries of the region that the archive has data for."""


class ComparedHome:
    """A home whose snapshots are issued by recompute and compared."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home, self.folder, self.store = home, folder, Store.of(home)

    def ingest_months(self, last: str, mali: int, newest: int | None = None) -> str:
        """Ingest four years of months up to `last`; return the id of the ingest."""
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
        """Issue a snapshot without drivers; return its id."""
        settings = load(self.home).model_copy(update={"drivers": False})
        context = Context(self.home, settings, self.store, lambda: NOW)
        snapshot_id = recompute(context, rule_file.load(self.home, DEFAULT_BANDS)).snapshot_id
        assert snapshot_id is not None
        return snapshot_id

    def alter(self, number: int, change: Callable[[dict[str, Any]], object]) -> None:
        """Change the flat document of an issued snapshot."""
        with self.store.writing() as connection:
            row = connection.execute(sa.select(snapshots).where(snapshots.c.id == number)).one()
            document = of_outcome(row.document)
            change(document)
            connection.execute(sa.update(snapshots).where(snapshots.c.id == number).values(document=nested(document)))

    def compare(self, a: int = 1, b: int = 2) -> dict[str, Any]:
        """Compare two snapshots. The parts of each change sum to it."""
        changed = between(self.home, self.store, a, b)
        for country in changed["countries"]:
            for metric in ("risk_score", "escalation_probability"):
                split = country[metric]
                if split["causes"] is not None:
                    total = sum(split["causes"].values()) + split["not_reproduced"]
                    assert total == pytest.approx(split["after"] - split["before"], abs=1e-9)
        return changed

    def document(self, number: int) -> dict[str, Any]:
        """The flat document of an issued snapshot."""
        with self.store.reading() as connection:
            query = sa.select(snapshots.c.document).where(snapshots.c.id == number)
            return of_outcome(connection.execute(query).scalar_one())


@pytest.fixture
def compared(home: Home, tmp_path: Path) -> ComparedHome:
    """A home with two snapshots; between them comes a new month with many deaths in each country."""
    home_with_two = ComparedHome(home, tmp_path)
    home_with_two.train(Conflictology())
    home_with_two.ingest_months("2021-12", 10)
    home_with_two.run()
    home_with_two.ingest_months("2022-01", 10, 400)
    home_with_two.run()
    return home_with_two


def split_of(changed: Mapping[str, Any], iso3: str = "MLI", metric: str = "risk_score") -> dict[str, Any]:
    split: dict[str, Any] = next(c for c in changed["countries"] if c["location_code"] == iso3)[metric]
    return split


def present(changed: Mapping[str, Any]) -> list[str]:
    return [cause["name"] for cause in changed["causes"] if cause["present"]]


def test_the_change_between_two_snapshots_is_that_of_what_was_issued(compared: ComparedHome) -> None:
    changed = compared.compare()
    assert present(changed) == ["new_events", "moving_window"]
    assert (changed["before"]["snapshot_id"], changed["after"]["origin"], changed["simulated"]) == (1, "2022-01", False)
    assert changed["notes"] == []
    for side, number in (("before", 1), ("after", 2)):
        for country in compared.document(number)["countries"]:
            score = split_of(changed, country["location_code"])[side]
            assert (None if score is None else round(score, 1)) == country["risk_score"]
            chance = split_of(changed, country["location_code"], "escalation_probability")[side]
            assert (None if chance is None else round(chance, 4)) == country["escalation_probability"]
    mali = split_of(changed)
    assert mali["causes"]["new_events"] > 0 == mali["not_reproduced"]
    assert tuple(mali["causes"]) == CAUSES


def test_a_country_without_a_score_has_no_split_and_a_reason(compared: ComparedHome) -> None:
    (senegal,) = (c for c in compared.compare()["countries"] if c["location_code"] == "SEN")
    assert senegal["risk_score"] == {"before": None, "after": None, "causes": None, "not_reproduced": None}
    assert senegal["reasons"] == dict.fromkeys(("risk_score", "escalation_probability"), "unknown_before")


def test_a_snapshot_and_itself(compared: ComparedHome) -> None:
    changed = compared.compare(2, 2)
    assert present(changed) == []
    assert set(split_of(changed)["causes"].values()) == {0.0}


def test_another_model(compared: ComparedHome) -> None:
    compared.train(History(half_life=2.0))
    compared.run()
    changed = compared.compare(2, 3)
    assert present(changed) == ["model"]
    mali = split_of(changed)
    assert mali["causes"]["model"] == pytest.approx(mali["after"] - mali["before"])
    assert mali["causes"]["model"] != 0


def test_another_escalation_model_is_another_model(compared: ComparedHome) -> None:
    for escalation in (Escalation(), Escalation(chosen=RULE)):
        compared.ingest_months("2022-02", 10)
        compared.train(History(spread=0.8), escalation)
        compared.run()
    changed = compared.compare(3, 4)
    assert (present(changed), changed["notes"]) == (["model"], [])
    chance, after = split_of(changed, metric="escalation_probability"), compared.document(4)["countries"][0]
    assert round(chance["after"], 4) == after["escalation_probability"] != after["escalation_from_draws"]
    assert round(chance["before"], 4) == after["escalation_from_draws"]
    assert chance["causes"]["model"] == pytest.approx(chance["after"] - chance["before"]) != 0
    assert split_of(changed)["causes"]["model"] == 0


def test_an_ingest_that_was_withdrawn_since_is_still_read(compared: ComparedHome) -> None:
    before = compared.compare()
    Archive(compared.home.archive).withdraw("0002", "a double count", NOW)
    assert compared.compare() == before


def test_a_withdrawn_snapshot_has_a_note(compared: ComparedHome) -> None:
    with compared.store.writing() as connection:
        row = sa.update(snapshots).where(snapshots.c.id == 2)
        connection.execute(row.values(withdrawn_at=NOW, withdrawn_reason="a double count"))
    (note,) = compared.compare()["notes"]
    assert (note["code"], note["snapshot_id"]) == ("withdrawn", 2)
    assert note["text"]["en"] == "snapshot 2 was withdrawn: a double count"


def test_what_cannot_be_computed_again_is_a_part_of_its_own(compared: ComparedHome) -> None:
    """The first snapshot is of an older Vigie, whose score of Mali was 7 points higher."""

    def older(document: dict[str, Any]) -> None:
        document["model"]["vigie"] = "0.0.1"
        document["countries"][0]["risk_score"] += 7

    unaltered = compared.compare()
    compared.alter(1, older)
    changed = compared.compare()
    assert [note["code"] for note in changed["notes"]] == ["other_vigie", "not_reproduced"]
    assert "Vigie 0.0.1" in changed["notes"][0]["text"]["en"]
    assert "MLI" in changed["notes"][1]["text"]["fr"]
    assert split_of(changed)["before"] == compared.document(1)["countries"][0]["risk_score"]
    assert split_of(changed)["causes"] == split_of(unaltered)["causes"]
    assert split_of(changed)["not_reproduced"] == pytest.approx(-7, abs=0.06)
    assert split_of(changed, "NER") == split_of(unaltered, "NER")


def test_an_issued_score_that_is_unknown_now_is_not_split(compared: ComparedHome) -> None:
    compared.alter(1, lambda document: document["countries"][-1].update(risk_score=20.0))
    compared.alter(2, lambda document: document["countries"][-1].update(risk_score=30.0))
    (senegal,) = (c for c in compared.compare()["countries"] if c["location_code"] == "SEN")
    assert senegal["risk_score"] == {"before": 20.0, "after": 30.0, "causes": None, "not_reproduced": 10.0}
    assert senegal["reasons"]["risk_score"] == "not_reproduced"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"region": "NER"}, "different regions .MLI, NER."),
        ({"outcome": "all"}, "snapshot 1 has no forecast of all organised violence"),
        ({"simulated": True}, "different data .real, SIMULATED."),
    ],
)
def test_snapshots_of_different_things_cannot_be_compared(
    compared: ComparedHome, change: dict[str, Any], reason: str
) -> None:
    compared.alter(2, lambda document: document.update(change))
    with pytest.raises(BadInput, match=reason):
        compared.compare()


def test_an_unknown_snapshot_is_bad_input(compared: ComparedHome) -> None:
    with pytest.raises(BadInput, match="there is no snapshot 9"):
        compared.compare(1, 9)


def test_missing_or_altered_data_and_models_are_refused(compared: ComparedHome) -> None:
    name = compared.document(1)["model"]["id"]
    (compared.home.models / name).rename(compared.home.models / "elsewhere")
    with pytest.raises(Refused, match=f"snapshot 1 cannot be computed again: there is no model {name}"):
        compared.compare()
    (compared.home.models / "elsewhere").rename(compared.home.models / name)
    compared.alter(1, lambda document: document["model"].update(digest="e" * 64))
    with pytest.raises(Refused, match="not the one that it was made with"):
        compared.compare()
    compared.alter(1, lambda document: document["data"].update(digest="e" * 64))
    with pytest.raises(Refused, match="were altered"):
        compared.compare()
    compared.alter(1, lambda document: document["data"]["ingests"].append({"id": "0099"}))
    with pytest.raises(Refused, match="has no ingest 0099"):
        compared.compare()


def test_the_command_prints_the_split(compared: ComparedHome, vigie: Callable[..., Any]) -> None:
    result = vigie("changed", 1, 2)
    assert result.code == 0
    heading = result.out.splitlines()[1]
    assert all(cause.replace("_", " ") in heading for cause in CAUSES)
    assert "not reproduced" not in result.out
    (mali,) = (line for line in result.out.splitlines() if line.startswith("MLI"))
    split = split_of(compared.compare())
    assert mali.split()[1:] == [
        "Mali",
        *(f"{split[side]:.1f}" for side in ("before", "after")),
        f"{split['after'] - split['before']:+.1f}",
        *(f"{part:+.1f}" if part else "·" for part in split["causes"].values()),
    ]
    assert "unknown before" in next(line for line in result.out.splitlines() if line.startswith("SEN"))
    assert "new events: events and months that were not known before" in result.out.splitlines()
    assert "SIMULATED" not in result.out
    assert json.loads(vigie("changed", 1, 2, "--format", "json").out) == compared.compare()


def test_the_command_prints_notes_and_simulated(compared: ComparedHome, vigie: Callable[..., Any]) -> None:
    for number in (1, 2):
        compared.alter(number, lambda document: document.update(simulated=True))
    compared.alter(1, lambda document: document["countries"][0].update(risk_score=99.0))
    result = vigie("changed", 1, 2)
    assert result.out.startswith("SIMULATED  ")
    assert "NOTE: computed again, snapshot 1 does not have the issued scores of MLI" in result.out
    assert "not reproduced: what cannot be computed again as it was issued" in result.out.splitlines()[-1]


def test_the_exit_code_of_the_command_says_what_is_wrong(compared: ComparedHome, vigie: Callable[..., Any]) -> None:
    assert (vigie("changed", 1, 9).code, vigie("changed", 1).code, vigie("changed", 1, "x").code) == (3, 2, 2)


def test_every_note_is_in_both_languages() -> None:
    assert all(note.keys() == {"en", "fr"} for note in NOTES.values())


def test_a_model_that_is_outdated_is_refused_with_the_reason(compared: ComparedHome) -> None:
    outdated = bundle.Provenance("state_based", "2021-12", "d" * 64, False, 0, ("one",), {}, "2022-01-20T08:00:00Z")
    name = bundle.save(Conflictology(), outdated, compared.home.models)
    compared.alter(1, lambda document: document["model"].update(id=name))
    with pytest.raises(Refused, match="snapshot 1 cannot be computed again: its model was trained on other indicators"):
        compared.compare()


@pytest.mark.parametrize("number", [77, 10**30])
def test_a_number_without_a_snapshot_is_bad_input(
    compared: ComparedHome, vigie: Callable[..., Any], number: int
) -> None:
    result = vigie("changed", 1, number)
    assert (result.code, f"there is no snapshot {number}" in result.err) == (3, True)


def test_the_command_says_that_snapshots_are_in_reverse_order_or_equal(
    compared: ComparedHome, vigie: Callable[..., Any]
) -> None:
    assert "the change is shown backwards" in vigie("changed", 2, 1).out
    assert "no cause: the data, the model and the settings" in vigie("changed", 1, 1).out
    assert "nothing that" not in vigie("changed", 1, 2).out
