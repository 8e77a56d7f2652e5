"""`vigie compare`: back-tests, forecasters in them, and files, in any combination."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from histories import made, rectangle

from riskmodel.forecasting.baselines import History, Zero
from riskmodel.forecasting.forecast import Forecast
from riskmodel.indicators.panel import assemble
from training import export
from training.windows import challenge_window, challenge_windows

Vigie = Callable[..., Any]
PANEL = assemble(rectangle(made()), "state_based")


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """The draws of history60 on two years, as a file."""
    path = tmp_path / "theirs.parquet"
    with export.open_writer(path) as write:
        for window in challenge_windows("2007:2008"):
            write(History().forecast(PANEL, window.origin), window)
    return path


def test_compare_back_tests_baselines_and_files(vigie: Vigie, archive: None, theirs: Path) -> None:
    done = vigie("compare", "pool", "ew4s")
    assert done.code == 3
    assert "pool is neither a back-test of this home nor a forecaster in one" in done.err
    digest = vigie("backtest", "--windows", "2007:2009").out.split()[1].rstrip(":")
    for one, other, number, windows in (
        ("ew4s", "conflictology12", 288, 3),
        (digest, "ew4s", 288, 3),
        (theirs, digest[:5], 192, 2),
        ("pool", theirs, 192, 2),
        (theirs, theirs, 192, 2),
    ):
        done = vigie("compare", one, other)
        assert done.code == 0, done.err
        assert f"{number} forecasts that both have in {windows} windows" in done.out
        assert "a negative difference is a lower loss" in done.out
    assert vigie("compare", theirs, "history60").out.count("+0.0%") > 5
    vigie("backtest", "--rolling", "2009")
    assert "from " + digest in vigie("compare", "ew4s", "pool").out
    rolling = vigie("compare", "ew4s", "pool", "--rolling").out
    assert f"{8 * 78} forecasts that both have in 1 windows: 2009" in rolling
    assert "there is no country-month that both" in vigie("compare", "ew4s", "h24", "--rolling").err
    assert "48 forecasts" in vigie("compare", theirs, "pool", "--scope", "MLI,NER").out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["pool", "best"], 3, "best is neither a back-test of this home nor a forecaster in one"),
        (["abcdef", "pool"], 3, "no back-tests have a name that begins with abcdef"),
        (["gone.parquet", "pool"], 3, "gone.parquet: there is no such file"),
        (["pool", "ew4s", "--scope", "JPN"], 3, "JPN cannot be scored"),
        (["pool", "ew4s", "--scope", "Sahel"], 2, "is not the ISO alpha-3 code"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(
    vigie: Vigie, archive: None, arguments: list[str], code: int, message: str
) -> None:
    vigie("backtest", "--windows", "2008")
    done = vigie("compare", *arguments)
    assert (done.code, message in " ".join(done.err.split())) == (code, True), done.err


def test_a_file_of_other_months_has_nothing_to_compare(vigie: Vigie, archive: None, tmp_path: Path) -> None:
    path = tmp_path / "late.parquet"
    with export.open_writer(path) as write:
        late = challenge_window(2031)
        draws = Zero().forecast(PANEL, challenge_window(2008).origin).draws
        write(Forecast(late.origin, PANEL.iso3, "state_based", draws), late)
    vigie("backtest", "--windows", "2008")
    for other in ("pool", path):
        done = vigie("compare", path, other)
        assert done.code == 3
        assert "there is no country-month that both" in done.err
