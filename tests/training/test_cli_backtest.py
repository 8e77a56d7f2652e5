"""`vigie backtest`, as a user runs it on an archive."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from histories import SAHEL

from training.backtest_alerts import shipped_threshold

Vigie = Callable[..., Any]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--windows", "2008"], 3, "the archive is empty"),
        (["--windows", "last"], 2, "neither a year nor two years"),
        ([], 2, "--windows"),
    ],
)
def test_wrong_use_and_an_empty_archive_are_refused(
    vigie: Vigie, arguments: list[str], code: int, message: str
) -> None:
    done = vigie("backtest", *arguments)
    assert done.code == code
    assert message in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--windows", "2012"], "the archive holds 2000-01 to 2009-12"),
        (["--windows", "2008", "--outcome", "all"], "history of deaths in all organised violence up to 2007-10"),
    ],
)
def test_windows_without_data_are_refused(vigie: Vigie, archive: None, arguments: list[str], message: str) -> None:
    done = vigie("backtest", *arguments)
    assert done.code == 3
    assert message in " ".join(done.err.split())


def test_all_forecasters_are_shown_and_the_forecasts_written(vigie: Vigie, archive: None, tmp_path: Path) -> None:
    out = tmp_path / "forecasts.parquet"
    done = vigie("backtest", "--windows", "2007:2008", "--forecasts-out", out)
    assert done.code == 0, done.err
    assert "deaths in state-based conflict, the region of MLI (8 countries), final figures" in done.out
    for forecaster in ("pool", "ew4s", "conflictology12", "history60", "last", "zero"):
        assert done.out.count(f" {forecaster} ") >= 3
    assert "windows won" in done.out
    assert "lower is better" in done.out
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


def test_each_scope_has_its_tables_and_earlier_years_fix_the_alert_thresholds(vigie: Vigie, archive: None) -> None:
    alone = vigie("backtest", "--rolling", "2009", "--scope", "region", "--scope", "MLI", "--scope", "MLI,NER")
    assert alone.code == 0, alone.err
    for where in ("the region of MLI (8 countries)", "MLI (1 country)", "MLI, NER (2 countries)"):
        assert f"{where}, final figures" in alone.out
    _, region, mali, mali_and_niger = alone.out.split("back-test ")
    assert all(part.count("No thresholds yet") == 1 for part in (region, mali, mali_and_niger))
    shipped = f"alerts of escalation in 2009, at the threshold that ships, {shipped_threshold():.2f}"
    assert all(part.count(shipped) == 1 for part in (region, mali))
    assert "bootstrap over windows" in mali
    assert "bootstrap over countries" in mali_and_niger
    assert "nan" not in alone.out
    for year in ("2006", "2007", "2008"):
        vigie("backtest", "--rolling", year)
    after = vigie("backtest", "--rolling", "2009")
    assert "alerts of escalation in 2009, at thresholds fixed on the windows before\n" in after.out
    assert after.out.startswith("back-test " + region.split("alerts")[0].split("No ")[0][:200])


def test_a_back_test_that_fails_leaves_the_file_as_it_was(vigie: Vigie, archive: None, tmp_path: Path) -> None:
    out = tmp_path / "forecasts.parquet"
    out.write_bytes(b"before")
    assert vigie("backtest", "--windows", "2008:2010", "--forecasts-out", out).code == 3
    assert out.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forecasts.parquet", "home", "monthly.csv"]


def test_simulated_data_are_marked_in_tables_and_files(vigie: Vigie, tmp_path: Path) -> None:
    assert vigie("ingest", "simulated", "--until", "1992-12").code == 0
    done = vigie("backtest", "--windows", "1992", "--forecasts-out", tmp_path / "draws.parquet")
    assert "SIMULATED deaths in all organised violence" in done.out, "the simulator has all types"
    assert set(pq.read_table(tmp_path / "draws.parquet")["simulated"].to_pylist()) == {True}
    assert vigie("compare", "ew4s", "conflictology12").out.startswith("SIMULATED ")
