"""The folder that Vigie writes to (`VIGIE_HOME`), and how it writes files so that a crash leaves none half-written."""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs


@dataclass(frozen=True)
class Home:
    """The paths in a home. Nothing is created before it is needed."""

    root: Path

    @property
    def archive(self) -> Path:
        return self.root / "archive"

    @property
    def downloads(self) -> Path:
        """Unfinished and cached downloads of pulls. Deleting them costs a new download."""
        return self.root / "downloads"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def as_of_models(self) -> Path:
        """Models trained on what was known at a past moment, to answer as-of requests. None is ever in service."""
        return self.root / "models-as-of"

    @property
    def backtests(self) -> Path:
        return self.root / "backtests"

    @property
    def hindcasts(self) -> Path:
        """Hindcasts, one file for each origin. Deleting them costs their computation."""
        return self.root / "hindcasts"

    @property
    def cards(self) -> Path:
        return self.root / "cards"

    @property
    def database(self) -> Path:
        return self.root / "vigie.db"

    @property
    def known_databases(self) -> Path:
        """The names of the databases that were created for this home. A lost one is not silently created again."""
        return self.root / "known_databases"

    @property
    def settings(self) -> Path:
        return self.root / "vigie.toml"

    @property
    def alert_rules(self) -> Path:
        return self.root / "alert_rules.toml"

    @property
    def run(self) -> Path:
        """Files that running processes share. A restart can lose them."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"


def default_home() -> Path:
    """Return `VIGIE_HOME`, or the platform's folder for a user's data."""
    if root := os.environ.get("VIGIE_HOME"):
        return Path(root).expanduser()
    return platformdirs.user_data_path("vigie", appauthor=False)


@contextlib.contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """Yield a path to write to. If the block ends without an error, the file replaces `target` in one step.

    The replacement survives a power cut: content and folder are synced to the disk.
    """
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
        return  # Windows cannot open a folder
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
