"""The benchmarks use names that exist: each module imports, and its `--help` says what it measures."""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(path.stem for path in BENCHMARKS.glob("*.py") if path.stem != "child_process")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_imports_and_describes_itself(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(SystemExit) as stopped:
        module.main()
    assert stopped.value.code == 0
    assert f"python benchmarks/{name}.py" in capsys.readouterr().out


def test_the_code_that_child_processes_run_imports() -> None:
    """The children get code as text; its imports are run here, because no other check sees them."""
    for path in BENCHMARKS.glob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            is_ours = line.startswith(("from riskmodel", "from service", "from training", "import riskmodel"))
            if is_ours and not line.endswith("("):
                exec(line, {})  # noqa: S102 - our own code
