"""Comparisons: on the cells that both have, and refusals of what cannot be compared."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from histories import SAHEL, made, rectangle

from riskmodel.errors import BadInput
from riskmodel.forecasting.baselines import Conflictology, History, Zero
from riskmodel.forecasting.forecast import Forecast
from riskmodel.indicators.panel import assemble
from training import backtest, export, external_forecasts
from training.results import LOSSES, paired
from training.windows import challenge, challenges, rolling

Vigie = Callable[..., Any]
PANEL = assemble(rectangle(made()), "state_based")


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """The draws of history60 on two years, as a file."""
    path = tmp_path / "theirs.parquet"
    with export.writing(path) as write:
        for window in challenges("2007:2008"):
            write(History().forecast(PANEL, window.origin), window)
    return path


def altered(path: Path, alter: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    alter(pd.read_parquet(path)).to_parquet(path)
    return path


def test_a_file_is_judged_as_the_component_that_wrote_it(theirs: Path) -> None:
    grid = backtest.run(PANEL, challenges("2006:2008"), SAHEL, History(), baselines=[Conflictology()])
    found = external_forecasts.judge(external_forecasts.Draws(theirs), grid, "theirs")
    for score in (*LOSSES, "50 %", "90 %"):
        np.testing.assert_allclose(found.cells[score][0, 1:], grid.cells[score][0, 1:], rtol=1e-12)
        assert np.isnan(found.cells[score][0, 0]).all()
    pair = paired(found, "theirs", grid, "conflictology12")
    assert (~np.isnan(pair.cells["CRPS"])).sum(axis=(1, 2, 3)).tolist() == [2 * 8 * 12] * 2
    difference, won = pair.difference("IGN", "theirs", "conflictology12", np.random.default_rng(1))
    means = grid.means("IGN")[:, 1:3]
    assert difference.value == pytest.approx(means[0].sum() / means[1].sum() - 1)
    assert won == ((means[0] < means[1]).sum(), 2)


def test_order_of_rows_and_kind_of_columns_do_not_matter(theirs: Path) -> None:
    before = external_forecasts.Draws(theirs).at(np.datetime64("2006-10", "M"))

    def rewritten(rows: pd.DataFrame) -> pd.DataFrame:
        rows = rows.sample(frac=1, random_state=1)
        rows["origin"] = rows["origin"].dt.strftime("%Y-%m-%d")
        rows["month"] = rows["month"].dt.date
        rows["deaths"] = rows["deaths"].astype(float)
        return rows.assign(more=1)

    after = external_forecasts.Draws(altered(theirs, rewritten)).at(np.datetime64("2006-10", "M"))
    assert before[0] == after[0]
    np.testing.assert_array_equal(before[1], after[1])


RUBBISH: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = [
    (lambda rows: rows.drop(columns="draw"), "needs the columns origin, iso3, month, draw, deaths; missing draw"),
    (lambda rows: rows.head(0), "holds no rows"),
    (lambda rows: rows.assign(deaths=-1), "deaths must be numbers, 0 or more"),
    (lambda rows: rows.assign(deaths=np.inf), "deaths must be numbers, 0 or more"),
    (lambda rows: rows.assign(deaths="many"), "the column deaths must hold numbers"),
    (lambda rows: rows.assign(iso3="XXX"), "'XXX' is not an ISO alpha-3 code"),
    (lambda rows: rows.assign(month=rows["origin"]), "the month 2006-10 is not among the 36 months after the origin"),
    (lambda rows: rows.assign(month="soon"), "the column month must hold dates"),
    (lambda rows: rows.assign(origin=pd.NaT), "the column origin has .* rows without a value"),
    (
        lambda rows: rows.drop(index=rows.index[5]),
        "BFA 2007-01 has 1000 draws|has 999 draws where another month has 1000",
    ),
    (lambda rows: rows.assign(draw=7), "must be numbered 0 to 999, each once"),
]


@pytest.mark.parametrize(("alter", "said"), RUBBISH, ids=[said[:25] for _, said in RUBBISH])
def test_rubbish_is_refused_with_the_rule(
    theirs: Path, alter: Callable[[pd.DataFrame], pd.DataFrame], said: str
) -> None:
    draws = external_forecasts.Draws(altered(theirs, alter))
    with pytest.raises(BadInput, match=said) as refused:
        draws.at(draws.origins[0])
    assert str(theirs) in str(refused.value)


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "no.parquet"
    path.write_bytes(b"origin,iso3\n")
    with pytest.raises(BadInput, match="is no Parquet file"):
        list(external_forecasts.Draws(path).origins)


def test_back_tests_without_common_windows_cannot_be_compared() -> None:
    one, other, rolled = (
        backtest.run(PANEL, [window], SAHEL, Zero(), baselines=[])
        for window in (challenge(2007), challenge(2008), *rolling("2007"))
    )
    for late in (other, rolled):
        with pytest.raises(BadInput, match="nothing to compare: zero has the windows 2007, leads 3-14 and"):
            paired(one, "zero", late, "zero")
    with pytest.raises(BadInput, match="there is no pool in this back-test, only zero"):
        paired(one, "pool", one, "zero")


def test_compare_back_tests_baselines_and_files(vigie: Vigie, history: Path, theirs: Path) -> None:
    vigie("ingest", "monthly", history)
    said = vigie("compare", "pool", "ew4s")
    assert said.code == 3
    assert "pool is neither a back-test of this home nor a forecast in one" in said.err
    made_by = vigie("backtest", "--windows", "2007:2009").out
    digest = made_by.split()[1].rstrip(":")
    for one, other, number, windows in (
        ("ew4s", "conflictology12", 288, 3),
        (digest, "ew4s", 288, 3),
        (theirs, digest[:5], 192, 2),
        ("pool", theirs, 192, 2),
        (theirs, theirs, 192, 2),
    ):
        done = vigie("compare", one, other)
        assert done.code == 0, done.err
        assert f"{number} forecasts that both made of {windows} windows" in done.out
    assert vigie("compare", theirs, "history60").out.count("+0.0%") > 5
    vigie("backtest", "--rolling", "2009")
    assert "from " + digest in vigie("compare", "ew4s", "pool").out
    assert f"{8 * 78} forecasts that both made of 1 windows: 2009" in vigie("compare", "ew4s", "pool", "--rolling").out
    assert "there is no country-month that both" in vigie("compare", "ew4s", "h24", "--rolling").err
    assert "48 forecasts" in vigie("compare", theirs, "pool", "--scope", "MLI,NER").out
    for wrong, code, why in (
        (["pool", "best"], 3, "best is neither a back-test of this home nor a forecast in one"),
        (["abcdef", "pool"], 3, "no back-tests have a name that begins with abcdef"),
        (["gone.parquet", "pool"], 3, "gone.parquet: there is no such file"),
        (["pool", "ew4s", "--scope", "JPN"], 3, "nothing can be judged in JPN"),
        (["pool", "ew4s", "--scope", "Sahel"], 2, "is not the ISO alpha-3 code"),
    ):
        done = vigie("compare", *wrong)
        assert (done.code, why in " ".join(done.err.split())) == (code, True), done.err


def test_a_file_of_other_months_has_nothing_to_compare(vigie: Vigie, history: Path, tmp_path: Path) -> None:
    vigie("ingest", "monthly", history)
    path = tmp_path / "late.parquet"
    with export.writing(path) as write:
        window = challenge(2008)
        late = challenge(2031)
        draws = Zero().forecast(PANEL, window.origin).draws
        write(Forecast(late.origin, PANEL.iso3, "state_based", draws), late)
    vigie("backtest", "--windows", "2008")
    for other in ("pool", path):
        done = vigie("compare", path, other)
        assert done.code == 3
        assert "there is no country-month that both" in done.err
