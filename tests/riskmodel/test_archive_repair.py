"""The archive after damage: any altered bit is found, nothing is overwritten, and the manifest can be made again."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ged
import pytest

from riskmodel.errors import Refused
from riskmodel.events import manifest
from riskmodel.events.archive import Archive
from riskmodel.events.coverage import Coverage
from riskmodel.home import Home
from riskmodel.ingest import ingest
from riskmodel.sources.ucdp import GedFile

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
Vigie = Callable[..., Any]


@pytest.fixture
def archive(home: Home, tmp_path: Path) -> Archive:
    """Two ingests, one with quarantined rows, and a withdrawal; the number of each is in its place."""
    archive = Archive(home.archive)
    take_in(archive, tmp_path, 3)
    archive.withdraw("0001", "a wrong file", NOW + timedelta(days=1))
    take_in(archive, tmp_path, 4)
    return archive


def take_in(archive: Archive, folder: Path, best: int) -> str:
    """Ingest one event of so many deaths, and a row that cannot be read; return the number."""
    path = ged.write(folder / f"{best}.csv", {"best": best}, {"best": "x"})
    covers = [Coverage.parse("MLI:2020-01..2020-12")]
    return ingest(archive, GedFile(path), covers=covers, now=NOW).ingest.id


def deaths(archive: Archive) -> float:
    return float(archive.view().outcomes().deaths["all"][0, 0])


def content(archive: Archive) -> dict[str, bytes]:
    """All files of the archive, by name."""
    return {
        str(path.relative_to(archive.root)): path.read_bytes()
        for path in archive.root.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def test_an_older_manifest_and_a_further_ingest_lose_nothing(archive: Archive, vigie: Vigie, tmp_path: Path) -> None:
    older = (archive.root / "manifest.json").read_bytes()
    assert take_in(archive, tmp_path, 5) == "0004"
    newest = content(archive)
    (archive.root / "manifest.json").write_bytes(older)
    assert deaths(archive) == 4

    csv = ged.write(tmp_path / "6.csv", {"best": 6})
    result = vigie("ingest", "ucdp", csv, "--covers", "MLI:2020-01..2020-12")
    assert (result.code, "ingest 0005" in result.out) == (0, True)
    assert f"{archive.root / '0004'} is not in the manifest" in result.err
    assert deaths(archive) == 6
    kept = content(archive)
    assert {name: kept[name] for name in newest if name != "manifest.json"} == {
        name: newest[name] for name in newest if name != "manifest.json"
    }

    result = vigie("archive", "check")
    assert (result.code, f"{archive.root / '0004'} is not in the manifest" in result.err) == (1, True)
    result = vigie("archive", "rebuild")
    assert (result.code, "listed again: 0004 (5.csv)" in result.out) == (0, True)
    assert [entry.id for entry in manifest.entries(archive.root)] == ["0001", "0002", "0003", "0004", "0005"]
    assert "4 ingests, every byte as it was taken in" in vigie("archive", "check").out
    assert deaths(archive) == 6
    archive.withdraw("0005", "a test", NOW + timedelta(days=2))
    assert deaths(archive) == 5


def test_a_rebuild_of_an_intact_archive_changes_no_byte(archive: Archive) -> None:
    before = content(archive)
    assert archive.rebuild().added == ()
    assert content(archive) == before


@pytest.mark.parametrize("damage", ["missing", "cut", "empty", "altered"])
def test_a_rebuild_restores_a_lost_manifest_with_its_withdrawals(archive: Archive, vigie: Vigie, damage: str) -> None:
    path = archive.root / "manifest.json"
    before = path.read_bytes()
    altered = {"missing": None, "cut": before[:300], "empty": b"", "altered": before.replace(b"a wrong", b"a right")}
    path.unlink() if (now := altered[damage]) is None else path.write_bytes(now)
    for attempt in (("archive", "check"), ("archive", "log"), ("archive", "deaths")):
        result = vigie(*attempt)
        assert (result.code, "run vigie archive rebuild" in result.err) == (1, True), attempt
    result = vigie("archive", "rebuild")
    assert (result.code, "lists 2 ingests and 1 withdrawals" in result.out) == (0, True)
    assert path.read_bytes() == before
    assert [ingest.withdrawn_reason for ingest in archive.ingests()] == ["a wrong file", None]


def test_a_number_is_never_used_again(archive: Archive, tmp_path: Path) -> None:
    older = (archive.root / "manifest.json").read_bytes()
    archive.withdraw("0003", "a test", NOW)
    (archive.root / "manifest.json").write_bytes(older)
    assert take_in(archive, tmp_path, 7) == "0005"
    shutil.rmtree(archive.root / "0005")
    assert take_in(archive, tmp_path, 8) == "0006"
    assert [entry.id for entry in archive.rebuild().added] == ["0004"]
    assert [ingest.id for ingest in archive.ingests() if ingest.withdrawn_at] == ["0001", "0003"]


def test_an_ingest_without_a_statement_or_with_altered_files_is_left_out(archive: Archive, vigie: Vigie) -> None:
    manifest.write(archive.root, ())
    (archive.root / "0001" / "statement.json").unlink()
    file = archive.root / "0003" / "quarantine.parquet"
    file.write_bytes(file.read_bytes() + b"x")
    result = vigie("archive", "rebuild")
    assert "the manifest lists 0 ingests and 1 withdrawals" in result.out
    assert all(f"{archive.root / number}: left out" in result.err for number in ("0001", "0003"))
    assert file.exists()


def flips(text: bytes) -> Iterator[bytes]:
    """The text with one bit of each byte flipped, another bit from byte to byte."""
    for at in range(len(text)):
        yield text[:at] + bytes([text[at] ^ 1 << at % 8]) + text[at + 1 :]


def test_any_flipped_bit_of_the_manifest_is_refused(archive: Archive, vigie: Vigie) -> None:
    path = archive.root / "manifest.json"
    good = path.read_bytes()
    for bad in flips(good):
        with pytest.raises(Refused, match=r"manifest\.json (is damaged|has format)"):
            manifest.decoded(bad, path)
    path.write_bytes(next(flips(good)))
    result = vigie("archive", "check")
    assert (result.code, "manifest.json is damaged" in result.err) == (1, True)


def fields() -> list[tuple[int, str]]:
    return [
        *((0, name) for name in manifest.Ingest.__dataclass_fields__ if not name.startswith("withdrawn")),
        *((1, name) for name in manifest.Withdrawal.__dataclass_fields__),
        (2, "digest"),
    ]


@pytest.mark.parametrize(("number", "field"), fields())
def test_any_altered_field_of_the_manifest_is_refused(archive: Archive, number: int, field: str) -> None:
    path = archive.root / "manifest.json"
    document = json.loads(path.read_bytes())
    old = document["entries"][number][field]
    new = {str: f"{old}x", bool: not old, list: ["*:2000-01..2000-02"], type(None): "25.1"}
    document["entries"][number][field] = new[type(old)] if type(old) in new else old + 1
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    with pytest.raises(Refused, match=r"is damaged \(entry .* does not have its digest\)"):
        archive.ingests()


def test_an_entry_that_was_removed_or_moved_breaks_the_chain(archive: Archive) -> None:
    path = archive.root / "manifest.json"
    document = json.loads(path.read_bytes())
    first, second, third = document["entries"]
    for altered in ([second, third], [first, third], [first, third, second], [first, first, second, third]):
        text = json.dumps(document | {"entries": altered}, indent=1, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(Refused, match="does not have its digest"):
            archive.ingests()


@pytest.mark.parametrize("number", ["0001", "0002", "0003"])
def test_an_altered_statement_is_found_and_written_again(archive: Archive, vigie: Vigie, number: str) -> None:
    path = archive.root / number / "statement.json"
    good = path.read_bytes()
    for bad in (good.replace(b"MLI", b"NER").replace(b"wrong", b"right"), None):
        path.unlink() if bad is None else path.write_bytes(bad)
        result = vigie("archive", "check")
        assert (result.code, f"{path} " in result.err) == (1, True)
        assert vigie("archive", "rebuild").code == 0
        assert path.read_bytes() == good
        assert vigie("archive", "check").code == 0


def test_a_rebuild_keeps_the_entries_of_a_damaged_manifest_that_are_intact(archive: Archive, vigie: Vigie) -> None:
    """One bit of the manifest is altered, and the statement of another ingest is lost."""
    before = manifest.entries(archive.root)
    (archive.root / "0003" / "statement.json").unlink()
    path = archive.root / "manifest.json"
    path.write_text(path.read_text().replace("MLI:2020-01", "MLI:2020-02", 1))
    assert vigie("archive", "rebuild").code == 0
    assert manifest.entries(archive.root) == before
    assert vigie("archive", "check").code == 0


def test_a_manifest_of_a_newer_vigie_is_not_called_damaged(archive: Archive, vigie: Vigie) -> None:
    path = archive.root / "manifest.json"
    newer = json.loads(path.read_text()) | {"format": manifest.FORMAT + 1}
    path.write_text(json.dumps(newer))
    for command in ("check", "rebuild"):
        result = vigie("archive", command)
        assert (result.code, "use a newer Vigie" in result.err) == (1, True), result.err
    assert json.loads(path.read_text()) == newer
