"""The `vigie` command itself: exit codes, `--home` on every command, complete help, and the region in use."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import ged
import numpy as np
import pytest
from providers_more import PASSWORD, USERNAME, Acled, event

from riskmodel.cli.main import vigie as command
from riskmodel.errors import BadInput, Refused, SourceUnavailable, VigieError
from riskmodel.events import manifest
from riskmodel.events.archive import Archive
from riskmodel.home import Home
from riskmodel.months import month, span

Vigie = Callable[..., Any]


def commands(group: click.Group = command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and group below a group, each with the words that call it."""
    for name, child in group.commands.items():
        yield (*path, name), child
        if isinstance(child, click.Group):
            yield from commands(child, *path, name)


COMMANDS = dict(commands())
GROUPS = [(), *(words for words, child in COMMANDS.items() if isinstance(child, click.Group))]


@pytest.mark.parametrize(
    ("failure", "code", "text"),
    [
        (Refused("no"), 1, "vigie: no\n"),
        (click.UsageError("no"), 2, "no"),
        (BadInput("no"), 3, "vigie: no\n"),
        (SourceUnavailable("no"), 4, "vigie: no\n"),
        (VigieError("no"), 5, "vigie: no\n"),
        (ZeroDivisionError("no"), 5, "vigie: internal error: ZeroDivisionError: no (traceback in "),
        (KeyboardInterrupt(), 130, "vigie: interrupted"),
        (NotADirectoryError(20, "Not a directory", "x"), 3, "vigie: x: Not a directory\n"),
    ],
)
def test_each_kind_of_failure_has_its_exit_code(
    vigie: Vigie, monkeypatch: pytest.MonkeyPatch, failure: BaseException, code: int, text: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(COMMANDS["archive", "check"], "callback", fail)
    result = vigie("archive", "check")
    assert (result.code, text in result.err, "Traceback" in result.err) == (code, True, False)


def test_success_is_0_and_no_command_is_wrong_use(vigie: Vigie) -> None:
    assert vigie("archive", "log").code == 0
    assert vigie("nonsense").code == 2


def test_the_help_states_the_exit_codes(vigie: Vigie) -> None:
    stated = " ".join(vigie("--help").out.split())
    for code, meaning in ((0, "done"), (1, "refused"), (2, "wrong use"), (3, "bad input"), (4, "unavailable")):
        assert f"{code} {meaning}" in stated


@pytest.mark.parametrize("words", GROUPS, ids=" ".join)
def test_no_description_is_cut_off(vigie: Vigie, words: tuple[str, ...]) -> None:
    text = vigie(*words, "--help").out
    assert "..." not in text.replace("[ARGS]...", "")
    shown = " ".join(text.split())
    for path, child in COMMANDS.items():
        if path[:-1] == words and not child.hidden:
            first_paragraph = " ".join((child.help or "").split("\n\n")[0].split())
            first_sentence = re.split(r"(?<=\.) ", first_paragraph)[0]
            assert first_sentence, path
            assert f"{path[-1]} {first_sentence}" in shown


def test_the_help_groups_the_commands(vigie: Vigie) -> None:
    text = vigie("--help").out
    headings = [text.index(f"\n{heading}:\n") for heading in ("Run", "Data", "Models", "Operate")]
    assert headings == sorted(headings)
    assert "\nOther:\n" not in text
    run, data, models, operate = headings
    assert run < text.index("\n  up ") < data < text.index("\n  ingest ") < models
    assert models < text.index("\n  train ") < operate < text.index("\n  db ")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_takes_a_home(vigie: Vigie, tmp_path: Path, words: tuple[str, ...]) -> None:
    result = vigie(*words, "--home", tmp_path / "other", "--help")
    assert (result.code, "--home DIRECTORY" in result.out) == (0, True)


@pytest.mark.parametrize("position", [0, 1, 2, 3, 4])
def test_a_home_is_taken_at_any_place(vigie: Vigie, home: Home, tmp_path: Path, position: int) -> None:
    line: list[object] = ["ingest", "ucdp", ged.write(tmp_path / "a.csv", {}), "--covers", "MLI:2020-01..2020-12"]
    line[min(position, 3) : min(position, 3)] = ["--home", tmp_path / "other"]
    assert vigie(*line).code == 0
    assert len(manifest.read(tmp_path / "other" / "archive")) == 1
    assert not home.root.exists()


def test_the_innermost_home_wins(vigie: Vigie, home: Home, tmp_path: Path) -> None:
    file = ged.write(tmp_path / "a.csv", {})
    assert vigie("--home", tmp_path / "a", "ingest", "--home", tmp_path / "b", "ucdp", file).code == 0
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["b"]


def test_a_traceback_is_saved_in_the_home_that_the_command_used(
    vigie: Vigie, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(COMMANDS["archive", "check"], "callback", fail)
    vigie("archive", "check", "--home", tmp_path / "other")
    (log,) = (tmp_path / "other" / "logs").iterdir()
    assert "ZeroDivisionError" in log.read_text()
    assert not home.root.exists()


@pytest.fixture
def acled(monkeypatch: pytest.MonkeyPatch) -> Iterator[Acled]:
    """ACLED with one event in each of some countries, and an account that the command uses."""
    provider = Acled()
    provider.publish(event(1, stamp=1_750_000_000))
    monkeypatch.setenv("VIGIE_ACLED_USERNAME", USERNAME)
    monkeypatch.setenv("VIGIE_ACLED_PASSWORD", PASSWORD)
    with provider.listening() as url:
        monkeypatch.setenv("VIGIE_ACLED_URL", url)
        yield provider


def asked_for(provider: Acled) -> set[str]:
    return {request.query["country"] for request in provider.requests if "country" in request.query}


NIGER_AND_NEIGHBOURS = {"Niger", "Algeria", "Benin", "Burkina Faso", "Chad", "Libya", "Mali", "Nigeria"}
SENEGAL_AND_NEIGHBOURS = {"Senegal", "Gambia", "Guinea", "Guinea-Bissau", "Mali", "Mauritania"}


@pytest.mark.parametrize(
    ("toml", "environment", "option", "countries"),
    [
        (True, None, None, NIGER_AND_NEIGHBOURS),
        (True, "SEN", None, SENEGAL_AND_NEIGHBOURS),
        (True, "DZA", "SEN", SENEGAL_AND_NEIGHBOURS),
    ],
)
def test_a_pull_fetches_the_countries_of_the_region_set(
    vigie: Vigie,
    home: Home,
    acled: Acled,
    monkeypatch: pytest.MonkeyPatch,
    toml: bool,
    environment: str | None,
    option: str | None,
    countries: set[str],
) -> None:
    home.root.mkdir()
    home.settings.write_text('region = "NER"\n')
    if environment:
        monkeypatch.setenv("VIGIE_REGION", environment)
    result = vigie("pull", "acled", *(["--region", option] if option else []))
    assert result.code == 0, result.err
    assert asked_for(acled) == countries


def test_without_a_setting_the_region_is_mali(vigie: Vigie, acled: Acled) -> None:
    assert vigie("pull", "acled").code == 0
    assert {"Mali", "Senegal", "Mauritania"} < asked_for(acled)
    assert "Nigeria" not in asked_for(acled)


def test_the_region_is_that_of_the_home_named_after_the_command(vigie: Vigie, acled: Acled, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    other.root.mkdir()
    other.settings.write_text('region = "SEN"\n')
    assert vigie("pull", "acled", "--home", other.root).code == 0
    assert asked_for(acled) == SENEGAL_AND_NEIGHBOURS


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b'region = "XYZ"\n', "region: 'XYZ' is not the ISO alpha-3 code of a country"),
        (b"region = 7\n", "region: 7 is not the ISO alpha-3 code of a country"),
        (b"region = [\n", "this is no TOML"),
        (b"\xff\xfe", "this is no text in UTF-8"),
    ],
)
@pytest.mark.parametrize("line", ["pull acled", "whatif MLI --deaths x2", "train", "card", "backtest --windows 2008"])
def test_a_region_that_cannot_be_read_is_bad_input_everywhere(
    vigie: Vigie, home: Home, line: str, content: bytes, rule: str
) -> None:
    home.root.mkdir()
    home.settings.write_bytes(content)
    result = vigie(*line.split())
    assert (result.code, f"{home.settings}: {rule}" in result.err) == (3, True), result.err
    assert vigie(*line.split(), "--region", "XYZ").code == 2, "an option is wrong use"


