"""The modeler's guide: each block of code runs by itself, in a home of eight countries and ten years."""

import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from riskmodel import bundle
from riskmodel.cli.main import vigie as vigie_group
from riskmodel.errors import Refused
from riskmodel.home import Home
from training import registry

Vigie = Callable[..., Any]
GUIDE = (Path(__file__).parents[2] / "docs" / "modelers.md").read_text(encoding="utf-8")
YEARS = {
    "--rolling 2018:2022": "--rolling 2006:2009",  # three years to fix thresholds on, and one with alerts
    "2018:2022": "2008:2009",
    "2021:2022": "2009:2009",
    "2018:2019": "2008:2009",
}
"""The small archive ends in 2009."""


class Block(NamedTuple):
    """A block of code; `title` is the file it is to be saved as."""

    section: str
    language: str
    title: str
    code: str


def blocks() -> list[Block]:
    """All blocks of the guide, each with the section that it is in."""
    found = []
    for section, text in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", GUIDE, re.M | re.S):
        for language, title, code in re.findall(r"^```(\w*)(?: title=\"(.*?)\")?\n(.*?)^```$", text, re.M | re.S):
            for written, small in YEARS.items():
                code = code.replace(written, small)
            found.append(Block(section, language, title, code))
    return found


BLOCKS = blocks()
RUN = [block for block in BLOCKS if not block.title]
MINE = next(block.code for block in BLOCKS if block.title == "mine.py")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Filled by the first test: a home with an archive, a model in service and a challenger."""
    return {}


@pytest.fixture
def guide_home(
    home: Home,
    vigie: Vigie,
    history: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    prepared: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Home:
    """A home with an archive, a model in service and a challenger; the current folder has the guide's `mine.py`."""
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    if not prepared:
        assert vigie("ingest", "monthly", history).code == 0
        assert vigie("train").code == 0
        assert vigie("train", "--model", "mine:dressed").code == 0
        shutil.rmtree(home.backtests)  # the gate's: a block must not find what another command computed
        prepared["home"] = shutil.copytree(home.root, tmp_path_factory.mktemp("guide") / "home")
    else:
        shutil.copytree(prepared["home"], home.root)
    return home


def challenger(home: Home) -> str:
    """The model that is not the first one."""
    first = registry.read_journal(home.models)[0].model
    return next(name for name in registry.model_names(home.models) if name != first)


def run_commands(block: Block, home: Home, vigie: Vigie) -> dict[str, str]:
    """Run the lines of a block of commands; return what each printed."""
    printed = {}
    for line in block.code.splitlines():
        done = vigie(*shlex.split(line.replace("MODEL", challenger(home)))[1:])
        expected = Refused.exit_code if line.startswith("vigie promote MODEL --windows") else 0
        assert done.code == expected, (line, done.err)
        printed[line] = done.out + done.err
    return printed


@pytest.mark.parametrize("block", RUN[1:], ids=[f"{number}-{block.section}" for number, block in enumerate(RUN[1:], 1)])
def test_each_block_runs_by_itself(block: Block, guide_home: Home, vigie: Vigie) -> None:
    if block.language == "python":
        exec(compile(block.code, "modelers.md", "exec"), {"__name__": "guide"})  # noqa: S102 - our own guide
    else:
        assert block.language == "sh"
        run_commands(block, guide_home, vigie)


def test_every_block_has_a_language_that_is_run() -> None:
    assert {block.language for block in BLOCKS} == {"sh", "python"}
    assert GUIDE.count("\n```") == 2 * len(BLOCKS)
    assert len(RUN) >= 13


def block_of(section: str, start: str) -> Block:
    return next(block for block in RUN if block.section == section and block.code.startswith(start))


def test_the_first_block_runs_by_itself_and_shows_losses_and_alerts(guide_home: Home, vigie: Vigie) -> None:
    challenge, rolling = run_commands(RUN[0], guide_home, vigie).values()
    assert "lower is better" in challenge
    assert "alerts of escalation in 2006, 2007, 2008, 2009, at the threshold that ships" in rolling
    assert "alerts of escalation in 2009, at thresholds fixed on the windows before" in rolling


def test_the_stored_results_have_means_by_forecaster_and_lead(guide_home: Home) -> None:
    names: dict[str, Any] = {}
    exec(compile(block_of("Stored results", "import").code, "modelers.md", "exec"), names)  # noqa: S102 - our own guide
    forecasters = names["means"].index.get_level_values("forecaster").unique()
    assert set(forecasters) == {"conflictology12", "ew4s", "history60", "last", "pool", "zero"}
    assert set(names["means"].index.get_level_values("lead")) == set(range(3, 15))


def test_the_columns_of_the_stored_results_are_all_in_the_table(guide_home: Home, vigie: Vigie) -> None:
    import pyarrow.parquet as pq

    vigie("backtest", "--windows", "2008", "--model", "mine:dressed")
    [path] = guide_home.backtests.glob("*/2008.parquet")
    table = GUIDE.split("| column | meaning |")[1].split("\n\n")[0]
    first_cells = "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    assert re.findall(r"`(\w+)`", first_cells) == pq.read_schema(path).names


def test_the_new_indicator_is_compared_with_the_same_model_without_it(guide_home: Home) -> None:
    names: dict[str, Any] = {}
    exec(compile(block_of("Add an indicator", "import").code, "modelers.md", "exec"), names)  # noqa: S102 - our own guide
    assert names["pair"].forecasters == ("forest (A)", "forest (B)")
    estimate = names["difference"].estimate
    assert estimate.low <= estimate.value <= estimate.high
    assert names["difference"].windows == 2


def test_the_compared_forecasters_are_those_of_the_guide(guide_home: Home, vigie: Vigie) -> None:
    family = run_commands(block_of("Measure what a family is worth", "vigie"), guide_home, vigie)
    assert "windows won by pool" in family["vigie compare --rolling pool pool-without-spillover"]
    own = run_commands(block_of("Add a model", "vigie"), guide_home, vigie)
    assert "dressed12" in own["vigie compare dressed12 conflictology12 --scope world"]


def test_a_training_for_another_program_prints_the_path_of_the_bundle(guide_home: Home, vigie: Vigie) -> None:
    [line] = block_of("Train a model", "vigie train --into").code.splitlines()
    [printed] = vigie(*shlex.split(line)[1:]).out.splitlines()
    assert bundle.load(Path(printed)).outcome == "state_based"
    assert Path(printed).parent == Path("models-for-a-test")


def test_the_journal_records_shadow_force_and_rollback(guide_home: Home, vigie: Vigie) -> None:
    shadow = run_commands(block_of("Run a model in the shadow", "vigie"), guide_home, vigie)
    assert "in its shadow" in shadow["vigie models"]
    refused = run_commands(block_of("Promote a model", "vigie promote MODEL --windows"), guide_home, vigie)
    assert "NOT MET" in refused["vigie promote MODEL --windows 2008:2009"]
    run_commands(block_of("Promote a model", "vigie promote MODEL --force"), guide_home, vigie)
    actions = [entry.action for entry in registry.read_journal(guide_home.models)]
    assert actions == ["first", "shadow", "shadow_off", "force", "rollback"]


def test_every_option_named_in_the_guide_exists() -> None:
    groups = [vigie_group, *(each for each in vigie_group.commands.values() if isinstance(each, click.Group))]
    commands = [command for group in groups for command in group.commands.values()]
    known = {
        option for command in (vigie_group, *commands) for parameter in command.params for option in parameter.opts
    }
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", GUIDE))
    assert named - known == set()
