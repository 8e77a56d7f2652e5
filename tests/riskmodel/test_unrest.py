"""Unrest: protests, riots and the news by month, and which months ACLED and GDELT cover."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import ged
import numpy as np
import pandas as pd
import pytest
from providers_more import event

from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.indicators.families.unrest import INDICATORS
from riskmodel.indicators.inputs import Inputs
from riskmodel.indicators.monthly_tables import monthly_tables
from riskmodel.ingest import ingest
from riskmodel.months import month, span
from riskmodel.sources.acled import FILE_COLUMNS, AcledFile
from riskmodel.sources.gdelt import GdeltFile
from riskmodel.sources.ucdp import GedFile

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ISO3 = ("NER", "MLI")
MONTHS = span(month("2025-01"), month("2025-06"))


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


def acled(archive: Archive, *rows: dict[str, object], covers: Sequence[str] = ("MLI:2025-02..2025-05",)) -> None:
    """Take in a pull of ACLED events."""
    path = archive.root.parent / f"acled{len(archive.ingests())}.csv"
    pd.DataFrame(list(rows)).reindex(columns=FILE_COLUMNS).to_csv(path, index=False)
    spans = [Coverage.parse(text) for text in covers]
    ingest(archive, AcledFile(path), covers=spans, private=True, now=NOW + timedelta(days=len(archive.ingests())))


def gdelt(archive: Archive, *rows: dict[str, object]) -> None:
    """Take in daily counts."""
    path = archive.root.parent / f"gdelt{len(archive.ingests())}.csv"
    pd.DataFrame(list(rows)).to_csv(path, index=False)
    ingest(archive, GdeltFile(path), now=NOW + timedelta(days=len(archive.ingests())))


def day(when: date, iso3: str = "MLI", **cells: object) -> dict[str, object]:
    """One country's day in the news: five events, one of them a protest and two of material conflict."""
    counts = {"verbal_cooperation": 1, "material_cooperation": 1, "verbal_conflict": 1, "material_conflict": 2}
    cells_of_day = {"iso3": iso3, "date": when.isoformat(), "edition": "daily", "parts": 96, "protests": 1}
    return {**cells_of_day, **counts, "mentions": 10, "tone": -2.0, **cells}


def days(first: str, last: str, **cells: object) -> list[dict[str, object]]:
    start, end = date.fromisoformat(first), date.fromisoformat(last)
    return [day(start + timedelta(days=n), **cells) for n in range((end - start).days + 1)]


def test_protests_and_riots_are_counted_in_the_months_that_acled_covers(archive: Archive) -> None:
    acled(
        archive,
        event(1, day="2025-03-01", event_type="Protests"),
        event(2, day="2025-03-31", event_type="Protests"),
        event(3, day="2025-04-01", event_type="Riots"),
        event(4, day="2025-04-02", event_type="Battles"),
        event(5, day="2025-06-02", event_type="Protests"),
    )
    tables = monthly_tables(archive.view(), ISO3, MONTHS)
    nan = np.nan
    np.testing.assert_array_equal(tables["protests"], [[nan] * 6, [nan, 0, 2, 0, 0, nan]])
    np.testing.assert_array_equal(tables["riots"], [[nan] * 6, [nan, 0, 0, 1, 0, nan]])
    assert "news_tone" not in tables


def test_changed_and_deleted_acled_events_count_in_their_last_version(archive: Archive) -> None:
    acled(archive, *(event(i, day="2025-03-01", event_type="Protests") for i in range(1, 5)))
    revised = event(1, day="2025-03-01", event_type="Riots", stamp=1_750_000_009)
    gone = {"event_id_cnty": event(2)["event_id_cnty"], "iso": 466, "timestamp": 1_750_000_010, "deleted": "1"}
    acled(archive, revised, gone, covers=("MLI:2025-02..2025-06",))
    tables = monthly_tables(archive.view(), ISO3, MONTHS)
    assert (tables["protests"][1, 2], tables["riots"][1, 2]) == (2, 1)
    assert tables["protests"][1, 5] == 0, "the second pull reaches further"
    before = monthly_tables(archive.view(as_of=NOW + timedelta(hours=1)), ISO3, MONTHS)
    assert (before["protests"][1, 2], before["riots"][1, 2]) == (4, 0)


