"""The code that a model carries: which modules, and that two models' modules of the same name do not mix."""

import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from riskmodel.errors import BadInput
from riskmodel.forecasting.baselines import Zero
from riskmodel.model_code import carried_sources, from_bytes, to_bytes
from training.workers import Workers

MINE = """
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import tools_of_mine
from parts_of_mine import one


@dataclass(frozen=True)
class Mine:
    name: str = "mine"
    unit: ClassVar[str] = "deaths"

    def numbers(self):
        from parts_of_mine.deep import three
        import late_tools_of_mine as late

        return tools_of_mine.ZERO, one.ONE, one.TWO, three, late.FOUR
"""
FILES = {
    "mine.py": MINE,
    "tools_of_mine.py": "ZERO = 0\n",
    "late_tools_of_mine.py": "FOUR = 4\n",
    "parts_of_mine/__init__.py": "",
    "parts_of_mine/one.py": "from . import two\nfrom .two import TWO\n\nONE = two.TWO - 1\n",
    "parts_of_mine/two.py": "TWO = 2\n",
    "parts_of_mine/deep.py": "three = 3\n",
    "unused.py": "",
}

Folder = Callable[[Mapping[str, str]], Any]


@pytest.fixture
def model_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A function that writes modules into a folder, makes a model of `mine.py`, and forgets folder and modules."""

    def make(files: Mapping[str, str]) -> Any:
        folder = tmp_path / f"folder{len(list(tmp_path.iterdir()))}"
        for name, source in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(source, encoding="utf-8")
        own = {name.partition("/")[0].removesuffix(".py") for name in files}
        for name in [name for name in sys.modules if name.partition(".")[0] in own]:
            monkeypatch.delitem(sys.modules, name)  # another test of this process may have left one of this name
        known = set(sys.modules)
        with monkeypatch.context() as path:
            path.syspath_prepend(folder)
            import mine

            stored = to_bytes(mine.Mine())
        for name in sys.modules.keys() - known:
            if "mine" in name:
                del sys.modules[name]
        return stored

    return make


def test_a_model_carries_what_its_module_imports_and_works_without_the_folder(model_from: Folder) -> None:
    content, sources = model_from(FILES)
    assert sorted(sources) == [
        *("late_tools_of_mine.py", "mine.py", "parts_of_mine.__init__.py"),
        *("parts_of_mine.deep.py", "parts_of_mine.one.py", "parts_of_mine.two.py", "tools_of_mine.py"),
    ]
    model = from_bytes(content, sources)
    assert model.numbers() == (0, 1, 2, 3, 4)
    assert "mine" not in sys.modules
    assert to_bytes(model) == (content, sources), "it can be stored again, and is the same"


def test_two_models_of_modules_with_the_same_names_do_not_mix(model_from: Folder) -> None:
    one, other = model_from(FILES), model_from({**FILES, "late_tools_of_mine.py": "FOUR = 40\n"})
    models = from_bytes(*one), from_bytes(*other)
    assert [model.numbers()[-1] for model in models] == [4, 40]
    assert type(models[0]) is not type(models[1])
    assert type(from_bytes(*one)) is type(models[0]), "the same sources are the same module"
    with pytest.raises(BadInput, match=r"two different modules late_tools_of_mine\.py"):
        to_bytes(models)


def test_another_process_gets_the_code_too(model_from: Folder) -> None:
    model = from_bytes(*model_from(FILES))
    # A worker has only what is installed: a function of this file would not be found there.
    assert list(Workers(jobs=2).map_unordered(getattr, [(model, "unit")])) == [("unit", "deaths")]


def test_vigies_own_models_and_installed_packages_are_not_carried() -> None:
    assert carried_sources(Zero()) == {}
    assert carried_sources([Path, pytest.approx]) == {}


def test_a_class_of_a_script_cannot_be_carried() -> None:
    script = """
        from riskmodel.errors import BadInput
        from riskmodel.model_code import to_bytes
        class Mine: ...
        try:
            to_bytes(Mine())
        except BadInput as refused:
            print(refused)
    """
    printed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert printed == "Mine is defined in a notebook or script: put it into a module, a file of its own\n"
