"""The service as files: every address that tells of a snapshot, for whatever serves files (`vigie export`).

The bytes are those of the application itself, all from one state of the store and one moment of the clock. What is
exported follows from the addresses that it declares; only what is of a moment (`LIVE`) is named here. An export is a
folder with numbered versions in it; `current` points to the one in force and moves on in one step, so that nobody ever
sees half of one or two mixed. It knows nothing of what payloads say, but for where the next page stands.
"""

import gzip
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus
from itertools import pairwise, product
from pathlib import Path, PurePosixPath
from typing import Any, cast

import sqlalchemy as sa
from filelock import FileLock, Timeout
from flask import Flask
from werkzeug.routing import Rule

from riskmodel import __version__, geography
from riskmodel.cli.terminal import progress
from riskmodel.errors import BadInput, Refused, VigieError
from riskmodel.home import Home, sync
from service.cli.app import create_app
from service.drawing.language import LOCALES
from service.http.request_context import attach, context_of
from service.store.database import Store
from service.store.tables import runs, snapshots
from service.store.values import instant

CURRENT, MANIFEST, LOCK, PART, NEXT = "current", "manifest.json", ".lock", ".part", ".current.part"

LIVE = frozenset({"changes", "health", "jobs", "metrics", "tasks"})
"""The parts of the application whose answers are of a moment, or of one process: no file can give them."""

FIRST = "/v1/scores"
"""The address whose payload says what is exported."""

SAID = ("region", "simulated", "snapshot_id", "digest", "issued_at", "data_as_of")
"""What the manifest repeats of it."""

NOTHING_THERE = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)
"""How the service answers where something might be and is not: no draws were kept, two runs cannot be compared."""

OF_A_SERVER = {"content-type", "content-length", "etag", "date", "last-modified", "cache-control", "expires", "vary"}
"""Headers that a manifest tells in another form, or that are for the server of the files to say."""

QUALITY = 10
"""Of brotli: one less than its best, at a third of the time; it is done again for whatever changes."""

FOLLOWS = re.compile(r'<([^>]+)>; rel="next"')

Choices = Mapping[tuple[str, ...], Sequence[tuple[Any, ...]]]
Entry = dict[str, Any]
Coders = Mapping[str, tuple[str, Callable[[bytes], bytes]]]


@dataclass(frozen=True)
class Exported:
    """What an export came to. `changed` is False where the version in force says the same already."""

    folder: Path
    manifest: dict[str, Any]
    changed: bool
    left: list[Path]

    @property
    def codings(self) -> list[str]:
        """The codings in which anything stands there."""
        return sorted({coding for each in self.manifest["files"] for coding in each["encodings"]}, reverse=True)

    def bytes(self, coding: str = "") -> int:
        """How much it takes to send each file once, in a coding where it stands there in it [bytes]."""
        return sum(each["encodings"].get(coding, each)["bytes"] for each in self.manifest["files"])


@dataclass(frozen=True)
class Answer:
    """A good answer of the application."""

    address: str
    body: bytes
    media: str
    tag: str | None
    headers: dict[str, str]

    @property
    def file(self) -> str:
        """Where it stands: a page is the index of a folder, a payload that has no suffix gets `.json`."""
        path, _, query = self.address.removeprefix("/").partition("?")
        if self.media.startswith("text/html"):
            return str(PurePosixPath(path) / "index.html")
        suffix = PurePosixPath(path).suffix
        if query:
            return f"{path}@{query}{suffix or '.json'}"
        return path if suffix else f"{path}.json"

    @property
    def shrinks(self) -> bool:
        """Whether it is text, and no smaller already."""
        kind = self.media.partition(";")[0]
        return kind.startswith("text/") or kind.endswith(("json", "xml"))

    @property
    def following(self) -> str | None:
        """The address of the next page of a list."""
        found = FOLLOWS.search(self.headers.get("Link", ""))
        return found[1] if found else None


