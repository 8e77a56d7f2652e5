"""The archive: which ingest counts for a country-month, what is unknown, what was known when, and damage."""

from collections.abc import Sequence
from dataclasses import dataclass
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
from riskmodel.ingest import IngestReport, ingest
from riskmodel.months import month
from riskmodel.sources.monthly import MonthlyFile
from riskmodel.sources.ucdp import GedFile

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)


def take_in(
    archive: Archive, path: Path, *covers: str, release: str | None = None, now: datetime = NOW
) -> IngestReport:
    reader = MonthlyFile if path.suffix == ".monthly" else GedFile
    return ingest(archive, reader(path), covers=[Coverage.parse(c) for c in covers], release=release, now=now)


def monthly(path: Path, first: str, deaths: Sequence[int | None], iso3: str = "MLI", *more: str) -> Path:
    """Write a country-month table from a month on; None leaves the month out."""
    months = np.arange(month(first), month(first) + len(deaths))
    rows = [f"{iso3},{m},{d}\n" for m, d in zip(months, deaths, strict=True) if d is not None]
    path = path.with_suffix(".monthly")
    path.write_text("iso3,month,deaths_state_based\n" + "".join(rows) + "".join(more))
    return path


def deaths_in(archive: Archive, iso3: str, when: str, kind: str = "state_based") -> float | None:
    """Return the deaths of one country-month in the archive's view; None is unknown."""
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
    assert [deaths_in(archive, "MLI", m) for m in ("2019-12", "2020-01", "2020-02", "2020-04")] == [None, 3, 0, None]
    assert deaths_in(archive, "MLI", "2020-01", "one_sided") == 4
    assert deaths_in(archive, "MLI", "2020-01", "all") == 7
    assert deaths_in(archive, "NER", "2020-02") is None


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
        assert deaths_in(archive, "MLI", "2020-01") == wins
    (source,) = archive.view().sources("MLI", month("2020-12"))
    assert source == {"ingest": "0005", "source": "UCDP 25.1", "release": "25.1", "first": "2020-01", "last": "2020-02"}


def test_precedence_decides_between_a_country_month_table_and_events(archive: Archive, tmp_path: Path) -> None:
    take_in(archive, monthly(tmp_path / "m", "2020-01", [10, 20, 30]))
    take_in(archive, ged.write(tmp_path / "a.csv", {"date": "2020-02-05", "best": 7}), "MLI:2020-02..2020-02")
    assert [deaths_in(archive, "MLI", m) for m in ("2020-01", "2020-02", "2020-03")] == [10, 7, 30]
    assert [deaths_in(archive, "MLI", m, "all") for m in ("2020-01", "2020-02")] == [None, 7]
    assert [(s["first"], s["last"]) for s in archive.view().sources("MLI", month("2020-12"))] == [
        ("2020-01", "2020-01"), ("2020-02", "2020-02"), ("2020-03", "2020-03"),
    ]  # fmt: skip


def test_an_event_that_a_later_release_moved_counts_once(archive: Archive, tmp_path: Path) -> None:
    covers = ("MLI:2020-01..2020-12",), ("NER:2020-01..2020-12",)
    take_in(archive, ged.write(tmp_path / "a.csv", {"id": 9, "best": 8}), *covers[0], release="23.1")
    moved = ged.write(tmp_path / "b.csv", {"id": 9, "best": 8, "country_id": ged.NIGER})
    take_in(archive, moved, *covers[1], release="24.1")
    assert (deaths_in(archive, "MLI", "2020-01"), deaths_in(archive, "NER", "2020-01")) == (0, 8)