def test_the_news_of_a_month_is_the_sum_of_its_days(archive: Archive) -> None:
    first = days("2025-02-01", "2025-02-28")
    first[4] |= {"mentions": 110, "tone": -5.0}
    first[5] |= {"mentions": 0, "tone": None, "verbal_conflict": 0}
    gdelt(archive, *first)
    tables = monthly_tables(archive.view(), ISO3, MONTHS)
    found = {name: table[1, 1] for name, table in tables.items() if name.startswith("news")}
    mentions = 26 * 10 + 110
    assert found == pytest.approx(
        {
            "news_events": 5 * 28 - 1,
            "news_protests": 28,
            "news_conflict": 2 * 28,
            "news_tone": (26 * 10 * -2 + 110 * -5) / mentions,
        }
    )
    assert all(np.isnan(tables[name][0]).all() for name in found)
    assert "protests" not in tables


@pytest.mark.parametrize("broken", ["a day is missing", "a day is incomplete"])
def test_an_incomplete_month_is_unknown(archive: Archive, broken: str) -> None:
    rows = days("2025-02-01", "2025-03-31")
    if broken == "a day is missing":
        del rows[30]
    else:
        rows[30] |= {"parts": 95, "edition": "15-minute"}
    gdelt(archive, *rows)
    tables = monthly_tables(archive.view(), ISO3, MONTHS)
    for name in ("news_events", "news_protests", "news_conflict", "news_tone"):
        known = ~np.isnan(tables[name][1])
        assert MONTHS[known].astype(str).tolist() == ["2025-02"], name


def test_a_month_without_news_has_no_tone(archive: Archive) -> None:
    none = dict.fromkeys(("verbal_cooperation", "material_cooperation", "verbal_conflict", "material_conflict"), 0)
    gdelt(archive, *days("2025-02-01", "2025-02-28", **none, protests=0, mentions=0, tone=None))
    tables = monthly_tables(archive.view(), ISO3, MONTHS)
    assert tables["news_events"][1, 1] == 0
    assert np.isnan(tables["news_tone"][1, 1])


def test_the_order_of_pulls_does_not_matter(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    rows = [
        row | {"tone": float(tone), "mentions": int(mentions)}
        for row, tone, mentions in zip(
            days("2025-02-01", "2025-03-31"), rng.normal(-3, 2, 59), rng.integers(1, 500, 59), strict=True
        )
    ]
    found = []
    for name, order in (("one", (0, 1)), ("other", (1, 0))):
        archive = Archive(tmp_path / name / "archive")
        archive.root.parent.mkdir()
        parts = (rows[::2], rows[1::2])
        for index in order:
            gdelt(archive, *parts[index])
        found.append(monthly_tables(archive.view(), ISO3, MONTHS))
    for name in found[0]:
        np.testing.assert_array_equal(found[0][name], found[1][name])


def test_from_the_files_to_the_indicators(archive: Archive) -> None:
    acled(archive, *(event(i, day=f"2025-0{2 + i % 3}-10", event_type="Protests") for i in range(1, 8)))
    gdelt(archive, *days("2025-02-01", "2025-04-30"))
    path = ged.write(
        archive.root.parent / "protest.csv",
        *({"type_of_violence": 4, "date": f"2025-0{2 + i % 3}-10"} for i in range(1, 8)),
    )
    ingest(archive, GedFile(path), covers=[Coverage.parse("MLI:2025-01..2025-06")], now=NOW)
    inputs = Inputs(ISO3, MONTHS, monthly_tables(archive.view(), ISO3, MONTHS))
    found = {indicator.name: indicator.compute(inputs)[1, 3] for indicator in INDICATORS}
    assert found["protests_3m"] == pytest.approx(np.log1p(7))
    assert found["riots_3m"] == 0
    assert found["violent_protests_3m"] == pytest.approx(np.log1p(7))
    assert np.isnan(found["violent_protests_12m"])
    assert found["news_protest_share_3m"] == pytest.approx(1 / 5)
    assert found["news_conflict_share_3m"] == pytest.approx(2 / 5)
    assert found["news_tone_3m"] == pytest.approx(-2)
    assert np.isnan(found["news_tone_change_3m"])
