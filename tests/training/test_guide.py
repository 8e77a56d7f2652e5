"""The modeler's guide, run from top to bottom in a home of eight countries, ten years."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from riskmodel.home import Home
from training import registry

Vigie = Callable[..., Any]
GUIDE = Path(__file__).parents[2] / "docs" / "modelers.md"
YEARS = {"2018:2022": "2008:2009", "2021:2022": "2009:2009", "2018:2019": "2008:2009"}
"""The small archive ends in 2009."""


def challenger(home: Home) -> str:
    """The model that is not the first."""
    first = registry.read_journal(home.models)[0].model
    return next((name for name in registry.model_names(home.models) if name != first), "")


def test_each_code_sample_of_the_guide_runs(
    home: Home,
    vigie: Vigie,
    archive: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert vigie("train").code == 0
    names: dict[str, Any] = {"__name__": "guide"}
    said: dict[str, str] = {}
    samples = re.findall(r"^```(sh|python)(?: title=\"(.*?)\")?\n(.*?)^```$", GUIDE.read_text("utf-8"), re.M | re.S)
    assert len(samples) == 11
    for kind, title, text in samples:
        for written, small in YEARS.items():
            text = text.replace(written, small)
        if title:
            Path(title).write_text(text, encoding="utf-8")
        elif kind == "python":
            exec(compile(text, str(GUIDE), "exec"), names)  # noqa: S102 - our own guide
        else:
            for line in text.splitlines():
                done = vigie(*shlex.split(line.replace("MODEL", challenger(home)))[1:])
                said[line] = done.out + done.err
                expected = 3 if line.startswith("vigie promote MODEL --windows") else 0
                assert done.code == expected, (line, done.err)
    assert names["by_lead"].index.get_level_values("forecaster").unique().size == 6
    assert names["pair"].forecasters == ("forest (A)", "forest (B)")
    assert names["estimate"].low <= names["estimate"].value <= names["estimate"].high
    assert "windows won by pool" in said["vigie compare --rolling pool pool-without-spillover"]
    assert "dressed12" in said["vigie compare dressed12 conflictology12 --scope world"]
    assert "NOT MET" in said["vigie promote MODEL --windows 2008:2009"]
    how = [entry.action for entry in registry.read_journal(home.models)]
    assert how == ["first", "shadow", "shadow_off", "force", "rollback"]
    assert "in its shadow" in said["vigie models"]
