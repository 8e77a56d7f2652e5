"""Pulling from UCDP, site and API, on loopback: what is asked for, what enters, and what each fault leaves behind."""

import gzip
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ged
import pytest
from filelock import FileLock
from providers import HTML, TOKEN, Answer, Asked, Fault, Ucdp, monthly_events, path_of, zipped

from riskmodel.errors import Refused, SourceUnavailable
from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.events.releases import covers
from riskmodel.home import Home
from riskmodel.ingest import IngestReport, ingest
from riskmodel.sources import files
from riskmodel.sources.client import ATTEMPTS, Client, Unauthorised
from riskmodel.sources.ucdp import GedFile
from riskmodel.sources.ucdp_pull import TOO_FAST, pull

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
JANUARY = datetime(2026, 1, 25, tzinfo=UTC)
"""When there is no candidate release yet."""

AUGUST = datetime(2026, 8, 25, tzinfo=UTC)
"""When there are two: `TOGETHER` and 26.0.7."""

FINAL, TOGETHER, MONTHLY = "26.1", "26.01.26.06", ("26.0.7", "26.0.8", "26.0.10")


class World:
    """A provider, an archive and what was said; `pull()` is one run of the connector."""

    def __init__(self, folder: Path, provider: Ucdp, url: str) -> None:
        self.provider, self.url, self.downloads = provider, url, folder / "downloads"
        self.archive = Archive(folder / "archive")
        self.said: list[str] = []
        self.waits: list[float] = []
        self._client = Client(sleep=self.waits.append, patience=1.0)

    def pull(self, token: str | None = None, now: datetime = NOW) -> list[IngestReport]:
        """Pull; `provider.asked` then holds the requests of this run alone."""
        self.provider.asked.clear()
        return pull(
            self.archive,
            self._client,
            self.downloads,
            base=self.url,
            api=self.url,
            token=token,
            now=now,
            say=self.said.append,
        )

    def state(self) -> list[tuple[str | None, int, int]]:
        """Release, rows and deaths of every ingest; the archive's files are held against their digests."""
        assert [why for _, why in self.archive.check() if why] == []
        return [(i.release, i.rows, i.deaths) for i in self.archive.ingests()]

    def deaths(self) -> float:
        """All the deaths that the archive counts."""
        return float(sum(self.archive.view().events(["deaths"])["deaths"].to_pylist()))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    provider = Ucdp()
    with provider.listening() as url:
        made = World(tmp_path, provider, url)
        provider.publish("25.1", monthly_events("1989-01", "2024-12", best=1))
        provider.publish(FINAL, monthly_events("1989-01", "2025-12"))
        provider.publish("26.01.26.03", monthly_events("2026-01", "2026-03", 1001))
        provider.publish(TOGETHER, monthly_events("2026-01", "2026-06", 1001))
        for number, release in enumerate(MONTHLY):
            month = f"2026-{int(release[5:]):02d}"
            provider.publish(release, monthly_events(month, month, 2001 + number))
        yield made


WHOLE = [(FINAL, 444, 1332), (TOGETHER, 6, 18), *((release, 1, 3) for release in MONTHLY)]


@pytest.mark.parametrize("token", [None, TOKEN], ids=["site", "API"])
def test_the_newest_final_release_and_what_came_after(world: World, token: str | None) -> None:
    receipts = world.pull(token)
    assert world.state() == WHOLE
    assert [receipt.ingest.covers for receipt in receipts] == [(covers(str(release)),) for release, _, _ in WHOLE]
    assert world.deaths() == 1332 + 18 + 9
    assert str(world.archive.view().outcomes().months[-1]) == "2026-10"
    assert world.said == ["UCDP offers no release of 2026-09: that month is unknown"]


@pytest.mark.parametrize("token", [None, TOKEN], ids=["site", "API"])
def test_only_what_is_new_is_asked_for(world: World, token: str | None) -> None:
    world.pull(token)
    assert world.pull(token) == []
    assert world.state() == WHOLE
    if token:
        assert {asked.query["pagesize"] for asked in world.provider.asked} == {"1"}
    else:
        held = [asked for asked in world.provider.asked if asked.path in world.provider.files]
        assert [asked.path for asked in held] == [path_of(str(release)) for release, _, _ in WHOLE]
        assert all("if-none-match" in asked.headers for asked in held)
    world.provider.publish("26.0.9", monthly_events("2026-09", "2026-09", 3001))
    world.provider.publish("26.0.8", [{"id": 4001 + n, "date": f"2026-08-0{n + 1}"} for n in range(2)])
    assert {receipt.ingest.release for receipt in world.pull(token)} == {"26.0.8", "26.0.9"}
    assert world.deaths() == 1332 + 18 + 9 + 6


