"""The way into service and back: the gate, force, the journal, the list of models, and their cards."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from histories import SAHEL, made, rectangle

from riskmodel import bundle
from riskmodel.errors import Refused
from riskmodel.forecasting.baselines import Zero
from riskmodel.forecasting.pool import SMOOTHER
from riskmodel.home import Home
from riskmodel.indicators.panel import assemble
from training import backtest, gate, registry
from training.windows import challenges

Vigie = Callable[..., Any]
PANEL = assemble(rectangle(made()), "state_based")

MODELS = """
from dataclasses import dataclass, replace

import numpy as np

from riskmodel.forecasting.baselines import Conflictology, History, Zero
from riskmodel.forecasting.forecast import LEADS, Forecast


@dataclass(frozen=True)
class Seer(Conflictology):
    # Cheats: remembers the whole panel that the archive gave it, and hedges around what came.
    name: str = "seer"
    width: float = 0.3

    def forecast(self, panel, origin):
        table = np.load("truth.npy")
        place = int((origin - np.datetime64("2000-01", "M")).astype(int)) + 1
        came = np.pad(table[:, place : place + LEADS], ((0, 0), (0, LEADS)))[:, :LEADS]
        spread = np.exp(self.width * np.linspace(-1, 1, 101))
        return Forecast(origin, panel.iso3, panel.outcome, np.rint(came[..., None] * spread).astype(np.float32))


def seer(seed):
    return Seer()


def vague(seed):
    return Seer(width=0.6)


def zero(seed):
    return Zero()
"""


@pytest.fixture
def workshop(tmp_path: Path, vigie: Vigie, history: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a modeler's models, and an archive."""
    assert vigie("ingest", "monthly", history).code == 0
    (tmp_path / "promoted.py").write_text(MODELS, encoding="utf-8")
    np.save(tmp_path / "truth.npy", made()[np.argsort(SAHEL)])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def serving(home: Home) -> str:
    path = bundle.champion(home.models, simulated=False)
    assert path is not None
    return path.name


def test_the_gate_asks_what_it_says() -> None:
    windows = challenges("2006:2008")
    judged = backtest.run(PANEL, windows, SAHEL, SMOOTHER)
    worse = backtest.run(PANEL, windows, SAHEL, Zero())
    found = gate.checks(judged, worse)
    asked = {(check.against, check.score, check.rule) for check in found}
    assert asked == {
        *((other, score, rule) for other in gate.SIMPLE for score, rule in gate.STATED.items()),
        *(("the model in service", score, "not worse") for score in gate.STATED),
    }
    by = {(check.against, check.score): check for check in found}
    same = by["ew4s", "IGN"]
    assert (same.value, same.passed) == (0.0, False)
    assert by["ew4s", "CRPS"].passed
    means = judged.means("IGN")[:, -1]
    ours, theirs = means[0], means[judged.component("conflictology12")]
    assert by["conflictology12", "IGN"].value == pytest.approx(ours / theirs - 1)
    assert by["conflictology12", "IGN"].passed == (ours < theirs)
    assert all(check.passed for check in found if check.against == "the model in service")
    back = gate.checks(worse, judged)
    assert not all(check.passed for check in back if check.against == "the model in service")
    assert all(check.low <= check.value <= check.high and check.windows == 3 for check in found)


def test_a_challenger_goes_through_the_gate_or_stays_outside(home: Home, vigie: Vigie, workshop: Path) -> None:
    first = vigie("train", "--model", "promoted:vague")
    assert "now in service" in first.out, first.err
    vague = serving(home)
    assert "it is in service already" in vigie("train", "--model", "promoted:vague").out

    poor = vigie("train", "--model", "promoted:zero")
    assert poor.code == 0, poor.err
    assert "NOT MET" in poor.out
    assert f"it does not pass the gate: {vague} stays in service" in poor.out
    assert serving(home) == vague
    zero = next(name for name in registry.names(home.models) if name != vague)

    better = vigie("train", "--model", "promoted:seer")
    assert "it passes the gate and is now in service" in better.out, better.out
    assert "windows 2006, 2007, 2008, 2009, data" in better.out
    assert "the model in service" in better.out
    assert "NOT MET" not in better.out
    seer = serving(home)
    assert seer not in (vague, zero)

    refused = vigie("promote", zero)
    assert refused.code == Refused.exit_code
    assert "NOT MET" in refused.out
    assert "does not pass the gate" in refused.err
    assert serving(home) == seer
    worse = vigie("promote", vague, "--windows", "2007:2009")
    assert worse.code == Refused.exit_code
    assert re.search(r"the model in service +IGN +not worse .* NOT MET", worse.out)

    assert vigie("promote", zero, "--force", "  ").code == 2
    assert vigie("promote", zero, "--force", "a trial of the way back").code == 0
    assert serving(home) == zero
    said = vigie("models").out
    assert re.search(rf"{zero} .* yes .* past the gate", said)
    assert f"{seer} is in service again, in place of {zero}" in vigie("rollback", "--why", "as planned").out
    assert f"{vague} is in service again, in place of {seer}" in vigie("rollback").out
    assert vigie("rollback").code == Refused.exit_code
    assert serving(home) == vague
    listed = json.loads(vigie("models", "--format", "json").out)
    assert {row["model"] for row in listed} == {zero, seer, vague}
    assert [row["model"] for row in listed if row["in_service"]] == [vague]
    kept = [(entry.name, entry.how, entry.why) for entry in registry.journal(home.models)]
    assert kept == [
        (vague, "first", ""),
        (seer, "gate", ""),
        (zero, "force", "a trial of the way back"),
        (seer, "rollback", "as planned"),
        (vague, "rollback", ""),
    ]