def test_the_same_file_again_adds_nothing(archive: Archive, tmp_path: Path) -> None:
    path = ged.write(tmp_path / "a.csv", {})
    assert not take_in(archive, path, "MLI:2020-01..2020-12").already_archived
    digest = archive.view().digest
    assert take_in(archive, path, "MLI:2020-01..2020-12").already_archived
    assert (len(archive.ingests()), archive.view().digest) == (1, digest)
    assert not take_in(archive, path, "MLI:2019-01..2020-12").already_archived
    assert deaths_in(archive, "MLI", "2019-05") == 0


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
    report = take_in(archive, ged.write(tmp_path / "a.csv", {}), "MLI:2020-01..2020-12")
    assert report.retires_simulation
    assert (manifest.realm(archive.root), archive.view().simulated) == ("real", False)
    assert deaths_in(archive, "NER", "2020-01") is None
    with pytest.raises(Refused, match="real data"):
        take_in(archive, simulated, "*:2020-01..2020-12")


def test_a_second_ingest_at_the_same_time_is_refused(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "LOCK_WAIT", 0.1)
    archive.root.mkdir()
    with FileLock(archive.root / "lock"), pytest.raises(Refused, match="another ingest"):
        take_in(archive, ged.write(tmp_path / "a.csv", {}))


def test_leftovers_of_a_killed_ingest_are_removed_and_never_visible(archive: Archive, tmp_path: Path) -> None:
    take_in(archive, ged.write(tmp_path / "a.csv", {"best": "x"}, {}), "MLI:2020-01..2020-12")
    (archive.root / "0002.part").mkdir()
    for left in ("0002.part/events.parquet", ".manifest.json.1.2.part", "0001/.statement.json.1.2.part"):
        (archive.root / left).write_bytes(b"half")
    assert len(archive.ingests()) == 1
    take_in(archive, ged.write(tmp_path / "b.csv", {"best": 9}), "MLI:2020-01..2020-12")
    files = {str(path.relative_to(archive.root)) for path in archive.root.rglob("*") if path.is_file()}
    assert files - {"lock"} == {
        "manifest.json",
        "0001/events.parquet",
        "0001/quarantine.parquet",
        "0001/statement.json",
        "0002/events.parquet",
        "0002/statement.json",
    }


def test_a_missing_manifest_is_refused_and_nothing_is_deleted(archive: Archive, tmp_path: Path) -> None:
    take_in(archive, ged.write(tmp_path / "a.csv", {}), "MLI:2020-01..2020-12")
    (archive.root / "manifest.json").unlink()
    for attempt in (archive.ingests, archive.view, lambda: manifest.realm(archive.root)):
        with pytest.raises(Refused, match="is missing, but the archive has data"):
            attempt()
    with pytest.raises(Refused, match="is missing"):
        take_in(archive, ged.write(tmp_path / "b.csv", {}), "MLI:2020-01..2020-12")
    assert (archive.root / "0001" / "events.parquet").exists()


def test_coverage_of_a_month_that_is_not_over_is_bad_input(archive: Archive, tmp_path: Path) -> None:
    path = ged.write(tmp_path / "a.csv", {})
    with pytest.raises(BadInput, match=r"not over: MLI:2020-01\.\.2026-11"):
        take_in(archive, path, "MLI:2020-01..2026-11")
    assert archive.ingests() == ()
    take_in(archive, path, "MLI:2020-01..2026-10")


def test_a_release_that_the_content_disproves_is_bad_input(archive: Archive, tmp_path: Path) -> None:
    places = (432, 436, 439, 437, 433, 615, 438, 435, 475, 461, 434, 625, 651, 700, 70, 369)
    candidate = ged.write(tmp_path / "a.csv", *({"country_id": gw, "date": "2026-02-03"} for gw in places))
    with pytest.raises(BadInput, match=r"is that of release 26\.0\.2, not 25\.1"):
        take_in(archive, candidate, release="25.1")
    assert take_in(archive, candidate).ingest.release == "26.0.2"


def test_deaths_of_an_unknown_type_count_in_all(archive: Archive, tmp_path: Path) -> None:
    take_in(
        archive, ged.write(tmp_path / "a.csv", {"best": 3}, {"best": 5, "type_of_violence": 9}), "MLI:2020-01..2020-02"
    )
    assert [deaths_in(archive, "MLI", "2020-01", kind) for kind in ("state_based", "all")] == [3, 8]


