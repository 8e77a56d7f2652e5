"""Hidden families of indicators: the model sees NaN in their place, and its back-test has a name of its own."""

from collections.abc import Callable
from typing import Any

import numpy as np
from histories import made, rectangle

from riskmodel.forecasting.pool import served_model
from riskmodel.home import Home
from riskmodel.indicators.families import spillover
from riskmodel.indicators.panel import assemble
from training.ablation import mask_families, without_families
from training.result_store import stored_backtests

Vigie = Callable[..., Any]


def test_the_indicators_of_a_hidden_family_are_nan_and_the_others_unchanged() -> None:
    panel = assemble(rectangle(made()), "state_based")
    masked = mask_families(panel, without_families(served_model(1), ["spillover"]))
    of_family = np.array([name in {i.name for i in spillover.FAMILY.indicators} for name in panel.names])
    assert of_family.any()
    assert np.isnan(masked.values[..., of_family]).all()
    np.testing.assert_array_equal(masked.values[..., ~of_family], panel.values[..., ~of_family])


def test_nothing_is_hidden_without_a_family() -> None:
    panel = assemble(rectangle(made()), "state_based")
    assert mask_families(panel, served_model(1)) is panel
    assert without_families(served_model(1), []) == served_model(1)


def test_a_model_without_families_has_a_back_test_of_its_own(home: Home, vigie: Vigie, archive: None) -> None:
    hidden = ["--without", "spillover", "--without", "intensity"]
    assert "no family of indicators: intensity, composition" in vigie("backtest", "--without", "luck").err
    for arguments in ([], hidden):
        assert vigie("backtest", "--windows", "2008", *arguments).code == 0
    complete, reduced = stored_backtests(home)
    assert reduced.setup.model == "pool-without-intensity-spillover"
    assert complete.setup.code == reduced.setup.code
    done = vigie("compare", "pool", reduced.setup.model)
    assert done.code == 0, done.err
    names = (complete.name, reduced.name)
    assert any(f"from {one}, {other}" in done.out for one, other in (names, names[::-1]))
    assert "windows won by pool" in done.out
