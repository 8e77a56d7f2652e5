"""Model bundles on disk: written atomically, and refused when altered or outdated."""

import importlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from histories import made, rectangle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from riskmodel import bundle, golden
from riskmodel.bundle import (
    Provenance,
    challenger,
    champion,
    champions,
    load,
    remove_challenger,
    save,
    set_challenger,
    set_champion,
)
from riskmodel.errors import Refused
from riskmodel.forecasting.baselines import SMOOTHED_HISTORY, History
from riskmodel.forecasting.escalation import POOLED, Escalation
from riskmodel.forecasting.forecast import Forecast
from riskmodel.forecasting.forest import Forest
from riskmodel.forecasting.pool import Pool, PoolMember
from riskmodel.indicators.panel import INDICATORS, Panel, assemble
from riskmodel.months import Month

PANEL = assemble(rectangle(made()), "state_based")
ORIGIN = PANEL.months[-1]
MODEL = Pool((PoolMember(Forest(trees=5, draws=100), 50), PoolMember(SMOOTHED_HISTORY, 50))).fit(PANEL, ORIGIN)
PROVENANCE = Provenance(
    outcome="state_based",
    origin=str(ORIGIN),
    data_digest="0" * 64,
    simulated=False,
    seed=1,
    features=PANEL.names,
    scores={"pool": {"CRPS": 1.5}},
    trained_at="2026-11-22T08:15:00Z",
)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def test_a_loaded_model_forecasts_like_the_saved_one(models: Path) -> None:
    name = save(MODEL, PROVENANCE, models)
    loaded = load(models / name)
    assert (loaded.id, loaded.outcome, loaded.origin, loaded.trained_at) == (
        name,
        "state_based",
        ORIGIN,
        "2026-11-22T08:15:00Z",
    )
    assert loaded.provenance.scores == {"pool": {"CRPS": 1.5}}
    ours, theirs = (model.forecast(PANEL, ORIGIN).draws for model in (MODEL, loaded.model))
    np.testing.assert_array_equal(ours, theirs)


