"""An installed Vigie has what the sources have: the tests themselves run on the sources."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
FOLDERS = {"vigie_data": "data"}


def test_every_package_is_installed() -> None:
    here = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in ("riskmodel", "service", "training")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert set(SETUPTOOLS["packages"]) == {*here, *FOLDERS}


def test_every_file_of_a_package_is_installed() -> None:
    installed = {
        file
        for package, patterns in SETUPTOOLS["package-data"].items()
        for pattern in patterns
        for file in (ROOT / FOLDERS.get(package, package.replace(".", "/"))).glob(pattern)
    }
    here = {
        file
        for top in ("riskmodel", "service", "training", "data")
        for file in (ROOT / top).rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc") and file.name != "py.typed"
    }
    assert here - installed == set()
