"""The exported file has the draws that it was made from."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from riskmodel.forecasting.forecast import LEADS, Forecast
from training import export
from training.windows import challenge_window


def test_each_draw_of_leads_3_to_14_has_a_row(tmp_path: Path) -> None:
    window = challenge_window(2018)
    draws = np.random.default_rng(1).integers(0, 500_000, (3, LEADS, 4)).astype(np.float32)
    draws[1] = np.nan
    path = tmp_path / "deep" / "forecasts.parquet"
    with export.open_writer(path) as write:
        write(Forecast(window.origin, ("MLI", "NER", "SEN"), "state_based", draws), window)
        assert not path.exists()
    rows = pq.read_table(path).to_pandas()
    assert len(rows) == 2 * 12 * 4
    for row in rows.itertuples():
        country, month = ("MLI", "NER", "SEN").index(row.iso3), row.month.month
        assert row.deaths == draws[country, month + 1, row.draw]
        assert (f"{row.origin:%Y-%m-%d}", row.month.year, row.month.day) == ("2017-10-01", 2018, 1)
