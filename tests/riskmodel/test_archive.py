"""The archive: who speaks for a country-month, what stays unknown, what was known when, and what survives."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ged
import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from riskmodel.errors import BadInput, Refused
from riskmodel.events import archive as archive_module
from riskmodel.events import manifest
from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.events.releases import published
from riskmodel.ingest import Receipt, ingest
from riskmodel.months import month
from riskmodel.sources.monthly import MonthlyFile
from riskmodel.sources.ucdp import GedFile

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)


def take_in(archive: Archive, path: Path, *covers: str, release: str | None = None, now: datetime = NOW) -> Receipt:
    reader = MonthlyFile if path.suffix == ".monthly" else GedFile
    return ingest(archive, reader(path), covers=[Coverage.parse(c) for c in covers], release=release, now=now)


def monthly(path: Path, first: str, deaths: Sequence[int | None], iso3: str = "MLI", *more: str) -> Path:
    """A country-month table from a month on; None leaves the month out."""
    months = np.arange(month(first), month(first) + len(deaths))
    rows = [f"{iso3},{m},{d}\n" for m, d in zip(months, deaths, strict=True) if d is not None]
    path = path.with_suffix(".monthly")
    path.write_text("iso3,month,deaths_state_based\n" + "".join(rows) + "".join(more))
    return path


def said(archive: Archive, iso3: str, when: str, kind: str = "state_based") -> float | None:
    """What the archive says of one country-month; None is unknown."""
    observed = archive.view().outcomes()
    if iso3 not in observed.iso3 or not observed.months[0] <= month(when) <= observed.months[-1]:
        return None
    value = observed.deaths[kind][observed.iso3.index(iso3), int((month(when) - observed.months[0]).astype(int))]
    return None if np.isnan(value) else float(value)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


def test_outside_declared_coverage_nothing_is_known(archive: Archive, tmp_path: Path) -> None:
    events = ged.write(
        tmp_path / "a.csv",
        {"date": "2020-01-05", "best": 3},
        {"date": "2020-01-09", "best": 4, "type_of_violence": 3},
        {"date": "2020-04-01", "best": 50},
        {"date": "2020-02-01", "best": 60, "country_id": ged.NIGER},
    )
    take_in(archive, events, "MLI:2020-01..2020-03")
    assert [said(archive, "MLI", m) for m in ("2019-12", "2020-01", "2020-02", "2020-04")] == [None, 3, 0, None]
    assert said(archive, "MLI", "2020-01", "one_sided") == 4
    assert said(archive, "MLI", "2020-01", "all") == 7
    assert said(archive, "NER", "2020-02") is None


def test_without_declared_coverage_nothing_becomes_known(archive: Archive, tmp_path: Path) -> None:
    take_in(archive, ged.write(tmp_path / "a.csv", {}))
    view = archive.view()
    assert view.outcomes().iso3 == ()
    assert view.origin(("MLI",)) is None
    assert archive.ingests()[0].rows == 1


def test_the_newest_release_wins_then_the_newest_ingest(archive: Archive, tmp_path: Path) -> None:
    def one(name: str, best: int) -> Path:
        return ged.write(tmp_path / name, {"date": "2020-01-05", "best": best})

    for name, best, release, wins in [
        ("a.csv", 1, "24.1", 1),
        ("b.csv", 2, None, 1),
        ("c.csv", 3, "23.1", 1),
        ("d.csv", 4, "24.1", 4),
        ("e.csv", 5, "25.1", 5),
        ("f.csv", 6, "24.1", 5),
    ]:
        take_in(archive, one(name, best), "MLI:2020-01..2020-02", release=release)
        assert said(archive, "MLI", "2020-01") == wins
    (source,) = archive.view().sources("MLI")
    assert source == {"ingest": "0005", "source": "UCDP 25.1", "release": "25.1", "first": "2020-01", "last": "2020-02"}


def test_a_country_month_table_and_events_share_out_by_precedence(archive: Archive, tmp_path: Path) -> None:
    take_in(archive, monthly(tmp_path / "m", "2020-01", [10, 20, 30]))
    take_in(archive, ged.write(tmp_path / "a.csv", {"date": "2020-02-05", "best": 7}), "MLI:2020-02..2020-02")
    assert [said(archive, "MLI", m) for m in ("2020-01", "2020-02", "2020-03")] == [10, 7, 30]
    assert [said(archive, "MLI", m, "all") for m in ("2020-01", "2020-02")] == [None, 7]
    assert [(s["first"], s["last"]) for s in archive.view().sources("MLI")] == [
        ("2020-01", "2020-01"), ("2020-02", "2020-02"), ("2020-03", "2020-03"),
    ]  # fmt: skip


def test_an_event_that_a_later_release_moved_counts_once(archive: Archive, tmp_path: Path) -> None:
    covers = ("MLI:2020-01..2020-12",), ("NER:2020-01..2020-12",)
    take_in(archive, ged.write(tmp_path / "a.csv", {"id": 9, "best": 8}), *covers[0], release="23.1")
    moved = ged.write(tmp_path / "b.csv", {"id": 9, "best": 8, "country_id": ged.NIGER})
    take_in(archive, moved, *covers[1], release="24.1")
    assert (said(archive, "MLI", "2020-01"), said(archive, "NER", "2020-01")) == (0, 8)


def test_the_same_file_again_adds_nothing(archive: Archive, tmp_path: Path) -> None:
    path = ged.write(tmp_path / "a.csv", {})
    assert not take_in(archive, path, "MLI:2020-01..2020-12").known
    digest = archive.view().digest
    assert take_in(archive, path, "MLI:2020-01..2020-12").known
    assert (len(archive.ingests()), archive.view().digest) == (1, digest)
    assert not take_in(archive, path, "MLI:2019-01..2020-12").known
    assert said(archive, "MLI", "2019-05") == 0


def test_the_origin_is_the_end_of_unbroken_coverage(archive: Archive, tmp_path: Path) -> None:
    take_in(archive, monthly(tmp_path / "m", "2018-01", [1] * 36))
    assert archive.view().origin(("MLI",)) == month("2020-12")
    take_in(archive, ged.write(tmp_path / "late.csv", {"date": "2021-03-01"}), "*:2021-03..2021-03")
    assert archive.view().origin(("MLI",)) == month("2020-12"), "a month beyond a gap makes no history"
    take_in(archive, monthly(tmp_path / "n", "2021-01", [1, 1]))
    assert archive.view().origin(("MLI",)) == month("2021-03"), "the gap is closed"


@pytest.mark.parametrize(("months", "origin"), [(23, None), (24, "2021-12")])
def test_two_years_make_a_history(archive: Archive, tmp_path: Path, months: int, origin: str | None) -> None:
    take_in(archive, monthly(tmp_path / "m", "2020-01", [0] * months))
    assert archive.view().origin(("MLI",)) == (month(origin) if origin else None)


def test_the_common_origin_is_known_for_half_of_the_countries(archive: Archive, tmp_path: Path) -> None:
    for iso3, months in (("MLI", 40), ("NER", 36), ("BFA", 36), ("SEN", 24)):
        take_in(archive, monthly(tmp_path / iso3, "2018-01", [0] * months, iso3))
    view = archive.view()
    assert view.origin(("MLI", "NER", "BFA", "SEN")) == month("2020-12")
    assert view.origin(("MLI", "SEN")) == month("2021-04")
    assert view.origin(("MLI", "NER", "BFA", "SEN"), outcome="all") is None


def test_as_of_cuts_by_what_had_been_published(archive: Archive, tmp_path: Path) -> None:
    first = ged.write(tmp_path / "a.csv", {"date": "2020-01-05", "best": 3})
    second = ged.write(tmp_path / "b.csv", {"date": "2020-01-05", "best": 30})
    take_in(archive, second, "MLI:2020-01..2020-12", release="24.1")
    take_in(archive, first, "MLI:2020-01..2020-12", release="21.1")
    assert archive.view(datetime(2021, 5, 31, tzinfo=UTC)).ingests == ()
    assert archive.view(datetime(2022, 1, 1, tzinfo=UTC)).outcomes().deaths["all"][0, 0] == 3
    assert archive.view().outcomes().deaths["all"][0, 0] == 30


def test_real_data_retires_simulated_and_keeps_it_out(archive: Archive, tmp_path: Path) -> None:
    simulated = ged.write(tmp_path / "s.csv", {"side_a": "SIMULATED front", "country_id": ged.NIGER})
    assert not take_in(archive, simulated, "NER:2020-01..2020-12").retires_simulation
    assert (manifest.realm(archive.root), archive.view().simulated) == ("simulated", True)
    receipt = take_in(archive, ged.write(tmp_path / "a.csv", {}), "MLI:2020-01..2020-12")
    assert receipt.retires_simulation
    assert (manifest.realm(archive.root), archive.view().simulated) == ("real", False)
    assert said(archive, "NER", "2020-01") is None
    with pytest.raises(Refused, match="real data"):
        take_in(archive, simulated, "*:2020-01..2020-12")


def test_a_second_ingest_is_told_of_the_first(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "LOCK_WAIT", 0.1)
    archive.root.mkdir()
    with FileLock(archive.root / "lock"), pytest.raises(Refused, match="another ingest"):
        take_in(archive, ged.write(tmp_path / "a.csv", {}))


def test_what_a_killed_ingest_left_is_cleaned_and_never_seen(archive: Archive, tmp_path: Path) -> None:
    take_in(archive, ged.write(tmp_path / "a.csv", {"best": "x"}, {}), "MLI:2020-01..2020-12")
    for left in ("events/0002.parquet", "quarantine/0002.parquet", ".manifest.json.1.2.part"):
        (archive.root / left).write_bytes(b"half")
    assert len(archive.ingests()) == 1
    take_in(archive, ged.write(tmp_path / "b.csv", {"best": 9}), "MLI:2020-01..2020-12")
    files = {str(path.relative_to(archive.root)) for path in archive.root.rglob("*") if path.is_file()}
    assert files - {"lock"} == {
        "manifest.json",
        "events/0001.parquet",
        "events/0002.parquet",
        "quarantine/0001.parquet",
    }


def test_a_damaged_manifest_is_refused(archive: Archive) -> None:
    archive.root.mkdir()
    (archive.root / "manifest.json").write_text('{"ingests": [{"id"')
    with pytest.raises(Refused, match="damaged"):
        archive.ingests()


@pytest.mark.parametrize(
    ("release", "day"),
    [("25.1", "2025-06-01"), ("26.0.2", "2026-03-20"), ("25.0.12", "2026-01-20"), ("26.01.26.06", "2026-07-20")],
)
def test_when_a_release_was_published(release: str, day: str) -> None:
    assert f"{published(release):%Y-%m-%d}" == day


@pytest.mark.parametrize("text", ["", "25", "25.0", "26.0.13", "26.0.0", "26.01.26.13", "x"])
def test_what_is_no_release(text: str) -> None:
    with pytest.raises(BadInput, match="no release"):
        published(text)


Statement = tuple[int, int, str | None, list[tuple[int, int]]]
STATEMENTS = st.lists(
    st.tuples(
        st.integers(0, 11),
        st.integers(0, 11),
        st.sampled_from([None, "23.1", "24.1", "25.1"]),
        st.lists(st.tuples(st.integers(0, 11), st.integers(0, 9)), min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=40, deadline=None)
@given(statements=STATEMENTS)
def test_any_history_of_ingests_agrees_with_a_plain_model(
    tmp_path_factory: pytest.TempPathFactory, statements: list[Statement]
) -> None:
    """Every statement covers an interval of one year; the plain model asks month by month who may speak."""
    folder = tmp_path_factory.mktemp("history")
    archive = Archive(folder / "archive")
    year = [month("2020-01") + i for i in range(12)]
    for number, (a, b, release, events) in enumerate(statements):
        path = ged.write(
            folder / f"{number}.csv",
            *({"id": 1000 * number + i, "date": f"{year[m]}-03", "best": d} for i, (m, d) in enumerate(events)),
        )
        covers = f"MLI:{year[min(a, b)]}..{year[max(a, b)]}"
        take_in(archive, path, covers, release=release, now=NOW + timedelta(seconds=number))
    for m in range(12):
        able = [
            (release or "", number)
            for number, (a, b, release, _) in enumerate(statements)
            if min(a, b) <= m <= max(a, b)
        ]
        if not able:
            assert said(archive, "MLI", str(year[m])) is None
        else:
            assert said(archive, "MLI", str(year[m])) == sum(d for at, d in statements[max(able)[1]][3] if at == m)
