"""The variants of UCDP event files, and the release and coverage that the content proves."""

import gzip
import zipfile
from datetime import date
from pathlib import Path

import ged
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from riskmodel import geography
from riskmodel.sources.ucdp import GedFile, detect_release
from riskmodel.sources.ucdp_layout import GED_COLUMNS

TODAY = date(2026, 11, 22)


def rows(path: Path) -> list[dict[str, object]]:
    return pa.concat_tables(checked.accepted for checked in GedFile(path).read(TODAY)).to_pylist()


def test_plain_gzip_and_zip_give_the_same_rows_and_digest(tmp_path: Path) -> None:
    text = ged.text([{"date": "2020-02-03", "best": 4}, {"side_b": "a, b\nand c", "best": 0}]).encode()
    plain, zipped, gzipped = (tmp_path / name for name in ("a.csv", "a.zip", "a.dat"))
    plain.write_bytes(text)
    gzipped.write_bytes(gzip.compress(text))
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("GEDEvent.csv", text)
        archive.writestr("__MACOSX/GEDEvent.csv", "")
    digests = set()
    for path in (plain, zipped, gzipped):
        source = GedFile(path)
        rows = pa.concat_tables(checked.accepted for checked in source.read(TODAY)).to_pylist()
        digests.add(source.table.content_sha256)
        assert [row["deaths"] for row in rows] == [4, 0]
        assert rows[0]["date_start"] == date(2020, 2, 3)
        assert rows[1]["side_b"] == "a, b\nand c"
    assert len(digests) == 1


def test_the_website_variant_is_read(tmp_path: Path) -> None:
    columns = [name for name in GED_COLUMNS if name not in ("gwnoa", "gwnob", "best", "high", "low")]
    header = ",".join([*columns, "best_est", "high_est", "low_est"])
    body = ged.text([{"date_start": "03/17/2020 00:00:00", "date_end": "03/18/2020 00:00:00"}], columns).splitlines()[1]
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n{body},7,9,5,\n")
    source = GedFile(path)
    (row,) = rows(path)
    assert source.variant == "website"
    assert (row["date_start"], row["date_end"]) == (date(2020, 3, 17), date(2020, 3, 18))
    assert (row["deaths_low"], row["deaths"], row["deaths_high"]) == (5, 7, 9)


def test_the_hdx_variant_with_a_line_of_tags_is_read(tmp_path: Path) -> None:
    columns = [*GED_COLUMNS, "iso3"]
    lines = ged.text([{"id": "15960.0", "country_id": "475.0", "best": "0", "where_prec": "1.0"}], columns).splitlines()
    tags = ",".join("#tag" if name == "date_start" else "" for name in columns)
    path = tmp_path / "a.csv"
    path.write_text("\n".join([lines[0], tags, lines[1]]) + "\n")
    (row,) = rows(path)
    assert GedFile(path).variant == "hdx"
    assert (row["event_id"], row["iso3"], row["where_prec"]) == ("15960", "NGA", 1)


def test_cells_that_are_not_utf_8_are_read_as_latin_1(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        ged.text([{"adm_1": "Ségou"}]).encode("latin-1")
        + ged.text([{"id": 2, "adm_1": "Kidal"}]).encode().split(b"\n", 1)[1]
    )
    assert [row["adm_1"] for row in rows(path)] == ["Ségou", "Kidal"]


def test_missing_is_null_and_never_zero(tmp_path: Path) -> None:
    empty = {"date_prec": "", "deaths_civilians": "", "number_of_sources": -1, "dyad_name": "", "low": ""}
    (row,) = rows(ged.write(tmp_path / "a.csv", empty))
    names = ("date_prec", "deaths_civilians", "source_count", "dyad", "deaths_low")
    assert [row[name] for name in names] == [None] * 5


def of_region(region: str) -> set[str]:
    return {iso3 for iso3, its_region in geography.ucdp_regions().items() if its_region == region}


def country_months(first: str, last: str, countries: int, events: int, region: str = "") -> pd.DataFrame:
    """Return country-months with `events` each, from `first` to `last`, of the world or of one of UCDP's regions."""
    months = pd.date_range(first, last, freq="MS")
    of_world = sorted(geography.ucdp_regions())[::4]
    iso3 = sorted(of_region(region))[:countries] if region else of_world[:countries]
    grid = pd.MultiIndex.from_product([iso3, months], names=["iso3", "month"])
    return pd.DataFrame({"events": events}, index=grid).reset_index()


@pytest.mark.parametrize(
    ("counts", "release", "covers"),
    [
        (country_months("1989-01", "2025-12", 40, 3), "26.1", "*:1989-01..2025-12"),
        (country_months("2026-02", "2026-02", 40, 3), "26.0.2", "*:2026-02..2026-02"),
        (country_months("2026-01", "2026-06", 40, 3), "26.01.26.06", "*:2026-01..2026-06"),
        (
            pd.concat([country_months("2026-02", "2026-02", 40, 30), country_months("2026-01", "2026-01", 2, 5)]),
            "26.0.2",
            "*:2026-02..2026-02",
        ),
    ],
    ids=["final", "monthly candidate", "consolidated candidate", "candidate with late events"],
)
def test_the_content_of_a_release_proves_it(counts: pd.DataFrame, release: str, covers: str) -> None:
    found, spans = detect_release(counts)
    assert (found, [str(span) for span in spans]) == (release, [covers])


def test_an_early_candidate_covers_only_the_regions_in_it() -> None:
    release, spans = detect_release(country_months("2020-02", "2020-02", 22, 5, "Africa"))
    assert release == "20.0.2"
    assert {span.iso3 for span in spans} == of_region("Africa")
    assert {"AFG", "UKR", "SYR"}.isdisjoint(span.iso3 for span in spans)


@pytest.mark.parametrize(
    "counts",
    [
        country_months("1989-01", "2025-12", 1, 50),
        country_months("1989-01", "2025-11", 40, 3),
        country_months("1990-01", "2025-12", 40, 3),
        country_months("1989-01", "2025-12", 40, 1).sample(1000, random_state=np.random.default_rng(1)),
        country_months("2026-02", "2026-02", 3, 100),
        country_months("2026-03", "2026-06", 40, 3),
        country_months("2025-12", "2026-01", 40, 3),
        country_months("2026-02", "2026-02", 40, 3, "Africa"),
        country_months("2026-02", "2026-02", 40, 3).iloc[:0],
    ],
    ids=[
        "one country",
        "unfinished year",
        "late start",
        "sample",
        "few countries",
        "no January",
        "two years",
        "one region, when releases covered the world",
        "nothing",
    ],
)
def test_other_content_proves_no_release(counts: pd.DataFrame) -> None:
    assert detect_release(counts) == (None, [])
