"""GDELT: pulls of daily counts from a real server, what they leave in the archive, and faults on the way."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from providers import HTML, Fault, Request, Response, zipped
from providers_more import Coded, Gdelt, table

from riskmodel import geography
from riskmodel.cli.pull import gdelt as command
from riskmodel.errors import BadInput, SourceUnavailable
from riskmodel.events.archive import Archive
from riskmodel.home import Home
from riskmodel.ingest import IngestReport, ingest
from riskmodel.sources.client import Client
from riskmodel.sources.gdelt import DAILY, QUARTER_HOURLY, SCHEMA, GdeltFile, count_file, current_counts
from riskmodel.sources.gdelt_pull import pull

NOW = datetime(2025, 11, 22, 9, 40, tzinfo=UTC)
TODAY = NOW.date()
DAYS = [TODAY - timedelta(days=n) for n in (4, 3, 2)]
YESTERDAY = TODAY - timedelta(days=1)


class Puller:
    """Pulls into one archive, and records the messages."""

    def __init__(self, folder: Path, url: str) -> None:
        self.archive, self.folder, self.url = Archive(folder / "archive"), folder, url
        self.messages: list[str] = []
        self.waited: list[float] = []
        self.client = Client(sleep=self.waited.append, patience=1.0)

    def __call__(self, since: date = DAYS[0], now: datetime = NOW) -> list[IngestReport]:
        downloads = self.folder / "downloads"
        return pull(self.archive, self.client, downloads, base=self.url, since=since, now=now, say=self.messages.append)

    def days(self, iso3: str = "MLI", as_of: datetime | None = None) -> dict[date, dict[str, object]]:
        """Return one country's current rows, by day."""
        rows = current_counts(self.archive.view(as_of)).to_pylist()
        return {row["date"]: row for row in rows if row["iso3"] == iso3}


@pytest.fixture
def gdelt() -> Gdelt:
    provider = Gdelt()
    for n, day in enumerate(DAYS, start=1):
        provider.put_daily(day, *[Coded()] * n, Coded("UV", "1", "04", "5", "3"))
    for number in range(3):
        provider.put_part(YESTERDAY, number, Coded(mentions="4"), Coded("AG", "3", "14", "2", ""))
    return provider


@pytest.fixture
def puller(tmp_path: Path, gdelt: Gdelt) -> Iterator[Puller]:
    with gdelt.listening() as url:
        yield Puller(tmp_path, url)


@pytest.mark.parametrize("edition", [DAILY, QUARTER_HOURLY], ids=lambda edition: edition.name)
def test_counts_of_one_file(tmp_path: Path, edition: object) -> None:
    layout = QUARTER_HOURLY if edition is QUARTER_HOURLY else DAILY
    rows = [
        Coded("ML", "4", "19", "10", "-2"),
        Coded("ML", "3", "14", "30", "-4"),
        Coded("ML", "1", "04", "5", ""),
        Coded("NG", "2", "06", "0", "5"),
        Coded(None),
        Coded("XX"),
        Coded("ML", "7"),
        Coded("ML", mentions="x"),
    ]
    path = tmp_path / "day.zip"
    path.write_bytes(zipped("day.CSV", table(rows, layout.fields) + b"too\tfew\n"))
    counts = count_file(path, layout)
    sums = counts.sums
    assert (counts.rows, counts.unreadable) == (8, 3)
    assert sums.loc["MLI"].to_dict() == {
        "verbal_cooperation": 1,
        "material_cooperation": 0,
        "verbal_conflict": 1,
        "material_conflict": 1,
        "protests": 1,
        "mentions": 45,
        "toned": 40,
        "tone_sum": -140,
    }
    assert sums.loc["NER", "material_cooperation"] == 1
    assert sums.to_numpy().sum() == 3 + 1 + 45 + 40 - 140 + 1


CODED = st.builds(
    Coded,
    country=st.sampled_from(["ML", "AG", "UV", "IV", "GV", "MR", "NG", "SG", "XX", None]),
    quad=st.sampled_from("1234"),
    root=st.sampled_from(["14", "01", "19"]),
    mentions=st.integers(0, 50).map(str),
    tone=st.integers(-100, 100).map(str),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(CODED, min_size=1, max_size=12), min_size=1, max_size=4))
