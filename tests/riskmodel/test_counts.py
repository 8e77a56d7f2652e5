"""Counts of events by country-month."""

from datetime import timedelta
from pathlib import Path

import ged
import numpy as np
from releases import NOW, take_in

from riskmodel.events.archive import Archive
from riskmodel.reporting.counts import event_counts


def test_events_are_counted_where_they_have_precedence(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    rows = [{"date": "2020-01-05"}, {"date": "2020-01-06", "type_of_violence": 3}, {"date": "2020-03-05"}]
    take_in(archive, ged.write(tmp_path / "a.csv", *rows), "MLI:2020-01..2020-03")
    path = tmp_path / "t.monthly"
    path.write_text("iso3,month,deaths_state_based\nMLI,2020-02,7\n")
    take_in(archive, path, now=NOW + timedelta(days=1))
    view = archive.view()
    np.testing.assert_array_equal(event_counts(view, "all"), [[2, np.nan, 1]])
    np.testing.assert_array_equal(event_counts(view, "state_based"), [[1, np.nan, 1]])
    assert view.events(["event_id"]).num_rows == 3