def test_an_ingest_without_coverage_does_not_change_the_digest(archive: Archive, tmp_path: Path) -> None:
    take_in(archive, ged.write(tmp_path / "a.csv", {}), "MLI:2020-01..2020-12")
    digest = archive.view().digest
    take_in(archive, ged.write(tmp_path / "sample.csv", {"best": 9}))
    assert archive.view().digest == digest


def test_the_same_data_has_the_same_digest_in_any_home(tmp_path: Path) -> None:
    path = ged.write(tmp_path / "a.csv", {})
    digests = set()
    for day in (0, 1):
        archive = Archive(tmp_path / f"archive-{day}")
        take_in(archive, path, "MLI:2020-01..2020-12", now=NOW + timedelta(days=day))
        digests.add(archive.view().digest)
    assert len(digests) == 1


def test_a_damaged_manifest_is_refused(archive: Archive) -> None:
    archive.root.mkdir()
    (archive.root / "manifest.json").write_text('{"ingests": [{"id"')
    with pytest.raises(Refused, match="damaged"):
        archive.ingests()


def test_a_manifest_of_the_older_format_is_refused_with_the_way_out(archive: Archive) -> None:
    archive.root.mkdir()
    (archive.root / "manifest.json").write_text('{"format": 1, "ingests": [{"id": "0001", "learned": "2024-06-01"}]}')
    with pytest.raises(Refused, match=r"has format 1, .* ingest the files again into a new home"):
        archive.ingests()


@pytest.mark.parametrize(
    ("release", "day"),
    [("25.1", "2025-06-01"), ("26.0.2", "2026-03-20"), ("25.0.12", "2026-01-20"), ("26.01.26.06", "2026-07-20")],
)
def test_a_release_number_gives_the_day_of_publication(release: str, day: str) -> None:
    assert f"{published(release):%Y-%m-%d}" == day


@pytest.mark.parametrize("text", ["", "25", "25.0", "26.0.13", "26.0.0", "26.01.26.13", "x"])
def test_a_text_that_is_no_release_number_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput, match="no release"):
        published(text)


def test_late_events_of_a_candidate_add_to_an_older_candidate_and_never_to_a_final(
    archive: Archive, tmp_path: Path
) -> None:
    january = ged.write(
        tmp_path / "jan.csv", {"id": 1, "date": "2026-01-05", "best": 3}, {"id": 2, "date": "2026-01-06"}
    )
    late = {"id": 3, "date": "2026-01-30", "best": 10}, {"id": 1, "date": "2026-01-05", "best": 5}
    february = ged.write(tmp_path / "feb.csv", {"id": 4, "date": "2026-02-05", "best": 7}, *late)
    take_in(archive, january, "*:2026-01..2026-01", release="26.0.1")
    take_in(archive, february, "*:2026-02..2026-02", release="26.0.2")
    assert [deaths_in(archive, "MLI", m) for m in ("2026-01", "2026-02")] == [5 + 3 + 10, 7]
    assert deaths_in(archive, "NER", "2026-01") == 0
    final = ged.write(tmp_path / "final.csv", {"id": 91, "date": "2026-01-05", "best": 4})
    take_in(archive, final, "*:2025-01..2026-10", release="27.1", now=NOW + timedelta(days=400))
    assert [deaths_in(archive, "MLI", m) for m in ("2026-01", "2026-02")] == [4, 0]


