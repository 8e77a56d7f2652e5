"""The one folder that Vigie writes to (`VIGIE_HOME`), and how files come to stand in it: whole or not at all."""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs


@dataclass(frozen=True)
class Home:
    """Where things stand in a home. Nothing is created before it is needed."""

    root: Path

    @property
    def archive(self) -> Path:
        return self.root / "archive"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def backtests(self) -> Path:
        return self.root / "backtests"

    @property
    def cards(self) -> Path:
        return self.root / "cards"

    @property
    def database(self) -> Path:
        return self.root / "vigie.db"

    @property
    def known_databases(self) -> Path:
        """The names of the databases that were created for this home. None of them is created a second time."""
        return self.root / "known_databases"

    @property
    def settings(self) -> Path:
        return self.root / "vigie.toml"

    @property
    def alert_rules(self) -> Path:
        return self.root / "alert_rules.toml"

    @property
    def run(self) -> Path:
        """What running processes share and a restart may lose."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def past_models(self) -> Path:
        """Models trained on what was known at a past moment, to tell of that moment; none is ever in service."""
        return self.root / "models-as-of"


def default_home() -> Path:
    """Return `VIGIE_HOME`, or the platform's place for a user's data."""
    if root := os.environ.get("VIGIE_HOME"):
        return Path(root).expanduser()
    return platformdirs.user_data_path("vigie", appauthor=False)


@contextlib.contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """Give a path to write to; when the block ends well, it becomes `target` in one step that survives a power cut."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.parent / f".{target.name}.{os.getpid()}.{threading.get_ident()}.part"
    try:
        yield part
        sync(part)
        part.replace(target)
        sync(target.parent)
    finally:
        part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make the system write a file's content, or a folder's list of names, to the disk."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
