"""Deaths of all types: from events, from a table of their sum, or from a table of the three types, and never mixed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import ged
import numpy as np
import pytest

from riskmodel.events.archive import Archive
from riskmodel.events.contents import by_country
from riskmodel.events.coverage import Coverage
from riskmodel.events.storage import TableReader
from riskmodel.ingest import IngestReport, ingest
from riskmodel.months import month
from riskmodel.outcomes import KINDS
from riskmodel.sources.monthly import BELOW_PARTS, MonthlyFile
from riskmodel.sources.ucdp import GedFile

NOW = datetime(2026, 11, 22, tzinfo=UTC)
TYPED = "state_based", "non_state", "one_sided"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


def add_table(
    archive: Archive, kinds: Sequence[str], *rows: Sequence[int], release: str | None = None, months: int = 1
) -> IngestReport:
    """Take in a table of Mali from January 2020, with one column for each kind."""
    path = archive.root.parent / f"{'-'.join(kinds)}{len(archive.ingests())}.csv"
    lines = [",".join(["iso3", "month", *(f"deaths_{kind}" for kind in kinds)])]
    lines += [",".join(map(str, ("MLI", month("2020-01") + i, *row))) for i, row in enumerate(rows * months)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return ingest(archive, MonthlyFile(path), release=release, now=NOW)


def add_events(archive: Archive, *rows: dict[str, object], release: str | None = None) -> None:
    path = ged.write(archive.root.parent / f"events{len(archive.ingests())}.csv", *rows)
    ingest(archive, GedFile(path), covers=[Coverage.parse("MLI:2020-01..2020-01")], release=release, now=NOW)


def mali(archive: Archive) -> dict[str, float | None]:
    """Deaths of Mali in January 2020 by kind; None is unknown."""
    deaths = archive.view().outcomes().deaths
    return {kind: None if np.isnan(deaths[kind][0, 0]) else float(deaths[kind][0, 0]) for kind in KINDS}


@pytest.mark.parametrize(
    ("kinds", "row", "known"),
    [
        (("all",), (9,), {"all": 9}),
        (("state_based",), (5,), {"state_based": 5}),
        (("state_based", "all"), (5, 9), {"state_based": 5, "all": 9}),
        (("one_sided", "all"), (4, 9), {"one_sided": 4, "all": 9}),
        (("state_based", "one_sided"), (5, 3), {"state_based": 5, "one_sided": 3}),
        (TYPED, (5, 1, 3), {"state_based": 5, "non_state": 1, "one_sided": 3, "all": 9}),
        ((*TYPED, "all"), (5, 1, 3, 12), {"state_based": 5, "non_state": 1, "one_sided": 3, "all": 12}),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) and isinstance(value[0], str) else None,
)
def test_a_table_makes_known_what_its_columns_say_and_no_more(
    archive: Archive, kinds: tuple[str, ...], row: tuple[int, ...], known: dict[str, int]
) -> None:
    report = add_table(archive, kinds, row)
    assert mali(archive) == {kind: known.get(kind) for kind in KINDS}
    assert report.ingest.deaths == known.get("all", sum(known.values())), "the types are not added to their sum"
    contents = by_country(TableReader(archive.root), report.ingest).loc["MLI"]
    assert {kind: contents[kind] for kind in KINDS if contents[kind] == contents[kind]} == known


def test_a_sum_below_its_parts_is_quarantined_with_the_reason(archive: Archive) -> None:
    report = add_table(archive, ("state_based", "one_sided", "all"), (5, 3, 8), (5, 3, 7))
    assert (report.ingest.rows, report.ingest.quarantined) == (1, 1)
    assert BELOW_PARTS in report.quarantined[0]
    assert report.ingest.covers == ("MLI:2020-01..2020-01",), "the month of that row is unknown"


def test_all_deaths_come_from_the_newest_file_that_knows_them(archive: Archive) -> None:
    add_events(archive, {"best": 3}, {"id": 2, "best": 4, "type_of_violence": 3}, release="23.1")
    assert mali(archive) == {"state_based": 3, "non_state": 0, "one_sided": 4, "all": 7}
    add_table(archive, ("state_based", "all"), (5, 10), release="24.1")
    assert mali(archive) == {"state_based": 5, "non_state": 0, "one_sided": 4, "all": 10}
    add_table(archive, ("state_based",), (6,), release="25.1")
    assert mali(archive) == {"state_based": 6, "non_state": 0, "one_sided": 4, "all": 10}
    add_table(archive, ("state_based",), (12,), release="25.1")
    assert mali(archive)["all"] == 12, "all deaths are at least those of a newer table of one type"
    add_events(archive, {"best": 8}, release="26.1")
    assert mali(archive) == {"state_based": 8, "non_state": 0, "one_sided": 0, "all": 8}


def test_sources_are_those_of_the_outcome(archive: Archive) -> None:
    add_table(archive, ("all",), (9,), release="24.1")
    add_table(archive, ("state_based",), (5,), release="25.1")
    view, last = archive.view(), month("2020-12")
    assert [source["release"] for source in view.sources("MLI", last, "all")] == ["24.1"]
    assert [source["release"] for source in view.sources("MLI", last, "state_based")] == ["25.1"]


def test_origin_and_coverage_are_those_of_the_outcome(archive: Archive) -> None:
    add_table(archive, ("state_based", "all"), (5, 9), months=36)
    add_table(archive, ("state_based",), (5,), months=40)
    view = archive.view()
    for outcome, last in (("all", "2022-12"), ("state_based", "2023-04")):
        assert view.origin(("MLI",), outcome) == view.last_covered("MLI", outcome) == month(last)
    assert view.newer_data(("MLI",), month("2022-12"), "all") == {}
    assert view.newer_data(("MLI",), month("2022-12"), "state_based") == {"MLI": month("2023-04")}


def test_an_event_of_no_known_type_counts_in_all_deaths_alone(archive: Archive) -> None:
    add_events(archive, {"best": 3}, {"id": 2, "best": 4, "type_of_violence": ""})
    assert mali(archive) == {"state_based": 3, "non_state": 0, "one_sided": 0, "all": 7}
    add_table(archive, TYPED, (5, 1, 3), release="25.1")
    assert mali(archive)["all"] == 9, "the untyped event does not count where the table has precedence"