class _OneState(Store):
    """A store that shows all its readers one state."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """The connection that sees this state."""
        yield self._connection


def export(home: Home, folder: Path, now: datetime) -> Exported:
    """Write the export of a home into a folder, or leave it as it is where nothing has changed.

    Raises BadInput for a folder that holds something else, and Refused where there is nothing to export, or another
    export into the folder is under way.
    """
    app = create_app(home, clock=lambda: now)
    with _held(folder):
        part = folder / PART
        if part.exists():
            shutil.rmtree(part)
        before = _in_force(folder)
        try:
            written, same = _written(app, part, before)
            if before and same and _lasting(before.manifest) == written:
                return Exported(folder, before.manifest, changed=False, left=[])
            manifest = {**written, "exported_at": instant(now)}
            (part / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
            _put_in_force(folder, part)
            keep = {folder / CURRENT} | ({before.path} if before else set())
            return Exported(folder, manifest, changed=True, left=_tidy(folder, keep))
        finally:
            shutil.rmtree(part, ignore_errors=True)


@dataclass(frozen=True)
class _Version:
    """A version as it stands on the disk."""

    path: Path
    manifest: dict[str, Any]

    @property
    def entries(self) -> dict[str, Entry]:
        """What it says of each address."""
        return {entry["address"]: entry for entry in self.manifest["files"]}


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Have a folder to oneself. Raises BadInput if it is no export, and Refused if somebody else has it."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        ours = path.name in (LOCK, PART, NEXT) or (path.name == CURRENT and path.is_symlink()) or _number(path)
        if not ours:
            raise BadInput(f"{folder} holds {path.name}, which is of no export: name a new folder, or one of an export")
    try:
        with FileLock(folder / LOCK).acquire(timeout=0):
            yield
    except Timeout:
        raise Refused(f"another export into {folder} is under way") from None


def _number(path: Path) -> int:
    """The number of a version; 0 for what is none."""
    return int(path.name) if re.fullmatch(r"[1-9]\d{0,8}", path.name) and (path / MANIFEST).is_file() else 0


def _in_force(folder: Path) -> _Version | None:
    """The version that is served; None where there is none that can be read."""
    try:
        path = (folder / CURRENT).resolve(strict=True)
        return _Version(path, json.loads((path / MANIFEST).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return None


def _lasting(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest without the moment at which it was made."""
    return {name: value for name, value in manifest.items() if name != "exported_at"}


def _written(app: Flask, part: Path, before: _Version | None) -> tuple[dict[str, Any], bool]:
    """Write all files; return what the manifest says of them, and whether all were there before."""
    context = context_of(app)
    coders, known = _coders(), before.entries if before else {}
    entries: list[Entry] = []
    same = True
    with context.store.reading() as connection, progress() as bars:
        attach(app, replace(context, store=_OneState(connection)))
        first = ask(app, FIRST)
        starts = addresses(app, choices(app, connection, first))
        for start in bars.track(starts, description="exporting"):
            for answer in _pages(app, start):
                entry, kept = _put(answer, part, coders, before.path if before else None, known.get(answer.address))
                entries.append(entry)
                same = same and kept
        if ask(app, FIRST) != first:
            raise Refused("real data came in meanwhile: export again")
    for path in (part, *part.rglob("*")):
        if path.is_dir():
            sync(path)
    said = json.loads(cast(Answer, first).body)
    common = dict(set.intersection(*(set(entry["headers"].items()) for entry in entries)))
    for entry in entries:
        entry["headers"] = {name: text for name, text in entry["headers"].items() if name not in common}
    about = {"vigie": __version__, **{name: said[name] for name in SAID}}
    return {**about, "headers": dict(sorted(common.items())), "files": entries}, same


def choices(app: Flask, connection: sa.Connection, first: Answer | None) -> Choices:
    """What the parts of addresses can be, by their names: those of one address together."""
    if first is None:
        raise Refused("there is nothing to export")
    said = json.loads(first.body)
    ran = sa.select(runs.c.id).join(snapshots, runs.c.snapshot_id == snapshots.c.id)
    of_realm = (runs.c.region == said["region"]) & (snapshots.c.simulated == said["simulated"])
    made = list(connection.scalars(ran.where(of_realm, runs.c.status == "snapshot").order_by(runs.c.id)))
    countries = geography.region(said["region"]).members
    static = Path(cast(str, app.static_folder))
    return {
        (): [()],
        ("iso3",): [(iso3,) for iso3 in countries],
        ("language",): [(code,) for code in LOCALES],
        ("iso3", "language"): list(product(countries, LOCALES)),
        ("number",): [(number,) for number in made],
        ("a", "b"): list(pairwise(made)),
        ("filename",): [(str(path.relative_to(static)),) for path in sorted(static.rglob("*")) if path.is_file()],
    }


def addresses(app: Flask, known: Choices) -> list[str]:
    """All addresses of an application that answer a GET with what lasts, but for the further pages of lists.

    Raises VigieError for one with parts that nothing is known of.
    """
    found = []
    for rule in app.url_map.iter_rules():
        if "GET" not in (rule.methods or ()) or rule.endpoint.split(".")[0] in LIVE:
            continue
        names = tuple(sorted(rule.arguments))
        if names not in known:
            raise VigieError(f"the export does not know what {rule.rule} can be asked for")
        found += [_built(rule, dict(zip(names, values, strict=True))) for values in known[names]]
    return sorted(found)


def _built(rule: Rule, values: Mapping[str, Any]) -> str:
    built = rule.build(values, append_unknown=False)
    if built is None:
        raise VigieError(f"{rule.rule} cannot be asked for {values}")
    return built[1]


