"""The digest of the code covers every module that a figure comes from."""

import subprocess
import sys
import textwrap

import pytest

from training.versions import PARTS_WITHOUT_FIGURES, SCORING_MODULES, configuration


def test_a_model_whose_repr_does_not_show_its_configuration_is_refused() -> None:
    class Nameless:
        name = "nameless"

    with pytest.raises(ValueError, match="needs a repr that shows its configuration"):
        configuration(Nameless())  # type: ignore[arg-type]  # it is no model, and only its repr is read


def test_no_figure_comes_from_code_that_is_left_out_of_the_digest() -> None:
    script = """
        import sys
        import training.evaluation, training.backtest_runner, riskmodel.forecasting.pool
        print("\\n".join(name for name in sys.modules if name.partition(".")[0] in ("riskmodel", "training")))
    """
    loaded = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    ).stdout.split()
    left_out = {f"riskmodel.{part.removesuffix('.py')}" for part in PARTS_WITHOUT_FIGURES}
    assert {"riskmodel.forecasting.forest", "riskmodel.sources.regimes"} <= set(loaded)
    assert {name for name in loaded if ".".join(name.split(".")[:2]) in left_out} == {
        "riskmodel.errors",
        "riskmodel.home",
        "riskmodel.model_code",
    }
    of_training = {name.removeprefix("training.") for name in loaded if name.startswith("training.")}
    without_figures = {"backtest_runner", "export", "formatting", "result_store", "versions", "workers"}
    assert of_training == {module.removesuffix(".py") for module in SCORING_MODULES} | without_figures
