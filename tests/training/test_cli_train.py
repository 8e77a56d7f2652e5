"""`vigie train`, as a user or the service runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from riskmodel import bundle
from riskmodel.home import Home
from training import registry

Vigie = Callable[..., Any]

SLOW_TO_STORE = """
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from riskmodel.forecasting.baselines import Zero


@dataclass(frozen=True)
class SlowToStore(Zero):
    name: str = "slow"
    fitted: bool = field(default=False, repr=False)

    def fit(self, panel, origin):
        return replace(self, fitted=True)

    def __getstate__(self):
        if self.fitted:
            Path("storing").touch()
        while self.fitted and not Path("go").exists():
            time.sleep(0.02)
        return self.__dict__


def slow(seed):
    return SlowToStore()
"""


def test_a_model_up_to_the_origin_of_the_region_goes_into_service(home: Home, vigie: Vigie, archive: None) -> None:
    first = vigie("train")
    assert first.code == 0, first.err
    path = bundle.champion(home.models, simulated=False, outcome="state_based")
    assert path is not None
    model = bundle.load(path)
    assert (str(model.origin), model.outcome, model.provenance.simulated) == ("2009-12", "state_based", False)
    assert f"model {path.name}: deaths in state-based conflict in 8 countries to 2009-12" in first.out
    assert "final figures" in first.out
    assert "lower is better" in first.out
    assert first.out.splitlines()[-1] == f"{path.name} is now in service for state-based conflict"
    assert "computing the indicators of 8 countries to 2009-12" in first.err
    assert "step 3 of 3" in first.err
    assert "no model of all organised violence: no country of the region of MLI has 24 unbroken months" in first.err
    earlier = vigie("train", "--origin", "2008-06", "--brief")
    assert "final figures" not in earlier.out
    assert earlier.code == 0, earlier.err
    assert "its data end in 2008-06, before those of" in earlier.out
    assert f"is stored but is refused as a refit: {path.name} stays in service" in earlier.out.splitlines()[-1]
    assert bundle.champion(home.models, simulated=False, outcome="state_based") == path


def test_training_twice_makes_one_model(home: Home, vigie: Vigie, archive: None) -> None:
    vigie("train", "--origin", "2004-06")
    first = bundle.champion(home.models, simulated=False, outcome="state_based")
    assert first is not None
    again = vigie("train", "--origin", "2004-06")
    assert "not scored" in again.out
    assert again.out.splitlines()[-1] == f"{first.name} is in service already for state-based conflict"
    assert bundle.champion(home.models, simulated=False, outcome="state_based") == first
    assert len([path for path in home.models.iterdir() if path.is_dir()]) == 1


def test_the_same_data_code_and_seed_give_the_same_bundle(home: Home, vigie: Vigie, archive: None) -> None:
    bundles = []
    for _ in range(2):
        assert vigie("train", "--origin", "2004-06").code == 0
        [name] = registry.model_names(home.models)
        manifest = json.loads((home.models / name / "manifest.json").read_text(encoding="utf-8"))
        bundles.append((name, manifest["files"], manifest["code"], manifest["configuration"]))
        for file in home.models.rglob("*"):
            if file.is_file():
                file.unlink()
        (home.models / name).rmdir()
    assert bundles[0] == bundles[1]
    assert len(bundles[0][2]) == 64


def test_a_score_that_is_unknown_is_a_dash(home: Home, vigie: Vigie, workshop: Path) -> None:
    rows = [
        f"{code},{year}-{month:02}-01,{3 if year < 2007 else 0}"
        for code in ("MLI", "NER")
        for year in range(2000, 2010)
        for month in range(1, 13)
    ]
    peace = workshop / "peace.csv"
    peace.write_text("\n".join(["iso3,month,deaths_state_based", *rows]) + "\n", encoding="utf-8")
    assert vigie("--home", workshop / "peace", "ingest", "monthly", peace).code == 0
    done = vigie("--home", workshop / "peace", "train", "--model", "promoted:zero")
    assert done.code == 0, done.err
    assert "in 50 % – (–)" in done.out, "no country is active in the year before the months that are scored"


@pytest.mark.parametrize("model", [[], ["--model", "promoted:zero"]], ids=["pool", "own"])
def test_a_model_of_the_past_is_stored_in_a_folder_and_only_its_path_is_printed(
    home: Home, vigie: Vigie, workshop: Path, model: list[str]
) -> None:
    into, today = workshop / "past", time.strftime("%Y-%m-%d")
    assert vigie("train", "--as-of", "2020-01-01", "--into", into).code == 3, "nothing was known then"
    assert vigie("train", "--as-of", "2020-01-01").code == 2
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    time.sleep(1.1)  # the moment is past only when its second is over
    line = ["--as-of", moment, "--into", into, "--outcome", "state_based", "--region", "NER", *model]
    done = vigie("train", *line)
    assert done.code == 0, done.err
    [printed] = done.out.splitlines()
    loaded = bundle.load(Path(printed))
    assert Path(printed).parent == into
    assert loaded.trained_at.startswith(today[:4])
    assert "fitting the model" in done.err
    assert f"model {loaded.id}: deaths in state-based conflict in 8 countries to 2009-12" in done.err
    assert registry.model_names(home.models) == []


def test_a_killed_training_leaves_no_model_and_the_next_one_cleans_up(home: Home, vigie: Vigie, workshop: Path) -> None:
    (workshop / "stores.py").write_text(SLOW_TO_STORE, encoding="utf-8")
    command = ["train", "--into", str(workshop / "past"), "--model", "stores:slow"]
    child = subprocess.Popen([sys.executable, "-m", "riskmodel", *command], stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not Path("storing").exists():
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.02)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        output, _ = child.communicate()
    assert output == ""
    assert registry.model_names(workshop / "past") == []
    assert any(path.name.startswith(".") for path in (workshop / "past").iterdir()), "it was killed while storing"

    Path("go").touch()
    done = vigie(*command)
    assert done.code == 0, done.err
    [name] = registry.model_names(workshop / "past")
    assert done.out == f"{workshop / 'past' / name}\n"
    assert [path.name for path in (workshop / "past").iterdir() if path.is_dir()] == [name]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train"], 3, "the archive is empty"),
        (["train", "--region", "XYZ"], 2, "'XYZ' is not the ISO alpha-3 code"),
        (["train", "--origin", "soon"], 2, "not a month written YYYY-MM"),
        (["train", "--outcome", "some"], 2, "--outcome"),
    ],
)
def test_wrong_use_and_an_empty_archive_are_refused(
    vigie: Vigie, arguments: list[str], code: int, message: str
) -> None:
    done = vigie(*arguments)
    assert done.code == code
    assert message in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "--region", "XYZ"], 2, "'XYZ' is not the ISO alpha-3 code"),
        (["train", "--region", "JPN"], 3, "no country of the region of JPN has 24 unbroken months"),
        (["train", "--outcome", "all"], 3, "24 unbroken months of deaths in all organised violence"),
        (["train", "--origin", "soon"], 2, "not a month written YYYY-MM"),
        (["train", "--origin", "2011-01"], 3, "lies outside the data"),
        (["train", "--origin", "2002-06"], 3, "a model needs 200"),
        (
            ["train", "--origin", "2001-01"],
            3,
            "no country has 24 unbroken months of deaths in state-based conflict up to 2001-01",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_reason(
    home: Home, vigie: Vigie, archive: None, arguments: list[str], code: int, message: str
) -> None:
    done = vigie(*arguments)
    assert done.code == code
    assert message in " ".join(done.err.split())
    assert not home.models.exists() or bundle.champion(home.models, simulated=False, outcome="state_based") is None


def test_a_model_of_simulated_data_is_marked_and_not_served_for_real_data(home: Home, vigie: Vigie) -> None:
    assert vigie("ingest", "simulated", "--until", "1992-12").code == 0
    done = vigie("train", "--outcome", "state_based")
    assert done.code == 0, done.err
    assert "SIMULATED deaths in state-based conflict" in done.out
    path = bundle.champion(home.models, simulated=True, outcome="state_based")
    assert path is not None
    assert path.name.startswith("simulated-")
    assert bundle.load(path).provenance.simulated
    assert bundle.champion(home.models, simulated=False, outcome="state_based") is None