def ask(app: Flask, address: str) -> Answer | None:
    """What the application answers; None where there is nothing. Raises Refused in its own words if it cannot."""
    said = app.test_client().get(address)
    if said.status_code in NOTHING_THERE:
        return None
    if said.status_code != HTTPStatus.OK:
        problem = said.get_json(silent=True, force=True) or {}
        raise Refused(f"{address} cannot be exported: {problem.get('title', said.status)} {problem.get('detail', '')}")
    headers = {name: text for name, text in said.headers if name.lower() not in OF_A_SERVER}
    return Answer(address, said.data, said.headers["Content-Type"], said.headers.get("ETag"), headers)


def _pages(app: Flask, start: str) -> Iterator[Answer]:
    """What stands at an address, and all further pages if it is a list."""
    following: str | None = start
    while following and (answer := ask(app, following)):
        yield answer
        following = answer.following


def _coders() -> Coders:
    """The codings that twins are written in, by their names in HTTP: suffix, and how; the same bytes every time."""
    coders: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
        "gzip": (".gz", lambda body: gzip.compress(body, compresslevel=9, mtime=0))
    }
    try:
        import brotli
    except ModuleNotFoundError:
        return coders
    return {**coders, "br": (".br", lambda body: cast(bytes, brotli.compress(body, quality=QUALITY)))}


def _put(answer: Answer, part: Path, coders: Coders, before: Path | None, known: Entry | None) -> tuple[Entry, bool]:
    """Write an answer and its twins, or take over what the version before has; return its entry, and if all was there.

    What is taken over keeps its time: it is the same file under another name.
    """
    path = part / answer.file
    entry: Entry = {
        "address": answer.address,
        "file": answer.file,
        "content_type": answer.media,
        "etag": answer.tag,
        **_measured(answer.body),
        "headers": answer.headers,
        "encodings": {},
    }
    there = known is not None and before is not None and _unaltered(before, known, entry)
    old = before if there else None
    kept = _place(path, old and old / answer.file, answer.body)
    for coding, (suffix, coder) in coders.items() if answer.shrinks else ():
        name = answer.file + suffix
        twin = (known or {}).get("encodings", {}).get(coding)
        if old and twin and _unaltered(old, twin, twin):
            kept = _place(part / name, old / name, b"") and kept
            entry["encodings"][coding] = twin
            continue
        packed = coder(answer.body)
        if len(packed) < len(answer.body):
            kept = _place(part / name, None, packed)
            at = path.stat().st_mtime_ns
            os.utime(part / name, ns=(at, at))
            entry["encodings"][coding] = {"file": name, **_measured(packed)}
    return entry, kept


def _measured(content: bytes) -> Entry:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _unaltered(before: Path, known: Entry, wanted: Entry) -> bool:
    """Whether a file of the version before is there, and is what is wanted now."""
    path = before / known["file"]
    try:
        return bool(known["file"] == wanted["file"] and _measured(path.read_bytes())["sha256"] == wanted["sha256"])
    except OSError:
        return False


def _place(path: Path, old: Path | None, content: bytes) -> bool:
    """Put a file to its place, the old one if there is one; whether there is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if old is None:
        path.write_bytes(content)
        sync(path)
        return False
    try:
        path.hardlink_to(old)
    except OSError:  # not every disk has hard links
        shutil.copy2(old, path)
    return True


def _put_in_force(folder: Path, part: Path) -> None:
    """Give what is complete the next number, and let `current` point to it: one step, after which it is served."""
    sync(part / MANIFEST)
    sync(part)
    number = 1 + max(map(_number, folder.iterdir()), default=0)
    part.rename(folder / str(number))
    (folder / NEXT).unlink(missing_ok=True)
    (folder / NEXT).symlink_to(str(number))
    sync(folder)
    (folder / NEXT).replace(folder / CURRENT)
    sync(folder)


def _tidy(folder: Path, keep: set[Path]) -> list[Path]:
    """Remove versions that nobody reads any more; return those that stay, for they hold what no manifest names."""
    kept = {path.resolve() for path in keep}
    old = [path for path in folder.iterdir() if _number(path) and path.resolve() not in kept]
    return [path for path in old if not _removed(path)]


def _removed(version: Path) -> bool:
    """Remove the files that a version's manifest names, and the version if nothing else is in it."""
    entries = json.loads((version / MANIFEST).read_text(encoding="utf-8"))["files"]
    named = {each["file"] for entry in entries for each in (entry, *entry["encodings"].values())}
    for path in sorted(version.rglob("*"), reverse=True):  # what is in a folder before the folder
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(version).as_posix() in named:
            path.unlink()
    if [path.name for path in version.iterdir()] != [MANIFEST]:
        return False
    (version / MANIFEST).unlink()
    version.rmdir()
    return True