def test_counts_are_those_of_a_naive_loop_however_the_rows_are_cut_into_files(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[Coded]]
) -> None:
    path = tmp_path_factory.mktemp("gdelt") / "part.zip"
    found = None
    for rows in parts:
        path.write_bytes(zipped("part.CSV", table(rows, 61)))
        sums = count_file(path, QUARTER_HOURLY).sums
        found = sums if found is None else found + sums
    assert found is not None
    for fips, iso3 in geography.iso3_by_fips().items():
        here = [coded for rows in parts for coded in rows if coded.country == fips]
        assert found.loc[iso3, "protests"] == sum(coded.root == "14" for coded in here)
        assert found.loc[iso3, "verbal_conflict"] == sum(coded.quad == "3" for coded in here)
        assert found.loc[iso3, "mentions"] == sum(int(coded.mentions) for coded in here)
        assert found.loc[iso3, "tone_sum"] == sum(int(coded.mentions) * int(coded.tone) for coded in here)


def test_the_default_region_has_fips_codes() -> None:
    region = ["MLI", "DZA", "BFA", "CIV", "GIN", "MRT", "NER", "SEN"]
    assert [geography.country(iso3).fips for iso3 in region] == ["ML", "AG", "UV", "IV", "GV", "MR", "NG", "SG"]
    assert len(geography.iso3_by_fips()) == len(geography.countries())


def test_a_pull_takes_daily_files_and_15_minute_files_for_the_newest_days(puller: Puller) -> None:
    [report] = puller()
    assert report.ingest.rows == len(geography.countries()) * 4
    assert (report.ingest.deaths, report.ingest.quarantined, report.ingest.private) == (0, 0, False)
    mali = puller.days()
    assert list(mali) == [*DAYS, YESTERDAY]
    assert [mali[day]["material_conflict"] for day in DAYS] == [1, 2, 3]
    assert mali[DAYS[2]] | {"tone": -2.5, "mentions": 30, "edition": "daily", "parts": 96} == mali[DAYS[2]]
    assert mali[YESTERDAY] | {"material_conflict": 3, "edition": "15-minute", "parts": 3} == mali[YESTERDAY]
    algeria = puller.days("DZA")
    assert (algeria[YESTERDAY]["protests"], algeria[YESTERDAY]["tone"]) == (3, None)
    assert (algeria[DAYS[0]]["mentions"], algeria[DAYS[0]]["tone"]) == (0, None)


def test_only_new_files_are_requested_and_the_daily_file_supersedes_the_parts(gdelt: Gdelt, puller: Puller) -> None:
    [first] = puller()
    gdelt.requests.clear()
    assert puller() == []
    assert not [path for path in gdelt.paths() if path.endswith(".zip")]
    new = gdelt.put_part(YESTERDAY, 3, Coded())
    gdelt.requests.clear()
    puller(now=NOW + timedelta(hours=1))
    assert [path for path in gdelt.paths() if path.endswith(".zip")] == [new]
    assert "/gdeltv2/masterfilelist.txt" not in gdelt.paths()
    assert puller.days()[YESTERDAY]["parts"] == 4
    gdelt.put_daily(YESTERDAY, Coded(), Coded())
    [third] = puller(now=NOW + timedelta(hours=2))
    assert third.ingest.rows == len(geography.countries())
    assert puller.days()[YESTERDAY] | {"material_conflict": 2, "parts": 96} == puller.days()[YESTERDAY]
    assert puller.days(as_of=datetime.fromisoformat(first.ingest.known_since))[YESTERDAY]["parts"] == 3
    assert not list((puller.folder / "downloads").rglob("*.parquet"))
    assert not list((puller.folder / "downloads").rglob("*.zip"))


