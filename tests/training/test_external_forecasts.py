"""Files of forecasts: scored like the forecaster that wrote them, and refused with the rule that is broken."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from histories import SAHEL, made, rectangle

from riskmodel.errors import BadInput
from riskmodel.forecasting.baselines import Conflictology, History
from riskmodel.indicators.panel import assemble
from training import evaluation, export
from training.external_forecasts import ForecastFile, score_file
from training.results import LOSSES, pair_forecasters
from training.windows import challenge_windows

PANEL = assemble(rectangle(made()), "state_based")


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """The draws of history60 on two years, as a file."""
    path = tmp_path / "theirs.parquet"
    with export.open_writer(path) as write:
        for window in challenge_windows("2007:2008"):
            write(History().forecast(PANEL, window.origin), window)
    return path


def altered(path: Path, alter: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    alter(pd.read_parquet(path)).to_parquet(path)
    return path


def test_a_file_has_the_scores_of_the_forecaster_that_wrote_it(theirs: Path) -> None:
    grid = evaluation.run(PANEL, challenge_windows("2006:2008"), SAHEL, History(), baselines=[Conflictology()])
    scored = score_file(ForecastFile(theirs), grid, "theirs")
    for score in (*LOSSES, "within_50", "within_90"):
        np.testing.assert_allclose(scored.scores[score][0, 1:], grid.scores[score][0, 1:], rtol=1e-12)
        assert np.isnan(scored.scores[score][0, 0]).all()
    pair = pair_forecasters(scored, "theirs", grid, "conflictology12")
    assert (~np.isnan(pair.scores["crps"])).sum(axis=(1, 2, 3)).tolist() == [2 * 8 * 12] * 2
    difference = pair.difference("ign", "theirs", "conflictology12", np.random.default_rng(1))
    means = grid.means("ign")[:, 1:3]
    assert difference.estimate.value == pytest.approx(means[0].sum() / means[1].sum() - 1)
    assert (difference.windows_won, difference.windows) == ((means[0] < means[1]).sum(), 2)


def test_order_of_rows_and_kind_of_columns_do_not_matter(theirs: Path) -> None:
    before = ForecastFile(theirs).draws_at(np.datetime64("2006-10", "M"))

    def rewritten(rows: pd.DataFrame) -> pd.DataFrame:
        rows = rows.sample(frac=1, random_state=1)
        rows["origin"] = rows["origin"].dt.strftime("%Y-%m-%d")
        rows["month"] = rows["month"].dt.date
        rows["deaths"] = rows["deaths"].astype(float)
        return rows.assign(more=1)

    after = ForecastFile(altered(theirs, rewritten)).draws_at(np.datetime64("2006-10", "M"))
    assert before[0] == after[0]
    np.testing.assert_array_equal(before[1], after[1])


BROKEN_RULES: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = [
    (lambda rows: rows.drop(columns="draw"), "needs the columns origin, iso3, month, draw, deaths; missing draw"),
    (lambda rows: rows.head(0), "has no rows"),
    (lambda rows: rows.assign(deaths=-1), "deaths must be numbers, 0 or more"),
    (lambda rows: rows.assign(deaths=np.inf), "deaths must be numbers, 0 or more"),
    (lambda rows: rows.assign(deaths="many"), "the column deaths must contain numbers"),
    (lambda rows: rows.assign(iso3="XXX"), "'XXX' is not an ISO alpha-3 code"),
    (lambda rows: rows.assign(month=rows["origin"]), "the month 2006-10 is not among the 36 months after the origin"),
    (lambda rows: rows.assign(month="soon"), "the column month must contain dates"),
    (lambda rows: rows.assign(origin=pd.NaT), "the column origin has .* rows without a value"),
    (
        lambda rows: rows.drop(index=rows.index[5]),
        "BFA 2007-01 has 1000 draws|has 999 draws where another month has 1000",
    ),
    (lambda rows: rows.assign(draw=7), "must be numbered 0 to 999, each once"),
]


@pytest.mark.parametrize(("alter", "rule"), BROKEN_RULES, ids=[rule[:25] for _, rule in BROKEN_RULES])
def test_a_file_that_breaks_a_rule_is_refused_with_the_rule(
    theirs: Path, alter: Callable[[pd.DataFrame], pd.DataFrame], rule: str
) -> None:
    file = ForecastFile(altered(theirs, alter))
    with pytest.raises(BadInput, match=rule) as refused:
        file.draws_at(file.origins[0])
    assert str(theirs) in str(refused.value)


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "no.parquet"
    path.write_bytes(b"origin,iso3\n")
    with pytest.raises(BadInput, match="is not a Parquet file"):
        list(ForecastFile(path).origins)
