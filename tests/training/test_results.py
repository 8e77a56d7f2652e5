"""Back-test results: pairs of forecasters are compared on the cells that both have."""

import numpy as np
import pytest
from histories import SAHEL, made, rectangle

from riskmodel.errors import BadInput
from riskmodel.forecasting.baselines import Conflictology, History, Zero
from riskmodel.indicators.panel import assemble
from training import evaluation
from training.results import LOSSES, pair_forecasters
from training.windows import challenge_window, challenge_windows, service_windows

PANEL = assemble(rectangle(made()), "state_based")


def test_a_pair_has_the_windows_and_countries_of_both() -> None:
    one = evaluation.run(PANEL, challenge_windows("2006:2008"), SAHEL, History(), baselines=[])
    other = evaluation.run(PANEL, challenge_windows("2007:2009"), SAHEL[:5], Conflictology(), baselines=[])
    pair = pair_forecasters(one, "history60", other, "conflictology12")
    assert [window.name for window in pair.windows] == ["2007", "2008"]
    assert set(pair.iso3) == set(SAHEL[:5])
    for score in LOSSES:
        expected = one.for_windows(one.windows[1:]).reindexed(pair.iso3).scores[score][0]
        np.testing.assert_array_equal(pair.scores[score][0], expected)


def test_a_country_that_is_not_in_the_result_is_nan_after_reindexing() -> None:
    result = evaluation.run(PANEL, [challenge_window(2008)], SAHEL, Zero(), baselines=[])
    reindexed = result.reindexed(["FRA", "NER"])
    assert np.isnan(reindexed.scores["crps"][:, :, 0]).all()
    row = result.iso3.index("NER")
    np.testing.assert_array_equal(reindexed.scores["crps"][:, :, 1], result.scores["crps"][:, :, row])


def test_back_tests_without_common_windows_cannot_be_compared() -> None:
    one, later, rolling = (
        evaluation.run(PANEL, [window], SAHEL, Zero(), baselines=[])
        for window in (challenge_window(2007), challenge_window(2008), *service_windows("2007"))
    )
    for other in (later, rolling):
        with pytest.raises(BadInput, match="nothing to compare: zero has the windows 2007, leads 3-14 and"):
            pair_forecasters(one, "zero", other, "zero")
    with pytest.raises(BadInput, match="there is no pool in this back-test, only zero"):
        pair_forecasters(one, "pool", one, "zero")