def test_a_day_is_superseded_only_by_a_more_complete_one(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    for n, parts in enumerate([5, 96, 40, 96]):
        path = tmp_path / f"{n}.csv"
        path.write_text(f"{','.join(SCHEMA.names)}\nMLI,2025-01-01,15-minute,{parts},0,0,0,{n},0,1,\n")
        ingest(archive, GdeltFile(path), now=NOW + timedelta(hours=n))
    seen = [current_counts(archive.view(NOW + timedelta(hours=n)))["material_conflict"].to_pylist() for n in range(4)]
    assert seen == [[0], [1], [1], [3]]


def test_unreadable_rows_are_quarantined(tmp_path: Path) -> None:
    good = "MLI,2025-01-01,daily,96,1,2,3,4,5,60,-1.5"
    bad = {
        "XXX,2025-01-01,daily,96,1,2,3,4,5,60,-1.5": "iso3 is no country code that Vigie knows",
        "MLI,yesterday,daily,96,1,2,3,4,5,60,-1.5": "date is not a date",
        "MLI,2026-01-01,daily,96,1,2,3,4,5,60,-1.5": "date lies in the future",
        "NER,2025-01-01,weekly,96,1,2,3,4,5,60,-1.5": "edition is neither daily nor 15-minute",
        "NER,2025-01-01,daily,97,1,2,3,4,5,60,-1.5": "parts is not between 1 and 96",
        "NER,2025-01-01,daily,96,-1,2,3,4,5,60,-1.5": "verbal_cooperation is no count",
        "NER,2025-01-01,daily,96,1,2,3,4,5,60,200": "tone is not between -100 and 100",
        good: "country and date repeat an earlier row",
    }
    for line, rule in bad.items():
        path = tmp_path / "days.csv"
        path.write_text("\n".join([",".join(SCHEMA.names), good, line, ""]))
        report = ingest(Archive(tmp_path / rule.replace(" ", "-")), GdeltFile(path), now=NOW)
        assert (report.ingest.rows, report.ingest.quarantined) == (1, 1)
        assert rule in report.quarantined[0]
    path.write_text("iso3,date\nMLI,2025-01-01\n")
    with pytest.raises(BadInput, match="no column edition"):
        GdeltFile(path)


def test_a_day_that_gdelt_never_published_is_unknown_and_reported(gdelt: Gdelt, puller: Puller) -> None:
    del gdelt.daily[f"/events/{DAYS[1]:%Y%m%d}.export.CSV.zip"]
    gdelt.relist()
    puller()
    assert sorted(puller.days()) == [DAYS[0], DAYS[2], YESTERDAY]
    assert any("unknown, not quiet" in text and str(DAYS[1]) in text for text in puller.messages)


def test_a_missing_file_leaves_its_day_unknown_and_is_requested_again(gdelt: Gdelt, puller: Puller) -> None:
    path = f"/events/{DAYS[1]:%Y%m%d}.export.CSV.zip"
    content = gdelt.files.pop(path)
    puller()
    assert DAYS[1] not in puller.days()
    assert any("does not have it: that time stays unknown" in text for text in puller.messages)
    gdelt.files[path] = content
    puller()
    assert DAYS[1] in puller.days()


def test_addresses_in_a_list_are_not_followed(gdelt: Gdelt, puller: Puller) -> None:
    puller()
    assert [path for path in gdelt.paths() if path.startswith("/gdeltv2/2025")]  # the lists name data.gdeltproject.org


def test_an_interrupted_pull_continues_where_it_stopped(gdelt: Gdelt, puller: Puller) -> None:
    last = f"/events/{DAYS[2]:%Y%m%d}.export.CSV.zip"
    gdelt.faults[last].extend([Response(500)] * 9)
    with pytest.raises(SourceUnavailable):
        puller()
    assert puller.archive.ingests() == ()
    gdelt.faults.clear()
    gdelt.requests.clear()
    puller()
    assert f"/events/{DAYS[0]:%Y%m%d}.export.CSV.zip" not in gdelt.paths()
    assert list(puller.days()) == [*DAYS, YESTERDAY]


def cut(request: Request, response: Response) -> Response:
    return replace(response, cut=len(response.body) // 2)


def one_more(request: Request, response: Response) -> Response:
    return replace(response, announced=len(response.body) + 1, cut=len(response.body))


def drip(request: Request, response: Response) -> Response:
    return replace(response, drip=0.05)


def other(request: Request, response: Response) -> Response:
    """Return a readable file that is not the listed one."""
    return replace(response, body=zipped("day.CSV", table([Coded()] * 50, 58)))


PASSES: dict[str, list[Fault]] = {
    "429": [Response(429, b"", {"Retry-After": "7"})],
    "500": [Response(500), Response(503)],
    "cut body": [cut],
    "slow drip": [drip],
    "wrong Content-Length": [one_more],
    "wrong md5, then right": [other],
}
PATHS = [f"/events/{DAYS[1]:%Y%m%d}.export.CSV.zip", f"/gdeltv2/{YESTERDAY:%Y%m%d}001500.export.CSV.zip"]


@pytest.mark.parametrize("fault", PASSES)
@pytest.mark.parametrize("path", PATHS, ids=["daily", "15-minute"])
def test_transient_faults_are_tried_again(gdelt: Gdelt, puller: Puller, path: str, fault: str) -> None:
    gdelt.faults[path].extend(PASSES[fault])
    puller()
    assert list(puller.days()) == [*DAYS, YESTERDAY]
    assert puller.days()[DAYS[1]]["material_conflict"] == 2
    assert puller.days()[YESTERDAY]["parts"] == 3
    assert puller.waited


ENDS: dict[str, tuple[list[Fault], str]] = {
    "401": ([Response(401)], "does not accept the credentials"),
    "500 for good": ([Response(500)] * 9, "it has a fault"),
    "wrong md5 for good": ([other] * 9, "does not have the md5|bytes where"),
    "HTML with 200": ([HTML], "a web page came instead of data"),
    "an empty file": ([Response(200, b"")] * 9, "empty"),
}


@pytest.mark.parametrize("fault", ENDS)
@pytest.mark.parametrize("path", PATHS, ids=["daily", "15-minute"])
def test_lasting_faults_end_the_pull_and_leave_the_archive_unchanged(
    gdelt: Gdelt, puller: Puller, path: str, fault: str
) -> None:
    puller(now=NOW - timedelta(days=3))
    before = (puller.archive.ingests(), puller.days())
    faults, message = ENDS[fault]
    gdelt.faults[path].extend(faults)
    with pytest.raises(SourceUnavailable, match=message):
        puller()
    assert (puller.archive.ingests(), puller.days()) == before
    gdelt.faults.clear()
    puller()
    assert sorted(puller.days()) == [*DAYS, YESTERDAY]


LISTS = ["/events/md5sums", "/gdeltv2/lastupdate.txt", "/gdeltv2/masterfilelist.txt"]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    "content", [b"nothing of use\n", b"12 zz http://x/gdeltv2/20251121000000.export.CSV.zip\n"], ids=["other", "md5"]
)
def test_an_unreadable_list_ends_the_pull(gdelt: Gdelt, puller: Puller, path: str, content: bytes) -> None:
    if path == LISTS[2] and content.startswith(b"nothing"):
        content = HTML.body
    if path == LISTS[0] and content.startswith(b"12"):
        content = b"zz  20251118.export.CSV.zip\n"
    gdelt.files[path] = content
    with pytest.raises(SourceUnavailable, match=r"lists no|without an md5|web page"):
        puller()
    assert puller.archive.ingests() == ()


def test_old_lines_of_a_list_are_not_judged(gdelt: Gdelt, puller: Puller) -> None:
    old = b"http://x/gdeltv2/20150218230000.export.CSV.zip\nx y http://x/gdeltv2/20150219000000.export.CSV.zip\n"
    gdelt.files[LISTS[2]] = old + gdelt.files[LISTS[2]]
    gdelt.files[LISTS[0]] = b"zz  20150218.export.CSV.zip\nzz  20151399.export.CSV.zip\n" + gdelt.files[LISTS[0]]
    puller()
    assert sorted(puller.days()) == [*DAYS, YESTERDAY]


def test_http_works_and_says_what_it_does_not_prove(puller: Puller) -> None:
    puller()
    assert "neither the files nor their md5 are proved to be GDELT's" in puller.messages[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped("day.CSV", table([Coded()] * 5, 61)), "5 of 0 rows cannot be read as 58 fields"),
        (zipped("day.CSV", table([Coded()], 58))[:60], "cannot be read"),
        (zipped("day.txt", table([Coded()], 58)), "cannot be read"),
        (zipped("day.CSV", table([Coded()], 58) * 500_000), "unpacks to far more"),
    ],
    ids=["61 fields", "broken zip", "no table", "zip bomb"],
)
def test_a_listed_file_that_is_no_gdelt_file_ends_the_pull(
    gdelt: Gdelt, puller: Puller, content: bytes, message: str
) -> None:
    gdelt.publish_file(f"/events/{DAYS[1]:%Y%m%d}.export.CSV.zip", content, gdelt.daily)
    with pytest.raises(SourceUnavailable, match=message):
        puller()
    assert puller.archive.ingests() == ()


def test_the_command_pulls(gdelt: Gdelt, puller: Puller) -> None:
    home = Home(puller.folder / "home")
    today = datetime.now(UTC).date()
    gdelt.put_daily(today - timedelta(days=1), Coded())
    gdelt.put_part(today, 0, Coded())
    result = CliRunner().invoke(command, ["--base", puller.url, "--since", str(today - timedelta(days=2))], obj=home)
    assert result.exit_code == 0
    assert f"{2 * len(geography.countries())} counts by country and day (daily counts), ingest" in result.output
    assert len(current_counts(Archive(home.archive).view())) == 2 * len(geography.countries())


def test_a_few_unreadable_rows_are_reported(gdelt: Gdelt, puller: Puller) -> None:
    content = zipped("day.CSV", table([Coded()] * 200, 58) + b"torn\n")
    gdelt.publish_file(f"/events/{DAYS[1]:%Y%m%d}.export.CSV.zip", content, gdelt.daily)
    puller()
    assert puller.days()[DAYS[1]]["material_conflict"] == 200
    assert any("1 of 200 rows cannot be read and are not counted" in text for text in puller.messages)
