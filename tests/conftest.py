"""Fixtures for all tests: real data, an empty home, the `vigie` command, and programs that a machine can lack."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import HealthCheck, settings

from riskmodel.cli.main import main
from riskmodel.home import Home

if TYPE_CHECKING:
    from postgres_server import Server

ROOT = Path(__file__).resolve().parent.parent

# By default an example fails after 200 ms, which a loaded machine takes now and then.
settings.register_profile("loaded_machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("loaded_machine")

MEMORY_DISK = Path("/dev/shm")  # noqa: S108 - pytest makes a private folder in it
MEMORY_DISK_FREE = 4 * 2**30
"""The room that the memory disk must have for the tests' files, of which there is up to 1.5 GB [bytes]."""


def pytest_configure() -> None:
    """Put the tests' files on a memory disk: the tests write thousands of files that Vigie syncs to the disk."""
    if MEMORY_DISK.is_dir() and shutil.disk_usage(MEMORY_DISK).free >= MEMORY_DISK_FREE:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY_DISK))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests of the long set take their time. The time-out of the others turns a test that hangs into a failure."""
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.timeout(0))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--database`, the database of the tests of the service."""
    parser.addoption(
        "--database",
        choices=("sqlite", "postgresql"),
        default="sqlite",
        help="the database of the tests of the service",
    )


def skip_without(part: str) -> NoReturn:
    """Skip a test because this machine lacks something. In CI the test fails, because CI must have everything."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must provide {part}")
    pytest.skip(f"needs {part}")


@pytest.fixture(scope="session")
def load_benchmark() -> Callable[[str], ModuleType]:
    """A function that imports a file of `benchmarks/` by its name."""

    def load(name: str) -> ModuleType:
        folder = ROOT / "benchmarks"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "path", [str(folder), *sys.path])  # the module imports its neighbours
            spec = importlib.util.spec_from_file_location(f"benchmark_of_{name}", folder / f"{name}.py")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real conflict data: `VIGIE_SHARED`, or `../shared/data` next to the project."""
    folder = Path(os.environ.get("VIGIE_SHARED", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        skip_without("the real conflict data (../shared/data or VIGIE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium."""
    return next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    ) or skip_without("Chromium")


@pytest.fixture(scope="session")
def nginx() -> str:
    """The path of nginx."""
    search_path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    return shutil.which("nginx", path=search_path) or skip_without("nginx (Debian: apt-get install nginx-light)")


@pytest.fixture(scope="session")
def postgresql() -> "Iterator[Server]":
    """A PostgreSQL server for these tests."""
    from postgres_server import Server, binaries

    server = Server(binaries() or skip_without("PostgreSQL's server (Debian: apt-get install postgresql)"))
    yield server
    server.remove()


@dataclass(frozen=True)
class CommandResult:
    """The exit code and the output of a run of `vigie`."""

    code: int
    out: str
    err: str


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home. `vigie` uses it by default."""
    monkeypatch.setenv("VIGIE_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


@pytest.fixture
def vigie(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., CommandResult]:
    """A function that runs `vigie` in this process, from the command line to the exit code."""

    def run(*arguments: object) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["vigie", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
        code = exit_.value.code
        return CommandResult(int(code or 0), *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def openssl() -> str:
    """The path of OpenSSL, for making certificates."""
    return shutil.which("openssl") or skip_without("openssl")
