"""The way into service: the first model, the gate, force, and a model that can no longer serve."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from riskmodel import bundle, refits
from riskmodel.errors import Refused
from riskmodel.home import Home
from training import registry

FAILS_LATER = """
from dataclasses import dataclass, replace

import numpy as np

from riskmodel.forecasting.baselines import Zero


@dataclass(frozen=True)
class Failing(Zero):
    def forecast(self, panel, origin):
        made = super().forecast(panel, origin)
        return replace(made, draws=made.draws + (np.inf if str(origin) == "2009-12" else 0.0))


def model(seed):
    return Failing()
"""

Vigie = Callable[..., Any]
InService = Callable[[], str]


def test_a_model_goes_through_the_gate_or_stays_outside(
    home: Home, vigie: Vigie, workshop: Path, in_service: InService
) -> None:
    first = vigie("train", "--model", "promoted:vague")
    assert "now in service" in first.out, first.err
    vague = in_service()
    assert f"{vague} is in service already" in vigie("train", "--model", "promoted:vague").out

    poor = vigie("train", "--model", "promoted:zero")
    assert poor.code == 0, "a model that was trained and stored is no failure"
    assert "NOT MET" in poor.out
    assert in_service() == vague
    zero = next(name for name in registry.model_names(home.models) if name != vague)
    last_line = poor.out.splitlines()[-1]
    assert (
        last_line == f"{zero} is stored but does not pass the gate: {vague} stays in service for state-based conflict"
    )

    better = vigie("train", "--model", "promoted:seer")
    seer = in_service()
    assert better.out.splitlines()[-1] == f"{seer} passes the gate and is now in service for state-based conflict"
    assert "windows 2006, 2007, 2008, 2009, data" in better.out
    assert "the model in service" in better.out
    assert "NOT MET" not in better.out
    assert seer not in (vague, zero)

    refused = vigie("promote", zero)
    assert refused.code == Refused.exit_code
    assert "NOT MET" in refused.out
    assert "does not pass the gate" in refused.err
    assert in_service() == seer
    worse = vigie("promote", vague, "--windows", "2007:2009")
    assert worse.code == Refused.exit_code
    assert re.search(r"the model in service +IGN +not worse .* NOT MET", worse.out)
    assert re.search(r"the model in service +IGN +better on IGN or log-CRPS .* NOT MET", worse.out)

    assert vigie("promote", zero, "--force", "  ").code == 2
    assert vigie("promote", zero, "--force", "a trial of the way back").code == 0
    assert in_service() == zero
    assert re.search(rf"{zero} .* yes .* past the gate", vigie("models").out)
    assert (
        f"{seer} is in service again for state-based conflict, in place of {zero}"
        in vigie("rollback", "--why", "as planned").out
    )
    assert f"{vague} is in service again for state-based conflict, in place of {seer}" in vigie("rollback").out
    assert vigie("rollback").code == Refused.exit_code
    assert in_service() == vague
    listed = json.loads(vigie("models", "--format", "json").out)
    assert {row["model"] for row in listed} == {zero, seer, vague}
    assert [row["model"] for row in listed if row["in_service"]] == [vague]
    recorded = [(entry.model, entry.action, entry.reason) for entry in registry.read_journal(home.models)]
    assert recorded == [
        (vague, "first", ""),
        (seer, "gate", ""),
        (zero, "force", "a trial of the way back"),
        (seer, "rollback", "as planned"),
        (vague, "rollback", ""),
    ]


def test_a_refit_enters_service_without_a_contest_and_the_journal_has_what_the_guard_found(
    home: Home, vigie: Vigie, workshop: Path, in_service: InService
) -> None:
    assert vigie("train", "--model", "promoted:vague", "--origin", "2008-12").code == 0
    before = in_service()
    renewed = vigie("train", "--refit")
    after = in_service()
    assert renewed.code == 0, renewed.err
    assert renewed.out.splitlines()[-1] == (
        f"{after} is a refit of {before} and is now in service for state-based conflict"
    )
    assert "the refit, next to the model before: deaths in state-based conflict, 2009-01..2009-12" in renewed.out
    assert bundle.read_provenance(home.models / after).origin == "2009-12"
    entry = registry.read_journal(home.models)[-1]
    assert (entry.model, entry.action, entry.windows) == (after, "refit", ("2009-01..2009-12",))
    assert [(check["score"], check["rule"], check["passed"]) for check in entry.checks] == [
        ("ign", "not far worse", True),
        ("log_crps", "not far worse", True),
    ]
    assert not list(home.backtests.glob("*")), "no back-test was needed"

    other_seed = vigie("train", "--model", "promoted:vague", "--seed", "7")
    assert "there are no months since, both know the data to 2009-12" in other_seed.out
    assert in_service() != after
    assert "there are no months since" in registry.read_journal(home.models)[-1].reason
    back = vigie("promote", before)
    assert back.code == Refused.exit_code
    assert "its data end in 2008-12, before those of" in back.out
    assert "is refused as a refit; the model in service stays" in back.err


def test_a_refit_that_does_not_forecast_finitely_is_refused(
    home: Home, vigie: Vigie, workshop: Path, in_service: InService
) -> None:
    (workshop / "failing.py").write_text(FAILS_LATER, encoding="utf-8")
    vigie("train", "--model", "failing:model", "--origin", "2008-12")
    before = in_service()
    refused = vigie("train", "--refit")
    assert refused.code == 0, refused.err
    assert "its forecast is not finite for every country with a history" in refused.out
    assert in_service() == before
    assert registry.read_journal(home.models)[-1].model == before
    attempt = refits.last_attempt(home.models, simulated=False, outcome="state_based")
    assert attempt is not None
    assert (attempt.model, attempt.result) == (before, "refused")
    assert "its forecast is not finite" in attempt.reason


def test_a_model_works_from_any_folder_with_the_code_that_it_was_trained_with(
    home: Home, vigie: Vigie, workshop: Path, in_service: InService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    vigie("train", "--model", "promoted:zero")
    first = in_service()
    vigie("train", "--model", "promoted:vague", "--into", tmp_path / "models")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    np.save(elsewhere / "truth.npy", np.load("truth.npy"))
    monkeypatch.chdir(elsewhere)
    (workshop / "promoted.py").write_text("raise RuntimeError('this is not the code of the model')\n", encoding="utf-8")
    monkeypatch.delitem(sys.modules, "promoted")
    [stored] = (tmp_path / "models").glob("state_based-*")
    stored.rename(home.models / stored.name)
    promoted = vigie("promote", stored.name, "--windows", "2007:2009")
    assert promoted.code == 0, promoted.out + promoted.err
    assert in_service() == stored.name
    assert vigie("shadow", first).code == 0
    assert vigie("card").code == 0
    assert "is in service already" in vigie("train", "--refit").out
    assert type(bundle.load(home.models / stored.name).model).__module__.startswith("vigie_model_")


def test_a_champion_that_can_no_longer_serve_is_replaced_without_the_gate(
    home: Home, vigie: Vigie, workshop: Path, in_service: InService
) -> None:
    vigie("train", "--model", "promoted:seer")
    path = home.models / in_service()
    (path / "model.pickle").write_bytes(b"")
    done = vigie("train", "--model", "promoted:zero")
    assert "now in service" in done.out
    assert "gate" not in done.out
    assert in_service() != path.name
    row = next(row for row in json.loads(vigie("models", "--format", "json").out) if row["model"] == path.name)
    assert "was altered" in row["damaged"]
    assert vigie("rollback").code == Refused.exit_code
    assert in_service() != path.name


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["promote", "nothing"], 3, "no models are called nothing; there are: none"),
        (["promote", "x", "--windows", "soon"], 2, "neither a year"),
        (["card"], 3, "no model is in service"),
        (["card", "nothing"], 3, "no models are called nothing"),
        (["rollback"], Refused.exit_code, "there is no earlier model"),
    ],
)
def test_commands_on_models_that_are_not_there_are_refused(
    vigie: Vigie, archive: None, arguments: list[str], code: int, message: str
) -> None:
    done = vigie(*arguments)
    assert (done.code, message in done.err) == (code, True), done.err
    assert "there is no model yet" in vigie("models").out
