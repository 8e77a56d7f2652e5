"""Training as a function: no command line is needed."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from riskmodel import bundle, geography
from riskmodel.errors import BadInput
from riskmodel.events.archive import Archive
from riskmodel.forecasting.baselines import Zero
from riskmodel.home import Home
from training.train import train_model

NOW = datetime(2026, 11, 22, 8, 15, tzinfo=UTC)
MALI = geography.region("MLI").members


def test_a_model_is_fitted_and_stored_and_nothing_is_put_into_service(home: Home, archive: None) -> None:
    steps: list[str] = []
    view = Archive(home.archive).view()
    trained = train_model(home, view, MALI, NOW, "state_based", model=Zero(), seed=3, on_step=steps.append)
    loaded = bundle.load(trained.path)
    assert trained.path.parent == home.models
    assert (loaded.provenance.data_digest, loaded.provenance.seed, loaded.trained_at) == (
        view.digest,
        3,
        "2026-11-22T08:15:00Z",
    )
    assert str(loaded.origin) == "2009-12"
    assert trained.countries == 8
    assert trained.megabytes > 0
    assert [step.split()[0] for step in steps] == ["computing", "fitting", "choosing", "scoring", "storing"]
    assert bundle.champion(home.models, simulated=False, outcome="state_based") is None


def test_origin_and_folder_can_be_chosen(home: Home, archive: None, tmp_path: Path) -> None:
    origin, into = np.datetime64("2008-06", "M"), tmp_path / "elsewhere"
    view = Archive(home.archive).view()
    trained = train_model(home, view, MALI, NOW, "state_based", origin=origin, model=Zero(), into=into)
    assert trained.path.parent == into
    assert trained.provenance.origin == "2008-06"
    assert not home.models.exists()


def test_a_region_without_a_history_is_refused(home: Home, archive: None) -> None:
    with pytest.raises(BadInput, match="no country of the region of JPN has 24 unbroken months"):
        train_model(
            home, Archive(home.archive).view(), geography.region("JPN").members, NOW, "state_based", model=Zero()
        )
