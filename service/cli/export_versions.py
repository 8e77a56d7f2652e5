"""The folder of `vigie export` on disk: numbered versions, and a link `current` to the one that is served.

A version is written as `.part` and renamed once it is complete. `current` then moves in one step, so that a reader
never sees half a version or two versions mixed.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from riskmodel.errors import BadInput, Refused
from riskmodel.home import sync

CURRENT, EXPORT_MANIFEST, LOCK, PART, NEXT_LINK = "current", "manifest.json", ".lock", ".part", ".current.part"

Entry = dict[str, Any]
"""What the manifest records about one address."""


@dataclass(frozen=True)
class Version:
    """A complete version on disk."""

    path: Path
    manifest: dict[str, Any]

    @property
    def entries(self) -> dict[str, Entry]:
        """The manifest's entry for each address."""
        return {entry["address"]: entry for entry in self.manifest["files"]}


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Lock the folder of an export, which need not exist.

    Raises BadInput if it contains anything else, and Refused if another export has locked it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        link = path.name == CURRENT and path.is_symlink()
        if not (path.name in (LOCK, PART, NEXT_LINK) or link or _number(path)):
            raise BadInput(
                f"{folder} contains {path.name}, which is not part of an export: choose a new folder, or the folder of "
                "an earlier export"
            )
    try:
        with FileLock(folder / LOCK).acquire(timeout=0):
            yield
    except Timeout:
        raise Refused(f"another export into {folder} is running") from None


def _number(path: Path) -> int:
    """Return the number of a version; 0 for any other path."""
    return int(path.name) if re.fullmatch(r"[1-9]\d{0,8}", path.name) and (path / EXPORT_MANIFEST).is_file() else 0


def current(folder: Path) -> Version | None:
    """Return the version that is served; None if there is none that can be read."""
    try:
        path = (folder / CURRENT).resolve(strict=True)
        return Version(path, json.loads((path / EXPORT_MANIFEST).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return None


def publish(folder: Path) -> None:
    """Give the complete `.part` the next number, and let `current` point to it."""
    part = folder / PART
    # Every step is on disk before the next one, so that `current` points to complete files even after a power cut.
    sync(part / EXPORT_MANIFEST)
    sync(part)
    number = 1 + max(map(_number, folder.iterdir()), default=0)
    part.rename(folder / str(number))
    (folder / NEXT_LINK).unlink(missing_ok=True)
    (folder / NEXT_LINK).symlink_to(str(number))
    sync(folder)
    (folder / NEXT_LINK).replace(folder / CURRENT)
    sync(folder)


def remove_old(folder: Path, keep: set[Path]) -> list[Path]:
    """Remove all versions but some. Return those that stay because they contain files of others."""
    current = {path.resolve() for path in keep}
    old = [path for path in folder.iterdir() if _number(path) and path.resolve() not in current]
    return [path for path in old if not _remove(path)]


def _remove(version: Path) -> bool:
    """Remove the files that a version's manifest names, and the version itself if nothing else is in it."""
    entries = json.loads((version / EXPORT_MANIFEST).read_text(encoding="utf-8"))["files"]
    named = {each["file"] for entry in entries for each in (entry, *entry["encodings"].values())}
    for path in sorted(version.rglob("*"), reverse=True):  # the content of a folder comes before the folder
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(version).as_posix() in named:
            path.unlink()
    if [path.name for path in version.iterdir()] != [EXPORT_MANIFEST]:
        return False
    (version / EXPORT_MANIFEST).unlink()
    version.rmdir()
    return True
