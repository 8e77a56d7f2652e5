"""A back-test on what was known: nothing published later is read, and the revision model wins some of its cost back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from releases import SHARE, Releases

from riskmodel.errors import BadInput
from riskmodel.forecasting.baselines import Conflictology
from riskmodel.home import Home
from riskmodel.months import month
from training import as_known
from training.windows import Window

MODEL = Conflictology()
WINDOW = Window("2023", month("2022-12"), issues=4, first_lead=1, last_lead=3)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """Candidate releases of four years, which have a share of the deaths, and the final release of each year."""
    made = Releases(tmp_path_factory.mktemp("as-known"), SHARE, years=3).up_to(2023)
    made.final(2023)
    return made


def test_not_knowing_costs_and_the_revision_model_wins_some_back(releases: Releases) -> None:
    view = releases.archive.view()
    result = as_known.run(view, "state_based", MODEL, [WINDOW], tuple(SHARE))
    assert result.forecasters == tuple(f"{name}, {basis}" for basis in as_known.BASES for name in (MODEL.name, "ew4s"))
    deaths = view.outcomes().deaths["state_based"]
    assert np.nansum(result.observed["deaths"][:, :, :3]) == deaths[:, 36:39].sum(), "scored on the newest figures"
    for forecaster in (MODEL.name, "ew4s"):
        found = as_known.cost_of_not_knowing(result, forecaster, "log_crps", np.random.default_rng(1))
        assert found.cost.value > 0
        assert found.gain.value < 0
        assert found.won_back > 0


def test_nothing_that_was_published_later_is_read(releases: Releases) -> None:
    view = releases.archive.view()
    at_first = as_known.known_by(view, month("2022-12"))
    assert {ingest.release for ingest in view.ingests} - {ingest.release for ingest in at_first.ingests} == {
        *(f"23.0.{m}" for m in range(1, 13)),
        "23.1",
        "24.1",
    }
    assert at_first.outcomes().months[-1] == month("2022-12")


def test_an_origin_that_was_not_known_in_time_is_refused(releases: Releases) -> None:
    final = [ingest for ingest in releases.archive.view().ingests if not ingest.candidate]
    with pytest.raises(BadInput, match="2022-12, the origin of 2023, were not known"):
        as_known.run(releases.archive.view().with_ingests(final), "state_based", MODEL, [WINDOW], tuple(SHARE))


@pytest.mark.long
def test_the_command_prints_the_cost_on_simulated_releases(home: Home, vigie: Any, tmp_path: Path) -> None:
    vigie("ingest", "simulated", "--until", "2022-12", "--first-reports", "3")
    result = vigie("backtest", "--as-known", "--windows", "2022", "--scope", "MLI,NER,BFA")
    assert result.code == 0
    assert "SIMULATED deaths in all organised violence, MLI, NER, BFA (3 countries)" in result.out
    assert "won back" in result.out
