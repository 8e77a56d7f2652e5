"""The commands of training use the region that the home's vigie.toml sets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from riskmodel import bundle
from riskmodel.home import Home

Vigie = Callable[..., Any]


@pytest.fixture
def niger(home: Home, vigie: Vigie, history: Path) -> Home:
    """A home whose region is Niger's, with the history of eight countries."""
    assert vigie("ingest", "monthly", history).code == 0
    home.settings.write_text('region = "NER"\n')
    return home


def test_train_uses_the_region_of_the_home(niger: Home, vigie: Vigie) -> None:
    niger.settings.write_text('region = "JPN"\n')
    result = vigie("train")
    assert (result.code, "no country of the region of JPN has 24 unbroken months" in result.err) == (3, True)


def test_backtest_and_compare_use_the_region_of_the_home(niger: Home, vigie: Vigie) -> None:
    result = vigie("backtest", "--windows", "2008")
    assert result.code == 0, result.err
    assert "the region of NER (4 countries)" in result.out, "Niger, Algeria, Burkina Faso and Mali have a history"
    assert "the region of NER (4 countries)" in vigie("compare", "pool", "ew4s").out
    assert "the region of MLI (8 countries)" in vigie("compare", "pool", "ew4s", "--region", "MLI").out


def test_card_and_whatif_use_the_region_of_the_home(niger: Home, vigie: Vigie) -> None:
    assert vigie("train", "--origin", "2004-06").code == 0
    assert bundle.champion(niger.models, simulated=False, outcome="state_based") is not None
    assert vigie("backtest", "--windows", "2008").code == 0
    card = vigie("card")
    assert card.code == 0, card.err
    text = next(Path(path) for path in card.out.split() if path.endswith(".md")).read_text()
    assert "region of NER" in text
    assert "region of MLI" not in text
    whatif = vigie("whatif", "NER", "--deaths", "x2")
    assert whatif.code == 0, whatif.err
    assert "Nigeria" in whatif.out, "Niger's neighbour, and not Mali's"
    assert "Mauritania" not in whatif.out, "Mali's neighbour, and not Niger's"
