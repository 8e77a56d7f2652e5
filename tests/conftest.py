"""What tests share: the real data beside the project, an empty home, and how an absent part is skipped or failed."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from riskmodel.cli.main import main
from riskmodel.home import Home

if TYPE_CHECKING:
    from postgres_server import Server

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--database`: what the service's tests keep their rows in."""
    parser.addoption("--database", choices=("sqlite", "postgresql"), default="sqlite", help="for tests of the service")


def absent(part: str) -> NoReturn:
    """Skip, with the reason, a test that needs a part this machine lacks; in CI every part must be there."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must provide {part}")
    pytest.skip(f"needs {part}")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real conflict data: `VIGIE_SHARED`, or `../shared/data` beside the project."""
    folder = Path(os.environ.get("VIGIE_SHARED", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        absent("the real conflict data (../shared/data or VIGIE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None) or absent(
        "Chromium"
    )


@pytest.fixture(scope="session")
def nginx() -> str:
    """The path of an nginx."""
    places = f"{os.environ.get('PATH', '')}:/usr/sbin"
    return shutil.which("nginx", path=places) or absent("nginx (Debian: apt-get install nginx-light)")


@pytest.fixture(scope="session")
def postgresql() -> "Iterator[Server]":
    """A PostgreSQL server of our own."""
    from postgres_server import Server, binaries

    server = Server(binaries() or absent("PostgreSQL's server (Debian: apt-get install postgresql)"))
    yield server
    server.remove()


@dataclass(frozen=True)
class Said:
    """What a run of `vigie` left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home, and the one that `vigie` uses."""
    monkeypatch.setenv("VIGIE_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


@pytest.fixture
def vigie(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run `vigie` in this process, through its last door, exit code and all."""

    def run(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["vigie", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        code = left.value.code
        return Said(int(code or 0), *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def openssl() -> str:
    """The path of an OpenSSL, to make certificates with."""
    return shutil.which("openssl") or absent("openssl")