def test_a_model_of_an_earlier_journal_can_be_gone_back_to(home: Home, vigie: Vigie, workshop: Path) -> None:
    vigie("train", "--model", "promoted:vague")
    (home.models / registry.JOURNAL).unlink()
    before = serving(home)
    vigie("train", "--model", "promoted:seer")
    assert serving(home) != before
    assert f"{before} is in service again" in vigie("rollback").out


def test_a_champion_that_can_serve_no_more_is_replaced_without_the_gate(
    home: Home, vigie: Vigie, workshop: Path
) -> None:
    vigie("train", "--model", "promoted:seer")
    path = home.models / serving(home)
    (path / "model.joblib").write_bytes(b"")
    done = vigie("train", "--model", "promoted:zero")
    assert "now in service" in done.out
    assert "gate" not in done.out
    assert serving(home) != path.name
    row = next(row for row in json.loads(vigie("models", "--format", "json").out) if row["model"] == path.name)
    assert "was altered" in row["damaged"]
    assert vigie("rollback").code == Refused.exit_code
    assert serving(home) != path.name


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["promote", "nothing"], 3, "no models are called nothing; there are: none"),
        (["promote", "x", "--windows", "soon"], 2, "neither a year"),
        (["card"], 3, "no model is in service"),
        (["card", "nothing"], 3, "no models are called nothing"),
        (["rollback"], 3, "there is no earlier model"),
    ],
)
def test_what_cannot_be_done_is_said(vigie: Vigie, history: Path, arguments: list[str], code: int, said: str) -> None:
    vigie("ingest", "monthly", history)
    done = vigie(*arguments)
    assert (done.code, said in done.err) == (code, True), done.err
    assert "there is no model yet" in vigie("models").out