def test_the_manifest_describes_the_model(models: Path) -> None:
    name = save(MODEL, PROVENANCE, models)
    manifest = json.loads((models / name / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["files"] == {"model.pickle": load(models / name).digest}
    assert manifest["features"] == [indicator.name for indicator in INDICATORS]
    assert manifest["versions"].keys() == {"python", "numpy", "pandas", "scikit-learn", "joblib", "vigie"}
    assert (manifest["seed"], manifest["simulated"], manifest["data_digest"]) == (1, False, "0" * 64)


def test_the_same_model_of_the_same_data_is_stored_once(models: Path) -> None:
    first = save(MODEL, PROVENANCE, models)
    assert save(MODEL, replace(PROVENANCE, trained_at="2027-01-01T00:00:00Z"), models) == first
    assert load(models / first).trained_at == PROVENANCE.trained_at
    other = save(MODEL, replace(PROVENANCE, data_digest="1" * 64), models)
    assert other != first
    assert save(MODEL, replace(PROVENANCE, simulated=True), models).startswith("simulated-")


def test_saving_again_repairs_an_altered_model(models: Path) -> None:
    name = save(MODEL, PROVENANCE, models)
    (models / name / "model.pickle").write_bytes(b"other")
    assert save(MODEL, PROVENANCE, models) == name
    load(models / name)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(file=st.sampled_from(["model.pickle", "manifest.json"]), position=st.floats(0, 1), flip=st.integers(1, 255))
def test_any_altered_byte_is_refused(file: str, position: float, flip: int, models: Path) -> None:
    path = models / save(MODEL, PROVENANCE, models)
    content = bytearray((path / file).read_bytes())
    content[int(position * (len(content) - 1))] ^= flip
    (path / file).write_bytes(content)
    with pytest.raises(Refused, match="altered"):
        load(path)


class Trap:
    """An object that runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (os.environ["TRAP_FOLDER"],)


def test_nothing_is_unpickled_before_its_digest_is_checked(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = tmp_path / "created"
    monkeypatch.setenv("TRAP_FOLDER", str(created))
    path = models / save(MODEL, PROVENANCE, models)
    (path / "model.pickle").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(Refused, match=r"model\.pickle does not have the digest"):
        load(path)
    assert not created.exists()


def test_missing_and_extra_files_are_refused(models: Path) -> None:
    path = models / save(MODEL, PROVENANCE, models)
    (path / "more.joblib").write_bytes(b"")
    with pytest.raises(Refused, match=r"extra file more\.joblib"):
        load(path)
    (path / "more.joblib").unlink()
    (path / "model.pickle").rename(path.parent / "elsewhere")
    with pytest.raises(Refused, match=r"missing or extra file model\.pickle"):
        load(path)
    (path / "manifest.json").unlink()
    with pytest.raises(Refused, match=r"no manifest\.json"):
        load(path)
    shutil.rmtree(path)
    with pytest.raises(Refused, match="there is no model"):
        load(path)


def test_another_scikit_learn_is_refused(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = models / save(MODEL, PROVENANCE, models)
    monkeypatch.setattr(bundle, "version", lambda package: "0.0")
    with pytest.raises(Refused, match=r"trained with scikit-learn .*, but 0\.0 is installed"):
        load(path)


def test_a_part_of_another_scikit_learn_is_refused(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr("sklearn.base.__version__", "0.1")
        path = models / save(MODEL, PROVENANCE, models)
    with pytest.raises(Refused, match="has parts of another scikit-learn"):
        load(path)


def test_other_indicators_are_refused(models: Path) -> None:
    path = models / save(MODEL, replace(PROVENANCE, features=PANEL.names[:-1]), models)
    with pytest.raises(Refused, match="other indicators"):
        load(path)


def test_another_format_is_refused(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr(bundle, "FORMAT", 99)
        path = models / save(MODEL, PROVENANCE, models)
    with pytest.raises(Refused, match="has format 99; this Vigie reads 5"):
        load(path)


def test_a_model_of_an_earlier_vigie_is_outdated(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(bundle, "FORMAT", 1)
        path = models / save(MODEL, PROVENANCE, models)
    assert bundle.outdated_reason(path) == "was made by an earlier Vigie"
    with pytest.raises(Refused, match="was made by an earlier Vigie: run vigie train again"):
        load(path)


def test_the_escalation_model_is_part_of_the_bundle(models: Path) -> None:
    fitted = replace(Escalation().fit(PANEL, ORIGIN, MODEL), chosen=POOLED)
    assert fitted.regression.pipeline is not None
    path = models / save(MODEL, PROVENANCE, models, fitted)
    assert path.name != save(MODEL, PROVENANCE, models)
    loaded = load(path)
    assert loaded.digest != load(models / save(MODEL, PROVENANCE, models)).digest
    forecast = MODEL.forecast(PANEL, ORIGIN)
    ours, theirs = (escalation.probabilities(PANEL, forecast) for escalation in (fitted, loaded.escalation))
    assert ours.models == theirs.models == (POOLED,) * 8
    np.testing.assert_array_equal(ours.probability, theirs.probability)
    assert (
        load(models / save(MODEL, PROVENANCE, models)).escalation.probabilities(PANEL, forecast).models
        == ("draws",) * 8
    )


def test_a_model_that_needs_a_module_that_is_not_installed_is_refused_with_its_name(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import absent_package\nfrom riskmodel.forecasting.baselines import Zero\n\n\nclass Own(Zero): ...\n"
    (tmp_path / "needs_absent.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with monkeypatch.context() as installed:
        installed.setitem(sys.modules, "absent_package", ModuleType("absent_package"))
        own = importlib.import_module("needs_absent").Own()
        path = models / save(own, PROVENANCE, models)
    monkeypatch.delitem(sys.modules, "needs_absent")
    assert {file.name for file in path.iterdir()} == {"manifest.json", "model.pickle", "needs_absent.py"}
    with pytest.raises(
        Refused, match="needs the Python module absent_package, which is not installed here: install it"
    ):
        load(path)
    (path / "needs_absent.py").write_text(source.replace("import absent_package", ""))
    with pytest.raises(Refused, match=r"altered: needs_absent\.py does not have the digest"):
        load(path)


def test_a_model_must_reproduce_its_golden_prediction(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = models / save(MODEL, PROVENANCE, models, golden_prediction=golden.make(MODEL, PANEL, ORIGIN))
    assert load(path).id == path.name
    forecast = History.forecast

    def altered(factor: float) -> Callable[..., Forecast]:
        def changed(self: History, panel: Panel, origin: Month) -> Forecast:
            made = forecast(self, panel, origin)
            return replace(made, draws=made.draws * np.float32(factor))

        return changed

    with monkeypatch.context() as other:
        other.setattr(History, "forecast", altered(1.001))
        with pytest.raises(Refused, match=r"does not reproduce its golden prediction .*on the same platform"):
            load(path)
        other.setattr("platform.machine", lambda: "another")
        assert load(path).id == path.name, "elsewhere the last digits can differ"
        other.setattr(History, "forecast", altered(1.5))
        with pytest.raises(Refused, match=r"does not reproduce its golden prediction .* 0\.01 is tolerated"):
            load(path)


def test_a_model_that_needs_missing_code_is_refused(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = models / save(MODEL, PROVENANCE, models)
    monkeypatch.delattr("riskmodel.forecasting.forest.FittedForest")
    with pytest.raises(Refused, match="needs code that this Vigie does not have"):
        load(path)


def test_real_and_simulated_data_have_separate_champions(models: Path) -> None:
    assert champion(models, simulated=False, outcome="state_based") is None
    real, simulated = save(MODEL, PROVENANCE, models), save(MODEL, replace(PROVENANCE, simulated=True), models)
    set_champion(models, simulated)
    assert champion(models, simulated=False, outcome="state_based") is None
    set_champion(models, real)
    assert champion(models, simulated=True, outcome="state_based") == models / simulated
    assert champion(models, simulated=False, outcome="state_based") == models / real


def test_each_outcome_has_its_own_champion_and_challenger(models: Path) -> None:
    state_based = save(MODEL, PROVENANCE, models)
    of_all = save(MODEL, replace(PROVENANCE, outcome="all"), models)
    set_champion(models, state_based)
    assert champions(models, simulated=False) == {"state_based": models / state_based}
    set_champion(models, of_all)
    assert list(champions(models, simulated=False).items()) == [
        ("all", models / of_all),
        ("state_based", models / state_based),
    ]
    set_challenger(models, of_all)
    assert challenger(models, simulated=False, outcome="all") == models / of_all
    assert challenger(models, simulated=False, outcome="state_based") is None
    remove_challenger(models, simulated=False, outcome="all")
    assert challenger(models, simulated=False, outcome="all") is None


def test_a_champion_must_be_intact_and_its_pointer_a_name(models: Path) -> None:
    good = save(MODEL, PROVENANCE, models)
    set_champion(models, good)
    other = save(MODEL, replace(PROVENANCE, seed=2), models)
    (models / other / "model.pickle").write_bytes(b"")
    with pytest.raises(Refused):
        set_champion(models, other)
    assert champion(models, simulated=False, outcome="state_based") == models / good
    of_all = save(MODEL, replace(PROVENANCE, outcome="all"), models)
    simulated = save(MODEL, replace(PROVENANCE, simulated=True), models)
    for name in ("../elsewhere", "", of_all, simulated):
        (models / "champion-state_based").write_text(f"{name}\n", encoding="utf-8")
        with pytest.raises(Refused, match="does not name a model of state-based conflict from real data"):
            champion(models, simulated=False, outcome="state_based")


def test_a_kill_while_writing_leaves_the_old_champion_and_nothing_visible(models: Path) -> None:
    good = save(MODEL, PROVENANCE, models)
    set_champion(models, good)
    script = """
        import os, signal, sys
        from pathlib import Path
        from riskmodel.bundle import Provenance, save

        class Killing:
            def __reduce__(self):
                os.kill(os.getpid(), signal.SIGKILL)

        provenance = Provenance("state_based", "2009-12", "2" * 64, False, 1, (), {}, "2026-11-22T08:15:00Z")
        save([b"x" * 10**6, Killing()], provenance, Path(sys.argv[1]))
    """
    process = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(models)], timeout=60, check=False)
    assert process.returncode == -signal.SIGKILL
    assert [path.name for path in models.glob(".*.part")] == [".new.part"]
    assert sorted(path.name for path in models.iterdir() if not path.name.startswith(".")) == [
        "champion-state_based",
        good,
    ]
    assert champion(models, simulated=False, outcome="state_based") == models / good
    load(models / good)
    save(MODEL, replace(PROVENANCE, seed=3), models)
    assert not list(models.glob(".*.part"))


def test_the_same_data_code_and_seed_give_the_same_bytes_in_another_process(models: Path, tmp_path: Path) -> None:
    script = """
        import sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[1])
        from test_bundle import PROVENANCE, MODEL, load, save
        path = Path(sys.argv[2]) / save(MODEL, PROVENANCE, Path(sys.argv[2]))
        print(path.name, load(path).digest)
    """
    name = save(MODEL, PROVENANCE, models)
    output = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(Path(__file__).parent), str(tmp_path / "other")],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert output.split() == [name, load(models / name).digest]