def test_a_release_taken_in_by_hand_is_not_asked_for_again(world: World, tmp_path: Path) -> None:
    path = tmp_path / "ged261-csv.zip"
    path.write_bytes(world.provider.files[path_of(FINAL)])
    ingest(world.archive, GedFile(path), covers=[Coverage.parse(covers(FINAL))], release=FINAL, now=NOW)
    world.pull()
    assert world.state() == WHOLE
    assert path_of(FINAL) not in world.provider.paths()


def test_a_new_year_and_a_new_final_release(world: World) -> None:
    world.pull(now=datetime(2027, 1, 5, tzinfo=UTC))
    assert world.state() == WHOLE
    world.provider.publish("26.01.26.12", monthly_events("2026-01", "2026-12", 1001, best=4))
    world.provider.publish("27.0.1", monthly_events("2027-01", "2027-01", 5001))
    world.pull(now=datetime(2027, 2, 25, tzinfo=UTC))
    assert world.state() == [*WHOLE, ("26.01.26.12", 12, 48), ("27.0.1", 1, 3)]
    world.provider.publish("27.1", monthly_events("1989-01", "2026-12", best=2))
    world.pull(now=datetime(2027, 6, 25, tzinfo=UTC))
    assert world.state()[-1] == ("27.1", 456, 912)
    assert world.deaths() == 912 + 3


@pytest.mark.parametrize("token", [None, TOKEN], ids=["site", "API"])
def test_a_release_that_is_withdrawn_is_kept_and_said(world: World, token: str | None) -> None:
    world.pull(token)
    for release in (FINAL, TOGETHER, "26.0.8"):
        world.provider.withdraw(release)
    assert world.pull(token) == []
    assert world.state() == WHOLE
    assert [text for text in world.said if "no longer" in text] == [
        f"UCDP no longer offers release {release}; what the archive has of it is kept"
        for release in (FINAL, TOGETHER, "26.0.8")
    ]


def test_the_release_without_a_header(world: World) -> None:
    path = path_of("26.0.8")
    world.provider.files[path] = world.provider.files[path].partition(b"\n")[2]
    world.pull()
    assert world.state() == WHOLE


@pytest.mark.parametrize(
    ("release", "span"),
    [
        ("26.1", "*:1989-01..2025-12"),
        ("26.0.8", "*:2026-08..2026-08"),
        ("26.0.10", "*:2026-10..2026-10"),
        ("25.01.25.12", "*:2025-01..2025-12"),
    ],
)
def test_a_release_number_says_what_it_covers(release: str, span: str) -> None:
    assert covers(release) == span
    assert str(Coverage.parse(covers(release))) == span


def test_nobody_there(world: World) -> None:
    world.url = "http://127.0.0.1:9"
    with pytest.raises(SourceUnavailable, match="is there a network"):
        world.pull()
    assert world.state() == []


def test_two_pulls_at_once(world: World) -> None:
    (world.downloads / "ucdp").mkdir(parents=True)
    with FileLock(world.downloads / "ucdp" / "lock"), pytest.raises(Refused, match="another pull"):
        world.pull()


def as_it_is(_: Asked, answer: Answer) -> Answer:
    """No fault: the true answer."""
    return answer


def changed(**envelope: object) -> Fault:
    """The true page with some of its envelope replaced."""
    return lambda asked, answer: replace(answer, body=json.dumps({**json.loads(answer.body), **envelope}).encode())


def altered(alter: Callable[[dict[str, Any]], object]) -> Fault:
    """The true page, altered in place."""

    def fault(asked: Asked, answer: Answer) -> Answer:
        page = json.loads(answer.body)
        alter(page)
        return replace(answer, body=json.dumps(page).encode())

    return fault


