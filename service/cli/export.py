"""`vigie export`: every lasting address of the service as a file, for a file server or a CDN.

The files have the bytes of the application's own responses, all from one state of the store and one time. Each file
that did not change is taken over from the version before.
"""

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from flask import Flask

from riskmodel import __version__
from riskmodel.cli.terminal import progress
from riskmodel.errors import Refused
from riskmodel.home import Home, sync
from service.cli import export_versions
from service.cli.app import create_app
from service.cli.export_addresses import ExportedResponse, addresses, fetch, fetch_pages, path_values
from service.cli.export_versions import CURRENT, EXPORT_MANIFEST, PART, Entry, Version
from service.http.request_context import attach, context_of
from service.store.database import Store
from service.store.values import instant

SCORES_ADDRESS = "/v1/scores"
"""The address whose payload says what is exported."""

MANIFEST_KEYS = ("region", "simulated", "outcomes", "snapshot_id", "digest", "issued_at", "data_as_of")
"""The keys of that payload that the manifest repeats."""

BROTLI_QUALITY = 10
"""The best quality, 11, takes three times as long for little."""

Encoders = Mapping[str, tuple[str, Callable[[bytes], bytes]]]


@dataclass(frozen=True)
class ExportResult:
    """Result of an export. `changed` is false if the current version is up to date already.

    `left` are old versions that stay because they contain files of others.
    """

    folder: Path
    manifest: dict[str, Any]
    changed: bool
    left: list[Path]

    @property
    def encodings(self) -> list[str]:
        """The encodings that there are files in, such as gzip."""
        return sorted({encoding for each in self.manifest["files"] for encoding in each["encodings"]}, reverse=True)

    def size(self, encoding: str = "") -> int:
        """Return the size of all files, each in this encoding if there is such a file of it [bytes]."""
        return sum(each["encodings"].get(encoding, each)["bytes"] for each in self.manifest["files"])


class _FrozenStore(Store):
    """A store whose readers all share one connection, and so see one state."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Return the shared connection."""
        yield self._connection


def export(home: Home, folder: Path, now: datetime) -> ExportResult:
    """Write the export of a home into a folder. Nothing is written if the current version is up to date.

    Raises BadInput for a folder that contains anything else. Raises Refused if there is nothing to export, or if
    another export into the folder is running.
    """
    app = create_app(home, clock=lambda: now)
    with export_versions.lock(folder):
        part = folder / PART
        if part.exists():
            shutil.rmtree(part)
        before = export_versions.current(folder)
        try:
            manifest, same = _write_files(app, part, before)
            if before and same and _without_time(before.manifest) == manifest:
                return ExportResult(folder, before.manifest, changed=False, left=[])
            manifest = {**manifest, "exported_at": instant(now)}
            (part / EXPORT_MANIFEST).write_text(
                json.dumps(manifest, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
            )
            export_versions.publish(folder)
            # A reader that has just resolved `current` may still read the version before.
            keep = {folder / CURRENT} | ({before.path} if before else set())
            return ExportResult(folder, manifest, changed=True, left=export_versions.remove_old(folder, keep))
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _without_time(manifest: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in manifest.items() if name != "exported_at"}


def _write_files(app: Flask, part: Path, before: Version | None) -> tuple[dict[str, Any], bool]:
    """Write all files. Return the manifest, and whether all files were taken over from the version before."""
    context = context_of(app)
    encoders, known = _encoders(), before.entries if before else {}
    entries: list[Entry] = []
    same = True
    with context.store.reading() as connection, progress() as bars:
        attach(app, replace(context, store=_FrozenStore(connection)))
        scores = fetch(app, SCORES_ADDRESS)
        if scores is None:
            raise Refused("there is nothing to export")
        starts = addresses(app, path_values(app, connection, scores))
        for start in bars.track(starts, description="exporting"):
            for response in fetch_pages(app, start):
                old = (before.path, known[response.address]) if before and response.address in known else None
                entry, taken_over = _write(response, part, encoders, old)
                entries.append(entry)
                same = same and taken_over
        # The store is frozen, but the archive is not: it decides whether real or simulated data are served.
        if fetch(app, SCORES_ADDRESS) != scores:
            raise Refused("real data have come in during the export: export again")
    for path in (part, *part.rglob("*")):
        if path.is_dir():
            sync(path)
    payload = json.loads(scores.body)
    common = dict(set.intersection(*(set(entry["headers"].items()) for entry in entries)))
    for entry in entries:
        entry["headers"] = {name: text for name, text in entry["headers"].items() if name not in common}
    about = {"vigie": __version__, **{name: payload[name] for name in MANIFEST_KEYS}}
    return {**about, "headers": dict(sorted(common.items())), "files": entries}, same


def _encoders() -> Encoders:
    """Return the encodings of compressed copies, by their HTTP names. The same body always gets the same bytes."""
    encoders: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
        "gzip": (".gz", lambda body: gzip.compress(body, compresslevel=9, mtime=0))
    }
    try:
        import brotli
    except ModuleNotFoundError:
        return encoders
    return {**encoders, "br": (".br", lambda body: cast(bytes, brotli.compress(body, quality=BROTLI_QUALITY)))}


def _write(
    response: ExportedResponse, part: Path, encoders: Encoders, old: tuple[Path, Entry] | None
) -> tuple[Entry, bool]:
    """Write a response and its compressed copies, or take over the files of the version before.

    `old` is the folder of the version before, and its entry for this address. Returns the new entry, and whether all
    files were taken over. Such a file keeps its modification time: it is the same file under another name.
    """
    path = part / response.file
    entry: Entry = {
        "address": response.address,
        "file": response.file,
        "content_type": response.media_type,
        "etag": response.etag,
        **_size_and_digest(response.body),
        "headers": response.headers,
        "encodings": {},
    }
    if old and not _is_unchanged(old[0], old[1], entry):
        old = None
    taken_over = _place(path, old and old[0] / response.file, response.body)
    for encoding, (suffix, encode) in encoders.items() if response.compressible else ():
        name = response.file + suffix
        old_copy = old[1]["encodings"].get(encoding) if old else None
        if old and old_copy and _is_unchanged(old[0], old_copy, old_copy):
            taken_over = _place(part / name, old[0] / name, b"") and taken_over
            entry["encodings"][encoding] = old_copy
            continue
        compressed = encode(response.body)
        if len(compressed) < len(response.body):
            taken_over = _place(part / name, None, compressed)
            modified = path.stat().st_mtime_ns
            # nginx serves a compressed copy with the copy's own time: it must be that of the plain file.
            os.utime(part / name, ns=(modified, modified))
            entry["encodings"][encoding] = {"file": name, **_size_and_digest(compressed)}
    return entry, taken_over


def _size_and_digest(content: bytes) -> Entry:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _is_unchanged(version: Path, old: Entry, new: Entry) -> bool:
    """Return whether a file of the version before still has the digest that is now wanted. It may have been altered."""
    try:
        content = (version / old["file"]).read_bytes()
    except OSError:
        return False
    return bool(old["file"] == new["file"] and _size_and_digest(content)["sha256"] == new["sha256"])


def _place(path: Path, old: Path | None, content: bytes) -> bool:
    """Put a file in its place: the old file if there is one, else the content. Return whether there was an old file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if old is None:
        path.write_bytes(content)
        sync(path)
        return False
    try:
        path.hardlink_to(old)
    except OSError:  # not every file system has hard links
        shutil.copy2(old, path)
    return True