class Shape(HTMLParser):
    """Which tags are open; fails where one closes that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "rect", "line", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "line", "circle"):
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)


def test_the_card_tells_data_skill_calibration_and_how_it_came_into_service(
    home: Home, vigie: Vigie, workshop: Path
) -> None:
    vigie("train", "--model", "promoted:seer")
    bare = vigie("card").out.split()
    text = Path(bare[0]).read_text(encoding="utf-8")
    assert "No back-test of this configuration and code is kept: vigie backtest --windows" in text
    assert "the first model" in text
    vigie("train", "--model", "promoted:zero")
    zero = next(name for name in registry.names(home.models) if name != serving(home))
    vigie("promote", zero, "--force", "to see <what> happens | here")
    backtested = vigie("backtest", "--windows", "2006:2009", "--model", "promoted:zero", "--scope", "world").out
    vigie("backtest", "--rolling", "2008", "--model", "promoted:zero")
    done = vigie("card", zero, "--out", workshop / "cards")
    assert done.code == 0, done.err
    markdown, page = (Path(path) for path in done.out.split())
    assert (markdown.name, page.name) == (f"{zero}.md", f"{zero}.html")
    text, html = markdown.read_text(encoding="utf-8"), page.read_text(encoding="utf-8")
    shape = Shape()
    shape.feed(html)
    assert shape.open == []
    assert shape.seen.count("svg") == 6
    assert "http" not in html.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "to see &lt;what&gt; happens | here" in html
    assert r"to see \<what> happens | here" in text
    for part in (
        "8 countries, 2000-01 to 2009-12: 960 country-months",
        "Past years",
        "As issued month by month",
        "Mali",
        "past the gate, by force",
        "| conflictology12 | IGN | better |",
        "the region of MLI, 8 countries".capitalize(),
        "escalation, h24",
        "escalation, served",
        "escalation is said by: draws (",
        "| forecast | in 50 % | 90 % interval | in 90 % | 90 % interval |",
        "Leads 1-3:",
        "No alerts yet: thresholds are fixed on 3 earlier windows",
        "## Limits",
    ):
        assert part.lower() in text.lower(), part
    crps = re.search(r"all +zero +(\S+)", backtested) or re.search(r"zero +(\S+)", backtested.split("\nall")[1])
    assert crps is not None
    assert f"| all zero | {crps[1]} |" in text
    assert all(line.count(" | ") > 0 for line in text.splitlines() if line.startswith("| "))


def test_same_data_code_and_seed_give_the_same_bundle(home: Home, vigie: Vigie, history: Path, tmp_path: Path) -> None:
    vigie("ingest", "monthly", history)
    digests = []
    for _ in range(2):
        assert vigie("train", "--origin", "2004-06").code == 0
        [name] = registry.names(home.models)
        manifest = json.loads((home.models / name / "manifest.json").read_text(encoding="utf-8"))
        digests.append((name, manifest["files"], manifest["code"], manifest["configuration"]))
        for file in home.models.rglob("*"):
            if file.is_file():
                file.unlink()
        (home.models / name).rmdir()
    assert digests[0] == digests[1]
    assert len(digests[0][2]) == 64


def test_mlflow_is_told_of_a_model(home: Home, vigie: Vigie, workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")
    address = f"sqlite:///{workshop / 'runs.db'}"
    done = vigie("train", "--model", "promoted:vague", "--mlflow", address)
    assert done.code == 0, done.err
    run = mlflow.MlflowClient(tracking_uri=address).get_run(re.findall(r"told MLflow: run (\w+)", done.out)[0])
    facts = bundle.provenance(home.models / serving(home))
    assert run.data.params["origin"] == "2009-12"
    assert run.data.params["configuration"] == facts.configuration
    assert run.data.tags["model"] == serving(home)
    assert run.data.metrics["seer/IGN"] == facts.scores["seer"]["IGN"]
    assert run.data.metrics["conflictology12/90_percent"] == facts.scores["conflictology12"]["90 %"]
    voices = {name for name in run.data.metrics if name.startswith("escalation/Brier_")}
    assert voices == {f"escalation/Brier_{voice}" for voice in facts.scores["escalation"]["Brier"]}
    assert run.data.metrics["escalation/cases"] == facts.scores["escalation"]["cases"]
    assert sorted(path.name for path in workshop.iterdir() if "run" in path.name) == ["runs.db"]

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    silent = vigie("train", "--model", "promoted:vague", "--mlflow", "http://127.0.0.1:9")
    assert silent.code == 4
    assert "is kept; MLflow at http://127.0.0.1:9 did not take it" in silent.err


def test_the_shadow_is_beside_the_service_and_not_in_the_way_back(home: Home, vigie: Vigie, workshop: Path) -> None:
    vigie("train", "--model", "promoted:vague")
    first = serving(home)
    assert "vigie shadow" in vigie("train", "--model", "promoted:zero").out, "what does not pass may run beside"
    zero = next(name for name in registry.names(home.models) if name != first)
    assert vigie("shadow", zero, "--why", "a trial").code == 0
    assert (serving(home), bundle.challenger(home.models, simulated=False)) == (first, home.models / zero)
    listed = {row["model"]: row for row in registry.listed(home.models)}
    assert [(listed[name]["in_service"], listed[name]["in_shadow"]) for name in (first, zero)] == [
        (True, False),
        (False, True),
    ]
    assert listed[zero]["promoted"] is None
    assert vigie("rollback").code == 3, "the shadow is no service to go back to"
    assert vigie("promote", zero, "--force", "to see").code == 0
    assert bundle.challenger(home.models, simulated=False) is None, "what is in service leaves the shadow"
    assert vigie("rollback").code == 0
    assert serving(home) == first
    assert [entry.how for entry in registry.journal(home.models)] == ["first", "shadow", "force", "rollback"]


def test_a_model_of_the_other_realm_is_not_put_into_the_shadow(home: Home, vigie: Vigie, workshop: Path) -> None:
    vigie("train", "--model", "promoted:vague")
    facts = bundle.provenance(home.models / serving(home))
    other = bundle.save(Zero(), replace(facts, simulated=True), home.models)
    refused = vigie("shadow", other)
    assert (refused.code, "saw other data" in refused.err) == (3, True)
    assert vigie("shadow", other, "--off").code == 2
