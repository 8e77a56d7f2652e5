"""Models are logged to MLflow when asked."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from riskmodel import bundle
from riskmodel.home import Home

Vigie = Callable[..., Any]


def test_a_model_is_logged_to_mlflow(
    home: Home, vigie: Vigie, workshop: Path, in_service: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")
    uri = f"sqlite:///{workshop / 'runs.db'}"
    done = vigie("train", "--model", "promoted:vague", "--mlflow", uri)
    assert done.code == 0, done.err
    run = mlflow.MlflowClient(tracking_uri=uri).get_run(re.findall(r"logged to MLflow: run (\w+)", done.out)[0])
    provenance = bundle.read_provenance(home.models / in_service())
    assert run.data.params["origin"] == "2009-12"
    assert run.data.params["configuration"] == provenance.configuration
    assert run.data.tags["model"] == in_service()
    assert run.data.metrics["seer/ign"] == provenance.scores["seer"]["ign"]
    assert run.data.metrics["conflictology12/within_90"] == provenance.scores["conflictology12"]["within_90"]
    brier = {name for name in run.data.metrics if name.startswith("escalation/brier_")}
    assert brier == {f"escalation/brier_{name}" for name in provenance.scores["escalation"]["brier"]}
    assert run.data.metrics["escalation/cases"] == provenance.scores["escalation"]["cases"]
    assert sorted(path.name for path in workshop.iterdir() if "run" in path.name) == ["runs.db"]

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    silent = vigie("train", "--model", "promoted:vague", "--mlflow", "http://127.0.0.1:9")
    assert silent.code == 4
    assert "is stored; MLflow at http://127.0.0.1:9 did not take it" in silent.err
    assert silent.out.splitlines()[-1] == f"{in_service()} is in service already for state-based conflict"