def test_a_withdrawn_ingest_stops_counting_and_is_not_erased(archive: Archive, tmp_path: Path) -> None:
    good, wrong = (ged.write(tmp_path / f"{best}.csv", {"best": best}) for best in (3, 999))
    take_in(archive, good, "MLI:2020-01..2020-12", now=NOW)
    take_in(archive, wrong, "MLI:2020-01..2020-12", now=NOW + timedelta(days=1))
    archive.withdraw("0002", "the wrong file", NOW + timedelta(days=3))
    assert deaths_in(archive, "MLI", "2020-01") == 3
    for day, known in ((0, 3), (2, 999), (4, 3)):
        assert archive.view(NOW + timedelta(days=day, hours=1)).outcomes().deaths["all"][0, 0] == known
    assert (archive.ingests()[1].withdrawn_reason, (archive.root / archive.ingests()[1].data).exists()) == (
        "the wrong file",
        True,
    )
    with pytest.raises(BadInput, match="was withdrawn"):
        archive.withdraw("0002", "again", NOW)
    with pytest.raises(BadInput, match="no ingest 0009"):
        archive.withdraw("0009", "why", NOW)
    assert not take_in(archive, wrong, "MLI:2020-01..2020-12", now=NOW + timedelta(days=5)).already_archived
    assert deaths_in(archive, "MLI", "2020-01") == 999


def test_simulated_data_count_again_once_all_real_ingests_are_withdrawn(archive: Archive, tmp_path: Path) -> None:
    take_in(archive, ged.write(tmp_path / "s.csv", {"side_a": "SIMULATED front"}), "MLI:2020-01..2020-12")
    take_in(archive, ged.write(tmp_path / "a.csv", {}), "MLI:2020-01..2020-12")
    archive.withdraw("0002", "a mistake", NOW)
    assert (manifest.realm(archive.root), archive.view().simulated) == ("simulated", True)


def test_a_revised_release_is_known_since_the_day_of_the_revision(archive: Archive, tmp_path: Path) -> None:
    first, second = (ged.write(tmp_path / f"{best}.csv", {"best": best}) for best in (3, 30))
    take_in(archive, first, "MLI:2020-01..2020-12", release="24.1")
    take_in(archive, second, "MLI:2020-06..2020-12", release="24.1")
    take_in(archive, second, "MLI:2020-01..2020-12", release="24.1")
    assert [ingest.known_since[:10] for ingest in archive.ingests()] == ["2024-06-01", "2026-11-22", "2026-11-22"]
    assert archive.view(NOW - timedelta(days=1)).outcomes().deaths["all"][0, 0] == 3
    assert archive.view().outcomes().deaths["all"][0, 0] == 30


def test_an_altered_or_missing_file_is_refused_and_named(archive: Archive, tmp_path: Path) -> None:
    take_in(archive, ged.write(tmp_path / "a.csv", {}, {"best": "x"}), "MLI:2020-01..2020-12")
    take_in(archive, ged.write(tmp_path / "b.csv", {"best": 9}), "MLI:2020-01..2020-12")
    assert [damage for _, damage in archive.check()] == [None, None]
    file = archive.root / archive.ingests()[0].data
    content = file.read_bytes()
    file.write_bytes(content[:50] + bytes([content[50] ^ 1]) + content[51:])
    with pytest.raises(Refused, match=r"0001/events\.parquet was altered"):
        archive.view().outcomes()
    assert ["altered" in (damage or "") for _, damage in archive.check()] == [True, False]
    archive.withdraw("0001", "altered on disk", NOW)
    assert archive.view().outcomes().deaths["all"][0, 0] == 9
    (archive.root / archive.ingests()[1].data).unlink()
    with pytest.raises(Refused, match=r"events\.parquet is missing"):
        archive.view().outcomes()


RELEASE_NUMBERS = [None, "23.1", "24.1", "24.0.9", "24.0.10", "24.01.24.06"]


@dataclass(frozen=True)
class RandomIngest:
    """One ingest of a random history: its coverage of a year, release, events, and when it is withdrawn."""

    first: int
    last: int
    release: str | None
    events: tuple[tuple[int, int, int], ...]  # id, month, deaths
    withdrawn_after: int | None

    def known_since(self, number: int, before: "list[RandomIngest]") -> datetime:
        revises = any(
            old.release == self.release and old.first <= self.last and self.first <= old.last for old in before
        )
        ingested_at = NOW + timedelta(days=number)
        return ingested_at if self.release is None or revises else min(published(self.release), ingested_at)

    @property
    def candidate(self) -> bool:
        return self.release is not None and len(self.release) > 4