@pytest.fixture
def deaths(vigie: Vigie, home: Home, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Print the deaths of an archive of two months in Mali, events in one and a country-month table in the other."""
    rows = {"best": 3}, {"best": 4, "type_of_violence": 3}
    assert vigie("ingest", "ucdp", ged.write(tmp_path / "a.csv", *rows), "--covers", "MLI:2020-01..2020-01").code == 0
    table = tmp_path / "b.csv"
    table.write_text("iso3,month,deaths_state_based\nMLI,2020-02,9\nNER,2020-02,0\n")
    assert vigie("ingest", "monthly", table).code == 0

    def printed(*arguments: object) -> list[dict[str, Any]]:
        result = vigie("archive", "deaths", "--format", "json", *arguments)
        assert result.code == 0, result.err
        found: list[dict[str, Any]] = json.loads(result.out)
        return found

    return printed


def row(
    iso3: str, month: str, state_based: int | None, non_state: int | None, one_sided: int | None, total: int | None
) -> dict[str, Any]:
    return {
        "iso3": iso3,
        "month": month,
        "deaths_state_based": state_based,
        "deaths_non_state": non_state,
        "deaths_one_sided": one_sided,
        "deaths_all": total,
        "simulated": False,
    }


def test_deaths_are_as_the_archive_has_them_and_unknown_is_null(deaths: Callable[..., list[dict[str, Any]]]) -> None:
    assert deaths() == [
        row("MLI", "2020-01", 3, 0, 4, 7),
        row("MLI", "2020-02", 9, None, None, None),
        row("NER", "2020-01", None, None, None, None),
        row("NER", "2020-02", 0, None, None, None),
    ]


def test_deaths_of_some_countries_and_months(deaths: Callable[..., list[dict[str, Any]]]) -> None:
    assert deaths("--iso3", "NER", "--from", "2020-02") == [row("NER", "2020-02", 0, None, None, None)]
    assert deaths("--iso3", "NER", "--iso3", "MLI", "--to", "2020-01") == [
        row("NER", "2020-01", None, None, None, None),
        row("MLI", "2020-01", 3, 0, 4, 7),
    ]
    assert deaths("--iso3", "JPN", "--to", "2020-01") == [row("JPN", "2020-01", None, None, None, None)]
    assert deaths("--from", "2021-01") == []
    assert deaths("--as-of", "2020-06-01") == []


def test_deaths_as_csv_leave_unknown_empty_and_can_be_taken_in_again(
    deaths: Callable[..., list[dict[str, Any]]], vigie: Vigie, tmp_path: Path
) -> None:
    text = vigie("archive", "deaths", "--format", "csv").out
    written = [{name: cell or None for name, cell in line.items()} for line in csv.DictReader(io.StringIO(text))]
    as_text = [{name: None if cell is None else str(cell) for name, cell in line.items()} for line in deaths()]
    assert written == as_text
    mali = tmp_path / "mali.csv"
    mali.write_text(vigie("archive", "deaths", "--format", "csv", "--iso3", "MLI", "--to", "2020-01").out)
    assert vigie("ingest", "monthly", mali, "--home", tmp_path / "copy").code == 0
    copied = vigie("archive", "deaths", "--format", "json", "--home", tmp_path / "copy")
    assert json.loads(copied.out) == [row("MLI", "2020-01", 3, 0, 4, 7)]


def test_deaths_as_a_table_and_wrong_use(deaths: Callable[..., list[dict[str, Any]]], vigie: Vigie) -> None:
    lines = vigie("archive", "deaths").out.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["country", "month", "state-based", "non-state", "one-sided", "all"],
        ["MLI", "2020-01", "3", "0", "4", "7"],
        ["MLI", "2020-02", "9", "–", "–", "–"],
    ]
    assert vigie("archive", "deaths", "--from", "2020-02", "--to", "2020-01").code == 2
    assert vigie("archive", "deaths", "--iso3", "XYZ").code == 2


def test_simulated_deaths_say_so(vigie: Vigie, tmp_path: Path) -> None:
    file = ged.write(tmp_path / "s.csv", {"side_a": "SIMULATED front"})
    vigie("ingest", "ucdp", file, "--covers", "MLI:2020-01..2020-01")
    assert vigie("archive", "deaths").out.startswith("SIMULATED deaths\n")
    assert [line["simulated"] for line in json.loads(vigie("archive", "deaths", "--format", "json").out)] == [True]


def test_an_empty_archive_has_no_deaths(vigie: Vigie) -> None:
    assert json.loads(vigie("archive", "deaths", "--format", "json").out) == []
    assert vigie("archive", "deaths", "--format", "csv").out.startswith("iso3,month,deaths_state_based")


def test_an_ingest_says_which_new_months_do_not_count_yet(vigie: Vigie, tmp_path: Path) -> None:
    def take_in(last: str, *countries: str) -> str:
        path = tmp_path / f"{last}.csv"
        months = np.datetime_as_string(span(month("2019-01"), month(last)))
        lines = [f"{iso3},{when},1\n" for iso3 in countries for when in months]
        path.write_text("iso3,month,deaths_state_based\n" + "".join(lines))
        return str(vigie("ingest", "monthly", path).err)

    assert "newer data" not in take_in("2022-10", "MLI", "BFA", "NER", "DZA")
    message = (
        "newer data of the region of MLI on state-based conflict: MLI to 2022-12. They do not count yet: its forecasts "
        "start after 2022-10"
    )
    assert message in take_in("2022-12", "MLI")
    advanced = take_in("2022-12", "MLI", "BFA")
    assert "newer data" not in advanced
    lagging = (
        "without a score on state-based conflict: DZA to 2022-10, NER to 2022-10. Its forecasts start after 2022-12"
    )
    assert lagging in advanced


def test_the_user_says_since_when_a_file_is_known(vigie: Vigie, tmp_path: Path, home: Home) -> None:
    path = ged.write(tmp_path / "candidate.csv", {"date": "2022-06-10", "best": 3})
    command = ("ingest", "ucdp", path, "--covers", "MLI:2022-06..2022-06", "--release", "22.0.6")
    assert vigie(*command, "--known-since", "2022-12-20").code == 0
    (entered,) = Archive(home.archive).ingests()
    assert entered.known_since == "2022-12-20T23:59:59Z"
    assert Archive(home.archive).view(datetime(2022, 12, 20, tzinfo=UTC)).ingests == ()
    other = vigie(*command, "--known-since", "2022-11-01")
    assert (other.code, "known since 2022-12-20; to change that, first vigie archive withdraw 0001" in other.err) == (
        1,
        True,
    )
    assert vigie("archive", "withdraw", "0001", "--why", "wrong day").code == 0
    assert vigie(*command, "--known-since", "2022-11-01").code == 0
    assert Archive(home.archive).ingests()[-1].known_since[:10] == "2022-11-01"
    assert vigie(*command, "--known-since", "2999-01-01").code == 2