def cut(asked: Asked, answer: Answer) -> Answer:
    """The true answer, cut in its middle."""
    return replace(answer, cut=len(answer.body) // 2)


def cut_and_announced(asked: Asked, answer: Answer) -> Answer:
    """Most of the true answer, announced as if it were all."""
    return replace(answer, body=answer.body[: len(answer.body) * 9 // 10])


def dripping(asked: Asked, answer: Answer) -> Answer:
    """The true answer, far too slow."""
    return replace(answer, drip=0.05)


BUSY = Answer(400, b"Too many requests in a short time")
MANY = ATTEMPTS * TOO_FAST
PASSING: dict[str, list[Fault]] = {
    "429, Retry-After": [Answer(429, headers={"Retry-After": "3"})],
    "500": [Answer(500)],
    "cut in mid-body": [cut],
    "slow drip": [dripping],
    "announced too long": [lambda asked, answer: replace(answer, announced=len(answer.body) + 9)],
    "redirect": [lambda asked, answer: Answer(302, headers={"Location": f"{asked.path}?pagesize=1&page=0"})],
}


def wrong_content(provider: Ucdp, release: str) -> Fault:
    """Another release behind an address."""
    return lambda asked, answer: replace(answer, body=provider.files[path_of(release)])


BOMB = zipped("GEDEvent_v26_1.csv", ged.text([]).encode() + b"0," * (1 << 20))
SITE_LASTING: dict[str, tuple[str, Fault, str]] = {
    "401": (FINAL, Answer(401), "does not accept the credentials"),
    "500 for ever": (FINAL, Answer(500), "it has a fault (500)"),
    "cut for ever": (TOGETHER, lambda asked, answer: replace(answer, cut=0), "broke off"),
    "drip for ever": ("26.0.7", dripping, "less than 1024 bytes a second"),
    "a web page with 200": ("26.0.7", HTML, "a web page came in place of data"),
    "announced too short": ("26.0.7", cut_and_announced, "its last row is cut off"),
    "zip announced too short": (FINAL, cut_and_announced, "the compressed file is broken"),
    "redirect loop": (FINAL, Answer(302, headers={"Location": path_of(FINAL)}), "more than 5 times"),
    "redirect elsewhere": (FINAL, Answer(302, headers={"Location": "file:///etc/passwd"}), "which is not followed"),
    "zip bomb": (FINAL, Answer(200, BOMB), "it unpacks to far more"),
    "no rows": ("26.0.7", Answer(200, ged.text([]).encode()), "no row that can be read"),
    "nothing": ("26.0.7", Answer(200), "it sent an empty file"),
    "JSON": ("26.0.7", Answer(200, b'{"error": "later"}'), "no UCDP event file"),
    "the file of another month": (
        "26.0.7",
        Answer(200, ged.text(monthly_events("2026-05", "2026-05", 7)).encode()),
        "no event at all in 1 of these months",
    ),
}


@pytest.mark.parametrize(
    ("fault", "had"),
    [
        *((fault, False) for fault in SITE_LASTING),
        ("500 for ever", True),
        ("announced too short", True),
        ("zip bomb", True),
    ],
)
def test_a_lasting_fault_of_the_site(world: World, fault: str, had: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ANYWAY", 1 << 20)
    release, answer, text = SITE_LASTING[fault]
    if had:
        world.pull(now=AUGUST)
        world.provider.publish(FINAL, monthly_events("1989-01", "2025-12", best=5))
        world.provider.publish(release, [*world.provider.releases[release], {"id": 9999, "date": "2020-01-01"}][::-1])
    before = world.state()
    world.provider.faults[path_of(release)].extend([answer] * MANY)
    with pytest.raises(SourceUnavailable) as failure:
        world.pull(now=AUGUST)
    assert text in str(failure.value)
    assert world.state() == before
    world.provider.faults.clear()
    world.pull(now=AUGUST)
    assert world.deaths() == 444 * (5 if had else 3) + 18 + 3 + (3 if had and release == FINAL else 0)


@pytest.mark.parametrize("token", [None, TOKEN], ids=["site", "API"])
@pytest.mark.parametrize("fault", PASSING)
def test_a_passing_fault(world: World, fault: str, token: str | None) -> None:
    for release in (FINAL, "26.0.7"):
        path = f"/api/gedevents/{release}" if token else path_of(release)
        world.provider.faults[path].extend(PASSING[fault])
    world.pull(token, AUGUST)
    assert world.state() == WHOLE[:3]


API_LASTING: dict[str, tuple[list[Fault], str]] = {
    "500 for ever": ([Answer(500)] * MANY, "it has a fault (500)"),
    "too fast for ever": ([BUSY] * MANY, "Too many requests in a short time; it goes on saying so"),
    "gone in mid-pull": ([Answer(400, b"Invalid object name 'x'")], "a page of a release that has begun is gone"),
    "TotalCount one more": ([changed(TotalCount=445)], "its TotalCount was 444 and became 445"),
    "TotalCount one less": ([changed(TotalCount=443)], "its TotalCount was 444 and became 443"),
    "no TotalCount": ([changed(TotalCount=None)], "without TotalCount"),
    "no envelope": ([Answer(200, b"[]")], "without TotalCount"),
    "page cut": ([altered(lambda page: page["Result"].pop())], "announces 444 events and sends 443"),
    "page empty": ([changed(Result=[])], "a page has no events"),
    "page null": ([changed(Result=None)], "a page has no events"),
    "event without a field": ([altered(lambda page: page["Result"][7].pop("best"))], "lacks fields"),
    "end too early": ([changed(NextPageUrl="")], "announces 444 events and sends 200"),
    "next page elsewhere": ([changed(NextPageUrl="http://192.0.2.1/api/gedevents/26.1")], "lies elsewhere (192.0.2.1"),
    "next page of another": ([changed(NextPageUrl="/api/gedevents/25.1?pagesize=100&page=0")], "lies elsewhere"),
    "next page is the first": ([changed(NextPageUrl="?pagesize=100&page=0")], "comes twice"),
    "page repeated": (
        [lambda asked, answer: Ucdp.truth(REPEATING, replace(asked, query={**asked.query, "page": "0"}))],
        "comes twice",
    ),
    "page lost": ([changed(NextPageUrl="?pagesize=100&page=3")], "announces 444 events and sends 344"),
    "a web page with 200": ([HTML], "a web page came in place of data"),
    "JSON cut, announced too short": ([cut_and_announced] * MANY, "no whole JSON"),
    "401 in mid-pull": ([Answer(401, TOKEN.encode())], "does not accept the credentials"),
}
REPEATING = Ucdp(100)
REPEATING.publish(FINAL, monthly_events("1989-01", "2025-12"))


@pytest.mark.parametrize("fault", API_LASTING)
def test_a_lasting_fault_of_the_api(world: World, fault: str) -> None:
    world.provider.page_size = 100
    answers, text = API_LASTING[fault]
    path = f"/api/gedevents/{FINAL}"
    world.provider.faults[path].extend([as_it_is, as_it_is, *answers])
    with pytest.raises(SourceUnavailable) as failure:
        world.pull(TOKEN, JANUARY)
    assert text in str(failure.value)
    assert TOKEN not in str(failure.value)
    assert world.state() == []
    world.provider.faults.clear()
    world.pull(TOKEN, JANUARY)
    assert world.state() == WHOLE[:1]
    assert [path.name for path in (world.downloads / "ucdp").iterdir()] == ["lock"]


def test_too_fast_is_waited_for(world: World) -> None:
    for release in (FINAL, "26.0.10", "26.0.9"):
        world.provider.faults[f"/api/gedevents/{release}"].extend([BUSY, BUSY])
    world.pull(TOKEN)
    assert world.state() == WHOLE
    assert len(world.waits) == 6
    assert all(5 <= wait <= 15 for wait in world.waits)


def test_an_interrupted_pull_from_the_api_is_continued(world: World) -> None:
    world.provider.page_size = 100
    path = f"/api/gedevents/{FINAL}"
    world.provider.faults[path].extend([as_it_is] * 4 + [Answer(503)] * ATTEMPTS)
    with pytest.raises(SourceUnavailable, match="503"):
        world.pull(TOKEN)
    assert world.state() == []
    world.pull(TOKEN)
    pages = [asked.query["page"] for asked in world.provider.asked if asked.path == path]
    assert pages == ["0", "3", "4"]
    assert world.state() == WHOLE


def test_pages_kept_of_a_release_that_has_changed_are_brought_anew(world: World) -> None:
    world.provider.page_size = 100
    path = f"/api/gedevents/{FINAL}"
    world.provider.faults[path].extend([as_it_is] * 4 + [Answer(503)] * ATTEMPTS)
    with pytest.raises(SourceUnavailable, match="503"):
        world.pull(TOKEN)
    world.provider.publish(FINAL, [*world.provider.releases[FINAL], {"id": 9999, "date": "2020-01-01"}])
    world.pull(TOKEN)
    assert world.state()[0] == (FINAL, 445, 1335)


def test_no_token_no_api(world: World) -> None:
    with pytest.raises(Unauthorised, match="check user name, password or token"):
        world.pull("another-token")
    assert world.state() == []


def test_an_interrupted_download_is_continued_by_the_next_pull(world: World) -> None:
    path = path_of(FINAL)
    world.provider.faults[path].extend([cut, *[Answer(500)] * (ATTEMPTS - 1)])
    with pytest.raises(SourceUnavailable):
        world.pull()
    world.pull()
    (asked,) = [asked for asked in world.provider.asked if asked.path == path]
    assert asked.headers["range"] == f"bytes={len(world.provider.files[path]) // 2}-"
    assert world.state() == WHOLE


def test_what_was_fetched_but_never_taken_in_enters_the_next_time(world: World) -> None:
    world.pull()
    world.provider.publish(FINAL, monthly_events("1989-01", "2025-12", best=5))
    world.provider.faults[path_of(TOGETHER)].extend([Answer(500)] * ATTEMPTS)
    with pytest.raises(SourceUnavailable):
        world.pull()
    assert world.state() == WHOLE
    world.pull()
    assert world.state() == [*WHOLE, (FINAL, 444, 2220)]


def test_the_command(world: World, home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from riskmodel.cli.pull import pull as command

    monkeypatch.setenv("VIGIE_UCDP_URL", world.url)
    monkeypatch.setenv("VIGIE_UCDP_API", world.url)
    first = CliRunner().invoke(command, ["ucdp"], obj=home)
    assert (first.exit_code, "444 events (official, release 26.1), ingest 0001" in first.output) == (0, True)
    again = CliRunner().invoke(command, ["ucdp"], obj=home)
    assert "nothing new: the archive has everything already" in again.output
    kept = tmp_path / "token"
    kept.write_text(f"{TOKEN}\n")
    monkeypatch.setenv("VIGIE_UCDP_TOKEN_FILE", str(kept))
    world.provider.asked.clear()
    assert CliRunner().invoke(command, ["ucdp"], obj=home).exit_code == 0
    assert {path[:15] for path in world.provider.paths()} == {"/api/gedevents/"}
    monkeypatch.setenv("VIGIE_UCDP_TOKEN_FILE", str(tmp_path / "none"))
    assert "cannot be read" in str(CliRunner().invoke(command, ["ucdp"], obj=home).exception)


def test_the_real_candidate_release_is_proved_by_its_content(world: World, shared: Path) -> None:
    text = gzip.decompress((shared / "GEDEvent_v26_0_2.csv.gz").read_bytes())
    for release in (TOGETHER, "26.01.26.03", *MONTHLY):
        world.provider.withdraw(release)
    world.provider.files[path_of("26.0.2")] = text
    world.provider.releases["26.0.2"] = []
    (_, candidate) = world.pull()
    assert (candidate.ingest.release, candidate.ingest.quarantined) == ("26.0.2", 0)
    world.provider.files[path_of("26.0.3")] = text
    with pytest.raises(SourceUnavailable, match=r"26\.0\.3 cannot be used: .*2026-03 to 2026-03"):
        world.pull()
    assert len(world.state()) == 2


def test_a_zip_that_is_locked_or_of_an_unknown_kind(tmp_path: Path) -> None:
    path = tmp_path / "locked.zip"
    content = bytearray(zipped("a.csv", ged.text([{}]).encode()))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    path.write_bytes(content)
    assert zipfile.is_zipfile(path)
    with pytest.raises(files.BadInput, match="cannot be unpacked"):
        GedFile(path)