MONTHS = st.integers(0, 11)
EVENTS = st.lists(
    st.tuples(st.integers(1, 12), MONTHS, st.integers(0, 9)), min_size=1, max_size=6, unique_by=lambda event: event[0]
)
RANDOM_INGESTS = st.lists(
    st.builds(
        lambda a, b, release, events, after: RandomIngest(min(a, b), max(a, b), release, tuple(events), after),
        MONTHS,
        MONTHS,
        st.sampled_from(RELEASE_NUMBERS),
        EVENTS,
        st.none() | st.integers(1, 10),
    ),
    min_size=1,
    max_size=5,
)


def naive_deaths(ingests: list[RandomIngest], as_of: datetime | None) -> list[int | None]:
    """Return deaths by month as of a moment, computed row by row."""
    ranked = []
    for number, one in enumerate(ingests):
        rank = (published(one.release).isoformat() if one.release else "", number)
        withdrawn_at = None if one.withdrawn_after is None else NOW + timedelta(days=20 + one.withdrawn_after)
        if as_of is None:
            is_active = withdrawn_at is None
        else:
            not_withdrawn = withdrawn_at is None or as_of < withdrawn_at
            is_active = one.known_since(number, ingests[:number]) <= as_of and not_withdrawn
        if is_active:
            ranked.append((rank, one))
    ranked.sort(key=lambda pair: pair[0])
    authorities = []
    for at in range(12):
        covering = [(rank, one) for rank, one in ranked if one.first <= at <= one.last]
        authorities.append(covering[-1] if covering else None)
    counted: dict[int, tuple[int, int]] = {}
    for rank, one in ranked:
        for event_id, at, deaths in one.events:
            if (authority := authorities[at]) is None:
                continue
            outside = not one.first <= at <= one.last
            is_late = one.candidate and authority[1].candidate and rank > authority[0] and outside
            if authority[0] == rank or is_late:
                counted[event_id] = (at, deaths)
    totals = [sum(deaths for when, deaths in counted.values() if when == at) for at in range(12)]
    return [None if authorities[at] is None else totals[at] for at in range(12)]


@settings(max_examples=60, deadline=None)
@given(ingests=RANDOM_INGESTS, moments=st.lists(st.integers(-1200, 40), max_size=3))
def test_any_history_of_ingests_agrees_with_a_naive_model(
    tmp_path_factory: pytest.TempPathFactory, ingests: list[RandomIngest], moments: list[int]
) -> None:
    """Revisions, candidates, late events, withdrawals, in any order, now and as of any past moment."""
    folder = tmp_path_factory.mktemp("history")
    archive = Archive(folder / "archive")
    year = [month("2024-01") + i for i in range(12)]
    for number, random_ingest in enumerate(ingests):
        events = ({"id": i, "date": f"{year[at]}-03", "best": deaths} for i, at, deaths in random_ingest.events)
        path = ged.write(folder / f"{number}.csv", *events)
        path.write_text(path.read_text().replace("Invented side A", f"Invented side {number}"))
        covers = f"MLI:{year[random_ingest.first]}..{year[random_ingest.last]}"
        take_in(archive, path, covers, release=random_ingest.release, now=NOW + timedelta(days=number))
    for number, random_ingest in enumerate(ingests, start=1):
        if random_ingest.withdrawn_after is not None:
            archive.withdraw(f"{number:04d}", "by chance", NOW + timedelta(days=20 + random_ingest.withdrawn_after))
    for when in (None, *(NOW + timedelta(days=days, hours=1) for days in moments)):
        observed = archive.view(when).outcomes()
        ours: list[int | None] = [None] * 12
        for place, at in enumerate(observed.months.tolist() if observed.iso3 else []):
            value = observed.deaths["all"][0, place]
            ours[at.month - 1] = None if np.isnan(value) else int(value)
        assert ours == naive_deaths(ingests, when), when
