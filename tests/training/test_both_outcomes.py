"""Models of both outcomes in one home: each has its own training, place in service, way back and back-tests."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from histories import SAHEL, made

from riskmodel import bundle
from riskmodel.home import Home
from training import registry

Vigie = Callable[..., Any]


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A table of eight countries, ten years, with state-based deaths and those of all types."""
    path, months = tmp_path / "monthly.csv", np.datetime64("2000-01", "M") + np.arange(120)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["iso3", "month", "deaths_state_based", "deaths_all"])
        for iso3, deaths, more in zip(SAHEL, made(), made(seed=2), strict=True):
            rows.writerows([iso3, m, int(d), int(d + e)] for m, d, e in zip(months, deaths, more, strict=True))
    return path


def in_service(home: Home) -> dict[str, str]:
    return {outcome: path.name for outcome, path in bundle.champions(home.models, simulated=False).items()}


def test_both_outcomes_are_trained_and_put_into_service(home: Home, vigie: Vigie, workshop: Path) -> None:
    done = vigie("train", "--model", "promoted:vague")
    assert done.code == 0, done.err
    served = in_service(home)
    assert list(served) == ["all", "state_based"]
    assert done.out.splitlines()[-2:] == [
        f"{served['all']} is now in service for all organised violence",
        f"{served['state_based']} is now in service for state-based conflict",
    ]
    for outcome, name in served.items():
        assert bundle.read_provenance(home.models / name).outcome == outcome
    listed = vigie("models").out
    assert "all organised violence" in listed
    assert "state-based conflict" in listed
    cards = vigie("card").out.split()
    assert [Path(path).stem for path in cards[::2]] == list(served.values())
    assert "deaths in all organised violence" in Path(cards[0]).read_text(encoding="utf-8")
    assert "--outcome all" in Path(cards[0]).read_text(encoding="utf-8"), "the back-test that is missing is of `all`"


def test_each_outcome_has_its_own_shadow_and_way_back(home: Home, vigie: Vigie, workshop: Path) -> None:
    vigie("train", "--model", "promoted:vague")
    before = in_service(home)
    better = vigie("train", "--model", "promoted:zero", "--outcome", "all")
    assert f"{before['all']} stays in service for all organised violence" in better.out
    [zero] = set(registry.model_names(home.models)) - set(before.values())
    assert "in the shadow for all organised violence" in vigie("shadow", zero).out
    assert "no model" in vigie("shadow", "--outcome", "state_based").out
    assert vigie("promote", zero, "--windows", "2009", "--force", "to see").code == 0
    assert in_service(home) == {**before, "all": zero}
    assert vigie("rollback").code == 2, "two models are in service: which one is meant?"
    assert vigie("rollback", "--outcome", "state_based").code == 1, "its first model is in service"
    assert vigie("rollback", "--outcome", "all").code == 0
    assert in_service(home) == before


def test_back_tests_are_of_all_deaths_by_default_and_outcomes_are_not_mixed(vigie: Vigie, archive: None) -> None:
    first = vigie("backtest", "--windows", "2008")
    assert "deaths in all organised violence, the region of MLI" in first.out, first.err
    vigie("backtest", "--windows", "2008", "--outcome", "state_based")
    assert "deaths in state-based conflict" in vigie("compare", "ew4s", "zero").out, "the newest back-test"
    assert "deaths in all organised violence" in vigie("compare", "ew4s", "zero", "--outcome", "all").out
    names = [
        line.split()[1].rstrip(":")
        for line in (first.out, vigie("backtest", "--windows", "2008", "--outcome", "state_based").out)
    ]
    mixed = vigie("compare", *names)
    assert (mixed.code, "forecasts all organised violence" in mixed.err) == (3, True)


@pytest.mark.long
def test_models_trained_at_the_same_time_are_the_same(home: Home, vigie: Vigie, archive: None) -> None:
    for folder, jobs in (("one", 1), ("two", 2)):
        assert vigie("train", "--into", home.root / folder, "--jobs", jobs).code == 0
    one, two = (registry.model_names(home.root / folder) for folder in ("one", "two"))
    assert one == two
    assert len(one) == 2
