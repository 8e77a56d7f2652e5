"""`vigie train` and `vigie backtest`, as a user runs them on an archive."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from histories import SAHEL

from riskmodel import bundle
from riskmodel.home import Home

Vigie = Callable[..., Any]


def test_train_puts_a_model_of_the_region_s_origin_into_service(home: Home, vigie: Vigie, history: Path) -> None:
    vigie("ingest", "monthly", history)
    said = vigie("train")
    assert said.code == 0, said.err
    path = bundle.champion(home.models, simulated=False)
    assert path is not None
    model = bundle.load(path)
    assert (str(model.origin), model.outcome, model.provenance.simulated) == ("2009-12", "state_based", False)
    assert path.name in said.out
    assert "state_based deaths of 8 countries to 2009-12" in said.out
    assert "final figures" in said.out
    assert "SIMULATED" not in said.out

    again = vigie("train", "--origin", "2008-06")
    assert again.code == 0, again.err
    other = bundle.champion(home.models, simulated=False)
    assert other is not None
    assert str(bundle.load(other).origin) == "2008-06"
    assert bundle.load(path).id == path.name


def test_train_twice_makes_one_model(home: Home, vigie: Vigie, history: Path) -> None:
    vigie("ingest", "monthly", history)
    vigie("train", "--origin", "2004-06")
    first = bundle.champion(home.models, simulated=False)
    assert "not scored" in vigie("train", "--origin", "2004-06").out
    assert bundle.champion(home.models, simulated=False) == first
    assert len([path for path in home.models.iterdir() if path.is_dir()]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["train"], 3, "the archive is empty"),
        (["train", "--region", "XYZ"], 2, "'XYZ' is not the ISO alpha-3 code"),
        (["train", "--origin", "soon"], 2, "not a month written YYYY-MM"),
        (["backtest", "--windows", "2008"], 3, "the archive is empty"),
        (["backtest", "--windows", "last"], 2, "neither a year nor two years"),
        (["backtest"], 2, "--windows"),
        (["train", "--outcome", "some"], 2, "--outcome"),
    ],
)
def test_wrong_use_and_an_empty_archive(vigie: Vigie, arguments: list[str], code: int, said: str) -> None:
    done = vigie(*arguments)
    assert done.code == code
    assert said in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["train", "--region", "XYZ"], 2, "'XYZ' is not the ISO alpha-3 code"),
        (["train", "--region", "JPN"], 3, "no country of the region of JPN has a history"),
        (["train", "--outcome", "all"], 3, "history of all deaths"),
        (["train", "--origin", "soon"], 2, "not a month written YYYY-MM"),
        (["train", "--origin", "2011-01"], 3, "lies outside the data"),
        (["train", "--origin", "2001-01"], 3, "a model needs 200"),
        (["backtest", "--windows", "2012"], 3, "the archive holds 2000-01 to 2009-12"),
        (["backtest", "--windows", "2008", "--outcome", "all"], 3, "history of all deaths up to 2007-10"),
    ],
)
def test_what_cannot_be_done_is_said(
    home: Home, vigie: Vigie, history: Path, arguments: list[str], code: int, said: str
) -> None:
    vigie("ingest", "monthly", history)
    done = vigie(*arguments)
    assert done.code == code
    assert said in " ".join(done.err.split())
    assert not home.models.exists() or bundle.champion(home.models, simulated=False) is None


def test_backtest_prints_all_components_and_writes_the_forecasts(vigie: Vigie, history: Path, tmp_path: Path) -> None:
    vigie("ingest", "monthly", history)
    out = tmp_path / "forecasts.parquet"
    said = vigie("backtest", "--windows", "2007:2008", "--forecasts-out", out)
    assert said.code == 0, said.err
    assert "state_based deaths, the region of MLI (8 countries), final figures" in said.out
    for component in ("pool", "ew4s", "conflictology12", "history60", "last", "zero"):
        assert said.out.count(f" {component} ") >= 3
    assert "windows won" in said.out
    table = pq.read_table(out)
    assert table.schema.names == ["origin", "iso3", "month", "draw", "deaths", "simulated"]
    assert not any(table["simulated"].to_pylist())
    rows = table.to_pandas()
    assert len(rows) == 2 * 8 * 12 * 1000
    assert set(rows["origin"].astype(str)) == {"2006-10-01", "2007-10-01"}
    assert (rows["month"].astype(str).min(), rows["month"].astype(str).max()) == ("2007-01-01", "2008-12-01")
    assert set(rows["iso3"]) == set(SAHEL)
    assert (rows["draw"].min(), rows["draw"].max()) == (0, 999)
    assert rows["deaths"].min() >= 0
    assert pq.ParquetFile(out).metadata.row_group(0).column(4).compression == "ZSTD"


def test_each_scope_has_its_tables_and_earlier_years_fix_the_thresholds_of_alerts(vigie: Vigie, history: Path) -> None:
    vigie("ingest", "monthly", history)
    alone = vigie("backtest", "--rolling", "2009", "--scope", "region", "--scope", "MLI", "--scope", "MLI,NER")
    assert alone.code == 0, alone.err
    for where in ("the region of MLI (8 countries)", "MLI (1 country)", "MLI, NER (2 countries)"):
        assert f"{where}, final figures" in alone.out
    _, region, mali, both = alone.out.split("back-test ")
    assert all(part.count("No alerts yet") == 1 for part in (region, mali, both))
    assert "bootstrap over windows" in mali
    assert "bootstrap over countries" in both
    assert "nan" not in alone.out
    for year in ("2006", "2007", "2008"):
        vigie("backtest", "--rolling", year)
    after = vigie("backtest", "--rolling", "2009")
    assert "alerts of escalation in 2009\n" in after.out
    assert after.out.startswith("back-test " + region.split("alerts")[0].split("No ")[0][:200])


def test_a_back_test_that_fails_leaves_the_file_as_it_was(vigie: Vigie, history: Path, tmp_path: Path) -> None:
    vigie("ingest", "monthly", history)
    out = tmp_path / "forecasts.parquet"
    out.write_bytes(b"before")
    assert vigie("backtest", "--windows", "2008:2010", "--forecasts-out", out).code == 3
    assert out.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forecasts.parquet", "home", "monthly.csv"]


def test_simulated_data_say_so(home: Home, vigie: Vigie, tmp_path: Path) -> None:
    assert vigie("ingest", "simulated", "--until", "1992-12").code == 0
    said = vigie("train")
    assert said.code == 0, said.err
    assert "SIMULATED state_based deaths" in said.out
    path = bundle.champion(home.models, simulated=True)
    assert path is not None
    assert path.name.startswith("simulated-")
    assert bundle.load(path).provenance.simulated
    assert bundle.champion(home.models, simulated=False) is None
    judged = vigie("backtest", "--windows", "1992", "--forecasts-out", tmp_path / "draws.parquet")
    assert "SIMULATED state_based deaths" in judged.out
    assert set(pq.read_table(tmp_path / "draws.parquet")["simulated"].to_pylist()) == {True}
    assert vigie("compare", "ew4s", "conflictology12").out.startswith("SIMULATED ")
